#include "image/cpio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/assert.h"
#include "base/num.h"

enum { HEADER_LEN = 110, ALIGN = 4 };

void cpio_init(struct cpio *c, struct lz4_legacy *out)
{
	*c = (struct cpio){ .out = out, .next_ino = 1 };
}

static int put(struct cpio *c, const void *data, size_t n, struct error *err)
{
	c->len += n;
	return lz4_legacy_write(c->out, data, n, err);
}

static int pad(struct cpio *c, struct error *err)
{
	static const uint8_t zeros[ALIGN];

	return put(c, zeros, num_align_up(c->len, ALIGN) - c->len, err);
}

static int put_header(struct cpio *c, const char *name, const struct cpio_entry *e, uint32_t ino,
		      struct error *err)
{
	char text[HEADER_LEN + 1];
	size_t name_len = strlen(name) + 1;
	uint32_t n_links = S_ISDIR(e->mode) ? 2 : 1;

	/* ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check */
	int n = snprintf(text, sizeof(text),
			 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ino, e->mode,
			 0u, 0u, n_links, 0u, (uint32_t)e->size, 0u, 0u, major(e->rdev),
			 minor(e->rdev), (uint32_t)name_len, 0u);
	ASSERT(n == HEADER_LEN);
	if (put(c, text, HEADER_LEN, err) < 0 || put(c, name, name_len, err) < 0)
		return err->code;
	return pad(c, err);
}

int cpio_open_entry(struct cpio *c, const struct cpio_entry *e, struct error *err)
{
	ASSERT(c->data_left == 0);
	ASSERT(e->path[0] == '/' && e->path[1]);
	if (e->size > UINT32_MAX)
		return error_set_usage(err, -EFBIG,
				       "'%s': %" PRIu64
				       " bytes do not fit an initramfs (limit 4 GiB - 1)",
				       e->path, e->size);
	c->data_left = e->size;
	return put_header(c, e->path + 1, e, c->next_ino++, err);
}

int cpio_write(struct cpio *c, const void *data, size_t n, struct error *err)
{
	ASSERT(n <= c->data_left);
	c->data_left -= n;
	if (put(c, data, n, err) < 0)
		return err->code;
	return c->data_left ? 0 : pad(c, err);
}

int cpio_finish(struct cpio *c, struct error *err)
{
	static const struct cpio_entry trailer = { .mode = 0 };

	ASSERT(c->data_left == 0);
	return put_header(c, "TRAILER!!!", &trailer, 0, err);
}
