/* Which tests of a batch run, and in what order. Pure: the same arguments give the same answer on every machine. */
#pragma once

struct selection {
	const char *const
	    *filters; /* globs, of which one must match ('*' also matches '/'); none: all */
	size_t n_filters;
	uint32_t shard, n_shards; /* 1 to n_shards; 0 of 0: all */
	uint32_t repeat;          /* times that each test runs; at least 1 */
	bool shuffle;
	uint64_t seed;
};

struct selected {
	size_t test;        /* index of the name */
	uint32_t iteration; /* 0 to repeat - 1 */
};

/*
 * Of @n @names those that are selected, each @repeat times, the whole list over before a test comes again. A test's shard
 * is a hash of its name: it stays there whatever tests are added. Caller frees.
 */
struct selected *selection_make(const struct selection *s, const char *const *names, size_t n,
				size_t *ret_n);
