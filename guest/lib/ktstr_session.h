/*
 * One run of one test: the state that its threads and its forked children share. It lies in a
 * shared mapping, so that a check that fails in a child fails the test; a child that dies with the
 * lock leaves it usable.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "abi/frame.h"
#include "abi/test_protocol.h"
#include "ktstr.h"

enum { KTSTR_MESSAGE_MAX = 2048 };

struct ktstr {
	struct ktstr_session *session;
	uint32_t depth;            /* in levels */
	_Atomic uint32_t measured; /* checks that held, metrics, subtests that passed */
	/* The rest is under the session's lock. */
	bool is_open;
	bool has_skipped_subtest;
	enum outcome outcome; /* the worst so far */
	uint64_t start_ns;
	char name[TEST_NAME_MAX];
	char message[KTSTR_MESSAGE_MAX]; /* lines: why the outcome is what it is */
	size_t n_message;
	uint32_t n_unsaid; /* lines that had no room */
};

struct ktstr_session {
	pthread_mutex_t lock;
	struct ktstr_topology topology;
	int channel_fd; /* -1: no host listens */
	bool is_over;
	pid_t pid;
	struct ktstr levels[TEST_DEPTH_MAX];
};

/* Everything that the environment says. NULL: it makes no sense, which is told on standard error. */
struct ktstr_session *ktstr_session_new(const struct ktstr_test *test);
/* Whether this machine is a VM of ktstr's. */
bool ktstr_session_is_vm(void);

void ktstr_session_lock(struct ktstr_session *s);
void ktstr_session_unlock(struct ktstr_session *s);
