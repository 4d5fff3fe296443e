/* Linux' zero page (Documentation/arch/x86/boot.rst and zero-page.rst). Set-up thread. */
#pragma once

#include "arch/arch.h"

struct boot_params;

/*
 * Fills @ret for @boot: the kernel's own setup header, e820, command line address, initrd, RSDP
 * address. Errors (class usage): a setup header that is none or of a boot protocol before 2.12
 * (64-bit entry, kernels before 3.8).
 */
MUST_CHECK int boot_params_fill(const struct arch_boot *boot, gpa_t rsdp, struct boot_params *ret,
				struct error *err);
/* Writes zero page and command line. -E2BIG (class usage): the command line is longer than the
 * kernel keeps. */
MUST_CHECK int boot_params_write(const struct guest_mem *mem, const struct arch_boot *boot,
				 gpa_t rsdp, struct error *err);
