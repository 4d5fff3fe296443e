#include "image/disk_template.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/num.h"
#include "image/cache_folder.h"
#include "image/program.h"
#include "image/tool.h"

/* The same for every disk, so that directories hash alike: no two of them are in one VM. */
#define UUID          "6b747374-7264-4973-8b00-000000000001"
#define EXT4_EXTENDED ("lazy_journal_init=1,root_owner=0:0,hash_seed=" UUID)

enum { TEMPLATES_MAX = 16, OPTIONS_MAX = 16, MAGIC_MAX = 8 };

/*
 * How each is made. Blocks of 4 KiB also on small disks, as direct I/O on the host likes them; and
 * nothing is left for the guest's kernel to do in the background, which would disturb what a test
 * measures: the file is a hole, so that inode tables and journal are zero as they are.
 */
static const struct maker {
	const char *name, *tool, *package;
	const char *config; /* of the tool; NULL: none */
	uint64_t min_bytes;
	uint64_t magic_offset;
	const char magic[MAGIC_MAX + 1];
	const char *options[OPTIONS_MAX];
} makers[] = {
	[DISK_FS_EXT4] = { .name = "ext4",
			   .tool = "mke2fs",
			   .package = "e2fsprogs",
			   .config = "/etc/mke2fs.conf",
			   .min_bytes = 16 * MIB,
			   .magic_offset = 1024 + 56,
			   .magic = "\x53\xef",
			   .options = { "-q", "-F", "-t", "ext4", "-b", "4096", "-U", UUID, "-E",
					EXT4_EXTENDED } },
	[DISK_FS_BTRFS] = { .name = "btrfs",
			    .tool = "mkfs.btrfs",
			    .package = "btrfs-progs",
			    .min_bytes = 128 * MIB,
			    .magic_offset = 65536 + 64,
			    .magic = "_BHRfS_M",
			    .options = { "-q", "-f" } }, /* its UUID must be new on this host */
};

const char *disk_fs_name(enum disk_fs fs)
{
	return makers[fs].name;
}

enum disk_fs disk_fs_find(const char *name, size_t n)
{
	for (enum disk_fs fs = DISK_FS_EXT4; fs <= DISK_FS_BTRFS; fs++)
		if (strlen(makers[fs].name) == n && memcmp(makers[fs].name, name, n) == 0)
			return fs;
	return DISK_FS_NONE;
}

uint64_t disk_fs_min_bytes(enum disk_fs fs)
{
	return makers[fs].min_bytes;
}

/* The template under way. */
struct template
{
	const struct maker *maker;
	uint64_t bytes;
	char *tool; /* path */
	char *dir;
	char *path;
};

static void template_fini(struct template *t)
{
	freep(&t->tool);
	freep(&t->dir);
	freep(&t->path);
}

/* Also digests the places where a tool would be found first, should one appear there. */
static int find_tool(struct template *t, const char *search, char digest[static HASH_TEXT_MAX],
		     struct error *err)
{
	CLEANUP(stamps_fini) struct stamps stamps = { 0 };

	t->tool = program_find(&stamps, search, t->maker->tool);
	if (!t->tool) {
		(void)error_set_text(err, -ENOENT,
				     "fs=%s needs %s, which is not on this host: install the "
				     "package %s",
				     t->maker->name, t->maker->tool, t->maker->package);
		return error_classify(err, ERROR_SKIP);
	}
	if (t->maker->config)
		stamps_add(&stamps, t->maker->config, true);
	stamps_digest(stamps.paths.data, stamps.paths.len, digest, NULL);
	return 0;
}

static void find_path(struct template *t, const char *digest)
{
	char key[HASH_TEXT_MAX];
	struct hash *h = hash_new();

	hash_update_str(h, digest);
	for (size_t i = 0; t->maker->options[i]; i++)
		hash_update_str(h, t->maker->options[i]);
	hash_format(h, key);
	(void)hash_free(h);
	t->path = xasprintf("%s/%s-%" PRIu64 "-%s.raw", t->dir, t->maker->name, t->bytes, key);
}

/* @path if it is of the right size and has its file system in it, or -1. */
static int open_good(const struct template *t, const char *path)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char magic[MAGIC_MAX];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != t->bytes)
		return -1;
	size_t n = strlen(t->maker->magic);
	if (fd_pread_exact(fd, magic, n, t->maker->magic_offset) < 0 ||
	    memcmp(magic, t->maker->magic, n) != 0)
		return -1;
	return TAKE_FD(fd);
}

static int format(const struct template *t, const char *path, struct error *err)
{
	const char *argv[OPTIONS_MAX + 2] = { t->tool };
	size_t n = 1;

	for (size_t i = 0; t->maker->options[i]; i++)
		argv[n++] = t->maker->options[i];
	argv[n] = path;
	return tool_run(argv, NULL, NULL, err);
}

static int make_entry(const struct template *t, int *ret_fd, struct error *err)
{
	CLEANUP(file_new_fini) struct file_new f = FILE_NEW_INIT;
	CLEANUP(fd_closep) int fd = -1;

	if (file_new_open(&f, t->path, err) < 0)
		return err->code;
	if (ftruncate(f.fd, (off_t)t->bytes) < 0)
		return error_set(err, errno, "cannot make a file of %" PRIu64 " MiB in '%s'",
				 t->bytes / MIB, t->dir);
	if (format(t, f.temp, err) < 0)
		return err->code;
	fd = open_good(t, f.temp);
	if (fd < 0)
		return error_set_text(err, -EIO, "%s said nothing, and made no %s", t->tool,
				      t->maker->name);
	/* A power loss must not leave zeros under a name that says otherwise. */
	if (fdatasync(f.fd) < 0)
		return error_set(err, errno, "cannot write '%s'", t->path);
	if (file_new_commit(&f, 0444, err) < 0)
		return err->code;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int make_and_open(const struct template *t, int *ret_fd, struct error *err)
{
	CLEANUP(fd_closep) int lock = cache_folder_lock(t->dir);

	*ret_fd = open_good(t, t->path); /* made by another process meanwhile? */
	if (*ret_fd >= 0)
		return 0;
	if (lock >= 0)
		cache_folder_sweep(t->dir, ".raw", TEMPLATES_MAX);
	return make_entry(t, ret_fd, err);
}

int disk_template_open(const char *cache_dir, const char *search, enum disk_fs fs, uint64_t bytes,
		       int *ret_fd, struct error *err)
{
	CLEANUP(template_fini) struct template t = { .maker = &makers[fs], .bytes = bytes };
	char digest[HASH_TEXT_MAX];

	ASSERT(fs != DISK_FS_NONE && bytes >= t.maker->min_bytes);
	t.dir = xasprintf("%s/disks", cache_dir);
	if (file_make_dirs(t.dir, 0755, err) < 0 || find_tool(&t, search, digest, err) < 0)
		return err->code;
	find_path(&t, digest);
	*ret_fd = open_good(&t, t.path);
	return *ret_fd >= 0 ? 0 : make_and_open(&t, ret_fd, err);
}
