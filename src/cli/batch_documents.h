/* The documents of a batch: --json, --junit, --tap, and batch.json in the folder of --output. */
#pragma once

#include "cli/test_options.h"
#include "harness/batch_result.h"

/* Before the work: whether they can be written, and do not share standard output. Class usage. */
MUST_CHECK int batch_documents_check(const struct test_options *o, struct error *err);
/* Standard output, unless a document takes that: then standard error is for the reader. */
int batch_documents_text_fd(const struct test_options *o);
/* Writes all that it can. Returns the first error, whose document is missing. */
MUST_CHECK int batch_documents_write(const struct test_options *o, const struct batch_result *b,
				     struct error *err);
/* result.json in @folder of one test that is over: of its own batch, as if it had been alone. */
MUST_CHECK int batch_documents_write_one(const struct batch_result *b, struct batch_test *entry,
					 const char *folder, struct error *err);
