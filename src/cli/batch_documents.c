#include "cli/batch_documents.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/document.h"
#include "harness/batch_json.h"
#include "harness/batch_junit.h"
#include "harness/batch_tap.h"

static bool is_stdout(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

/* The folder's identity and the name in it: neither file need be there yet. */
static bool is_same_file(const char *a, const char *b)
{
	const char *names[] = { a, b };
	struct stat st[2];

	for (size_t i = 0; i < 2; i++) {
		const char *slash = strrchr(names[i], '/');
		CLEANUP(freep)
		char *folder =
		    slash ? xasprintf("%.*s/", (int)(slash - names[i]), names[i]) : xstrdup(".");
		if (stat(names[i], &st[i]) == 0 && !S_ISREG(st[i].st_mode))
			return false; /* a pipe or /dev/null takes any number */
		if (stat(folder, &st[i]) < 0)
			return false;
		names[i] = slash ? slash + 1 : names[i];
	}
	return st[0].st_dev == st[1].st_dev && st[0].st_ino == st[1].st_ino &&
	       strcmp(names[0], names[1]) == 0;
}

int batch_documents_check(const struct test_options *o, struct error *err)
{
	const struct {
		const char *option, *path;
	} documents[] = { { "--json", o->json }, { "--junit", o->junit }, { "--tap", o->tap } };
	unsigned n_stdout = 0;

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		const char *path = documents[i].path;
		n_stdout += is_stdout(path);
		if (path && document_check_path(path, err) < 0)
			return error_prefix(err, "%s", documents[i].option);
		for (size_t j = 0; j < i && path && !is_stdout(path); j++)
			if (documents[j].path && !is_stdout(documents[j].path) &&
			    is_same_file(documents[j].path, path))
				return error_set_usage(
				    err, -EEXIST, "%s and %s: one file, '%s', cannot be both",
				    documents[j].option, documents[i].option, path);
	}
	if (n_stdout > 1)
		return error_set_usage(err, -EINVAL,
				       "--json, --junit, --tap: only one of them can go to "
				       "standard output");
	return 0;
}

int batch_documents_text_fd(const struct test_options *o)
{
	return is_stdout(o->json) || is_stdout(o->junit) || is_stdout(o->tap) ? STDERR_FILENO
									      : STDOUT_FILENO;
}

typedef void (*writer_fn)(const struct batch_result *b, struct buf *ret);

/* @err keeps the first error. */
static void write_document(const struct batch_result *b, writer_fn writer, const char *path,
			   struct error *err)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct error own;

	if (!path)
		return;
	writer(b, &text);
	if (document_write_text((const char *)text.data, text.len, path, &own) < 0 && !err->code)
		*err = own;
}

int batch_documents_write(const struct test_options *o, const struct batch_result *b,
			  struct error *err)
{
	CLEANUP(freep) char *kept = o->output ? xasprintf("%s/batch.json", o->output) : NULL;

	err->code = 0;
	write_document(b, batch_json_write, kept, err);
	write_document(b, batch_json_write, o->json, err);
	write_document(b, batch_junit_write, o->junit, err);
	write_document(b, batch_tap_write, o->tap, err);
	return err->code;
}

int batch_documents_write_one(const struct batch_result *b, struct batch_test *entry,
			      const char *folder, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/result.json", folder);
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct batch_result one = *b; /* a view: it owns nothing */

	one.tests = &entry;
	one.n_tests = 1;
	batch_json_write(&one, &text);
	return file_replace(path, 0644, text.data, text.len, err);
}
