/* Text of strangers: what comes out can go anywhere, and stays what it is. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BAD "\xef\xbf\xbd"

static void test_clean_hostile_text_replaces_what_is_not_fit(void **state UNUSED)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "plain\ttext\n", "plain\ttext\n" },
		{ "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x8c\x8d",
		  "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x8c\x8d" },
		{ "a\r\nb\rc", "a\nb\nc" },
		{ "\x1b[31mred", BAD "[31mred" },
		{ "\x07\x7f", BAD BAD },
		{ "C1 \xc2\x9b"
		  "31m",
		  "C1 " BAD "31m" },
		{ "cut \xe2\x82", "cut " BAD BAD },
		{ "lone \x80\xff", "lone " BAD BAD },
		{ "long form \xc0\xaf", "long form " BAD BAD },
		{ "surrogate \xed\xa0\x80", "surrogate " BAD BAD BAD },
		{ "beyond \xf4\x90\x80\x80", "beyond " BAD BAD BAD BAD },
		{ "five \xf8\x88\x80\x80\x80", "five " BAD BAD BAD BAD BAD },
		{ "noncharacter \xef\xbf\xbe \xf0\x9f\xbf\xbf", "noncharacter " BAD " " BAD },
		{ "turned \xe2\x80\xae"
		  "cod.exe \xe2\x81\xa6",
		  "turned " BAD "cod.exe " BAD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_fini) struct buf b = { 0 };
		text_clean(&b, cases[i].in, strlen(cases[i].in));
		assert_string_equal(buf_str(&b), cases[i].out);
		assert_true(text_is_clean(b.data, b.len));
		assert_int_equal(text_is_clean(cases[i].in, strlen(cases[i].in)),
				 strcmp(cases[i].in, cases[i].out) == 0);
	}
}

static void test_clean_nul_bytes_are_replaced(void **state UNUSED)
{
	CLEANUP(freep) char *s = text_head("a\0b", 3, 100);

	assert_string_equal(s, "a" BAD "b");
}

static void test_head_and_tail_of_long_text_cut_between_characters(void **state UNUSED)
{
	for (size_t max = 16; max < 24; max++) {
		const char text[] = "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
				    "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac";
		CLEANUP(freep) char *head = text_head(text, strlen(text), max);
		CLEANUP(freep) char *tail = text_tail(text, strlen(text), max);
		assert_true(strlen(head) <= max && strlen(tail) <= max);
		assert_true(strlen(head) > max - 8 && strlen(tail) > max - 8);
		assert_memory_equal(head, "\xe2\x82\xac", 3);
		assert_string_equal(head + strlen(head) - 5, TEXT_CUT);
		assert_memory_equal(tail, TEXT_CUT, 5);
		assert_string_equal(tail + strlen(tail) - 3, "\xe2\x82\xac");
	}
}

static void test_head_of_bytes_that_grow_stays_in_its_bound(void **state UNUSED)
{
	char noise[64];

	memset(noise, 0xff, sizeof(noise));
	CLEANUP(freep) char *head = text_head(noise, sizeof(noise), sizeof(noise));
	CLEANUP(freep) char *tail = text_tail(noise, sizeof(noise), sizeof(noise));
	assert_true(strlen(head) <= sizeof(noise) && strlen(tail) <= sizeof(noise));
	assert_true(text_is_clean(head, strlen(head)) && text_is_clean(tail, strlen(tail)));
	CLEANUP(freep) char *again = text_head(head, strlen(head), sizeof(noise));
	assert_string_equal(again, head);
}

static void test_line_has_one_line(void **state UNUSED)
{
	CLEANUP(freep) char *s = text_line("a\nb\tc\r\nd", 100);

	assert_string_equal(s, "a b c d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean_hostile_text_replaces_what_is_not_fit),
		cmocka_unit_test(test_clean_nul_bytes_are_replaced),
		cmocka_unit_test(test_head_and_tail_of_long_text_cut_between_characters),
		cmocka_unit_test(test_head_of_bytes_that_grow_stays_in_its_bound),
		cmocka_unit_test(test_line_has_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
