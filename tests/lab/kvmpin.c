/*
 * kvmpin: keeps one idle VM open in the lab's host for as long as that host lives.
 *
 * Why: QEMU's multi-threaded software CPU (7.2) can execute a half-patched instruction when the
 * kernel patches code that another CPU runs, and the kernel dies with "Oops: int3". KVM flips
 * static keys when the first VM appears and when the last one goes: for local APICs that are
 * disabled by hardware or by software, and for its preempt notifiers. With one APIC of each kind
 * held here the keys are on before a test starts, and stay on.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const uint64_t apic_base_enable = 1u << 11; /* MSR_IA32_APICBASE_ENABLE */

static int fail(const char *step)
{
	perror(step);
	return 1;
}

/* A vCPU starts with its APIC disabled by software; this one's is then disabled by hardware too. */
static bool disable_apic(int vcpu_fd)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return false;
	sregs.apic_base &= ~apic_base_enable;
	return ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) == 0;
}

int main(void)
{
	int kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0)
		return fail("kvmpin: /dev/kvm");
	int vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (vm_fd < 0 || ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0))
		return fail("kvmpin: create VM");
	int soft_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 0);
	int hard_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 1);
	if (soft_fd < 0 || hard_fd < 0 || !disable_apic(hard_fd))
		return fail("kvmpin: create vCPUs");
	pid_t child = fork();
	if (child < 0)
		return fail("kvmpin: fork");
	if (child > 0)
		return 0; /* the descriptors live on in the child */
	(void)setsid();   /* cannot fail: a fresh child leads no group */
	for (;;)
		pause();
}
