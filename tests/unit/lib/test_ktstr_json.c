/* What the library writes is read back as it was, by a reader that is strict. */
#include "ktstr_json.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* {"k":VALUE} with what @write makes of @arg, read back. */
static json_t *read_back(void (*write)(FILE *f, const void *arg), const void *arg)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	json_error_t why;

	assert_non_null(f);
	fputs("{\"first\":1", f);
	write(f, arg);
	fputc('}', f);
	assert_int_equal(fclose(f), 0);
	json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	if (!doc)
		fail_msg("%s in: %s", why.text, text);
	free(text);
	return doc;
}

static void write_string(FILE *f, const void *arg)
{
	ktstr_json_add_string(f, "k", arg);
}

static void write_number(FILE *f, const void *arg)
{
	ktstr_json_add_number(f, "k", *(const double *)arg);
}

static void test_texts_come_back(void **state)
{
#define BAD "\xef\xbf\xbd" /* U+FFFD */
	static const struct {
		const char *text, *read; /* NULL: the same */
	} cases[] = {
		{ "", NULL },
		{ "plain", NULL },
		{ "quote \" backslash \\ slash /", NULL },
		{ "\n\t\r\b\f\x01\x1f\x7f", NULL },
		{ "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf", NULL },
		{ "\xff", BAD },
		{ "a\x80z", "a" BAD "z" },
		{ "cut \xe2\x82", "cut " BAD BAD },
		{ "\xc0\xaf overlong", BAD BAD " overlong" },
		{ "\xe0\x80\xaf", BAD BAD BAD },
		{ "\xed\xa0\x80 surrogate", BAD BAD BAD " surrogate" },
		{ "\xf4\x90\x80\x80 too large", BAD BAD BAD BAD " too large" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *doc = read_back(write_string, cases[i].text);
		assert_string_equal(json_string_value(json_object_get(doc, "k")),
				    cases[i].read ? cases[i].read : cases[i].text);
		json_decref(doc);
	}
}

static void test_numbers_come_back(void **state)
{
	static const double cases[] = { 0, 1, -1, 0.1, 12.5, 1e300, -2.5e-300, 123456789.125 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *doc = read_back(write_number, &cases[i]);
		assert_true(json_number_value(json_object_get(doc, "k")) == cases[i]);
		json_decref(doc);
	}
}

static void test_numbers_lose_the_decimal_point_of_a_locale(void **state)
{
	static const char *const cases[][2] = {
		{ "12", "12" },
		{ "0,5", "0.5" },
		{ "-1\xd9\xab"
		  "25e+30",
		  "-1.25e+30" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&text, &n);
		assert_non_null(f);
		ktstr_json_number(f, cases[i][0]);
		assert_int_equal(fclose(f), 0);
		assert_string_equal(text, cases[i][1]);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_come_back),
		cmocka_unit_test(test_numbers_come_back),
		cmocka_unit_test(test_numbers_lose_the_decimal_point_of_a_locale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
