/* When to look around before sleeping. */
#include "reactor/spin.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"

enum { MANY = 64 };

static void sleep_times(struct spin *s, uint64_t ns, int n)
{
	for (int i = 0; i < n; i++)
		spin_learn_sleep(s, ns);
}

static void test_nothing_is_looked_for_at_first_nor_after_long_waits(void **state UNUSED)
{
	struct spin s = { 0 };

	assert_int_equal(spin_ns(&s), 0);
	sleep_times(&s, NS_PER_S, MANY);
	assert_int_equal(spin_ns(&s), 0);
}

static void test_short_waits_are_looked_for_after_some(void **state UNUSED)
{
	struct spin s = { 0 };

	spin_learn_sleep(&s, NS_PER_US);
	assert_int_equal(spin_ns(&s), 0);
	sleep_times(&s, NS_PER_US, MANY);
	assert_true(spin_ns(&s) > 0 && spin_ns(&s) < NS_PER_MS);
}

static void test_looks_in_vain_end_it(void **state UNUSED)
{
	struct spin s = { 0 };
	int n = 0;

	sleep_times(&s, NS_PER_US, MANY);
	for (; spin_ns(&s); n++)
		spin_learn_look(&s, false);
	assert_in_range(n, 1, 2);
}

static void test_every_second_wait_long_is_not_looked_for(void **state UNUSED)
{
	struct spin s = { 0 };
	int n_looks = 0;

	for (int i = 0; i < 10 * MANY; i++) {
		bool is_short = i % 2;
		if (!spin_ns(&s)) {
			spin_learn_sleep(&s, is_short ? NS_PER_US : NS_PER_S);
			continue;
		}
		n_looks++;
		spin_learn_look(&s, is_short);
	}
	assert_int_equal(n_looks, 0);
}

static void test_one_cpu_never_looks(void **state UNUSED)
{
	cpu_set_t old, one;
	struct spin s;

	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	CPU_ZERO(&one);
	for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
		if (CPU_ISSET(cpu, &old))
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	spin_init(&s);
	sleep_times(&s, NS_PER_US, MANY);
	assert_int_equal(spin_ns(&s), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_looked_for_at_first_nor_after_long_waits),
		cmocka_unit_test(test_short_waits_are_looked_for_after_some),
		cmocka_unit_test(test_looks_in_vain_end_it),
		cmocka_unit_test(test_every_second_wait_long_is_not_looked_for),
		cmocka_unit_test(test_one_cpu_never_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
