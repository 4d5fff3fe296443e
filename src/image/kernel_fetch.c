/*
 * Kernels from the distribution's archive, by its own tools, which check signatures and know mirrors:
 *
 *	resolve    "6.12" -> apt-cache search -> newest linux-image-6.12*-cloud-amd64; a meta package ->
 *	           what it depends on
 *	identify   apt-get download --print-uris -> file name, so version; in the cache already: done
 *	download   apt-get download, in the stage's folder
 *	unpack     dpkg-deb -x, then vmlinuz and modules to their places
 *	commit     depmod, rename
 *
 * The default is 6.12: virtio and its console are built in there, so the fewest modules stand between
 * start and test.
 */
#include "image/kernel_cache.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/num.h"
#include "image/kernel_image.h"
#include "image/kernel_release.h"
#include "image/kernel_stage.h"
#include "image/tool.h"
#include "image/tree.h"

#define DEFAULT_SERIES  "6.12"
#define DEFAULT_PACKAGE "linux-image-cloud-amd64"
#define PACKAGE_PREFIX  "linux-image-"
#define CLOUD_SUFFIX    "-cloud-amd64"

enum { PACKAGE_MAX = 128, META_DEPTH_MAX = 4 };

struct fetch {
	struct kernel_stage stage;
	const char *cache_dir;
	int progress_fd;
	char package[PACKAGE_MAX];
	char version[PACKAGE_MAX];
	char release[KERNEL_RELEASE_MAX];
	bool has_modules;
};

