/* Kept streams: the tail in memory is exact at every length, the file ends at its limit or its first error. */
#include "cli/sink.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"

static uint8_t pattern(size_t i)
{
	return (uint8_t)(1 + i % 251);
}

/* Writes bytes @from to @to of the pattern in pieces of @piece. */
static void write_pattern(struct sink *s, size_t from, size_t to, size_t piece)
{
	uint8_t *data = xmalloc(piece);

	while (from < to) {
		size_t n = to - from < piece ? to - from : piece;
		for (size_t i = 0; i < n; i++)
			data[i] = pattern(from + i);
		sink_write(s, data, n);
		from += n;
	}
	free(data);
}

static void test_tail_is_the_last_bytes_whatever_the_pieces(void **state UNUSED)
{
	static const size_t totals[] = { 0,
					 1,
					 1000,
					 SINK_TAIL_MAX - 1,
					 SINK_TAIL_MAX,
					 SINK_TAIL_MAX + 1,
					 3 * SINK_TAIL_MAX + 17 };
	static const size_t pieces[] = { 7, 4096, SINK_TAIL_MAX, 2 * SINK_TAIL_MAX + 3 };

	for (size_t t = 0; t < ARRAY_SIZE(totals); t++)
		for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
			struct sink s = SINK_INIT;
			write_pattern(&s, 0, totals[t], pieces[p]);
			CLEANUP(freep) char *tail = sink_tail(&s);
			size_t n = totals[t] < SINK_TAIL_MAX ? totals[t] : SINK_TAIL_MAX;
			assert_int_equal(strlen(tail), n);
			for (size_t i = 0; i < n; i++)
				assert_int_equal((uint8_t)tail[i], pattern(totals[t] - n + i));
			sink_fini(&s);
		}
}

static void test_file_ends_at_its_limit_and_the_rest_is_counted(void **state UNUSED)
{
	char path[] = "/var/tmp/ktstr-test-XXXXXX";
	CLEANUP(buf_fini) struct buf kept = { 0 };
	struct sink s = SINK_INIT;
	struct error err;

	close(mkstemp(path));
	assert_int_equal(sink_open(&s, path, 1000, &err), 0);
	write_pattern(&s, 0, 1500, 300);
	assert_int_equal(s.file_len, 1000);
	assert_int_equal(s.n_dropped, 500);
	assert_int_equal(s.write_error, 0);
	CLEANUP(freep) char *tail = sink_tail(&s);
	assert_int_equal(strlen(tail), 1500);
	sink_fini(&s);
	sink_fini(&s);
	assert_int_equal(file_read(path, 10000, &kept, &err), 0);
	assert_int_equal(kept.len, 1000);
	for (size_t i = 0; i < kept.len; i++)
		assert_int_equal(kept.data[i], pattern(i));
	unlink(path);
}

static void test_full_disk_is_remembered_and_the_tail_goes_on(void **state UNUSED)
{
	struct sink s = SINK_INIT;
	struct error err;

	if (sink_open(&s, "/dev/full", 1000, &err) < 0)
		skip();
	write_pattern(&s, 0, 300, 100);
	assert_int_equal(s.write_error, -ENOSPC);
	assert_int_equal(s.n_dropped, 300);
	assert_int_equal(s.file_len, 0);
	CLEANUP(freep) char *tail = sink_tail(&s);
	assert_int_equal(strlen(tail), 300);
	sink_fini(&s);
}

static void test_open_where_nothing_can_be_written_is_usage(void **state UNUSED)
{
	struct sink s = SINK_INIT;
	struct error err;

	assert_int_equal(sink_open(&s, "/no/such/folder/x", 1000, &err), -ENOENT);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "/no/such/folder/x"));
	sink_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tail_is_the_last_bytes_whatever_the_pieces),
		cmocka_unit_test(test_file_ends_at_its_limit_and_the_rest_is_counted),
		cmocka_unit_test(test_full_disk_is_remembered_and_the_tail_goes_on),
		cmocka_unit_test(test_open_where_nothing_can_be_written_is_usage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
