/* A test program that runs in a child: what it printed, what it sent to its host, how it ended. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "ktstr.h"

struct program {
	const struct ktstr_test *tests;
	const char *topology; /* KTSTR_TOPOLOGY; NULL: not set */
	const char *channel;  /* KTSTR_CHANNEL_FD; NULL: a good one */
	bool no_channel;
	int stdout_fd;  /* 0: caught */
	bool slow_host; /* sleeps before it gives a receipt */
	/* After program_run. */
	int status; /* exit status; -N: died by signal N */
	char out[16384];
	char err[16384];
	json_t *records; /* array of what was sent, each with its frame type as "type" */
};

/* Runs the program with up to two arguments. */
void program_run(struct program *p, const char *arg1, const char *arg2);
void program_fini(struct program *p);
/* Shortcut: a program with @run as its only test "t", run with a host that listens. */
void program_run_test(struct program *p, void (*run)(struct ktstr *t));
/* In the program: the receipts that its host gave, of a host that program_run started. */
unsigned int program_n_receipts(void);
/* Record @i; its type and name are as wanted. */
json_t *program_record(const struct program *p, size_t i, int type, const char *name);
/* A text member of record. */
const char *program_text(json_t *record, const char *key);
