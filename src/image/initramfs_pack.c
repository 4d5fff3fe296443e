#include "image/initramfs_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "image/cpio.h"

enum { PAGE = 4096, CHUNK = 256 * 1024 };

static int hash_node(const struct guest_node *n, void *ctx)
{
	struct hash *h = ctx;
	uint64_t numbers[] = { n->mode, n->size, n->rdev, n->host != NULL, n->text != NULL };

	hash_update_str(h, n->path);
	hash_update(h, numbers, sizeof(numbers));
	if (n->host) {
		hash_update_str(h, n->host);
		hash_update(h, &n->stamp, sizeof(n->stamp));
	} else if (n->text) {
		hash_update(h, n->text, n->size);
	}
	return 0;
}

void initramfs_pack_key(const struct guest_tree *tree, char text[static HASH_TEXT_MAX])
{
	struct hash *h = hash_new();

	hash_update_str(
	    h, "ktstr initramfs base 1"); /* to be counted up with every change of the format */
	(void)guest_tree_walk(tree, hash_node, h);
	hash_format(h, text);
	(void)hash_free(h);
}

static int add_len(const struct guest_node *n, void *ctx)
{
	uint64_t *sum = ctx;

	if (S_ISREG(n->mode))
		*sum += num_align_up(n->size, PAGE);
	return 0;
}

uint64_t initramfs_pack_unpacked_len(const struct guest_tree *tree)
{
	uint64_t sum = 0;

	(void)guest_tree_walk(tree, add_len, &sum);
	return sum;
}

struct packer {
	struct cpio cpio;
	struct error *err;
	uint8_t *chunk;
};

static int cannot_read(struct error *err, const char *path)
{
	return error_set_usage_errno(err, errno, "cannot read '%s'", path);
}

static int check_stamp(const struct guest_node *n, int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return cannot_read(err, n->host);
	struct file_stamp now = file_stamp_of(&st);
	if (!file_stamp_is_same(&now, &n->stamp))
		return error_set_usage(err, -ESTALE, "'%s' changed while it was packed: run again",
				       n->host);
	return 0;
}

static int pack_host_file(struct packer *p, const struct guest_node *n)
{
	CLEANUP(fd_closep) int fd = open(n->host, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return cannot_read(p->err, n->host);
	if (check_stamp(n, fd, p->err) < 0)
		return p->err->code;
	for (uint64_t left = n->size; left;) {
		size_t take = num_min(left, CHUNK);
		int r = fd_read_exact(fd, p->chunk, take);
		if (r < 0) {
			errno = -r;
			return cannot_read(p->err, n->host);
		}
		if (cpio_write(&p->cpio, p->chunk, take, p->err) < 0)
			return p->err->code;
		left -= take;
	}
	return check_stamp(n, fd, p->err);
}

static int pack_node(const struct guest_node *n, void *ctx)
{
	struct packer *p = ctx;
	struct cpio_entry e = {
		.path = n->path, .mode = n->mode, .rdev = n->rdev, .size = n->size
	};

	if (cpio_open_entry(&p->cpio, &e, p->err) < 0)
		return p->err->code;
	if (n->text)
		return n->size ? cpio_write(&p->cpio, n->text, n->size, p->err) : 0;
	return n->host ? pack_host_file(p, n) : 0;
}

int initramfs_pack(const struct guest_tree *tree, int fd, uint64_t *ret_len, struct error *err)
{
	CLEANUP(lz4_legacy_fini) struct lz4_legacy z = { 0 };
	CLEANUP(freep) uint8_t *chunk = xmalloc(CHUNK);
	struct packer p = { .err = err, .chunk = chunk };

	if (lz4_legacy_init(&z, fd, NULL, err) < 0)
		return err->code;
	cpio_init(&p.cpio, &z);
	if (guest_tree_walk(tree, pack_node, &p) < 0 || cpio_finish(&p.cpio, err) < 0 ||
	    lz4_legacy_finish(&z, INITRAMFS_ALIGN, err) < 0)
		return err->code;
	*ret_len = z.len;
	return 0;
}
