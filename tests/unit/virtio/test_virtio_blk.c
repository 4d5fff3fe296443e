/*
 * virtio-blk from the guest's side, on both backends of the reactor: every type of request, every
 * malformed one, files that are short, full or cannot be read, and resets with I/O in flight.
 */
#include "virtio/virtio_blk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "support/block_device.h"
#include "support/fake_driver.h"
#include "virtio/blk_wire.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_wire.h"

enum {
	MEM = 24 << 20,
	ARENA = 0x1000,
	QUEUE = 256,
	SECTOR = VIRTIO_BLK_SECTOR,
	SECTORS = 8192, /* of the disk */
	PIECES_MAX = 254,
	HEADER = 16,
	NO_STATUS = 0xee, /* what a status byte is before the device writes it */
};
#define DISK          ((uint64_t)SECTORS * SECTOR)
#define RING_FEATURES (1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define FLUSH         (1ull << VIRTIO_BLK_F_FLUSH)
#define DISCARDS      (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)
#define ALL_FEATURES  (RING_FEATURES | FLUSH | DISCARDS)
#define DEADLINE_NS   (20 * NS_PER_S)

static enum reactor_backend backend;

/* What the guest knows of a request, by the head of its chain. */
struct request {
	gpa_t data, status;
	uint32_t len;     /* of data */
	uint32_t written; /* as the used ring says */
	bool is_used;
};

struct machine {
	struct guest_mem mem;
	struct reactor *reactor;
	struct virtio_blk *blk;
	struct virtio_mmio *mmio;
	struct fake_driver driver;
	struct request requests[QUEUE];
	int fd;
	int n_turns;
	bool is_stopped;
};

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 7 + (i >> 9) * 13 + 1);
}

/* A file of @n bytes, their pattern in it, that nobody else sees. */
static int new_file(uint64_t n)
{
	const char *tmp = getenv("TMPDIR");
	CLEANUP(freep) char *path = xasprintf("%s/ktstr-test-blk-XXXXXX", tmp ? tmp : "/tmp");
	uint8_t chunk[4096];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	for (uint64_t at = 0; at < n; at += sizeof(chunk)) {
		for (uint64_t i = 0; i < sizeof(chunk); i++)
			chunk[i] = pattern(at + i);
		assert_int_equal(fd_write_all(fd, chunk, num_min(sizeof(chunk), n - at)), 0);
	}
	return fd;
}

/* All that there is, one sector at a time, through the page cache. */
static struct virtio_blk_config default_config(int fd)
{
	return (struct virtio_blk_config){
		.fd = fd,
		.file = { .capacity = DISK, .block_size = SECTOR },
		.limits = { .depth = VIRTIO_BLK_DEPTH_MAX },
		.id = "disk-of-a-test",
	};
}

static void open_machine_of(struct machine *m, const struct virtio_blk_config *config,
			    uint64_t features)
{
	const struct reactor_config reactor_config = { .backend = backend };
	struct error err;

	*m = (struct machine){ .fd = config->fd };
	/* Two ranges: what crosses their border comes in more pieces than the guest made. */
	assert_int_equal(guest_mem_map_anonymous(&m->mem, GPA(0), MEM / 2), 0);
	assert_int_equal(guest_mem_map_anonymous(&m->mem, GPA(MEM / 2), MEM / 2), 0);
	assert_int_equal(reactor_new(&reactor_config, &m->reactor, &err), 0);
	assert_int_equal(virtio_blk_new(config, m->reactor, &m->blk, &err), 0);
	const struct virtio_mmio_config mmio = {
		.base = GPA(0xc0000000), .mem = &m->mem, .reactor = m->reactor, .irq_fd = -1
	};
	assert_int_equal(virtio_mmio_new(&mmio, virtio_blk_dev(m->blk), &m->mmio, &err), 0);
	fake_driver_init(&m->driver, &m->mem, virtio_mmio_region(m->mmio), GPA(ARENA));
	fake_driver_start(&m->driver, features & fake_driver_offered(&m->driver), 1, QUEUE);
}

/* A device over a file that is no disk, or over one as it is found, buffered. */
static void open_machine(struct machine *m, int fd, bool read_only, uint64_t features)
{
	const struct blk_file_wish wish = { .read_only = read_only, .buffered = true };
	struct virtio_blk_config config = default_config(fd);
	struct stat st;
	struct error err;

	config.read_only = read_only;
	assert_int_equal(fstat(fd, &st), 0);
	if (S_ISREG(st.st_mode))
		assert_int_equal(blk_file_examine(fd, "file", &wish, &config.file, &err), 0);
	open_machine_of(m, &config, features);
}

static void on_stopped(void *ctx)
{
	((struct machine *)ctx)->is_stopped = true;
}

static void stop_machine(struct machine *m)
{
	uint64_t end_ns = clock_now_ns() + DEADLINE_NS;

	virtio_mmio_stop(m->mmio, on_stopped, m);
	assert_false(m->is_stopped);
	while (!m->is_stopped) {
		reactor_turn(m->reactor, NS_PER_MS);
		assert_true(clock_now_ns() < end_ns);
	}
}

static void close_machine(struct machine *m)
{
	if (!m->is_stopped)
		stop_machine(m);
	m->mmio = virtio_mmio_free(m->mmio);
	m->blk = virtio_blk_free(m->blk);
	m->reactor = reactor_free(m->reactor);
	guest_mem_fini(&m->mem);
	fd_closep(&m->fd);
}

static struct virtio_blk_stats stats_of(const struct machine *m)
{
	struct virtio_blk_stats s;

	virtio_blk_stats(m->blk, &s);
	return s;
}

static struct virtio_mmio_stats mmio_stats_of(const struct machine *m)
{
	struct virtio_mmio_stats s;

	virtio_mmio_stats(m->mmio, &s);
	return s;
}

/* Making requests. */

static gpa_t put(struct machine *m, const void *bytes, uint64_t n)
{
	gpa_t gpa = fake_driver_alloc(&m->driver, n, 16);

	assert_int_equal(guest_mem_write(&m->mem, gpa, bytes, n), 0);
	return gpa;
}

static gpa_t put_header(struct machine *m, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	return put(m, &header, sizeof(header));
}

static gpa_t put_status(struct machine *m)
{
	static const uint8_t none = NO_STATUS;

	return put(m, &none, 1);
}

/* Adds a request of @len bytes at @data in @pieces, not kicked; returns its head. */
static int add_at(struct machine *m, uint32_t type, uint64_t sector, gpa_t data, uint32_t len,
		  uint16_t pieces)
{
	bool is_read = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct fake_seg segs[PIECES_MAX + 2];
	uint16_t n = 0;

	segs[n++] = (struct fake_seg){ put_header(m, type, sector), HEADER, false };
	n = (uint16_t)(n + fake_segs_cut(segs + n, data, len, pieces, is_read));
	gpa_t status = put_status(m);
	segs[n++] = (struct fake_seg){ status, 1, true };
	int head = fake_driver_add_best(&m->driver, 0, segs, n);
	assert_true(head >= 0);
	m->requests[head] = (struct request){ .data = data, .status = status, .len = len };
	return head;
}

