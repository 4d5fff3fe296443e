/* A driver for our virtio-blk (VIRTIO 1.2, 5.2), polling. */
#pragma once

#include "vq.h"

enum {
	DISK_MMIO = 0xc0001000u,
	DISK_SECTOR = 512,
	DISK_CHUNK = 4096,  /* of a request */
	DISK_IN_FLIGHT = 4, /* three descriptors each */
};

/* Reset, negotiation, the queue. */
void disk_open(void);
/* Posts one request for DISK_CHUNK bytes in @slot (below DISK_IN_FLIGHT); not kicked. */
void disk_post(unsigned slot, bool write, uint64_t sector, void *data);
/* One request, to its good end. */
void disk_request(bool write, uint64_t sector, void *data);
struct vq *disk_queue(void);
