#include "base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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

int num_parse_real(const char *what, const char *text, double min, double max, double *ret,
		   struct error *err)
{
	size_t n_whole = strspn(text, "0123456789");
	size_t n = n_whole;

	if (text[n] == '.' && text[n + 1])
		n += 1 + strspn(text + n + 1, "0123456789");
	if (!n_whole || text[n])
		return error_set_usage(err, -EINVAL, "%s: '%s' is no number such as 2 or 0.5", what,
				       text);
	double v = strtod(text, NULL); /* infinite at worst */
	if (v < min || v > max)
		return error_set_usage(err, -ERANGE, "%s: %s is not in the range %g to %g", what,
				       text, min, max);
	*ret = v;
	return 0;
}

static const char units[] = "KMGT";

int num_parse_bytes(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		    struct error *err)
{
	size_t n_digits = strspn(text, "0123456789");
	const char *unit = text[n_digits] ? strchr(units, text[n_digits]) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	char lowest[NUM_BYTES_TEXT_MAX], highest[NUM_BYTES_TEXT_MAX];

	if (n_digits == 0 || text[n_digits + (unit ? 1 : 0)])
		return error_set_usage(err, -EINVAL,
				       "%s: '%s' is no number of bytes (as 512, 64K, 10M, 1G)",
				       what, text);
	errno = 0;
	uint64_t v = strtoull(text, NULL, 10);
	if (errno || v > UINT64_MAX >> shift || v << shift < min || v << shift > max)
		return error_set_usage(err, -ERANGE, "%s: %s is not in the range %s to %s", what,
				       text, num_format_bytes(min, lowest),
				       num_format_bytes(max, highest));
	*ret = v << shift;
	return 0;
}

const char *num_format_bytes(uint64_t bytes, char text[static NUM_BYTES_TEXT_MAX])
{
	size_t i = 0;

	for (; bytes >= 1024 && bytes % 1024 == 0 && units[i]; i++)
		bytes /= 1024;
	(void)snprintf(text, NUM_BYTES_TEXT_MAX, "%" PRIu64 "%.1s", bytes, i ? &units[i - 1] : "");
	return text;
}

int num_parse_duration_ms(const char *what, const char *text, uint64_t max_ms, uint64_t *ret_ms,
			  struct error *err)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} durations[] = {
		{ "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60000 }, { "h", 3600000 }
	};
	size_t n_digits = strspn(text, "0123456789");
	uint64_t ms;

	for (size_t i = 0; n_digits && i < ARRAY_SIZE(durations); i++) {
		if (strcmp(text + n_digits, durations[i].unit) != 0)
			continue;
		errno = 0;
		uint64_t v = strtoull(text, NULL, 10);
		if (errno || !num_mul_u64(v, durations[i].ms, &ms) || ms > max_ms)
			return error_set_usage(err, -ERANGE, "%s: %s is more than %" PRIu64 " s",
					       what, text, max_ms / 1000);
		*ret_ms = ms;
		return 0;
	}
	return error_set_usage(err, -EINVAL, "%s: '%s' is no time such as 500ms, 90s or 10m", what,
			       text);
}
