#include "ktstr_declaration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/test_protocol.h"
#include "ktstr_json.h"

enum { MAX_CPUS = 4096 };

bool ktstr_declaration_parse_topology(const char *text, struct ktstr_topology *ret)
{
	unsigned long n[4];
	unsigned long cpus = 1;

	for (size_t i = 0; i < ARRAY_SIZE(n); i++) {
		char *end;
		if (*text < '0' || *text > '9')
			return false;
		errno = 0;
		n[i] = strtoul(text, &end, 10);
		if (errno != 0 || n[i] < 1 || n[i] > MAX_CPUS || *end != (i < 3 ? ',' : '\0'))
			return false;
		if (i > 0)
			cpus *= n[i]; /* at most 4096^3 */
		text = end + 1;
	}
	if (cpus > MAX_CPUS)
		return false;
	*ret = (struct ktstr_topology){ .nodes = (uint32_t)n[0],
					.llcs = (uint32_t)n[1],
					.cores_per_llc = (uint32_t)n[2],
					.threads_per_core = (uint32_t)n[3] };
	return true;
}

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t n = strlen(name);

	/* It becomes an argument and a part of file names: neither an option nor an absolute path. */
	if (n == 0 || n >= TEST_NAME_MAX || name[0] == '-' || name[0] == '/')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr(letters, name[i]) && !strchr("0123456789._-/", name[i]))
			return false;
	return true;
}

/* What is wrong with @t, the @i-th of @tests; NULL: nothing. */
static const char *mistake(const struct ktstr_test *tests, size_t i)
{
	const struct ktstr_test *t = &tests[i];
	struct ktstr_topology topology;

	if (!is_name(t->name))
		return "its name is not 1 to 127 letters, digits and \"._-/\", or begins with - or "
		       "/";
	for (size_t k = 0; k < i; k++)
		if (strcmp(tests[k].name, t->name) == 0)
			return "another test has the same name";
	if (t->run == NULL)
		return "it has no function to run";
	/* The other forms, presets and lists of nodes, are the host's to understand. */
	if (t->topology && strchr("0123456789", t->topology[0]) &&
	    !ktstr_declaration_parse_topology(t->topology, &topology))
		return "its topology is not nodes,llcs,cores_per_llc,threads_per_core, at most "
		       "4096 CPUs in all";
	if (t->perf && t->cpu_cap > 0)
		return "performance mode (perf) and a CPU budget (cpu_cap) exclude each other";
	if (t->disk_fs && t->disk_mib == 0)
		return "it has a file system (disk_fs) and no disk (disk_mib)";
	return NULL;
}

bool ktstr_declaration_check(const struct ktstr_test *tests, FILE *errors)
{
	for (size_t i = 0; tests[i].name; i++) {
		const char *what = mistake(tests, i);
		if (what) {
			fprintf(errors, "ktstr: test '%s' is declared wrongly: %s\n", tests[i].name,
				what);
			return false;
		}
	}
	return true;
}

static void add_text(FILE *f, const char *key, const char *text)
{
	if (text)
		ktstr_json_add_string(f, key, text);
}

static void add_count(FILE *f, const char *key, uint32_t n)
{
	if (n > 0)
		fprintf(f, ",\"%s\":%u", key, n);
}

static void add_flag(FILE *f, const char *key, bool is_set)
{
	if (is_set)
		fprintf(f, ",\"%s\":true", key);
}

static void list_one(const struct ktstr_test *t, FILE *f)
{
	fputs("{\"name\":", f);
	ktstr_json_string(f, t->name);
	add_text(f, "summary", t->summary);
	add_text(f, "topology", t->topology);
	add_count(f, "memory_mib", t->memory_mib);
	add_count(f, "timeout_s", t->timeout_s);
	add_flag(f, "perf", t->perf);
	add_count(f, "cpu_cap", t->cpu_cap);
	add_count(f, "disk_mib", t->disk_mib);
	add_text(f, "disk_fs", t->disk_fs);
	add_flag(f, "net", t->net);
	add_flag(f, "vm_only", t->vm_only);
	fputs("}\n", f);
}

void ktstr_declaration_list(const struct ktstr_test *tests, FILE *f)
{
	size_t n = 0;

	while (tests[n].name)
		n++;
	fprintf(f, "{\"ktstr_list\":%d,\"n_tests\":%zu}\n", TEST_PROTOCOL_VERSION, n);
	for (size_t i = 0; i < n; i++)
		list_one(&tests[i], f);
}

const struct ktstr_test *ktstr_declaration_find(const struct ktstr_test *tests, const char *name)
{
	for (; tests->name; tests++)
		if (strcmp(tests->name, name) == 0)
			return tests;
	return NULL;
}
