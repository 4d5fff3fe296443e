/* See rig.h. */
#include "support/rig.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "virtio/virtio_wire.h"

#define PATIENCE_NS (60 * NS_PER_S)

static void open_memory(struct rig *r, uint64_t mem_len)
{
	int res = guest_mem_map_anonymous(&r->mem, GPA(0), mem_len);

	ASSERT(res == 0);
	r->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT(r->irq_fd >= 0);
}

void rig_open(struct rig *r, enum reactor_backend backend, uint64_t mem_len)
{
	const struct reactor_config config = { .backend = backend };
	struct error err;

	*r = (struct rig){ 0 };
	int res = reactor_new(&config, &r->reactor, &err);
	ASSERT(res == 0);
	open_memory(r, mem_len);
}

void rig_open_beside(struct rig *r, const struct rig *other, uint64_t mem_len)
{
	*r = (struct rig){ .reactor = other->reactor, .is_guest_of_reactor = true };
	open_memory(r, mem_len);
}

void rig_attach(struct rig *r, struct virtio_dev *dev, const struct doorbell_host *doorbell)
{
	struct virtio_mmio_config config = {
		.base = GPA(0xc0000000),
		.mem = &r->mem,
		.reactor = r->reactor,
		.irq_fd = r->irq_fd,
	};
	struct error err;

	if (doorbell)
		config.doorbell = *doorbell;
	int res = virtio_mmio_new(&config, dev, &r->mmio, &err);
	ASSERT(res == 0);
}

static void on_stopped(void *ctx)
{
	struct rig *r = ctx;

	ASSERT(!r->is_stopped); /* once */
	r->is_stopped = true;
}

void rig_stop_begin(struct rig *r)
{
	virtio_mmio_stop(r->mmio, on_stopped, r);
	ASSERT(!r->is_stopped); /* never from inside */
}

static void wait_until_stopped(struct rig *r)
{
	uint64_t deadline_ns = rig_deadline();

	while (!r->is_stopped)
		rig_wait(r, deadline_ns);
}

void rig_stop(struct rig *r)
{
	rig_stop_begin(r);
	wait_until_stopped(r);
}

void rig_detach(struct rig *r)
{
	if (!r->is_stopped)
		rig_stop(r);
	r->mmio = virtio_mmio_free(r->mmio);
}

void rig_close(struct rig *r)
{
	if (!r->is_guest_of_reactor)
		r->reactor = reactor_free(r->reactor);
	guest_mem_fini(&r->mem);
	close(r->irq_fd);
}

struct io_region *rig_region(struct rig *r)
{
	return virtio_mmio_region(r->mmio);
}

uint64_t rig_read(struct rig *r, uint64_t off, unsigned size)
{
	struct io_region *region = rig_region(r);

	return region->ops->read(region, off, size);
}

void rig_write(struct rig *r, uint64_t off, unsigned size, uint64_t value)
{
	struct io_region *region = rig_region(r);

	region->ops->write(region, off, size, value);
}

static void on_vcpu_done(struct reactor_msg *msg)
{
	container_of(msg, struct rig_vcpu, done_msg)->is_done = true;
}

static void *vcpu_run(void *arg)
{
	struct rig_vcpu *v = arg;

	rig_write(v->rig, v->off, 4, v->value);
	if (v->after)
		v->after(v->ctx);
	(void)reactor_post(v->rig->reactor, &v->done_msg); /* wakes it; true: posted once */
	return NULL;
}

void rig_vcpu_begin(struct rig_vcpu *v)
{
	v->is_done = false;
	v->done_msg.fn = on_vcpu_done;
	int res = pthread_create(&v->thread, NULL, vcpu_run, v);
	ASSERT(res == 0);
}

void rig_vcpu_end(struct rig_vcpu *v)
{
	uint64_t deadline_ns = rig_deadline();

	while (!v->is_done)
		rig_wait(v->rig, deadline_ns);
	int res = pthread_join(v->thread, NULL);
	ASSERT(res == 0);
}

void rig_write_any(struct rig *r, uint64_t off, unsigned size, uint64_t value)
{
	struct rig_vcpu v = { .rig = r, .off = off, .value = (uint32_t)value };

	if (size != 4 || (off != VIRTIO_MMIO_STATUS && off != VIRTIO_MMIO_QUEUE_READY) ||
	    !(rig_read(r, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		rig_write(r, off, size, value);
		return;
	}
	rig_vcpu_begin(&v);
	rig_vcpu_end(&v);
}

void rig_reset(struct rig *r)
{
	rig_write_any(r, VIRTIO_MMIO_STATUS, 4, 0);
}

void rig_turns(struct rig *r, int n)
{
	while (n-- > 0)
		reactor_turn(r->reactor, 0);
}

void rig_wait(struct rig *r, uint64_t deadline_ns)
{
	reactor_turn(r->reactor, NS_PER_MS);
	if (r->on_wait)
		r->on_wait(r->ctx);
	ASSERT(clock_now_ns() < deadline_ns);
}

uint64_t rig_deadline(void)
{
	return clock_now_ns() + PATIENCE_NS;
}

uint64_t rig_interrupts(struct rig *r)
{
	uint64_t n = 0;

	return read(r->irq_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

bool rig_needs_reset(struct rig *r)
{
	return rig_read(r, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

struct virtio_mmio_stats rig_stats(const struct rig *r)
{
	struct virtio_mmio_stats s;

	virtio_mmio_stats(r->mmio, &s);
	return s;
}
