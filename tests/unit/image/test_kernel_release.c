#include "image/kernel_release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_parse_takes_the_first_word(void **state)
{
	static const struct {
		const char *text;
		const char *release;
	} table[] = {
		{ "6.1.0-53-cloud-amd64 (debian@x) #1 SMP", "6.1.0-53-cloud-amd64" },
		{ "6.12.107+deb12-cloud-amd64", "6.12.107+deb12-cloud-amd64" },
		{ "6.9.0-rc3_x~y\n", "6.9.0-rc3_x~y" },
		{ "", "" },
		{ "../../etc", "" },
		{ "6.1/../x", "" },
		{ "6.1\x01", "" },
		{ "linux", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char release[KERNEL_RELEASE_MAX] = "unset";
		kernel_release_parse(table[i].text, strlen(table[i].text), release);
		assert_string_equal(release, table[i].release);
	}
}

static void test_parse_unterminated_or_too_long_stays_in_bounds(void **state)
{
	char release[KERNEL_RELEASE_MAX];
	char text[200];

	kernel_release_parse("6.1.7", 3, release);
	assert_string_equal(release, "6.1");
	memset(text, '6', sizeof(text));
	kernel_release_parse(text, sizeof(text), release);
	assert_string_equal(release, "");
	kernel_release_parse(text, KERNEL_RELEASE_MAX - 1, release);
	assert_int_equal(strlen(release), KERNEL_RELEASE_MAX - 1);
}

static void test_compare_orders_by_version(void **state)
{
	static const char *const sorted[] = {
		"mine",          "vanilla",        "5.10.0",
		"6.1.0-9-cloud", "6.1.0-53-cloud", "6.1.0-100-cloud",
		"6.9.0",         "6.12.0-rc1",     "6.12.0-rc10",
		"6.12.0",        "6.12.7+deb12",   "6.12.117+deb12",
		"7.0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		assert_int_equal(kernel_release_compare(sorted[i], sorted[i]), 0);
		for (size_t k = i + 1; k < ARRAY_SIZE(sorted); k++) {
			assert_true(kernel_release_compare(sorted[i], sorted[k]) < 0);
			assert_true(kernel_release_compare(sorted[k], sorted[i]) > 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_takes_the_first_word),
		cmocka_unit_test(test_parse_unterminated_or_too_long_stays_in_bounds),
		cmocka_unit_test(test_compare_orders_by_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
