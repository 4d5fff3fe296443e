/*
 * What an architecture provides to src/vmm. One implementation is linked (meson picks the folder).
 * Narrow arguments: KVM descriptors, guest memory, the topology. Set-up thread only, except where
 * noted.
 */
#pragma once

#include "base/memory_layout.h"
#include "base/topology.h"
#include "bus/guest_mem.h"
#include "bus/io_bus.h"
#include "bus/irq_line.h"

struct kvm_run;

/* Fixed places and interrupts of the machine model (DESIGN.md, section 5). */
struct arch_device_slot {
	uint64_t base;
	uint32_t gsi;
};
struct arch_machine {
	struct arch_device_slot console, blk, net; /* virtio-mmio */
	struct arch_device_slot com1, com2;        /* ports on x86 */
	bool uart_is_mmio;
};
extern const struct arch_machine arch_machine;

/* Where this machine has RAM, up to the architecture's limit; a host's KVM may end earlier. */
extern const struct memory_space arch_memory_space;

/* RAM ranges for @bytes of memory (a multiple of 2 MiB): ascending, outside every hole. Returns how
 * many. */
enum { ARCH_MAX_RAM_RANGES = 2 };
struct arch_ram_range {
	gpa_t gpa;
	uint64_t len;
};
size_t arch_ram_ranges(uint64_t bytes, struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES]);

/* Every capability the machine needs; error -ENOTSUP (class skip) names the missing ones. @kvm_fd
 * is /dev/kvm. */
MUST_CHECK int arch_check_capabilities(int kvm_fd, struct error *err);

/*
 * What this host's KVM supports of CPUID: the same for all its VMs, plain bytes. Who starts many VMs asks once and hands it
 * on: it takes the kernel an instruction per leaf, each of which traps where KVM itself runs in a VM.
 */
enum { ARCH_SUPPORTED_MAX = 9 * 1024 };
struct arch_supported {
	uint32_t len; /* 0: not known */
	uint8_t bytes[ARCH_SUPPORTED_MAX];
};
MUST_CHECK int arch_supported_read(int kvm_fd, struct arch_supported *ret, struct error *err);

/* What a host can hold; 0: unknown, and so no limit. */
struct arch_limits {
	int max_cpus;
	int end_of_ids;        /* vCPU ids are below */
	unsigned address_bits; /* guest-physical */
	bool five_levels;      /* of page tables */
	bool split_irqchip;    /* APIC ids above 254 */
};
/* @kvm_fd is /dev/kvm, and @supported its table; -1 and NULL: what the processor alone tells, without a KVM call. */
void arch_limits_read(int kvm_fd, const struct arch_supported *supported, struct arch_limits *ret);
/* Whether CPUs and memory up to @ram_end fit. Errors are class skip, with both numbers. */
MUST_CHECK int arch_limits_check(const struct arch_limits *limits, const struct topology *t,
				 uint64_t ram_end, struct error *err);

/*
 * TSS, identity map, irqchip (and PIT only if @pit: class usage where the machine can have none);
 * after the memory slots, before vCPUs.
 */
struct arch_vm_config {
	const struct topology *topology;
	bool pit;
};
MUST_CHECK int arch_vm_init(int vm_fd, const struct arch_vm_config *config, struct error *err);
/*
 * Before vCPUs: guests that idle or spin stay in the guest, as far as this KVM can, for a host CPU that nobody else uses. Each
 * is a result of its own.
 */
struct arch_exits_off {
	bool pause, hlt;
};
struct arch_exits_off arch_vm_disable_exits(int vm_fd);
/*
 * After vCPUs: whether the guest's clock is the TSC alone, the same on all of its CPUs. -errno: unknown. Only a set makes KVM look, so
 * the clock is set to what it is.
 */
MUST_CHECK int arch_vm_is_clock_stable(int vm_fd, bool *ret);

/*
 * The part of the interrupt controller that runs in this process; NULL where the kernel has all of
 * it, and lines are eventfds bound to their GSIs by irqfd.
 */
