/*
 * What this KVM really is, asked by micro-guests: tiny 64-bit programs at CPL0. Some KVMs are
 * software ones (nested clouds, CI runners): they interpret kernel mode, lack instructions, and
 * cannot boot a stock kernel.
 */
#pragma once

#include "base/error.h"

enum { KVM_PROBE_MAX_INSTRUCTIONS = 16 };

struct kvm_probe {
	struct {
		const char *name; /* "popcnt", "int3", ...: static */
		bool works;
	} instructions[KVM_PROBE_MAX_INSTRUCTIONS];
	size_t n_instructions;
	bool syscall_ok;    /* a user-mode syscall arrives in the kernel with kernel selectors */
	bool timer_ok;      /* a local APIC timer interrupt arrives */
	double kernel_mips; /* kernel-mode instructions per microsecond */
	double user_mips;
	double exit_us;      /* MMIO write with a user-space exit */
	double ioeventfd_us; /* the same write to an ioeventfd */
	bool complete;       /* an unmodified kernel can run */
	char why[256];       /* what is missing; empty when complete */
};

/* Runs all probes, about 100 ms at most. Error: no KVM at all, or it fails in a way of its own. */
MUST_CHECK int kvm_probe(struct kvm_probe *ret, struct error *err);
/*
 * 0 when an unmodified Linux can run here; else -ENOTSUP (class skip) with the explanation and the
 * way out. Asks only the decisive probes; the answer is kept per boot in @cache_dir, so that it
 * costs nothing the next time.
 */
MUST_CHECK int kvm_probe_check_linux(const char *cache_dir, struct error *err);
