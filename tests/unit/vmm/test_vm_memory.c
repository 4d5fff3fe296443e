/* Guest RAM without KVM: its ranges, and images in it, whatever their alignment. */
#include "vmm/vm_memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"
#include "image/kernel_image.h"

#define PAGE     ((size_t)4096)
#define FILE_LEN (5 * PAGE + 123)
#define RAM      (4 * MIB)

struct fixture {
	struct guest_mem mem;
	int fd; /* a file of FILE_LEN bytes, none of them 0 */
	uint8_t bytes[FILE_LEN];
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err;

	assert_int_equal(vm_memory_map(&f->mem, RAM, &err), 0);
	f->fd = memfd_create("image", MFD_CLOEXEC);
	for (size_t i = 0; i < FILE_LEN; i++)
		f->bytes[i] = (uint8_t)(1 + i % 255);
	assert_int_equal(fd_write_all(f->fd, f->bytes, FILE_LEN), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_mem_fini(&f->mem);
	fd_closep(&f->fd);
	free(f);
	return 0;
}

static void check(struct fixture *f, uint64_t gpa, size_t file_offset, size_t len)
{
	uint8_t *got = xmalloc(len + 2 * PAGE);

	assert_int_equal(guest_mem_read(&f->mem, GPA(gpa), got, len + PAGE), 0);
	assert_memory_equal(got, f->bytes + file_offset, len);
	for (size_t i = 0; i < PAGE; i++)
		assert_int_equal(got[len + i], 0); /* nothing of the file behind its part */
	free(got);
}

static void test_map_makes_ram_outside_of_the_hole(void **state UNUSED)
{
	struct guest_mem mem = { 0 };
	struct error err;

	assert_int_equal(vm_memory_map(&mem, 5 * GIB, &err), 0);
	assert_int_equal(guest_mem_size(&mem), 5 * GIB);
	assert_int_equal(mem.n_ranges, 2);
	uint8_t byte;
	assert_int_equal(guest_mem_read(&mem, GPA(3 * GIB - 1), &byte, 1), 0);
	assert_int_equal(guest_mem_read(&mem, GPA(3 * GIB), &byte, 1), -EFAULT);
	assert_int_equal(guest_mem_read(&mem, GPA(4 * GIB), &byte, 1), 0);
	guest_mem_fini(&mem);
}

static void test_map_beyond_the_address_space_is_a_lack_of_resources(void **state UNUSED)
{
	struct guest_mem mem = { 0 };
	struct error err;

	assert_int_equal(vm_memory_map(&mem, UINT64_C(1) << 50, &err), -ENOMEM);
	assert_int_equal(err.class, ERROR_INFRA);
	assert_non_null(strstr(err.text, "host resources"));
	guest_mem_fini(&mem);
}

static void test_file_lands_whole_at_any_alignment(void **state)
{
	static const struct {
		uint64_t gpa, offset, len;
	} cases[] = {
		{ MIB, 0, FILE_LEN },     /* mapped, tail copied */
		{ MIB + 5, 0, FILE_LEN }, /* copied: guest address */
		{ MIB, 7, FILE_LEN - 7 }, /* copied: offset */
		{ MIB, PAGE, PAGE },      /* whole pages only */
		{ MIB, 0, 100 },          /* less than a page */
		{ RAM - 8 * PAGE, PAGE, 2 * PAGE + 1 },
		{ MIB, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err;
		teardown(state);
		setup(state);
		struct fixture *f = *state;
		assert_int_equal(vm_memory_load_file(&f->mem, GPA(cases[i].gpa), f->fd,
						     cases[i].offset, cases[i].len, &err),
				 0);
		check(f, cases[i].gpa, cases[i].offset, cases[i].len);
	}
}

static void test_guest_writes_do_not_reach_the_file(void **state)
{
	struct fixture *f = *state;
	struct error err;
	uint8_t byte = 0, in_file;

	assert_int_equal(vm_memory_load_file(&f->mem, GPA(MIB), f->fd, 0, FILE_LEN, &err), 0);
	assert_int_equal(guest_mem_write(&f->mem, GPA(MIB), &byte, 1), 0);
	assert_int_equal(fd_pread_exact(f->fd, &in_file, 1, 0), 0);
	assert_int_equal(in_file, f->bytes[0]);
}

static void test_file_outside_of_memory_is_refused_with_advice(void **state)
{
	static const struct {
		uint64_t gpa, len;
	} cases[] = { { RAM, 1 },        { RAM - 1, 2 },    { 0, RAM + 1 },
		      { UINT64_MAX, 1 }, { 1, UINT64_MAX }, { UINT64_MAX, UINT64_MAX } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err;
		assert_int_equal(
		    vm_memory_load_file(&f->mem, GPA(cases[i].gpa), f->fd, 0, cases[i].len, &err),
		    -ENOMEM);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, "--memory"));
	}
}

static void test_file_shorter_than_promised_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(vm_memory_load_file(&f->mem, GPA(MIB), f->fd, 5 * PAGE, 1000, &err), -EIO);
}

static void test_kernel_segments_are_loaded_and_their_rest_is_zero(void **state)
{
	struct fixture *f = *state;
	struct error err;
	const struct kernel_image k = {
		.fd = f->fd,
		.n_segments = 2,
		.segments = { { MIB, 0, PAGE + 10, 4 * PAGE }, { 2 * MIB + 1, 33, 50, 50 } },
	};

	assert_int_equal(vm_memory_load_kernel(&f->mem, &k, &err), 0);
	check(f, MIB, 0, PAGE + 10);
	check(f, 2 * MIB + 1, 33, 50);
}

static void test_kernel_whose_zeros_do_not_fit_is_refused(void **state)
{
	struct fixture *f = *state;
	struct error err;
	const struct kernel_image k = { .fd = f->fd,
					.n_segments = 1,
					.segments = { { RAM - PAGE, 0, PAGE, PAGE + 1 } } };

	assert_int_equal(vm_memory_load_kernel(&f->mem, &k, &err), -ENOMEM);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "--memory"));
}

#define WITH_RAM(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_makes_ram_outside_of_the_hole),
		cmocka_unit_test(test_map_beyond_the_address_space_is_a_lack_of_resources),
		WITH_RAM(test_file_lands_whole_at_any_alignment),
		WITH_RAM(test_guest_writes_do_not_reach_the_file),
		WITH_RAM(test_file_outside_of_memory_is_refused_with_advice),
		WITH_RAM(test_file_shorter_than_promised_is_an_error),
		WITH_RAM(test_kernel_segments_are_loaded_and_their_rest_is_zero),
		WITH_RAM(test_kernel_whose_zeros_do_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
