#include "image/modules.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "base/file.h"
#include "base/num.h"
#include "image/decompress.h"
#include "image/kmod_lib.h"

enum {
	MODULE_FILE_MAX =
	    256 << 20, /* of one module, either way; a debug build of amdgpu is a tenth of that */
};

struct modules {
	struct kmod_lib lib;
	struct kmod_ctx *kmod;
	struct guest_tree *tree;
	const char *dir;
	const char *release;
	struct buf *records;
	struct buf missing; /* names, ", " between them */
	struct buf begun;   /* names, each between NULs */
	unsigned n_modules;
};

static bool is_begun(struct modules *m, const char *name)
{
	CLEANUP(buf_fini) struct buf key = { 0 };

	if (!m->begun.len)
		buf_append(&m->begun, "", 1);
	buf_append(&key, "", 1);
	buf_append(&key, name, strlen(name) + 1);
	if (memmem(m->begun.data, m->begun.len, key.data, key.len))
		return true;
	buf_append(&m->begun, key.data + 1, key.len - 1);
	return false;
}

struct unpack {
	struct decompress_out out;
	struct buf data;
};

static int unpack_write(struct decompress_out *out, const uint8_t *data, size_t n,
			UNUSED struct error *err)
{
	struct unpack *u = container_of(out, struct unpack, out);

	buf_append(&u->data, data, n);
	return 0;
}

/*
 * Its .modinfo says for which kernel a module was made: "vermagic=RELEASE SMP ...". The kernel would refuse another one's, or
 * one symbol of it, and only its log would tell.
 */
static int check_release(const struct modules *m, const char *path, const struct buf *module,
			 struct error *err)
{
	static const char key[] = "vermagic=";
	const char *end = (const char *)module->data + module->len;
	const char *made_for = memmem(module->data, module->len, key, sizeof(key) - 1);

	if (!made_for || !m->release[0])
		return 0;
	made_for += sizeof(key) - 1;
	size_t n = 0;
	while (made_for + n < end && made_for[n] > ' ')
		n++;
	if (n == strlen(m->release) && memcmp(made_for, m->release, n) == 0)
		return 0;
	return error_set_usage(err, -EINVAL,
			       "module '%s' is for kernel %.*s, but this one is %s: give its own "
			       "tree with --modules",
			       path, (int)n, made_for, m->release);
}

/* The file @path, packed or not, at @guest. */
static int add_file(struct modules *m, const char *path, const char *guest, struct error *err)
{
	CLEANUP(buf_fini) struct buf raw = { 0 };
	struct unpack u = { .out = { .write = unpack_write, .limit = MODULE_FILE_MAX } };
	struct stat st;

	stamps_add(&m->tree->stamps, path, true);
	if (stat(path, &st) < 0)
		return error_set_usage_errno(err, errno, "module '%s'", path);
	if (file_read(path, MODULE_FILE_MAX, &raw, err) < 0)
		return error_classify(err, ERROR_USAGE);
	enum compression c = compression_detect(raw.data, raw.len);
	if (c == COMPRESSION_NONE)
		return check_release(m, path, &raw, err) < 0
			   ? err->code
			   : guest_tree_add_file(m->tree, guest, path, &st, GUEST_RANK_OURS, err);
	int r = decompress(c, raw.data, raw.len, &u.out, err);
	if (r < 0)
		(void)error_prefix(err, "module '%s'", path);
	else
		r = check_release(m, path, &u.data, err);
	if (r == 0)
		r = guest_tree_add_unpacked(m->tree, guest, path, &st, &u.data, err);
	buf_fini(&u.data);
	return r;
}

/* @mod itself; built in: nothing. */
static int add_one(struct modules *m, struct kmod_module *mod, struct error *err)
{
	const char *name = m->lib.module_get_name(mod);
	const char *path = m->lib.module_get_path(mod);

	if (!path)
		return 0;
	CLEANUP(freep)
	char *guest = xasprintf(GUEST_MODULE_DIR "/%03u-%s.ko", m->n_modules++, name);
	if (add_file(m, path, guest, err) < 0)
		return err->code;
	buf_printf(m->records, "module=%s", guest);
	buf_append(m->records, "", 1);
	return 0;
}

static int add_with_needs(struct modules *m, struct kmod_module *mod, struct error *err);

