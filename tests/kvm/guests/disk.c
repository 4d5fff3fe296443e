/* See disk.h. */
#include "disk.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>

enum { NO_STATUS = 0xee, POLLS_MAX = 100 * 1000 * 1000 };

static struct vq_ring ring __attribute__((aligned(4096)));
static struct vq queue;
static struct virtio_blk_outhdr headers[DISK_IN_FLIGHT];
static volatile uint8_t statuses[DISK_IN_FLIGHT];

struct vq *disk_queue(void)
{
	return &queue;
}

void disk_open(void)
{
	vq_device_init(DISK_MMIO, VIRTIO_ID_BLOCK,
		       1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH);
	queue = (struct vq){ .ring = &ring };
	vq_enable(&queue, DISK_MMIO, 0);
	vq_device_start(DISK_MMIO);
}

void disk_post(unsigned slot, bool write, uint64_t sector, void *data)
{
	struct virtio_blk_outhdr *h = &headers[slot];

	*h = (struct virtio_blk_outhdr){ .type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					 .sector = sector };
	statuses[slot] = NO_STATUS;
	const struct vq_piece pieces[] = { { h, sizeof(*h), false },
					   { data, DISK_CHUNK, !write },
					   { (const void *)(uintptr_t)&statuses[slot], 1, true } };
	vq_post_chain(&queue, (uint16_t)(3 * slot), pieces, 3);
}

void disk_request(bool write, uint64_t sector, void *data)
{
	uint16_t n;
	uint32_t written;

	disk_post(0, write, sector, data);
	vq_kick(&queue);
	for (int polls = 0; !vq_take(&queue, &n, &written); polls++) {
		if (polls == POLLS_MAX)
			guest_die("disk: no answer");
		cpu_pause();
	}
	if (n != 0 || statuses[0] != VIRTIO_BLK_S_OK)
		guest_die("disk: a request failed");
}
