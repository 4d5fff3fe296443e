/* The console with three sinks. See subject.h. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/num.h"
#include "support/fake_console.h"
#include "support/subject.h"
#include "virtio/virtio_console.h"
#include "virtio/virtio_wire.h"

enum { N_PORTS = VIRTIO_CONSOLE_N_PORTS, CONTROL_INPUT = 2, CONTROL_OUTPUT = 3, MESSAGE = 3000 };

struct sink {
	uint8_t last[MESSAGE]; /* the newest bytes, at its end */
	uint64_t n_bytes;
	size_t take_max;
};

struct host {
	struct virtio_console *console;
	struct sink sinks[N_PORTS];
	struct fake_console guest; /* the good one */
	uint8_t n_uses;
};

static size_t sink_output(void *ctx, const uint8_t *data, size_t n)
{
	struct sink *s = ctx;
	size_t taken = num_min(n, s->take_max);
	size_t kept = num_min(taken, MESSAGE);

	memmove(s->last, s->last + kept, MESSAGE - kept);
	memcpy(s->last + MESSAGE - kept, data + taken - kept, kept);
	s->n_bytes += taken;
	return taken;
}

/* A slow sink takes some more each time, so that every wait ends. */
static void on_wait(void *ctx)
{
	struct subject *s = ctx;
	struct host *h = s->host;

	for (unsigned i = 0; i < N_PORTS; i++)
		virtio_console_resume(h->console, (enum virtio_console_port_id)i);
}

static struct virtio_dev *console_open(struct subject *s)
{
	static const struct virtio_console_port_ops ops = { .output = sink_output };
	struct virtio_console_config config = {
		.names = { NULL, "frames", "relay" },
		.ops = { ops, ops, ops },
		.rows = 25,
		.cols = 80,
	};
	struct host *h = xcalloc(1, sizeof(*h));
	struct error err;

	for (unsigned i = 0; i < N_PORTS; i++) {
		h->sinks[i].take_max = SIZE_MAX;
		config.ctx[i] = &h->sinks[i];
	}
	int res = virtio_console_new(&config, s->rig.reactor, &h->console, &err);
	ASSERT(res == 0);
	s->host = h;
	s->rig.on_wait = on_wait;
	s->rig.ctx = s;
	return virtio_console_dev(h->console);
}

static void console_close(struct subject *s)
{
	struct host *h = s->host;

	h->console = virtio_console_free(h->console);
	free(h);
}

static void console_boot(struct subject *s)
{
	struct host *h = s->host;
	struct fake_console *g = &h->guest;
	uint64_t deadline_ns = rig_deadline();

	for (unsigned i = 0; i < N_PORTS; i++)
		h->sinks[i].take_max = SIZE_MAX;
	fake_console_start(g, &s->rig.mem, rig_region(&s->rig), GPA(SUBJECT_ARENA),
			   3ull << VIRTIO_RING_F_INDIRECT_DESC);
	while (!g->ports[0].is_host_open || !g->ports[1].is_host_open ||
	       !g->ports[2].is_host_open) {
		rig_wait(&s->rig, deadline_ns);
		(void)fake_console_service(g);
	}
	for (unsigned i = 1; i < N_PORTS; i++)
		fake_console_open(g, i, true);
	rig_turns(&s->rig, 2);
}

static void console_use(struct subject *s)
{
	struct host *h = s->host;
	uint8_t message[MESSAGE], page[FAKE_CONSOLE_BUFFER];
	uint64_t deadline_ns = rig_deadline();
	uint32_t got;

	h->n_uses++;
	for (size_t i = 0; i < MESSAGE; i++)
		message[i] = (uint8_t)(i * 3 + (i >> 8) + h->n_uses);
	for (unsigned port = 0; port < N_PORTS; port++) {
		const struct sink *sink = &h->sinks[port];
		uint64_t before = sink->n_bytes;

		bool is_queued = fake_console_write(&h->guest, port, message, MESSAGE);
		ASSERT(is_queued);
		while (sink->n_bytes < before + MESSAGE)
			rig_wait(&s->rig, deadline_ns);
		ASSERT(sink->n_bytes == before + MESSAGE);
		ASSERT(memcmp(sink->last, message, MESSAGE) == 0);
		size_t sent = virtio_console_send(h->console, (enum virtio_console_port_id)port,
						  message, MESSAGE);
		ASSERT(sent == MESSAGE);
		while ((got = fake_console_read(&h->guest, port, page)) == 0)
			rig_wait(&s->rig, deadline_ns);
		ASSERT(got == MESSAGE && memcmp(page, message, MESSAGE) == 0);
	}
}

static void send_control(struct subject *s, uint32_t id, uint16_t event, uint16_t value)
{
	const struct {
		uint32_t id;
		uint16_t event, value;
	} msg = { id, event, value };
	struct fake_driver *d = &s->driver;
	struct fake_seg seg = { GPA(HOSTILE_BUF), sizeof(msg), false };

	int res = guest_mem_write(&s->rig.mem, seg.gpa, &msg, sizeof(msg));
	ASSERT(res == 0);
	res = fake_driver_add(d, CONTROL_OUTPUT, &seg, 1);
	ASSERT(res >= 0);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, CONTROL_OUTPUT);
	rig_turns(&s->rig, 2);
}

/* Input goes to an open port, a control message to a driver that said it is ready. */
static void console_provoke(struct subject *s, uint32_t q_idx)
{
	struct host *h = s->host;

	if (q_idx == CONTROL_INPUT) {
		send_control(s, 0, FAKE_CONTROL_DEVICE_READY, 1);
	} else if (q_idx % 2 == 0) {
		unsigned port = q_idx ? q_idx / 2 - 1 : 0;

		send_control(s, port, FAKE_CONTROL_PORT_OPEN, 1);
		(void)virtio_console_send(h->console, (enum virtio_console_port_id)port, "x", 1);
	}
}

static void console_load(struct subject *s)
{
	struct host *h = s->host;
	const struct fake_seg seg = { GPA(HOSTILE_BUF), 4096, false };

	for (unsigned port = 0; port < N_PORTS; port++) {
		uint32_t q_idx = fake_console_output_queue(port);

		h->sinks[port].take_max = port ? 1000 : SIZE_MAX;
		while (fake_driver_add(&s->driver, q_idx, &seg, 1) >= 0)
			;
		fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_NOTIFY, q_idx);
	}
}

const struct subject_kind subject_console = {
	.name = "console",
	.n_queues = FAKE_CONSOLE_QUEUES,
	.output_queue = 5, /* of port 1 */
	.open = console_open,
	.close = console_close,
	.boot = console_boot,
	.use = console_use,
	.provoke = console_provoke,
	.load = console_load,
};
