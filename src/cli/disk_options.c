#include "cli/disk_options.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "virtio/virtio_blk.h"

#define NEW_BYTES_MIN MIB
#define NEW_BYTES_MAX (16 * TIB)
#define RATE_MAX      ((uint64_t)INT64_MAX)

enum { BURST_DEFAULT_MS = 100, BURST_MAX_MS = 60000 };

enum key {
	KEY_BPS,
	KEY_BUFFERED,
	KEY_BURST,
	KEY_DEPTH,
	KEY_FS,
	KEY_IOPS,
	KEY_RO,
	KEY_SNAPSHOT,
	N_KEYS
};

static const struct {
	const char *name;
	const char *value; /* what it wants; NULL: none */
} keys[N_KEYS] = {
	[KEY_BPS] = { "bps", "a number of bytes a second, as 10M" },
	[KEY_BUFFERED] = { "buffered", NULL },
	[KEY_BURST] = { "burst", "milliseconds" },
	[KEY_DEPTH] = { "depth", "a number of requests" },
	[KEY_FS] = { "fs", "ext4 or btrfs" },
	[KEY_IOPS] = { "iops", "a number of operations a second" },
	[KEY_RO] = { "ro", NULL },
	[KEY_SNAPSHOT] = { "snapshot", NULL },
};

struct parser {
	struct disk_options *o;
	bool given[N_KEYS];
};

static int parse_fs(const char *value, enum disk_fs *ret, struct error *err)
{
	*ret = disk_fs_find(value, strlen(value));
	if (*ret == DISK_FS_NONE)
		return error_set_usage(err, -EINVAL, "--disk: fs: '%s' is neither ext4 nor btrfs",
				       value);
	return 0;
}

static int parse_value(struct disk_options *o, enum key key, const char *value, struct error *err)
{
	uint64_t v = 0;
	int res = 0;

	switch (key) {
	case KEY_BPS:
		return num_parse_bytes("--disk: bps", value, 1, RATE_MAX, &o->limits.bps, err);
	case KEY_BUFFERED:
		o->buffered = true;
		return 0;
	case KEY_BURST:
		res = num_parse_u64("--disk: burst", value, 1, BURST_MAX_MS, &v, err);
		o->limits.burst_ns = v * NS_PER_MS;
		return res;
	case KEY_DEPTH:
		res = num_parse_u64("--disk: depth", value, 1, VIRTIO_BLK_DEPTH_MAX, &v, err);
		o->limits.depth = (uint32_t)v;
		return res;
	case KEY_FS:
		return parse_fs(value, &o->fs, err);
	case KEY_IOPS:
		return num_parse_u64("--disk: iops", value, 1, RATE_MAX, &o->limits.iops, err);
	case KEY_RO:
		o->read_only = true;
		return 0;
	case KEY_SNAPSHOT:
		o->snapshot = true;
		return 0;
	case N_KEYS:
		break;
	}
	return error_set_usage(err, -EINVAL, "--disk: no such option");
}

static int unknown(const char *word, struct error *err)
{
	return error_set_usage(
	    err, -EINVAL,
	    "--disk: unknown option '%s': it is FILE or new=SIZE, then any of ,ro "
	    ",snapshot ,fs= ,iops= ,bps= ,burst= ,depth= ,buffered",
	    word);
}

static int parse_word(struct parser *p, char *word, struct error *err)
{
	char *value = strchr(word, '=');
	enum key key = 0;

	if (value)
		*value++ = 0;
	while (key < N_KEYS && strcmp(keys[key].name, word) != 0)
		key++;
	if (key == N_KEYS)
		return unknown(word, err);
	if (p->given[key])
		return error_set_usage(err, -EINVAL, "--disk: '%s' is given twice", word);
	p->given[key] = true;
	if (value && !keys[key].value)
		return error_set_usage(err, -EINVAL, "--disk: '%s' takes no value", word);
	if (keys[key].value && !(value && *value))
		return error_set_usage(err, -EINVAL, "--disk: '%s' needs a value: %s=%s", word,
				       word, keys[key].value);
	return parse_value(p->o, key, value, err);
}

static int parse_what(struct disk_options *o, const char *word, struct error *err)
{
	if (strncmp(word, "new=", 4) == 0)
		return num_parse_bytes("--disk: new", word + 4, NEW_BYTES_MIN, NEW_BYTES_MAX,
				       &o->new_bytes, err);
	if (!*word)
		return error_set_usage(err, -EINVAL,
				       "--disk: no file is named: it is FILE[,OPTION]... or "
				       "new=SIZE[,OPTION]...");
	o->path = xstrdup(word);
	return 0;
}

static int check(const struct parser *p, struct error *err)
{
	const struct disk_options *o = p->o;
	char text[NUM_BYTES_TEXT_MAX];

	if (!o->path && (o->read_only || o->snapshot))
		return error_set_usage(err, -EINVAL,
				       "--disk: a new disk is empty and of this VM only: it goes "
				       "with neither 'ro' nor 'snapshot'");
	if (o->read_only && o->snapshot)
		return error_set_usage(
		    err, -EINVAL,
		    "--disk: 'ro' and 'snapshot' exclude each other: either keeps "
		    "the file as it is");
	if (o->path && o->fs != DISK_FS_NONE)
		return error_set_usage(err, -EINVAL,
				       "--disk: 'fs' is for a new disk: new=SIZE,fs=%s",
				       disk_fs_name(o->fs));
	if (p->given[KEY_BURST] && !o->limits.iops && !o->limits.bps)
		return error_set_usage(err, -EINVAL, "--disk: 'burst' needs 'iops' or 'bps'");
	if (!o->path && o->new_bytes % VIRTIO_BLK_SECTOR)
		return error_set_usage(
		    err, -EINVAL, "--disk: new: %llu bytes are no whole number of sectors (%d)",
		    (unsigned long long)o->new_bytes, VIRTIO_BLK_SECTOR);
	if (o->fs != DISK_FS_NONE && o->new_bytes < disk_fs_min_bytes(o->fs))
		return error_set_usage(err, -ERANGE, "--disk: new: fs=%s needs at least %s",
				       disk_fs_name(o->fs),
				       num_format_bytes(disk_fs_min_bytes(o->fs), text));
	return 0;
}

int disk_options_parse(const char *arg, struct disk_options *ret, struct error *err)
{
	CLEANUP(freep) char *copy = xstrdup(arg);
	struct disk_options o = { .limits = { .depth = VIRTIO_BLK_DEPTH_MAX,
					      .burst_ns = BURST_DEFAULT_MS * NS_PER_MS } };
	struct parser p = { .o = &o };
	char *rest = copy;
	int res = parse_what(&o, strsep(&rest, ","), err);

	for (char *word; res == 0 && (word = strsep(&rest, ","));)
		res = parse_word(&p, word, err);
	if (res == 0)
		res = check(&p, err);
	if (res < 0)
		disk_options_fini(&o);
	else
		*ret = o;
	return res;
}

void disk_options_fini(struct disk_options *o)
{
	freep(&o->path);
}
