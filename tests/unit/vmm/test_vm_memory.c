/* Guest RAM without KVM: its ranges, and images in it, whatever their alignment. */
#include "vmm/vm_memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/num.h"
#include "image/kernel_image.h"

#define PAGE     ((size_t)4096)
#define FILE_LEN (5 * PAGE + 123)
#define RAM      (4 * MIB)

struct fixture {
	struct vm_memory memory;
	int fd; /* a file of FILE_LEN bytes, none of them 0 */
	uint8_t bytes[FILE_LEN];
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err;

	const struct memory_layout layout = { 1, { { 0, RAM, 0 } } };

	assert_int_equal(
	    vm_memory_init(&f->memory, &(struct vm_memory_config){ .layout = &layout }, &err), 0);
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

	vm_memory_fini(&f->memory);
	fd_closep(&f->fd);
	free(f);
	return 0;
}

static void check(struct fixture *f, uint64_t gpa, size_t file_offset, size_t len)
{
	uint8_t *got = xmalloc(len + 2 * PAGE);

	assert_int_equal(guest_mem_read(&f->memory.mem, GPA(gpa), got, len + PAGE), 0);
	assert_memory_equal(got, f->bytes + file_offset, len);
	for (size_t i = 0; i < PAGE; i++)
		assert_int_equal(got[len + i], 0); /* nothing of the file behind its part */
	free(got);
}

static struct memory_layout layout_of(uint32_t nodes, uint64_t bytes)
{
	const struct topology t = topology_uniform(nodes, nodes, 1, 1);
	struct memory_layout layout;
	struct error err;

	assert_int_equal(memory_layout_make(&t, bytes, &arch_memory_space, &layout, &err), 0);
	return layout;
}

/* Lines of /proc/self/numa_maps or maps from @base to @base + @len; those that say @word are counted. */
static unsigned count_lines(const char *path, const struct vm_memory *m, const char *word)
{
	FILE *maps = fopen(path, "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t at = strtoull(line, NULL, 16);
		if (at >= (uintptr_t)m->base && at < (uintptr_t)m->base + m->len &&
		    strstr(line, word))
			n++;
	}
	assert_int_equal(fclose(maps), 0);
	return n;
}

static void test_init_makes_one_range_per_stretch_of_guest_addresses(void **state UNUSED)
{
	const struct memory_layout layout = layout_of(3, 5 * GIB);
	struct vm_memory m;
	struct error err;
	uint8_t byte;

	assert_int_equal(vm_memory_init(&m, &(struct vm_memory_config){ .layout = &layout }, &err),
			 0);
	assert_int_equal(layout.n_ranges, 4); /* the gap splits the second node */
	assert_int_equal(m.mem.n_ranges, 2);
	assert_int_equal(guest_mem_size(&m.mem), 5 * GIB);
	assert_int_equal((uintptr_t)m.base % (2 * MIB), 0);
	assert_ptr_equal(m.mem.ranges[1].hva, m.mem.ranges[0].hva + 3 * GIB);
	assert_int_equal(guest_mem_read(&m.mem, GPA(3 * GIB - 1), &byte, 1), 0);
	assert_int_equal(guest_mem_read(&m.mem, GPA(3 * GIB), &byte, 1), -EFAULT);
	assert_int_equal(guest_mem_read(&m.mem, GPA(4 * GIB), &byte, 1), 0);
	assert_int_equal(guest_mem_read(&m.mem, GPA(6 * GIB - 1), &byte, 1), 0);
	assert_int_equal(guest_mem_read(&m.mem, GPA(6 * GIB), &byte, 1), -EFAULT);
	const struct vm_memory was = m;
	vm_memory_fini(&m);
	assert_int_equal(count_lines("/proc/self/maps", &was, ""), 0);
	vm_memory_fini(&m);
}

static void test_init_beyond_the_address_space_is_a_lack_of_resources(void **state UNUSED)
{
	const struct memory_layout layout = { 1, { { 0, UINT64_C(1) << 50, 0 } } };
	struct vm_memory m;
	struct error err;

	assert_int_equal(vm_memory_init(&m, &(struct vm_memory_config){ .layout = &layout }, &err),
			 -ENOMEM);
	assert_int_equal(err.class, ERROR_INFRA);
	assert_non_null(strstr(err.text, "host resources"));
	vm_memory_fini(&m);
}

