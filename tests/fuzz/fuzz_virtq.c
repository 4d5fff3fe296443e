/*
 * virtq_pop and its kin over rings that a hostile driver writes between any two calls.
 *
 * Properties: every slice of a chain lies in guest memory; a chain's lengths are the sums of its
 * slices; at most `size` heads are in flight, each once; copies of a whole part succeed, one byte
 * more does not.
 */
#include "fuzz_virtio.h"

#include "base/num.h"
#include "virtio/virtq.h"

enum { QUEUE_MAX = 16, OPS_MAX = 2048 };

enum op {
	OP_DESC,
	OP_AVAIL,
	OP_AVAIL_IDX,
	OP_POP,
	OP_PUSH,
	OP_FLUSH,
	OP_POKE,
	OP_TABLE,
	OP_RESET,
	OP_SET_UP,
	N_OPS
};

/* The driver's areas and tables lie in one range; buffers, in the rest, cross many borders. */
enum { WHOLE = 0x4800, PIECE = 1 << 10, N_PIECES = (FUZZ_MEM - WHOLE) / PIECE };

struct run {
	struct guest_mem mem;
	struct fake_driver driver;
	struct virtq q;
	struct virtq_chain *held[QUEUE_MAX];
	unsigned n_held;
	bool is_broken;
};

static void configure(struct run *r, struct fuzz_input *in)
{
	uint16_t size = (uint16_t)(1u << fuzz_u8(in) % 5);
	uint8_t features = fuzz_u8(in);

	fake_driver_layout(&r->driver, 0, size);
	const struct fake_queue *fq = &r->driver.queues[0];
	const struct virtq_areas areas = { fq->desc_gpa, fq->avail_gpa, fq->used_gpa };
	FUZZ_CHECK(virtq_configure(&r->q, size, &areas) == 0);
	r->q.event_idx = features & 1;
	r->q.indirect = features & 2;
	r->n_held = 0;
	r->is_broken = false;
}

static uint64_t check_slices(const struct run *r, const struct guest_slice *slices, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const struct iovec iov = guest_slice_iovec(slices[i]);
		const uint8_t *p = iov.iov_base;
		bool is_inside = false;

		for (size_t k = 0; k < r->mem.n_ranges; k++) {
			const struct guest_range *range = &r->mem.ranges[k];

			is_inside |= p >= range->hva && iov.iov_len <= range->len &&
				     (size_t)(p - range->hva) <= range->len - iov.iov_len;
		}
		FUZZ_CHECK(is_inside);
		FUZZ_CHECK(iov.iov_len > 0);
		sum += iov.iov_len;
	}
	return sum;
}

static void check_chain(const struct run *r, const struct virtq_chain *chain)
{
	static uint8_t buf[QUEUE_MAX * FUZZ_MEM];
	struct iovec iov[QUEUE_MAX + GUEST_MEM_MAX_RANGES];
	uint64_t readable = check_slices(r, chain->slices, chain->n_readable);
	uint64_t writable = check_slices(r, chain->slices + chain->n_readable, chain->n_writable);

	FUZZ_CHECK(chain->head < r->q.size);
	FUZZ_CHECK(readable == chain->readable_len && writable == chain->writable_len);
	FUZZ_CHECK(readable <= sizeof(buf));
	FUZZ_CHECK(chain_read(chain, 0, buf, readable) == 0);
	FUZZ_CHECK(chain_read(chain, 1, buf, readable) < 0);
	FUZZ_CHECK(chain_write(chain, writable, buf, 1) < 0);
	FUZZ_CHECK(chain_copy(chain, 0, chain, 0, (size_t)num_min(readable, writable)) == 0);
	FUZZ_CHECK(chain_copy(chain, 0, chain, 1, readable) < 0);
	int n = chain_iov(chain, CHAIN_WRITABLE, 0, writable, iov, (int)ARRAY_SIZE(iov));
	FUZZ_CHECK(n == chain->n_writable);
	FUZZ_CHECK(n < 2 || chain_iov(chain, CHAIN_WRITABLE, 0, writable, iov, n - 1) < 0);
}

static void pop(struct run *r)
{
	struct virtq_chain *chain = NULL;

	if (r->is_broken)
		return;
	bool has_avail = virtq_has_avail(&r->q);
	int res = virtq_pop(&r->q, &chain);
	FUZZ_CHECK(has_avail == (res != VIRTQ_EMPTY)); /* nobody writes in between */
	if (res < 0) {
		FUZZ_CHECK(r->q.why);
		r->is_broken = true; /* the core pops no more until reset */
	} else if (res == VIRTQ_OK) {
		check_chain(r, chain);
		for (unsigned i = 0; i < r->n_held; i++)
			FUZZ_CHECK(r->held[i] != chain);
		r->held[r->n_held++] = chain;
	}
	FUZZ_CHECK(r->q.n_in_flight == r->n_held && r->n_held <= r->q.size);
}

