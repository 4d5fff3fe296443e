/*
 * /dev/kvm and VM descriptors: the few calls that every user of KVM makes, with errors that tell
 * what to do.
 */
#pragma once

#include "base/error.h"

/*
 * Opens /dev/kvm. Returns the descriptor (the caller's) or -errno; errors (class skip: another host
 * could) tell whether it is missing or not permitted.
 */
MUST_CHECK int kvm_open(struct error *err);
/*
 * KVM_CREATE_VM, retried while the kernel says EINTR (a signal during its grace periods). Returns a
 * descriptor.
 */
MUST_CHECK int kvm_create_vm(int kvm_fd, struct error *err);
/* ioctl that retries EINTR; returns the non-negative result or -errno. */
int kvm_ioctl(int fd, unsigned long request, unsigned long arg);
/*
 * error_set for a failed KVM call; ENOMEM, EBUSY, EAGAIN, EMFILE and ENFILE are named as a lack of
 * host resources.
 */
int kvm_error(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
