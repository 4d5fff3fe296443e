/*
 * What a batch of tests yields (`ktstr test`): one entry per test and repeat, in the order of discovery, from which all
 * documents are written (batch_json.h, batch_junit.h, batch_tap.h, batch_summary.h) and to which `ktstr report` reads them
 * back. Plain data on one thread.
 *
 * All text is clean (base/text.h) and has a bound: who fills an entry uses the batch_set functions, which copy, clean and
 * cut. NULL texts are empty ones. Times are microseconds, because they are integers in the document.
 */
#pragma once

#include "abi/frame.h"
#include "base/error.h"
#include "harness/test_results.h"

/* Bounds in bytes and in entries; what is beyond is cut, or counted by its function's result. */
enum {
	BATCH_LINE_MAX = 512,       /* names, notes, descriptions: one line */
	BATCH_ID_MAX = 1024,        /* ids, paths */
	BATCH_WHY_MAX = 8 * 1024,   /* the reason: its first line is the cause */
	BATCH_TEXT_MAX = 64 * 1024, /* panic, crash, log tail */
	BATCH_NOTES_MAX = 32,
	BATCH_PHASES_MAX = 32,
	BATCH_COUNTERS_MAX = 256,
	BATCH_VCPUS_MAX = 4096,
	BATCH_ATTEMPTS_MAX = 16,
	BATCH_TESTS_MAX = 1000000,
};

/* What became of a test: an enum outcome, or that it has not run (interrupted, --fail-fast; why tells). */
enum { BATCH_NOT_RUN = OUTCOME_INFRA + 1, BATCH_N_OUTCOMES };
const char *batch_outcome_name(uint32_t outcome); /* "PASS", ..., "NOT_RUN"; "?" if unknown */
/* NULL or unknown: false. */
MUST_CHECK bool batch_outcome_parse(const char *name, uint32_t *ret);

/* What the test asks of its VM: as `--ktstr-list` says it, with the runner's defaults filled in. 0: not declared. */
struct batch_declared {
	char *topology; /* canonical text */
	uint32_t memory_mib;
	uint32_t timeout_s;
	uint32_t cpu_cap;
	uint32_t disk_mib;
	char *disk_fs;
	bool perf;
	bool net;
};

struct batch_phase {
	uint64_t at_us; /* since the test's begin_us */
	uint32_t phase; /* enum frame_phase_id */
	bool is_guest;
};

struct batch_counter {
	char *name; /* as in docs/run-json.md, `stats` */
	uint64_t value;
};

struct batch_vcpu {
	uint64_t run_delay_us; /* ready to run, and not running */
	uint64_t involuntary_switches;
};

/* Why, and how it came to that. */
struct batch_evidence {
	uint32_t last_phase; /* enum frame_phase_id */
	bool has_exit;
	struct frame_exit exit; /* of the test program */
	char *deadline_by;      /* which frame last moved the deadline, as a line */
	char *panic;            /* the kernel's words with the backtrace, first cause first */
	char *crash;            /* programs of the guest that died: FRAME_CRASH texts */
	char *log_tail;         /* the end of the kernel log */
	char *notes[BATCH_NOTES_MAX];
	size_t n_notes;
	struct batch_phase phases[BATCH_PHASES_MAX]; /* in order of time */
	size_t n_phases;
};

/* What the VM process used, and what it was kept from. */
struct batch_resources {
	uint64_t user_us, system_us;
	uint64_t max_rss_kib;
	bool has_steal; /* the guest told */
	uint64_t steal_us;
	double overcommit; /* vCPUs per CPU of the budget; 0: not known */
	char *cpus;        /* placement, "0-3,8" */
	struct batch_counter *counters;
	size_t n_counters;
	struct batch_vcpu *vcpus; /* by index */
	size_t n_vcpus;
};

/* An attempt before the last: its outcome was INFRA, so the test was tried again. */
struct batch_attempt {
	char *why;
	uint64_t duration_us;
};

struct batch_test {
	char *id; /* "PROGRAM_BASENAME/NAME[#repeat]", unique in the batch ("~2" on namesakes) */
	char *program;   /* path */
	char *name;      /* as declared */
	uint32_t repeat; /* from 1 with --repeat; else 0 */
	struct batch_declared declared;
	uint32_t outcome;     /* enum outcome, BATCH_NOT_RUN (as it begins) */
	char *why;            /* the first line is the cause; empty for a pass */
	uint64_t begin_us;    /* since the batch's start */
	uint64_t duration_us; /* of the last attempt, until the verdict */
	char *output;         /* the test's folder under --output; empty: none */
	struct batch_evidence evidence;
	struct batch_resources resources;
	struct batch_attempt attempts[BATCH_ATTEMPTS_MAX];
	size_t n_attempts;
	struct test_results results; /* what it said of itself: subtests, metrics */
};

