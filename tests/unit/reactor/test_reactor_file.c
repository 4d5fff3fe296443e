/* File I/O: results, copied iovecs, long queues, cancelling. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An unnamed file with @n bytes 0, 1, 2, ... (modulo 251). */
static int make_file(size_t n)
{
	char path[] = "/tmp/test_reactor_file.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)(i % 251);
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)i), 1);
	}
	return fd;
}

static void assert_pattern(const uint8_t *p, size_t n, size_t offset)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], (offset + i) % 251);
}

static int read_at(struct reactor *r, int fd, void *buf, size_t n, uint64_t offset)
{
	struct probe p = { 0 };
	struct iovec iov = { buf, n };

	reactor_readv(r, &p.op, fd, &iov, 1, offset, on_probe);
	assert_int_equal(p.n_finals, 0);
	turns_until(r, &p.n_finals, 1);
	return p.res;
}

static void test_read_at_offset_brings_the_bytes(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	uint8_t buf[100];
	int fd = make_file(1000);

	assert_int_equal(read_at(r, fd, buf, sizeof(buf), 300), 100);
	assert_pattern(buf, sizeof(buf), 300);
	close(fd);
}

static void test_read_across_and_past_the_end_is_short(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	uint8_t buf[100];
	int fd = make_file(1000);

	assert_int_equal(read_at(r, fd, buf, sizeof(buf), 960), 40);
	assert_pattern(buf, 40, 960);
	assert_int_equal(read_at(r, fd, buf, sizeof(buf), 1000), 0);
	assert_int_equal(read_at(r, fd, buf, sizeof(buf), INT64_MAX - 4096), 0);
	close(fd);
}

static void test_read_errors_are_the_kernels(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	uint8_t buf[10];
	int fd = make_file(10);
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(read_at(r, -1, buf, sizeof(buf), 0), -EBADF);
	assert_int_equal(read_at(r, dir, buf, sizeof(buf), 0), -EISDIR);
	assert_int_equal(read_at(r, fd, buf, sizeof(buf), UINT64_MAX), -EINVAL);
	assert_int_equal(read_at(r, fd, buf, sizeof(buf), (uint64_t)INT64_MAX + 1), -EINVAL);
	close(dir);
	close(fd);
}

static void test_no_iovec_moves_nothing(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_file(10);

	reactor_readv(r, &p.op, fd, NULL, 0, 0, on_probe);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, 0);
	close(fd);
}

/* Up to the inline number the array is the reactor's copy: here it is on a stack that is gone. */
static void arm_with_local_iovec(struct reactor *r, struct probe *p, int fd, uint8_t *buf)
{
	struct iovec iov[REACTOR_OP_IOV_INLINE];

	for (int i = 0; i < REACTOR_OP_IOV_INLINE; i++)
		iov[i] = (struct iovec){ buf + i * 10, 10 };
	reactor_readv(r, &p->op, fd, iov, REACTOR_OP_IOV_INLINE, 5, on_probe);
	memset(iov, 0, sizeof(iov));
}

static void test_short_iovec_array_is_copied(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	uint8_t buf[REACTOR_OP_IOV_INLINE * 10];
	int fd = make_file(1000);

	arm_with_local_iovec(r, &p, fd, buf);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, sizeof(buf));
	assert_pattern(buf, sizeof(buf), 5);
	close(fd);
}

static void test_long_iovec_array_is_borrowed(void **state)
{
	enum { N_IOV = 64 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	struct iovec iov[N_IOV];
	uint8_t out[N_IOV * 3], in[N_IOV * 3] = { 0 };
	int fd = make_file(0);

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)((7 + i) % 251);
	for (int i = 0; i < N_IOV; i++)
		iov[i] = (struct iovec){ out + i * 3, 3 };
	reactor_writev(r, &p.op, fd, iov, N_IOV, 7, on_probe);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, sizeof(out));
	for (int i = 0; i < N_IOV; i++)
		iov[i] = (struct iovec){ in + i * 3, 3 };
	reactor_readv(r, &p.op, fd, iov, N_IOV, 7, on_probe);
	turns_until(r, &p.n_finals, 2);
	assert_int_equal(p.res, sizeof(in));
	assert_pattern(in, sizeof(in), 7);
	close(fd);
}

