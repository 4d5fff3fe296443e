#include "cli/report_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "harness/batch_json.h"

static int add_file(struct batch_merge *m, const char *path, struct error *err)
{
	CLEANUP(batch_result_fini) struct batch_result b;
	CLEANUP(buf_fini) struct buf text = { 0 };

	batch_result_init(&b);
	if (file_read(path, BATCH_JSON_MAX, &text, err) < 0)
		return error_classify(err, ERROR_USAGE);
	if (batch_json_read(&b, text.data, text.len, err) < 0)
		return error_prefix(err, "'%s'", path);
	return batch_merge_add(m, &b, path, err);
}

static int is_document(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 5, ".json") == 0;
}

static int add_all(struct batch_merge *m, const char *folder, size_t *n_documents,
		   struct error *err)
{
	struct dirent **names;
	int n = scandir(folder, &names, is_document, versionsort);
	int res = 0;

	if (n < 0)
		return error_set_usage_errno(err, errno, "cannot read folder '%s'", folder);
	if (n == 0)
		res = error_set_usage(
		    err, -ENOENT, "folder '%s' has no batch.json and no other *.json file", folder);
	for (int i = 0; i < n; i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", folder, names[i]->d_name);
		if (res == 0)
			res = add_file(m, path, err);
		*n_documents += res == 0;
		free(names[i]);
	}
	free(names);
	return res;
}

int report_files_add(struct batch_merge *m, const char *path, size_t *n_documents,
		     struct error *err)
{
	CLEANUP(freep) char *batch = xasprintf("%s/batch.json", path);
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set_usage_errno(err, errno, "cannot open '%s'", path);
	if (S_ISDIR(st.st_mode) && faccessat(AT_FDCWD, batch, F_OK, AT_EACCESS) < 0)
		return add_all(m, path, n_documents, err);
	++*n_documents;
	return add_file(m, S_ISDIR(st.st_mode) ? batch : path, err);
}

/* Of a folder several documents were to be expected, so that one alone is not all. */
static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int report_files_read(struct batch_result *b, char *const *paths, size_t n_paths, struct buf *notes,
		      struct error *err)
{
	CLEANUP(batch_merge_fini) struct batch_merge m;
	size_t n_documents = 0;

	batch_merge_init(&m, b);
	for (size_t i = 0; i < n_paths; i++)
		if (report_files_add(&m, paths[i], &n_documents, err) < 0)
			return err->code;
	if (n_documents > 1 || is_folder(paths[0]))
		batch_merge_finish(&m);
	buf_append(notes, m.notes.data, m.notes.len);
	return 0;
}
