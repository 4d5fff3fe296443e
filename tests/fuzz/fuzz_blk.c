/*
 * virtio-blk under a hostile driver: requests of any type, size and shape over a file in memory,
 * raw descriptors, resets and restarts at any moment.
 *
 * Properties: a request that came back has its status byte and no more bytes than its writable
 * part; the file never grows; a read-only one never changes; the counters add up; no more is at the
 * file than the depth; every reset and the final stop end.
 */
#include "fuzz_virtio.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "virtio/virtio_blk.h"

enum {
	OPS_MAX = 128,
	QUEUE_SIZE = 16,
	SECTORS = 64,
	HEADER = 16,
	NO_STATUS = 0xee,
	FEATURE_FLUSH = 9
};
enum { HEADERS = 0x3000, DATA = 0x4000, STATUSES = 0x2000 };
#define DISK ((uint64_t)SECTORS * VIRTIO_BLK_SECTOR)

enum op {
	OP_REQUEST,
	OP_RANGE,
	OP_DESC,
	OP_KICK,
	OP_TURN,
	OP_COLLECT,
	OP_RESTART,
	OP_POKE,
	OP_DRAIN,
	OP_CUT,
	N_OPS
};

struct run {
	struct rig rig;
	struct fake_driver driver;
	struct virtio_blk *blk;
	int fd;
	bool read_only;
	uint32_t depth;
	bool is_cut;                   /* somebody made the file shorter */
	bool is_tame;                  /* no raw write touched the rings since the last restart */
	uint32_t writable[QUEUE_SIZE]; /* bytes, by head */
};

static void restart(struct run *r, uint8_t features)
{
	struct fake_driver *d = &r->driver;

	rig_reset(&r->rig);
	d->arena = FUZZ_ARENA;
	d->queues[0] = (struct fake_queue){ 0 };
	uint64_t wanted = (uint64_t)(features & 3) << VIRTIO_RING_F_INDIRECT_DESC |
			  (features & 4 ? UINT32_MAX & ~(3u << VIRTIO_RING_F_INDIRECT_DESC) : 0);

	if (features & 8) /* writes are stable when they end */
		wanted &= ~(1ull << FEATURE_FLUSH);
	fake_driver_start(d, wanted & fake_driver_offered(d), 1, QUEUE_SIZE);
	r->is_tame = true;
}

static void put(struct run *r, uint64_t at, const void *bytes, size_t n)
{
	FUZZ_CHECK(guest_mem_write(&r->rig.mem, GPA(at), bytes, n) == 0);
}

/* A request as the standard wants it, with any numbers in it. */
static void add_request(struct run *r, uint32_t type, uint64_t sector, uint32_t len, bool is_read)
{
	struct fake_driver *d = &r->driver;
	struct {
		uint32_t type, ioprio;
		uint64_t sector;
	} header = { type, 0, sector };
	static const uint8_t none = NO_STATUS;
	uint16_t n = 0;

	if (d->queues[0].n_free < 3)
		return;
	uint16_t slot = d->queues[0].free[d->queues[0].n_free - 1]; /* the head it will have */
	put(r, HEADERS + slot * HEADER, &header, sizeof(header));
	put(r, STATUSES + slot, &none, 1);
	struct fake_seg segs[3] = { { GPA(HEADERS + slot * (uint64_t)HEADER), HEADER, false } };
	n++;
	if (len > 0)
		segs[n++] = (struct fake_seg){ GPA(DATA + slot * 0x400u), len, is_read };
	segs[n++] = (struct fake_seg){ GPA(STATUSES + (uint64_t)slot), 1, true };
	int head = fake_driver_add(d, 0, segs, n);
	FUZZ_CHECK(head == slot);
	r->writable[head] = (is_read ? len : 0) + 1;
}

static void any_request(struct run *r, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t type = how & 1 ? fuzz_u8(in) % 16u : fuzz_u8(in) % 2u;
	uint64_t sector = how & 2 ? fuzz_u64(in) : fuzz_u8(in) % (SECTORS + 2u);
	uint32_t len = how & 4 ? fuzz_u16(in) % 0x4000u : fuzz_u8(in) % 8u * VIRTIO_BLK_SECTOR;

	add_request(r, type, sector, len, how & 8 ? fuzz_u8(in) & 1 : type != 1);
}

static void any_range(struct run *r, struct fuzz_input *in)
{
	struct {
		uint64_t sector;
		uint32_t n, flags;
	} range;
	uint8_t how = fuzz_u8(in);
	struct fake_queue *q = &r->driver.queues[0];

	range.sector = how & 1 ? fuzz_u64(in) : fuzz_u8(in) % (SECTORS + 2u);
	range.n = how & 2 ? fuzz_u32(in) : fuzz_u8(in) % (SECTORS + 2u);
	range.flags = how & 4 ? fuzz_u32(in) : fuzz_u8(in) & 1;
	if (q->n_free < 3)
		return;
	put(r, DATA + q->free[q->n_free - 1] * 0x400u, &range, sizeof(range));
	add_request(r, how & 8 ? 11 : 13, 0, how & 16 ? fuzz_u8(in) : sizeof(range), false);
}

