#include "base/id_set.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

void id_set_add(struct id_set *s, uint32_t id)
{
	ASSERT(id < ID_SET_MAX);
	s->words[id / 64] |= (uint64_t)1 << id % 64;
}

void id_set_remove(struct id_set *s, uint32_t id)
{
	ASSERT(id < ID_SET_MAX);
	s->words[id / 64] &= ~((uint64_t)1 << id % 64);
}

void id_set_add_range(struct id_set *s, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		id_set_add(s, first + i);
}

uint32_t id_set_count(const struct id_set *s)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ID_SET_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(s->words[i]);
	return n;
}

bool id_set_is_empty(const struct id_set *s)
{
	return id_set_next(s, 0) == ID_SET_END;
}

bool id_set_is_equal(const struct id_set *a, const struct id_set *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool id_set_is_subset(const struct id_set *of, const struct id_set *s)
{
	for (size_t i = 0; i < ID_SET_WORDS; i++)
		if (s->words[i] & ~of->words[i])
			return false;
	return true;
}

void id_set_intersect(struct id_set *s, const struct id_set *with)
{
	for (size_t i = 0; i < ID_SET_WORDS; i++)
		s->words[i] &= with->words[i];
}

uint32_t id_set_next(const struct id_set *s, uint32_t from)
{
	uint32_t i = from / 64;

	if (from >= ID_SET_MAX)
		return ID_SET_END;
	uint64_t word = s->words[i] & ~(uint64_t)0 << from % 64;
	while (!word) {
		if (++i == ID_SET_WORDS)
			return ID_SET_END;
		word = s->words[i];
	}
	return i * 64 + (uint32_t)__builtin_ctzll(word);
}

/* Digits at *@p; moves behind them. */
static int parse_id(const char **p, uint32_t *ret)
{
	uint32_t v = 0;

	if (**p < '0' || **p > '9')
		return -EINVAL;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		v = v * 10 + (uint32_t)(**p - '0');
		if (v >= ID_SET_MAX)
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

/* "3" or "0-3" at *@p. */
static int parse_range(const char **p, struct id_set *to)
{
	uint32_t first;
	uint32_t last;
	int res = parse_id(p, &first);

	if (res < 0)
		return res;
	last = first;
	if (**p == '-') {
		(*p)++;
		res = parse_id(p, &last);
		if (res < 0)
			return res;
	}
	if (last < first)
		return -EINVAL;
	id_set_add_range(to, first, last - first + 1);
	return 0;
}

static bool is_end(const char *p)
{
	return !*p || (*p == '\n' && !p[1]);
}

int id_set_parse(const char *text, struct id_set *ret)
{
	struct id_set s = { 0 };
	const char *p = text;

	while (!is_end(p)) {
		int res = parse_range(&p, &s);
		if (res < 0)
			return res;
		if (*p == ',' && !is_end(p + 1))
			p++;
		else if (!is_end(p))
			return -EINVAL;
	}
	*ret = s;
	return 0;
}

void id_set_format(const struct id_set *s, struct buf *to)
{
	const char *comma = "";
	uint32_t end;

	for (uint32_t first = id_set_next(s, 0); first != ID_SET_END; first = id_set_next(s, end)) {
		for (end = first + 1; id_set_has(s, end);)
			end++;
		buf_printf(to, "%s%u", comma, first);
		if (end - first > 1)
			buf_printf(to, "-%u", end - 1);
		comma = ",";
	}
}
