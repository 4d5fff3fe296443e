/* Configuration records: what is taken, what is refused and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

#define RECORDS(s) s, sizeof(s) /* the literal's own NUL ends the last record */

static int parse(const char *records, size_t n, struct config *ret, struct fault *f)
{
	char *text = malloc(n + 1);

	assert_non_null(text);
	memcpy(text, records, n);
	int res = config_parse(text, n, ret, f);
	if (res < 0)
		free(text);
	return res;
}

static void test_parse_all_keys_keeps_order(void **state)
{
	struct config c;
	struct fault f;

	(void)state;
	assert_int_equal(
	    parse(
		RECORDS(
		    "exec=/bin/sh\0arg=sh\0module=/a.ko\0arg=-c\0env=A=b=c\0"
		    "arg=\0module=/b.ko\0cwd=/tmp\0relay=/run/x\0net=pair\0tty=0\0stdin=1\0kmsg=1"),
		&c, &f),
	    0);
	assert_string_equal(c.exec, "/bin/sh");
	assert_string_equal(c.argv[0], "sh");
	assert_string_equal(c.argv[1], "-c");
	assert_string_equal(c.argv[2], "");
	assert_null(c.argv[3]);
	assert_string_equal(c.envp[0], "A=b=c");
	assert_null(c.envp[1]);
	assert_string_equal(c.modules[0], "/a.ko");
	assert_string_equal(c.modules[1], "/b.ko");
	assert_null(c.modules[2]);
	assert_string_equal(c.cwd, "/tmp");
	assert_string_equal(c.relay, "/run/x");
	assert_string_equal(c.net, "pair");
	assert_false(c.tty);
	assert_true(c.feed_stdin);
	assert_true(c.kmsg);
	config_fini(&c);
	config_fini(&c);
}

static void test_parse_program_alone_gets_defaults(void **state)
{
	struct config c;
	struct fault f;

	(void)state;
	assert_int_equal(parse(RECORDS("exec=/bin/true"), &c, &f), 0);
	assert_string_equal(c.argv[0], "/bin/true");
	assert_null(c.argv[1]);
	assert_null(c.envp[0]);
	assert_null(c.modules[0]);
	assert_null(c.cwd);
	assert_null(c.relay);
	assert_null(c.net);
	assert_false(c.tty || c.feed_stdin || c.kmsg);
	config_fini(&c);
}

static void test_parse_bad_records_are_named(void **state)
{
	static const struct {
		const char *records;
		size_t n;
		const char *says;
	} cases[] = {
		{ "", 0, "empty" },
		{ "exec=/a", 7, "not ended" },
		{ RECORDS("exec=/a\0colour=red"), "colour=red" },
		{ RECORDS("exec=/a\0arg"), "'arg'" },
		{ RECORDS("exec=/a\0kmsg=yes"), "kmsg=yes" },
		{ RECORDS("exec=/a\0tty="), "tty=" },
		{ RECORDS("exec=/a\0net="), "net=" },
		{ RECORDS("exec=/a\0net=tap"), "net=tap" },
		{ RECORDS("arg=a"), "no exec" },
		{ RECORDS("exec=sh"), "not absolute" },
		{ RECORDS("exec=/a\0\0arg=x"), "unknown record ''" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct fault f = { 0 };
		assert_int_equal(parse(cases[i].records, cases[i].n, &c, &f), -EINVAL);
		assert_non_null(strstr(f.text, cases[i].says));
	}
}

static void test_read_missing_file_names_path(void **state)
{
	struct config c;
	struct fault f = { 0 };

	(void)state;
	assert_int_equal(config_read("/proc/none/config", &c, &f), -ENOENT);
	assert_non_null(strstr(f.text, "/proc/none/config"));
}

static void test_read_file_gives_its_records(void **state)
{
	static const char records[] = "exec=/x\0arg=y";
	char path[] = "/tmp/ktstr-test-config-XXXXXX";
	struct config c;
	struct fault f;

	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, records, sizeof(records)), sizeof(records));
	close(fd);
	int res = config_read(path, &c, &f);
	(void)unlink(path);
	assert_int_equal(res, 0);
	assert_string_equal(c.exec, "/x");
	assert_string_equal(c.argv[0], "y");
	config_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_all_keys_keeps_order),
		cmocka_unit_test(test_parse_program_alone_gets_defaults),
		cmocka_unit_test(test_parse_bad_records_are_named),
		cmocka_unit_test(test_read_missing_file_names_path),
		cmocka_unit_test(test_read_file_gives_its_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