static int add(struct machine *m, uint32_t type, uint64_t sector, uint32_t len, uint16_t pieces)
{
	gpa_t data = fake_driver_alloc(&m->driver, len, 512);

	return add_at(m, type, sector, data, len, pieces);
}

/* A request of exactly these segments; the last byte of the last one is its status. */
static int add_segs(struct machine *m, const struct fake_seg *segs, uint16_t n)
{
	const struct fake_seg *last = &segs[n - 1];
	static const uint8_t none = NO_STATUS;
	gpa_t status = GPA(last->gpa.addr + last->len - 1);
	int head = fake_driver_add(&m->driver, 0, segs, n);

	assert_true(head >= 0);
	if (last->is_writable)
		assert_int_equal(guest_mem_write(&m->mem, status, &none, 1), 0);
	m->requests[head] = (struct request){ .status = status };
	return head;
}

static uint8_t status_of(struct machine *m, int head)
{
	uint8_t status;

	assert_int_equal(guest_mem_read(&m->mem, m->requests[head].status, &status, 1), 0);
	return status;
}

/* Takes what the used ring has; an entry without its status byte is an error. */
static unsigned collect(struct machine *m)
{
	uint16_t head;
	uint32_t len;
	unsigned n = 0;

	for (; fake_driver_get_used(&m->driver, 0, &head, &len); n++) {
		assert_false(m->requests[head].is_used);
		assert_int_not_equal(status_of(m, head), NO_STATUS);
		m->requests[head].is_used = true;
		m->requests[head].written = len;
	}
	return n;
}

static void turn(struct machine *m)
{
	reactor_turn(m->reactor, NS_PER_MS);
	m->n_turns++;
}

static void kick_and_wait(struct machine *m, unsigned n)
{
	uint64_t end_ns = clock_now_ns() + DEADLINE_NS;

	(void)fake_driver_kick(&m->driver, 0);
	while (n > 0) {
		turn(m);
		unsigned done = collect(m);
		assert_true(done <= n);
		n -= done;
		assert_true(clock_now_ns() < end_ns);
	}
}

/* One request, from its making to its status. */
static uint8_t request(struct machine *m, uint32_t type, uint64_t sector, uint32_t len)
{
	int head = add(m, type, sector, len, 1);

	kick_and_wait(m, 1);
	assert_true(m->requests[head].is_used);
	return status_of(m, head);
}

static void fill(struct machine *m, gpa_t gpa, uint32_t n, uint64_t seed)
{
	uint8_t *bytes = malloc(n);

	for (uint32_t i = 0; i < n; i++)
		bytes[i] = pattern(seed + i);
	assert_int_equal(guest_mem_write(&m->mem, gpa, bytes, n), 0);
	free(bytes);
}

static void check_pattern(const uint8_t *bytes, uint32_t n, uint64_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(bytes[i], pattern(seed + i));
}

static void check_memory(struct machine *m, gpa_t gpa, uint32_t n, uint64_t seed)
{
	uint8_t *bytes = malloc(n);

	/* A range's border may lie inside. */
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(guest_mem_read(&m->mem, GPA(gpa.addr + i), bytes + i, 1), 0);
	check_pattern(bytes, n, seed);
	free(bytes);
}

/* Through a descriptor of its own: the device's may have O_DIRECT. */
static void read_file(const struct machine *m, uint64_t at, uint8_t *bytes, uint32_t n)
{
	CLEANUP(freep) char *path = xasprintf("/proc/self/fd/%d", m->fd);
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(fd_pread_exact(fd, bytes, n, at), 0);
}

static void check_file(struct machine *m, uint64_t at, uint32_t n, uint64_t seed)
{
	uint8_t *bytes = malloc(n);

	read_file(m, at, bytes, n);
	check_pattern(bytes, n, seed);
	free(bytes);
}

static bool is_file_zero(struct machine *m, uint64_t at, uint32_t n)
{
	uint8_t *bytes = malloc(n);
	bool is_zero = true;

	read_file(m, at, bytes, n);
	for (uint32_t i = 0; i < n; i++)
		is_zero = is_zero && bytes[i] == 0;
	free(bytes);
	return is_zero;
}

static int set_up(void **state)
{
	static struct machine m;

	open_machine(&m, new_file(DISK), false, ALL_FEATURES);
	*state = &m;
	return 0;
}

static int tear_down(void **state)
{
	close_machine(*state);
	return 0;
}

/* What the device says of itself. */

static uint64_t config(struct machine *m, size_t off, unsigned size)
{
	struct io_region *r = virtio_mmio_region(m->mmio);

	return r->ops->read(r, VIRTIO_MMIO_CONFIG + off, size);
}

static void test_config_space_of_a_writable_file(void **state)
{
	struct machine *m = *state;
	uint64_t offered = fake_driver_offered(&m->driver);

	assert_int_equal(config(m, 0, 4), SECTORS);
	assert_int_equal(config(m, 4, 4), 0);
	assert_true(config(m, offsetof(struct virtio_blk_wire_config, size_max), 4) >= 65536);
	assert_int_equal(config(m, offsetof(struct virtio_blk_wire_config, seg_max), 4), 254);
	assert_int_equal(config(m, offsetof(struct virtio_blk_wire_config, blk_size), 4), 512);
	assert_int_equal(offered & 1u << VIRTIO_BLK_F_RO, 0);
	for (const int *bit = (const int[]){ 1, 2, 6, 9, 28, 29, 32, 0 }; *bit; bit++)
		assert_true(offered >> *bit & 1);
	if (offered & DISCARDS)
		assert_int_equal(
		    config(m, offsetof(struct virtio_blk_wire_config, max_discard_seg), 4), 1);
}

static void test_read_only_file_is_not_written(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, new_file(DISK), true, ALL_FEATURES);
	assert_true(fake_driver_offered(&m.driver) >> VIRTIO_BLK_F_RO & 1);
	assert_int_equal(fake_driver_offered(&m.driver) & DISCARDS, 0);
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&m, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(&m, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	check_file(&m, 0, 4096, 0);
	assert_int_equal(stats_of(&m).n_writes, 0);
	close_machine(&m);
}

static void test_capacity_of_no_whole_sectors_is_refused(void **state)
{
	struct machine *m = *state;
	struct virtio_blk_config c = default_config(m->fd);
	struct virtio_blk *b;
	struct error err;

	c.file.capacity = 511;
	assert_int_equal(virtio_blk_new(&c, m->reactor, &b, &err), -EINVAL);
	c.file.capacity = num_align_down(UINT64_MAX, 512);
	assert_int_equal(virtio_blk_new(&c, m->reactor, &b, &err), -EINVAL);
}

