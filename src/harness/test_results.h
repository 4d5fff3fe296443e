/*
 * What a guest's tests said (abi/test_protocol.h): records in, a tree of tests and subtests out. The
 * guest is not trusted: a record that makes no sense is ignored and counted, what is kept has a
 * bound, its text is clean (base/text.h), and a result is never given to a test of another name. One thread.
 */
#pragma once

#include <jansson.h>

#include "abi/frame.h"
#include "abi/test_protocol.h"
#include "base/error.h"
#include "base/list.h"

struct test_metric {
	struct list node; /* in its test's metrics */
	char *name;
	char *unit;
	const char *better; /* "higher", "lower", "neither" */
	double value;
};

struct test_result {
	struct list node;           /* in the list that it is a part of */
	struct test_result *parent; /* NULL: a test */
	struct list subtests;
	struct list metrics;
	char *name;
	bool has_outcome;     /* false: it began, and its end never came */
	enum outcome outcome; /* PASS, FAIL, SKIP, INCONCLUSIVE */
	char *message;
	double duration_ms;
};

struct test_results {
	struct list tests;
	struct test_result *open[TEST_DEPTH_MAX]; /* by depth; NULL from the first that is not */
	uint64_t n_bytes;                         /* of records kept */
	uint64_t n_ignored;
	char why_ignored[160]; /* of the first */
};

/* What is kept at most, in bytes of records. */
enum { TEST_RESULTS_MAX = 4 * 1024 * 1024 };

void test_results_init(struct test_results *r); /* not to be moved from then on */
void test_results_fini(struct test_results *r); /* idempotent */
/* Takes a frame of the guest; those of other types are nothing to it. */
void test_results_add(struct test_results *r, uint16_t type, const void *payload, size_t n);
/* What a reader of documents builds a tree of: a test, or a subtest of @parent, and what belongs to it. Texts are copied. */
struct test_result *test_results_open(struct test_results *r, struct test_result *parent,
				      const char *name);
void test_result_add_metric(struct test_result *t, const char *name, double value, const char *unit,
			    const char *better);
void test_result_close(struct test_result *t, enum outcome outcome, const char *message,
		       double duration_ms);
/* PASS, FAIL, SKIP, INCONCLUSIVE; "higher", "lower", "neither" as a constant. False: @text is none of them. */
MUST_CHECK bool test_result_parse_outcome(const char *text, enum outcome *ret);
MUST_CHECK bool test_result_parse_better(const char *text, const char **ret);
/* The next in order of their beginnings, subtests included; the first after NULL; NULL after the last. */
struct test_result *test_results_next(const struct test_results *r, const struct test_result *t);
/* A new array, as in docs/run-json.md; NULL without memory. */
json_t *test_results_json(const struct test_results *r);
/* Takes such an array; strict. Class usage; @r is to be thrown away then. */
MUST_CHECK int test_results_read_json(struct test_results *r, const json_t *array,
				      struct error *err);
