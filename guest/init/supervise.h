/*
 * PID 1's main work: one poll loop around the running command, until its end is with the host. One
 * thread; everything comes in as descriptors, so that a test can play the host.
 */
#pragma once

#include "abi/frame.h"
#include "command.h"
#include "input.h"
#include "outlet.h"
#include "relay.h"

struct supervisor;

/* Something to read that becomes frames. Read in the order of enum source_id, and only while the
 * outlet has room. */
struct source {
	int fd; /* owned; -1: none, or it ended */
	/* Moves one portion. 1: there may be more; 0: dry for now; negative errno: it ended. */
	int (*pump)(struct supervisor *s, struct source *src);
	bool has_end;  /* others may still write when the command is gone: wait for the end, bounded
			*/
	bool is_dry;   /* found empty after the command ended */
	size_t n_owed; /* portions that can have been on their way when it ended, still to come */
};

enum source_id {
	SOURCE_STDOUT,
	SOURCE_STDERR,
	SOURCE_CRASH,
	SOURCE_MESSAGES,
	SOURCE_KMSG,
	SOURCE_COUNT,
};

enum stage {
	STAGE_RUN,   /* the command runs */
	STAGE_DRAIN, /* it ended (or never started): what it left is read */
	STAGE_ACK,   /* FRAME_EXIT is sent */
	STAGE_DONE,
};

struct supervisor {
	struct outlet *outlet; /* borrowed */
	const char *program;   /* for messages; borrowed */
	pid_t command_pid;
	struct source sources[SOURCE_COUNT];
	struct input input;
	struct relay relay;
	int signal_fd;                /* owned; signalfd of SIGCHLD */
	struct frame_decoder decoder; /* owns its storage */
	enum stage stage;
	struct frame_exit exit;
	struct {
		int64_t kill_ms; /* INT64_MAX: not armed, as are the next two */
		int64_t drain_ms;
		int64_t ack_ms;
	} deadline;
	size_t n_unsent; /* bytes queued at the last look, in STAGE_ACK */
	bool is_late;    /* DRAIN_MS have passed since the command ended */
	bool is_acked;
	bool is_crash_told; /* the command's own crash has been reported */
};

/* What main opened for it; all owned by the supervisor from then on, -1: none. */
struct supervisor_fds {
	int kmsg_fd;
	int crash_fd;
	int relay_port_fd;
	const char *relay_path;
};

/*
 * Prepares a supervisor that reports @exit at once; supervisor_watch() gives it a command. Blocks
 * SIGCHLD for the process: call it before anything is forked. -ENOMEM, or the errno of signalfd.
 */
MUST_CHECK int supervisor_init(struct supervisor *s, struct outlet *outlet,
			       const struct supervisor_fds *fds, const struct frame_exit *exit);
/* Takes over the descriptors of a started command. @program must outlive the supervisor. */
void supervisor_watch(struct supervisor *s, struct command *command, const char *program);
/* Returns when the exit is told: acknowledged, or nobody is there to do so. */
void supervisor_run(struct supervisor *s);
void supervisor_fini(struct supervisor *s);
