/*
 * virtio-blk (VIRTIO 1.2, 5.2): one queue of 256 requests over one raw file or block device.
 * Requests go from guest memory to the reactor's file I/O as they are, all of the queue's at once
 * if the driver wants and the limits allow.
 *
 * All functions: reactor thread.
 */
#pragma once

#include "virtio/blk_command.h"
#include "virtio/blk_file.h"
#include "virtio/blk_gate.h"
#include "virtio/virtio_dev.h"

enum { VIRTIO_BLK_DEPTH_MAX = 256 };

struct virtio_blk_config {
	int fd; /* borrowed; a regular file or block device, O_NONBLOCK off */
	bool read_only;
	struct blk_file file; /* blk_file_examine's answer for fd */
	struct blk_limits limits;
	const char *id; /* GET_ID's answer, its first VIRTIO_BLK_ID_LEN bytes; copied */
};

struct virtio_blk;

/* -EINVAL: the capacity is no number of sectors that a file can have. */
MUST_CHECK int virtio_blk_new(const struct virtio_blk_config *config, struct reactor *reactor,
			      struct virtio_blk **ret, struct error *err);
/* After virtio_mmio_stop has finished. NULL is fine; returns NULL. */
struct virtio_blk *virtio_blk_free(struct virtio_blk *b);
struct virtio_dev *virtio_blk_dev(struct virtio_blk *b);

/* Counted when a request ends, but for the gate's. What a stop drops at the gate is not counted. */
struct virtio_blk_stats {
	uint64_t n_reads, n_writes, n_flushes, n_discards, n_write_zeroes; /* ended well */
	uint64_t bytes_read, bytes_written; /* moved, by failed requests, too */
	uint64_t n_errors;                  /* ended with an I/O error */
	uint64_t n_unsupported; /* refused: the driver has another way, or none is known */
	uint64_t n_continued;   /* short reads and writes that went on */
	uint64_t n_retries;     /* EINTR, EAGAIN */
	uint64_t n_direct_ends; /* 1: misaligned memory ended direct I/O, the rest was buffered */
	struct blk_gate_stats gate;
};
void virtio_blk_stats(const struct virtio_blk *b, struct virtio_blk_stats *ret);