/* NOLINTNEXTLINE(misc-no-recursion): each module once */
static int add_list(struct modules *m, struct kmod_list *list, struct error *err)
{
	for (struct kmod_list *i = list; i; i = m->lib.list_next(list, i)) {
		struct kmod_module *mod = m->lib.module_get_module(i);
		int r = add_with_needs(m, mod, err);
		(void)m->lib.module_unref(mod);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Soft dependencies before, hard ones, the module, soft ones after. Those that the tree does not
 * have are no error, as with modprobe. Soft ones may name each other: a module whose turn has begun
 * is passed over.
 */
/* NOLINTNEXTLINE(misc-no-recursion): each module once */
static int add_with_needs(struct modules *m, struct kmod_module *mod, struct error *err)
{
	struct kmod_list *pre = NULL, *post = NULL;

	if (is_begun(m, m->lib.module_get_name(mod)))
		return 0;
	if (m->lib.module_get_softdeps(mod, &pre, &post) < 0)
		pre = post = NULL;
	struct kmod_list *hard = m->lib.module_get_dependencies(mod);
	int r = add_list(m, pre, err);
	if (r == 0)
		r = add_list(m, hard, err);
	if (r == 0)
		r = add_one(m, mod, err);
	if (r == 0)
		r = add_list(m, post, err);
	(void)m->lib.module_unref_list(pre);
	(void)m->lib.module_unref_list(hard);
	(void)m->lib.module_unref_list(post);
	return r;
}

/*
 * By name or alias. What libkmod finds without a path is built in; its "state" of a module would be
 * that of the running kernel.
 */
static int add_named(struct modules *m, const char *name, struct error *err)
{
	struct kmod_list *list = NULL;
	int r = m->lib.module_new_from_lookup(m->kmod, name, &list);

	if (r < 0)
		return error_set(err, r, "cannot look up module '%s' in '%s'", name, m->dir);
	if (!list) {
		if (m->missing.len)
			buf_append_str(&m->missing, ", ");
		buf_append_str(&m->missing, name);
		return 0;
	}
	r = add_list(m, list, err);
	(void)m->lib.module_unref_list(list);
	return r;
}

static int check_tree(struct guest_tree *tree, const char *dir, struct error *err)
{
	static const char *const indexes[] = { "modules.dep.bin",     "modules.alias.bin",
					       "modules.builtin.bin", "modules.softdep",
					       "modules.symbols.bin", "modules.builtin.alias.bin" };
	CLEANUP(freep) char *dep = xasprintf("%s/%s", dir, indexes[0]);
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", dir, indexes[i]);
		stamps_add(&tree->stamps, path, true);
	}
	if (stat(dir, &st) < 0 || (S_ISDIR(st.st_mode) && access(dir, R_OK | X_OK) < 0))
		return error_set_usage_errno(err, errno, "kernel modules '%s'", dir);
	if (!S_ISDIR(st.st_mode))
		return error_set_usage(err, -ENOTDIR, "kernel modules '%s': not a folder", dir);
	if (access(dep, R_OK) == 0)
		return 0;
	if (errno != ENOENT)
		return error_set_usage_errno(err, errno, "cannot read '%s'", dep);
	/* ROOT/lib/modules/VERSION */
	const char *version = strrchr(dir, '/');
	const char *root = strstr(dir, "/lib/modules/");
	return error_set_usage(err, -ENOENT,
			       "'%s' has no modules.dep.bin: run depmod -b '%.*s' '%s'", dir,
			       root ? (int)num_max((uint64_t)(root - dir), 1) : 4,
			       root ? dir : "ROOT", version ? version + 1 : "VERSION");
}

int modules_add(struct guest_tree *tree, const char *dir, const char *release,
		const char *const *names, struct buf *records, struct error *err)
{
	static const char *const no_config[] = { NULL };
	CLEANUP(freep) char *clean = xstrdup(dir);

	for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
		clean[n - 1] = 0;
	if (check_tree(tree, clean, err) < 0)
		return err->code;
	struct modules m = { .tree = tree, .dir = clean, .release = release, .records = records };
	if (kmod_lib_load(&m.lib, err) < 0)
		return err->code;
	m.kmod = m.lib.new_ctx(clean, no_config);
	if (!m.kmod)
		return error_set(err, ENOMEM, "kernel modules '%s'", clean);
	/* libkmod would print to stderr; what matters shows in its results. */
	m.lib.set_log_priority(m.kmod, 0);
	int r = m.lib.load_resources(m.kmod);
	if (r < 0)
		(void)error_set(err, r, "cannot read the indexes of '%s'", clean);
	for (size_t i = 0; r >= 0 && names[i]; i++)
		r = add_named(&m, names[i], err);
	if (r >= 0 && m.missing.len)
		r = error_set_usage(
		    err, -ENOENT,
		    "kernel modules %s are neither in '%s' nor built in: give the kernel's "
		    "own tree with --modules",
		    buf_str(&m.missing), clean);
	(void)m.lib.unref(m.kmod);
	buf_fini(&m.missing);
	buf_fini(&m.begun);
	return r < 0 ? r : 0;
}
