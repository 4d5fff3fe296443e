#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reactor/timer_heap.h"

enum { N_OPS = 500 };

static void test_first_of_empty_heap_is_null(void **state)
{
	struct timer_heap h = { 0 };

	assert_null(timer_heap_first(&h));
	timer_heap_fini(&h);
}

static void test_equal_deadlines_keep_the_order_of_pushes(void **state)
{
	static struct reactor_op ops[N_OPS];
	struct timer_heap h = { 0 };

	for (int i = 0; i < N_OPS; i++) {
		ops[i].deadline_ns = (uint64_t)(i % 3);
		timer_heap_push(&h, &ops[i]);
	}
	for (int d = 0; d < 3; d++) {
		for (int i = d; i < N_OPS; i += 3) {
			assert_ptr_equal(timer_heap_first(&h), &ops[i]);
			timer_heap_remove(&h, &ops[i]);
		}
	}
	timer_heap_fini(&h);
}

/* Any mixture of pushes and removals: what comes out last is sorted. */
static void test_random_removals_leave_a_sorted_heap(void **state)
{
	static struct reactor_op ops[N_OPS];
	static bool removed[N_OPS];
	struct timer_heap h = { 0 };
	unsigned seed = 1;

	for (int i = 0; i < N_OPS; i++) {
		ops[i].deadline_ns = (uint64_t)(rand_r(&seed) % 200);
		timer_heap_push(&h, &ops[i]);
		int victim = rand_r(&seed) % (i + 1);
		if (i % 2 && !removed[victim]) {
			timer_heap_remove(&h, &ops[victim]);
			removed[victim] = true;
		}
	}
	const struct reactor_op *previous = NULL;
	for (struct reactor_op *op; (op = timer_heap_first(&h)); previous = op) {
		assert_false(removed[op - ops]);
		removed[op - ops] = true;
		if (previous) {
			assert_true(previous->deadline_ns <= op->deadline_ns);
			assert_true(previous->deadline_ns < op->deadline_ns ||
				    previous->seq < op->seq);
		}
		timer_heap_remove(&h, op);
	}
	for (int i = 0; i < N_OPS; i++)
		assert_true(removed[i]);
	timer_heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_of_empty_heap_is_null),
		cmocka_unit_test(test_equal_deadlines_keep_the_order_of_pushes),
		cmocka_unit_test(test_random_removals_leave_a_sorted_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
