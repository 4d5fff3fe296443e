/* Errors by value: code, class, text, and texts that are longer than their place. */
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_set_either_sign_is_negative_with_its_reason(void **state UNUSED)
{
	struct error err;

	assert_int_equal(error_set(&err, ENOENT, "open '%s'", "a"), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_int_equal(err.class, ERROR_INFRA);
	assert_string_equal(err.text, "open 'a': No such file or directory");
	assert_int_equal(error_set(&err, -EPERM, "x"), -EPERM);
	assert_string_equal(err.text, "x: Operation not permitted");
}

static void test_set_text_has_no_reason_of_the_system(void **state UNUSED)
{
	struct error err;

	assert_int_equal(error_set_text(&err, -EINVAL, "%d is odd", 3), -EINVAL);
	assert_string_equal(err.text, "3 is odd");
	assert_int_equal(err.class, ERROR_INFRA);
}

static void test_class_is_set_by_usage_and_classify_and_not_inherited(void **state UNUSED)
{
	struct error err;

	assert_int_equal(error_set_usage(&err, -ERANGE, "no"), -ERANGE);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_int_equal(error_classify(&err, ERROR_SKIP), -ERANGE);
	assert_int_equal(err.class, ERROR_SKIP);
	(void)error_set(&err, EIO, "again");
	assert_int_equal(err.class, ERROR_INFRA);
	assert_int_equal(error_set_usage_errno(&err, EACCES, "open '%s'", "a"), -EACCES);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_string_equal(err.text, "open 'a': Permission denied");
}

static void test_prefix_wraps_from_the_outside_and_keeps_code_and_class(void **state UNUSED)
{
	struct error err;

	(void)error_set_usage(&err, -ENOENT, "missing");
	assert_int_equal(error_prefix(&err, "disk %d", 1), -ENOENT);
	assert_int_equal(error_prefix(&err, "run"), -ENOENT);
	assert_string_equal(err.text, "run: disk 1: missing");
	assert_int_equal(err.class, ERROR_USAGE);
}

static void test_long_texts_are_cut_and_terminated(void **state UNUSED)
{
	struct error err;
	char path[2 * ERROR_TEXT_MAX];

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	(void)error_set(&err, ENOENT, "%s", path);
	assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
	assert_int_equal(error_prefix(&err, "outer"), -ENOENT);
	assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
	assert_memory_equal(err.text, "outer: ppp", 10);
	(void)error_prefix(&err, "%s", path);
	assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
	assert_memory_equal(err.text, "ppp", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_either_sign_is_negative_with_its_reason),
		cmocka_unit_test(test_set_text_has_no_reason_of_the_system),
		cmocka_unit_test(test_class_is_set_by_usage_and_classify_and_not_inherited),
		cmocka_unit_test(test_prefix_wraps_from_the_outside_and_keeps_code_and_class),
		cmocka_unit_test(test_long_texts_are_cut_and_terminated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
