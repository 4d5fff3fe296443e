#include "image/guest_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "base/assert.h"

enum { LINKS_MAX = 40 }; /* the kernel's own limit of links in one path */

/* ---- paths ---- */

/*
 * Follows @path one component at a time. @link is asked of every prefix and hands out the target
 * (to be freed) where it is a link, else NULL. @ret is the path without links, "." and "..".
 */
struct walk {
	int (*link)(struct walk *w, const char *prefix, bool last, char **ret_target,
		    struct error *err);
	bool follow_last;
};

/* Cuts the last component off; "/" stays (as an empty string, like every prefix without its last
 * slash). */
static void pop_component(struct buf *done)
{
	while (done->len && done->data[done->len - 1] != '/')
		done->len--;
	if (done->len)
		done->len--;
}

static int walk_path(struct walk *w, const char *path, char **ret, struct error *err)
{
	CLEANUP(buf_fini) struct buf done = { 0 };
	CLEANUP(freep) char *rest = xstrdup(path);
	unsigned n_links = 0;

	for (char *p = rest + strspn(rest, "/"); *p;) {
		size_t n = strcspn(p, "/");
		const char *next = p + n + strspn(p + n, "/");
		CLEANUP(freep) char *target = NULL;

		if (n == 2 && memcmp(p, "..", 2) == 0) {
			pop_component(&done);
		} else if (n != 1 || *p != '.') {
			size_t before = done.len;
			buf_append(&done, "/", 1);
			buf_append(&done, p, n);
			bool last = !*next;
			if ((!last || w->follow_last) &&
			    w->link(w, buf_str(&done), last, &target, err) < 0)
				return err->code;
			if (target)
				done.len = target[0] == '/' ? 0 : before;
		}
		if (target && ++n_links > LINKS_MAX)
			return error_set_usage(err, -ELOOP, "'%s': too many symbolic links", path);
		char *longer = target ? xasprintf("%s/%s", target, next) : xstrdup(next);
		freep(&rest);
		rest = longer;
		p = rest + strspn(rest, "/");
	}
	*ret = xstrdup(done.len ? buf_str(&done) : "/");
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct guest_node *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static struct guest_node *find_exact(const struct guest_tree *t, const char *path)
{
	/* The key is only read. */
	struct guest_node key = { .path = (char *)(uintptr_t)path };
	struct guest_node **slot = tfind(&key, &t->nodes, compare);

	return slot ? *slot : NULL;
}

struct plan_walk {
	struct walk walk;
	const struct guest_tree *tree;
};

static int plan_link(struct walk *w, const char *prefix, UNUSED bool last, char **ret_target,
		     UNUSED struct error *err)
{
	struct plan_walk *p = container_of(w, struct plan_walk, walk);
	const struct guest_node *n = find_exact(p->tree, prefix);

	if (n && S_ISLNK(n->mode))
		*ret_target = xstrdup(n->text);
	return 0;
}

static int resolve(const struct guest_tree *t, const char *path, bool follow_last, char **ret,
		   struct error *err)
{
	struct plan_walk w = { .walk = { plan_link, follow_last }, .tree = t };

	return walk_path(&w.walk, path, ret, err);
}

/* ---- nodes ---- */

static void node_free(void *p)
{
	struct guest_node *n = p;

	if (!n)
		return;
	freep(&n->path);
	freep(&n->host);
	freep(&n->text);
	free(n);
}

static void node_freep(struct guest_node **n)
{
	node_free(*n);
	*n = NULL;
}

void guest_tree_fini(struct guest_tree *t)
{
	tdestroy(t->nodes, node_free);
	t->nodes = NULL;
	stamps_fini(&t->stamps);
}

static void insert(struct guest_tree *t, struct guest_node *n)
{
	struct guest_node **slot = tsearch(n, &t->nodes, compare);

	ASSERT(slot && *slot == n); /* the callers looked first; no memory ends a set-up path */
}

static bool is_under(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]);
}

static int check_reserved(const char *path, struct error *err)
{
	static const char *const hidden[] = { "/proc", "/sys", "/dev" };

	if (strcmp(path, "/") == 0)
		return error_set_usage(err, -EPERM,
				       "the guest's root folder cannot be replaced by a file");
	if (strcmp(path, GUEST_INIT_PATH) == 0 || is_under(path, "/ktstr"))
		return error_set_usage(err, -EPERM,
				       "guest path '%s' is ktstr's own: choose another", path);
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
		if (is_under(path, hidden[i]))
			return error_set_usage(
			    err, -EPERM,
			    "guest path '%s' would be hidden by the guest's own %s: "
			    "choose another, as in --include HOST:GUEST",
			    path, hidden[i]);
	}
	return 0;
}

