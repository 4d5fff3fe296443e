/*
 * virtio-console with MULTIPORT (VIRTIO 1.2, 5.3). Reactor thread, but for config_read (vCPU, under
 * the device's lock).
 *
 * Queues (5.3.2): 0, 1 receive and transmit of port 0; 2, 3 control; 2n + 2, 2n + 3 of port n.
 * "Transmit" is the guest's word: we call it output, and what goes to the guest input.
 *
 * The handshake (5.3.6); PORT_* from the host go out of a mask of wishes per port, in the order of the
 * bits:
 *
 *	guest                         host
 *	DEVICE_READY           ->
 *	                       <-     PORT_ADD of each port
 *	PORT_READY n           ->
 *	                       <-     CONSOLE_PORT and RESIZE (port 0), PORT_NAME, PORT_OPEN
 *	PORT_OPEN n, 1         ->     opened(true): input may flow
 *
 * Messages wait as wishes, not as copies: a guest that takes none costs nothing, and a wish made twice
 * is one message with the latest value. The control transmit queue is always consumed at once (Linux
 * spins on it).
 *
 * Output of a port: the chain at hand stays in guest memory while its sink refuses bytes; only the
 * bounce buffer of a fixed size is ours. On stop, output that is already in the queues is still
 * delivered; a sink that refuses it gets LINGER_MS to change its mind (must_arrive: all the time
 * until virtio_console_cut_short), then the bytes are lost and counted.
 */
#include "virtio/virtio_console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "virtio/virtio_wire.h"

/* The kernel's header and ours both have a struct of this name: theirs is the configuration space.
 */
#define virtio_console_config virtio_console_wire_config
#include <linux/virtio_console.h>
#undef virtio_console_config

static_assert(sizeof(struct virtio_console_control) == 8, "VIRTIO 1.2, 5.3.6.2");
static_assert(offsetof(struct virtio_console_wire_config, max_nr_ports) == 4, "5.3.4");
static_assert(offsetof(struct virtio_console_wire_config, emerg_wr) == 8, "5.3.4");

enum {
	QUEUE_CONTROL_INPUT = 2,
	QUEUE_CONTROL_OUTPUT = 3,
	N_QUEUES = 2 + 2 * VIRTIO_CONSOLE_N_PORTS,
	QUEUE_SIZE = 64,
	BOUNCE_SIZE = 32 * 1024,  /* Linux writes that much at once */
	TURN_BYTES = 1024 * 1024, /* output of a port in one turn, before others get theirs */
	CHAIN_COST = 256,         /* so that tiny chains use up a turn, too */
	CONTROL_SIZE_MAX = 128,
	LINGER_MS = 1000,
	PATIENCE_MS = 60 * 1000, /* a step of a wait that has no end of its own */
};

/* What the host has to tell the guest about a port, in the order in which it must arrive. */
enum wish {
	WISH_ADD = 1u << 0,
	WISH_CONSOLE = 1u << 1,
	WISH_RESIZE = 1u << 2,
	WISH_NAME = 1u << 3,
	WISH_OPEN = 1u << 4,
};

struct port {
	const char *name;
	struct virtio_console_port_ops ops;
	void *ctx;
	struct virtq_chain *chain; /* being output, NULL: none */
	uint32_t chain_off;
	unsigned wishes;
	bool is_ready; /* the guest knows the port */
	bool is_guest_open;
	bool is_host_open;
	bool is_stalled;      /* the sink refused; waits for resume */
	bool is_input_wanted; /* a send was short */
	uint64_t bytes_out, bytes_in, n_stalls, bytes_lost;
};

struct virtio_console {
	struct virtio_dev dev;
	struct port ports[VIRTIO_CONSOLE_N_PORTS];
	struct virtio_console_wire_config config;
	struct reactor *reactor;
	struct reactor_op stop_op; /* timer: the next step of a stop */
	uint64_t stop_deadline_ns;
	bool is_stopping;
	bool is_cut_short; /* no stop waits for a sink that refuses */
	bool is_in_sink;   /* a sink's output runs: the bounce buffer is in use */
	uint8_t bounce[BOUNCE_SIZE];
};

static struct virtio_console *console_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_console, dev);
}

static uint32_t input_queue(unsigned port_idx)
{
	return port_idx == 0 ? 0 : 2 + 2 * port_idx;
}

static uint32_t output_queue(unsigned port_idx)
{
	return input_queue(port_idx) + 1;
}

