/* The network device and its loopback. See subject.h. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "support/subject.h"
#include "virtio/virtio_net.h"
#include "virtio/virtio_wire.h"

enum { RX, TX, QUEUE = 256, HEADER = 12, FRAME = 1000, BUFFER = 1536 };

struct host {
	struct virtio_net *net;
	struct fake_driver driver; /* the good one */
	gpa_t frame, buffer;
	uint8_t n_uses;
};

static struct virtio_dev *net_open(struct subject *s)
{
	const struct virtio_net_config config = { .mac = { 2, 1, 2, 3, 4, 5 } };
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
	fake_driver_start(d, fake_driver_offered(d), 2, QUEUE);
	h->frame = fake_driver_alloc(d, HEADER + FRAME, 16);
	h->buffer = fake_driver_alloc(d, BUFFER, 16);
}

/* @n bytes of queue @q_idx, kicked. */
static void add(struct fake_driver *d, uint32_t q_idx, gpa_t gpa, uint32_t n)
{
	const struct fake_seg seg = { gpa, n, q_idx == RX };
	int res = fake_driver_add(d, q_idx, &seg, 1);

	ASSERT(res >= 0);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, q_idx);
}

static uint32_t wait_for(struct subject *s, struct fake_driver *d, uint32_t q_idx)
{
	uint64_t deadline_ns = rig_deadline();
	uint16_t head;
	uint32_t len;

	while (!fake_driver_get_used(d, q_idx, &head, &len))
		rig_wait(&s->rig, deadline_ns);
	return len;
}

static void net_use(struct subject *s)
{
	struct host *h = s->host;
	uint8_t wanted[HEADER + FRAME] = { 0 }, got[HEADER + FRAME];

	h->n_uses++;
	for (size_t i = HEADER; i < sizeof(wanted); i++)
		wanted[i] = (uint8_t)(i * 5 + (i >> 8) + h->n_uses);
	int res = guest_mem_write(&s->rig.mem, h->frame, wanted, sizeof(wanted));
	ASSERT(res == 0);
	add(&h->driver, RX, h->buffer, BUFFER);
	add(&h->driver, TX, h->frame, sizeof(wanted));
	uint32_t received = wait_for(s, &h->driver, RX);
	ASSERT(received == sizeof(wanted));
	uint32_t sent = wait_for(s, &h->driver, TX);
	ASSERT(sent == 0);
	res = guest_mem_read(&s->rig.mem, h->buffer, got, sizeof(got));
	ASSERT(res == 0);
	/* The header differs by its num_buffers. */
	ASSERT(memcmp(got + HEADER, wanted + HEADER, FRAME) == 0);
}

/* Receive buffers are only looked for when there is a frame. */
static void net_provoke(struct subject *s, uint32_t q_idx)
{
	if (q_idx == RX)
		add(&s->driver, TX, GPA(HOSTILE_BUF), HEADER + FRAME);
}

/* Frames, and buffers for half of them: the rest is held. */
static void net_load(struct subject *s)
{
	static const uint8_t zeros[HEADER + FRAME];
	struct fake_driver *d = &s->driver;
	int res = guest_mem_write(&s->rig.mem, GPA(HOSTILE_BUF), zeros, sizeof(zeros));

	ASSERT(res == 0);
	for (uint64_t i = 0; i < HOSTILE_QUEUE / 2 && d->queues[RX].n_free > 0; i++)
		add(d, RX, GPA(HOSTILE_BUF + (1 + i) * BUFFER), BUFFER);
	while (d->queues[TX].n_free > 0)
		add(d, TX, GPA(HOSTILE_BUF), sizeof(zeros));
}

const struct subject_kind subject_net = {
	.name = "net",
	.n_queues = 2,
	.output_queue = TX,
	.traits = SUBJECT_HAS_HEADERS,
	.open = net_open,
	.close = net_close,
	.boot = net_boot,
	.use = net_use,
	.provoke = net_provoke,
	.load = net_load,
};
