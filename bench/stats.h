/* Tables of distributions on stdout, and the JSON document, for the benchmark programs. */
#pragma once

#include "bench/dist.h"

/* A table row: @name, then p50, p90, min, max with @decimals; nothing when empty. */
void dist_print(const struct dist *d, const char *name, int decimals);
/* The header above such rows: @title over the names. */
void dist_print_header(const char *title);
/* A row for a ratio with the aim it should not exceed (0: none). */
void dist_print_aim(const struct dist *d, const char *name, double aim);

/* Releases @doc. Writes it to @path ("-": stdout); false with a message on stderr. NULL @path: nothing to do. */
bool json_write(json_t *doc, const char *path);
