/*
 * Runs a command and measures it from outside: time by the monotonic clock, CPU time by wait4, and what it leaves behind.
 *
 * A command may end before a process it started (the VM process takes its VM down after the verdict has left). Such
 * orphans come to us (spawn_init makes us their reaper); their costs are told apart from the command's.
 *
 *	start ---- first mark ---- command's end ............... last orphan's end
 *	           mark_ms         wall_ms                       wall_ms + teardown_ms
 *	cpu:  the command and what it waited for --------> cpu_ms
 *	      an orphan until the command's end ---------> orphan_cpu_ms
 *	      an orphan after it --------------------------------> teardown_cpu_ms
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

enum { SPAWN_TEXT_MAX = 4096 };

struct spawn_config {
	const char *const *argv; /* argv[0] is a path, or found in PATH */
	const char *const *env;  /* NAME=VALUE..., NULL-terminated, before our own; NULL: none */
	int wanted_status;
	int mark_fd;      /* this one of the command's standard streams is a pipe to us; -1: none */
	const char *mark; /* the text there that is the mark; NULL: the first byte */
};

struct spawn_sample {
	double wall_ms;
	double mark_ms; /* NAN: none came */
	double cpu_ms;
	double orphan_cpu_ms;
	double teardown_ms;
	double teardown_cpu_ms;
	long page_faults;          /* minor ones of the command and what it waited for */
	char text[SPAWN_TEXT_MAX]; /* what came through mark_fd, cut, NUL-terminated */
};

/* Once, before the first spawn: makes orphans ours. */
MUST_CHECK int spawn_init(struct error *err);
/* Returns after the last orphan has ended. -ECHILD: the command did not end with wanted_status. */
MUST_CHECK int spawn_measure(const struct spawn_config *config, struct spawn_sample *ret,
			     struct error *err);
/* Starts a command without waiting, stdout and stderr discarded, env as above. */
MUST_CHECK int spawn_start(const struct spawn_config *config, pid_t *ret, struct error *err);
/* The same, with its standard output and error going there (-1: discarded). */
MUST_CHECK int spawn_start_piped(const struct spawn_config *config, int out_fd, int err_fd,
				 pid_t *ret, struct error *err);
/* The number that begins the line of @text with @word in it; NAN: no such line. */
double spawn_line_number(const char *text, const char *word);
/* The children of process @pid's main thread, at most @max: their number. */
size_t spawn_children(pid_t pid, pid_t *ret, size_t max);
/* CPU time of all threads of a process so far, ended ones included; NAN when it is gone. */
double spawn_process_cpu_ms(pid_t pid);
