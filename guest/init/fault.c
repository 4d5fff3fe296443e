/* One line about a failed step. Any thread; no state. */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fault_set(struct fault *f, int code, const char *fmt, ...)
{
	f->code = code;

	va_list args;
	va_start(args, fmt);
	// NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line before
	(void)vsnprintf(f->text, sizeof(f->text), fmt, args); /* a cut text is still a text */
	va_end(args);

	const char *what = code < 0 ? strerrordesc_np(-code) : NULL;
	if (what != NULL) {
		size_t used = strlen(f->text);
		(void)snprintf(f->text + used, sizeof(f->text) - used, ": %s", what);
	}
	return code;
}
