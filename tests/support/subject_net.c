/* The network device, whose other side is itself. See subject.h. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "support/subject.h"
#include "virtio/virtio_net.h"
#include "virtio/virtio_wire.h"

enum { RX, TX, N_QUEUES, HEADER = 12, FRAME = 5000, BUFFER = 1536, N_BUFFERS = 4, QUEUE = 256 };
/* Of the attacker; no attack writes there. */
enum { ATTACK_FRAME = HOSTILE_BUF + 0x8000, ATTACK_BUFFERS = HOSTILE_BUF + 0x10000 };

struct host {
	struct virtio_net *net;
	struct fake_driver driver; /* the good one */
	gpa_t frame, buffers;
	uint8_t n_uses; /* each sends something else */
};

static struct virtio_dev *net_open(struct subject *s)
{
	const struct virtio_net_config config = virtio_net_config_of("subject");
	struct host *h = xcalloc(1, sizeof(*h));

	h->net = virtio_net_new(&config, s->rig.reactor);
	s->host = h;
	return virtio_net_dev(h->net);
}

static void net_close(struct subject *s)
{
	struct host *h = s->host;

	h->net = virtio_net_free(h->net);
	free(h);
}

static void net_boot(struct subject *s)
{
	struct host *h = s->host;
	struct fake_driver *d = &h->driver;

	fake_driver_init(d, &s->rig.mem, rig_region(&s->rig), GPA(SUBJECT_ARENA));
	fake_driver_start(d, fake_driver_offered(d), N_QUEUES, QUEUE);
	h->frame = fake_driver_alloc(d, HEADER + FRAME, 16);
	h->buffers = fake_driver_alloc(d, N_BUFFERS * BUFFER, 16);
}

static void put_frame(struct subject *s, gpa_t at, const uint8_t *bytes, size_t n)
{
	static const uint8_t header[HEADER]; /* nothing is left to the device */

	int res = guest_mem_write(&s->rig.mem, at, header, HEADER);
	ASSERT(res == 0);
	res = guest_mem_write(&s->rig.mem, GPA(at.addr + HEADER), bytes, n);
	ASSERT(res == 0);
}

static void add(struct fake_driver *d, uint32_t q_idx, gpa_t at, uint32_t len)
{
	const struct fake_seg seg = { at, len, q_idx == RX };
	int res = fake_driver_add(d, q_idx, &seg, 1);

	ASSERT(res >= 0);
	(void)fake_driver_kick(d, q_idx);
}

/* A frame that comes back over all of its buffers, which lie in a row. */
static void net_use(struct subject *s)
{
	struct host *h = s->host;
	uint8_t wanted[FRAME], got[HEADER + FRAME];
	uint64_t deadline_ns = rig_deadline();
	uint16_t head;
	uint32_t len, total = 0;

	h->n_uses++;
	for (size_t i = 0; i < FRAME; i++)
		wanted[i] = (uint8_t)(i * 7 + (i >> 8) + h->n_uses);
	put_frame(s, h->frame, wanted, FRAME);
	for (unsigned i = 0; i < N_BUFFERS; i++)
		add(&h->driver, RX, GPA(h->buffers.addr + (uint64_t)i * BUFFER), BUFFER);
	add(&h->driver, TX, h->frame, HEADER + FRAME);
	for (unsigned i = 0; i < N_BUFFERS; i++, total += len)
		while (!fake_driver_get_used(&h->driver, RX, &head, &len))
			rig_wait(&s->rig, deadline_ns);
	while (!fake_driver_get_used(&h->driver, TX, &head, &len))
		rig_wait(&s->rig, deadline_ns);
	ASSERT(total == HEADER + FRAME);
	int res = guest_mem_read(&s->rig.mem, h->buffers, got, sizeof(got));
	ASSERT(res == 0 && memcmp(got + HEADER, wanted, FRAME) == 0);
}

/* A frame to receive: before that nobody looks for buffers. */
static void net_provoke(struct subject *s, uint32_t q_idx)
{
	static const uint8_t bytes[64];
	const struct fake_seg seg = { GPA(ATTACK_FRAME), HEADER + sizeof(bytes), false };

	if (q_idx != RX)
		return;
	put_frame(s, seg.gpa, bytes, sizeof(bytes));
	if (fake_driver_add(&s->driver, TX, &seg, 1) >= 0)
		fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_NOTIFY, TX);
}

/* As many frames and buffers as the queues hold; the frames are one. */
static void net_load(struct subject *s)
{
	static const uint8_t bytes[BUFFER - HEADER];
	struct fake_driver *d = &s->driver;
	const struct fake_seg frame = { GPA(ATTACK_FRAME), BUFFER, false };

	put_frame(s, frame.gpa, bytes, sizeof(bytes));
	for (uint32_t i = 0; d->queues[RX].n_free > 0; i++) {
		const struct fake_seg buffer = { GPA(ATTACK_BUFFERS + i * BUFFER), BUFFER, true };
		int res = fake_driver_add(d, RX, &buffer, 1);

		ASSERT(res >= 0);
	}
	while (fake_driver_add(d, TX, &frame, 1) >= 0)
		;
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, TX);
}

const struct subject_kind subject_net = {
	.name = "net",
	.n_queues = N_QUEUES,
	.output_queue = TX,
	.open = net_open,
	.close = net_close,
	.boot = net_boot,
	.use = net_use,
	.provoke = net_provoke,
	.load = net_load,
};
