/*
 * Block requests, as many at once as "qd" says: "blk" reads "bs" bytes, by "rw" at random places or in order;
 * "getid" asks for the device's name, a request that reaches no disk: what is left is the way there and back.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>

#include "cpu.h"
#include "ops.h"
#include "text.h"

enum { DESCS_PER_REQUEST = 3, SLOTS_MAX = 64, BLOCK_MAX = 128 * 1024, SECTOR = 512 };

struct slot {
	struct virtio_blk_outhdr header;
	volatile uint8_t status;
	uint64_t posted;
};

static struct {
	struct virtio dev;
	struct vq q;
	uint32_t type;
	uint64_t n_slots, block, n_blocks, next, random;
	bool is_random, wants_interrupts;
} b;
static struct slot slots[SLOTS_MAX];

/* xorshift64*: enough for places on a disk, and the same ones for every VMM. */
static uint64_t next_block(void)
{
	if (!b.is_random)
		return b.next++ % b.n_blocks;
	b.random ^= b.random >> 12;
	b.random ^= b.random << 25;
	b.random ^= b.random >> 27;
	return (b.random * 0x2545f4914f6cdd1dull >> 16) % b.n_blocks;
}

static void post(unsigned i, uint64_t now)
{
	slots[i].header.sector = b.type == VIRTIO_BLK_T_IN ? next_block() * (b.block / SECTOR) : 0;
	slots[i].status = UINT8_MAX;
	slots[i].posted = now;
	vq_post(&b.q, (uint16_t)(i * DESCS_PER_REQUEST));
}

/* Takes what came back and posts it anew; false: nothing came. */
static bool turn_over(void)
{
	uint16_t head;
	uint32_t len;

	if (!vq_take(&b.q, &head, &len))
		return false;
	uint64_t now = tsc_read();
	do {
		unsigned i = head / DESCS_PER_REQUEST;
		if (slots[i].status != VIRTIO_BLK_S_OK)
			meter_add_error();
		meter_add(slots[i].posted, now, b.block);
		post(i, now);
	} while (vq_take(&b.q, &head, &len));
	vq_kick(&b.q);
	return true;
}

static void loop(void)
{
	uint64_t now = tsc_read();

	for (unsigned i = 0; i < b.n_slots; i++)
		post(i, now);
	vq_kick(&b.q);
	while (meter_goes_on(tsc_read(), b.q.n_kicks)) {
		while (!turn_over()) {
			if (!b.wants_interrupts)
				cpu_pause();
			else if (!vq_arm(&b.q))
				cpu_wait();
		}
	}
}

static void make_chain(unsigned i)
{
	struct vring_desc *d = &b.q.desc[i * DESCS_PER_REQUEST];
	uint16_t next = (uint16_t)(i * DESCS_PER_REQUEST);

	slots[i].header.type = b.type;
	d[0] = (struct vring_desc){ .addr = (uint64_t)&slots[i].header,
				    .len = sizeof(slots[i].header),
				    .flags = VRING_DESC_F_NEXT,
				    .next = (uint16_t)(next + 1) };
	d[1] = (struct vring_desc){ .addr = GUEST_BUFFERS + i * BLOCK_MAX,
				    .len = (uint32_t)b.block,
				    .flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
				    .next = (uint16_t)(next + 2) };
	d[2] = (struct vring_desc){ .addr = (uint64_t)&slots[i].status,
				    .len = 1,
				    .flags = VRING_DESC_F_WRITE };
}

static void parse(const char *line)
{
	bool is_read = text_is(line, "op", "blk");

	b.type = is_read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_GET_ID;
	b.block = is_read ? text_number(line, "bs", 4096) : VIRTIO_BLK_ID_BYTES;
	b.n_slots = text_number(line, "qd", 1);
	b.is_random = text_is(line, "rw", "randread");
	b.wants_interrupts = text_is(line, "wait", "irq");
	b.random = text_number(line, "seed", 1) | 1;
	if (b.n_slots == 0 || b.n_slots > SLOTS_MAX || b.block > BLOCK_MAX)
		text_die("qd or bs out of range");
}

static void open_disk(const char *line)
{
	virtio_open(line, VIRTIO_ID_BLOCK, 0, 0, &b.dev);
	vq_open(&b.q, &b.dev, 0, VQ_SIZE_MAX, (uint8_t *)GUEST_RINGS, b.wants_interrupts);
	if (b.n_slots * DESCS_PER_REQUEST > b.q.size)
		text_die("the queue is too small for qd");
	uint64_t n_sectors = mmio_read32(b.dev.mmio + VIRTIO_MMIO_CONFIG) |
			     (uint64_t)mmio_read32(b.dev.mmio + VIRTIO_MMIO_CONFIG + 4) << 32;
	b.n_blocks = n_sectors / (b.block < SECTOR ? 1 : b.block / SECTOR);
	if (b.n_blocks == 0)
		text_die("the disk is smaller than a block");
	for (unsigned i = 0; i < b.n_slots; i++)
		make_chain(i);
	virtio_start(&b.dev);
}

void op_blk(const char *line)
{
	parse(line);
	open_disk(line);
	if (b.wants_interrupts)
		meter_take_interrupts(&b.dev);
	ops_run_loop(line, loop);
	meter_print();
}

/* The costs of a request's parts that the guest can see alone. */

enum { N_COSTS = 400, COST_PAUSE_TICKS = 200000 };

static void measure(void (*fn)(void))
{
	for (unsigned i = 0; i < N_COSTS; i++) {
		uint64_t t = tsc_read();
		fn();
		uint64_t end = tsc_read();
		meter_add_cost(end - t);
		/* What was woken by it goes back to sleep. */
		for (uint64_t until = end + COST_PAUSE_TICKS; tsc_read() < until;)
			cpu_pause();
	}
}

static void nothing(void)
{
}

static void kick(void)
{
	mmio_write32(b.dev.mmio + VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void read_status(void)
{
	(void)mmio_read32(b.dev.mmio + VIRTIO_MMIO_INTERRUPT_STATUS);
}

static void write_ack(void)
{
	mmio_write32(b.dev.mmio + VIRTIO_MMIO_INTERRUPT_ACK, 1);
}

static void cross_levels(void)
{
	cpu_call_kernel(nothing);
}

static void measure_cost(const char *name, void (*fn)(void))
{
	measure(fn);
	meter_print_cost(name);
}

static void loop_costs(void)
{
	measure_cost("kick", kick);
	measure_cost("levels", cross_levels);
}

/* Each at the level at which a request pays it: what the interrupt's handler does is kernel mode's. */
void op_costs(const char *line)
{
	parse(line);
	open_disk(line);
	ops_run_loop(line, loop_costs);
	measure_cost("clock", nothing);
	measure_cost("status", read_status);
	measure_cost("ack", write_ack);
	measure_cost("interrupt", cpu_interrupt_self);
}
