/* fio's command line and its document. */
#include "bench/fio.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool has(const struct fio_argv *a, const char *word)
{
	for (size_t i = 0; a->argv[i]; i++)
		if (strcmp(a->argv[i], word) == 0)
			return true;
	return false;
}

static void test_argv_reads_past_the_page_cache_and_writes_nothing(void **state UNUSED)
{
	const struct fio_job job = { "fio", "/dev/null", "io_uring", true, 4096, 32, 0.25, 0.05 };
	struct fio_argv a;

	fio_make_argv(&job, &a);
	assert_string_equal(a.argv[0], "fio");
	assert_true(has(&a, "--readonly") && has(&a, "--direct=1") && has(&a, "--rw=randread"));
	assert_true(has(&a, "--filename=/dev/null") && has(&a, "--ioengine=io_uring"));
	assert_true(has(&a, "--bs=4096") && has(&a, "--iodepth=32"));
	assert_true(has(&a, "--thread")); /* killed, it leaves no process behind */
	assert_true(has(&a, "--runtime=250ms") && has(&a, "--ramp_time=50ms"));
}

/* Cut from the output of fio 3.33. */
static const char document[] =
    "note: both iodepth >= 1 and synchronous I/O engine are selected\n"
    "{ \"fio version\" : \"fio-3.33\", \"jobs\" : [ { \"jobname\" : \"floor\", \"error\" : 0,\n"
    "  \"read\" : { \"io_bytes\" : 16646144, \"bw_bytes\" : 55302803, \"iops\" : 13501.66,\n"
    "    \"runtime\" : 301, \"total_ios\" : 4064,\n"
    "    \"lat_ns\" : { \"min\" : 43615, \"percentile\" : { \"50.000000\" : 68096,\n"
    "      \"99.000000\" : 134144 } } },\n"
    "  \"usr_cpu\" : 2.0, \"sys_cpu\" : 38.0 } ] }\n";

static void test_the_document_is_read(void **state UNUSED)
{
	struct fio_result r;
	struct error err;

	assert_int_equal(fio_parse(document, &r, &err), 0);
	assert_true(fabs(r.iops - 13501.66) < 0.01);
	assert_true(r.bytes_per_s == 55302803);
	assert_true(fabs(r.p50_us - 68.096) < 1e-6);
	assert_true(fabs(r.p99_us - 134.144) < 1e-6);
	assert_true(fabs(r.cpu_us_per_io - 0.4 * 301e3 / 4064) < 1e-6);
}

static void test_other_documents_are_refused(void **state UNUSED)
{
	static const char *const texts[] = {
		"",
		"fio: no such file\n",
		"{",
		"{}",
		"{ \"jobs\" : [] }",
		"{ \"jobs\" : [ { \"read\" : { \"iops\" : \"many\" } } ] }",
	};
	struct fio_result r;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(fio_parse(texts[i], &r, &err), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_argv_reads_past_the_page_cache_and_writes_nothing),
		cmocka_unit_test(test_the_document_is_read),
		cmocka_unit_test(test_other_documents_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
