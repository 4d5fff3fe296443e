/* Which tests of a batch run, and in what order. Pure: the same arguments give the same answer on every machine. */
#pragma once

struct selection {
	/* Globs, of which one must match ('*' also matches '/'); none: all. */
	const char *const *filters;
	size_t n_filters;
	uint32_t shard, n_shards; /* 1 to n_shards; 0 of 0: all */
	uint32_t repeat;          /* times that each test runs; at least 1 */
	bool shuffle;
	uint64_t seed;
};

struct selected {
	size_t test;        /* index of the id */
	uint32_t iteration; /* 0 to repeat - 1 */
};

/*
 * Of @n tests those that are selected, each @repeat times, the whole list over before a test comes again. @ids are
 * "PROGRAM/NAME"; a filter matches that, or the name alone. A test's shard is a hash of its id: it stays there whatever tests
 * are added. Caller frees.
 */
struct selected *selection_make(const struct selection *s, const char *const *ids, size_t n,
				size_t *ret_n);
