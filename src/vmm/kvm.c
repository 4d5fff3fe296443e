#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int kvm_ioctl(int fd, unsigned long request, unsigned long arg)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

int kvm_error(struct error *err, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int e = code < 0 ? -code : code;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (e == ENOMEM || e == EBUSY || e == EAGAIN || e == EMFILE || e == ENFILE)
		return error_set(err, code, "%s: host resources are short", text);
	return error_set(err, code, "%s", text);
}

int kvm_open(struct error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		int version = kvm_ioctl(fd, KVM_GET_API_VERSION, 0);
		if (version == KVM_API_VERSION)
			return fd;
		(void)close(fd);
		if (version < 0)
			(void)error_set(err, version, "/dev/kvm is not KVM: KVM_GET_API_VERSION");
		else
			(void)error_set_text(err, -ENOTSUP, "/dev/kvm: API version %d, need %d",
					     version, KVM_API_VERSION);
	} else if (errno == ENOENT || errno == ENXIO || errno == ENODEV) {
		(void)error_set_text(
		    err, -ENODEV,
		    "/dev/kvm does not exist: load kvm_intel or kvm_amd, enable virtualization "
		    "in the firmware, or give this container the device");
	} else if (errno == EACCES || errno == EPERM) {
		(void)error_set_text(
		    err, -EACCES,
		    "/dev/kvm: permission denied for uid %u: join the group that owns it "
		    "(`usermod -aG kvm USER`, then log in again)",
		    (unsigned)geteuid());
	} else {
		return kvm_error(err, errno, "open /dev/kvm");
	}
	return error_classify(err, ERROR_SKIP);
}

int kvm_create_vm(int kvm_fd, struct error *err)
{
	int fd = kvm_ioctl(kvm_fd, KVM_CREATE_VM, 0);

	return fd < 0 ? kvm_error(err, fd, "KVM_CREATE_VM") : fd;
}
