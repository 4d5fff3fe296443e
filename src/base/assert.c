#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *cond, const char *func, const char *file, int line)
{
	fprintf(stderr, "ktstr: bug: assertion '%s' failed in %s (%s:%d)\n", cond, func, file,
		line);
	abort();
}
