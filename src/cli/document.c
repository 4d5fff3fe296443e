/* See document.h. */
#include "cli/document.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "cli/out.h"

static bool is_stdout(const char *path)
{
	return strcmp(path, "-") == 0;
}

/* A pipe or a device: written in place, where a file is replaced as a whole. */
static bool is_special(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static int replace_file(const char *path, const char *text, size_t n, struct error *err)
{
	struct file_new file = FILE_NEW_INIT;
	int res = file_new_open(&file, path, err);

	if (res == 0) {
		res = fd_write_all(file.fd, text, n);
		res = res < 0 ? error_set(err, res, "cannot write '%s'", path)
			      : file_new_sync(&file, err);
		if (res == 0)
			res = file_new_commit(&file, 0644, err);
	}
	file_new_fini(&file);
	return res;
}

static int write_special(const char *path, const char *text, size_t n, struct error *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, errno, "cannot open '%s'", path);
	int res = out_write_waiting(fd, text, n);
	return res < 0 ? error_set(err, res, "cannot write '%s'", path) : 0;
}

int document_write_text(const char *text, size_t n, const char *path, struct error *err)
{
	int res;

	if (is_stdout(path)) {
		res = out_write_waiting(STDOUT_FILENO, text, n);
		return res < 0 ? error_set(err, res, "cannot write to standard output") : 0;
	}
	res =
	    is_special(path) ? write_special(path, text, n, err) : replace_file(path, text, n, err);
	return res < 0 ? error_classify(err, ERROR_USAGE) : 0;
}

int document_check_path(const char *path, struct error *err)
{
	struct file_new probe = FILE_NEW_INIT;
	struct stat st;
	int res = 0;

	if (is_stdout(path))
		return 0;
	if (!*path) { /* a file without a name could be made beside it, but not get this one */
		res = error_set(err, -ENOENT, "cannot write '%s'", path);
	} else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		res = error_set(err, -EISDIR, "cannot write '%s'", path);
	} else if (is_special(path)) {
		if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
			res = error_set(err, errno, "cannot write '%s'", path);
	} else {
		res = file_new_open(&probe, path, err); /* what replace_file will do */
	}
	file_new_fini(&probe);
	return res < 0 ? error_classify(err, ERROR_USAGE) : 0;
}

int document_write(json_t *doc, const char *path, struct error *err)
{
	char *dump = doc ? json_dumps(doc, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(doc);
	if (!dump)
		return error_set_text(err, -ENOMEM, "cannot make the JSON document");
	CLEANUP(freep) char *text = xasprintf("%s\n", dump);
	free(dump);
	return document_write_text(text, strlen(text), path, err);
}
