/* Which cgroup takes ours, decided from texts as kernels write them. */
#include "harness/cgroup_place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_own_path_is_the_line_of_version_2(void **state UNUSED)
{
	static const struct {
		const char *text, *want; /* NULL: none */
	} cases[] = {
		{ "0::/user.slice/a b.scope\n", "/user.slice/a b.scope" },
		{ "9:name=systemd:/x\n3:cpuset:/y\n0::/\n", "/" },
		{ "3:cpuset:/y\n", NULL },
		{ "0::/gone.scope (deleted)\n", NULL },
		{ "0::/../outside\n", NULL },
		{ "10::/no\n", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_fini) struct buf got = { 0 };
		int res = cgroup_parse_own(cases[i].text, &got);
		assert_int_equal(res, cases[i].want ? 0 : -ENOENT);
		assert_string_equal(buf_str(&got), cases[i].want ? cases[i].want : "");
	}
}

static void test_folder_is_below_the_mount_that_shows_it(void **state UNUSED)
{
	static const char hybrid[] =
	    "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:2 - cgroup2 cgroup2 rw\n";
	static const char inside[] = "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
				     "50 22 0:38 /docker/77 /mnt/a\\040b ro - cgroup2 cgroup rw\n";
	static const struct {
		const char *mounts, *path, *want;
		size_t top_len;
	} cases[] = {
		{ hybrid, "/", "/sys/fs/cgroup/unified", 22 },
		{ hybrid, "/a/b", "/sys/fs/cgroup/unified/a/b", 22 },
		{ inside, "/docker/77", "/mnt/a b", 8 },
		{ inside, "/docker/77/x", "/mnt/a b/x", 8 },
		{ inside, "/docker/770", NULL, 0 },
		{ inside, "/", NULL, 0 },
		{ "22 1 254:0 / / rw - ext4 /dev/vda rw\n", "/", NULL, 0 },
		{ "50 22 0:38\n", "/", NULL, 0 },
		{ "", "/", NULL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_fini) struct buf got = { 0 };
		size_t top_len = 0;
		int res = cgroup_parse_mounts(cases[i].mounts, cases[i].path, &got, &top_len);
		assert_int_equal(res, cases[i].want ? 0 : -ENOENT);
		assert_string_equal(buf_str(&got), cases[i].want ? cases[i].want : "");
		assert_int_equal(top_len, cases[i].top_len);
	}
}

static void test_a_place_has_cpuset_and_no_processes_and_is_ours(void **state UNUSED)
{
	static const struct cgroup_facts good = {
		.is_own = true, .is_domain = true, .has_cpuset = true, .is_writable = true
	};
	struct cgroup_facts f = good;

	assert_int_equal(cgroup_judge(&f), CGROUP_USABLE);
	f.n_others = 1;
	assert_int_equal(cgroup_judge(&f), CGROUP_HAS_PROCESSES);
	f.is_root = true; /* the rule does not hold for it */
	assert_int_equal(cgroup_judge(&f), CGROUP_USABLE);
	f = good;
	f.is_own = false;
	assert_int_equal(cgroup_judge(&f), CGROUP_NOT_DELEGATED);
	f.is_delegated = true;
	assert_int_equal(cgroup_judge(&f), CGROUP_USABLE);
	f.is_writable = false;
	assert_int_equal(cgroup_judge(&f), CGROUP_NOT_WRITABLE);
	f.is_domain = false;
	assert_int_equal(cgroup_judge(&f), CGROUP_THREADED);
	f.has_cpuset = false;
	assert_int_equal(cgroup_judge(&f), CGROUP_NO_CPUSET);
}

static void test_names_come_back_and_others_are_refused(void **state UNUSED)
{
	static const char *const bad[] = {
		"ktstr-1-2-3",
		"ktstr-1-2-3-4-5",
		"ktstr-1-2-3-",
		"ktstr-1-0-3-4",
		"ktstr-1-2-3-4x",
		"ktstr-1--2-3-4",
		"ktstr-99999999999999999999-2-3-4",
		"ktstr-1-4294967296-3-4",
		"ktstr-1-2-3-4294967296",
		"other-1-2-3-4",
		"ktstr",
		"",
	};
	const struct cgroup_name n = {
		.pid_ns = 4026531836, .pid = 4711, .start = UINT64_MAX, .seq = UINT32_MAX
	};
	char text[CGROUP_NAME_MAX];
	struct cgroup_name got;

	cgroup_name_format(&n, text);
	assert_string_equal(text, "ktstr-4026531836-4711-18446744073709551615-4294967295");
	assert_true(cgroup_name_parse(text, &got));
	assert_true(got.pid_ns == n.pid_ns && got.pid == n.pid && got.start == n.start &&
		    got.seq == n.seq);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(cgroup_name_parse(bad[i], &got));
}

static void test_start_time_is_that_of_a_process_that_runs(void **state UNUSED)
{
#define REST " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"
	uint64_t start = 0;

	assert_true(cgroup_parse_stat("77 (a) S 9) S" REST, &start));
	assert_int_equal(start, 4242);
	assert_true(cgroup_parse_stat("77 (x) R" REST, &start));
	assert_false(cgroup_parse_stat("77 (x) Z" REST, &start));
	assert_false(cgroup_parse_stat("77 (x) X" REST, &start));
	assert_false(cgroup_parse_stat("77 (x) S 1 2 3", &start));
	assert_false(cgroup_parse_stat("", &start));
#undef REST
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_path_is_the_line_of_version_2),
		cmocka_unit_test(test_folder_is_below_the_mount_that_shows_it),
		cmocka_unit_test(test_a_place_has_cpuset_and_no_processes_and_is_ours),
		cmocka_unit_test(test_names_come_back_and_others_are_refused),
		cmocka_unit_test(test_start_time_is_that_of_a_process_that_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