static void push(struct run *r, struct fuzz_input *in)
{
	if (r->n_held == 0)
		return;
	unsigned at = fuzz_u8(in) % r->n_held;
	struct virtq_chain *chain = r->held[at];
	uint32_t written = fuzz_u16(in);

	r->held[at] = r->held[--r->n_held];
	virtq_push(&r->q, chain, written < chain->writable_len ? written : chain->writable_len);
}

/* One entry of an indirect table. */
static void write_table(struct run *r, struct fuzz_input *in)
{
	uint16_t i = fuzz_u8(in) % 16;
	uint64_t addr = fuzz_u16(in);
	uint32_t len = fuzz_u16(in);
	uint16_t flags = fuzz_u8(in) % 8;
	uint16_t next = fuzz_u8(in) % 16;

	fake_driver_raw_table(&r->driver, GPA(0x4000), i, addr, len, flags, next);
}

/* Areas anywhere. What is taken is given back: the driver does not know them. */
static void set_up(struct run *r, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t size = how & 1 ? fuzz_u32(in) : 1u << fuzz_u8(in) % 6;
	struct virtq_areas areas;

	areas.desc = GPA(how & 2 ? fuzz_u64(in) : fuzz_u16(in) & ~15u);
	areas.avail = GPA(how & 4 ? fuzz_u64(in) : fuzz_u16(in) & ~1u);
	areas.used = GPA(how & 8 ? fuzz_u64(in) : fuzz_u16(in) & ~3u);
	virtq_reset(&r->q);
	if (virtq_configure(&r->q, size, &areas) == 0) {
		FUZZ_CHECK(size > 0 && size <= QUEUE_MAX);
		virtq_reset(&r->q);
	} else {
		FUZZ_CHECK(r->q.why && !virtq_is_ready(&r->q));
	}
	configure(r, in);
}

static void step(struct run *r, struct fuzz_input *in)
{
	switch ((enum op)(fuzz_u8(in) % N_OPS)) {
	case OP_DESC:
		fuzz_raw_desc(&r->driver, 0, in);
		break;
	case OP_AVAIL:
		fake_driver_raw_avail(&r->driver, 0, (uint16_t)(fuzz_u8(in) % (r->q.size + 1u)));
		break;
	case OP_AVAIL_IDX:
		fake_driver_raw_avail_idx(&r->driver, 0, fuzz_u16(in));
		break;
	case OP_POP:
		pop(r);
		break;
	case OP_PUSH:
		push(r, in);
		break;
	case OP_FLUSH:
		(void)virtq_flush(&r->q);
		break;
	case OP_POKE:
		fuzz_poke(&r->mem, in);
		break;
	case OP_TABLE:
		write_table(r, in);
		break;
	case OP_RESET:
		virtq_reset(&r->q);
		configure(r, in);
		break;
	case OP_SET_UP:
		set_up(r, in);
		break;
	case N_OPS:
		break;
	}
}

static void map_memory(struct guest_mem *mem)
{
	static uint8_t bytes[FUZZ_MEM] __attribute__((aligned(16)));
	struct guest_range range = { .len = WHOLE, .hva = bytes, .fd = -1 };

	memset(bytes, 0, sizeof(bytes));
	FUZZ_CHECK(guest_mem_add(mem, &range) == 0);
	range.len = PIECE;
	for (uint64_t i = 0; i < N_PIECES; i++) {
		range.gpa = GPA(WHOLE + i * PIECE);
		range.hva = bytes + range.gpa.addr;
		FUZZ_CHECK(guest_mem_add(mem, &range) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	static struct run r;

	r = (struct run){ 0 };
	map_memory(&r.mem);
	fake_driver_init(&r.driver, &r.mem, NULL, GPA(FUZZ_ARENA));
	virtq_init(&r.q, &r.mem, QUEUE_MAX);
	configure(&r, &in);
	for (int i = 0; i < OPS_MAX && in.n > 0; i++) {
		/* Layouts take memory: a run that resets on and on begins anew. */
		r.driver.arena = r.driver.arena > 0x3000 ? FUZZ_ARENA : r.driver.arena;
		step(&r, &in);
	}
	virtq_fini(&r.q);
	guest_mem_fini(&r.mem);
	return 0;
}
