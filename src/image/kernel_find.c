/*
 * Which kernel a run boots: what the user names, else $KTSTR_KERNEL, else the cache's newest, else
 * the host's own. A named one that cannot be had is an error, never a reason to take the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "image/kernel_cache.h"
#include "image/kernel_image.h"

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * The module tree beside a kernel file: DIR/lib/modules/RELEASE (a build's install),
 * DIR/../lib/modules/RELEASE (boot/ and lib/ of a package or a host), or DIR itself (distributions
 * that keep vmlinuz among its modules).
 */
static char *find_modules_beside(const char *path, const char *release)
{
	CLEANUP(freep) char *dir = xstrdup(path);

	*strrchr(dir, '/') = 0; /* a path has one */
	if (!release[0])
		return NULL;
	for (int up = 0; up < 2; up++) {
		CLEANUP(freep)
		char *modules = xasprintf("%s%s/lib/modules/%s", dir, up ? "/.." : "", release);
		if (is_dir(modules))
			return TAKE_PTR(modules);
	}
	CLEANUP(freep) char *dep = xasprintf("%s/modules.dep", dir);
	return access(dep, F_OK) == 0 ? TAKE_PTR(dir) : NULL;
}

static int find_path(const char *cache_dir, const char *path, struct kernel_entry *ret,
		     struct error *err)
{
	const struct kernel_image_config config = { .path = path,
						    .cache_dir = cache_dir,
						    .as_is = true };
	struct kernel_image image = KERNEL_IMAGE_INIT;

	int r = kernel_image_open(&config, &image, err);
	if (r < 0)
		return r;
	const char *slash = strrchr(path, '/');
	*ret = (struct kernel_entry){
		.name = xstrdup(image.release[0] ? image.release
				: slash          ? slash + 1
						 : path),
		.image = xstrdup(path),
		.modules_dir = find_modules_beside(path, image.release),
		.source = xasprintf("file %s", path),
	};
	kernel_image_fini(&image);
	return 0;
}

struct entries {
	struct kernel_entry *at;
	size_t n;
};

static void entries_fini(struct entries *list)
{
	for (size_t i = 0; i < list->n; i++)
		kernel_entry_fini(&list->at[i]);
	freep(&list->at);
	list->n = 0;
}

/* Gives entry @i over to the caller; the list forgets it. */
static void entries_take(struct entries *list, size_t i, struct kernel_entry *ret)
{
	*ret = list->at[i];
	list->at[i] = (struct kernel_entry){ 0 };
}

/* How well a name fits what the user wrote, best last. */
enum fit {
	FIT_NONE,
	FIT_PREFIX,    /* "6.1" of "6.12.7" */
	FIT_COMPONENT, /* "6.1" of "6.1.0-53": the prefix ends where a part of the name does */
	FIT_WHOLE,
};

static enum fit fit_of(const char *name, const char *spec)
{
	size_t n = strlen(spec);

	if (strncmp(name, spec, n) != 0)
		return FIT_NONE;
	if (!name[n])
		return FIT_WHOLE;
	return strchr("._+~-", name[n]) ? FIT_COMPONENT : FIT_PREFIX;
}

/* "a, b" of the entries that fit at least as well as @least; the caller frees it. */
static char *names_that_fit(const struct entries *list, const char *spec, enum fit least)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	for (size_t i = 0; i < list->n; i++)
		if (fit_of(list->at[i].name, spec) >= least)
			buf_printf(&text, "%s%s", text.len ? ", " : "", list->at[i].name);
	return xstrdup(buf_str(&text));
}

static int no_such_entry(const struct entries *list, const char *cache_dir, const char *spec,
			 struct error *err)
{
	CLEANUP(freep) char *names = names_that_fit(list, "", FIT_NONE);

	if (access(spec, F_OK) == 0)
		return error_set_usage(err, -ENOENT,
				       "kernel '%s': not in the cache '%s/kernels'; for the file "
				       "of this name say './%s'",
				       spec, cache_dir, spec);
	return error_set_usage(
	    err, -ENOENT,
	    "kernel '%s': not in the cache '%s/kernels' (has: %s); give a path, or get it by "
	    "'ktstr kernel fetch' or 'ktstr kernel add'",
	    spec, cache_dir, names[0] ? names : "nothing");
}

static int find_name(const char *cache_dir, const char *spec, struct kernel_entry *ret,
		     struct error *err)
{
	CLEANUP(entries_fini) struct entries list = { 0 };
	enum fit best = FIT_NONE;
	size_t n_matches = 0;
	size_t match = 0;

	int r = kernel_cache_list(cache_dir, &list.at, &list.n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.n; i++) {
		enum fit fit = fit_of(list.at[i].name, spec);
		if (fit == FIT_NONE || fit < best)
			continue;
		n_matches = fit > best ? 1 : n_matches + 1;
		best = fit;
		match = i;
	}
	if (n_matches == 0)
		return no_such_entry(&list, cache_dir, spec, err);
	if (n_matches > 1) {
		CLEANUP(freep) char *names = names_that_fit(&list, spec, best);
		return error_set_usage(err, -EINVAL, "kernel '%s': fits several of the cache: %s",
				       spec, names);
	}
	entries_take(&list, match, ret);
	return 0;
}

static int find_spec(const char *cache_dir, const char *spec, struct kernel_entry *ret,
		     struct error *err)
{
	if (!spec[0])
		return error_set_usage(err, -EINVAL,
				       "kernel '': give a path or the name of a cache entry");
	return strchr(spec, '/') ? find_path(cache_dir, spec, ret, err)
				 : find_name(cache_dir, spec, ret, err);
}

/* The kernel that the host itself runs, where its distribution puts it. */
static int find_host(const char *cache_dir, struct kernel_entry *ret, struct error *err)
{
	struct utsname host;
	struct error why;

	if (uname(&host) < 0)
		return error_set(err, errno, "uname");
	CLEANUP(freep) char *among_modules = xasprintf("/usr/lib/modules/%s/vmlinuz", host.release);
	CLEANUP(freep) char *in_boot = xasprintf("/boot/vmlinuz-%s", host.release);
	const char *path = access(among_modules, F_OK) == 0 ? among_modules : in_boot;
	if (find_path(cache_dir, path, ret, &why) == 0)
		return 0;
	return error_set_usage(
	    err, -ENOENT,
	    "no kernel: KTSTR_KERNEL is not set, the cache '%s/kernels' is empty, and the host's "
	    "own "
	    "cannot be used (%s); run 'ktstr kernel fetch' or give --kernel PATH",
	    cache_dir, why.text);
}

int kernel_find(const char *cache_dir, const char *spec, struct kernel_entry *ret,
		struct error *err)
{
	CLEANUP(entries_fini) struct entries list = { 0 };

	if (spec)
		return find_spec(cache_dir, spec, ret, err);
	const char *from_env =
	    getenv("KTSTR_KERNEL"); /* NOLINT(concurrency-mt-unsafe): set-up, one thread */
	if (from_env && from_env[0]) {
		int r = find_spec(cache_dir, from_env, ret, err);
		return r < 0 ? error_prefix(err, "$KTSTR_KERNEL") : 0;
	}
	int r = kernel_cache_list(cache_dir, &list.at, &list.n, err);
	if (r < 0)
		return r;
	if (list.n == 0)
		return find_host(cache_dir, ret, err);
	entries_take(&list, list.n - 1, ret);
	return 0;
}
