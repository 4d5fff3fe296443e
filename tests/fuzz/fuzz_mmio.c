/*
 * Register sequences of any width, order and value against the transport and the core: the first byte
 * chooses over which device. One is the target's own, of two queues, which holds chains in flight and
 * stops late; the others are those of support/subject.h.
 *
 * Properties: identity registers never change; a ready queue implies FEATURES_OK or a reset that is
 * due, DRIVER_OK implies FEATURES_OK; NEEDS_RESET only with a counted fault; every reset and the
 * final stop end.
 */
#include "fuzz_virtio.h"

#include "support/subject.h"

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

static struct virtio_dev *holder_open(struct subject *s)
{
	static struct fuzz_dev f;

	f = (struct fuzz_dev){ 0 };
	virtio_dev_init(&f.dev, &dev_ops, s->rig.reactor);
	s->rig.on_wait = complete;
	s->rig.ctx = &f;
	return &f.dev;
}

static void holder_close(struct subject *s)
{
	virtio_dev_fini(s->dev);
}

static const struct subject_kind holder = { .name = "holder",
					    .n_queues = 2,

					    .open = holder_open,
					    .close = holder_close };

static void check(struct subject *s)
{
	uint32_t status = fake_driver_read(&s->driver, VIRTIO_MMIO_STATUS);

	FUZZ_CHECK(fake_driver_read(&s->driver, VIRTIO_MMIO_MAGIC_VALUE) == VIRTIO_WIRE_MAGIC);
	FUZZ_CHECK(!(status & VIRTIO_CONFIG_S_DRIVER_OK) || status & VIRTIO_CONFIG_S_FEATURES_OK);
	FUZZ_CHECK(!(status & VIRTIO_CONFIG_S_NEEDS_RESET) ||
		   rig_stats(&s->rig).n_guest_faults > 0);
	FUZZ_CHECK(fake_driver_read(&s->driver, VIRTIO_MMIO_INTERRUPT_STATUS) <= 3);
}

/* To DRIVER_OK as a good driver does it, so that inputs get that far. */
static void good_start(struct subject *s, uint64_t features)
{
	rig_reset(&s->rig);
	fake_driver_init(&s->driver, &s->rig.mem, rig_region(&s->rig), GPA(FUZZ_ARENA));
	features &= fake_driver_offered(&s->driver);
	if (fake_driver_negotiate(&s->driver, features) & VIRTIO_CONFIG_S_FEATURES_OK)
		fake_driver_start(&s->driver, features, s->kind->n_queues, QUEUE_SIZE);
}

static void any_write(struct subject *s, struct fuzz_input *in, uint8_t how, unsigned size)
{
	uint64_t off = how & 8 ? fuzz_u16(in) % (VIRTIO_MMIO_LEN - 8) : fuzz_u8(in) % 80u * 4;

	rig_write_any(&s->rig, off, size, how & 16 ? fuzz_u64(in) : fuzz_u8(in));
}

static void any_chain(struct subject *s, struct fuzz_input *in, uint32_t q_idx)
{
	if (!s->driver.queues[q_idx].size)
		return;
	fake_driver_raw_avail(&s->driver, q_idx, fuzz_u8(in) % (QUEUE_SIZE + 1));
	(void)fake_driver_kick(&s->driver, q_idx);
}

static void step(struct subject *s, struct fuzz_input *in)
{
	static const unsigned sizes[] = { 4, 4, 4, 4, 1, 2, 8, 4 };
	enum op op = (enum op)(fuzz_u8(in) % N_OPS);
	uint8_t a = fuzz_u8(in);
	unsigned size = sizes[a % ARRAY_SIZE(sizes)];
	uint32_t q_idx = a % s->kind->n_queues;

	switch (op) {
	case OP_READ:
		(void)rig_read(&s->rig, fuzz_u16(in) % (VIRTIO_MMIO_LEN - 8), size);
		break;
	case OP_WRITE:
		any_write(s, in, a, size);
		break;
	case OP_STATUS:
		rig_write_any(&s->rig, VIRTIO_MMIO_STATUS, 4, a);
		break;
	case OP_GOOD_START:
		good_start(s, fuzz_u64(in));
		break;
	case OP_CHAIN:
		any_chain(s, in, q_idx);
		break;
	case OP_DESC:
		if (s->driver.queues[q_idx].size)
			fuzz_raw_desc(&s->driver, q_idx, in);
		break;
	case OP_TURN:
		rig_turns(&s->rig, 1);
		break;
	case OP_POKE:
		fuzz_poke(&s->rig.mem, in);
		break;
	case OP_COMPLETE:
		if (s->rig.on_wait)
			s->rig.on_wait(s->rig.ctx);
		break;
	case OP_DRAIN:
		virtio_mmio_drain(s->rig.mmio);
		break;
	case N_OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	static struct subject s;
	size_t kind = fuzz_u8(&in) % (n_subject_kinds + 1);

	s = (struct subject){ .kind = kind ? subject_kinds[kind - 1] : &holder };
	fuzz_rig_open(&s.rig);
	s.dev = s.kind->open(&s);
	fuzz_rig_attach(&s.rig, s.dev, &s.driver);
	for (int i = 0; i < OPS_MAX && in.n > 0; i++) {
		step(&s, &in);
		check(&s);
	}
	rig_detach(&s.rig);
	s.kind->close(&s);
	rig_close(&s.rig);
	return 0;
}
