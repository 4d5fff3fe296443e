#include "arch/x86_64/cpuid_table.h"

#include <assert.h>
#include <string.h>

#include "arch/arch.h"
#include "base/assert.h"

static_assert(offsetof(struct cpuid_table, e) == sizeof(struct kvm_cpuid2),
	      "passed to KVM as it is");
static_assert(offsetof(struct cpuid_table, n) == offsetof(struct kvm_cpuid2, nent),
	      "passed to KVM as it is");

enum { FAMILY_EXTENDED = 0xF };

bool cpuid_table_of(const struct arch_supported *s, struct cpuid_table *ret)
{
	uint32_t n = s->len / sizeof(ret->e[0]);

	if (!n || n > CPUID_MAX_ENTRIES - CPUID_ROOM || s->len % sizeof(ret->e[0]))
		return false;
	ret->n = n;
	ret->padding = 0;
	memcpy(ret->e, s->bytes, s->len);
	return true;
}

enum cpuid_vendor cpuid_vendor(const struct cpuid_table *t)
{
	static const struct {
		char name[12]; /* no NUL */
		enum cpuid_vendor vendor;
	} vendors[] = {
		{ "GenuineIntel", CPUID_INTEL },
		{ "AuthenticAMD", CPUID_AMD },
		{ "HygonGenuine", CPUID_HYGON },
	};
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, 0, 0);
	char name[12];

	if (!e)
		return CPUID_OTHER;
	memcpy(name, &e->ebx, 4);
	memcpy(name + 4, &e->edx, 4);
	memcpy(name + 8, &e->ecx, 4);
	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++)
		if (memcmp(name, vendors[i].name, sizeof(name)) == 0)
			return vendors[i].vendor;
	return CPUID_OTHER;
}

uint32_t cpuid_family(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);
	uint32_t family = e ? e->eax >> 8 & 0xF : 0;

	return family == FAMILY_EXTENDED ? family + (e->eax >> 20 & 0xFF) : family;
}

uint32_t cpuid_model(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);

	return e ? (e->eax >> 4 & 0xF) | (e->eax >> 12 & 0xF0) : 0;
}

struct kvm_cpuid_entry2 *cpuid_edit(struct cpuid_table *t, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->e[i];
		bool indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (e->function == leaf && (!indexed || e->index == subleaf))
			return e;
	}
	return NULL;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t subleaf)
{
	/* changes nothing */
	return cpuid_edit((struct cpuid_table *)(uintptr_t)t, leaf, subleaf);
}

struct kvm_cpuid_entry2 *cpuid_ensure(struct cpuid_table *t, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_edit(t, leaf, 0);

	if (e)
		return e;
	cpuid_append(t, (struct kvm_cpuid_entry2){ .function = leaf });
	return &t->e[t->n - 1];
}

/* The first leaf of a range (0, 0x40000000, 0x80000000) names the last one in EAX. */
static void raise_maximum(struct cpuid_table *t, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *e = cpuid_edit(t, leaf & 0xFFFF0000u, 0);

	if (e && e->eax < leaf)
		e->eax = leaf;
}

void cpuid_append(struct cpuid_table *t, struct kvm_cpuid_entry2 entry)
{
	ASSERT(t->n < CPUID_MAX_ENTRIES);
	t->e[t->n++] = entry;
	raise_maximum(t, entry.function);
}

void cpuid_remove(struct cpuid_table *t, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function != leaf)
			t->e[kept++] = t->e[i];
	t->n = kept;
}
