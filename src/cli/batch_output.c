#include "cli/batch_output.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/num.h"

#define FILE_LIMIT (64 * MIB)

static bool is_empty(DIR *d)
{
	const struct dirent *e;

	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			return false;
	return true;
}

int batch_output_init(const char *dir, struct error *err)
{
	if (file_make_dirs(dir, 0755, err) < 0) {
		(void)error_classify(err, ERROR_USAGE);
		return error_prefix(err, "--output");
	}
	DIR *d = opendir(dir);
	if (!d)
		return error_set_usage_errno(err, errno, "--output: '%s'", dir);
	bool empty = is_empty(d);
	(void)closedir(d);
	if (!empty)
		return error_set_usage(err, -ENOTEMPTY,
				       "--output: '%s' is not empty: give every batch a folder of "
				       "its own",
				       dir);
	return 0;
}

char *batch_output_folder(const char *dir, const struct batch_test *entry)
{
	char *path = xasprintf("%s/%s", dir, entry->id);

	for (char *p = path + strlen(dir) + 1; *p; p++)
		if (*p == '/')
			*p = ',';
	return path;
}

/* In single quotes for a shell. */
static void add_quoted(struct buf *to, const char *text)
{
	buf_append_str(to, "'");
	for (; *text; text++) {
		if (*text == '\'')
			buf_append_str(to, "'\\''");
		else
			buf_append(to, text, 1);
	}
	buf_append_str(to, "'");
}

static void add_word(struct buf *to, const char *text)
{
	buf_append_str(to, " ");
	add_quoted(to, text);
}

static void add_path(struct buf *to, const char *option, const char *path)
{
	CLEANUP(freep) char *real = realpath(path, NULL);

	buf_printf(to, " %s", option);
	add_word(to, real ? real : path);
}

/* HOST[:GUEST]: relative to where the batch ran. */
static void add_include(struct buf *to, const char *include)
{
	CLEANUP(freep) char *cwd = getcwd(NULL, 0);
	CLEANUP(freep)
	char *text = xasprintf("%s%s%s", include[0] == '/' || !cwd ? "" : cwd,
			       include[0] == '/' || !cwd ? "" : "/", include);

	buf_append_str(to, " --include");
	add_word(to, text);
}

/* With this program where it still is (another machine may have unpacked the folder). */
static void add_program(struct buf *to)
{
	CLEANUP(freep) char *self = realpath("/proc/self/exe", NULL);

	buf_append_str(to, "ktstr=");
	add_quoted(to, self ? self : "ktstr");
	buf_append_str(to, "\n[ -x \"$ktstr\" ] || ktstr=ktstr\nunset KTSTR_CPU_CAP\nexec "
			   "\"${KTSTR:-$ktstr}\" test");
}

static void write_replay(const struct test_options *o, const struct batch_vm *vm, struct buf *to)
{
	const struct planned_test *t = vm->config.test;

	buf_append_str(to, "#!/bin/sh\n# Runs this test again: same kernel, topology, limits. "
			   "More options may follow.\n");
	add_program(to);
	add_path(to, "--kernel", vm->config.images->setup.entry.image);
	if (o->modules_dir)
		add_path(to, "--modules", o->modules_dir);
	for (size_t i = 0; i < o->n_append; i++) {
		buf_append_str(to, " --append");
		add_word(to, o->append[i]);
	}
	for (size_t i = 0; i < o->n_includes; i++)
		add_include(to, o->includes[i]);
	if (o->n_cpus)
		buf_printf(to, " --cpu-cap %" PRIu32, o->n_cpus);
	buf_printf(to, " --timeout %" PRIu64 " --overcommit %g%s --filter", o->timeout_s,
		   o->overcommit, o->force ? " --force" : "");
	add_word(to, t->name);
	add_path(to, "\"$@\"", t->program->path);
	buf_append_str(to, "\n");
}

static int make_folder(const char *path, const struct batch_test *entry, struct error *err)
{
	if (mkdir(path, 0755) == 0)
		return 0;
	if (errno != EEXIST)
		return error_set(err, errno, "cannot make folder '%s'", path);
	CLEANUP(freep) char *aside = xasprintf("%s.attempt%zu", path, entry->n_attempts);
	if (rename(path, aside) < 0 || mkdir(path, 0755) < 0)
		return error_set(err, errno, "cannot move '%s' aside", path);
	return 0;
}

int batch_output_open(const char *dir, const struct test_options *o, struct batch_test *entry,
		      struct batch_vm *vm, struct error *err)
{
	CLEANUP(freep) char *folder = batch_output_folder(dir, entry);
	CLEANUP(freep) char *replay = xasprintf("%s/replay.sh", folder);
	CLEANUP(buf_fini) struct buf script = { 0 };
	const struct {
		struct sink *sink;
		const char *name;
	} sinks[] = { { &vm->result.console, "console.log" }, { &vm->result.com2, "com2.log" },
		      { &vm->result.tty, "hvc0.log" },        { &vm->result.dmesg, "dmesg.log" },
		      { &vm->result.frames, "frames.bin" },   { &vm->output, "output.log" } };

	if (make_folder(folder, entry, err) < 0)
		return err->code;
	batch_set_path(&entry->output, folder);
	for (size_t i = 0; i < ARRAY_SIZE(sinks); i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", folder, sinks[i].name);
		if (sink_open(sinks[i].sink, path, FILE_LIMIT, err) < 0)
			return err->code;
	}
	write_replay(o, vm, &script);
	return file_replace(replay, 0755, script.data, script.len, err);
}
