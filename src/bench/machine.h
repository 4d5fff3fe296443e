/* One run of the benchmark's guest, under ktstr or under QEMU microvm. */
#pragma once

#include "base/error.h"
#include "bench/capture.h"
#include "bench/guest_text.h"

enum machine_kind {
	MACHINE_KTSTR_URING,
	MACHINE_KTSTR_EPOLL,
	MACHINE_KTSTR_ONE, /* io_uring, but one request at a time */
	MACHINE_QEMU,
};

struct machine_setup {
	const char *ktstr;       /* this program */
	const char *ktstr_words; /* where its devices are: virtio_mmio.device=... for the guest */
	const char *qemu;        /* path, or found in PATH */
	const char *qemu_aio;    /* "io_uring", "native", "threads" */
	const char *guest;       /* the guest's file */
	const char *disk;        /* NULL: none */
	bool has_net;
	int signal_fd;
	uint64_t timeout_ns;
};

struct machine_result {
	struct guest_text text;
	double vmm_ms;   /* CPU of the VMM's threads but vCPUs, in the counted run; NAN: unknown */
	double vcpus_ms; /* of the vCPU threads */
	double kick_exits; /* kicks that reached user space as exits; NAN: the VMM does not tell */
	int signal;        /* after -EINTR: the one that came */
};

/*
 * @words: the guest's (guest/bench/main.c). @ret is large. -EINTR: a signal came; else an error is
 * the VMM's or the guest's, with its text.
 */
MUST_CHECK int machine_run(const struct machine_setup *setup, enum machine_kind kind,
			   const char *words, struct machine_result *ret, struct error *err);