static void test_shared_memory_is_seen_through_its_descriptor(void **state)
{
	const struct memory_layout layout = layout_of(2, 4 * GIB);
	struct fixture *f = *state;
	struct vm_memory m;
	struct error err;
	uint8_t byte = 0x5A, got[2] = { 0 };

	assert_int_equal(
	    vm_memory_init(&m, &(struct vm_memory_config){ .layout = &layout, .share = true },
			   &err),
	    0);
	assert_int_equal(guest_mem_write(&m.mem, GPA(4 * GIB + 5), &byte, 1), 0);
	assert_int_equal(m.mem.ranges[1].fd, m.fd);
	assert_int_equal(pread(m.mem.ranges[1].fd, got, 1, (off_t)(m.mem.ranges[1].fd_offset + 5)),
			 1);
	assert_int_equal(got[0], byte);
	/* An image must lie in the file, not over it. */
	assert_int_equal(vm_memory_load_file(&m, GPA(MIB), f->fd, 0, FILE_LEN, &err), 0);
	assert_int_equal(pread(m.fd, got, 2, (off_t)MIB), 2);
	assert_memory_equal(got, f->bytes, 2);
	vm_memory_fini(&m);
	assert_int_equal(m.fd, -1);
}

/* More than any host that runs tests has in its pool. */
static void test_huge_pages_that_are_not_there_fall_back_or_skip(void **state UNUSED)
{
	const struct memory_layout layout = layout_of(2, UINT64_C(1) << 39);

	for (int share = 0; share < 2; share++) {
		struct vm_memory_config config = { .layout = &layout,
						   .hugepages = VM_HUGEPAGES_TRY,
						   .share = share };
		struct vm_memory m;
		struct error err;
		uint8_t byte = 1;

		assert_int_equal(vm_memory_init(&m, &config, &err), 0);
		assert_true(m.fell_back);
		assert_int_equal(m.mem.ranges[0].backing, share ? GUEST_MEMFD : GUEST_ANONYMOUS);
		assert_int_equal(guest_mem_write(&m.mem, GPA(0), &byte, 1), 0);
		vm_memory_fini(&m);
		config.hugepages = VM_HUGEPAGES_REQUIRE;
		assert_int_equal(vm_memory_init(&m, &config, &err), -ENOMEM);
		assert_int_equal(err.class, ERROR_SKIP);
		assert_non_null(strstr(err.text, "262144 free pages of 2 MiB"));
		vm_memory_fini(&m);
	}
}

static void test_bound_node_has_the_policy_and_its_images_are_copies(void **state)
{
	const struct memory_layout layout = layout_of(2, 64 * MIB);
	const struct vm_host_nodes nodes[2] = { [1] = { { 1 } } };
	struct fixture *f = *state;
	struct vm_memory m;
	struct error err;

	assert_int_equal(
	    vm_memory_init(&m, &(struct vm_memory_config){ .layout = &layout, .host_nodes = nodes },
			   &err),
	    0);
	assert_int_equal(vm_memory_load_file(&m, GPA(48 * MIB), f->fd, 0, FILE_LEN, &err), 0);
	if (access("/proc/self/numa_maps", R_OK) == 0) { /* a kernel without NUMA has none */
		assert_int_equal(count_lines("/proc/self/numa_maps", &m, "bind:0"), 1);
		assert_int_equal(count_lines("/proc/self/numa_maps", &m, "default"), 1);
		assert_int_equal(count_lines("/proc/self/numa_maps", &m, "file="), 0);
	}
	vm_memory_fini(&m);
}