/* Reads and writes. */

static void move_in_pieces(uint64_t features)
{
	static const uint16_t pieces[] = { 1, 2, 3, 4, 5, 17, 100, PIECES_MAX };
	enum { LEN = 128 * SECTOR };
	struct machine m;

	open_machine(&m, new_file(DISK), false, features);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		int head = add(&m, VIRTIO_BLK_T_IN, 3 + i, LEN, pieces[i]);
		kick_and_wait(&m, 1);
		assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
		assert_int_equal(m.requests[head].written, LEN + 1);
		check_memory(&m, m.requests[head].data, LEN, (3 + i) * SECTOR);

		gpa_t data = fake_driver_alloc(&m.driver, LEN, 512);
		fill(&m, data, LEN, 1000 + i);
		head = add_at(&m, VIRTIO_BLK_T_OUT, 1024 + 128 * i, data, LEN, pieces[i]);
		kick_and_wait(&m, 1);
		assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
		assert_int_equal(m.requests[head].written, 1);
		check_file(&m, (1024 + 128 * i) * SECTOR, LEN, 1000 + i);
	}
	struct virtio_blk_stats s = stats_of(&m);
	assert_int_equal(s.n_reads, ARRAY_SIZE(pieces));
	assert_int_equal(s.n_writes, ARRAY_SIZE(pieces));
	assert_int_equal(s.bytes_read, ARRAY_SIZE(pieces) * LEN);
	assert_int_equal(s.bytes_written, ARRAY_SIZE(pieces) * LEN);
	assert_int_equal(s.n_errors, 0);
	close_machine(&m);
}

static void test_reads_and_writes_in_any_pieces_are_exact(void **state UNUSED)
{
	move_in_pieces(FLUSH);
}

static void test_reads_and_writes_by_indirect_tables_are_exact(void **state UNUSED)
{
	move_in_pieces(ALL_FEATURES);
}

static void test_data_across_memory_ranges_is_exact(void **state)
{
	struct machine *m = *state;
	gpa_t data = GPA(MEM / 2 - 700);
	int head = add_at(m, VIRTIO_BLK_T_IN, 9, data, 4096, 3);

	kick_and_wait(m, 1);
	assert_int_equal(status_of(m, head), VIRTIO_BLK_S_OK);
	check_memory(m, data, 4096, 9 * SECTOR);
}

/* 2.7.4: the device makes no assumption about how a message is cut into descriptors. */
static void test_framing_does_not_matter(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, new_file(DISK), false, FLUSH);
	gpa_t header = put_header(&m, VIRTIO_BLK_T_IN, 5);
	gpa_t in = fake_driver_alloc(&m.driver, 513, 16);
	const struct fake_seg read[] = { { header, 3, false },
					 { GPA(header.addr + 3), 13, false },
					 { in, 513, true } };
	int head = add_segs(&m, read, 3);
	kick_and_wait(&m, 1);
	assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
	check_memory(&m, in, 512, 5 * SECTOR);

	gpa_t out = fake_driver_alloc(&m.driver, HEADER + 1024, 16);
	struct virtio_blk_outhdr write_header = { .type = VIRTIO_BLK_T_OUT, .sector = 40 };
	assert_int_equal(guest_mem_write(&m.mem, out, &write_header, HEADER), 0);
	fill(&m, GPA(out.addr + HEADER), 1024, 77);
	const struct fake_seg write[] = { { out, HEADER + 1024, false },
					  { put_status(&m), 1, true } };
	head = add_segs(&m, write, 2);
	kick_and_wait(&m, 1);
	assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
	check_file(&m, 40 * SECTOR, 1024, 77);
	close_machine(&m);
}

static void test_whole_queue_in_flight_ends_with_few_interrupts(void **state)
{
	struct machine *m = *state;
	uint64_t before = mmio_stats_of(m).n_interrupts;

	for (unsigned i = 0; i < QUEUE; i++)
		(void)add(m, VIRTIO_BLK_T_IN, i * 8, 8 * SECTOR, 1);
	fake_driver_want_interrupt(&m->driver, 0, 0);
	m->n_turns = 0;
	kick_and_wait(m, QUEUE);
	for (unsigned head = 0; head < QUEUE; head++)
		assert_int_equal(status_of(m, (int)head), VIRTIO_BLK_S_OK);
	assert_int_equal(stats_of(m).gate.n_inside_max, QUEUE);
	assert_int_equal(stats_of(m).n_reads, QUEUE);
	assert_in_range(mmio_stats_of(m).n_interrupts - before, 1, m->n_turns);
}

static void test_mixed_load_keeps_every_byte(void **state)
{
	enum { ROUNDS = 12, PER_ROUND = 120, BLOCK = 16 };
	struct machine *m = *state;
	static gpa_t buffers[PER_ROUND];
	uint64_t arena;

	for (int i = 0; i < PER_ROUND; i++)
		buffers[i] = fake_driver_alloc(&m->driver, BLOCK * SECTOR, 512);
	arena = m->driver.arena;
	for (unsigned round = 0; round < ROUNDS; round++) {
		m->driver.arena = arena; /* headers and tables of the last round are done with */
		for (unsigned i = 0; i < PER_ROUND; i++) {
			fill(m, buffers[i], BLOCK * SECTOR, round * 1000 + i);
			(void)add_at(m, VIRTIO_BLK_T_OUT, i * BLOCK, buffers[i], BLOCK * SECTOR,
				     (uint16_t)(1 + i % 9));
			if (i % 30 == 0)
				(void)add(m, VIRTIO_BLK_T_FLUSH, 0, 0, 1);
		}
		kick_and_wait(m, PER_ROUND + PER_ROUND / 30);
		for (unsigned i = 0; i < PER_ROUND; i++)
			check_file(m, i * BLOCK * SECTOR, BLOCK * SECTOR, round * 1000 + i);
	}
	assert_int_equal(stats_of(m).n_errors, 0);
	assert_int_equal(stats_of(m).n_flushes, ROUNDS * (PER_ROUND / 30));
}

/* Flush, and writes without it. */

static void test_flush_of_a_file_that_cannot_is_an_error(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, open("/dev/null", O_RDWR), false, ALL_FEATURES);
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
	close_machine(&m);
}

/*
 * 5.2.6.2: for a driver without FLUSH a write that has ended is stable. /dev/null tells by refusing
 * the fdatasync.
 */
static void test_write_without_flush_negotiated_syncs_by_itself(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, open("/dev/null", O_RDWR), false, RING_FEATURES);
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	close_machine(&m);
	open_machine(&m, new_file(DISK), false, RING_FEATURES);
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
	close_machine(&m);
}

/* GET_ID, types that there are not. */

