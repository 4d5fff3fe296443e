/* arch_boot_write: everything a guest finds in memory besides kernel and initrd. */
#include <errno.h>
#include <inttypes.h>

#include "arch/arch.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/boot_params.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/mptable.h"
#include "arch/x86_64/page_tables.h"
#include "base/assert.h"
#include "base/num.h"

/* Everything below 1 MiB is ours, so a guest has at least that. */
static int check_ram(const struct arch_boot *boot, struct error *err)
{
	if (boot->ram_bytes >= 2 * MIB)
		return 0;
	return error_set_usage(err, -EINVAL,
			       "memory: %" PRIu64 " bytes, the machine needs at least 2 MiB",
			       boot->ram_bytes);
}

static int write_mptable(const struct guest_mem *mem, const struct topology *t, struct error *err)
{
	CLEANUP(buf_fini) struct buf image = { 0 };

	if (!mptable_fits(t))
		return 0;
	mptable_build(t, MPTABLE_ADDR, &image);
	ASSERT(image.len <= MPTABLE_END - MPTABLE_ADDR);
	int res = guest_mem_write(mem, GPA(MPTABLE_ADDR), image.data, image.len);
	return res < 0 ? error_set(err, res, "MP table") : 0;
}

int arch_boot_write(const struct guest_mem *mem, const struct arch_boot *boot, struct error *err)
{
	gpa_t rsdp;

	int res = check_ram(boot, err);
	if (res < 0)
		return res;
	res = page_tables_write(mem);
	if (res < 0)
		return error_set(err, res, "boot page tables");
	res = acpi_write(mem, boot, &rsdp, err);
	if (res < 0)
		return res;
	res = write_mptable(mem, boot->topology, err);
	if (res < 0)
		return res;
	return boot_params_write(mem, boot, rsdp, err);
}