static void progress(const struct fetch *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void progress(const struct fetch *f, const char *fmt, ...)
{
	va_list ap;

	if (f->progress_fd < 0)
		return;
	va_start(ap, fmt);
	(void)vdprintf(f->progress_fd, fmt,
		       ap); /* a reader that went away does not stop the work */
	va_end(ap);
}

static int run_apt(const char *const *argv, const char *cwd, struct buf *out, struct error *err)
{
	int r = tool_run(argv, cwd, out, err);

	if (r != -ENOENT)
		return r;
	(void)error_set_text(err, -ENOENT,
			     "no %s on this host: fetching kernels needs Debian or a relative; "
			     "elsewhere use 'ktstr kernel "
			     "add PATH' or --kernel PATH",
			     argv[0]);
	return error_classify(err, ERROR_SKIP);
}

/* A Debian package name: nothing that apt could take for an option, a path, a pattern or a version.
 */
static bool is_package_name(const char *s)
{
	size_t len = strlen(s);

	return len < PACKAGE_MAX && strncmp(s, PACKAGE_PREFIX, strlen(PACKAGE_PREFIX)) == 0 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.+-") == len;
}

/* "6.12" */
static bool is_series(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len < 16 && s[0] != '.' && s[len - 1] != '.' &&
	       strspn(s, "0123456789.") == len;
}

/* Whether @package is a kernel of @series itself, not a meta package: its version goes on behind
 * the series. */
static bool is_of_series(const char *package, const char *series)
{
	const char *version = package + strlen(PACKAGE_PREFIX);
	size_t n = strlen(series);

	return is_package_name(package) && strncmp(version, series, n) == 0 && version[n] &&
	       strchr(".-+~", version[n]) && strcmp(version + n, CLOUD_SUFFIX) != 0;
}

/* The newest kernel of @series in apt's lists; an empty f->package if there is none. */
static int search_series(struct fetch *f, const char *series, struct error *err)
{
	CLEANUP(freep)
	char *pattern = xasprintf("^" PACKAGE_PREFIX "%s.*" CLOUD_SUFFIX "$", series);
	const char *argv[] = { "apt-cache", "search", "--names-only", pattern, NULL };
	CLEANUP(buf_fini) struct buf out = { 0 };

	int r = run_apt(argv, NULL, &out, err);
	if (r < 0)
		return r;
	char *rest = NULL;
	(void)buf_str(&out); /* puts the NUL behind it */
	for (char *line = strtok_r((char *)out.data, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		line[strcspn(line, " ")] = 0;
		if (!is_of_series(line, series))
			continue;
		if (!f->package[0] ||
		    kernel_release_compare(line + strlen(PACKAGE_PREFIX),
					   f->package + strlen(PACKAGE_PREFIX)) > 0)
			(void)snprintf(f->package, sizeof(f->package), "%s", line);
	}
	return 0;
}

static int unknown_package(const char *what, struct error *err)
{
	return error_set_usage(err, -ENOENT,
			       "apt knows no kernel package for '%s'; run 'apt-get update' as "
			       "root, or see 'apt-cache search "
			       "linux-image'",
			       what);
}

/* The package that a meta package stands for; a real one depends on no other kernel and stays. */
static int follow_meta(struct fetch *f, struct error *err)
{
	static const char depends[] = "Depends: " PACKAGE_PREFIX;

	for (int depth = 0; depth < META_DEPTH_MAX; depth++) {
		const char *argv[] = { "apt-cache", "depends", "--important", f->package, NULL };
		CLEANUP(buf_fini) struct buf out = { 0 };
		int r = run_apt(argv, NULL, &out, err);
		if (r == -ECHILD)
			return unknown_package(f->package, err);
		if (r < 0)
			return r;
		const char *next = strstr(buf_str(&out), depends);
		if (!next)
			return 0;
		next += strlen("Depends: ");
		CLEANUP(freep) char *name = xasprintf("%.*s", (int)strcspn(next, " \n"), next);
		if (!is_package_name(name) || strcmp(name, f->package) == 0)
			return error_set_text(err, -EIO, "apt: package '%s' depends on '%s'",
					      f->package, name);
		(void)snprintf(f->package, sizeof(f->package), "%s", name);
	}
	return error_set_text(err, -ELOOP, "apt: package '%s' leads to no kernel", f->package);
}

static int resolve(struct fetch *f, const char *what, struct error *err)
{
	int r = 0;

	if (what && !is_series(what) && !is_package_name(what))
		return error_set_usage(
		    err, -EINVAL,
		    "'%s' is neither a kernel series like '6.12' nor a package 'linux-image-...'",
		    what);
	if (what && is_package_name(what))
		(void)snprintf(f->package, sizeof(f->package), "%s", what);
	else
		r = search_series(f, what ? what : DEFAULT_SERIES, err);
	if (r < 0)
		return r;
	if (!f->package[0] && what)
		return unknown_package(what, err);
	if (!f->package[0])
		(void)snprintf(f->package, sizeof(f->package), "%s", DEFAULT_PACKAGE);
	return follow_meta(f, err);
}

/* "'URL' NAME_VERSION_ARCH.deb SIZE HASH": takes VERSION. */
static int identify(struct fetch *f, struct error *err)
{
	const char *argv[] = { "apt-get", "download", "--print-uris", "-qq", f->package, NULL };
	CLEANUP(buf_fini) struct buf out = { 0 };
	char version[PACKAGE_MAX];
	char size[21];
	uint64_t bytes;

	int r = run_apt(argv, NULL, &out, err);
	if (r == -ECHILD)
		return unknown_package(f->package, err);
	if (r < 0)
		return r;
	if (sscanf(buf_str(&out), "%*s %*[^_]_%127[^_]_%*s %20s", version, size) != 2)
		return error_set_text(
		    err, -EIO, "apt-get download: cannot read what it says of '%s'", f->package);
	r = num_parse_u64("apt-get download: size", size, 1, INT64_MAX, &bytes, err);
	if (r < 0)
		return error_classify(err, ERROR_INFRA);
	memcpy(f->version, version, sizeof(version));
	progress(f, "%s %s, %" PRIu64 " MiB\n", f->package, f->version, (bytes + MIB - 1) / MIB);
	return 0;
}

static char *source_of(const struct fetch *f)
{
	return xasprintf("apt %s %s", f->package, f->version);
}

/* 1 and @ret where the cache has this very package. */
static int find_cached(const struct fetch *f, struct kernel_entry *ret, struct error *err)
{
	CLEANUP(freep) char *source = source_of(f);
	struct kernel_entry *entries;
	size_t n;
	int found = 0;

	int r = kernel_cache_list(f->cache_dir, &entries, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (!found && entries[i].source && strcmp(entries[i].source, source) == 0) {
			*ret = entries[i];
			found = 1;
		} else {
			kernel_entry_fini(&entries[i]);
		}
	}
	freep(&entries);
	return found;
}

/* The one file of @dir whose name starts and ends so; the caller frees it, NULL where there is
 * none. */
static char *find_file(const char *dir, const char *prefix, const char *suffix)
{
	DIR *d = opendir(dir);
	char *ret = NULL;

	if (!d)
		return NULL;
	for (struct dirent *de; !ret && (de = readdir(d));) { /* NOLINT(concurrency-mt-unsafe) */
		size_t len = strlen(de->d_name);
		if (len >= strlen(prefix) + strlen(suffix) &&
		    strncmp(de->d_name, prefix, strlen(prefix)) == 0 &&
		    strcmp(de->d_name + len - strlen(suffix), suffix) == 0)
			ret = xstrdup(de->d_name);
	}
	(void)closedir(d);
	return ret;
}

static int download(const struct fetch *f, struct error *err)
{
	const char *get[] = { "apt-get",  "download", "-qq", "-o", "Acquire::Retries=3",
			      f->package, NULL };
	const char *unpack[] = { "dpkg-deb", "-x", NULL, "tree", NULL };

	progress(f, "downloading\n");
	int r = run_apt(get, f->stage.temp, NULL, err);
	if (r == -ECHILD)
		return error_prefix(
		    err, "cannot download '%s' (if apt's lists are old, run 'apt-get update')",
		    f->package);
	if (r < 0)
		return r;
	CLEANUP(freep) char *deb = find_file(f->stage.temp, PACKAGE_PREFIX, ".deb");
	if (!deb)
		return error_set_text(err, -EIO, "apt-get download left no package '%s'",
				      f->package);
	unpack[2] = deb;
	progress(f, "unpacking\n");
	r = run_apt(unpack, f->stage.temp, NULL, err);
	return r < 0 ? error_prefix(err, "cannot unpack '%s'", deb) : 0;
}

static int take_modules(struct fetch *f, struct error *err)
{
	static const char *const places[] = { "lib/modules", "usr/lib/modules" };
	CLEANUP(freep) char *to = NULL;
	struct stat st;

	int r = kernel_stage_modules_dir(&f->stage, f->release, &to, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		CLEANUP(freep)
		char *from = xasprintf("%s/tree/%s/%s", f->stage.temp, places[i], f->release);
		if (stat(from, &st) < 0)
			continue;
		f->has_modules = true;
		return rename(from, to) < 0 ? error_set(err, errno, "cannot move '%s'", from) : 0;
	}
	progress(f, "the package has no modules\n");
	return 0;
}

static int check_kernel(const struct fetch *f, const char *path, struct error *err)
{
	const struct kernel_image_config config = { .path = path,
						    .cache_dir = f->cache_dir,
						    .as_is = true };
	struct kernel_image image = KERNEL_IMAGE_INIT;

	int r = kernel_image_open(&config, &image, err);
	kernel_image_fini(&image);
	return r;
}

/* From the unpacked package to the entry's layout. */
static int arrange(struct fetch *f, struct error *err)
{
	CLEANUP(freep) char *boot = xasprintf("%s/tree/boot", f->stage.temp);
	CLEANUP(freep) char *file = find_file(boot, "vmlinuz-", "");

	if (!file)
		return error_set_usage(err, -ENOENT, "package '%s' has no boot/vmlinuz-*",
				       f->package);
	const char *release = file + strlen("vmlinuz-");
	kernel_release_parse(release, strlen(release), f->release);
	if (!f->release[0])
		return error_set_text(err, -EIO, "package '%s': odd kernel name '%s'", f->package,
				      file);
	CLEANUP(freep) char *from = xasprintf("%s/%s", boot, file);
	CLEANUP(freep) char *to = xasprintf("%s/vmlinuz", f->stage.entry);
	int r = check_kernel(f, from, err);
	if (r < 0)
		return r;
	if (rename(from, to) < 0 || chmod(to, 0444) < 0)
		return error_set(err, errno, "cannot move '%s'", from);
	return take_modules(f, err);
}

static int fetch_package(struct fetch *f, struct kernel_entry *ret, struct error *err)
{
	CLEANUP(freep) char *source = source_of(f);

	int r = download(f, err);
	if (r == 0)
		r = arrange(f, err);
	if (r < 0)
		return r;
	if (f->has_modules)
		progress(f, "indexing modules\n");
	r = kernel_stage_commit(&f->stage, f->release, f->has_modules ? f->release : NULL, source,
				ret, err);
	if (r == 0)
		progress(f, "kernel %s is in the cache\n", ret->name);
	return r;
}

static void fetch_fini(struct fetch *f)
{
	kernel_stage_fini(&f->stage);
}

int kernel_cache_fetch(const char *cache_dir, const char *what, int progress_fd,
		       struct kernel_entry *ret, struct error *err)
{
	CLEANUP(fetch_fini)
	struct fetch f = {
		.stage = KERNEL_STAGE_INIT,
		.cache_dir = cache_dir,
		.progress_fd = progress_fd,
	};

	int r = resolve(&f, what, err);
	if (r == 0)
		r = identify(&f, err);
	/* The lock comes before the look into the cache, so that of two fetches the second finds
	 * the first's. */
	if (r == 0)
		r = kernel_stage_open(&f.stage, cache_dir, progress_fd, err);
	if (r < 0)
		return r;
	r = find_cached(&f, ret, err);
	if (r > 0)
		progress(&f, "kernel %s is in the cache already\n", ret->name);
	if (r != 0)
		return r < 0 ? r : 0;
	return fetch_package(&f, ret, err);
}
