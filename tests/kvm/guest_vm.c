/* Runs micro-guests for tests (guest_vm.h). */
#include "guest_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

enum { PACE_NS = 1000 * 1000, MEMORY_MIB = 64 };

void guest_vm_skip_without_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return;
	}
	fprintf(stderr, "skipped: /dev/kvm: %s\n",
		strerror(errno)); /* NOLINT(concurrency-mt-unsafe) */
	exit(77);                 /* NOLINT(concurrency-mt-unsafe) */
}

static void flush_input(void *ctx)
{
	struct guest_vm_port *p = ctx;
	struct guest_vm *g = p->owner;
	size_t n = virtio_console_send(
	    vm_console(g->vm), (enum virtio_console_port_id)(p - g->port), p->in.data, p->in.len);
	buf_consume(&p->in, n);
}

void guest_vm_send(struct guest_vm *g, unsigned port, const void *data, size_t n)
{
	buf_append(&g->port[port].in, data, n);
	flush_input(&g->port[port]);
}

static void on_pace(struct reactor_op *op, int res, bool more UNUSED)
{
	struct guest_vm *g = container_of(op, struct guest_vm, pace);
	if (res)
		return;
	g->frames_room = g->config->frames_pace;
	virtio_console_resume(vm_console(g->vm), CONSOLE_PORT_FRAMES);
}

static size_t pace(struct guest_vm *g, size_t n)
{
	if (!g->config->frames_pace || g->ended)
		return n;
	size_t take = n < g->frames_room ? n : g->frames_room;
	g->frames_room -= take;
	if (take < n)
		reactor_timer(g->reactor, &g->pace, clock_now_ns() + PACE_NS, on_pace);
	return take;
}

static size_t on_output(void *ctx, const uint8_t *data, size_t n)
{
	struct guest_vm_port *p = ctx;
	struct guest_vm *g = p->owner;
	unsigned port = (unsigned)(p - g->port);
	size_t take = port == CONSOLE_PORT_FRAMES ? pace(g, n) : n;
	buf_append(&p->out, data, take);
	if (g->config->on_output)
		g->config->on_output(g, port);
	return take;
}

static void on_opened(void *ctx, bool open)
{
	struct guest_vm_port *p = ctx;
	struct guest_vm *g = p->owner;
	if (open && g->config->on_open)
		g->config->on_open(g, (unsigned)(p - g->port));
}

static void on_com1(void *ctx, const uint8_t *data, size_t n)
{
	buf_append(&((struct guest_vm *)ctx)->com1, data, n);
}

static void on_com2(void *ctx UNUSED, const uint8_t *data UNUSED, size_t n UNUSED)
{
}

static void on_end(void *ctx, enum vm_end end, const char *text)
{
	struct guest_vm *g = ctx;
	g->end = end;
	g->ended = true;
	snprintf(g->end_text, sizeof(g->end_text), "%s", text);
	/* What pacing held back is offered once more now that there is room for all. */
	virtio_console_resume(vm_console(g->vm), CONSOLE_PORT_FRAMES);
	vm_drain(g->vm);
	reactor_stop(g->reactor, 0);
}

static void on_limit(struct reactor_op *op, int res, bool more UNUSED)
{
	struct guest_vm *g = container_of(op, struct guest_vm, limit);
	if (res == 0)
		vm_stop(g->vm, VM_STOPPED);
}

static void must(int res, const struct error *err)
{
	if (res < 0)
		fail_msg("%s", err->text);
}

static void open_guest(struct guest_vm *g)
{
	char path[512];
	struct error err;
	snprintf(path, sizeof(path), "%s/guest_%s", GUEST_DIR, g->config->guest);
	g->kernel = KERNEL_IMAGE_INIT;
	must(kernel_image_open(
		 &(struct kernel_image_config){ .path = path, .cache_dir = "/nonexistent" },
		 &g->kernel, &err),
	     &err);
	g->initrd_fd = -1;
	if (!g->config->initrd_len)
		return;
	g->initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	assert_true(g->initrd_fd >= 0);
	assert_int_equal(write(g->initrd_fd, g->config->initrd, g->config->initrd_len),
			 (ssize_t)g->config->initrd_len);
}

static void build(struct guest_vm *g)
{
	struct error err;
	struct vm_config c = {
		.kernel = &g->kernel,
		.initrd_fd = g->initrd_fd,
		.initrd_len = g->config->initrd_len,
		.cmdline = g->config->cmdline ? g->config->cmdline : "",
		.topology =
		    g->config->topology
			? *g->config->topology
			: topology_uniform(1, 1, g->config->n_cpus ? g->config->n_cpus : 1, 1),
		.memory_mib = g->config->memory_mib ? g->config->memory_mib : MEMORY_MIB,
		.disk = g->config->disk,
		.net = g->config->net,
		.console.names = { NULL, "frames", "relay" },
		.com1 = on_com1,
		.com2 = on_com2,
		.on_end = on_end,
		.ctx = g,
	};
	for (size_t i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		g->port[i].owner = g;
		c.console.ops[i].output = on_output;
		c.console.ops[i].input_ready = flush_input;
		c.console.ops[i].opened = on_opened;
		c.console.ctx[i] = &g->port[i];
	}
	enum reactor_backend backend;
	const char *wanted =
	    getenv("KTSTR_REACTOR"); /* NOLINT(concurrency-mt-unsafe): one thread yet */
	must(reactor_backend_parse(wanted, &backend, &err), &err);
	must(reactor_new(&(struct reactor_config){ .backend = backend }, &g->reactor, &err), &err);
	must(vm_new(&c, g->reactor, &g->vm, &err), &err);
}

static bool timers_idle(const struct guest_vm *g)
{
	return reactor_op_is_idle(&g->limit) && reactor_op_is_idle(&g->pace);
}

static void take_down(struct guest_vm *g)
{
	if (!reactor_op_is_idle(&g->limit))
		reactor_cancel(g->reactor, &g->limit);
	if (!reactor_op_is_idle(&g->pace))
		reactor_cancel(g->reactor, &g->pace);
	while (!timers_idle(g))
		reactor_turn(g->reactor, UINT64_MAX);
	vm_stats(g->vm, &g->stats);
	g->vm = vm_free(g->vm);
	g->reactor = reactor_free(g->reactor);
	kernel_image_fini(&g->kernel);
	if (g->initrd_fd >= 0)
		close(g->initrd_fd);
}

void guest_vm_run(struct guest_vm *g, const struct guest_vm_config *config, uint64_t limit_ms)
{
	struct error err;
	*g = (struct guest_vm){ .config = config };
	g->frames_room = config->frames_pace;
	open_guest(g);
	build(g);
	reactor_timer(g->reactor, &g->limit, clock_now_ns() + limit_ms * NS_PER_MS, on_limit);
	must(vm_start(g->vm, &err), &err);
	(void)reactor_run(g->reactor); /* only on_end stops it, with 0 */
	take_down(g);
}

void guest_vm_fini(struct guest_vm *g)
{
	buf_fini(&g->com1);
	for (size_t i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		buf_fini(&g->port[i].out);
		buf_fini(&g->port[i].in);
	}
}
