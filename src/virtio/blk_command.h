/*
 * What a request of the guest asks of the file: parsed and judged once, from the guest's bytes to
 * numbers that are known to be good. Pure but for GET_ID's answer, which it writes.
 *
 *	5.2.6    readable: header (16), data to write    writable: data read, status (last byte)
 */
#pragma once

#include "virtio/virtq.h"

enum { VIRTIO_BLK_SECTOR = 512, VIRTIO_BLK_ID_LEN = 20 };
/* Sectors of one DISCARD or WRITE_ZEROES: 1 GiB, as one call must not hold up a stop for long. */
enum { BLK_RANGE_SECTORS_MAX = 1 << 21 };

enum blk_action {
	BLK_DONE, /* nothing is left to do: an answer without the file, or no bytes */
	BLK_READ,
	BLK_WRITE,
	BLK_ALLOCATE, /* fallocate */
	BLK_SYNC,
};

struct blk_command {
	uint32_t type; /* VIRTIO_BLK_T_*; UINT32_MAX: it had no whole header */
	enum blk_action action;
	uint64_t offset; /* in the file */
	uint64_t len;    /* bytes to move, to zero or to discard; of GET_ID, written already */
	int mode;        /* fallocate's */
};

struct blk_rules {
	uint64_t n_sectors;
	bool read_only;
	bool discards, write_zeroes; /* negotiated */
	const char *id;              /* VIRTIO_BLK_ID_LEN bytes */
};

/* Where the data of a WRITE begins in the chain's readable part. */
enum { BLK_HEADER_LEN = 16 };

/*
 * @chain has a writable byte. VIRTIO_BLK_S_OK: @ret is to be done. Any other status: the request
 * ends with it; of @ret only the type counts then.
 */
uint8_t blk_command_parse(const struct blk_rules *rules, const struct virtq_chain *chain,
			  struct blk_command *ret);
/* Bytes that the request moves between the file and the guest. */
uint64_t blk_command_bytes(const struct blk_command *c);
