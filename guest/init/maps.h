/* The executable file mappings of a process, from /proc/PID/maps. */
#pragma once

#include <stdio.h>

enum {
	MAPS_MAX = 128, /* more libraries than any test program has; the rest is left out */
};

struct map {
	uint64_t begin;
	uint64_t end;
	uint64_t file_offset;
	char path[168]; /* cut at its front when longer */
};

struct maps {
	size_t n;
	struct map list[MAPS_MAX];
};

void maps_read(FILE *in, struct maps *ret);
const struct map *maps_find(const struct maps *m, uint64_t addr); /* or NULL */
