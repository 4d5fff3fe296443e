/* See guest_mem.h. Memory of each test: 64 KiB at 0x10000, 64 KiB right behind it, 4 KiB at 1 MiB.
 */
#include "bus/guest_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LOW = 0x10000, NEXT = 0x20000, HIGH = 0x100000 };

static int set_up(void **state)
{
	static struct guest_mem mem;

	mem = (struct guest_mem){ 0 };
	*state = &mem;
	/* Not in order: the table sorts. */
	return guest_mem_map_anonymous(&mem, GPA(HIGH), 0x1000) ||
	       guest_mem_map_anonymous(&mem, GPA(LOW), 0x10000) ||
	       guest_mem_map_anonymous(&mem, GPA(NEXT), 0x10000);
}

static int tear_down(void **state)
{
	guest_mem_fini(*state);
	return 0;
}

static void test_slice_bounds_are_exact(void **state)
{
	static const struct {
		uint64_t gpa, len;
		int expected;
	} cases[] = {
		{ LOW, 0x10000, 0 },
		{ LOW, 0x10001, -EFAULT }, /* runs into the next range */
		{ LOW + 0xffff, 1, 0 },
		{ LOW + 0xffff, 2, -EFAULT },
		{ LOW - 1, 1, -EFAULT },
		{ LOW - 1, 2, -EFAULT },
		{ NEXT, 0, 0 },
		{ NEXT + 0x10000, 0, -EFAULT },
		{ NEXT + 0x10000, 1, -EFAULT },
		{ HIGH + 0xfff, 1, 0 },
		{ HIGH, UINT64_MAX, -EFAULT },
		{ UINT64_MAX, 2, -EFAULT },
		{ UINT64_MAX - 1, UINT64_MAX, -EFAULT },
		{ 0, 1, -EFAULT },
	};
	const struct guest_mem *mem = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_slice s = { NULL, 99 };

		assert_int_equal(guest_mem_slice(mem, GPA(cases[i].gpa), cases[i].len, &s),
				 cases[i].expected);
		assert_int_equal(s.len, cases[i].expected ? 99 : cases[i].len);
	}
}

static void test_slice_prefix_ends_with_its_range(void **state)
{
	const struct guest_mem *mem = *state;
	struct guest_slice s;

	assert_int_equal(guest_mem_slice_prefix(mem, GPA(NEXT - 16), 40, &s), 0);
	assert_int_equal(s.len, 16);
	assert_int_equal(guest_mem_slice_prefix(mem, GPA(NEXT), 24, &s), 0);
	assert_int_equal(s.len, 24);
	assert_int_equal(guest_mem_slice_prefix(mem, GPA(HIGH + 0x1000), 1, &s), -EFAULT);
}

static void test_add_bad_range_is_refused(void **state)
{
	static uint8_t byte;
	struct guest_mem *mem = *state;
	static const struct {
		uint64_t gpa, len;
		uint8_t *hva;
	} cases[] = {
		{ 0x200000, 0, &byte },  { 0x200000, 16, NULL },     { UINT64_MAX, 2, &byte },
		{ LOW, 0x10000, &byte }, { LOW + 0xffff, 1, &byte }, { LOW - 16, 17, &byte },
		{ 0, 0x200000, &byte },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_range r = {
			GPA(cases[i].gpa), cases[i].len, cases[i].hva, GUEST_ANONYMOUS, -1, 0, false
		};

		assert_int_equal(guest_mem_add(mem, &r), -EINVAL);
	}
	assert_int_equal(mem->n_ranges, 3);
	assert_int_equal(guest_mem_size(mem), 0x21000);
}

static void test_add_beyond_the_table_is_refused(void **state)
{
	static uint8_t bytes[GUEST_MEM_MAX_RANGES + 1];
	struct guest_mem mem = { 0 };

	for (size_t i = 0; i <= GUEST_MEM_MAX_RANGES; i++) {
		struct guest_range r = { GPA(i * 2), 1, &bytes[i], GUEST_MEMFD, -1, 0, true };

		assert_int_equal(guest_mem_add(&mem, &r), i < GUEST_MEM_MAX_RANGES ? 0 : -ENOSPC);
	}
	/* Borrowed, whatever the caller's struct said: fini must not unmap the test's own data. */
	guest_mem_fini(&mem);
	guest_mem_fini(&mem);
	assert_int_equal(mem.n_ranges, 0);
	bytes[0] = 1;
}

