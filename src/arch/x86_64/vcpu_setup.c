/*
 * Registers of a vCPU before its first run. CPU 0 starts in 64-bit mode at the kernel's entry
 * (Linux 64-bit boot protocol, Documentation/arch/x86/boot.rst); all others stay as KVM made them,
 * waiting for INIT and SIPI.
 */
#include <asm/processor-flags.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch/arch.h"
#include "arch/x86_64/host_error.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/split_irqchip.h"

enum {
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,

	SEG_TYPE_CODE = 0xB, /* execute, read, accessed */
	SEG_TYPE_DATA = 0x3, /* read, write, accessed */
	SEG_TYPE_TSS = 0xB,  /* 64-bit, busy */

	FPU_CONTROL_DEFAULT = 0x37F, /* as FNINIT leaves it */
	MXCSR_DEFAULT = 0x1F80,

	MSR_MISC_ENABLE = 0x1A0,
	MISC_ENABLE_FAST_STRING = 1 << 0,
	MSR_MTRR_DEF_TYPE = 0x2FF,
	MTRR_ENABLED_WRITE_BACK = 1 << 11 | 6,

	APIC_BASE_X2APIC = 1 << 10,

	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_LVT_LINT1 = 0x360,
	LVT_MODE_NMI = 4 << 8,
	LVT_MODE_EXTINT = 7 << 8,
	LVT_MASKED = 1 << 16,
};

/* Segments as the GDT of page_tables.c has them. */
static void set_segments(struct kvm_sregs *s)
{
	struct kvm_segment code = { .selector = BOOT_CS,
				    .type = SEG_TYPE_CODE,
				    .limit = UINT32_MAX,
				    .present = 1,
				    .s = 1,
				    .l = 1,
				    .g = 1 };
	struct kvm_segment data = { .selector = BOOT_DS,
				    .type = SEG_TYPE_DATA,
				    .limit = UINT32_MAX,
				    .present = 1,
				    .s = 1,
				    .db = 1,
				    .g = 1 };

	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = (struct kvm_segment){
		.selector = BOOT_TSS, .type = SEG_TYPE_TSS, .limit = 0xFFFF, .present = 1
	};
	s->gdt = (struct kvm_dtable){ .base = GDT_ADDR, .limit = N_GDT * 8 - 1 };
	/* None: an exception before the kernel's own table is a triple fault, which ends the VM
	 * with a name. */
	s->idt = (struct kvm_dtable){ 0 };
}

static int set_sregs(int vcpu_fd, bool x2apic, struct error *err)
{
	struct kvm_sregs s;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &s) < 0)
		return host_error_set(err, errno, "KVM_GET_SREGS");
	set_segments(&s);
	s.cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
	s.cr3 = PML4_ADDR;
	s.cr4 = X86_CR4_PAE;
	s.efer = EFER_LME | EFER_LMA;
	/* As firmware leaves a machine with such ids: older kernels ignore those above 254
	 * otherwise. */
	if (x2apic)
		s.apic_base |= APIC_BASE_X2APIC;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &s) < 0)
		return host_error_set(err, errno, "KVM_SET_SREGS");
	return 0;
}

static int set_regs(int vcpu_fd, const struct arch_boot *boot, struct error *err)
{
	struct kvm_regs r = {
		.rip = boot->entry.addr,
		.rsi = ZERO_PAGE_ADDR,
		.rsp = BOOT_STACK_ADDR,
		.rbp = BOOT_STACK_ADDR,
		.rflags = X86_EFLAGS_FIXED,
	};

	if (ioctl(vcpu_fd, KVM_SET_REGS, &r) < 0)
		return host_error_set(err, errno, "KVM_SET_REGS");
	return 0;
}

static int set_fpu(int vcpu_fd, struct error *err)
{
	struct kvm_fpu f = { .fcw = FPU_CONTROL_DEFAULT, .mxcsr = MXCSR_DEFAULT };

	if (ioctl(vcpu_fd, KVM_SET_FPU, &f) < 0)
		return host_error_set(err, errno, "KVM_SET_FPU");
	return 0;
}

/* struct kvm_msrs with its array. */
struct boot_msrs {
	uint32_t n, padding;
	struct kvm_msr_entry entries[2];
};
static_assert(offsetof(struct boot_msrs, entries) == sizeof(struct kvm_msrs),
	      "passed to KVM as it is");

