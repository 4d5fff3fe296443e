/*
 * The ways an x86 guest ends itself: the i8042 reset pulse (command 0xFE at port 0x64) and ACPI's
 * hardware-reduced reset and sleep registers (ACPI 6.5, 4.8.3.6 and 4.8.3.7). Three small register
 * windows with one callback.
 */
#pragma once

#include "bus/io_bus.h"

enum power_event { POWER_RESET, POWER_OFF };

/* vCPU thread. The guest does not run on after it: the caller stops the VM. */
typedef void (*power_fn)(void *ctx, enum power_event event);

enum {
	I8042_BASE = 0x60, /* 0x60..0x64 */
	I8042_LEN = 5,
	ACPI_RESET_PORT = 0x600, /* write ACPI_RESET_VALUE */
	ACPI_RESET_VALUE = 0x01,
	ACPI_SLEEP_CONTROL_PORT = 0x601, /* SLP_TYP << 2 | SLP_EN (0x20) */
	ACPI_SLEEP_STATUS_PORT = 0x602,
	ACPI_SLP_TYP_S5 = 5,
};

struct power {
	struct io_region i8042;
	struct io_region acpi;
	power_fn fn;
	void *ctx;
};

void power_init(struct power *p, power_fn fn, void *ctx);
/* Adds both windows to the port bus. */
MUST_CHECK int power_add(struct power *p, struct io_bus *ports);
