/*
 * The disk guest. One of these words of the command line says what to do:
 *
 *	ledger[=N]   write blocks 0, 1, 2, ... N - 1 (for ever, or as many as there are), eight at a
 *	             time, and flush after each eight; then tell on COM1 how many were flushed. A block
 *	             holds its own number in each of its words
 *	reads=N      read N blocks here and there, as many at a time as the queue holds
 *	odd          write block 0 from memory that is not aligned, read it back elsewhere, compare
 *
 * Then it powers off. A request that fails ends the guest by guest_die: text on COM1 and a reset.
 */
#include "vq.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

enum {
	BLK_MMIO = 0xc0001000,
	BLOCK = 4096,
	SECTORS = BLOCK / 512,
	PER_REQUEST = 3, /* descriptors: header, data, status */
	SLOTS = VQ_SIZE / PER_REQUEST,
	BATCH = 8,
};

static struct vq_ring ring __attribute__((aligned(4096)));
static struct vq queue = { .ring = &ring, .event_idx = true };
static uint8_t data[SLOTS + 1][BLOCK] __attribute__((aligned(4096)));
static struct virtio_blk_outhdr headers[SLOTS];
static uint8_t statuses[SLOTS];

static void post(uint16_t slot, uint32_t type, uint64_t block, const void *bytes, uint32_t n)
{
	headers[slot] = (struct virtio_blk_outhdr){ .type = type, .sector = block * SECTORS };
	statuses[slot] = 0xee;
	const struct vq_piece header = { &headers[slot], sizeof(headers[slot]), false };
	const struct vq_piece body = { bytes, n, type == VIRTIO_BLK_T_IN };
	const struct vq_piece status = { &statuses[slot], 1, true };
	const struct vq_piece with[] = { header, body, status }, without[] = { header, status };
	vq_post_chain(&queue, (uint16_t)(slot * PER_REQUEST), n ? with : without, n ? 3 : 2);
}

/* The slot of the next request that has ended. */
static uint16_t wait_for_one(void)
{
	uint16_t head;
	uint32_t written;
	while (!vq_take(&queue, &head, &written))
		cpu_pause();
	uint16_t slot = head / PER_REQUEST;
	if (statuses[slot] != VIRTIO_BLK_S_OK)
		guest_die("disk: a request failed");
	return slot;
}

static void do_one(uint32_t type, uint64_t block, const void *bytes, uint32_t n)
{
	post(0, type, block, bytes, n);
	vq_kick(&queue);
	(void)wait_for_one();
}

static void fill(void *block, uint64_t number)
{
	uint64_t *words = block;
	for (unsigned i = 0; i < BLOCK / sizeof(*words); i++)
		words[i] = number;
}

static void ledger(uint64_t n)
{
	for (uint64_t at = 0; at + BATCH <= n; at += BATCH) {
		for (uint16_t i = 0; i < BATCH; i++) {
			fill(data[i], at + i);
			post(i, VIRTIO_BLK_T_OUT, at + i, data[i], BLOCK);
		}
		vq_kick(&queue);
		for (int i = 0; i < BATCH; i++)
			(void)wait_for_one();
		do_one(VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
		serial_put_number(at + BATCH);
		serial_put("\n");
	}
}

static void reads(uint64_t n, uint64_t n_blocks)
{
	uint64_t n_posted = 0, block = 0;
	for (; n_posted < n && n_posted < SLOTS; n_posted++)
		post((uint16_t)n_posted, VIRTIO_BLK_T_IN, n_posted % n_blocks, data[n_posted],
		     BLOCK);
	vq_kick(&queue);
	for (uint64_t n_done = 0; n_done < n; n_done++) {
		uint16_t slot = wait_for_one();
		if (n_posted == n)
			continue;
		block = (block + 7919) % n_blocks;
		post(slot, VIRTIO_BLK_T_IN, block, data[slot], BLOCK);
		n_posted++;
		vq_kick(&queue);
	}
}

static void odd(void)
{
	fill(&data[0][24], 0x1122334455667788);
	do_one(VIRTIO_BLK_T_OUT, 0, &data[0][24], BLOCK);
	do_one(VIRTIO_BLK_T_IN, 0, data[3], BLOCK);
	if (memcmp(&data[0][24], data[3], BLOCK) != 0)
		guest_die("disk: what was written does not come back");
}

void guest_main(const struct boot_params *boot)
{
	uint64_t n = UINT64_MAX;
	vq_device_init(BLK_MMIO, VIRTIO_ID_BLOCK,
		       1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
			   1ull << VIRTIO_BLK_F_FLUSH);
	vq_enable(&queue, BLK_MMIO, 0);
	vq_device_start(BLK_MMIO);
	uint64_t n_blocks = mmio_read32(BLK_MMIO + VIRTIO_MMIO_CONFIG) / SECTORS;
	if (boot_word(boot, "ledger", &n))
		ledger(n < n_blocks ? n : n_blocks);
	else if (boot_word(boot, "reads", &n))
		reads(n, n_blocks);
	else if (boot_word(boot, "odd", NULL))
		odd();
}
