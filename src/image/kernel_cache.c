#include "image/kernel_cache.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "image/kernel_entry.h"
#include "image/kernel_image.h"
#include "image/kernel_release.h"
#include "image/kernel_stage.h"
#include "image/tree.h"

struct entries {
	struct kernel_entry *at;
	size_t n;
};

static void entries_add(struct entries *list, const char *root, const char *name)
{
	struct kernel_entry e;

	/* No names of our making: the lock, a stage, something a user put there. */
	if (!kernel_stage_is_name(name) || !kernel_entry_load(root, name, &e))
		return;
	list->at = xreallocarray(list->at, list->n + 1, sizeof(e));
	list->at[list->n++] = e;
}

static int compare_entries(const void *a, const void *b)
{
	const struct kernel_entry *x = a;
	const struct kernel_entry *y = b;
	int order = kernel_release_compare(x->name, y->name);

	return order ? order : strcmp(x->name, y->name);
}

int kernel_cache_list(const char *cache_dir, struct kernel_entry **ret, size_t *ret_n,
		      struct error *err)
{
	CLEANUP(freep) char *root = xasprintf("%s/kernels", cache_dir);
	struct entries list = { 0 };
	DIR *d = opendir(root);

	if (!d && errno != ENOENT)
		return error_set(err, errno, "cannot read the kernel cache '%s'", root);
	for (struct dirent *de; d && (de = readdir(d));) /* NOLINT(concurrency-mt-unsafe) */
		entries_add(&list, root, de->d_name);
	if (d)
		(void)closedir(d);
	if (list.n)
		qsort(list.at, list.n, sizeof(*list.at), compare_entries);
	*ret = list.at;
	*ret_n = list.n;
	return 0;
}

/* What kind of kernel @path is and its release, which may be empty. */
static int probe(const char *cache_dir, const char *path, struct kernel_image *ret,
		 struct error *err)
{
	const struct kernel_image_config config = { .path = path,
						    .cache_dir = cache_dir,
						    .as_is = true };

	int r = kernel_image_open(&config, ret, err);
	if (r == 0)
		kernel_image_fini(ret); /* only its facts are wanted */
	return r;
}

/* The release under which the modules are filed: the kernel's, else their folder's name. */
static int modules_release(const char *modules_dir, const char *kernel_release,
			   char ret[static KERNEL_RELEASE_MAX], struct error *err)
{
	CLEANUP(freep) char *copy = xstrdup(modules_dir);
	struct stat st;

	if (stat(modules_dir, &st) < 0)
		return error_set_usage_errno(err, errno, "modules '%s'", modules_dir);
	if (!S_ISDIR(st.st_mode))
		return error_set_usage(err, -ENOTDIR, "modules '%s': not a folder", modules_dir);
	const char *name = kernel_release[0] ? kernel_release : basename(copy);
	if (!kernel_stage_is_name(name))
		return error_set_usage(err, -EINVAL,
				       "modules '%s': the folder's name is no kernel release",
				       modules_dir);
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

static int stage_modules(const struct kernel_stage *s, const char *modules_dir, const char *release,
			 struct error *err)
{
	CLEANUP(freep) char *to = NULL;

	int r = kernel_stage_modules_dir(s, release, &to, err);
	return r < 0 ? r : tree_copy(modules_dir, to, err);
}

static int check_name(const char *name, const char *path, struct error *err)
{
	if (!name[0])
		return error_set_usage(
		    err, -EINVAL, "kernel '%s': does not tell its release: give it a name", path);
	if (!kernel_stage_is_name(name))
		return error_set_usage(
		    err, -EINVAL,
		    "kernel name '%s': may have letters, digits and \"._+~-\" only, a letter or "
		    "digit first",
		    name);
	return 0;
}

int kernel_cache_add(const char *cache_dir, const char *path, const char *modules_dir,
		     const char *name, struct kernel_entry *ret, struct error *err)
{
	CLEANUP(kernel_stage_fini) struct kernel_stage s = KERNEL_STAGE_INIT;
	struct kernel_image image = KERNEL_IMAGE_INIT;
	char release[KERNEL_RELEASE_MAX] = "";

	int r = probe(cache_dir, path, &image, err);
	if (r < 0)
		return r;
	name = name ? name : image.release;
	r = check_name(name, path, err);
	if (r == 0 && modules_dir)
		r = modules_release(modules_dir, image.release, release, err);
	if (r == 0)
		r = kernel_stage_open(&s, cache_dir, -1, err);
	if (r < 0)
		return r;
	CLEANUP(freep)
	char *to =
	    xasprintf("%s/%s", s.entry, image.kind == KERNEL_BZIMAGE ? "vmlinuz" : "vmlinux");
	r = tree_copy_file(path, to, 0444, err);
	if (r == 0 && modules_dir)
		r = stage_modules(&s, modules_dir, release, err);
	if (r < 0)
		return r;
	CLEANUP(freep) char *absolute = realpath(path, NULL);
	CLEANUP(freep) char *source = xasprintf("file %s", absolute ? absolute : path);
	return kernel_stage_commit(&s, name, modules_dir ? release : NULL, source, ret, err);
}
