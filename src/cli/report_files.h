/* The documents that `ktstr report` is given: files, and folders of them. */
#pragma once

#include "harness/batch_merge.h"

/*
 * Adds what @path names: a document; or a folder, which stands for its batch.json, and without one for all of its *.json
 * files. All errors are class usage, and name the file.
 */
MUST_CHECK int report_files_add(struct batch_merge *m, const char *path, size_t *n_documents,
				struct error *err);
/*
 * Reads one batch: of one document as it is, of several or of folders merged, in which lost shards show. Notes go to
 * @notes as lines.
 */
MUST_CHECK int report_files_read(struct batch_result *b, char *const *paths, size_t n_paths,
				 struct buf *notes, struct error *err);
