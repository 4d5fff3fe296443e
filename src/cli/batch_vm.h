/*
 * One run of a test: a VM process, its link, the collector of its frames, its verdict. Lives on the batch's reactor, from
 * launch to the end of the process:
 *
 *	STARTING --------> RUNNING --> JUDGED --> GONE
 *	waits for a place              on_judged  on_gone: may be freed
 *
 * Its place on the host (harness/reservation.h) is its own, against other processes as well: the VM process runs on these CPUs
 * only and holds their locks, too. A launch that fails is judged, too, in a later turn. CPUs are free when it is judged (the VM's threads have left); the
 * process then takes its VM down, and is reaped when its pidfd says so.
 */
#pragma once

#include <sys/resource.h>

#include "cli/batch_place.h"
#include "cli/collector.h"
#include "cli/disk.h"
#include "cli/planned_test.h"
#include "harness/verdict.h"
#include "link/link.h"
#include "vmm/vm_process.h"

struct batch_vm;

struct batch_vm_config {
	struct reactor *reactor;
	enum reactor_backend backend;
	const struct batch_images *images;
	const struct planned_test *test;
	struct reservation_host *host; /* borrowed */
	uint32_t cgroup_seq;           /* its own in this batch; 0: this host gives none */
	uint64_t wait_ns;              /* for a place that others hold */
	double slack; /* time limits are so many times as long: the host is shared */
	void (*on_judged)(void *ctx, struct batch_vm *vm);
	void (*on_gone)(void *ctx, struct batch_vm *vm);
	void *ctx;
};

enum batch_vm_state { BATCH_VM_STARTING, BATCH_VM_RUNNING, BATCH_VM_JUDGED, BATCH_VM_GONE };

struct batch_vm {
	struct batch_vm_config config;
	struct list node; /* the owner's */
	size_t job;       /* the owner's */
	enum batch_vm_state state;
	uint64_t start_ns, end_ns; /* launch, verdict */
	uint64_t boot_timeout_ns,
	    command_timeout_ns; /* what it may take, as crowded as it may be */
	struct run_result result;
	struct sink output; /* what the test printed */
	struct verdict verdict;
	struct rusage usage; /* of the process, when GONE */
	/* Its largest resident set: that of rusage also has ours, from the moment before it was executed. */
	uint64_t max_rss_kib;
	bool is_stopped; /* by batch_vm_kill: its outcome means nothing */
	uint32_t phase;  /* reached so far */
	bool is_retried; /* the owner's: another attempt follows */
	double
	    overcommit; /* the owner's: vCPUs of all that ran per CPU, the most there was meanwhile */
	struct batch_place place;
	/* Its own: */
	struct vm_process process;
	struct disk disk;
	uint8_t *suffix;
	struct buf cmdline;
	struct link *link;
	struct collector collector;
	int pid_fd;
	int wait_status;
	bool is_reaped, is_link_closed;
	struct reactor_op exit_poll, overdue;
	struct reactor_deferred failed_start, gone;
};

/* Starts it. The file sinks of result and output are the caller's to open before. */
struct batch_vm *batch_vm_new(const struct batch_vm_config *config);
void batch_vm_start(struct batch_vm *vm);
/* Ends it at once, also its wait for a place. */
void batch_vm_kill(struct batch_vm *vm);
/* When GONE, or never started. NULL is fine; returns NULL. */
struct batch_vm *batch_vm_free(struct batch_vm *vm);
/* The reason in one line, and the record's message if it has one: the first line of whoever knows. Caller frees. */
char *batch_vm_why(const struct batch_vm *vm);
/* The test's own result; NULL: none came. */
const struct test_result *batch_vm_record(const struct batch_vm *vm);
