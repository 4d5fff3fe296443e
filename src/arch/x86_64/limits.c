/* What this host's KVM and processor can hold, and whether a machine fits. */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "arch/arch.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/split_irqchip.h"
#include "base/num.h"

/* Beyond, Linux' page tables of four levels do not reach (MAX_PHYSMEM_BITS). */
enum { FOUR_LEVEL_BITS = 46, LEAF7_ECX_LA57 = 1 << 16 };

#define LEAF_ADDRESS_SIZES 0x80000008u

/* The guest's own size of addresses, where KVM tells one, else the processor's. */
static unsigned address_bits(uint32_t eax)
{
	return eax >> 16 & 0xFF ? eax >> 16 & 0xFF : eax & 0xFF;
}

struct registers {
	uint32_t a, b, c, d;
};

static struct registers cpuid(uint32_t leaf)
{
	struct registers r;

	__asm__("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
	return r;
}

static void read_processor(struct arch_limits *l)
{
	if (cpuid(0x80000000).a >= LEAF_ADDRESS_SIZES)
		l->address_bits = address_bits(cpuid(LEAF_ADDRESS_SIZES).a);
	if (cpuid(0).a >= 7)
		l->five_levels = cpuid(7).c & LEAF7_ECX_LA57;
}

static void read_kvm(int kvm_fd, struct arch_limits *l)
{
	l->max_cpus = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	l->end_of_ids = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID);
	l->split_irqchip = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP) > 0 &&
			   ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X2APIC_API) > 0;
}

static void read_supported(const struct cpuid_table *t, struct arch_limits *l)
{
	const struct kvm_cpuid_entry2 *sizes = cpuid_find(t, LEAF_ADDRESS_SIZES, 0);
	const struct kvm_cpuid_entry2 *features = cpuid_find(t, 7, 0);
	if (sizes)
		l->address_bits = address_bits(sizes->eax);
	l->five_levels = features && features->ecx & LEAF7_ECX_LA57;
}

void arch_limits_read(int kvm_fd, const struct arch_supported *supported, struct arch_limits *ret)
{
	struct cpuid_table t;

	*ret = (struct arch_limits){ .split_irqchip = true };
	if (supported && cpuid_table_of(supported, &t))
		read_supported(&t, ret);
	else
		read_processor(ret); /* each of its instructions may trap */
	if (kvm_fd >= 0)
		read_kvm(kvm_fd, ret);
}

static int check_memory(const struct arch_limits *l, uint64_t ram_end, struct error *err)
{
	if (l->address_bits && l->address_bits < 64 && ram_end > UINT64_C(1) << l->address_bits)
		(void)error_set_text(err, -ENOTSUP,
				     "memory that ends at address %" PRIu64
				     " MiB: this host's processor has %u address bits, which end "
				     "at %" PRIu64 " MiB",
				     ram_end / MIB, l->address_bits,
				     (UINT64_C(1) << l->address_bits) / MIB);
	else if (!l->five_levels && ram_end > UINT64_C(1) << FOUR_LEVEL_BITS)
		(void)error_set_text(err, -ENOTSUP,
				     "memory that ends at address %" PRIu64 " MiB: beyond %" PRIu64
				     " MiB it takes page tables of five levels, which this host's "
				     "processor lacks",
				     ram_end / MIB, (UINT64_C(1) << FOUR_LEVEL_BITS) / MIB);
	else
		return 0;
	return error_classify(err, ERROR_SKIP);
}

int arch_limits_check(const struct arch_limits *l, const struct topology *t, uint64_t ram_end,
		      struct error *err)
{
	uint32_t n = topology_n_cpus(t);
	uint32_t max_id = topology_apic_id(t, n - 1);

	if (l->max_cpus > 0 && n > (uint32_t)l->max_cpus)
		(void)error_set_text(err, -ENOTSUP,
				     "%u CPUs: this host's KVM has at most %d in a VM", n,
				     l->max_cpus);
	else if (l->end_of_ids > 0 && max_id >= (uint32_t)l->end_of_ids)
		(void)error_set_text(err, -ENOTSUP,
				     "%u CPUs with APIC ids up to %u: this host's KVM ends at %d",
				     n, max_id, l->end_of_ids - 1);
	else if (split_irqchip_is_needed(t) && !l->split_irqchip)
		(void)error_set_text(
		    err, -ENOTSUP,
		    "%u CPUs with APIC ids up to %u: above %d this host's KVM lacks "
		    "KVM_CAP_SPLIT_IRQCHIP or KVM_CAP_X2APIC_API",
		    n, max_id, MAX_XAPIC_ID);
	else
		return check_memory(l, ram_end, err);
	return error_classify(err, ERROR_SKIP);
}
