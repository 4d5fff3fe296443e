#include "cli/batch_documents.h"

#include <errno.h>
#include <string.h>
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

int batch_documents_check(const struct test_options *o, struct error *err)
{
	const struct {
		const char *option, *path;
	} documents[] = { { "--json", o->json }, { "--junit", o->junit }, { "--tap", o->tap } };
	unsigned n_stdout = 0;

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		n_stdout += is_stdout(documents[i].path);
		if (documents[i].path && document_check_path(documents[i].path, err) < 0)
			return error_prefix(err, "%s", documents[i].option);
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
