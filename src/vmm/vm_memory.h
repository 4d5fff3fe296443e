/*
 * Guest RAM: host mappings, KVM memory slots, and the images that lie in it. Set-up thread (the
 * VM's I/O thread).
 *
 * One mapping and one slot per contiguous RAM range; a kernel's or initramfs's file pages are
 * mapped over it copy-on-write where they are page-aligned, so that VMs of a batch share them, and
 * copied in where not.
 */
#pragma once

#include "arch/arch.h"
#include "bus/guest_mem.h"

struct kernel_image;

/* Maps RAM for @bytes. On error what was mapped is still @mem's: guest_mem_fini. */
MUST_CHECK int vm_memory_map(struct guest_mem *mem, uint64_t bytes, struct error *err);
/* Gives @vm_fd a slot for each range. */
MUST_CHECK int vm_memory_set_slots(const struct guest_mem *mem, int vm_fd, struct error *err);
/* The kernel's segments. Error (class usage): one lies outside RAM. */
MUST_CHECK int vm_memory_load_kernel(const struct guest_mem *mem, const struct kernel_image *kernel,
				     struct error *err);
/* @len bytes of @fd from @offset on at @gpa. */
MUST_CHECK int vm_memory_load_file(const struct guest_mem *mem, gpa_t gpa, int fd, uint64_t offset,
				   uint64_t len, struct error *err);