struct batch_result {
	uint64_t start_us;    /* wall clock, since 1970 */
	uint64_t duration_us; /* until the last verdict */
	char *version;        /* of ktstr */
	char *host;           /* one line: system, CPUs, memory */
	char *kernel;         /* path */
	char *release;
	uint64_t seed;
	uint32_t shard, n_shards; /* I of N; 0 of 0: the whole batch */
	uint32_t jobs;
	uint32_t repeat;   /* --repeat; 1 without */
	double overcommit; /* the factor allowed; 1 without */
	int interrupted;   /* by this signal; 0: was not */
	struct batch_test **tests;
	size_t n_tests;
	void *ids; /* tsearch(3) tree of the tests by id */
};

void batch_result_init(struct batch_result *b);
void batch_result_fini(struct batch_result *b); /* idempotent */
/*
 * A new entry that has not run, owned by @b; its address stays. NULL: there are BATCH_TESTS_MAX of them.
 */
MUST_CHECK struct batch_test *batch_result_add(struct batch_result *b, const char *program,
					       const char *name, uint32_t repeat);
/* The same with an id that a document gives. NULL also where it is taken. */
MUST_CHECK struct batch_test *batch_result_add_as(struct batch_result *b, const char *id,
						  const char *program, const char *name,
						  uint32_t repeat);
/* Moves all tests of @from behind those of @b; their ids differ, and there is room. */
void batch_result_move(struct batch_result *b, struct batch_result *from);
struct batch_test *batch_result_find(const struct batch_result *b, const char *id); /* NULL: none */
/* The id without its "#repeat": what the repeats of one test have in common. Caller frees. */
char *batch_test_series(const struct batch_test *t);

/* Texts: what was in @slot is freed. batch_set_text keeps the beginning, batch_set_tail the end. */
void batch_set_line(char **slot, const char *text); /* BATCH_LINE_MAX */
void batch_set_path(char **slot, const char *text); /* BATCH_ID_MAX */
void batch_set_why(char **slot, const void *text, size_t n);
void batch_set_text(char **slot, const void *text, size_t n);
void batch_set_tail(char **slot, const void *text, size_t n);
const char *batch_text(const char *text); /* "" for NULL */

/* What is beyond the bound of these is dropped; of notes and attempts the last one kept says so. */
void batch_test_add_note(struct batch_test *t, const char *text, size_t n);
void batch_test_add_phase(struct batch_test *t, uint32_t phase, uint64_t at_us, bool is_guest);
void batch_test_add_attempt(struct batch_test *t, const char *why, size_t n, uint64_t duration_us);
void batch_test_add_counter(struct batch_test *t, const char *name, uint64_t value);
/* FRAME_VM_STATS: lines of "key value". */
void batch_test_add_stats(struct batch_test *t, const void *text, size_t n);
/* Grows as needed; NULL beyond BATCH_VCPUS_MAX. */
struct batch_vcpu *batch_test_vcpu(struct batch_test *t, uint32_t index);

struct batch_counts {
	uint32_t n[BATCH_N_OUTCOMES]; /* by outcome */
	uint32_t n_tests;
	uint32_t n_retried; /* had more than one attempt */
};
void batch_count_add(struct batch_counts *c, const struct batch_test *t);
struct batch_counts batch_count(const struct batch_result *b);

/* Exit status of a batch, and of `ktstr report` on its documents. */
enum batch_exit {
	BATCH_EXIT_PASS = 0,         /* all passed or skipped, and some passed */
	BATCH_EXIT_FAIL = 1,         /* a FAIL, PANIC, STALL, TIMEOUT or BOOT */
	BATCH_EXIT_INCONCLUSIVE = 2, /* else: an INCONCLUSIVE, or a test that has not run */
	BATCH_EXIT_INFRA = 3,        /* else, but before 2: an INFRA */
	BATCH_EXIT_NOTHING = 4,      /* nothing ran, or all was skipped */
};
enum batch_exit batch_exit_status(const struct batch_counts *c);
