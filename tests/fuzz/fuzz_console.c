/*
 * virtio-console under a hostile driver and a moody host: any chain on any of its eight queues,
 * control messages true and false, sinks that refuse, resets at any moment.
 *
 * Properties: an offer is never larger than the bounce buffer; what the statistics say is what the
 * sinks took; a send never claims more than it was given; every reset and the final stop end.
 */
#include "fuzz_virtio.h"

#include "virtio/virtio_console.h"

enum { OPS_MAX = 256, N_QUEUES = 8, QUEUE_SIZE = 8, OFFER_MAX = 32 * 1024 };

enum op {
	OP_CHAIN,
	OP_DESC,
	OP_CONTROL,
	OP_KICK,
	OP_TURN,
	OP_SEND,
	OP_RESUME,
	OP_MOOD,
	OP_RESIZE,
	OP_OPEN,
	OP_RESTART,
	OP_POKE,
	OP_DRAIN,
	OP_CONFIG,
	OP_CUT_SHORT,
	N_OPS
};

struct sink {
	struct run *run;
	unsigned port;
	size_t take_max;
	uint64_t n_taken;
	bool resumes_inside, answers, is_open;
};

struct run {
	struct rig rig;
	struct fake_driver driver;
	struct virtio_console *console;
	struct sink sinks[VIRTIO_CONSOLE_N_PORTS];
};

static size_t sink_output(void *ctx, const uint8_t *data, size_t n)
{
	struct sink *s = ctx;
	size_t taken = n < s->take_max ? n : s->take_max;
	uint8_t sum = 0;

	FUZZ_CHECK(n > 0 && n <= OFFER_MAX);
	for (size_t i = 0; i < n; i++)
		sum ^= data[i]; /* readable, as far as sanitizers can tell */
	s->n_taken += taken;
	if (s->resumes_inside)
		virtio_console_resume(s->run->console, (enum virtio_console_port_id)s->port);
	return taken + (sum & 0);
}

static void sink_input_ready(void *ctx)
{
	static const uint8_t bytes[100];
	struct sink *s = ctx;

	FUZZ_CHECK(s->is_open);
	if (s->answers)
		(void)virtio_console_send(s->run->console, (enum virtio_console_port_id)s->port,
					  bytes, sizeof(bytes));
}

static void sink_opened(void *ctx, bool open)
{
	struct sink *s = ctx;

	FUZZ_CHECK(open != s->is_open);
	s->is_open = open;
}

/* Sinks give in while a reset waits: nobody has a second for a linger here. */
static void give_in(void *ctx)
{
	struct run *r = ctx;

	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		r->sinks[i].take_max = SIZE_MAX;
		virtio_console_resume(r->console, (enum virtio_console_port_id)i);
	}
}

static void restart(struct run *r, uint8_t features)
{
	struct fake_driver *d = &r->driver;

	rig_reset(&r->rig);
	d->arena = FUZZ_ARENA;
	for (unsigned i = 0; i < N_QUEUES; i++)
		d->queues[i] = (struct fake_queue){ 0 };
	fake_driver_start(d, (uint64_t)(features & 3) << VIRTIO_RING_F_INDIRECT_DESC | 3, N_QUEUES,
			  QUEUE_SIZE);
}

/* A good chain: one descriptor, in the direction that its queue wants. */
static void add_chain(struct run *r, uint32_t q_idx, struct fuzz_input *in)
{
	gpa_t gpa = GPA(0x4000 + fuzz_u16(in) % 0x8000);
	struct fake_seg seg = { gpa, 1 + fuzz_u8(in) * 16u, !(q_idx & 1) };
	struct fake_driver *d = &r->driver;

	if (d->queues[q_idx].n_free > 0)
		(void)fake_driver_add(d, q_idx, &seg, 1);
}

static void add_control(struct run *r, struct fuzz_input *in)
{
	struct {
		uint32_t id;
		uint16_t event, value;
	} msg;
	msg.id = fuzz_u8(in) % 4u; /* one by one: an initialiser may evaluate in any order */
	msg.event = fuzz_u8(in) % 9u;
	msg.value = fuzz_u8(in) % 3u;
	struct fake_seg seg = { GPA(0x3000 + fuzz_u8(in) * 8u), sizeof(msg), false };
	struct fake_driver *d = &r->driver;

	if (d->queues[3].n_free == 0)
		return;
	FUZZ_CHECK(guest_mem_write(&r->rig.mem, seg.gpa, &msg, sizeof(msg)) == 0);
	(void)fake_driver_add(d, 3, &seg, 1);
	(void)fake_driver_kick(d, 3);
}