/* Control messages to the guest. */

/* The message that fulfils @wish, in @ret; returns its size. */
static size_t wish_format(const struct virtio_console *c, unsigned port_idx, enum wish wish,
			  uint8_t ret[static CONTROL_SIZE_MAX])
{
	const struct port *p = &c->ports[port_idx];
	struct virtio_console_control msg = { .id = port_idx, .value = 1 };
	size_t extra = 0;

	switch (wish) {
	case WISH_ADD:
		msg.event = VIRTIO_CONSOLE_PORT_ADD;
		break;
	case WISH_CONSOLE:
		msg.event = VIRTIO_CONSOLE_CONSOLE_PORT;
		break;
	case WISH_RESIZE: {
		/*
		 * Columns, rows, as the standard says. Linux read them the other way round until 2025 (fixed in
		 * the stable series, too), and nothing tells a guest that still does.
		 */
		uint16_t size[2] = { c->config.cols, c->config.rows };

		msg.event = VIRTIO_CONSOLE_RESIZE;
		extra = sizeof(size);
		memcpy(ret + sizeof(msg), size, extra);
		break;
	}
	case WISH_NAME: /* without a NUL (5.3.6.2) */
		msg.event = VIRTIO_CONSOLE_PORT_NAME;
		extra = strnlen(p->name, CONTROL_SIZE_MAX - sizeof(msg));
		memcpy(ret + sizeof(msg), p->name, extra);
		break;
	case WISH_OPEN:
		msg.event = VIRTIO_CONSOLE_PORT_OPEN;
		msg.value = p->is_host_open;
		break;
	}
	memcpy(ret, &msg, sizeof(msg));
	return sizeof(msg) + extra;
}

/* Sends what is wished for while there are buffers. */
static void control_flush(struct virtio_console *c)
{
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		struct port *p = &c->ports[i];

		while (p->wishes) {
			enum wish wish = (enum wish)(p->wishes & -p->wishes);
			uint8_t msg[CONTROL_SIZE_MAX];
			struct virtq_chain *chain;

			if (virtio_dev_pop(&c->dev, QUEUE_CONTROL_INPUT, &chain) != VIRTQ_OK)
				return;
			size_t n = wish_format(c, i, wish, msg);
			/* A buffer that is too small loses its message: the driver's choice. */
			int res = chain_write(chain, 0, msg, n);
			virtio_dev_push(&c->dev, QUEUE_CONTROL_INPUT, chain,
					res == 0 ? (uint32_t)n : 0);
			p->wishes &= ~(unsigned)wish;
		}
	}
}

/* Control messages from the guest. */

static void port_set_guest_open(struct port *p, bool open)
{
	if (p->is_guest_open == open)
		return;
	p->is_guest_open = open;
	if (p->ops.opened)
		p->ops.opened(p->ctx, open);
	if (open && p->is_input_wanted && p->ops.input_ready) {
		p->is_input_wanted = false;
		p->ops.input_ready(p->ctx);
	}
}

static void port_on_ready(struct virtio_console *c, unsigned port_idx)
{
	struct port *p = &c->ports[port_idx];

	p->is_ready = true;
	if (port_idx == CONSOLE_PORT_TTY)
		p->wishes |= WISH_CONSOLE;
	if (port_idx == CONSOLE_PORT_TTY && c->config.rows)
		p->wishes |= WISH_RESIZE;
	if (p->name)
		p->wishes |= WISH_NAME;
	if (p->is_host_open)
		p->wishes |= WISH_OPEN;
}

static void control_on_message(struct virtio_console *c, const struct virtio_console_control *msg)
{
	if (msg->event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned i = 0; msg->value == 1 && i < VIRTIO_CONSOLE_N_PORTS; i++)
			c->ports[i].wishes |= WISH_ADD;
		return;
	}
	if (msg->id >= VIRTIO_CONSOLE_N_PORTS)
		return;
	if (msg->event == VIRTIO_CONSOLE_PORT_READY && msg->value == 1)
		port_on_ready(c, msg->id);
	else if (msg->event == VIRTIO_CONSOLE_PORT_OPEN)
		port_set_guest_open(&c->ports[msg->id], msg->value != 0);
}