static void test_get_id_is_padded_with_zeros(void **state)
{
	char want[VIRTIO_BLK_ID_LEN] = "disk-of-a-test";
	char got[VIRTIO_BLK_ID_LEN];
	struct machine *m = *state;
	int head = add(m, VIRTIO_BLK_T_GET_ID, 0, sizeof(got), 1);

	kick_and_wait(m, 1);
	assert_int_equal(status_of(m, head), VIRTIO_BLK_S_OK);
	assert_int_equal(m->requests[head].written, sizeof(got) + 1);
	assert_int_equal(guest_mem_read(&m->mem, m->requests[head].data, got, sizeof(got)), 0);
	assert_memory_equal(got, want, sizeof(got));
	assert_int_equal(request(m, VIRTIO_BLK_T_GET_ID, 0, sizeof(got) - 1), VIRTIO_BLK_S_IOERR);
}

static void test_unknown_types_are_unsupported(void **state)
{
	static const uint32_t types[] = { 2, 3, 5, 7, 10, 12, 14, 15, 16, 0x80000000, UINT32_MAX };
	struct machine *m = *state;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(request(m, types[i], 0, 512), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(stats_of(m).n_unsupported, ARRAY_SIZE(types));
	assert_int_equal(stats_of(m).n_errors, 0);
	check_file(m, 0, 512, 0);
}

/* DISCARD and WRITE_ZEROES. */

static int add_range(struct machine *m, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = sector,
							 .num_sectors = n,
							 .flags = flags };

	return add_at(m, type, 0, put(m, &range, sizeof(range)), sizeof(range), 1);
}

static uint8_t range_request(struct machine *m, uint32_t type, uint64_t sector, uint32_t n,
			     uint32_t flags)
{
	int head = add_range(m, type, sector, n, flags);

	kick_and_wait(m, 1);
	return status_of(m, head);
}

static uint64_t blocks_of(const struct machine *m)
{
	struct stat st;

	assert_int_equal(fstat(m->fd, &st), 0);
	return (uint64_t)st.st_blocks;
}

static bool skip_without_discard(struct machine *m)
{
	bool has = virtio_dev_has_feature(virtio_blk_dev(m->blk), VIRTIO_BLK_F_DISCARD);

	if (!has)
		print_message("skip: the file system of $TMPDIR punches no holes\n");
	return !has;
}

static void test_discard_frees_and_reads_as_zeros(void **state)
{
	struct machine *m = *state;

	if (skip_without_discard(m))
		skip();
	uint64_t before = blocks_of(m);
	assert_int_equal(range_request(m, VIRTIO_BLK_T_DISCARD, 1024, 2048, 0), VIRTIO_BLK_S_OK);
	assert_true(is_file_zero(m, 1024 * SECTOR, 2048 * SECTOR));
	check_file(m, 1023 * SECTOR, SECTOR, 1023 * SECTOR);
	check_file(m, 3072 * SECTOR, SECTOR, 3072 * SECTOR);
	assert_true(blocks_of(m) + 2048 <= before);
	assert_int_equal(range_request(m, VIRTIO_BLK_T_DISCARD, SECTORS - 8, 8, 0),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(range_request(m, VIRTIO_BLK_T_DISCARD, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(stats_of(m).n_discards, 3);
}

static void test_write_zeroes_keeps_blocks_without_unmap(void **state)
{
	struct machine *m = *state;

	if (skip_without_discard(m))
		skip();
	uint64_t before = blocks_of(m);
	uint8_t status = range_request(m, VIRTIO_BLK_T_WRITE_ZEROES, 100, 800, 0);
	if (status == VIRTIO_BLK_S_UNSUPP) { /* tmpfs: the guest writes the zeros itself */
		check_file(m, 100 * SECTOR, 800 * SECTOR, 100 * SECTOR);
	} else {
		assert_int_equal(status, VIRTIO_BLK_S_OK);
		assert_true(is_file_zero(m, 100 * SECTOR, 800 * SECTOR));
		assert_true(blocks_of(m) >= before);
	}
	assert_int_equal(range_request(m, VIRTIO_BLK_T_WRITE_ZEROES, 2048, 800, 1),
			 VIRTIO_BLK_S_OK);
	assert_true(is_file_zero(m, 2048 * SECTOR, 800 * SECTOR));
	assert_true(blocks_of(m) < before);
}

static void test_malformed_ranges_are_refused(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t n, flags;
		uint8_t status;
	} cases[] = {
		{ VIRTIO_BLK_T_DISCARD, 0, 8, 1,
		  VIRTIO_BLK_S_UNSUPP }, /* unmap is of WRITE_ZEROES */
		{ VIRTIO_BLK_T_DISCARD, 0, 8, 2, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0x80000001, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, SECTORS - 7, 8, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 0, SECTORS + 1, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX - 7, 8, 1, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX / SECTOR + 1, 8, 1, VIRTIO_BLK_S_IOERR },
	};
	struct machine *m = *state;

	if (skip_without_discard(m))
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
		    range_request(m, cases[i].type, cases[i].sector, cases[i].n, cases[i].flags),
		    cases[i].status);
	for (uint32_t len = 0; len <= 64; len++) /* no range, half of one, several */
		if (len != 16)
			assert_int_equal(request(m, VIRTIO_BLK_T_DISCARD, 0, len),
					 VIRTIO_BLK_S_IOERR);
	check_file(m, 0, DISK, 0);
}

static void test_ranges_not_negotiated_are_unsupported(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, new_file(DISK), false, RING_FEATURES | FLUSH);
	assert_int_equal(range_request(&m, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(&m, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 1),
			 VIRTIO_BLK_S_UNSUPP);
	check_file(&m, 0, 4096, 0);
	close_machine(&m);
}

/* Malformed requests. */

static void test_sectors_out_of_the_capacity_are_refused(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} cases[] = {
		{ SECTORS - 1, SECTOR, VIRTIO_BLK_S_OK },
		{ SECTORS, 0, VIRTIO_BLK_S_OK },
		{ 0, 0, VIRTIO_BLK_S_OK },
		{ SECTORS, SECTOR, VIRTIO_BLK_S_IOERR },
		{ SECTORS - 1, 2 * SECTOR, VIRTIO_BLK_S_IOERR },
		{ SECTORS + 1, 0, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, SECTOR, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, 0, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX / SECTOR + 1, SECTOR, VIRTIO_BLK_S_IOERR }, /* times 512 is 0 */
		{ INT64_MAX / SECTOR, SECTOR, VIRTIO_BLK_S_IOERR },
		{ 0, 1, VIRTIO_BLK_S_IOERR },
		{ 0, 511, VIRTIO_BLK_S_IOERR },
		{ 0, 513, VIRTIO_BLK_S_IOERR },
	};
	struct machine *m = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(request(m, VIRTIO_BLK_T_IN, cases[i].sector, cases[i].len),
				 cases[i].status);
		assert_int_equal(request(m, VIRTIO_BLK_T_OUT, cases[i].sector, cases[i].len),
				 cases[i].status);
	}
	check_file(m, 0, DISK - SECTOR, 0);
	struct stat st;
	assert_int_equal(fstat(m->fd, &st), 0);
	assert_int_equal(st.st_size, DISK);
}

