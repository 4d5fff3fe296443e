/* The growing buffer and the allocation helpers. */
#include "base/buf.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_append_grows_and_keeps_the_content(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf b = { 0 };

	for (unsigned i = 0; i < 10000; i++)
		buf_append(&b, &(uint8_t){ (uint8_t)i }, 1);
	assert_int_equal(b.len, 10000);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(b.data[i], (uint8_t)i);
	assert_true(b.cap >= b.len && b.cap < 4 * b.len);
}

static void test_empty_appends_and_reads_need_no_memory(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf b = { 0 };

	buf_append(&b, NULL, 0);
	buf_append_zeros(&b, 0);
	buf_consume(&b, 0);
	assert_null(b.data);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(b.len, 0);
}

static void test_text_pieces_make_one_string(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf b = { 0 };

	buf_append_str(&b, "a");
	buf_printf(&b, "%d-%s", 42, "x");
	buf_append_zeros(&b, 2);
	buf_append_str(&b, "z");
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "a42-x\0\0z", 8);
	assert_string_equal(buf_str(&b), "a42-x");
}

static void test_printf_longer_than_the_room_is_whole(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf b = { 0 };

	buf_printf(&b, "%*d", 5000, 7);
	assert_int_equal(b.len, 5000);
	assert_int_equal(buf_str(&b)[4999], '7');
}

static void test_consume_moves_the_rest_to_the_front(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf b = { 0 };

	buf_append_str(&b, "abcdef");
	buf_consume(&b, 2);
	assert_string_equal(buf_str(&b), "cdef");
	buf_consume(&b, 4);
	assert_int_equal(b.len, 0);
}

static void test_fini_twice_is_fine(void **state UNUSED)
{
	struct buf b = { 0 };

	buf_append_str(&b, "x");
	buf_fini(&b);
	buf_fini(&b);
	assert_null(b.data);
}

static void test_freep_frees_any_pointer_once(void **state UNUSED)
{
	char *text = xstrdup("x");
	int *numbers = xcalloc(0, 0);

	freep(&text);
	freep(&text);
	freep(&numbers);
	assert_null(text);
	assert_null(numbers);
	CLEANUP(freep) char *made = xasprintf("%s%d", "n", 1);
	assert_string_equal(made, "n1");
	char *taken = TAKE_PTR(made);
	assert_null(made);
	free(taken);
}

/* In a child: what ends the process must not end the test. */
static int status_of(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(STDERR_FILENO);
		(void)signal(SIGABRT, SIG_DFL);
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void reserve_too_much(void)
{
	struct buf b = { .len = 2 };

	(void)buf_reserve(&b, SIZE_MAX - 1);
}

static void consume_too_much(void)
{
	struct buf b = { 0 };

	buf_consume(&b, 1);
}

static void test_sizes_that_wrap_end_the_process(void **state UNUSED)
{
	int status = status_of(reserve_too_much);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	status = status_of(consume_too_much);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_grows_and_keeps_the_content),
		cmocka_unit_test(test_empty_appends_and_reads_need_no_memory),
		cmocka_unit_test(test_text_pieces_make_one_string),
		cmocka_unit_test(test_printf_longer_than_the_room_is_whole),
		cmocka_unit_test(test_consume_moves_the_rest_to_the_front),
		cmocka_unit_test(test_fini_twice_is_fine),
		cmocka_unit_test(test_freep_frees_any_pointer_once),
		cmocka_unit_test(test_sizes_that_wrap_end_the_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
