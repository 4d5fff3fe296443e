/* A host that is written and read again is the same host; any other file is none. */
#include "plan/host_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "hosts.h"
#include "scratch_dir.h"

static const char key[] = "ktstr host 1 boot 0-7";

static void need_equal(const struct host *a, const struct host *b)
{
	assert_int_equal(a->n_cpus, b->n_cpus);
	assert_int_equal(a->n_llcs, b->n_llcs);
	assert_int_equal(a->n_nodes, b->n_nodes);
	assert_int_equal(a->n_ids, b->n_ids);
	assert_true(id_set_is_equal(&a->online, &b->online));
	assert_true(id_set_is_equal(&a->allowed, &b->allowed));
	assert_memory_equal(a->order, b->order, a->n_cpus * sizeof(*a->order));
	assert_memory_equal(a->cpus, b->cpus, a->n_ids * sizeof(*a->cpus));
	assert_memory_equal(a->llcs, b->llcs, a->n_llcs * sizeof(*a->llcs));
	assert_memory_equal(a->nodes, b->nodes, a->n_nodes * sizeof(*a->nodes));
	assert_int_equal(a->distances == NULL, b->distances == NULL);
	for (uint32_t i = 0; i < a->n_nodes; i++)
		for (uint32_t j = 0; j < a->n_nodes; j++)
			assert_int_equal(host_distance(a, i, j), host_distance(b, i, j));
}

static void test_every_host_survives(void **state UNUSED)
{
	char *dir = scratch_dir_new();
	CLEANUP(freep) char *path = xasprintf("%s/new/host", dir);
	struct random random = { .state = 42 };

	for (int i = 0; i < 300; i++) {
		struct host *h = host_random(&random);
		host_cache_write(path, key, h);
		struct host *again = host_cache_read(path, key, &h->allowed);
		assert_non_null(again);
		need_equal(h, again);
		again = host_free(again);
		h = host_free(h);
	}
	scratch_dir_free(dir);
}

static void test_only_the_same_key_counts(void **state UNUSED)
{
	char *dir = scratch_dir_new();
	CLEANUP(freep) char *path = xasprintf("%s/host", dir);
	struct host *h = host_regular(1, 2, 2, 1, false);

	assert_null(host_cache_read(path, key, &h->allowed));
	host_cache_write(path, key, h);
	assert_null(host_cache_read(path, "ktstr host 1 boot 0-6", &h->allowed));
	assert_null(host_cache_read(path, "ktstr host 1 boot 0-", &h->allowed));
	h = host_free(h);
	scratch_dir_free(dir);
}

static void test_broken_files_are_no_hosts(void **state UNUSED)
{
	static const char *const bodies[] = {
		"",
		"0 0 0\n",
		"1 1 0\n",
		"2 1 0\n0 0 0 0\n",
		"2 1 0\n0 0 0 0\n0 0 0 0\n",
		"1 1 0\n9000 0 0 0\n",
		"1 1 1\n0 0 0 0\n0\n",
		"1 1 1\n0 0 0 0\n0\n256\n",
		"1 1 2\n0 0 0 0\n",
		"1 x 0\n0 0 0 0\n",
		"9999999999 1 0\n",
		"-1 1 0\n",
	};
	char *dir = scratch_dir_new();
	CLEANUP(freep) char *path = xasprintf("%s/host", dir);
	const struct id_set all = { .words = { UINT64_MAX } };

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct file_new f = FILE_NEW_INIT;
		CLEANUP(freep) char *text = xasprintf("%s\n%s", key, bodies[i]);
		struct error err;
		assert_int_equal(file_new_open(&f, path, &err), 0);
		assert_int_equal(fd_write_all(f.fd, text, strlen(text)), 0);
		assert_int_equal(file_new_commit(&f, 0644, &err), 0);
		file_new_fini(&f);
		struct host *h = host_cache_read(path, key, &all);
		if (h)
			fail_msg("case %zu is a host", i);
	}
	scratch_dir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_host_survives),
		cmocka_unit_test(test_only_the_same_key_counts),
		cmocka_unit_test(test_broken_files_are_no_hosts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