/* Node 0 on the host's last node, node 1 on its first; where these are the same, it is one mapping. */
static void test_bound_pages_come_from_their_nodes(void **state UNUSED)
{
	const struct memory_layout layout = layout_of(2, 64 * MIB);
	struct vm_host_nodes nodes[2] = { [1] = { { 1 } } };
	char online[64] = "0", want[24];
	struct vm_memory m;
	struct error err;

	if (access("/proc/self/numa_maps", R_OK) < 0 ||
	    file_read_line("/sys/devices/system/node/online", online, sizeof(online)) < 0)
		skip();
	unsigned long last = strtoul(online + strlen(online) - 1, NULL, 10);
	size_t n_pages = (last ? 32 : 64) * MIB / PAGE;
	nodes[0].bits[0] = 1ul << last;
	assert_int_equal(
	    vm_memory_init(&m, &(struct vm_memory_config){ .layout = &layout, .host_nodes = nodes },
			   &err),
	    0);
	memset(m.base, 1, m.len);
	(void)snprintf(want, sizeof(want), " N%lu=%zu", last, n_pages);
	assert_int_equal(count_lines("/proc/self/numa_maps", &m, want), 1);
	(void)snprintf(want, sizeof(want), " N0=%zu", n_pages);
	assert_int_equal(count_lines("/proc/self/numa_maps", &m, want), 1);
	vm_memory_fini(&m);
}

static long free_huge_pages(void)
{
	char line[32];
	int res = file_read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", line,
				 sizeof(line));

	return res < 0 ? 0 : strtol(line, NULL, 10);
}

static void test_bound_to_a_node_that_is_not_there_is_an_error(void **state UNUSED)
{
	const struct memory_layout layout = layout_of(1, 64 * MIB);
	struct vm_host_nodes nodes = { { 0 } };
	struct vm_memory m;
	struct error err;

	nodes.bits[ARRAY_SIZE(nodes.bits) - 1] = ~0ul >> 1;
	assert_true(vm_memory_init(
			&m, &(struct vm_memory_config){ .layout = &layout, .host_nodes = &nodes },
			&err) < 0);
	assert_non_null(strstr(err.text, "node 0"));
	vm_memory_fini(&m);
	/* Huge pages, where the pool has them (tests/lab), are not what is short then. */
	assert_true(vm_memory_init(&m,
				   &(struct vm_memory_config){ .layout = &layout,
							       .host_nodes = &nodes,
							       .hugepages = VM_HUGEPAGES_REQUIRE },
				   &err) < 0);
	assert_non_null(strstr(err.text, free_huge_pages() >= 32 ? "node 0" : "free pages"));
	vm_memory_fini(&m);
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
		assert_int_equal(vm_memory_load_file(&f->memory, GPA(cases[i].gpa), f->fd,
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

	assert_int_equal(vm_memory_load_file(&f->memory, GPA(MIB), f->fd, 0, FILE_LEN, &err), 0);
	assert_int_equal(guest_mem_write(&f->memory.mem, GPA(MIB), &byte, 1), 0);
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
		assert_int_equal(vm_memory_load_file(&f->memory, GPA(cases[i].gpa), f->fd, 0,
						     cases[i].len, &err),
				 -ENOMEM);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, "--memory"));
	}
}

static void test_file_shorter_than_promised_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(vm_memory_load_file(&f->memory, GPA(MIB), f->fd, 5 * PAGE, 1000, &err),
			 -EIO);
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

	assert_int_equal(vm_memory_load_kernel(&f->memory, &k, &err), 0);
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

	assert_int_equal(vm_memory_load_kernel(&f->memory, &k, &err), -ENOMEM);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "--memory"));
}

#define WITH_RAM(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_makes_one_range_per_stretch_of_guest_addresses),
		cmocka_unit_test(test_init_beyond_the_address_space_is_a_lack_of_resources),
		WITH_RAM(test_shared_memory_is_seen_through_its_descriptor),
		cmocka_unit_test(test_huge_pages_that_are_not_there_fall_back_or_skip),
		WITH_RAM(test_bound_node_has_the_policy_and_its_images_are_copies),
		cmocka_unit_test(test_bound_pages_come_from_their_nodes),
		cmocka_unit_test(test_bound_to_a_node_that_is_not_there_is_an_error),
		WITH_RAM(test_file_lands_whole_at_any_alignment),
		WITH_RAM(test_guest_writes_do_not_reach_the_file),
		WITH_RAM(test_file_outside_of_memory_is_refused_with_advice),
		WITH_RAM(test_file_shorter_than_promised_is_an_error),
		WITH_RAM(test_kernel_segments_are_loaded_and_their_rest_is_zero),
		WITH_RAM(test_kernel_whose_zeros_do_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
