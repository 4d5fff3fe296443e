#include "image/include.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

static int cannot_include(struct error *err, const char *path)
{
	return error_set_usage_errno(err, errno, "cannot include '%s'", path);
}

/* Files of one folder, copied from @host to @guest (both without links). */
struct folder {
	struct guest_tree *tree;
	struct program_list *programs;
	const char *host;
	const char *guest;
};

static int add_file(const struct folder *f, const char *guest, const char *host,
		    const struct stat *st, struct error *err)
{
	/* Said here, while it is clear which option named it. */
	if (access(host, R_OK) < 0)
		return cannot_include(err, host);
	if (guest_tree_add_file(f->tree, guest, host, st, GUEST_RANK_NAMED, err) < 0)
		return err->code;
	program_list_add(f->programs, host, guest, false);
	return 0;
}

static bool is_inside(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strcmp(folder, "/") == 0 ||
	       (strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]));
}

/* @host is a link in the folder. */
static int add_link(const struct folder *f, const char *guest, const char *host, struct error *err)
{
	char target[PATH_MAX];
	struct stat st;
	ssize_t n = readlink(host, target, sizeof(target));

	if (n < 0 || (size_t)n >= sizeof(target))
		return cannot_include(err, host);
	target[n] = 0;
	stamps_add(&f->tree->stamps, host, false);
	stamps_add(&f->tree->stamps, host, true);
	CLEANUP(freep) char *real = realpath(host, NULL);
	bool is_moved = strcmp(f->host, f->guest) != 0;
	bool is_file = real && stat(real, &st) == 0 && S_ISREG(st.st_mode);
	bool leaves = real && !is_inside(real, f->host);

	/* In another place its target would be missing: the file itself goes where the link is. */
	if (is_file && is_moved && (leaves || target[0] == '/'))
		return add_file(f, guest, real, &st, err);
	if (is_file && leaves) {
		if (guest_tree_add_mirrored(f->tree, host, GUEST_RANK_NAMED, NULL, err) < 0)
			return err->code;
		program_list_add(f->programs, real, real, false);
		return 0;
	}
	return guest_tree_add_link(f->tree, guest, target, GUEST_RANK_NAMED, err);
}

static int add_entry(const struct folder *f, const FTSENT *e, struct error *err)
{
	const char *below = e->fts_path + strlen(f->host);
	CLEANUP(freep) char *guest = xasprintf("%s/%s", f->guest, below);

	switch (e->fts_info) {
	case FTS_D:
		stamps_add(&f->tree->stamps, e->fts_path, false);
		return guest_tree_add_dir(f->tree, guest, e->fts_statp->st_mode, GUEST_RANK_NAMED,
					  err);
	case FTS_F:
		return add_file(f, guest, e->fts_path, e->fts_statp, err);
	case FTS_SL:
	case FTS_SLNONE:
		return add_link(f, guest, e->fts_path, err);
	case FTS_DEFAULT:
		stamps_add(&f->tree->stamps, e->fts_path, false);
		return guest_tree_add_device(f->tree, guest, e->fts_statp->st_mode,
					     e->fts_statp->st_rdev, GUEST_RANK_NAMED, err);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		errno = e->fts_errno;
		return cannot_include(err, e->fts_path);
	default:
		return 0; /* FTS_DP: a folder for the second time */
	}
}

static void fts_closep(FTS **fts)
{
	if (*fts)
		(void)fts_close(*fts); /* with FTS_NOCHDIR there is nothing that could fail */
}

static int add_folder(const struct folder *f, struct error *err)
{
	CLEANUP(freep) char *root = xstrdup(f->host);
	char *const roots[] = { root, NULL };
	CLEANUP(fts_closep) FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

	if (!fts)
		return cannot_include(err, f->host);
	for (const FTSENT *e; (errno = 0, e = fts_read(fts));) {
		if (add_entry(f, e, err) < 0)
			return err->code;
	}
	return errno ? cannot_include(err, f->host) : 0;
}

/* Splits at the last ":/"; a path that exists as a whole is one. */
static int split(const char *spec, char **ret_host, char **ret_guest, struct error *err)
{
	struct stat st;
	const char *colon = NULL;

	for (const char *p = spec; (p = strstr(p, ":/")); p++)
		colon = p;
	if (!strchr(spec, ':') || lstat(spec, &st) == 0) {
		*ret_host = xstrdup(spec);
		*ret_guest = NULL;
		return 0;
	}
	if (!colon || colon == spec)
		return error_set_usage(
		    err, -EINVAL,
		    "cannot include '%s': no such file, and as HOST:GUEST it needs an "
		    "absolute GUEST",
		    spec);
	*ret_host = xasprintf("%.*s", (int)(colon - spec), spec);
	*ret_guest = xstrdup(colon + 1);
	return 0;
}

int include_add(struct guest_tree *tree, struct program_list *programs, const char *spec,
		struct error *err)
{
	CLEANUP(freep) char *host = NULL;
	CLEANUP(freep) char *guest = NULL;
	struct stat st;

	/* Whether the whole is a path decides how it is read, so that counts as well. */
	stamps_add(&tree->stamps, spec, false);
	if (split(spec, &host, &guest, err) < 0)
		return err->code;
	ASSERT(host);
	CLEANUP(freep) char *real = realpath(host, NULL);
	if (!real || stat(real, &st) < 0 || access(real, R_OK) < 0)
		return cannot_include(err, host);
	stamps_add(&tree->stamps, host, true);
	if (!guest) {
		const char *place = host[0] == '/' ? host : real;
		if (guest_tree_add_mirrored(tree, place, GUEST_RANK_NAMED, NULL, err) < 0)
			return error_prefix(err, "cannot include");
	}
	struct folder f = { tree, programs, real, guest ? guest : real };
	if (S_ISDIR(st.st_mode))
		return add_folder(&f, err);
	if (!S_ISREG(st.st_mode))
		return guest ? guest_tree_add_device(tree, guest, st.st_mode, st.st_rdev,
						     GUEST_RANK_NAMED, err)
			     : 0;
	if (guest && guest_tree_add_file(tree, guest, real, &st, GUEST_RANK_NAMED, err) < 0)
		return err->code;
	program_list_add(programs, real, f.guest, true);
	return 0;
}
