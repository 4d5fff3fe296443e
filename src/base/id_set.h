/*
 * A set of small numbers: CPUs or NUMA nodes of a host. A plain value, 1 KiB; {0} is empty. As text
 * it is what the kernel writes: "0-3,8".
 */
#pragma once

#include <sched.h>
#include <stdint.h>

#include "base/buf.h"

enum { ID_SET_MAX = 8192, ID_SET_WORDS = ID_SET_MAX / 64, ID_SET_END = UINT16_MAX };

struct id_set {
	uint64_t words[ID_SET_WORDS];
};

/* @id < ID_SET_MAX in all of these. */
void id_set_add(struct id_set *s, uint32_t id);
void id_set_remove(struct id_set *s, uint32_t id);
void id_set_add_range(struct id_set *s, uint32_t first, uint32_t n);

/* False also for numbers that no set can hold. */
static inline bool id_set_has(const struct id_set *s, uint32_t id)
{
	return id < ID_SET_MAX && (s->words[id / 64] >> id % 64 & 1);
}

uint32_t id_set_count(const struct id_set *s);
bool id_set_is_empty(const struct id_set *s);
bool id_set_is_equal(const struct id_set *a, const struct id_set *b);
bool id_set_is_subset(const struct id_set *of, const struct id_set *s);
/* Leaves what is in both. */
void id_set_intersect(struct id_set *s, const struct id_set *with);

/* The smallest member that is at least @from; ID_SET_END when there is none. */
uint32_t id_set_next(const struct id_set *s, uint32_t from);
/* NOLINTBEGIN(bugprone-macro-parentheses): @id is the name of a variable */
#define id_set_for_each(id, s)                                                                     \
	for (uint32_t id = id_set_next(s, 0); id != ID_SET_END; id = id_set_next(s, id + 1))
/* NOLINTEND(bugprone-macro-parentheses) */

/* For the C library's calls that take CPUs: its sets are such words, too, sizeof(s->words) of them. */
static inline const cpu_set_t *id_set_cpus(const struct id_set *s)
{
	return (const cpu_set_t *)(const void *)s->words;
}

/*
 * "0-3,8"; "" and a single trailing newline are fine. -EINVAL for any other text, -ERANGE for a number that is too large;
 * @ret is unchanged then.
 */
MUST_CHECK int id_set_parse(const char *text, struct id_set *ret);
/* Appends the text; nothing for an empty set. */
void id_set_format(const struct id_set *s, struct buf *to);
