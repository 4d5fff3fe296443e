#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"

struct hash {
	XXH3_state_t *state;
};

struct hash *hash_new(void)
{
	struct hash *h = xmalloc(sizeof(*h));

	h->state = XXH3_createState();
	if (!h->state)
		die_out_of_memory();
	(void)XXH3_128bits_reset(h->state); /* fails for a NULL state only */
	return h;
}

struct hash *hash_free(struct hash *h)
{
	if (h)
		(void)XXH3_freeState(h->state);
	freep(&h);
	return NULL;
}

void hash_update(struct hash *h, const void *data, size_t n)
{
	(void)XXH3_128bits_update(h->state, data, n); /* fails for a NULL state only */
}

void hash_update_str(struct hash *h, const char *s)
{
	hash_update(h, s, strlen(s) + 1);
}

void hash_format(struct hash *h, char text[static HASH_TEXT_MAX])
{
	XXH128_hash_t v = XXH3_128bits_digest(h->state);

	(void)snprintf(text, HASH_TEXT_MAX, "%016" PRIx64 "%016" PRIx64, (uint64_t)v.high64,
		       (uint64_t)v.low64);
}
