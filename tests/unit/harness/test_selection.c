/* Which tests run: filters, shards that stay as they are, repetitions, an order that a seed gives. */
#include "harness/selection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static const char *const ids[] = { "cpu/cpus/online", "cpu/cpus/topology", "io/disk/write",
				   "io/net/tcp", "must/must/fail" };
enum { N = ARRAY_SIZE(ids), MANY = 1000 };

static void need_filtered(const char *const *filters, size_t n_filters, const char *wanted)
{
	const struct selection s = { .filters = filters, .n_filters = n_filters, .repeat = 1 };
	CLEANUP(buf_fini) struct buf got = { 0 };
	size_t n;
	CLEANUP(freep) struct selected *list = selection_make(&s, ids, N, &n);

	for (size_t i = 0; i < n; i++)
		buf_printf(&got, "%zu", list[i].test);
	assert_string_equal(buf_str(&got), wanted);
}

static void test_filters_match_names_and_ids(void **state UNUSED)
{
	need_filtered(NULL, 0, "01234");
	need_filtered((const char *const[]){ "cpus/*" }, 1, "01");
	need_filtered((const char *const[]){ "io/*" }, 1, "23");
	need_filtered((const char *const[]){ "*write", "must/fail" }, 2, "24");
	need_filtered((const char *const[]){ "disk" }, 1, "");
	need_filtered((const char *const[]){ "disk/[a-z]rite" }, 1, "2");
}

static char **make_ids(void)
{
	char **many = xcalloc(MANY, sizeof(*many));

	for (size_t i = 0; i < MANY; i++)
		many[i] = xasprintf("program/test/%zu", i);
	return many;
}

static void free_ids(char **many)
{
	for (size_t i = 0; i < MANY; i++)
		freep(&many[i]);
	freep(&many);
}

static void test_shards_are_a_partition_of_fair_parts(void **state UNUSED)
{
	enum { SHARDS = 7 };
	char **many = make_ids();
	unsigned seen[MANY] = { 0 };

	for (uint32_t shard = 1; shard <= SHARDS; shard++) {
		const struct selection s = { .shard = shard, .n_shards = SHARDS, .repeat = 1 };
		size_t n;
		CLEANUP(freep)
		struct selected *list = selection_make(&s, (const char *const *)many, MANY, &n);
		assert_true(n > MANY / SHARDS / 2 && n < 2 * MANY / SHARDS);
		for (size_t i = 0; i < n; i++)
			seen[list[i].test]++;
	}
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(seen[i], 1);
	free_ids(many);
}

/* A shard that moved would run a test twice, or never, while two versions of ktstr serve one CI. */
static void test_shard_of_a_name_is_the_same_for_ever(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf got = { 0 };

	for (uint32_t shard = 1; shard <= 3; shard++) {
		const struct selection s = { .shard = shard, .n_shards = 3, .repeat = 1 };
		size_t n;
		CLEANUP(freep) struct selected *list = selection_make(&s, ids, N, &n);
		for (size_t i = 0; i < n; i++)
			buf_printf(&got, "%zu", list[i].test);
		buf_append_str(&got, "/");
	}
	assert_string_equal(buf_str(&got), "02/3/14/");
}

static void test_repetitions_come_after_the_whole_list(void **state UNUSED)
{
	const struct selection s = { .repeat = 3 };
	size_t n;
	CLEANUP(freep) struct selected *list = selection_make(&s, ids, N, &n);

	assert_int_equal(n, 3 * N);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(list[i].test, i % N);
		assert_int_equal(list[i].iteration, i / N);
	}
}

static void test_seed_gives_an_order_that_comes_again(void **state UNUSED)
{
	char **many = make_ids();
	struct selection s = { .repeat = 1, .shuffle = true, .seed = 1 };
	size_t n;
	CLEANUP(freep) struct selected *a = selection_make(&s, (const char *const *)many, MANY, &n);
	CLEANUP(freep) struct selected *b = selection_make(&s, (const char *const *)many, MANY, &n);
	s.seed = 2;
	CLEANUP(freep) struct selected *c = selection_make(&s, (const char *const *)many, MANY, &n);
	unsigned seen[MANY] = { 0 };
	size_t n_same = 0;

	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(a[i].test, b[i].test);
		n_same += a[i].test == c[i].test;
		seen[a[i].test]++;
	}
	assert_true(n_same < MANY / 10);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(seen[i], 1);
	free_ids(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters_match_names_and_ids),
		cmocka_unit_test(test_shards_are_a_partition_of_fair_parts),
		cmocka_unit_test(test_shard_of_a_name_is_the_same_for_ever),
		cmocka_unit_test(test_repetitions_come_after_the_whole_list),
		cmocka_unit_test(test_seed_gives_an_order_that_comes_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