/* As firmware leaves them, on every CPU: Linux distrusts caches and PAT where MTRRs are off, and
 * compares CPUs. */
static int set_msrs(int vcpu_fd, struct error *err)
{
	struct boot_msrs msrs = {
		.n = 2,
		.entries = {
			{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
			{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
		},
	};

	/* The result is the number set; the next one is the one that was refused. */
	int n = ioctl(vcpu_fd, KVM_SET_MSRS, &msrs);
	if (n < 0)
		return host_error_set(err, errno, "KVM_SET_MSRS");
	if ((uint32_t)n < msrs.n)
		return error_set_text(err, -EINVAL, "KVM_SET_MSRS: KVM refuses MSR 0x%x",
				      msrs.entries[n].index);
	return 0;
}

/* Virtual wire mode, as a PC's firmware sets it up on the boot processor: the PIC (where there
 * is one) on LINT0, NMI on LINT1. */
static int set_lapic(int vcpu_fd, bool pic, struct error *err)
{
	const uint32_t lint0 = pic ? LVT_MODE_EXTINT : LVT_MASKED, lint1 = LVT_MODE_NMI;
	struct kvm_lapic_state lapic;

	if (ioctl(vcpu_fd, KVM_GET_LAPIC, &lapic) < 0)
		return host_error_set(err, errno, "KVM_GET_LAPIC");
	memcpy(lapic.regs + LAPIC_LVT_LINT0, &lint0, sizeof(lint0));
	memcpy(lapic.regs + LAPIC_LVT_LINT1, &lint1, sizeof(lint1));
	if (ioctl(vcpu_fd, KVM_SET_LAPIC, &lapic) < 0)
		return host_error_set(err, errno, "KVM_SET_LAPIC");
	return 0;
}

static int init_boot_cpu(int vcpu_fd, const struct arch_boot *boot, struct error *err)
{
	bool split = split_irqchip_is_needed(boot->topology);
	int res = set_sregs(vcpu_fd, split, err);

	if (res == 0)
		res = set_regs(vcpu_fd, boot, err);
	if (res == 0)
		res = set_fpu(vcpu_fd, err);
	if (res == 0)
		res = set_lapic(vcpu_fd, !split, err);
	return res;
}

int arch_vcpu_init(int vcpu_fd, uint32_t cpu, const struct arch_boot *boot, struct error *err)
{
	int res = set_msrs(vcpu_fd, err);

	/* An INIT resets everything else of the others. */
	if (res == 0 && cpu == 0)
		res = init_boot_cpu(vcpu_fd, boot, err);
	return res < 0 ? error_prefix(err, "CPU %u", cpu) : 0;
}

void arch_vcpu_describe(int vcpu_fd, char *text, size_t n)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };

	(void)ioctl(vcpu_fd, KVM_GET_MP_STATE, &mp); /* fails without a local APIC: it then runs */
	if (ioctl(vcpu_fd, KVM_GET_REGS, &r) < 0 || ioctl(vcpu_fd, KVM_GET_SREGS, &s) < 0) {
		(void)snprintf(text, n, "registers unreadable: errno %d", errno);
		return;
	}
	(void)snprintf(text, n,
		       "rip=%" PRIx64 " rsp=%" PRIx64 " rflags=%" PRIx64 " rax=%" PRIx64
		       " rbx=%" PRIx64 " rcx=%" PRIx64 " rdx=%" PRIx64 " rsi=%" PRIx64
		       " rdi=%" PRIx64 " rbp=%" PRIx64 " cs=%x cr0=%" PRIx64 " cr2=%" PRIx64
		       " cr3=%" PRIx64 " cr4=%" PRIx64 " efer=%" PRIx64 "%s",
		       (uint64_t)r.rip, (uint64_t)r.rsp, (uint64_t)r.rflags, (uint64_t)r.rax,
		       (uint64_t)r.rbx, (uint64_t)r.rcx, (uint64_t)r.rdx, (uint64_t)r.rsi,
		       (uint64_t)r.rdi, (uint64_t)r.rbp, s.cs.selector, (uint64_t)s.cr0,
		       (uint64_t)s.cr2, (uint64_t)s.cr3, (uint64_t)s.cr4, (uint64_t)s.efer,
		       mp.mp_state == KVM_MP_STATE_RUNNABLE        ? ""
		       : mp.mp_state == KVM_MP_STATE_UNINITIALIZED ? " (never started)"
								   : " (halted)");
}
