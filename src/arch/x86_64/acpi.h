/*
 * ACPI tables of the machine: hardware-reduced (ACPI 6.5, 4.1), so there are no fixed-event
 * registers, no legacy timer and no legacy interrupts; everything a kernel finds, it finds here.
 * Set-up thread.
 */
#pragma once

#include "arch/arch.h"
#include "base/buf.h"

/*
 * All tables as one image to be placed at guest address @at (16-byte aligned); the RSDP is its
 * first bytes. A pure function of the topology, where its memory lies, and the devices that exist.
 */
void acpi_build(const struct arch_boot *boot, uint64_t at, struct buf *ret);
/* Puts the image at its place. */
MUST_CHECK int acpi_write(const struct guest_mem *mem, const struct arch_boot *boot,
			  gpa_t *ret_rsdp, struct error *err);
