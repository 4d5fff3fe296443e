/*
 * Feature names of `--cpu -name`: as Linux prints them in /proc/cpuinfo, and KVM's paravirtual
 * features by the names of their KVM_FEATURE_ constants. '-' and '_' are the same.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/split_irqchip.h"

/* One CPUID register: a name per bit, NULL where the bit has none (reserved, a number, or
 * topology). */
struct feature_word {
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	const char *names[32];
};

static const struct feature_word feature_words[] = {
	{ 1, 0, CPUID_ECX, { "pni",    "pclmulqdq", "dtes64", "monitor", "ds_cpl",
			     "vmx",    "smx",       "est",    "tm2",     "ssse3",
			     "cid",    "sdbg",      "fma",    "cx16",    "xtpr",
			     "pdcm",   NULL,        "pcid",   "dca",     "sse4_1",
			     "sse4_2", "x2apic",    "movbe",  "popcnt",  "tsc_deadline_timer",
			     "aes",    "xsave",     NULL,     "avx",     "f16c",
			     "rdrand", "hypervisor" } },
	{ 1, 0, CPUID_EDX, { "fpu",  "vme",   "de",   "pse",     "tsc",  "msr", "pae",  "mce",
			     "cx8",  "apic",  NULL,   "sep",     "mtrr", "pge", "mca",  "cmov",
			     "pat",  "pse36", "pn",   "clflush", NULL,   "dts", "acpi", "mmx",
			     "fxsr", "sse",   "sse2", "ss",      NULL,   "tm",  "ia64", "pbe" } },
	{ 6, 0, CPUID_EAX, { [2] = "arat" } },
	{ 7, 0, CPUID_EBX, { "fsgsbase", "tsc_adjust", "sgx",      "bmi1",       "hle",
			     "avx2",     NULL,         "smep",     "bmi2",       "erms",
			     "invpcid",  "rtm",        "cqm",      NULL,         "mpx",
			     "rdt_a",    "avx512f",    "avx512dq", "rdseed",     "adx",
			     "smap",     "avx512ifma", NULL,       "clflushopt", "clwb",
			     "intel_pt", "avx512pf",   "avx512er", "avx512cd",   "sha_ni",
			     "avx512bw", "avx512vl" } },
	{ 7,
	  0,
	  CPUID_ECX,
	  { NULL,
	    "avx512vbmi",
	    "umip",
	    "pku",
	    "ospke",
	    "waitpkg",
	    "avx512_vbmi2",
	    "shstk",
	    "gfni",
	    "vaes",
	    "vpclmulqdq",
	    "avx512_vnni",
	    "avx512_bitalg",
	    "tme",
	    "avx512_vpopcntdq",
	    NULL,
	    "la57",
	    [22] = "rdpid",
	    [24] = "bus_lock_detect",
	    [25] = "cldemote",
	    [27] = "movdiri",
	    [28] = "movdir64b",
	    [29] = "enqcmd",
	    [30] = "sgx_lc" } },
	{ 7,
	  0,
	  CPUID_EDX,
	  { [2] = "avx512_4vnniw",
	    [3] = "avx512_4fmaps",
	    [4] = "fsrm",
	    [8] = "avx512_vp2intersect",
	    [10] = "md_clear",
	    [14] = "serialize",
	    [16] = "tsxldtrk",
	    [18] = "pconfig",
	    [19] = "arch_lbr",
	    [20] = "ibt",
	    [22] = "amx_bf16",
	    [23] = "avx512_fp16",
	    [24] = "amx_tile",
	    [25] = "amx_int8",
	    [26] = "spec_ctrl",
	    [27] = "intel_stibp",
	    [28] = "flush_l1d",
	    [29] = "arch_capabilities",
	    [30] = "core_capabilities",
	    [31] = "ssbd" } },
	{ 7,
	  1,
	  CPUID_EAX,
	  { [4] = "avx_vnni",
	    [5] = "avx512_bf16",
	    [10] = "fzrm",
	    [11] = "fsrs",
	    [12] = "fsrc",
	    [17] = "fred",
	    [18] = "lkgs",
	    [21] = "amx_fp16",
	    [23] = "avx_ifma",
	    [26] = "lam" } },
	{ 0xD, 1, CPUID_EAX, { "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd" } },
	{ 0x80000001, 0, CPUID_ECX, { "lahf_lm",    NULL,          "svm",
				      "extapic",    "cr8_legacy",  "abm",
				      "sse4a",      "misalignsse", "3dnowprefetch",
				      "osvw",       "ibs",         "xop",
				      "skinit",     "wdt",         NULL,
				      "lwp",        "fma4",        "tce",
				      NULL,         "nodeid_msr",  NULL,
				      "tbm",        "topoext",     "perfctr_core",
				      "perfctr_nb", NULL,          "bpext",
				      "ptsc",       "perfctr_llc", "mwaitx" } },
	{ 0x80000001,
	  0,
	  CPUID_EDX,
	  { [11] = "syscall",
	    [19] = "mp",
	    [20] = "nx",
	    [22] = "mmxext",
	    [25] = "fxsr_opt",
	    [26] = "pdpe1gb",
	    [27] = "rdtscp",
	    [29] = "lm",
	    [30] = "3dnowext",
	    [31] = "3dnow" } },
	{ 0x80000007, 0, CPUID_EDX, { [8] = "nonstop_tsc" } },
	{ 0x80000008,
	  0,
	  CPUID_EBX,
	  { "clzero", "irperf", "xsaveerptr", NULL, "rdpru", [9] = "wbnoinvd", [12] = "ibpb",
	    [14] = "ibrs", [15] = "stibp", [17] = "stibp_always_on", [23] = "amd_ppin",
	    [24] = "amd_ssbd", [25] = "virt_ssbd", [27] = "cppc", [31] = "brs" } },
	{ 0x80000021,
	  0,
	  CPUID_EAX,
	  { [0] = "no_nested_data_bp",
	    [2] = "lfence_rdtsc",
	    [6] = "null_sel_clr_base",
	    [8] = "autoibrs" } },
	{ 0x40000001,
	  0,
	  CPUID_EAX,
	  { "clocksource", "nop_io_delay", NULL, "clocksource2", "async_pf", "steal_time", "pv_eoi",
	    "pv_unhalt", NULL, "pv_tlb_flush", "async_pf_vmexit", "pv_send_ipi", "poll_control",
	    "pv_sched_yield", "async_pf_int", "msi_ext_dest_id", "hc_map_gpa_range",
	    "migration_control", [24] = "clocksource_stable" } },
};

