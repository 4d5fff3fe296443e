#include "harness/selection.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"

static bool passes_filters(const struct selection *s, const char *id)
{
	const char *slash = strchr(id, '/'); /* a program's name has none */
	const char *name = slash ? slash + 1 : id;

	for (size_t i = 0; i < s->n_filters; i++)
		if (fnmatch(s->filters[i], name, 0) == 0 || fnmatch(s->filters[i], id, 0) == 0)
			return true;
	return s->n_filters == 0;
}

static bool is_in_shard(const struct selection *s, const char *id)
{
	char text[HASH_TEXT_MAX];

	if (s->n_shards == 0)
		return true;
	struct hash *h = hash_new();
	hash_update_str(h, id);
	hash_format(h, text);
	(void)hash_free(h);
	text[16] = 0; /* 64 bits are enough */
	return strtoull(text, NULL, 16) % s->n_shards == s->shard - 1;
}

/* splitmix64: a whole generator in three lines, the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void shuffle(struct selected *list, size_t n, uint64_t seed)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = next_random(&seed) % i;
		struct selected other = list[k];
		list[k] = list[i - 1];
		list[i - 1] = other;
	}
}

struct selected *selection_make(const struct selection *s, const char *const *ids, size_t n,
				size_t *ret_n)
{
	struct selected *list = xcalloc(n * s->repeat + 1, sizeof(*list));
	size_t n_list = 0, n_once;

	for (size_t i = 0; i < n; i++)
		if (passes_filters(s, ids[i]) && is_in_shard(s, ids[i]))
			list[n_list++] = (struct selected){ .test = i };
	n_once = n_list;
	for (uint32_t k = 1; k < s->repeat; k++)
		for (size_t i = 0; i < n_once; i++)
			list[n_list++] = (struct selected){ list[i].test, k };
	if (s->shuffle)
		shuffle(list, n_list, s->seed);
	*ret_n = n_list;
	return list;
}
