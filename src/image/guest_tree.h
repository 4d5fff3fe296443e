/*
 * The guest's file system as a plan: what lies at which path and which host file it is read from.
 * Set-up thread.
 *
 * Paths are absolute. A path given to any function may run through symbolic links of the plan; they
 * are followed for every component but the last, so "/lib/x" and "/usr/lib/x" are one node where
 * /lib is a link to usr/lib. Missing parent folders are added by themselves. Every host file that
 * was looked at is noted in `stamps`.
 */
#pragma once

#include "base/error.h"
#include "image/stamps.h"

/* Who wants a node; the higher one wins a path. */
enum guest_rank {
	GUEST_RANK_FOUND, /* found as somebody's need: a library, an interpreter, an applet */
	GUEST_RANK_NAMED, /* the user named it */
	GUEST_RANK_OURS,  /* the skeleton's own: nothing may replace it */
};

struct guest_node {
	char *path;
	char *host;    /* a regular file's source, or NULL: made by us */
	char *text;    /* a link's target, or a regular file's content where that is not read from
			  @host; `size` bytes */
	uint32_t mode; /* S_IFMT and permissions */
	uint64_t size;
	dev_t rdev;
	enum guest_rank rank;
	struct file_stamp stamp; /* of @host when it was added */
};

struct guest_tree {
	void *nodes; /* search tree by path, so that parents come before their children */
	struct stamps stamps;
};

void guest_tree_fini(struct guest_tree *t); /* idempotent */

/*
 * Each adds one node. Among found ones the first stays; a named one takes the place of a found one.
 * Errors (class usage): -EEXIST where two named inputs differ, or a folder with content would have
 * to go; -ELOOP; -ENOTDIR; -EPERM for a path that is reserved (/init, /ktstr) or hidden by the
 * guest's own mounts (/proc, /sys, /dev).
 */
MUST_CHECK int guest_tree_add_dir(struct guest_tree *t, const char *path, uint32_t perm,
				  enum guest_rank rank, struct error *err);
MUST_CHECK int guest_tree_add_link(struct guest_tree *t, const char *path, const char *target,
				   enum guest_rank rank, struct error *err);
MUST_CHECK int guest_tree_add_text(struct guest_tree *t, const char *path, const char *text,
				   enum guest_rank rank, struct error *err);
MUST_CHECK int guest_tree_add_device(struct guest_tree *t, const char *path, uint32_t mode,
				     dev_t rdev, enum guest_rank rank, struct error *err);
/* @st is the stat result of @host, a regular file. */
MUST_CHECK int guest_tree_add_file(struct guest_tree *t, const char *path, const char *host,
				   const struct stat *st, enum guest_rank rank, struct error *err);
/* The same with @content, which was unpacked from @host. */
MUST_CHECK int guest_tree_add_unpacked(struct guest_tree *t, const char *path, const char *host,
				       const struct stat *st, const struct buf *content,
				       struct error *err);
/*
 * Adds the host's file @path at its own place, with every symbolic link on the way, so that each
 * spelling that works on the host works in the guest. A folder is added empty. @ret_real (caller
 * frees), unless NULL: the path without links. -ENOENT, -EACCES, -ENOTDIR, ... name the path, class
 * usage.
 */
MUST_CHECK int guest_tree_add_mirrored(struct guest_tree *t, const char *path, enum guest_rank rank,
				       char **ret_real, struct error *err);

/* The node at @path, its last component followed too; NULL where there is none. */
const struct guest_node *guest_tree_find(const struct guest_tree *t, const char *path);
/* Calls @fn for every node in path order until it returns nonzero; returns that. */
int guest_tree_walk(const struct guest_tree *t, int (*fn)(const struct guest_node *n, void *ctx),
		    void *ctx);