struct arch_irqchip;
struct arch_irqchip *arch_irqchip_new(int vm_fd, const struct topology *t);
/* NULL is fine; returns NULL. */
struct arch_irqchip *arch_irqchip_free(struct arch_irqchip *c);
struct io_region *arch_irqchip_region(struct arch_irqchip *c);
/* Where the line of @gsi leads. */
struct irq_sink arch_irqchip_sink(struct arch_irqchip *c, uint32_t gsi);
/* vCPU threads: KVM_EXIT_IOAPIC_EOI. */
void arch_irqchip_eoi(struct arch_irqchip *c, uint8_t vector);

/* The id argument of KVM_CREATE_VCPU for CPU @cpu (x86: its APIC id). */
uint64_t arch_vcpu_id(const struct topology *t, uint32_t cpu);

/* Feature masking from `--cpu -name,-name`. */
struct cpu_mask {
	uint32_t leaf[32], subleaf[32];
	uint8_t reg[32]; /* 0 eax .. 3 edx */
	uint32_t clear[32];
	size_t n;
};
/* "-cx16,-popcnt": class usage errors name the unknown feature. */
MUST_CHECK int arch_cpu_mask_parse(const char *text, struct cpu_mask *ret, struct error *err);
/* Class usage: a feature that CPUs of that topology cannot do without. */
MUST_CHECK int arch_cpu_mask_check(const struct cpu_mask *mask, const struct topology *t,
				   struct error *err);

/* CPUID table of a VM, made of what KVM supports and adapted per vCPU. Opaque, heap. */
struct arch_cpuid;
struct arch_cpuid_config {
	const struct arch_supported *supported;
	const struct topology *topology;
	const struct cpu_mask *mask; /* NULL: none */
	bool realtime;               /* tell the guest that its CPUs are never preempted */
	bool no_hlt_exits;           /* a CPU that halts is not woken by a hypercall */
};
MUST_CHECK int arch_cpuid_new(int kvm_fd, const struct arch_cpuid_config *config,
			      struct arch_cpuid **ret, struct error *err);
struct arch_cpuid *arch_cpuid_free(struct arch_cpuid *c);
MUST_CHECK int arch_vcpu_set_cpuid(int vcpu_fd, const struct arch_cpuid *c, uint32_t cpu,
				   struct error *err);

/* How the guest starts. */
enum arch_entry_kind {
	ARCH_ENTRY_LINUX, /* Linux 64-bit boot protocol: zero page in RSI */
	ARCH_ENTRY_BARE,  /* the same registers and page tables for a micro-guest; RSI = zero page
			     too */
};
struct arch_boot {
	enum arch_entry_kind kind;
	gpa_t entry;
	const uint8_t *setup_header; /* bytes of the bzImage from 0x1f1; NULL for an ELF kernel */
	size_t setup_header_len;
	gpa_t initrd;
	uint64_t initrd_len;
	const char *cmdline; /* whole; -E2BIG when it does not fit */
	const struct topology *topology;
	uint64_t ram_bytes;
	/* of ram_bytes; may be NULL where the guest is told nothing of its nodes */
	const struct memory_layout *memory;
	bool console, blk, net; /* virtio devices that exist, for ACPI */
};
/*
 * Writes zero page, command line, e820, ACPI tables, page tables, GDT into @mem. Kernel and initrd
 * are there already.
 */
MUST_CHECK int arch_boot_write(const struct guest_mem *mem, const struct arch_boot *boot,
			       struct error *err);
/* Boot registers of CPU 0; the others wait for INIT/SIPI. Also LAPIC LINT, MSRs, FPU. */
MUST_CHECK int arch_vcpu_init(int vcpu_fd, uint32_t cpu, const struct arch_boot *boot,
			      struct error *err);
/*
 * Highest page-aligned guest-physical address where an initrd of @len fits: below 3 GiB where there
 * is room, else above 4 GiB. -ENOMEM (class usage) when kernel end @kernel_end and initrd do not
 * fit: both sizes and the memory needed are named.
 */
MUST_CHECK int arch_initrd_place(uint64_t ram_bytes, uint64_t kernel_end, uint64_t len, gpa_t *ret,
				 struct error *err);
/* The default kernel arguments of this machine ("console=ttyS0 quiet ..."). */
const char *arch_default_cmdline(void);

/* Readable registers of a vCPU for a crash report ("rip=... rsp=..."); the vCPU must not be
 * running. */
void arch_vcpu_describe(int vcpu_fd, char *text, size_t n);
