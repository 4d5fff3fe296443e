#include "stats.h"

#include <stdio.h>
#include <string.h>

enum { NAME_WIDTH = 42 };

void dist_print_header(const char *title)
{
	printf("\n%-*s %9s %9s %9s %9s\n", NAME_WIDTH, title, "p50", "p90", "min", "max");
}

static void print_values(const struct dist *d, const char *name, int decimals)
{
	printf("  %-*s %9.*f %9.*f %9.*f %9.*f", NAME_WIDTH - 2, name, decimals,
	       dist_percentile(d, 50), decimals, dist_percentile(d, 90), decimals,
	       dist_percentile(d, 0), decimals, dist_percentile(d, 100));
}

void dist_print(const struct dist *d, const char *name, int decimals)
{
	if (!d->n)
		return;
	print_values(d, name, decimals);
	printf("\n");
}

void dist_print_aim(const struct dist *d, const char *name, double aim)
{
	if (!d->n)
		return;
	print_values(d, name, 3);
	if (aim > 0)
		printf("   aim %.3f: %s", aim, dist_percentile(d, 50) <= aim ? "met" : "missed");
	printf("\n");
}

bool json_write(json_t *doc, const char *path)
{
	int res = 0;

	if (path && strcmp(path, "-") == 0) {
		res = json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		printf("\n");
	} else if (path) {
		res = json_dump_file(doc, path, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	}
	json_decref(doc);
	if (res < 0)
		fprintf(stderr, "bench: cannot write '%s'\n", path);
	return res == 0;
}
