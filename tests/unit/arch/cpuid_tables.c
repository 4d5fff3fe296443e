#include "cpuid_tables.h"

#include <string.h>

#define AMD_NAME   0x68747541, 0x444D4163, 0x69746E65
#define HYGON_NAME 0x6F677948, 0x656E6975, 0x6E65476E

static const struct kvm_cpuid_entry2 intel[] = {
	{ 0x0, 0, 0, 0xD, 0x756E6547, 0x6C65746E, 0x49656E69 },
	{ 0x1, 0, 0, 0x000C06F2, 0x1F400800, 0x0020A000, 0x0F8BFBFF },
	{ 0x4, 0, 1, 0x7C004121, 0x02C0003F, 0x3F, 0 },
	{ 0x4, 1, 1, 0x7C004122, 0x01C0003F, 0x3F, 0 },
	{ 0x4, 2, 1, 0x7C004143, 0x03C0003F, 0x7FF, 0 },
	{ 0x4, 3, 1, 0x7C1FC163, 0x04C0003F, 0x33FFF, 4 },
	{ 0x4, 4, 1, 0, 0, 0, 0 },
	{ 0x7, 0, 1, 0, 0x00100000, 0, 0 },
	{ 0xA, 0, 0, 0x08300802, 0, 0, 0x8603 },
	{ 0xB, 0, 1, 5, 77, 0x100, 99 },
	{ 0x80000000, 0, 0, 0x80000008, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0, 0x21, 0x2C100800 },
	{ 0x80000008, 0, 0, 0x3930, 0, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D },
	{ 0x40000001, 0, 0, 0x01007EFB, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 zen3[] = {
	{ 0x0, 0, 0, 0x10, AMD_NAME },
	{ 0x1, 0, 0, 0x00A20F10, 0x1F400800, 0x00002000, 0x178BFBFF },
	{ 0x80000000, 0, 0, 0x80000022, AMD_NAME },
	{ 0x80000001, 0, 0, 0x00A20F10, 0, 0x00C00003, 0x2FD3FBFF },
	{ 0x80000006, 0, 0, 0x48002200, 0x68004200, 0x02006140, 0x01009140 },
	{ 0x80000008, 0, 0, 0x3030, 0, 0x701F, 0 },
	{ 0x8000001D, 0, 1, 0x4121, 0x01C0003F, 0x3F, 0 },
	{ 0x8000001D, 1, 1, 0x4122, 0x01C0003F, 0x3F, 0 },
	{ 0x8000001D, 2, 1, 0x4143, 0x01C0003F, 0x3FF, 2 },
	{ 0x8000001D, 3, 1, 0x3C163, 0x03C0003F, 0x7FFF, 1 },
	{ 0x8000001D, 4, 1, 0, 0, 0, 0 },
	{ 0x8000001E, 0, 0, 0x1F, 0x10F, 0x300, 0 },
	{ 0x80000022, 0, 0, 0x1, 0x6, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D },
	{ 0x40000001, 0, 0, 0x01007EFB, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 zen1[] = {
	{ 0x0, 0, 0, 0xD, AMD_NAME },
	{ 0x1, 0, 0, 0x00800F12, 0x1F400800, 0x00002000, 0x178BFBFF },
	{ 0x80000000, 0, 0, 0x8000001F, AMD_NAME },
	{ 0x80000001, 0, 0, 0x00800F12, 0, 0x00400003, 0x2FD3FBFF },
	{ 0x80000008, 0, 0, 0x3030, 0, 0x703F, 0 },
	{ 0x8000001D, 0, 1, 0x4121, 0x01C0003F, 0x3F, 0 },
	{ 0x8000001D, 1, 1, 0x4122, 0x00C0003F, 0xFF, 0 },
	{ 0x8000001D, 2, 1, 0x4143, 0x01C0003F, 0x3FF, 2 },
	{ 0x8000001D, 3, 1, 0x1C163, 0x03C0003F, 0x1FFF, 1 },
	{ 0x8000001D, 4, 1, 0, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 bulldozer[] = {
	{ 0x0, 0, 0, 0xD, AMD_NAME },
	{ 0x1, 0, 0, 0x00600F20, 0x08080800, 0x00002000, 0x178BFBFF },
	{ 0x80000000, 0, 0, 0x8000001E, AMD_NAME },
	{ 0x80000001, 0, 0, 0x00600F20, 0, 0x00400003, 0x2FD3FBFF },
	{ 0x80000006, 0, 0, 0, 0, 0x08008140, 0x0040C140 },
	{ 0x80000008, 0, 0, 0x3030, 0, 0x4007, 0 },
	{ 0x8000001D, 0, 1, 0x121, 0x00C0003F, 0x3F, 0 },
	{ 0x8000001D, 1, 1, 0x4122, 0x0040003F, 0x1FF, 0 },
	{ 0x8000001D, 2, 1, 0x4143, 0x03C0003F, 0x7FF, 0 },
	{ 0x8000001D, 3, 1, 0x1C163, 0x0FC0003F, 0x7FF, 0 },
};

static const struct kvm_cpuid_entry2 hygon[] = {
	{ 0x0, 0, 0, 0xD, HYGON_NAME },
	{ 0x1, 0, 0, 0x00900F11, 0x1F400800, 0x00002000, 0x178BFBFF },
	{ 0x80000000, 0, 0, 0x8000001F, HYGON_NAME },
	{ 0x80000001, 0, 0, 0x00900F11, 0, 0x00400003, 0x2FD3FBFF },
};

static const struct kvm_cpuid_entry2 software_amd[] = {
	{ 0x0, 0, 0, 0x1, AMD_NAME },
	{ 0x1, 0, 0, 0x00A20F10, 0x00000800, 0x00002001, 0x078BFBFF },
	{ 0x80000000, 0, 0, 0x8000000A, AMD_NAME },
	{ 0x80000001, 0, 0, 0x00A20F10, 0, 0x00000005, 0x2191ABFF },
	{ 0x80000008, 0, 0, 0x3028, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 unknown[] = {
	{ 0x0, 0, 0, 0x4, 0x20202020, 0x20202020, 0x20202020 },
	{ 0x1, 0, 0, 0x00000700, 0x00000800, 0x00002001, 0x078BFBFF },
	{ 0x80000000, 0, 0, 0x80000008, 0, 0, 0 },
};

static struct cpuid_table table(const struct kvm_cpuid_entry2 *entries, size_t n)
{
	struct cpuid_table t = { .n = (uint32_t)n };

	memcpy(t.e, entries, n * sizeof(*entries));
	return t;
}

struct cpuid_table cpuid_of_intel(void)
{
	return table(intel, ARRAY_SIZE(intel));
}

struct cpuid_table cpuid_of_zen3(void)
{
	return table(zen3, ARRAY_SIZE(zen3));
}

struct cpuid_table cpuid_of_zen1(void)
{
	return table(zen1, ARRAY_SIZE(zen1));
}

struct cpuid_table cpuid_of_bulldozer(void)
{
	return table(bulldozer, ARRAY_SIZE(bulldozer));
}

struct cpuid_table cpuid_of_hygon(void)
{
	return table(hygon, ARRAY_SIZE(hygon));
}

struct cpuid_table cpuid_of_software_amd(void)
{
	return table(software_amd, ARRAY_SIZE(software_amd));
}

struct cpuid_table cpuid_of_unknown(void)
{
	return table(unknown, ARRAY_SIZE(unknown));
}
