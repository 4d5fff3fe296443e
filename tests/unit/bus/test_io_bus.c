/* See io_bus.h. */
#include "bus/io_bus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct recorder {
	struct io_region region;
	uint64_t off, value;
	unsigned size;
	int n_reads, n_writes;
};

static uint64_t record_read(struct io_region *region, uint64_t off, unsigned size)
{
	struct recorder *r = container_of(region, struct recorder, region);

	r->off = off;
	r->size = size;
	r->n_reads++;
	return 0x1122334455667788;
}

static void record_write(struct io_region *region, uint64_t off, unsigned size, uint64_t value)
{
	struct recorder *r = container_of(region, struct recorder, region);

	r->off = off;
	r->size = size;
	r->value = value;
	r->n_writes++;
}

static const struct io_ops record_ops = { .read = record_read, .write = record_write };

static struct recorder recorder(uint64_t base, uint64_t len)
{
	return (struct recorder){ .region = { base, len, &record_ops, "test" } };
}

static void test_access_inside_window_reaches_it_relative(void **state)
{
	struct recorder a = recorder(0x1000, 0x100);
	struct recorder b = recorder(0x400, 0x10);
	struct io_bus bus = { 0 };
	uint64_t value = 0;

	assert_int_equal(io_bus_add(&bus, &a.region), 0);
	assert_int_equal(io_bus_add(&bus, &b.region), 0);
	assert_true(io_bus_read(&bus, 0x10fc, 4, &value));
	assert_int_equal(value, 0x1122334455667788);
	assert_int_equal(a.off, 0xfc);
	assert_int_equal(a.size, 4);
	assert_true(io_bus_write(&bus, 0x400, 8, 77));
	assert_int_equal(b.off, 0);
	assert_int_equal(b.value, 77);
	assert_int_equal(a.n_writes, 0);
	assert_int_equal(bus.n_unclaimed, 0);
}

static void test_access_outside_or_odd_is_unclaimed_and_counted(void **state)
{
	static const struct {
		uint64_t addr;
		unsigned size;
	} cases[] = {
		{ 0xfff, 1 },  { 0xffe, 4 },   { 0x1100, 1 },     { 0x10fd, 4 }, { 0x1000, 3 },
		{ 0x1000, 0 }, { 0x1000, 16 }, { UINT64_MAX, 8 }, { 0, 8 },      { UINT64_MAX, 1 },
	};
	struct recorder a = recorder(0x1000, 0x100);
	struct io_bus bus = { 0 };

	assert_int_equal(io_bus_add(&bus, &a.region), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 5;

		assert_false(io_bus_read(&bus, cases[i].addr, cases[i].size, &value));
		assert_int_equal(value, 5);
		assert_false(io_bus_write(&bus, cases[i].addr, cases[i].size, 1));
	}
	assert_int_equal(a.n_reads + a.n_writes, 0);
	assert_int_equal(bus.n_unclaimed, 2 * ARRAY_SIZE(cases));
}

static void test_add_overlapping_empty_or_wrapping_is_refused(void **state)
{
	static const struct {
		uint64_t base, len;
	} cases[] = {
		{ 0x1000, 0x100 }, { 0x10ff, 1 }, { 0xf00, 0x101 },  { 0x1080, 0x1000 },
		{ 0, 0x2000 },     { 0x5000, 0 }, { UINT64_MAX, 2 },
	};
	struct recorder a = recorder(0x1000, 0x100);
	struct io_bus bus = { 0 };

	assert_int_equal(io_bus_add(&bus, &a.region), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct recorder b = recorder(cases[i].base, cases[i].len);

		assert_int_equal(io_bus_add(&bus, &b.region), -EINVAL);
	}
	assert_int_equal(bus.n_regions, 1);
}

static void test_add_up_to_the_maximum_keeps_order(void **state)
{
	struct recorder r[IO_BUS_MAX_REGIONS + 1];
	struct io_bus bus = { 0 };

	for (size_t i = 0; i <= IO_BUS_MAX_REGIONS; i++) {
		/* 7 has no common factor with 33: every base once, in no order. */
		r[i] = recorder((i * 7 % (IO_BUS_MAX_REGIONS + 1)) * 0x10, 0x10);
		assert_int_equal(io_bus_add(&bus, &r[i].region),
				 i < IO_BUS_MAX_REGIONS ? 0 : -ENOSPC);
	}
	for (size_t i = 1; i < bus.n_regions; i++)
		assert_true(bus.regions[i - 1]->base < bus.regions[i]->base);
	for (size_t i = 0; i < IO_BUS_MAX_REGIONS; i++)
		assert_ptr_equal(io_bus_find(&bus, r[i].region.base + 8, 8), &r[i].region);
}

static void test_window_at_the_top_of_the_space_is_found(void **state)
{
	struct recorder a = recorder(UINT64_MAX - 7, 8);
	struct io_bus bus = { 0 };

	assert_int_equal(io_bus_add(&bus, &a.region), 0);
	assert_ptr_equal(io_bus_find(&bus, UINT64_MAX - 7, 8), &a.region);
	assert_null(io_bus_find(&bus, UINT64_MAX - 6, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_access_inside_window_reaches_it_relative),
		cmocka_unit_test(test_access_outside_or_odd_is_unclaimed_and_counted),
		cmocka_unit_test(test_add_overlapping_empty_or_wrapping_is_refused),
		cmocka_unit_test(test_add_up_to_the_maximum_keeps_order),
		cmocka_unit_test(test_window_at_the_top_of_the_space_is_found),
	};

	return cmocka_run_group_tests_name("bus/io_bus", tests, NULL, NULL);
}
