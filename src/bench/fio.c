/* See fio.h. */
#include "bench/fio.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(struct fio_argv *a, size_t *n, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(struct fio_argv *a, size_t *n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(a->text[*n], sizeof(a->text[*n]), fmt, ap);
	va_end(ap);
	a->argv[*n] = a->text[*n];
	a->argv[++*n] = NULL;
}

void fio_make_argv(const struct fio_job *job, struct fio_argv *ret)
{
	size_t n = 0;

	add(ret, &n, "%s", job->program);
	add(ret, &n, "--name=floor");
	add(ret, &n, "--thread"); /* a process of its own would outlive a killed fio */
	add(ret, &n, "--filename=%s", job->file);
	add(ret, &n, "--readonly");
	add(ret, &n, "--direct=1");
	add(ret, &n, "--ioengine=%s", job->engine);
	add(ret, &n, "--rw=%s", job->is_random ? "randread" : "read");
	add(ret, &n, "--bs=%u", job->block);
	add(ret, &n, "--iodepth=%u", job->depth);
	add(ret, &n, "--norandommap");
	add(ret, &n, "--time_based");
	add(ret, &n, "--runtime=%ums", (unsigned)(job->seconds * 1e3));
	add(ret, &n, "--ramp_time=%ums", (unsigned)(job->warm_up_seconds * 1e3));
	add(ret, &n, "--lat_percentiles=1");
	add(ret, &n, "--clat_percentiles=0");
	add(ret, &n, "--percentile_list=50:99");
	add(ret, &n, "--output-format=json");
}

static double number(const json_t *object, const char *key, bool *is_good)
{
	const json_t *value = json_object_get(object, key);

	*is_good = *is_good && json_is_number(value);
	return json_number_value(value);
}

int fio_parse(const char *text, struct fio_result *ret, struct error *err)
{
	const char *begin = strchr(text, '{');
	json_error_t why;
	bool is_good = true;
	json_t *doc = begin ? json_loads(begin, JSON_DISABLE_EOF_CHECK, &why) : NULL;
	const json_t *job = json_array_get(json_object_get(doc, "jobs"), 0);
	const json_t *read = json_object_get(job, "read");
	const json_t *percentiles = json_object_get(json_object_get(read, "lat_ns"), "percentile");
	double n = number(read, "total_ios", &is_good);
	double cpu_percent = number(job, "usr_cpu", &is_good) + number(job, "sys_cpu", &is_good);
	double run_ms = number(read, "runtime", &is_good);
	const struct fio_result result = {
		.iops = number(read, "iops", &is_good),
		.bytes_per_s = number(read, "bw_bytes", &is_good),
		.p50_us = number(percentiles, "50.000000", &is_good) / 1e3,
		.p99_us = number(percentiles, "99.000000", &is_good) / 1e3,
		.cpu_us_per_io = cpu_percent / 100 * run_ms * 1e3 / n,
	};

	json_decref(doc);
	if (!is_good || n <= 0)
		return error_set_text(err, -EPROTO, "fio's result is no document that we know");
	*ret = result;
	return 0;
}
