/*
 * The VM's KVM objects that belong to the architecture: capabilities, TSS and identity map,
 * interrupt controllers, PIT.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch/arch.h"
#include "arch/x86_64/host_error.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/split_irqchip.h"

struct capability {
	int number;
	const char *name;
};

static const struct capability required[] = {
	{ KVM_CAP_IRQCHIP, "IRQCHIP" },
	{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
	{ KVM_CAP_IRQFD, "IRQFD" },
	{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
	{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
	{ KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK" },
	{ KVM_CAP_DEBUGREGS, "DEBUGREGS" },
	{ KVM_CAP_MP_STATE, "MP_STATE" },
	{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" },
	{ KVM_CAP_XCRS, "XCRS" },
	{ KVM_CAP_XSAVE, "XSAVE" },
	{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
};

/* Only where a PIT is made. */
static const struct capability required_for_pit[] = {
	{ KVM_CAP_PIT2, "PIT2" },
	{ KVM_CAP_PIT_STATE2, "PIT_STATE2" },
};

static int check_list(int fd, const struct capability *caps, size_t n, struct error *err)
{
	char missing[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, caps[i].number) <= 0)
			len += (size_t)snprintf(missing + len, sizeof(missing) - len, " KVM_CAP_%s",
						caps[i].name);
	if (!len)
		return 0;
	(void)error_set_text(err, -ENOTSUP, "this host's KVM lacks what the machine needs:%s",
			     missing);
	return error_classify(err, ERROR_SKIP);
}

int arch_check_capabilities(int kvm_fd, struct error *err)
{
	return check_list(kvm_fd, required, ARRAY_SIZE(required), err);
}

uint64_t arch_vcpu_id(const struct topology *t, uint32_t cpu)
{
	return topology_apic_id(t, cpu);
}

/* Real-mode emulation of Intel processors without unrestricted guest keeps its own structures in
 * guest memory. */
static int set_private_pages(int vm_fd, struct error *err)
{
	uint64_t identity_map = IDENTITY_MAP_ADDR;

	if (ioctl(vm_fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDR) < 0)
		return host_error_set(err, errno, "KVM_SET_TSS_ADDR");
	if (ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return host_error_set(err, errno, "KVM_SET_IDENTITY_MAP_ADDR");
	return 0;
}

/*
 * A new PIC of KVM's is unmasked and has no vectors, and KVM routes each GSI below 16 to it as well
 * as to the IOAPIC. A hardware-reduced kernel never touches it and leaves LINT0 open: our first
 * interrupt would arrive as an exception. So it is left as firmware leaves it, with every input
 * masked.
 */
static int mask_pic(int vm_fd, uint32_t chip_id, struct error *err)
{
	struct kvm_irqchip chip = { .chip_id = chip_id };

	if (ioctl(vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
		return host_error_set(err, errno, "KVM_GET_IRQCHIP");
	chip.chip.pic.imr = 0xFF;
	if (ioctl(vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
		return host_error_set(err, errno, "KVM_SET_IRQCHIP");
	return 0;
}

static int create_irqchip(int vm_fd, struct error *err)
{
	if (ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return host_error_set(err, errno, "KVM_CREATE_IRQCHIP");
	int res = mask_pic(vm_fd, KVM_IRQCHIP_PIC_MASTER, err);
	return res < 0 ? res : mask_pic(vm_fd, KVM_IRQCHIP_PIC_SLAVE, err);
}

/* With the dummy speaker, port 0x61 stays in the kernel too. */
static int create_pit(int vm_fd, struct error *err)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };

	int res = check_list(vm_fd, required_for_pit, ARRAY_SIZE(required_for_pit), err);
	if (res < 0)
		return res;
	if (ioctl(vm_fd, KVM_CREATE_PIT2, &config) < 0)
		return host_error_set(err, errno, "KVM_CREATE_PIT2");
	return 0;
}

int arch_vm_init(int vm_fd, const struct arch_vm_config *config, struct error *err)
{
	bool split = split_irqchip_is_needed(config->topology);

	if (split && config->pit)
		return error_set_usage(err, -EINVAL,
				       "--pit: a machine with APIC ids above %d has no i8254",
				       MAX_XAPIC_ID);
	int res = set_private_pages(vm_fd, err);
	if (res == 0)
		res = split ? split_irqchip_enable(vm_fd, err) : create_irqchip(vm_fd, err);
	if (res == 0 && config->pit)
		res = create_pit(vm_fd, err);
	return res;
}

static bool disable_exit(int vm_fd, uint64_t exit)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS, .args = { exit } };

	return ioctl(vm_fd, KVM_ENABLE_CAP, &cap) == 0;
}

/*
 * Two calls, which add up: one for both would fail as a whole where HLT may not be. What the host allows is in the extension's
 * value only: where a sibling thread could leak, KVM takes the call for HLT and does nothing.
 */
struct arch_exits_off arch_vm_disable_exits(int vm_fd)
{
	int allowed = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS);
	struct arch_exits_off off = { 0 };

	if (allowed <= 0)
		return off;
	if (allowed & KVM_X86_DISABLE_EXITS_PAUSE)
		off.pause = disable_exit(vm_fd, KVM_X86_DISABLE_EXITS_PAUSE);
	if (allowed & KVM_X86_DISABLE_EXITS_HLT)
		off.hlt = disable_exit(vm_fd, KVM_X86_DISABLE_EXITS_HLT);
	return off;
}

/* Flags that came with a get would move the clock when they are set. */
int arch_vm_is_clock_stable(int vm_fd, bool *ret)
{
	struct kvm_clock_data clock = { 0 };

	if (ioctl(vm_fd, KVM_GET_CLOCK, &clock) < 0)
		return -errno;
	struct kvm_clock_data same = { .clock = clock.clock };
	if (ioctl(vm_fd, KVM_SET_CLOCK, &same) < 0 || ioctl(vm_fd, KVM_GET_CLOCK, &clock) < 0)
		return -errno;
	*ret = clock.flags & KVM_CLOCK_TSC_STABLE;
	return 0;
}
