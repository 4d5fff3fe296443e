/*
 * What the virtio targets share: guest memory that starts as zeros, a device behind its registers,
 * a reactor. Register writes that wait for the reactor (a reset) run on a thread of their own.
 */
#pragma once

#include "fuzz.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "reactor/reactor.h"
#include "support/fake_driver.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_wire.h"

enum { FUZZ_MEM = 1 << 16, FUZZ_ARENA = 0x100 };

struct fuzz_vm {
	struct guest_mem mem;
	struct reactor *reactor;
	struct virtio_mmio *mmio;
	struct fake_driver driver;
	void (*on_wait)(void *ctx); /* while a register write waits for the reactor */
	void *ctx;
	bool is_stopped;
};

static inline void fuzz_vm_open(struct fuzz_vm *vm)
{
	const struct reactor_config config = { .backend = REACTOR_EPOLL };
	struct error err;

	*vm = (struct fuzz_vm){ 0 };
	/* Two ranges, so that buffers cross a border. */
	FUZZ_CHECK(guest_mem_map_anonymous(&vm->mem, GPA(0), FUZZ_MEM / 2) == 0);
	FUZZ_CHECK(guest_mem_map_anonymous(&vm->mem, GPA(FUZZ_MEM / 2), FUZZ_MEM / 2) == 0);
	FUZZ_CHECK(reactor_new(&config, &vm->reactor, &err) == 0);
}

static inline void fuzz_vm_attach(struct fuzz_vm *vm, struct virtio_dev *dev)
{
	const struct virtio_mmio_config config = {
		.base = GPA(0xc0000000), .mem = &vm->mem, .reactor = vm->reactor, .irq_fd = -1
	};
	struct error err;

	FUZZ_CHECK(virtio_mmio_new(&config, dev, &vm->mmio, &err) == 0);
	fake_driver_init(&vm->driver, &vm->mem, virtio_mmio_region(vm->mmio), GPA(FUZZ_ARENA));
}

static inline void fuzz_vm_on_stopped(void *ctx)
{
	((struct fuzz_vm *)ctx)->is_stopped = true;
}

/* The device is idle after it; its owner frees it, then fuzz_vm_close. */
static inline void fuzz_vm_stop(struct fuzz_vm *vm)
{
	uint64_t end_ns = clock_now_ns() + 10 * NS_PER_S;

	virtio_mmio_stop(vm->mmio, fuzz_vm_on_stopped, vm);
	while (!vm->is_stopped) {
		reactor_turn(vm->reactor, NS_PER_MS);
		if (vm->on_wait)
			vm->on_wait(vm->ctx);
		FUZZ_CHECK(clock_now_ns() < end_ns);
	}
	vm->mmio = virtio_mmio_free(vm->mmio);
}

static inline void fuzz_vm_close(struct fuzz_vm *vm)
{
	vm->reactor = reactor_free(vm->reactor);
	guest_mem_fini(&vm->mem);
}

struct fuzz_write {
	struct fuzz_vm *vm;
	uint64_t off, value;
	_Atomic bool is_done;
};

static inline void *fuzz_write_run(void *arg)
{
	struct fuzz_write *w = arg;
	struct io_region *r = virtio_mmio_region(w->vm->mmio);

	r->ops->write(r, w->off, 4, w->value);
	atomic_store(&w->is_done, true);
	return NULL;
}

static inline void fuzz_vm_write(struct fuzz_vm *vm, uint64_t off, unsigned size, uint64_t value)
{
	struct io_region *r = virtio_mmio_region(vm->mmio);
	struct fuzz_write w = { .vm = vm, .off = off, .value = value };
	uint64_t end_ns = clock_now_ns() + 10 * NS_PER_S;
	pthread_t thread;

	if (size != 4 || (off != VIRTIO_MMIO_STATUS && off != VIRTIO_MMIO_QUEUE_READY) ||
	    !(r->ops->read(r, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		r->ops->write(r, off, size, value);
		return;
	}
	FUZZ_CHECK(pthread_create(&thread, NULL, fuzz_write_run, &w) == 0);
	while (!atomic_load(&w.is_done)) {
		reactor_turn(vm->reactor, NS_PER_MS / 10);
		if (vm->on_wait)
			vm->on_wait(vm->ctx);
		FUZZ_CHECK(clock_now_ns() < end_ns);
	}
	FUZZ_CHECK(pthread_join(thread, NULL) == 0);
}

/* Arbitrary bytes at an arbitrary place. */
static inline void fuzz_vm_poke(struct fuzz_vm *vm, struct fuzz_input *in)
{
	uint16_t at = fuzz_u16(in);
	uint8_t bytes[32];
	size_t n = 1 + fuzz_u8(in) % sizeof(bytes);

	fuzz_take(in, bytes, n);
	if (guest_mem_write(&vm->mem, GPA(at), bytes, n) < 0)
		return; /* across a border: nothing written */
}

/* A hostile descriptor, biased towards what nearly works. */
static inline void fuzz_raw_desc(struct fake_driver *d, uint32_t q_idx, struct fuzz_input *in)
{
	uint16_t size = d->queues[q_idx].size;
	uint8_t how = fuzz_u8(in);
	uint16_t i = (uint16_t)(fuzz_u8(in) % size);
	uint64_t addr = how & 1 ? fuzz_u64(in) : fuzz_u16(in);
	uint32_t len = how & 2 ? fuzz_u32(in) : fuzz_u16(in);
	uint16_t flags = how & 4 ? fuzz_u16(in) : fuzz_u8(in) & 3;
	uint16_t next = how & 8 ? fuzz_u16(in) : (uint16_t)(fuzz_u8(in) % size);

	if (how & 16) /* a table that may well be good */
		len &= 0xf0;
	fake_driver_raw_desc(d, q_idx, i, addr, len, flags, next);
}
