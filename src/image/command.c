#include "image/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const guest_folders[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
					     "/usr/bin",        "/sbin",          "/bin" };

static int bad_command(struct error *err, const char *name)
{
	return error_set_usage_errno(err, errno, "command '%s'", name);
}

/* The host's file @path, put at the same place. */
static int add_host_program(struct guest_tree *tree, struct program_list *programs,
			    const char *path, char **ret_exec, struct error *err)
{
	CLEANUP(freep) char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0 || access(real, R_OK) < 0)
		return bad_command(err, path);
	if (S_ISDIR(st.st_mode))
		return error_set_usage(err, -EISDIR, "command '%s' is a folder", path);
	if (!S_ISREG(st.st_mode))
		return error_set_usage(err, -ENOEXEC, "command '%s' is no regular file", path);
	stamps_add(&tree->stamps, path, true);
	/* A relative path is taken from the working folder, which the guest does not have. */
	const char *place = path[0] == '/' ? path : real;
	if (guest_tree_add_mirrored(tree, place, GUEST_RANK_NAMED, NULL, err) < 0)
		return error_prefix(err, "command '%s'", path);
	program_list_add(programs, real, real, true);
	*ret_exec = xstrdup(place);
	return 0;
}

static int resolve_path(struct guest_tree *tree, struct program_list *programs, const char *path,
			char **ret_exec, struct error *err)
{
	const struct guest_node *n = path[0] == '/' ? guest_tree_find(tree, path) : NULL;
	bool is_program = n && !S_ISDIR(n->mode);

	stamps_add(&tree->stamps, path, true);
	if (is_program && n->rank == GUEST_RANK_NAMED) {
		*ret_exec = xstrdup(path);
		return 0;
	}
	if (access(path, F_OK) == 0)
		return add_host_program(tree, programs, path, ret_exec, err);
	if (errno != ENOENT && errno != ENOTDIR)
		return bad_command(err, path);
	if (is_program) {
		*ret_exec = xstrdup(path);
		return 0;
	}
	return error_set_usage(
	    err, -ENOENT, "no such command '%s': looked on the host and among the --include files",
	    path);
}

/* What a shell in the guest would find, of at least @rank. */
static char *find_in_guest(const struct guest_tree *tree, const char *name, enum guest_rank rank)
{
	for (size_t i = 0; i < ARRAY_SIZE(guest_folders); i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", guest_folders[i], name);
		const struct guest_node *n = guest_tree_find(tree, path);
		if (n && !S_ISDIR(n->mode) && n->rank >= rank)
			return TAKE_PTR(path);
	}
	return NULL;
}

int command_resolve(struct guest_tree *tree, struct program_list *programs, const char *name,
		    const char *search, char **ret_exec, struct error *err)
{
	if (!*name)
		return error_set_usage(err, -EINVAL, "the command's name is empty");
	if (strchr(name, '/'))
		return resolve_path(tree, programs, name, ret_exec, err);
	char *path = find_in_guest(tree, name, GUEST_RANK_NAMED);
	if (!path)
		path = find_in_guest(tree, name, GUEST_RANK_FOUND);
	if (path) {
		*ret_exec = path;
		return 0;
	}
	CLEANUP(freep) char *host = program_find(&tree->stamps, search, name);
	if (host)
		return add_host_program(tree, programs, host, ret_exec, err);
	return error_set_usage(
	    err, -ENOENT,
	    "no such command '%s': looked among the --include files, the tools of busybox "
	    "and in PATH (%s)",
	    name, search);
}
