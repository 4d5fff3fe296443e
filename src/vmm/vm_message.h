/*
 * The configuration of a VM process that was started anew: one frame (FRAME_VM_CONFIG) over its link, and the open files
 * beside it by SCM_RIGHTS. Both ends are the same executable; the frame's first word says so.
 *
 *	u32 VM_MESSAGE_VERSION, u32 sizeof(struct wire) | struct wire | command line | suffix of the initramfs | CPUID | pins | nodes
 *	descriptors: kernel, initramfs base, disk, relay, cgroup.procs: those that there are, in this order
 *
 * Behind it one byte for each VM_MESSAGE_LOCKS locks, with their descriptors.
 */
#pragma once

#include "abi/frame.h"
#include "image/kernel_image.h"
#include "vmm/session.h"

enum { VM_MESSAGE_VERSION = 3, VM_MESSAGE_MAX = 256 * 1024, VM_MESSAGE_LOCKS = 200 };

/* Sends @config over the blocking stream socket @fd. Its descriptors stay the caller's. */
MUST_CHECK int vm_message_send(int fd, const struct session_config *config, struct error *err);

/* A configuration that came: everything that session_config points to is in here. */
struct vm_message {
	struct session_config config; /* link_fd is -1 */
	pid_t runner;                 /* who sent it */
	struct kernel_image kernel;
	struct cpu_mask cpu_mask;
	struct virtio_blk_config disk;
	struct virtio_net_config net;
	struct arch_supported supported;
	struct placement placement;
	int cgroup_fd;
	int *lock_fds;
	uint8_t *payload;
	char *cmdline;
};
/* Waits for it. Errors: the peer is gone, or is another ktstr. */
MUST_CHECK int vm_message_receive(int fd, struct vm_message *ret, struct error *err);
void vm_message_fini(struct vm_message *m);
