/*
 * How a device gets its kicks without a user-space exit: the VM binds an eventfd to writes at a
 * guest address (KVM_IOEVENTFD). A host that has no such thing (unit tests) leaves the ops NULL and
 * kicks by register exits.
 */
#pragma once

#include "bus/guest_mem.h"

struct doorbell_host {
	/*
	 * Writes of 4 bytes, any value, at @gpa signal @event_fd and do not exit. vCPU thread or
	 * set-up. -errno.
	 */
	int (*attach)(void *ctx, gpa_t gpa, int event_fd);
	int (*detach)(void *ctx, gpa_t gpa, int event_fd);
	void *ctx;
};
