/* A batch made of a seed: every member in use, with texts as a hostile guest sends them. For properties of documents. */
#pragma once

#include "harness/batch_result.h"

/* @b is initialised; gets up to @n_max tests. */
void random_batch(struct batch_result *b, uint64_t seed, size_t n_max);
/* The first member that differs; NULL: none. */
const char *batch_difference(const struct batch_result *a, const struct batch_result *b);
