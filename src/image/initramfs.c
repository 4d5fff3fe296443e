/*
 * A request becomes an initramfs in these steps; a cache hit ends after the first:
 *
 *	find       the plan of an equal request whose files are all as they were
 *	resolve    host files -> guest_tree: skeleton, includes, command, then what those need, then
 *	           modules
 *	lock       one builder at a time
 *	pack       unless an equal base is there already
 *	add plan   for the next time
 */
#include "image/initramfs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/num.h"
#include "image/command.h"
#include "image/cpio.h"
#include "image/include.h"
#include "image/initramfs_cache.h"
#include "image/initramfs_pack.h"
#include "image/modules.h"
#include "image/skeleton.h"

#define LD_CACHE_PATH "/etc/ld.so.cache"

enum { LD_CACHE_MAX = 64 << 20 };
/* Within this time of a change a file may change again without a new time stamp: the kernel's clock
 * tick, doubled. */
#define SETTLE_NS ((int64_t)(20 * NS_PER_MS))

void initramfs_fini(struct initramfs *r)
{
	fd_closep(&r->base_fd);
	freep(&r->suffix);
	freep(&r->exec);
	freep(&r->modules);
	*r = INITRAMFS_INIT;
}

static const char *host_search(void)
{
	const char *path = getenv("PATH"); /* NOLINT(concurrency-mt-unsafe): set-up, one thread */

	return path ? path : "/usr/local/bin:/usr/bin:/bin";
}

/* ---- the request ---- */

static void hash_text(struct hash *h, const char *s)
{
	uint8_t is_there = s != NULL;

	hash_update(h, &is_there, 1);
	hash_update_str(h, s ? s : "");
}

/* All that decides about the base, as the user gave it. Arguments and config records go into the
 * suffix. */
static int request_key(const struct initramfs_config *config, char text[static HASH_TEXT_MAX],
		       struct error *err)
{
	char cwd[PATH_MAX];

	if (!getcwd(cwd, sizeof(cwd)))
		return error_set(err, errno, "working folder");
	struct hash *h = hash_new();
	hash_text(h, "ktstr initramfs request 1");
	hash_text(h, cwd);
	hash_text(h, host_search());
	hash_text(h, config->init_path);
	hash_text(h, config->busybox_path);
	hash_text(h, config->command[0]);
	hash_update(h, &config->n_includes, sizeof(config->n_includes));
	for (size_t i = 0; i < config->n_includes; i++)
		hash_text(h, config->includes[i]);
	if (config->need_modules) {
		hash_text(h, config->kernel_release);
		hash_text(h, config->modules_dir);
		for (size_t i = 0; config->modules && config->modules[i]; i++)
			hash_text(h, config->modules[i]);
	}
	hash_format(h, text);
	(void)hash_free(h);
	return 0;
}

/* ---- resolving ---- */

static int load_ld_cache(struct stamps *stamps, struct ld_cache *ret, struct error *err)
{
	CLEANUP(buf_fini) struct buf data = { 0 };

	stamps_add(stamps, LD_CACHE_PATH, true);
	/* Hosts with another loader have none. */
	if (file_read(LD_CACHE_PATH, LD_CACHE_MAX, &data, err) < 0 && err->code != -ENOENT)
		return err->code;
	ld_cache_init(ret, &data);
	return 0;
}

static int add_needs(struct guest_tree *tree, struct program_list *programs, struct error *err)
{
	CLEANUP(ld_cache_fini) struct ld_cache cache = { 0 };
	struct elf_closure closure = { .tree = tree, .cache = &cache };

	if (load_ld_cache(&tree->stamps, &cache, err) < 0 ||
	    program_list_resolve(programs, &closure, host_search(), err) < 0)
		return err->code;
	if (!closure.used_cache)
		return 0;
	return guest_tree_add_mirrored(tree, LD_CACHE_PATH, GUEST_RANK_FOUND, NULL, err);
}

static int add_modules(const struct initramfs_config *config, struct guest_tree *tree,
		       struct buf *records, struct error *err)
{
	if (!config->need_modules || !config->modules || !config->modules[0])
		return 0;
	if (config->modules_dir)
		return modules_add(tree, config->modules_dir, config->kernel_release,
				   config->modules, records, err);
	if (!config->kernel_release[0])
		return 0;
	CLEANUP(freep) char *dir = xasprintf("/lib/modules/%s", config->kernel_release);
	if (modules_add(tree, dir, config->kernel_release, config->modules, records, err) < 0) {
		if (err->code != -ENOENT || access(dir, F_OK) == 0)
			return err->code;
		return error_set_usage(
		    err, -ENOENT,
		    "no modules for kernel %s ('%s' does not exist): give their folder "
		    "with --modules",
		    config->kernel_release, dir);
	}
	return 0;
}

static int resolve(const struct initramfs_config *config, struct guest_tree *tree,
		   struct initramfs_plan *plan, struct error *err)
{
	CLEANUP(program_list_fini) struct program_list programs = { 0 };

	if (skeleton_add(tree, config->init_path, config->busybox_path, err) < 0)
		return err->code;
	for (size_t i = 0; i < config->n_includes; i++) {
		if (include_add(tree, &programs, config->includes[i], err) < 0)
			return err->code;
	}
	if (command_resolve(tree, &programs, config->command[0], host_search(), &plan->exec, err) <
		0 ||
	    add_needs(tree, &programs, err) < 0 ||
	    add_modules(config, tree, &plan->modules, err) < 0)
		return err->code;
	plan->unpacked_len = initramfs_pack_unpacked_len(tree);
	initramfs_pack_key(tree, plan->base);
	return 0;
}

