#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static PRINTF_LIKE(4, 0) int set(struct error *err, int code, const char *suffix, const char *fmt,
				 va_list ap)
{
	int n;

	ASSERT(code != 0);
	err->code = code < 0 ? code : -code;
	err->class = ERROR_INFRA;
	n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	if (suffix && n >= 0 && (size_t)n < sizeof(err->text))
		(void)snprintf(err->text + n, sizeof(err->text) - (size_t)n, ": %s", suffix);
	return err->code;
}

static PRINTF_LIKE(3, 0) int set_errno(struct error *err, int code, const char *fmt, va_list ap)
{
	char buf[128];

	return set(err, code, strerror_r(code < 0 ? -code : code, buf, sizeof(buf)), fmt, ap);
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int ret = set_errno(err, code, fmt, ap);
	va_end(ap);
	return ret;
}

int error_set_text(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int ret = set(err, code, NULL, fmt, ap);
	va_end(ap);
	return ret;
}

int error_set_usage(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int ret = set(err, code, NULL, fmt, ap);
	va_end(ap);
	err->class = ERROR_USAGE;
	return ret;
}

int error_set_usage_errno(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int ret = set_errno(err, code, fmt, ap);
	va_end(ap);
	err->class = ERROR_USAGE;
	return ret;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;

	ASSERT(err->code != 0);
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A longer text is cut at the end: the outermost context is the one to keep. */
	if (n >= 0 && (size_t)n < sizeof(text))
		(void)snprintf(text + n, sizeof(text) - (size_t)n, ": %.*s",
			       (int)(sizeof(text) - (size_t)n), err->text);
	memcpy(err->text, text, sizeof(text));
	return err->code;
}

int error_classify(struct error *err, enum error_class class)
{
	ASSERT(err->code != 0);
	err->class = class;
	return err->code;
}
