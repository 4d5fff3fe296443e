/*
 * CPUID tables as KVM hosts report them, each with a topology of the host's that is wrong on
 * purpose and must not come through.
 */
#pragma once

#include "arch/x86_64/cpuid_table.h"

struct cpuid_table cpuid_of_intel(void);
struct cpuid_table cpuid_of_zen3(void);
struct cpuid_table cpuid_of_zen1(void);
struct cpuid_table cpuid_of_bulldozer(void); /* family 15h */
struct cpuid_table cpuid_of_hygon(void);
struct cpuid_table cpuid_of_software_amd(void); /* without TOPOEXT, few leaves, no caches */
struct cpuid_table cpuid_of_unknown(void);      /* of another vendor, without caches */