static int check_unpacked(const struct initramfs_config *config, const struct initramfs_plan *plan,
			  struct error *err)
{
	if (!config->unpacked_max || plan->unpacked_len <= config->unpacked_max)
		return 0;
	return error_set_usage(err, -EFBIG,
			       "the guest's files take %" PRIu64 " MiB, its memory has %" PRIu64
			       " MiB: give it more, or include less",
			       num_align_up(plan->unpacked_len, MIB) / MIB,
			       config->unpacked_max / MIB);
}

static int64_t realtime_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail for this clock */
	return (int64_t)ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

/*
 * Whether the stamps identify the content: no file was changed from a moment before @start on. One
 * that was written right now, say by a compiler, could change once more without a trace in its
 * times.
 */
static bool is_settled(int64_t newest_ns, int64_t start_ns)
{
	/* Times in the future say nothing: another machine's clock. */
	return newest_ns < start_ns - SETTLE_NS || newest_ns > realtime_ns() + SETTLE_NS;
}

/* ---- putting it together ---- */

static void add_record(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, "%s%s", key, value);
	buf_append(b, "", 1);
}

/* The second stream: GUEST_CONFIG_PATH alone. Its folder is the base's. */
int initramfs_make_suffix(const struct initramfs *base, char *const *command,
			  const char *const *config, uint8_t **ret, size_t *ret_len,
			  struct error *err)
{
	CLEANUP(lz4_legacy_fini) struct lz4_legacy z = { 0 };
	CLEANUP(buf_fini) struct buf records = { 0 };
	CLEANUP(buf_fini) struct buf out = { 0 };
	struct cpio cpio;

	add_record(&records, "exec=", base->exec);
	for (size_t i = 0; command[i]; i++)
		add_record(&records, "arg=", command[i]);
	buf_append(&records, base->modules, base->modules_len);
	for (size_t i = 0; config && config[i]; i++)
		add_record(&records, "", config[i]);

	struct cpio_entry e = { .path = GUEST_CONFIG_PATH,
				.mode = S_IFREG | 0600,
				.size = records.len };
	if (lz4_legacy_init(&z, -1, &out, err) < 0)
		return err->code;
	cpio_init(&cpio, &z);
	if (cpio_open_entry(&cpio, &e, err) < 0 ||
	    cpio_write(&cpio, records.data, records.len, err) < 0 || cpio_finish(&cpio, err) < 0 ||
	    lz4_legacy_finish(&z, 4, err) < 0)
		return err->code;
	*ret_len = out.len;
	*ret = TAKE_PTR(out.data);
	return 0;
}

/* Everything but the hit: takes a while, and the lock. */
static int build_base(const struct initramfs_config *config, struct initramfs_cache *cache,
		      const char *key, struct initramfs_plan *plan, int *ret_fd, struct error *err)
{
	CLEANUP(guest_tree_fini) struct guest_tree tree = { 0 };
	CLEANUP(fd_closep) int fd = -1;
	char digest[HASH_TEXT_MAX];
	int64_t start = realtime_ns(), newest;

	/* The size before the disk is filled with what could not be used. */
	if (resolve(config, &tree, plan, err) < 0 || check_unpacked(config, plan, err) < 0)
		return err->code;
	stamps_digest(tree.stamps.paths.data, tree.stamps.paths.len, digest, &newest);
	if (initramfs_cache_lock(cache, err) < 0)
		return err->code;
	if (!is_settled(newest, start)) {
		log_debug("initramfs: an input changed just now, so this one is not kept");
		return initramfs_cache_pack_unkept(cache, &tree, plan, ret_fd, err);
	}
	/* Another request may have come to the same files, or another process was first. */
	fd = initramfs_cache_open_base(cache, plan->base, &plan->base_len);
	if (fd < 0 && initramfs_cache_add_base(cache, &tree, plan, &fd, err) < 0)
		return err->code;
	if (initramfs_cache_add_plan(cache, key, plan, &tree.stamps.paths, digest, err) < 0)
		return err->code;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int initramfs_build(const struct initramfs_config *config, struct initramfs *ret, struct error *err)
{
	CLEANUP(initramfs_cache_fini) struct initramfs_cache cache = INITRAMFS_CACHE_INIT;
	CLEANUP(initramfs_plan_fini) struct initramfs_plan plan = { 0 };
	CLEANUP(initramfs_fini) struct initramfs r = INITRAMFS_INIT;
	char key[HASH_TEXT_MAX];

	if (!config->command || !config->command[0])
		return error_set_usage(err, -EINVAL, "no command to run in the guest");
	if (request_key(config, key, err) < 0 ||
	    initramfs_cache_init(&cache, config->cache_dir, err) < 0)
		return err->code;
	r.base_fd = initramfs_cache_find(&cache, key, &plan);
	int res = r.base_fd >= 0 ? check_unpacked(config, &plan, err)
				 : build_base(config, &cache, key, &plan, &r.base_fd, err);
	if (res < 0)
		return res;
	r.base_len = plan.base_len;
	r.unpacked_len = plan.unpacked_len;
	r.exec = TAKE_PTR(plan.exec);
	r.modules_len = plan.modules.len;
	r.modules = (char *)TAKE_PTR(plan.modules.data);
	if (initramfs_make_suffix(&r, config->command, config->config, &r.suffix, &r.suffix_len,
				  err) < 0)
		return err->code;
	*ret = r;
	r = INITRAMFS_INIT;
	return 0;
}
