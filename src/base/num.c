#include "base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int num_parse_u64(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		  struct error *err)
{
	char *end;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return error_set_usage(err, -EINVAL, "%s: '%s' is not a whole number", what, text);
	errno = 0;
	uint64_t v = strtoull(text, &end, 10);
	if (errno || v < min || v > max)
		return error_set_usage(err, -ERANGE,
				       "%s: %s is not in the range %" PRIu64 " to %" PRIu64, what,
				       text, min, max);
	*ret = v;
	return 0;
}
