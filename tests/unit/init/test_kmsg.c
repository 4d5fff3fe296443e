/* Records of /dev/kmsg as console lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "kmsg.h"

static const char *format(const char *record, size_t capacity)
{
	static char out[512];

	size_t n = kmsg_format(record, strlen(record), out, capacity);
	assert_true(n <= capacity && n < sizeof(out));
	out[n] = '\0';
	return out;
}

static void test_format_records_become_lines(void **state)
{
	static const struct {
		const char *record;
		const char *line;
	} cases[] = {
		{ "6,412,5060128,-;hello\n", "[    5.060128] hello\n" },
		{ "6,0,0,-;first\n", "[    0.000000] first\n" },
		{ "30,9,123456789012,-;late\n", "[123456.789012] late\n" },
		{ "6,1,7,-,caller=T1;who\n", "[    0.000007] who\n" },
		{ "6,1,7,c;no end", "[    0.000007] no end\n" },
		{ "6,1,7,-;dev\n SUBSYSTEM=acpi\n DEVICE=+acpi\n", "[    0.000007] dev\n" },
		{ "6,1,7,-;a\\x09b\\xc3\\xa9;c\n", "[    0.000007] a\tb\xc3\xa9;c\n" },
		{ "6,1,7,-;one\\x0atwo\n", "[    0.000007] one\n[    0.000007] two\n" },
		{ "6,1,7,-;end\\x0a\n", "[    0.000007] end\n" },
		{ "6,1,7,-;back\\slash \\x \\xg1\n", "[    0.000007] back\\slash \\x \\xg1\n" },
		{ "6,1,7,-;\n", "[    0.000007] \n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(format(cases[i].record, 256), cases[i].line);
}

static void test_format_noise_is_nothing(void **state)
{
	static const char *const cases[] = {
		"",      "text",   ";",         "6;x",
		"6,1;x", "6,1,;x", "6,1,x,-;y", "6,1,9999999999999999999,-;y",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(format(cases[i], 256), "");
	assert_string_equal(format("6,1,7,-;x\n", 0), "");
}

static void test_format_small_room_is_still_a_line(void **state)
{
	(void)state;
	for (size_t capacity = 1; capacity < 25; capacity++) {
		const char *line = format("6,1,7,-;a long text\n", capacity);
		assert_int_equal(line[strlen(line) - 1], '\n');
		assert_int_equal(strlen(line), capacity);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_records_become_lines),
		cmocka_unit_test(test_format_noise_is_nothing),
		cmocka_unit_test(test_format_small_room_is_still_a_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
