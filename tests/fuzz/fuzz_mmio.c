/*
 * Register sequences of any width, order and value against the transport and the core, over a
 * device of two queues that holds chains in flight and stops late.
 *
 * Properties: identity registers never change; a ready queue implies FEATURES_OK or a reset that is
 * due, DRIVER_OK implies FEATURES_OK; NEEDS_RESET only with a counted fault; every reset and the
 * final stop end.
 */
#include "fuzz_virtio.h"

#include "virtio/virtio_dev.h"

enum { OPS_MAX = 512, QUEUE_SIZE = 8 };

enum op {
	OP_READ,
	OP_WRITE,
	OP_STATUS,
	OP_GOOD_START,
	OP_CHAIN,
	OP_DESC,
	OP_TURN,
	OP_POKE,
	OP_COMPLETE,
	OP_DRAIN,
	N_OPS
};

struct fuzz_dev {
	struct virtio_dev dev;
	struct virtq_chain *held[2][QUEUE_SIZE];
	unsigned n_held[2];
	bool is_stopping;
	uint8_t config[8];
};

static struct fuzz_dev *fuzz_of(struct virtio_dev *dev)
{
	return container_of(dev, struct fuzz_dev, dev);
}

static void dev_start(struct virtio_dev *dev)
{
	struct fuzz_dev *f = fuzz_of(dev);

	FUZZ_CHECK(f->n_held[0] == 0 && f->n_held[1] == 0 && !f->is_stopping);
}

static void dev_notify(struct virtio_dev *dev, uint32_t q_idx)
{
	struct fuzz_dev *f = fuzz_of(dev);
	struct virtq_chain *chain;

	FUZZ_CHECK(!f->is_stopping);
	while (virtio_dev_pop(dev, q_idx, &chain) == VIRTQ_OK) {
		FUZZ_CHECK(f->n_held[q_idx] < QUEUE_SIZE);
		f->held[q_idx][f->n_held[q_idx]++] = chain;
	}
}

static void dev_stop(struct virtio_dev *dev)
{
	fuzz_of(dev)->is_stopping = true; /* stopped by complete, as file I/O would */
}

static void dev_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t n)
{
	FUZZ_CHECK(n <= 8 && off <= 8 - n);
	memcpy(buf, fuzz_of(dev)->config + off, n);
}

static void dev_config_write(struct virtio_dev *dev, uint32_t off, const void *buf, uint32_t n)
{
	FUZZ_CHECK(n <= 8 && off <= 8 - n);
	memcpy(fuzz_of(dev)->config + off, buf, n);
}

static const struct virtio_dev_ops dev_ops = {
	.name = "fuzz",
	.device_id = 9,
	.features = 7,
	.n_queues = 2,
	.queue_size_max = QUEUE_SIZE,
	.config_size = 8,
	.start = dev_start,
	.notify = dev_notify,
	.stop = dev_stop,
	.config_read = dev_config_read,
	.config_write = dev_config_write,
};

/* Everything in flight completes. */
static void complete(void *ctx)
{
	struct fuzz_dev *f = ctx;

	virtio_dev_enter(&f->dev);
	for (uint32_t q = 0; q < 2; q++)
		while (f->n_held[q] > 0) {
			struct virtq_chain *chain = f->held[q][--f->n_held[q]];

			virtio_dev_push(&f->dev, q, chain, chain->writable_len);
		}
	if (f->is_stopping) {
		f->is_stopping = false;
		virtio_dev_stopped(&f->dev);
	}
	virtio_dev_leave(&f->dev);
}

static void check(struct fuzz_vm *vm)
{
	uint32_t status = fake_driver_read(&vm->driver, VIRTIO_MMIO_STATUS);
	struct virtio_mmio_stats stats;

	virtio_mmio_stats(vm->mmio, &stats);
	FUZZ_CHECK(fake_driver_read(&vm->driver, VIRTIO_MMIO_MAGIC_VALUE) == VIRTIO_WIRE_MAGIC);
	FUZZ_CHECK(!(status & VIRTIO_CONFIG_S_DRIVER_OK) || status & VIRTIO_CONFIG_S_FEATURES_OK);
	FUZZ_CHECK(!(status & VIRTIO_CONFIG_S_NEEDS_RESET) || stats.n_guest_faults > 0);
	FUZZ_CHECK(fake_driver_read(&vm->driver, VIRTIO_MMIO_INTERRUPT_STATUS) <= 3);
}

/* To DRIVER_OK as a good driver does it, so that inputs get that far. */
static void good_start(struct fuzz_vm *vm, uint64_t features)
{
	fuzz_vm_write(vm, VIRTIO_MMIO_STATUS, 4, 0);
	vm->driver.arena = FUZZ_ARENA;
	vm->driver.queues[0] = vm->driver.queues[1] = (struct fake_queue){ 0 };
	fake_driver_start(&vm->driver, features & (7ull | 3ull << VIRTIO_RING_F_INDIRECT_DESC), 2,
			  QUEUE_SIZE);
}

static void step(struct fuzz_vm *vm, struct fuzz_dev *f, struct fuzz_input *in)
{
	static const unsigned sizes[] = { 4, 4, 4, 4, 1, 2, 8, 4 };
	struct fake_driver *d = &vm->driver;
	enum op op = (enum op)(fuzz_u8(in) % N_OPS);
	uint8_t a = fuzz_u8(in);
	unsigned size = sizes[a % ARRAY_SIZE(sizes)];

	switch (op) {
	case OP_READ: {
		uint64_t off = fuzz_u16(in) % (VIRTIO_MMIO_LEN - 8);

		(void)d->region->ops->read(d->region, off, size);
		break;
	}
	case OP_WRITE: {
		uint64_t off =
		    a & 8 ? fuzz_u16(in) % (VIRTIO_MMIO_LEN - 8) : (fuzz_u8(in) % 80u) * 4;

		fuzz_vm_write(vm, off, size, a & 16 ? fuzz_u64(in) : fuzz_u8(in));
		break;
	}
	case OP_STATUS:
		fuzz_vm_write(vm, VIRTIO_MMIO_STATUS, 4, a);
		break;
	case OP_GOOD_START:
		good_start(vm, fuzz_u64(in));
		break;
	case OP_CHAIN:
		if (d->queues[a & 1].size) {
			fake_driver_raw_avail(d, a & 1, fuzz_u8(in) % (QUEUE_SIZE + 1));
			(void)fake_driver_kick(d, a & 1);
		}
		break;
	case OP_DESC:
		if (d->queues[a & 1].size)
			fuzz_raw_desc(d, a & 1, in);
		break;
	case OP_TURN:
		reactor_turn(vm->reactor, 0);
		break;
	case OP_POKE:
		fuzz_vm_poke(vm, in);
		break;
	case OP_COMPLETE:
		complete(f);
		break;
	case OP_DRAIN:
		virtio_mmio_drain(vm->mmio);
		break;
	case N_OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	static struct fuzz_dev f;
	static struct fuzz_vm vm;

	f = (struct fuzz_dev){ 0 };
	fuzz_vm_open(&vm);
	virtio_dev_init(&f.dev, &dev_ops, vm.reactor);
	fuzz_vm_attach(&vm, &f.dev);
	vm.on_wait = complete;
	vm.ctx = &f;
	for (int i = 0; i < OPS_MAX && in.n > 0; i++) {
		step(&vm, &f, &in);
		check(&vm);
	}
	fuzz_vm_stop(&vm);
	virtio_dev_fini(&f.dev);
	fuzz_vm_close(&vm);
	return 0;
}
