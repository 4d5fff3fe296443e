/* COM2 as the way out: the sentinels of abi/guest_config.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "outlet.h"

static char com2_path[] = "/tmp/ktstr-test-outlet-XXXXXX"; /* mkstemp writes it */

static int set_up(void **state)
{
	int fd = mkstemp(com2_path);

	(void)state;
	close(fd);
	return fd < 0;
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(com2_path);
}

static const char *com2_text(void)
{
	static char text[4096];
	int fd = open(com2_path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void test_send_without_port_writes_text_and_sentinels(void **state)
{
	struct outlet o;
	const struct frame_exit e = { .kind = EXIT_SIGNAL, .value = 11 };

	(void)state;
	assert_int_equal(truncate(com2_path, 0), 0);
	outlet_init(&o, -1, com2_path);
	outlet_phase(&o, PHASE_INIT, 1);
	outlet_send(&o, FRAME_STDOUT, "out\n", 4);
	outlet_send(&o, FRAME_TEST_RESULT, "{}", 2);
	outlet_send(&o, FRAME_KERNEL_LOG, "log\n", 4);
	outlet_send(&o, FRAME_CRASH, "x died", 6);
	outlet_send(&o, FRAME_INIT_ERROR, "mount", 5);
	outlet_send(&o, FRAME_EXIT, &e, sizeof(e));
	outlet_fini(&o);
	outlet_fini(&o);
	assert_string_equal(com2_text(),
			    "out\n"
			    "\n===KTSTR_TEST_RESULT_START===\n{}\n===KTSTR_TEST_RESULT_END===\n"
			    "\nPANIC: x died\n"
			    "\nKTSTR_INIT_ERROR: mount\n"
			    "\nKTSTR_EXIT=139\n");
}

static void test_send_exit_without_port_writes_shell_status(void **state)
{
	static const struct {
		struct frame_exit e;
		const char *line;
	} cases[] = {
		{ { EXIT_STATUS, 0 }, "\nKTSTR_EXIT=0\n" },
		{ { EXIT_STATUS, 255 }, "\nKTSTR_EXIT=255\n" },
		{ { EXIT_NOT_FOUND, 2 }, "\nKTSTR_EXIT=127\n" },
		{ { EXIT_NOT_EXEC, 13 }, "\nKTSTR_EXIT=126\n" },
		{ { EXIT_INIT, 2 }, "\nKTSTR_EXIT=1\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outlet o;
		assert_int_equal(truncate(com2_path, 0), 0);
		outlet_init(&o, -1, com2_path);
		outlet_send(&o, FRAME_EXIT, &cases[i].e, sizeof(cases[i].e));
		outlet_fini(&o);
		assert_string_equal(com2_text(), cases[i].line);
	}
}

static void test_send_without_port_and_com2_is_harmless(void **state)
{
	struct outlet o;

	(void)state;
	outlet_init(&o, -1, "/proc/none/tty");
	outlet_send(&o, FRAME_STDOUT, "x", 1);
	outlet_say(&o, "nobody hears %d", 1);
	assert_true(outlet_has_room(&o));
	outlet_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_send_without_port_writes_text_and_sentinels),
		cmocka_unit_test(test_send_exit_without_port_writes_shell_status),
		cmocka_unit_test(test_send_without_port_and_com2_is_harmless),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