/* As the names are stored: lower case, '_'. */
static int fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	return c == '-' ? '_' : c;
}

static bool names_match(const char *name, const char *text, size_t len)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (fold(text[i]) != name[i])
			return false;
	return true;
}

/* The bit of that name, or -1. */
static int find_bit(const struct feature_word *word, const char *text, size_t len)
{
	for (int bit = 0; bit < 32; bit++)
		if (word->names[bit] && names_match(word->names[bit], text, len))
			return bit;
	return -1;
}

static const struct feature_word *find_feature(const char *text, size_t len, int *ret_bit)
{
	for (size_t w = 0; w < ARRAY_SIZE(feature_words); w++) {
		*ret_bit = find_bit(&feature_words[w], text, len);
		if (*ret_bit >= 0)
			return &feature_words[w];
	}
	return NULL;
}

/* One mask entry per register; there are fewer registers than entries. */
static void mask_add(struct cpu_mask *mask, const struct feature_word *word, int bit)
{
	static_assert(ARRAY_SIZE(feature_words) <= ARRAY_SIZE(mask->leaf), "an entry per register");
	size_t i = 0;

	while (i < mask->n && (mask->leaf[i] != word->leaf || mask->subleaf[i] != word->subleaf ||
			       mask->reg[i] != word->reg))
		i++;
	if (i == mask->n) {
		mask->n++;
		mask->leaf[i] = word->leaf;
		mask->subleaf[i] = word->subleaf;
		mask->reg[i] = (uint8_t)word->reg;
	}
	mask->clear[i] |= 1u << bit;
}

int arch_cpu_mask_parse(const char *text, struct cpu_mask *ret, struct error *err)
{
	struct cpu_mask mask = { 0 };
	const char *p = text;

	for (;;) {
		size_t n = strcspn(p, ",");
		int bit;

		if (n < 2 || p[0] != '-')
			return error_set_usage(err, -EINVAL,
					       "--cpu: '%.*s' in '%s' is not of the form -feature: "
					       "features can only be "
					       "taken away",
					       (int)n, p, text);
		const struct feature_word *word = find_feature(p + 1, n - 1, &bit);
		if (!word)
			return error_set_usage(
			    err, -EINVAL,
			    "--cpu: '%.*s' is no known CPU feature (names as in /proc/cpuinfo)",
			    (int)(n - 1), p + 1);
		mask_add(&mask, word, bit);
		if (!p[n])
			break;
		p += n + 1;
	}
	*ret = mask;
	return 0;
}

static bool mask_has(const struct cpu_mask *mask, const struct feature_word *word, int bit)
{
	for (size_t i = 0; i < mask->n; i++)
		if (mask->leaf[i] == word->leaf && mask->subleaf[i] == word->subleaf &&
		    mask->reg[i] == word->reg && mask->clear[i] & 1u << bit)
			return true;
	return false;
}

int arch_cpu_mask_check(const struct cpu_mask *mask, const struct topology *t, struct error *err)
{
	/* KVM refuses to start such a CPU without the one, Linux leaves it offline without the other. */
	static const char *const needed[] = { "x2apic", "msi_ext_dest_id" };

	for (size_t i = 0; split_irqchip_is_needed(t) && i < ARRAY_SIZE(needed); i++) {
		int bit;
		const struct feature_word *word = find_feature(needed[i], strlen(needed[i]), &bit);

		if (word && mask_has(mask, word, bit))
			return error_set_usage(
			    err, -EINVAL, "--cpu: -%s: a machine with APIC ids above %d needs it",
			    needed[i], MAX_XAPIC_ID);
	}
	return 0;
}
