/*
 * What a CPU needs in memory to start in 64-bit mode: a GDT and an identity map of the first 4 GiB
 * in 2 MiB pages.
 */
#include "arch/x86_64/page_tables.h"

#include "arch/x86_64/layout.h"
#include "base/num.h"

enum {
	N_ENTRIES = 512,
	PAGE_SIZE_4K = 4096,

	PTE_PRESENT = 1u << 0,
	PTE_WRITE = 1u << 1,
	PTE_LARGE = 1u << 7,
};

static int write_table(const struct guest_mem *mem, uint64_t addr, const uint64_t table[N_ENTRIES])
{
	return guest_mem_write(mem, GPA(addr), table, PAGE_SIZE_4K);
}

static int write_pml4(const struct guest_mem *mem)
{
	uint64_t table[N_ENTRIES] = { PDPT_ADDR | PTE_PRESENT | PTE_WRITE };

	return write_table(mem, PML4_ADDR, table);
}

static int write_pdpt(const struct guest_mem *mem)
{
	uint64_t table[N_ENTRIES] = { 0 };

	for (size_t i = 0; i < N_PD; i++)
		table[i] = (PD_ADDR + i * PAGE_SIZE_4K) | PTE_PRESENT | PTE_WRITE;
	return write_table(mem, PDPT_ADDR, table);
}

static int write_pd(const struct guest_mem *mem, size_t gib)
{
	uint64_t table[N_ENTRIES];

	for (size_t i = 0; i < N_ENTRIES; i++)
		table[i] = (gib * GIB + i * 2 * MIB) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
	return write_table(mem, PD_ADDR + gib * PAGE_SIZE_4K, table);
}

static int write_gdt(const struct guest_mem *mem)
{
	static const uint64_t gdt[N_GDT] = {
		[BOOT_CS / 8] = GDT_CODE64,
		[BOOT_DS / 8] = GDT_DATA,
		[BOOT_TSS / 8] = GDT_TSS64,
	};

	return guest_mem_write(mem, GPA(GDT_ADDR), gdt, sizeof(gdt));
}

int page_tables_write(const struct guest_mem *mem)
{
	int res = write_gdt(mem);

	if (res == 0)
		res = write_pml4(mem);
	if (res == 0)
		res = write_pdpt(mem);
	for (size_t gib = 0; res == 0 && gib < N_PD; gib++)
		res = write_pd(mem, gib);
	return res;
}