static void collect(struct run *r)
{
	uint16_t head;
	uint32_t len;
	uint8_t status;

	if (!r->is_tame) /* the rings may say anything: it wrote over them itself */
		return;
	while (fake_driver_get_used(&r->driver, 0, &head, &len)) {
		FUZZ_CHECK(
		    guest_mem_read(&r->rig.mem, GPA(STATUSES + (uint64_t)head), &status, 1) == 0);
		FUZZ_CHECK(status <= 2);
		FUZZ_CHECK(len <= r->writable[head]);
	}
}

static void step(struct run *r, struct fuzz_input *in)
{
	enum op op = (enum op)(fuzz_u8(in) % N_OPS);

	switch (op) {
	case OP_REQUEST:
		any_request(r, in);
		break;
	case OP_RANGE:
		any_range(r, in);
		break;
	case OP_DESC:
		r->is_tame = false;
		fuzz_raw_desc(&r->driver, 0, in);
		fake_driver_raw_avail(&r->driver, 0, fuzz_u8(in) % QUEUE_SIZE);
		break;
	case OP_KICK:
		fake_driver_write(&r->driver, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		break;
	case OP_TURN:
		reactor_turn(r->rig.reactor, fuzz_u8(in) & 1 ? NS_PER_MS / 10 : 0);
		break;
	case OP_COLLECT:
		collect(r);
		break;
	case OP_RESTART:
		restart(r, fuzz_u8(in));
		break;
	case OP_POKE:
		r->is_tame = false;
		fuzz_poke(&r->rig.mem, in);
		break;
	case OP_DRAIN:
		virtio_mmio_drain(r->rig.mmio);
		break;
	case OP_CUT: /* somebody else's doing, on the host */
		r->is_cut = true;
		FUZZ_CHECK(ftruncate(r->fd, fuzz_u16(in) % DISK) == 0);
		break;
	case N_OPS:
		break;
	}
}

static void check_end(const struct run *r)
{
	struct virtio_blk_stats s;
	struct stat st;
	uint8_t byte;

	virtio_blk_stats(r->blk, &s);
	FUZZ_CHECK(s.gate.n_inside_max <= num_min(QUEUE_SIZE, r->depth));
	FUZZ_CHECK(fstat(r->fd, &st) == 0);
	FUZZ_CHECK(r->is_cut ? (uint64_t)st.st_size <= DISK : (uint64_t)st.st_size == DISK);
	if (!r->read_only || r->is_cut)
		return;
	FUZZ_CHECK(s.n_writes + s.n_discards + s.n_write_zeroes + s.bytes_written == 0);
	for (uint64_t at = 0; at < DISK; at += VIRTIO_BLK_SECTOR)
		FUZZ_CHECK(pread(r->fd, &byte, 1, (off_t)at) == 1 && byte == 0x5a);
}

static int new_disk(void)
{
	static uint8_t bytes[DISK];
	int fd = memfd_create("fuzz-disk", MFD_CLOEXEC);

	memset(bytes, 0x5a, sizeof(bytes));
	FUZZ_CHECK(fd >= 0 && write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes));
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	static struct run r;
	struct error err;

	uint8_t how = fuzz_u8(&in);
	r = (struct run){ .fd = new_disk(),
			  .read_only = how & 1,
			  .depth = how & 2 ? 3 : VIRTIO_BLK_DEPTH_MAX };
	/* Memory in a file does not mind whether it is told that I/O is direct. */
	const struct virtio_blk_config config = {
		.fd = r.fd,
		.read_only = r.read_only,
		.file = { .capacity = DISK,
			  .block_size = VIRTIO_BLK_SECTOR,
			  .physical_block_size = how & 4 ? 4096 : VIRTIO_BLK_SECTOR,
			  .discards = true,
			  .is_direct = how & 8,
			  .memory_align = VIRTIO_BLK_SECTOR },
		.limits = { .iops = how & 16 ? 10000 : 0,
			    .bps = how & 32 ? (how & 64 ? 1 : 100 << 20) : 0,
			    .burst_ns = NS_PER_MS,
			    .depth = r.depth },
		.id = "fuzz",
	};
	fuzz_rig_open(&r.rig);
	FUZZ_CHECK(virtio_blk_new(&config, r.rig.reactor, &r.blk, &err) == 0);
	fuzz_rig_attach(&r.rig, virtio_blk_dev(r.blk), &r.driver);
	restart(&r, fuzz_u8(&in));
	for (int i = 0; i < OPS_MAX && in.n > 0; i++)
		step(&r, &in);
	rig_detach(&r.rig);
	check_end(&r);
	r.blk = virtio_blk_free(r.blk);
	rig_close(&r.rig);
	close(r.fd);
	return 0;
}