static void test_failed_read_reports_no_byte_as_written(void **state)
{
	struct machine *m = *state;
	int head = add(m, VIRTIO_BLK_T_IN, SECTORS, 4096, 1);

	kick_and_wait(m, 1);
	assert_int_equal(status_of(m, head), VIRTIO_BLK_S_IOERR);
	assert_int_equal(m->requests[head].written, 0);
}

static void test_short_headers_are_refused(void **state)
{
	struct machine *m = *state;

	for (uint32_t n = 0; n < HEADER; n++) {
		struct fake_seg segs[2] = { { put_header(m, VIRTIO_BLK_T_FLUSH, 0), n, false },
					    { put_status(m), 1, true } };
		int head = add_segs(m, n ? segs : segs + 1, n ? 2 : 1);

		kick_and_wait(m, 1);
		assert_int_equal(status_of(m, head), VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(stats_of(m).n_flushes, 0);
	assert_int_equal(mmio_stats_of(m).n_guest_faults, 0);
}

/* Reset as a vCPU does it: the write waits for the reactor, which this thread is. */
struct vcpu {
	struct machine *m;
	_Atomic bool is_done;
	bool does_poison; /* writes over all buffers at once, as a driver that reuses them */
};

static void poison(struct machine *m)
{
	static const uint8_t bytes[8 * SECTOR] = { 0xaa };

	for (unsigned i = 0; i < QUEUE; i++)
		if (m->requests[i].len == sizeof(bytes))
			assert_int_equal(
			    guest_mem_write(&m->mem, m->requests[i].data, bytes, sizeof(bytes)), 0);
}

static void *vcpu_reset(void *arg)
{
	struct vcpu *v = arg;

	fake_driver_reset(&v->m->driver);
	if (v->does_poison)
		poison(v->m);
	atomic_store(&v->is_done, true);
	return NULL;
}

static void reset(struct machine *m, bool does_poison)
{
	struct vcpu v = { .m = m, .does_poison = does_poison };
	uint64_t end_ns = clock_now_ns() + DEADLINE_NS;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, vcpu_reset, &v), 0);
	while (!atomic_load(&v.is_done)) {
		reactor_turn(m->reactor, NS_PER_MS);
		assert_true(clock_now_ns() < end_ns);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void restart(struct machine *m)
{
	m->driver.arena = ARENA;
	memset(m->driver.queues, 0, sizeof(m->driver.queues));
	memset(m->requests, 0, sizeof(m->requests));
	fake_driver_start(&m->driver, ALL_FEATURES & fake_driver_offered(&m->driver), 1, QUEUE);
}

static bool needs_reset(struct machine *m)
{
	return fake_driver_read(&m->driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void test_no_status_byte_needs_a_reset_and_recovers(void **state)
{
	struct machine *m = *state;
	struct fake_seg header = { put_header(m, VIRTIO_BLK_T_FLUSH, 0), HEADER, false };

	for (int i = 0; i < 50; i++) /* some in flight when it happens */
		(void)add(m, VIRTIO_BLK_T_IN, 0, 8 * SECTOR, 1);
	assert_true(fake_driver_add(&m->driver, 0, &header, 1) >= 0);
	(void)fake_driver_kick(&m->driver, 0);
	turn(m);
	turn(m);
	assert_true(needs_reset(m));
	reset(m, false);
	restart(m);
	assert_false(needs_reset(m));
	assert_int_equal(request(m, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
}

static void test_broken_ring_with_requests_in_flight_recovers(void **state)
{
	struct machine *m = *state;

	for (int i = 0; i < 64; i++)
		(void)add(m, VIRTIO_BLK_T_IN, 0, 8 * SECTOR, 1);
	(void)fake_driver_kick(&m->driver, 0);
	turn(m);
	fake_driver_raw_avail_idx(&m->driver, 0, 20000);
	fake_driver_write(&m->driver, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	for (int i = 0; i < 100 && !needs_reset(m); i++)
		turn(m);
	assert_true(needs_reset(m));
	reset(m, true);
	restart(m);
	assert_int_equal(request(m, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
}

/* Files with troubles. */

static void test_full_disk_is_an_error_and_the_device_lives(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, open("/dev/full", O_RDWR), false, ALL_FEATURES);
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, 8192), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&m, VIRTIO_BLK_T_IN, 0, 8192), VIRTIO_BLK_S_OK);
	assert_int_equal(stats_of(&m).n_errors, 1);
	assert_int_equal(mmio_stats_of(&m).n_guest_faults, 0);
	close_machine(&m);
}

/* At the limit a write is first short, then EFBIG: what fitted was written. */
static void test_short_write_is_continued(void **state)
{
	struct machine *m = *state;
	struct rlimit old, limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){ 40 * SECTOR + 100, old.rlim_max };
	gpa_t data = fake_driver_alloc(&m->driver, 16 * SECTOR, 512);
	fill(m, data, 16 * SECTOR, 5);
	int head = add_at(m, VIRTIO_BLK_T_OUT, 32, data, 16 * SECTOR, 7);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	kick_and_wait(m, 1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(status_of(m, head), VIRTIO_BLK_S_IOERR);
	assert_int_equal(stats_of(m).n_continued, 1);
	assert_int_equal(stats_of(m).bytes_written, 8 * SECTOR + 100);
	check_file(m, 32 * SECTOR, 8 * SECTOR + 100, 5);
}

static void test_read_past_the_end_of_a_cut_file_is_an_error(void **state)
{
	struct machine *m = *state;

	assert_int_equal(ftruncate(m->fd, 100 * SECTOR + 50), 0);
	assert_int_equal(request(m, VIRTIO_BLK_T_IN, 96, 8 * SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(stats_of(m).n_continued, 1);
	assert_int_equal(stats_of(m).bytes_read, 4 * SECTOR + 50);
	assert_int_equal(request(m, VIRTIO_BLK_T_IN, 92, 8 * SECTOR), VIRTIO_BLK_S_OK);
}

static void test_file_that_cannot_be_read_is_an_error(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, open("/dev/null", O_WRONLY), false, ALL_FEATURES);
	assert_int_equal(request(&m, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_IOERR);
	close_machine(&m);
}

/*
 * The kernel's log at its end has nothing to read yet: EAGAIN for as long as we like. With epoll
 * only: io_uring waits until such a file can be read.
 */
static void test_eagain_is_retried_without_a_busy_loop_and_a_reset_ends_it(void **state UNUSED)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct machine m;

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0) {
		print_message("skip: /dev/kmsg cannot be opened\n");
		(void)fd_close(fd);
		skip();
	}
	open_machine(&m, fd, false, ALL_FEATURES);
	(void)add(&m, VIRTIO_BLK_T_IN, 0, 8 * SECTOR, 1);
	(void)fake_driver_kick(&m.driver, 0);
	uint64_t end_ns = clock_now_ns() + DEADLINE_NS;
	uint64_t begin_ns = clock_now_ns();
	while (stats_of(&m).n_retries < 5) {
		turn(&m);
		assert_true(clock_now_ns() < end_ns);
	}
	assert_true(clock_now_ns() - begin_ns >= 4 * NS_PER_MS);
	reset(&m, false);
	assert_int_equal(stats_of(&m).n_errors, 1);
	close_machine(&m);
}

/* Ends with I/O in flight. */

static void test_reset_with_io_in_flight_returns_after_the_last_access(void **state)
{
	static const uint8_t want[8 * SECTOR] = { 0xaa };
	uint8_t got[8 * SECTOR];
	struct machine *m = *state;

	for (int life = 0; life < 20; life++) {
		for (unsigned i = 0; i < QUEUE; i++)
			(void)add(m, VIRTIO_BLK_T_IN, i * 8, 8 * SECTOR, (uint16_t)(1 + i % 6));
		(void)fake_driver_kick(&m->driver, 0);
		reactor_turn(m->reactor, 0);
		reset(m, true);
		for (int i = 0; i < 3; i++)
			reactor_turn(m->reactor, 0);
		for (unsigned i = 0; i < QUEUE; i++) {
			assert_int_equal(
			    guest_mem_read(&m->mem, m->requests[i].data, got, sizeof(got)), 0);
			assert_memory_equal(got, want, sizeof(got));
		}
		restart(m);
	}
	assert_int_equal(request(m, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
}

static void test_vm_end_with_writes_in_flight_finishes_them(void **state)
{
	struct machine *m = *state;

	for (unsigned i = 0; i < QUEUE; i++) {
		gpa_t data = fake_driver_alloc(&m->driver, 8 * SECTOR, 512);
		fill(m, data, 8 * SECTOR, i);
		(void)add_at(m, VIRTIO_BLK_T_OUT, i * 8, data, 8 * SECTOR, 1);
	}
	(void)fake_driver_kick(&m->driver, 0);
	virtio_mmio_drain(m->mmio); /* as at a VM's end: takes all that was queued */
	stop_machine(m);
	for (unsigned i = 0; i < QUEUE; i++)
		check_file(m, i * 8 * SECTOR, 8 * SECTOR, i);
	assert_int_equal(stats_of(m).n_writes, QUEUE);
}

/*
 * Requests of more than any driver makes, each to the same few pages: a guest that wants to hold up
 * its own end. 66 MiB in pieces of an odd size; @skew: of the first one's address.
 */
enum { LONG_PIECES = 66, LONG_PIECE = (1 << 20) + SECTOR, LONG = LONG_PIECES * LONG_PIECE };

static int add_long(struct machine *m, gpa_t data, uint32_t skew)
{
	struct fake_seg segs[LONG_PIECES + 2];

	segs[0] = (struct fake_seg){ put_header(m, VIRTIO_BLK_T_IN, 0), HEADER, false };
	for (unsigned i = 0; i < LONG_PIECES; i++)
		segs[1 + i] = (struct fake_seg){ data, LONG_PIECE, true };
	segs[LONG_PIECES].gpa.addr += skew;
	segs[LONG_PIECES + 1] = (struct fake_seg){ put_status(m), 1, true };
	int head = fake_driver_add_indirect(&m->driver, 0, segs, LONG_PIECES + 2);
	assert_true(head >= 0);
	m->requests[head] = (struct request){ .status = segs[LONG_PIECES + 1].gpa };
	return head;
}

static void open_long(struct machine *m, bool is_direct)
{
	struct virtio_blk_config config = default_config(new_file(0));

	assert_int_equal(ftruncate(config.fd, LONG), 0);
	const struct blk_file_wish wish = { .buffered = !is_direct };
	struct error err;
	assert_int_equal(blk_file_examine(config.fd, "file", &wish, &config.file, &err), 0);
	open_machine_of(m, &config, ALL_FEATURES);
}

static void test_long_request_is_whole_and_no_short_transfer(void **state UNUSED)
{
	for (unsigned is_odd = 0; is_odd < 2; is_odd++) {
		struct machine m;

		open_long(&m, true);
		int head = add_long(&m, fake_driver_alloc(&m.driver, LONG_PIECE + 1, 4096), is_odd);
		kick_and_wait(&m, 1);
		assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
		assert_int_equal(m.requests[head].written, LONG + 1);
		assert_int_equal(stats_of(&m).bytes_read, LONG);
		assert_int_equal(stats_of(&m).n_continued, 0);
		close_machine(&m);
	}
}

static void test_vm_end_amid_long_requests_does_not_wait_for_all_of_them(void **state UNUSED)
{
	enum { N = 8 };
	struct machine m;

	open_long(&m, false);
	for (unsigned i = 0; i < N;
	     i++) /* one thread a buffer: races of the guest's would be reported */
		(void)add_long(&m, fake_driver_alloc(&m.driver, LONG_PIECE, 4096), 0);
	(void)fake_driver_kick(&m.driver, 0);
	virtio_mmio_drain(m.mmio);
	stop_machine(&m);
	assert_int_equal(stats_of(&m).n_errors, N);
	assert_true(stats_of(&m).bytes_read < (uint64_t)N * LONG / 2);
	close_machine(&m);
}

/* Limits. */

static void open_limited(struct machine *m, const struct blk_limits *limits)
{
	struct virtio_blk_config config = default_config(new_file(DISK));

	config.limits = *limits;
	open_machine_of(m, &config, ALL_FEATURES);
}

/* That no more gets through is certain; that as much does would need a host with nothing to do. */
static void test_throttle_holds_back_what_is_too_much(void **state UNUSED)
{
	enum { N = 60 };
	const struct blk_limits limits = { .iops = 200,
					   .burst_ns = 50 * NS_PER_MS, /* ten */
					   .depth = VIRTIO_BLK_DEPTH_MAX };
	uint64_t begin_ns = clock_now_ns();
	struct machine m;

	open_limited(&m, &limits);
	for (int i = 0; i < N; i++)
		(void)add(&m, VIRTIO_BLK_T_IN, (uint64_t)i, SECTOR, 1);
	m.n_turns = 0;
	kick_and_wait(&m, N);
	assert_true(clock_now_ns() - begin_ns >= (N - 10) * NS_PER_S / 200 - NS_PER_MS);
	for (int head = 0; head < N; head++)
		assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
	assert_in_range(stats_of(&m).gate.n_throttled_iops, 1, N - 10);
	assert_int_equal(stats_of(&m).gate.n_throttled_bps, 0);
	close_machine(&m);
}

static void test_flush_and_answers_pass_a_debt_of_bytes(void **state UNUSED)
{
	const struct blk_limits limits = { .bps = 1,
					   .burst_ns = NS_PER_MS,
					   .depth = VIRTIO_BLK_DEPTH_MAX };
	struct machine m;

	open_limited(&m, &limits);
	/* The first one goes, whatever its size, and leaves a debt of hours. */
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, 128 * SECTOR), VIRTIO_BLK_S_OK);
	int waits = add(&m, VIRTIO_BLK_T_OUT, 0, SECTOR, 1);
	assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&m, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_LEN), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&m, VIRTIO_BLK_T_IN, SECTORS, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(status_of(&m, waits), NO_STATUS);
	assert_int_equal(stats_of(&m).gate.n_throttled_bps, 1);
	reset(&m, false); /* does not wait for hours */
	assert_int_equal(stats_of(&m).n_writes, 1);
	assert_int_equal(stats_of(&m).n_errors, 1);
	/* And it is no way out of the debt. */
	restart(&m);
	waits = add(&m, VIRTIO_BLK_T_OUT, 0, SECTOR, 1);
	assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(status_of(&m, waits), NO_STATUS);
	close_machine(&m);
}

/* The timer that is set is too late for who comes then: it is set anew. */
static void test_who_waits_for_less_than_others_is_not_held_by_their_timer(void **state UNUSED)
{
	const struct blk_limits limits = {
		.iops = 20, .bps = 1, .burst_ns = NS_PER_MS, .depth = VIRTIO_BLK_DEPTH_MAX
	};
	struct machine m;

	open_limited(&m, &limits);
	assert_int_equal(request(&m, VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_OK);
	(void)add(&m, VIRTIO_BLK_T_OUT, 0, SECTOR, 1); /* minutes */
	(void)fake_driver_kick(&m.driver, 0);
	for (int i = 0; i < 3; i++)
		turn(&m);
	for (int i = 0; i < 3; i++) /* 50 ms each */
		assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_true(stats_of(&m).gate.n_throttled_iops >= 1);
	close_machine(&m);
}

static void test_depth_limits_what_is_in_flight(void **state UNUSED)
{
	for (uint32_t depth = 1; depth <= 64; depth *= 8) {
		const struct blk_limits limits = { .depth = depth };
		struct machine m;
		open_limited(&m, &limits);
		for (unsigned i = 0; i < QUEUE; i++)
			(void)add(&m, i % 5 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_FLUSH, i,
				  i % 5 ? SECTOR : 0, 1);
		kick_and_wait(&m, QUEUE);
		assert_int_equal(stats_of(&m).gate.n_inside_max, depth);
		assert_int_equal(stats_of(&m).n_errors, 0);
		close_machine(&m);
	}
}

static void test_vm_end_while_requests_wait_ends_at_once(void **state UNUSED)
{
	const struct blk_limits limits = { .iops = 1, .burst_ns = NS_PER_MS, .depth = 4 };
	struct machine m;

	open_limited(&m, &limits);
	for (unsigned i = 0; i < QUEUE; i++)
		(void)add(&m, VIRTIO_BLK_T_OUT, i, SECTOR, 1);
	(void)fake_driver_kick(&m.driver, 0);
	virtio_mmio_drain(m.mmio);
	uint64_t begin_ns = clock_now_ns();
	stop_machine(&m);
	assert_true(clock_now_ns() - begin_ns < 5 * NS_PER_S);
	assert_int_equal(stats_of(&m).n_writes, 1);
	assert_int_equal(stats_of(&m).n_errors, 0);
	close_machine(&m);
}

/* Direct I/O. */

/* Skips, and says so, where the file system of /var/tmp has none. */
static void open_direct(struct machine *m)
{
	const struct blk_file_wish wish = { 0 };
	struct virtio_blk_config config = default_config(new_file(DISK));
	struct error err;

	assert_int_equal(blk_file_examine(config.fd, "file", &wish, &config.file, &err), 0);
	if (!config.file.is_direct) {
		print_message("skip: %s\n", config.file.why_buffered);
		fd_closep(&config.fd);
		skip();
	}
	open_machine_of(m, &config, ALL_FEATURES);
}

static bool is_direct(const struct machine *m)
{
	return fcntl(m->fd, F_GETFL) & O_DIRECT;
}

static void check_buffers(struct machine *m, unsigned n, uint32_t len)
{
	for (unsigned head = 0; head < n; head++) {
		assert_int_equal(status_of(m, (int)head), VIRTIO_BLK_S_OK);
		check_memory(m, m->requests[head].data, len, (uint64_t)head * len);
	}
}

static void test_direct_requests_are_exact(void **state UNUSED)
{
	enum { N = 64, LEN = 8 * SECTOR };
	struct machine m;

	open_direct(&m);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(add(&m, VIRTIO_BLK_T_IN, i * 8, LEN, 1), i);
	kick_and_wait(&m, N);
	check_buffers(&m, N, LEN);
	gpa_t data = fake_driver_alloc(&m.driver, LEN, 512);
	fill(&m, data, LEN, 4711);
	int head = add_at(&m, VIRTIO_BLK_T_OUT, 800, data, LEN, 1);
	kick_and_wait(&m, 1);
	assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_true(is_direct(&m));
	assert_int_equal(stats_of(&m).n_direct_ends, 0);
	close_machine(&m);
}

/* Some in flight before it, some behind it: all exact, and from there on buffered. */
static void test_misaligned_piece_ends_direct_io_between_two_requests(void **state UNUSED)
{
	enum { N = 32, LEN = 8 * SECTOR };

	for (unsigned odd = 0; odd < 3; odd++) {
		struct machine m;
		open_direct(&m);
		for (unsigned i = 0; i < N; i++) {
			gpa_t data = fake_driver_alloc(&m.driver, LEN, 512);
			if (i == N / 2 && odd == 0)
				data = fake_driver_alloc(&m.driver, LEN + 1, 512);
			if (i == N / 2 && odd == 0)
				data.addr += 1;
			/* An aligned buffer in pieces of odd lengths is misaligned as well. */
			uint16_t pieces = i == N / 2 && odd == 1 ? 3 : 1;
			assert_int_equal(add_at(&m, VIRTIO_BLK_T_IN, i * 8, data, LEN, pieces), i);
		}
		kick_and_wait(&m, N);
		check_buffers(&m, N, LEN);
		assert_int_equal(is_direct(&m), odd == 2);
		assert_int_equal(stats_of(&m).n_direct_ends, odd < 2);
		assert_int_equal(stats_of(&m).n_errors, 0);
		/* For good, and a write finds its way. */
		reset(&m, false);
		restart(&m);
		gpa_t data = fake_driver_alloc(&m.driver, LEN, 512);
		fill(&m, data, LEN, 99);
		(void)add_at(&m, VIRTIO_BLK_T_OUT, 0, data, LEN, 1);
		kick_and_wait(&m, 1);
		check_file(&m, 0, LEN, 99);
		assert_int_equal(is_direct(&m), odd == 2);
		close_machine(&m);
	}
}

static void test_misaligned_writes_with_the_queue_full_keep_every_byte(void **state UNUSED)
{
	enum { LEN = 8 * SECTOR };
	struct machine m;

	open_direct(&m);
	for (unsigned i = 0; i < QUEUE; i++) {
		gpa_t data = fake_driver_alloc(&m.driver, LEN + 4, 512);
		data.addr += i % 3 == 2 ? 2 : 0;
		fill(&m, data, LEN, i);
		(void)add_at(&m, VIRTIO_BLK_T_OUT, i * 8, data, LEN, 1);
	}
	kick_and_wait(&m, QUEUE);
	for (unsigned i = 0; i < QUEUE; i++)
		check_file(&m, i * 8 * SECTOR, LEN, i);
	assert_int_equal(stats_of(&m).n_direct_ends, 1);
	assert_int_equal(stats_of(&m).n_errors, 0);
	close_machine(&m);
}

/* Block devices. */

static void open_loop(struct machine *m, struct block_device *d, uint32_t block_size)
{
	const struct blk_file_wish wish = { 0 };
	struct virtio_blk_config config;
	struct error err;

	if (!block_device_open(d, DISK, block_size))
		skip();
	config = default_config(dup(d->fd));
	assert_int_equal(blk_file_examine(config.fd, d->path, &wish, &config.file, &err), 0);
	open_machine_of(m, &config, ALL_FEATURES);
}

static void test_block_device_reads_writes_and_frees(void **state UNUSED)
{
	enum { LEN = 64 * SECTOR };

	for (uint32_t block_size = 512; block_size <= 4096; block_size *= 8) {
		struct block_device d;
		struct machine m;
		open_loop(&m, &d, block_size);
		assert_int_equal(config(&m, offsetof(struct virtio_blk_wire_config, blk_size), 4),
				 block_size);
		gpa_t data = fake_driver_alloc(&m.driver, LEN, 4096);
		fill(&m, data, LEN, 3);
		(void)add_at(&m, VIRTIO_BLK_T_OUT, 128, data, LEN, 1);
		(void)add_at(&m, VIRTIO_BLK_T_OUT, 256, data, LEN, 1);
		kick_and_wait(&m, 2);
		assert_int_equal(request(&m, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
		int head = add_at(&m, VIRTIO_BLK_T_IN, 128, data, LEN, 1);
		kick_and_wait(&m, 1);
		assert_int_equal(status_of(&m, head), VIRTIO_BLK_S_OK);
		check_memory(&m, data, LEN, 3);
		if (!skip_without_discard(&m)) {
			assert_int_equal(range_request(&m, VIRTIO_BLK_T_DISCARD, 128, 64, 0),
					 VIRTIO_BLK_S_OK);
			assert_int_equal(range_request(&m, VIRTIO_BLK_T_WRITE_ZEROES, 256, 32, 0),
					 VIRTIO_BLK_S_OK);
			assert_int_equal(range_request(&m, VIRTIO_BLK_T_WRITE_ZEROES, 288, 32, 1),
					 VIRTIO_BLK_S_OK);
			assert_true(is_file_zero(&m, 128 * SECTOR, LEN));
			assert_true(is_file_zero(&m, 256 * SECTOR, LEN));
		}
		assert_int_equal(stats_of(&m).n_errors, 0);
		close_machine(&m);
		block_device_close(&d);
	}
}

#define BLK_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static int run_group(const char *name)
{
	const struct CMUnitTest tests[] = {
		BLK_TEST(test_config_space_of_a_writable_file),
		cmocka_unit_test(test_read_only_file_is_not_written),
		BLK_TEST(test_capacity_of_no_whole_sectors_is_refused),
		cmocka_unit_test(test_reads_and_writes_in_any_pieces_are_exact),
		cmocka_unit_test(test_reads_and_writes_by_indirect_tables_are_exact),
		BLK_TEST(test_data_across_memory_ranges_is_exact),
		cmocka_unit_test(test_framing_does_not_matter),
		BLK_TEST(test_whole_queue_in_flight_ends_with_few_interrupts),
		BLK_TEST(test_mixed_load_keeps_every_byte),
		cmocka_unit_test(test_flush_of_a_file_that_cannot_is_an_error),
		cmocka_unit_test(test_write_without_flush_negotiated_syncs_by_itself),
		BLK_TEST(test_get_id_is_padded_with_zeros),
		BLK_TEST(test_unknown_types_are_unsupported),
		BLK_TEST(test_discard_frees_and_reads_as_zeros),
		BLK_TEST(test_write_zeroes_keeps_blocks_without_unmap),
		BLK_TEST(test_malformed_ranges_are_refused),
		cmocka_unit_test(test_ranges_not_negotiated_are_unsupported),
		BLK_TEST(test_sectors_out_of_the_capacity_are_refused),
		BLK_TEST(test_failed_read_reports_no_byte_as_written),
		BLK_TEST(test_short_headers_are_refused),
		BLK_TEST(test_no_status_byte_needs_a_reset_and_recovers),
		BLK_TEST(test_broken_ring_with_requests_in_flight_recovers),
		cmocka_unit_test(test_full_disk_is_an_error_and_the_device_lives),
		BLK_TEST(test_short_write_is_continued),
		BLK_TEST(test_read_past_the_end_of_a_cut_file_is_an_error),
		cmocka_unit_test(test_file_that_cannot_be_read_is_an_error),
		BLK_TEST(test_reset_with_io_in_flight_returns_after_the_last_access),
		BLK_TEST(test_vm_end_with_writes_in_flight_finishes_them),
		cmocka_unit_test(test_long_request_is_whole_and_no_short_transfer),
		cmocka_unit_test(test_vm_end_amid_long_requests_does_not_wait_for_all_of_them),
		cmocka_unit_test(test_throttle_holds_back_what_is_too_much),
		cmocka_unit_test(test_flush_and_answers_pass_a_debt_of_bytes),
		cmocka_unit_test(test_who_waits_for_less_than_others_is_not_held_by_their_timer),
		cmocka_unit_test(test_depth_limits_what_is_in_flight),
		cmocka_unit_test(test_vm_end_while_requests_wait_ends_at_once),
		cmocka_unit_test(test_direct_requests_are_exact),
		cmocka_unit_test(test_misaligned_piece_ends_direct_io_between_two_requests),
		cmocka_unit_test(test_misaligned_writes_with_the_queue_full_keep_every_byte),
		cmocka_unit_test(test_block_device_reads_writes_and_frees),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int run_epoll_group(const char *name)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eagain_is_retried_without_a_busy_loop_and_a_reset_ends_it),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
	int n_failed = 0;

	(void)signal(SIGXFSZ, SIG_IGN); /* the error is what the device sees */
	backend = REACTOR_AUTO;
	n_failed += run_group("virtio/blk, best backend");
	backend = REACTOR_EPOLL;
	n_failed += run_group("virtio/blk, epoll");
	n_failed += run_epoll_group("virtio/blk, epoll only");
	return n_failed;
}