static void control_receive(struct virtio_console *c)
{
	struct virtq_chain *chain;

	while (virtio_dev_pop(&c->dev, QUEUE_CONTROL_OUTPUT, &chain) == VIRTQ_OK) {
		struct virtio_console_control msg;
		int res = chain_read(chain, 0, &msg, sizeof(msg));

		virtio_dev_push(&c->dev, QUEUE_CONTROL_OUTPUT, chain, 0);
		if (res == 0) /* shorter than a message: not one */
			control_on_message(c, &msg);
	}
	control_flush(c);
}

/* Output: guest to host. */

/* Hands the next bytes of the port's chain to its sink; returns how many it was given, 0 when it
 * refused some. */
static uint32_t port_offer(struct virtio_console *c, struct port *p)
{
	size_t n = num_min(p->chain->readable_len - p->chain_off, BOUNCE_SIZE);
	int res = chain_read(p->chain, p->chain_off, c->bounce, n);

	ASSERT(res == 0); /* inside: see n */
	c->is_in_sink = true;
	size_t taken = p->ops.output(p->ctx, c->bounce, n);
	c->is_in_sink = false;
	ASSERT(taken <= n);
	p->chain_off += (uint32_t)taken;
	p->bytes_out += taken;
	if (taken == n)
		return (uint32_t)n;
	ASSERT(p != &c->ports[CONSOLE_PORT_TTY]); /* hvc0 spins: its sink takes everything */
	p->n_stalls++;
	return 0;
}

/* Whether there is a byte to output: gives back the chain that is done, takes the next. A chain
 * costs @budget, too. */
static bool port_has_bytes(struct virtio_console *c, unsigned port_idx, uint32_t *budget)
{
	struct port *p = &c->ports[port_idx];
	uint32_t q_idx = output_queue(port_idx);

	while (!p->chain || p->chain_off == p->chain->readable_len) {
		if (p->chain)
			virtio_dev_push(&c->dev, q_idx, p->chain, 0);
		p->chain = NULL;
		p->chain_off = 0;
		if (*budget < CHAIN_COST || virtio_dev_pop(&c->dev, q_idx, &p->chain) != VIRTQ_OK)
			return false;
		*budget -= CHAIN_COST;
	}
	return *budget > 0;
}

/* Outputs what the port's queue holds, up to a turn's worth; false: there may be more. */
static bool port_pump(struct virtio_console *c, unsigned port_idx)
{
	struct port *p = &c->ports[port_idx];
	uint32_t budget = TURN_BYTES;

	while (!p->is_stalled && port_has_bytes(c, port_idx, &budget)) {
		/* Before the call: the sink may resume from inside, which then counts. */
		p->is_stalled = true;
		uint32_t n = port_offer(c, p);
		if (n == 0)
			return p->is_stalled;
		p->is_stalled = false;
		budget -= (uint32_t)num_min(budget, n);
	}
	return budget >= CHAIN_COST;
}

static void port_output(struct virtio_console *c, unsigned port_idx)
{
	if (!port_pump(c, port_idx))
		virtio_dev_again(&c->dev);
}

/* Stop. */

static bool port_has_output(struct virtio_console *c, unsigned port_idx)
{
	return c->ports[port_idx].chain || virtio_dev_has_avail(&c->dev, output_queue(port_idx));
}

/* What was not delivered is lost; at most a queue's worth is looked at, the guest may still be
 * adding. */
static void port_count_lost(struct virtio_console *c, unsigned port_idx)
{
	struct port *p = &c->ports[port_idx];

	for (int i = 0; i < QUEUE_SIZE; i++) {
		if (p->chain) {
			p->bytes_lost += p->chain->readable_len - p->chain_off;
			virtio_dev_push(&c->dev, output_queue(port_idx), p->chain, 0);
		}
		p->chain = NULL;
		p->chain_off = 0;
		if (virtio_dev_pop(&c->dev, output_queue(port_idx), &p->chain) != VIRTQ_OK)
			break;
	}
	p->chain = NULL;
}

static void port_reset(struct virtio_console *c, unsigned port_idx)
{
	struct port *p = &c->ports[port_idx];

	port_count_lost(c, port_idx);
	p->wishes = 0;
	p->is_ready = false;
	p->is_stalled = false;
	port_set_guest_open(p, false);
}

static void stop_finish(struct virtio_console *c)
{
	c->is_stopping = false;
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++)
		port_reset(c, i);
	virtio_dev_stopped(&c->dev);
}

static void stop_on_timer(struct reactor_op *op, int res UNUSED, bool more UNUSED);