static void send_bytes(struct run *r, enum virtio_console_port_id port, size_t n)
{
	static const uint8_t bytes[1 << 16];

	FUZZ_CHECK(virtio_console_send(r->console, port, bytes, n) <= n);
}

static void set_mood(struct run *r, uint8_t how, size_t take_max)
{
	struct sink *s = &r->sinks[1 + how % 2];

	s->take_max = how & 4 ? SIZE_MAX : take_max;
	s->resumes_inside = how & 8;
	s->answers = how & 16;
}

static void step(struct run *r, struct fuzz_input *in)
{
	enum op op = (enum op)(fuzz_u8(in) % N_OPS);
	uint8_t a = fuzz_u8(in);
	uint32_t q_idx = a % N_QUEUES;
	enum virtio_console_port_id port =
	    (enum virtio_console_port_id)(a % VIRTIO_CONSOLE_N_PORTS);

	switch (op) {
	case OP_CHAIN:
		add_chain(r, q_idx, in);
		break;
	case OP_DESC:
		fuzz_raw_desc(&r->driver, q_idx, in);
		fake_driver_raw_avail(&r->driver, q_idx, fuzz_u8(in) % QUEUE_SIZE);
		break;
	case OP_CONTROL:
		add_control(r, in);
		break;
	case OP_KICK:
		fake_driver_write(&r->driver, VIRTIO_MMIO_QUEUE_NOTIFY, q_idx);
		break;
	case OP_TURN:
		reactor_turn(r->rig.reactor, 0);
		break;
	case OP_SEND:
		send_bytes(r, port, fuzz_u16(in));
		break;
	case OP_RESUME:
		virtio_console_resume(r->console, port);
		break;
	case OP_MOOD: /* port 0 takes everything, always */
		set_mood(r, a, fuzz_u8(in));
		break;
	case OP_RESIZE:
		virtio_console_resize(r->console, a, fuzz_u8(in));
		break;
	case OP_OPEN:
		virtio_console_set_open(r->console, port, a & 8);
		break;
	case OP_RESTART:
		restart(r, a);
		break;
	case OP_POKE:
		fuzz_poke(&r->rig.mem, in);
		break;
	case OP_DRAIN:
		virtio_mmio_drain(r->rig.mmio);
		break;
	case OP_CONFIG:
		(void)rig_read(&r->rig, VIRTIO_MMIO_CONFIG + (a >> 2), 1u << (a & 3));
		break;
	case OP_CUT_SHORT: /* for good: not what most runs want */
		if (a > 0xf0)
			virtio_console_cut_short(r->console);
		break;
	case N_OPS:
		break;
	}
}

static void check(const struct run *r)
{
	struct virtio_console_stats stats;

	virtio_console_stats(r->console, &stats);
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		FUZZ_CHECK(stats.port[i].bytes_out == r->sinks[i].n_taken);
		FUZZ_CHECK(virtio_console_is_open(r->console, (enum virtio_console_port_id)i) ==
			   r->sinks[i].is_open);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct virtio_console_port_ops ops = { sink_output, sink_input_ready,
							    sink_opened };
	struct fuzz_input in = { data, size };
	static struct run r;
	struct virtio_console_config config = {
		.names = { NULL, "one", "two" },
		.ops = { ops, ops, ops },
		.rows = 1,
		.cols = 1,
	};
	struct error err;

	r = (struct run){ 0 };
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		r.sinks[i] = (struct sink){ .run = &r, .port = i, .take_max = SIZE_MAX };
		config.ctx[i] = &r.sinks[i];
	}
	config.ops[CONSOLE_PORT_FRAMES].must_arrive = true;
	fuzz_rig_open(&r.rig);
	FUZZ_CHECK(virtio_console_new(&config, r.rig.reactor, &r.console, &err) == 0);
	fuzz_rig_attach(&r.rig, virtio_console_dev(r.console), &r.driver);
	r.rig.on_wait = give_in;
	r.rig.ctx = &r;
	restart(&r, fuzz_u8(&in));
	for (int i = 0; i < OPS_MAX && in.n > 0; i++) {
		step(&r, &in);
		check(&r);
	}
	give_in(&r);
	rig_detach(&r.rig);
	check(&r);
	r.console = virtio_console_free(r.console);
	rig_close(&r.rig);
	return 0;
}