static void test_copies_outside_of_slice_move_nothing(void **state)
{
	static const struct {
		size_t off, n;
	} cases[] = { { 0, 17 },       { 16, 1 },       { 17, 0 },
		      { 1, SIZE_MAX }, { SIZE_MAX, 1 }, { SIZE_MAX, 2 } };
	const struct guest_mem *mem = *state;
	uint8_t buf[32] = { 7 };
	struct guest_slice s;

	assert_int_equal(guest_mem_slice(mem, GPA(LOW), 16, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(guest_slice_read(s, cases[i].off, buf, cases[i].n), -EFAULT);
		assert_int_equal(guest_slice_write(s, cases[i].off, buf, cases[i].n), -EFAULT);
		assert_int_equal(guest_slice_fill(s, cases[i].off, 1, cases[i].n), -EFAULT);
		assert_int_equal(guest_slice_sub(s, cases[i].off, cases[i].n, &s), -EFAULT);
	}
	assert_int_equal(buf[0], 7);
	assert_int_equal(guest_slice_read(s, 0, buf, 16), 0);
	assert_int_equal(buf[0], 0);
	assert_int_equal(guest_slice_read(s, 16, buf, 0), 0);
}

static void test_write_then_read_gives_the_same_bytes(void **state)
{
	const struct guest_mem *mem = *state;
	struct guest_slice s, sub;
	char buf[8] = { 0 };

	assert_int_equal(guest_mem_write(mem, GPA(HIGH + 0xff8), "abcdefgh", 8), 0);
	assert_int_equal(guest_mem_write(mem, GPA(HIGH + 0xff9), "abcdefgh", 8), -EFAULT);
	assert_int_equal(guest_mem_slice(mem, GPA(HIGH + 0xff0), 16, &s), 0);
	assert_int_equal(guest_slice_sub(s, 8, 8, &sub), 0);
	assert_int_equal(guest_slice_fill(sub, 6, 'x', 2), 0);
	assert_int_equal(guest_slice_read(s, 8, buf, 8), 0);
	assert_memory_equal(buf, "abcdefxx", 8);
	struct iovec iov = guest_slice_iovec(sub);
	assert_memory_equal(iov.iov_base, "abcdefxx", 8);
	assert_int_equal(iov.iov_len, 8);
}

static void test_copy_within_guest_memory_may_overlap(void **state)
{
	const struct guest_mem *mem = *state;
	struct guest_slice from, to;
	char buf[12];

	assert_int_equal(guest_mem_write(mem, GPA(LOW), "0123456789", 10), 0);
	assert_int_equal(guest_mem_slice(mem, GPA(LOW), 8, &from), 0);
	assert_int_equal(guest_mem_slice(mem, GPA(LOW + 2), 9, &to), 0);
	assert_int_equal(guest_slice_copy(to, from, 9), -EFAULT);
	assert_int_equal(guest_slice_copy(from, to, 9), -EFAULT);
	assert_int_equal(guest_slice_copy(to, from, 8), 0);
	assert_int_equal(guest_mem_read(mem, GPA(LOW), buf, 10), 0);
	assert_memory_equal(buf, "0101234567", 10);
}

static void test_scalars_are_little_endian_in_place(void **state)
{
	const struct guest_mem *mem = *state;
	static const uint8_t expected[16] = { 0x11, 0,    0x33, 0x22, 0x77,
					      0x66, 0x55, 0x44, 0xbb, 0xaa };
	uint8_t bytes[16];
	struct guest_slice s;

	assert_int_equal(guest_mem_slice(mem, GPA(LOW), 16, &s), 0);
	guest_slice_store8(s, 0, 0x11);
	guest_slice_store16(s, 2, 0x2233);
	guest_slice_store32(s, 4, 0x44556677);
	guest_slice_store16_release(s, 8, 0xaabb);
	assert_int_equal(guest_slice_read(s, 0, bytes, 16), 0);
	assert_memory_equal(bytes, expected, 16);
	assert_int_equal(guest_slice_load16(s, 2), 0x2233);
	assert_int_equal(guest_slice_load16_acquire(s, 8), 0xaabb);
	assert_int_equal(guest_slice_load32(s, 4), 0x44556677);
	assert_int_equal(guest_slice_load64(s, 8), 0xaabb);
}

/* Runs @fn in a child, which must abort: an assertion of ours, not a guest's doing. */
static void assert_aborts(void (*fn)(struct guest_slice), struct guest_slice s)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(STDERR_FILENO);
		(void)signal(SIGABRT, SIG_DFL);
		fn(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void load_misaligned(struct guest_slice s)
{
	(void)guest_slice_load16(s, 1);
}

static void load_past_the_end(struct guest_slice s)
{
	(void)guest_slice_load32(s, s.len - 2);
}

static void store_far_outside(struct guest_slice s)
{
	guest_slice_store16(s, SIZE_MAX - 1, 1);
}

static void test_scalar_outside_or_misaligned_aborts(void **state)
{
	struct guest_slice s;

	assert_int_equal(guest_mem_slice(*state, GPA(LOW), 16, &s), 0);
	assert_aborts(load_misaligned, s);
	assert_aborts(load_past_the_end, s);
	assert_aborts(store_far_outside, s);
}

static void test_gpa_add_wrapping_is_false(void **state)
{
	gpa_t gpa;

	assert_true(gpa_add(GPA(UINT64_MAX - 1), 1, &gpa));
	assert_false(gpa_add(GPA(UINT64_MAX), 1, &gpa));
}

int main(void)
{
#define MEM_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		MEM_TEST(test_slice_bounds_are_exact),
		MEM_TEST(test_slice_prefix_ends_with_its_range),
		MEM_TEST(test_add_bad_range_is_refused),
		cmocka_unit_test(test_add_beyond_the_table_is_refused),
		MEM_TEST(test_copies_outside_of_slice_move_nothing),
		MEM_TEST(test_write_then_read_gives_the_same_bytes),
		MEM_TEST(test_copy_within_guest_memory_may_overlap),
		MEM_TEST(test_scalars_are_little_endian_in_place),
		MEM_TEST(test_scalar_outside_or_misaligned_aborts),
		cmocka_unit_test(test_gpa_add_wrapping_is_false),
	};

	return cmocka_run_group_tests_name("bus/guest_mem", tests, NULL, NULL);
}