static void test_too_many_iovecs_end_with_einval(void **state)
{
	enum { N_IOV = 1025 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	struct iovec iov[N_IOV];
	uint8_t byte;
	int fd = make_file(10);

	for (int i = 0; i < N_IOV; i++)
		iov[i] = (struct iovec){ &byte, 1 };
	reactor_readv(r, &p.op, fd, iov, N_IOV, 0, on_probe);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, -EINVAL);
	close(fd);
}

static void test_write_to_read_only_fd_ends_with_ebadf(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	char text[] = "x";
	struct iovec iov = { text, 1 };
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	reactor_writev(r, &p.op, fd, &iov, 1, 0, on_probe);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, -EBADF);
	close(fd);
}

static void test_fsync_and_fallocate_do_what_they_say(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	struct stat st;
	int fd = make_file(10);

	reactor_fallocate(r, &p.op, fd, 0, 0, 8192, on_probe);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 8192);
	reactor_fallocate(r, &p.op, fd, FALLOC_FL_KEEP_SIZE, 8192, 4096, on_probe);
	turns_until(r, &p.n_finals, 2);
	assert_int_equal(p.res, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 8192);
	reactor_fsync(r, &p.op, fd, on_probe);
	turns_until(r, &p.n_finals, 3);
	assert_int_equal(p.res, 0);
	reactor_fallocate(r, &p.op, fd, 0, 0, 0, on_probe);
	turns_until(r, &p.n_finals, 4);
	assert_int_equal(p.res, -EINVAL);
	close(fd);
}

static void test_fsync_of_bad_fd_ends_with_ebadf(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };

	reactor_fsync(r, &p.op, -1, on_probe);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, -EBADF);
}

