/*
 * What a VM boots, from the options of a run: kernel, initramfs, command line, and how much memory they need. A test of
 * a batch is a run whose options its declaration makes, so `ktstr run` and `ktstr test` share all of this.
 */
#pragma once

#include "base/buf.h"
#include "cli/run_options.h"
#include "image/initramfs.h"
#include "image/kernel_cache.h"
#include "image/kernel_image.h"

struct guest_setup {
	char *cache_dir;
	struct kernel_entry entry;
	struct kernel_image kernel;
};
#define GUEST_SETUP_INIT ((struct guest_setup){ .kernel = KERNEL_IMAGE_INIT })

/* The cache, and the kernel of --kernel in it or elsewhere. */
MUST_CHECK int guest_setup_kernel(const struct run_options *o, struct guest_setup *ret,
				  struct error *err);
void guest_setup_fini(struct guest_setup *s); /* idempotent */
/* Class skip where this KVM cannot run a stock kernel; --force and bare guests go ahead. */
MUST_CHECK int guest_setup_check_kvm(const struct run_options *o, const struct guest_setup *s,
				     struct error *err);
/* A guest that is no Linux has no initramfs to put files in. Class usage. */
MUST_CHECK int guest_setup_check_files(const struct run_options *o, const struct guest_setup *s,
				       struct error *err);

/* ktstr's own initramfs for the command, or a shell where there is none. */
MUST_CHECK int guest_setup_initramfs(const struct guest_setup *s, const struct run_options *o,
				     struct initramfs *ret, struct error *err);
/* A suffix for @base, for a run whose options differ in nothing that is in the base. The caller frees *ret. */
MUST_CHECK int guest_setup_suffix(const struct initramfs *base, const struct run_options *o,
				  uint8_t **ret, size_t *ret_len, struct error *err);
/* Whether the bases of both are the same, of one command and the same includes. */
bool guest_setup_shares_base(const struct run_options *a, const struct run_options *b);

/* What needs no KVM and no image to tell: with the memory asked for, or the least that it will be. */
MUST_CHECK int guest_setup_check_memory(const struct run_options *o, struct error *err);
/* Sets o->memory_mib, from what kernel and initramfs need if nothing was asked for. */
MUST_CHECK int guest_setup_memory(const struct guest_setup *s, const struct initramfs *initramfs,
				  struct run_options *o, struct error *err);
/* Appends the kernel's command line. */
void guest_setup_cmdline(const struct run_options *o, struct buf *ret);