static int add_parents(struct guest_tree *t, const char *path, struct error *err)
{
	CLEANUP(freep) char *prefix = xstrdup(path);

	for (char *p = strchr(prefix + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		const struct guest_node *n = find_exact(t, prefix);
		if (n && !S_ISDIR(n->mode))
			return error_set_usage(err, -ENOTDIR,
					       "guest path '%s' cannot be: '%s' is no folder there",
					       path, prefix);
		if (!n) {
			struct guest_node *dir = xcalloc(1, sizeof(*dir));
			*dir = (struct guest_node){ .path = xstrdup(prefix),
						    .mode = S_IFDIR | 0755,
						    .rank = GUEST_RANK_FOUND };
			insert(t, dir);
		}
		*p = '/';
	}
	return 0;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_equal(const struct guest_node *a, const struct guest_node *b)
{
	if ((a->mode & S_IFMT) != (b->mode & S_IFMT) || a->rdev != b->rdev)
		return false;
	if (S_ISDIR(a->mode))
		return true;
	/* The same file by another name is no conflict. */
	return a->host && b->host ? file_stamp_is_same(&a->stamp, &b->stamp)
				  : !a->host && !b->host && is_same_text(a->text, b->text);
}

static int find_child(const struct guest_node *n, void *ctx)
{
	const struct guest_node *folder = ctx;

	return n != folder && is_under(n->path, folder->path);
}

static const char *describe(const struct guest_node *n)
{
	if (n->host)
		return n->host;
	return S_ISLNK(n->mode) ? n->text : n->path;
}

/* @n wants the path that @old has. */
static int replace(struct guest_tree *t, struct guest_node *old, struct guest_node *n,
		   struct error *err)
{
	if (is_equal(old, n)) {
		if (n->rank > old->rank) {
			old->rank = n->rank;
			old->mode = n->mode;
		}
		return 0;
	}
	if (n->rank == GUEST_RANK_FOUND)
		return 0;
	if (n->rank < old->rank)
		return error_set_usage(err, -EPERM,
				       "guest path '%s' is ktstr's own: '%s' cannot go there",
				       old->path, describe(n));
	if (n->rank == old->rank)
		return error_set_usage(err, -EEXIST,
				       "guest path '%s' is wanted twice: by '%s' and by '%s'",
				       old->path, describe(old), describe(n));
	if (S_ISDIR(old->mode) && guest_tree_walk(t, find_child, old))
		return error_set_usage(
		    err, -EEXIST, "guest path '%s' is a folder with content: '%s' cannot go there",
		    old->path, describe(n));
	struct guest_node swap = *old;
	char *path = old->path;
	*old = *n;
	*n = swap;
	/* The place in the tree belongs to the path. */
	n->path = old->path;
	old->path = path;
	return 0;
}

/* Takes over what @content points at, whatever the result. */
static int add(struct guest_tree *t, const char *path, const struct guest_node *content,
	       struct error *err)
{
	CLEANUP(node_freep) struct guest_node *n = xcalloc(1, sizeof(*n));

	*n = *content;
	if (resolve(t, path, S_ISDIR(n->mode), &n->path, err) < 0)
		return err->code;
	struct guest_node *old = find_exact(t, n->path);
	bool is_known_dir =
	    S_ISDIR(n->mode) && (strcmp(n->path, "/") == 0 || (old && S_ISDIR(old->mode)));
	if (is_known_dir && (!old || old->rank == GUEST_RANK_OURS))
		return 0;
	if (n->rank != GUEST_RANK_OURS && !is_known_dir && check_reserved(n->path, err) < 0)
		return err->code;
	if (old)
		return replace(t, old, n, err);
	if (add_parents(t, n->path, err) < 0)
		return err->code;
	insert(t, n);
	n = NULL;
	return 0;
}

int guest_tree_add_dir(struct guest_tree *t, const char *path, uint32_t perm, enum guest_rank rank,
		       struct error *err)
{
	struct guest_node n = { .mode = S_IFDIR | (perm & 07777), .rank = rank };

	return add(t, path, &n, err);
}

int guest_tree_add_link(struct guest_tree *t, const char *path, const char *target,
			enum guest_rank rank, struct error *err)
{
	struct guest_node n = { .text = xstrdup(target),
				.mode = S_IFLNK | 0777,
				.size = strlen(target),
				.rank = rank };

	return add(t, path, &n, err);
}

int guest_tree_add_text(struct guest_tree *t, const char *path, const char *text,
			enum guest_rank rank, struct error *err)
{
	struct guest_node n = {
		.text = xstrdup(text), .mode = S_IFREG | 0644, .size = strlen(text), .rank = rank
	};

	return add(t, path, &n, err);
}

int guest_tree_add_device(struct guest_tree *t, const char *path, uint32_t mode, dev_t rdev,
			  enum guest_rank rank, struct error *err)
{
	struct guest_node n = { .mode = mode, .rdev = rdev, .rank = rank };

	ASSERT(!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode));
	return add(t, path, &n, err);
}

int guest_tree_add_file(struct guest_tree *t, const char *path, const char *host,
			const struct stat *st, enum guest_rank rank, struct error *err)
{
	struct guest_node n = { .host = xstrdup(host),
				.mode = S_IFREG | (st->st_mode & 07777),
				.size = (uint64_t)st->st_size,
				.rank = rank,
				.stamp = file_stamp_of(st) };

	ASSERT(S_ISREG(st->st_mode));
	stamps_add(&t->stamps, host, true);
	return add(t, path, &n, err);
}

int guest_tree_add_unpacked(struct guest_tree *t, const char *path, const char *host,
			    const struct stat *st, const struct buf *content, struct error *err)
{
	struct guest_node node = { .host = xstrdup(host),
				   .text = xmalloc(content->len),
				   .mode = S_IFREG | 0644,
				   .size = content->len,
				   .rank = GUEST_RANK_OURS,
				   .stamp = file_stamp_of(st) };

	if (content->len)
		memcpy(node.text, content->data, content->len);
	stamps_add(&t->stamps, host, true);
	return add(t, path, &node, err);
}

/* ---- host paths at their own place ---- */

struct mirror_walk {
	struct walk walk;
	struct guest_tree *tree;
	enum guest_rank rank;
	struct stat st; /* of the last prefix looked at */
};

static int mirror_link(struct walk *w, const char *prefix, bool last, char **ret_target,
		       struct error *err)
{
	struct mirror_walk *m = container_of(w, struct mirror_walk, walk);
	char target[PATH_MAX];

	if (lstat(prefix, &m->st) < 0)
		return error_set(err, errno, "'%s'", prefix);
	if (!S_ISLNK(m->st.st_mode)) {
		if (!last && !S_ISDIR(m->st.st_mode))
			return error_set(err, ENOTDIR, "'%s'", prefix);
		return 0;
	}
	stamps_add(&m->tree->stamps, prefix, false);
	ssize_t n = readlink(prefix, target, sizeof(target));
	if (n < 0 || (size_t)n >= sizeof(target))
		return error_set(err, n < 0 ? errno : ENAMETOOLONG, "'%s'", prefix);
	target[n] = 0;
	if (guest_tree_add_link(m->tree, prefix, target, m->rank, err) < 0)
		return err->code;
	*ret_target = xstrdup(target);
	return 0;
}

int guest_tree_add_mirrored(struct guest_tree *t, const char *path, enum guest_rank rank,
			    char **ret_real, struct error *err)
{
	struct mirror_walk m = { .walk = { mirror_link, true }, .tree = t, .rank = rank };
	CLEANUP(freep) char *real = NULL;

	/* A path that cannot be walked is worth another try when it changes. */
	stamps_add(&t->stamps, path, true);
	if (lstat("/", &m.st) < 0)
		return error_set(err, errno, "'/'");
	if (walk_path(&m.walk, path, &real, err) < 0)
		return error_classify(err, ERROR_USAGE);
	int r = S_ISREG(m.st.st_mode) ? guest_tree_add_file(t, real, real, &m.st, rank, err)
		: S_ISDIR(m.st.st_mode)
		    ? guest_tree_add_dir(t, real, m.st.st_mode, rank, err)
		    : guest_tree_add_device(t, real, m.st.st_mode, m.st.st_rdev, rank, err);
	if (r == 0 && ret_real)
		*ret_real = TAKE_PTR(real);
	return r;
}

/* ---- reading ---- */

const struct guest_node *guest_tree_find(const struct guest_tree *t, const char *path)
{
	CLEANUP(freep) char *real = NULL;
	struct error ignored; /* a loop leads nowhere: nothing is there */

	if (resolve(t, path, true, &real, &ignored) < 0)
		return NULL;
	return find_exact(t, real);
}

struct visit {
	int (*fn)(const struct guest_node *n, void *ctx);
	void *ctx;
	int result;
};

static void visit_node(const void *slot, VISIT which, void *closure)
{
	struct visit *v = closure;

	if (v->result == 0 && (which == postorder || which == leaf))
		v->result = v->fn(*(struct guest_node *const *)slot, v->ctx);
}

int guest_tree_walk(const struct guest_tree *t, int (*fn)(const struct guest_node *n, void *ctx),
		    void *ctx)
{
	struct visit v = { .fn = fn, .ctx = ctx };

	twalk_r(t->nodes, visit_node, &v);
	return v.result;
}