/* Far beyond every queue: 40 times the submission queue of 256, 5 times the completions. */
static void test_ten_thousand_reads_in_a_turn_all_end(void **state)
{
	enum { N_READS = 10000 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe *reads = calloc(N_READS, sizeof(*reads));
	uint8_t *buf = malloc(N_READS);
	int fd = make_file(1000);

	assert_true(reads && buf);
	for (int i = 0; i < N_READS; i++) {
		struct iovec iov = { buf + i, 1 };
		reactor_readv(r, &reads[i].op, fd, &iov, 1, (uint64_t)(i % 1000), on_probe);
	}
	for (int i = 0; i < N_READS; i++)
		assert_int_equal(reads[i].n_finals, 0);
	for (int i = 0; i < N_READS; i++) {
		turns_until(r, &reads[i].n_finals, 1);
		assert_int_equal(reads[i].res, 1);
		assert_int_equal(buf[i], i % 1000 % 251);
	}
	free(reads);
	free(buf);
	close(fd);
}

static void test_cancelled_reads_end_once_with_result_or_ecanceled(void **state)
{
	enum { N_READS = 2000 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe *reads = calloc(N_READS, sizeof(*reads));
	uint8_t *buf = malloc(N_READS * 10);
	int n_done = 0, n_cancelled = 0;
	unsigned seed = 1;
	int fd = make_file(1000);

	assert_true(reads && buf);
	for (int i = 0; i < N_READS; i++) {
		struct iovec iov = { buf + i * 10, 10 };
		reactor_readv(r, &reads[i].op, fd, &iov, 1, 0, on_probe);
		if (rand_r(&seed) % 50 == 0)
			reactor_turn(r, 0);
		int victim = rand_r(&seed) % (i + 1);
		if (!reactor_op_is_idle(&reads[victim].op))
			reactor_cancel(r, &reads[victim].op);
	}
	for (int i = 0; i < N_READS; i++)
		turns_until(r, &reads[i].n_finals, 1);
	reactor_turn(r, 0);
	for (int i = 0; i < N_READS; i++) {
		assert_int_equal(reads[i].n_finals, 1);
		n_cancelled += reads[i].res == -ECANCELED;
		n_done += reads[i].res == 10;
	}
	assert_int_equal(n_done + n_cancelled, N_READS);
	assert_true(n_done > 0 && n_cancelled > 0);
	free(reads);
	free(buf);
	close(fd);
}

/* Reads that end in one turn: each callback cancels the next, whose result is there already. */
struct link {
	struct probe probe;
	struct link *next;
};

static void on_link(struct reactor_op *op, int res, bool more)
{
	struct link *link = container_of(op, struct link, probe.op);

	on_probe(op, res, more);
	if (link->next && link->next->probe.op.state == REACTOR_OP_ARMED)
		reactor_cancel(op->reactor, &link->next->probe.op);
}

static void test_cancel_of_a_read_done_in_the_same_turn_ends_it_once(void **state)
{
	enum { N_LINKS = 50 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct link links[N_LINKS] = { 0 };
	uint8_t bytes[N_LINKS];
	int fd = make_file(N_LINKS);

	for (int i = 0; i < N_LINKS; i++) {
		struct iovec iov = { &bytes[i], 1 };
		links[i].next = i + 1 < N_LINKS ? &links[i + 1] : NULL;
		reactor_readv(r, &links[i].probe.op, fd, &iov, 1, (uint64_t)i, on_link);
	}
	for (int i = 0; i < N_LINKS; i++)
		turns_until(r, &links[i].probe.n_finals, 1);
	reactor_turn(r, 0);
	for (int i = 0; i < N_LINKS; i++) {
		assert_int_equal(links[i].probe.n_finals, 1);
		assert_true(links[i].probe.res == 1 || links[i].probe.res == -ECANCELED);
	}
	close(fd);
}

/* Long enough to be under way when the cancel comes. */
static void test_cancel_of_a_read_under_way_ends_with_its_result(void **state)
{
	enum { N_BYTES = 32 << 20, N_TRIES = 50 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	struct iovec iov = { malloc(N_BYTES), N_BYTES };
	int n_natural = 0;
	int fd = make_file(0);

	assert_non_null(iov.iov_base);
	assert_int_equal(ftruncate(fd, N_BYTES), 0);
	for (int i = 0; i < N_TRIES && n_natural < 3; i++) {
		reactor_readv(r, &p.op, fd, &iov, 1, 0, on_probe);
		reactor_turn(r, 0);
		usleep((useconds_t)i * 100);
		if (!reactor_op_is_idle(&p.op))
			finish_probe(r, &p);
		assert_int_equal(p.n_finals, i + 1);
		assert_true(p.res == -ECANCELED || p.res > 0);
		n_natural += p.res > 0;
	}
	assert_true(n_natural > 0);
	free(iov.iov_base);
	close(fd);
}

#define TEST(fn)      cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
#define TEST_TINY(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup_tiny, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_at_offset_brings_the_bytes),
		TEST(test_read_across_and_past_the_end_is_short),
		TEST(test_read_errors_are_the_kernels),
		TEST(test_no_iovec_moves_nothing),
		TEST(test_short_iovec_array_is_copied),
		TEST(test_long_iovec_array_is_borrowed),
		TEST(test_too_many_iovecs_end_with_einval),
		TEST(test_write_to_read_only_fd_ends_with_ebadf),
		TEST(test_fsync_and_fallocate_do_what_they_say),
		TEST(test_fsync_of_bad_fd_ends_with_ebadf),
		TEST(test_ten_thousand_reads_in_a_turn_all_end),
		TEST_TINY(test_ten_thousand_reads_in_a_turn_all_end),
		TEST(test_cancelled_reads_end_once_with_result_or_ecanceled),
		TEST(test_cancel_of_a_read_done_in_the_same_turn_ends_it_once),
		TEST(test_cancel_of_a_read_under_way_ends_with_its_result),
		TEST_TINY(test_cancelled_reads_end_once_with_result_or_ecanceled),
	};

	return fixture_main(argc, argv, "reactor files", tests, ARRAY_SIZE(tests));
}
