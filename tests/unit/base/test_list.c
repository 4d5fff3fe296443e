/* The intrusive list. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct item {
	int number;
	struct list node;
};

static struct item *item_of(struct list *node)
{
	return container_of(node, struct item, node);
}

static void fill(struct list *head, struct item *items, int n)
{
	list_init(head);
	for (int i = 0; i < n; i++) {
		items[i] = (struct item){ .number = i };
		list_add_tail(head, &items[i].node);
	}
}

static void check(struct list *head, const int *numbers, int n)
{
	struct list *node;
	int i = 0;

	list_for_each (node, head) {
		assert_true(i < n);
		assert_ptr_equal(node->prev->next, node);
		int wanted = i < n ? numbers[i] : -1;
		assert_int_equal(item_of(node)->number, wanted);
		i++;
	}
	assert_int_equal(i, n);
}

static void test_add_keeps_the_order(void **state UNUSED)
{
	struct item items[3] = { 0 };
	struct list head;

	fill(&head, items, 0);
	assert_true(list_is_empty(&head));
	assert_null(list_pop(&head));
	fill(&head, items, 3);
	check(&head, (int[]){ 0, 1, 2 }, 3);
}

static void test_remove_unlinks_and_the_node_can_return(void **state UNUSED)
{
	struct item items[3] = { 0 };
	struct list head;

	fill(&head, items, 3);
	list_remove(&items[1].node);
	assert_false(list_is_linked(&items[1].node));
	check(&head, (int[]){ 0, 2 }, 2);
	list_add_tail(&head, &items[1].node);
	check(&head, (int[]){ 0, 2, 1 }, 3);
}

static void test_pop_takes_from_the_front(void **state UNUSED)
{
	struct item items[2] = { 0 };
	struct list head;

	fill(&head, items, 2);
	assert_ptr_equal(list_pop(&head), &items[0].node);
	assert_ptr_equal(list_pop(&head), &items[1].node);
	assert_null(list_pop(&head));
}

static void test_safe_iteration_survives_removal(void **state UNUSED)
{
	struct list head, *node, *tmp;
	struct item items[4] = { 0 };

	fill(&head, items, 4);
	list_for_each_safe (node, tmp, &head)
		if (item_of(node)->number % 2)
			list_remove(node);
	check(&head, (int[]){ 0, 2 }, 2);
}

static void test_move_all_appends_and_empties(void **state UNUSED)
{
	struct item a[2], b[2];
	struct list to, from;

	fill(&to, a, 2);
	fill(&from, b, 0);
	list_move_all(&to, &from);
	check(&to, (int[]){ 0, 1 }, 2);
	fill(&from, b, 2);
	list_move_all(&to, &from);
	check(&to, (int[]){ 0, 1, 0, 1 }, 4);
	assert_true(list_is_empty(&from));
	list_move_all(&from, &to);
	check(&from, (int[]){ 0, 1, 0, 1 }, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_keeps_the_order),
		cmocka_unit_test(test_remove_unlinks_and_the_node_can_return),
		cmocka_unit_test(test_pop_takes_from_the_front),
		cmocka_unit_test(test_safe_iteration_survives_removal),
		cmocka_unit_test(test_move_all_appends_and_empties),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
