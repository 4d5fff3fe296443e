#include "cli/option_parse.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>

#include "base/buf.h"

void option_list_add(const char ***list, size_t *n, const char *value)
{
	*list = xreallocarray(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = value;
}

int option_refuse(int id, char **argv, struct error *err)
{
	char letter[] = { '-', (char)optopt, 0 };
	/* optind has not moved yet within a cluster of short options; optopt then names the letter. */
	bool is_short = optopt > 0 && optopt < OPTION_ID_FIRST;

	if (id == ':')
		return error_set_usage(err, -EINVAL, "option '%s' needs a value", argv[optind - 1]);
	return error_set_usage(err, -EINVAL, "unknown option '%s'; see `ktstr %s --help`",
			       is_short ? letter : argv[optind - 1], argv[0]);
}
