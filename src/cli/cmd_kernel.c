/* `ktstr kernel list|add|fetch|path`: the kernel cache. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "image/kernel_cache.h"

static int usage(FILE *to, int status)
{
	fputs("usage: ktstr kernel list\n"
	      "       ktstr kernel add FILE [--modules DIR] [--name NAME]\n"
	      "       ktstr kernel fetch [6.1|6.12|PACKAGE]\n"
	      "       ktstr kernel path [NAME]\n",
	      to);
	return status;
}

static int list(const char *cache, int argc, char **argv UNUSED, struct error *err)
{
	struct kernel_entry *entries;
	size_t n;

	if (argc != 1)
		return error_set_usage(err, -EINVAL, "usage: ktstr kernel list");
	if (kernel_cache_list(cache, &entries, &n, err) < 0)
		return err->code;
	for (size_t i = 0; i < n; i++) {
		printf("%-32s %s%s\n", entries[i].name, entries[i].source ? entries[i].source : "",
		       entries[i].modules_dir ? "" : " (no modules)");
		kernel_entry_fini(&entries[i]);
	}
	free(entries);
	if (!n)
		fprintf(stderr, "ktstr: no kernel in %s: `ktstr kernel fetch` downloads one\n",
			cache);
	return 0;
}

static int add(const char *cache, int argc, char **argv, struct error *err)
{
	static const struct option options[] = { { "modules", required_argument, NULL, 'm' },
						 { "name", required_argument, NULL, 'n' },
						 { 0 } };
	const char *modules = NULL, *name = NULL;
	struct kernel_entry entry;
	int id;

	opterr = 0;
	optind = 1;
	while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (id == 'm')
			modules = optarg;
		else if (id == 'n')
			name = optarg;
		else
			return error_set_usage(err, -EINVAL, "ktstr kernel add: wrong option '%s'",
					       argv[optind - 1]);
	}
	if (optind + 1 != argc)
		return error_set_usage(
		    err, -EINVAL, "usage: ktstr kernel add FILE [--modules DIR] [--name NAME]");
	if (kernel_cache_add(cache, argv[optind], modules, name, &entry, err) < 0)
		return err->code;
	printf("%s\n", entry.name);
	kernel_entry_fini(&entry);
	return 0;
}

static int fetch(const char *cache, int argc, char **argv, struct error *err)
{
	struct kernel_entry entry;

	if (argc > 2)
		return error_set_usage(err, -EINVAL,
				       "usage: ktstr kernel fetch [6.1|6.12|PACKAGE]");
	if (kernel_cache_fetch(cache, argc == 2 ? argv[1] : NULL, STDERR_FILENO, &entry, err) < 0)
		return err->code;
	printf("%s\n", entry.name);
	kernel_entry_fini(&entry);
	return 0;
}

static int path(const char *cache, int argc, char **argv, struct error *err)
{
	struct kernel_entry entry;

	if (argc > 2)
		return error_set_usage(err, -EINVAL, "usage: ktstr kernel path [NAME]");
	if (kernel_find(cache, argc == 2 ? argv[1] : NULL, &entry, err) < 0)
		return err->code;
	printf("%s\n", entry.image);
	kernel_entry_fini(&entry);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(const char *cache, int argc, char **argv, struct error *err);
} verbs[] = { { "list", list }, { "add", add }, { "fetch", fetch }, { "path", path } };

int cmd_kernel(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	CLEANUP(freep) char *cache = NULL;
	struct error err;

	if (argc < 2)
		return usage(stderr, EXIT_CODE_USAGE);
	if (strcmp(argv[1], "--help") == 0 || (argc > 2 && strcmp(argv[2], "--help") == 0))
		return usage(stdout, EXIT_CODE_OK);
	if (file_cache_dir(&cache, &err) < 0)
		return command_fail(&err);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(cache, argc - 1, argv + 1, &err) < 0
				   ? command_fail(&err)
				   : EXIT_CODE_OK;
	fprintf(stderr, "ktstr: unknown: kernel %s\n", argv[1]);
	return usage(stderr, EXIT_CODE_USAGE);
}