/*
 * One step of a stop: outputs a turn's worth. Then, with output left, the next step follows at
 * once, or after the deadline if only refusing sinks are left (later if one of them must take it): their resume takes the
 * timer back.
 */
static void stop_step(struct virtio_console *c)
{
	bool has_more = false;
	bool is_refused = false;
	bool must_wait = false;

	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++)
		(void)port_pump(
		    c, i); /* what is left is looked at below, after every sink had its say */
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS && !virtio_dev_is_broken(&c->dev); i++) {
		if (!port_has_output(c, i))
			continue;
		if (!c->ports[i].is_stalled)
			has_more = true;
		else if (c->ports[i].ops.must_arrive && !c->is_cut_short)
			must_wait = true;
		else
			is_refused = true;
	}
	uint64_t now_ns = clock_now_ns();
	bool is_over = now_ns >= c->stop_deadline_ns;
	uint64_t next_ns = now_ns + PATIENCE_MS * NS_PER_MS;
	if (!must_wait && (is_over || (!has_more && !is_refused))) {
		stop_finish(c);
		return;
	}
	if (!is_over && has_more)
		next_ns = now_ns;
	else if (!is_over && is_refused)
		next_ns = c->stop_deadline_ns;
	reactor_timer(c->reactor, &c->stop_op, next_ns, stop_on_timer);
}

static void stop_on_timer(struct reactor_op *op, int res UNUSED, bool more UNUSED)
{
	struct virtio_console *c = container_of(op, struct virtio_console, stop_op);

	virtio_dev_enter(&c->dev);
	stop_step(c);
	virtio_dev_leave(&c->dev);
}

static void console_stop(struct virtio_dev *dev)
{
	struct virtio_console *c = console_of(dev);

	c->is_stopping = true;
	c->stop_deadline_ns = clock_now_ns() + LINGER_MS * NS_PER_MS;
	stop_step(c);
}

/* Input: host to guest. */

static void port_on_input_queue(struct virtio_console *c, unsigned port_idx)
{
	struct port *p = &c->ports[port_idx];

	if (!p->is_input_wanted || !p->is_guest_open || !p->ops.input_ready ||
	    !virtio_dev_has_avail(&c->dev, input_queue(port_idx)))
		return;
	p->is_input_wanted = false;
	p->ops.input_ready(p->ctx);
}

size_t virtio_console_send(struct virtio_console *c, enum virtio_console_port_id port,
			   const void *data, size_t n)
{
	struct port *p = &c->ports[port];
	const uint8_t *bytes = data;
	struct virtq_chain *chain;
	size_t done = 0;

	virtio_dev_enter(&c->dev);
	while (done < n && p->is_guest_open && virtio_dev_is_running(&c->dev) &&
	       virtio_dev_pop(&c->dev, input_queue(port), &chain) == VIRTQ_OK) {
		size_t len = num_min(n - done, chain->writable_len);
		int res = chain_write(chain, 0, bytes + done, len);

		ASSERT(res == 0); /* inside: see len */
		virtio_dev_push(&c->dev, input_queue(port), chain, (uint32_t)len);
		done += len;
	}
	p->bytes_in += done;
	if (done < n)
		p->is_input_wanted = true;
	virtio_dev_leave(&c->dev);
	return done;
}

/* The device. */

static void console_start(struct virtio_dev *dev)
{
	/* Nothing: the driver speaks first (DEVICE_READY). */
}

static void console_notify(struct virtio_dev *dev, uint32_t q_idx)
{
	struct virtio_console *c = console_of(dev);

	if (q_idx == QUEUE_CONTROL_INPUT)
		control_flush(c);
	else if (q_idx == QUEUE_CONTROL_OUTPUT)
		control_receive(c);
	else if (q_idx % 2)
		port_output(c, q_idx == 1 ? 0 : q_idx / 2 - 1);
	else
		port_on_input_queue(c, q_idx == 0 ? 0 : q_idx / 2 - 1);
}

static void console_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t n)
{
	memcpy(buf, (const uint8_t *)&console_of(dev)->config + off, n);
}

static const struct virtio_dev_ops console_ops = {
	.name = "virtio-console",
	.device_id = VIRTIO_ID_CONSOLE,
	.features = 1u << VIRTIO_CONSOLE_F_SIZE | 1u << VIRTIO_CONSOLE_F_MULTIPORT,
	.n_queues = N_QUEUES,
	.queue_size_max = QUEUE_SIZE,
	.config_size = offsetof(struct virtio_console_wire_config, emerg_wr),
	.start = console_start,
	.notify = console_notify,
	.stop = console_stop,
	.config_read = console_config_read,
};

