/* The block device over a file in memory. See subject.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/fd.h"
#include "support/subject.h"
#include "virtio/virtio_blk.h"
#include "virtio/virtio_wire.h"

enum { SECTORS = 256, CHUNK = 8 * VIRTIO_BLK_SECTOR, HEADER = 16, TYPE_IN = 0, TYPE_OUT = 1 };
#define DISK ((uint64_t)SECTORS * VIRTIO_BLK_SECTOR)

struct host {
	struct virtio_blk *blk;
	int fd;
	struct fake_driver driver; /* the good one */
	gpa_t header, data, status;
	uint8_t n_uses; /* each writes something else */
};

static struct virtio_dev *blk_open(struct subject *s)
{
	static const uint8_t zeros[DISK];
	struct host *h = xcalloc(1, sizeof(*h));
	struct error err;

	h->fd = memfd_create("subject-disk", MFD_CLOEXEC);
	ASSERT(h->fd >= 0);
	int res = fd_write_all(h->fd, zeros, sizeof(zeros));
	ASSERT(res == 0);
	const struct virtio_blk_config config = {
		.fd = h->fd,
		.file = { .capacity = DISK, .block_size = VIRTIO_BLK_SECTOR, .discards = true },
		.limits = { .depth = VIRTIO_BLK_DEPTH_MAX },
		.id = "subject",
	};
	res = virtio_blk_new(&config, s->rig.reactor, &h->blk, &err);
	ASSERT(res == 0);
	s->host = h;
	return virtio_blk_dev(h->blk);
}

static void blk_close(struct subject *s)
{
	struct host *h = s->host;

	h->blk = virtio_blk_free(h->blk);
	close(h->fd);
	free(h);
}

static void blk_boot(struct subject *s)
{
	struct host *h = s->host;
	struct fake_driver *d = &h->driver;

	fake_driver_init(d, &s->rig.mem, rig_region(&s->rig), GPA(SUBJECT_ARENA));
	fake_driver_start(d, fake_driver_offered(d), 1, 256);
	h->header = fake_driver_alloc(d, HEADER, 16);
	h->data = fake_driver_alloc(d, CHUNK, 512);
	h->status = fake_driver_alloc(d, 1, 1);
}

static void put(struct subject *s, gpa_t at, const void *bytes, size_t n)
{
	int res = guest_mem_write(&s->rig.mem, at, bytes, n);

	ASSERT(res == 0);
}

static void put_header(struct subject *s, gpa_t at, uint32_t type, uint64_t sector)
{
	const struct {
		uint32_t type, ioprio;
		uint64_t sector;
	} header = { type, 0, sector };

	static_assert(sizeof(header) == HEADER, "VIRTIO 1.2, 5.2.6");
	put(s, at, &header, sizeof(header));
}

/* One request from its making to its good end. */
static void request(struct subject *s, uint32_t type, uint64_t sector)
{
	struct host *h = s->host;
	const struct fake_seg segs[] = { { h->header, HEADER, false },
					 { h->data, CHUNK, type == TYPE_IN },
					 { h->status, 1, true } };
	uint64_t deadline_ns = rig_deadline();
	uint8_t status = 0xee;
	uint16_t head;
	uint32_t len;

	put_header(s, h->header, type, sector);
	put(s, h->status, &status, 1);
	int res = fake_driver_add(&h->driver, 0, segs, ARRAY_SIZE(segs));
	ASSERT(res >= 0);
	(void)fake_driver_kick(&h->driver, 0);
	while (!fake_driver_get_used(&h->driver, 0, &head, &len))
		rig_wait(&s->rig, deadline_ns);
	ASSERT(head == res && len == (type == TYPE_IN ? CHUNK + 1 : 1));
	res = guest_mem_read(&s->rig.mem, h->status, &status, 1);
	ASSERT(res == 0 && status == 0);
}

static void blk_use(struct subject *s)
{
	struct host *h = s->host;
	uint64_t sector = h->n_uses % 4 * 8u;
	uint8_t wanted[CHUNK], got[CHUNK] = { 0 };

	h->n_uses++;
	for (size_t i = 0; i < CHUNK; i++)
		wanted[i] = (uint8_t)(i * 7 + (i >> 8) + h->n_uses);
	put(s, h->data, wanted, CHUNK);
	request(s, TYPE_OUT, sector);
	put(s, h->data, got, CHUNK);
	request(s, TYPE_IN, sector);
	int res = guest_mem_read(&s->rig.mem, h->data, got, CHUNK);
	ASSERT(res == 0 && memcmp(got, wanted, CHUNK) == 0);
	res = fd_pread_exact(h->fd, got, CHUNK, sector * VIRTIO_BLK_SECTOR);
	ASSERT(res == 0 && memcmp(got, wanted, CHUNK) == 0);
}

static void blk_provoke(struct subject *s UNUSED, uint32_t q_idx UNUSED)
{
	/* A kick is all it takes. */
}

/* Reads, which write to guest memory, as many as the queue holds; they share their header. */
static void blk_load(struct subject *s)
{
	struct fake_driver *d = &s->driver;
	const struct fake_queue *q = &d->queues[0];
	gpa_t header = GPA(HOSTILE_BUF);

	put_header(s, header, TYPE_IN, 0);
	while (q->n_free >= 2) {
		uint32_t head =
		    q->free[q->n_free - 1]; /* of the chain: its buffer is nobody else's */
		const struct fake_seg segs[] = {
			{ header, HEADER, false },
			{ GPA(HOSTILE_BUF + (1 + head) * 2 * CHUNK), CHUNK + 1, true },
		};
		int res = fake_driver_add(d, 0, segs, ARRAY_SIZE(segs));
		ASSERT(res >= 0);
	}
	subject_kick(s, 0);
}

const struct subject_kind subject_blk = {
	.name = "blk",
	.n_queues = 1,
	.traits = SUBJECT_HOLDS_CHAINS | SUBJECT_HAS_HEADERS,
	.open = blk_open,
	.close = blk_close,
	.boot = blk_boot,
	.use = blk_use,
	.provoke = blk_provoke,
	.load = blk_load,
};
