#include "image/stamps.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

void stamps_fini(struct stamps *s)
{
	tdestroy(s->seen, free);
	s->seen = NULL;
	buf_fini(&s->paths);
}

void stamps_add(struct stamps *s, const char *path, bool follow)
{
	CLEANUP(freep) char *record = xasprintf("%c%s", follow ? 'S' : 'L', path);
	char **slot = tsearch(record, &s->seen, compare);

	/* Without memory for the node the record is merely kept twice. */
	if (slot && *slot != record)
		return;
	buf_append(&s->paths, record, strlen(record) + 1);
	if (slot)
		(void)TAKE_PTR(record);
}

static int64_t to_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * (int64_t)NS_PER_S + ts->tv_nsec;
}

struct file_stamp file_stamp_of(const struct stat *st)
{
	return (struct file_stamp){ .dev = st->st_dev,
				    .ino = st->st_ino,
				    .size = (uint64_t)st->st_size,
				    .mtime_ns = to_ns(&st->st_mtim),
				    .ctime_ns = to_ns(&st->st_ctim) };
}

bool file_stamp_is_same(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

void stamps_digest(const uint8_t *paths, size_t n, char text[static HASH_TEXT_MAX],
		   int64_t *ret_newest_ns)
{
	struct hash *h = hash_new();
	int64_t newest = INT64_MIN;

	for (size_t i = 0; i < n;) {
		const char *record = (const char *)paths + i;
		struct stat st;
		int r = record[0] == 'S' ? stat(record + 1, &st) : lstat(record + 1, &st);
		if (r < 0) {
			int code = errno;
			hash_update(h, &code, sizeof(code));
		} else {
			struct file_stamp stamp = file_stamp_of(&st);
			hash_update(h, &stamp, sizeof(stamp));
			hash_update(h, &st.st_mode, sizeof(st.st_mode));
			if (stamp.ctime_ns > newest)
				newest = stamp.ctime_ns;
		}
		i += strlen(record) + 1;
	}
	hash_format(h, text);
	(void)hash_free(h);
	if (ret_newest_ns)
		*ret_newest_ns = newest;
}