int virtio_console_new(const struct virtio_console_config *config, struct reactor *reactor,
		       struct virtio_console **ret, struct error *err)
{
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		const char *name = config->names[i];

		ASSERT(config->ops[i].output);
		if (name && strlen(name) > CONTROL_SIZE_MAX - sizeof(struct virtio_console_control))
			return error_set_text(err, -ENAMETOOLONG,
					      "console port name '%s' is too long", name);
	}
	struct virtio_console *c = xcalloc(1, sizeof(*c));
	virtio_dev_init(&c->dev, &console_ops, reactor);
	c->reactor = reactor;
	c->config.rows = config->rows;
	c->config.cols = config->cols;
	c->config.max_nr_ports = VIRTIO_CONSOLE_N_PORTS;
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		c->ports[i].name = config->names[i];
		c->ports[i].ops = config->ops[i];
		c->ports[i].ctx = config->ctx[i];
		c->ports[i].is_host_open = true;
	}
	*ret = c;
	return 0;
}

struct virtio_console *virtio_console_free(struct virtio_console *c)
{
	if (!c)
		return NULL;
	ASSERT(reactor_op_is_idle(&c->stop_op));
	virtio_dev_fini(&c->dev);
	free(c);
	return NULL;
}

struct virtio_dev *virtio_console_dev(struct virtio_console *c)
{
	return &c->dev;
}

void virtio_console_resume(struct virtio_console *c, enum virtio_console_port_id port)
{
	struct port *p = &c->ports[port];

	virtio_dev_enter(&c->dev);
	if (p->is_stalled) {
		p->is_stalled = false;
		if (c->is_stopping && p->ops.must_arrive && !c->is_cut_short)
			c->stop_deadline_ns = clock_now_ns() + LINGER_MS * NS_PER_MS;
		if (c->is_stopping && c->stop_op.state == REACTOR_OP_ARMED)
			reactor_cancel(c->reactor,
				       &c->stop_op); /* its callback takes the next step */
		else if (c->is_in_sink)
			virtio_dev_again(&c->dev);
		else if (!c->is_stopping)
			port_output(c, port);
	}
	virtio_dev_leave(&c->dev);
}

void virtio_console_cut_short(struct virtio_console *c)
{
	virtio_dev_enter(&c->dev);
	c->is_cut_short = true;
	if (c->is_stopping) {
		c->stop_deadline_ns = 0;
		if (c->stop_op.state == REACTOR_OP_ARMED)
			reactor_cancel(c->reactor, &c->stop_op);
	}
	virtio_dev_leave(&c->dev);
}

void virtio_console_set_open(struct virtio_console *c, enum virtio_console_port_id port, bool open)
{
	struct port *p = &c->ports[port];

	virtio_dev_enter(&c->dev);
	if (p->is_host_open != open) {
		p->is_host_open = open;
		if (p->is_ready)
			p->wishes |= WISH_OPEN;
		control_flush(c);
	}
	virtio_dev_leave(&c->dev);
}

void virtio_console_resize(struct virtio_console *c, uint16_t rows, uint16_t cols)
{
	virtio_dev_enter(&c->dev);
	if (c->config.rows != rows || c->config.cols != cols) {
		c->config.rows = rows;
		c->config.cols = cols;
		if (c->ports[CONSOLE_PORT_TTY].is_ready)
			c->ports[CONSOLE_PORT_TTY].wishes |= WISH_RESIZE;
		virtio_dev_config_changed(&c->dev);
		control_flush(c);
	}
	virtio_dev_leave(&c->dev);
}

bool virtio_console_is_open(const struct virtio_console *c, enum virtio_console_port_id port)
{
	return c->ports[port].is_guest_open;
}

void virtio_console_stats(const struct virtio_console *c, struct virtio_console_stats *ret)
{
	*ret = (struct virtio_console_stats){ 0 };
	for (unsigned i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		ret->port[i].bytes_out = c->ports[i].bytes_out;
		ret->port[i].bytes_in = c->ports[i].bytes_in;
		ret->port[i].n_stalls = c->ports[i].n_stalls;
		ret->port[i].bytes_lost = c->ports[i].bytes_lost;
	}
}
