/*
 * The limits in the configuration space are advice to the driver. What is enforced: the capacity,
 * and one range per DISCARD and WRITE_ZEROES of at most BLK_RANGE_SECTORS_MAX.
 */
#include "virtio/blk_command.h"

#include <fcntl.h>

#include "base/assert.h"
#include "virtio/blk_wire.h"

static_assert((int)VIRTIO_BLK_ID_LEN == VIRTIO_BLK_ID_BYTES, "5.2.6");
static_assert(sizeof(struct virtio_blk_outhdr) == BLK_HEADER_LEN, "5.2.6");

static bool is_inside(const struct blk_rules *rules, uint64_t sector, uint64_t n_sectors)
{
	return n_sectors <= rules->n_sectors && sector <= rules->n_sectors - n_sectors;
}

static uint8_t parse_transfer(const struct blk_rules *rules, enum blk_action action,
			      uint64_t sector, uint64_t len, struct blk_command *ret)
{
	if (len % VIRTIO_BLK_SECTOR || !is_inside(rules, sector, len / VIRTIO_BLK_SECTOR) ||
	    (action == BLK_WRITE && rules->read_only))
		return VIRTIO_BLK_S_IOERR;
	ret->action = len > 0 ? action : BLK_DONE;
	ret->offset = sector * VIRTIO_BLK_SECTOR;
	ret->len = len;
	return VIRTIO_BLK_S_OK;
}

/* DISCARD and WRITE_ZEROES (5.2.6.2): an unknown flag, and a DISCARD's unmap, are UNSUPP. */
static uint8_t parse_range(const struct blk_rules *rules, const struct virtq_chain *chain,
			   bool is_discard, struct blk_command *ret)
{
	const uint32_t known = is_discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	struct virtio_blk_discard_write_zeroes range;

	if (is_discard ? !rules->discards : !rules->write_zeroes)
		return VIRTIO_BLK_S_UNSUPP;
	if (chain->readable_len != BLK_HEADER_LEN + sizeof(range) ||
	    chain_read(chain, BLK_HEADER_LEN, &range, sizeof(range)) < 0)
		return VIRTIO_BLK_S_IOERR;
	if (range.flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (range.num_sectors > BLK_RANGE_SECTORS_MAX ||
	    !is_inside(rules, range.sector, range.num_sectors))
		return VIRTIO_BLK_S_IOERR;
	/*
	 * Without unmap the range keeps its blocks. A file system that cannot zero them in place
	 * (tmpfs) makes it UNSUPP: the driver then writes zeros itself.
	 */
	bool is_hole = is_discard || range.flags;
	ret->mode = FALLOC_FL_KEEP_SIZE | (is_hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	ret->action = range.num_sectors > 0 ? BLK_ALLOCATE : BLK_DONE;
	ret->offset = range.sector * VIRTIO_BLK_SECTOR;
	ret->len = (uint64_t)range.num_sectors * VIRTIO_BLK_SECTOR;
	return VIRTIO_BLK_S_OK;
}

static uint8_t answer_get_id(const struct blk_rules *rules, const struct virtq_chain *chain,
			     struct blk_command *ret)
{
	/* The last writable byte is the status. */
	if (chain->writable_len <= VIRTIO_BLK_ID_LEN)
		return VIRTIO_BLK_S_IOERR;
	int res = chain_write(chain, 0, rules->id, VIRTIO_BLK_ID_LEN);
	ASSERT(res == 0); /* the length was checked above */
	ret->action = BLK_DONE;
	ret->len = VIRTIO_BLK_ID_LEN;
	return VIRTIO_BLK_S_OK;
}

uint8_t blk_command_parse(const struct blk_rules *rules, const struct virtq_chain *chain,
			  struct blk_command *ret)
{
	struct virtio_blk_outhdr header;

	*ret = (struct blk_command){ .type = UINT32_MAX };
	if (chain_read(chain, 0, &header, sizeof(header)) < 0)
		return VIRTIO_BLK_S_IOERR;
	ret->type = header.type;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return parse_transfer(rules, BLK_READ, header.sector, chain->writable_len - 1, ret);
	case VIRTIO_BLK_T_OUT:
		return parse_transfer(rules, BLK_WRITE, header.sector,
				      chain->readable_len - BLK_HEADER_LEN, ret);
	case VIRTIO_BLK_T_FLUSH:
		ret->action = BLK_SYNC;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		return answer_get_id(rules, chain, ret);
	case VIRTIO_BLK_T_DISCARD:
		return parse_range(rules, chain, true, ret);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return parse_range(rules, chain, false, ret);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

uint64_t blk_command_bytes(const struct blk_command *c)
{
	return c->action == BLK_READ || c->action == BLK_WRITE ? c->len : 0;
}
