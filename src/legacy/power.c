/*
 * The two register windows by which an x86 guest ends itself. Stateless but for the callback; vCPU
 * threads.
 */
#include "legacy/power.h"

#include "base/assert.h"

enum {
	I8042_PORT_B = 0x61 - I8042_BASE,  /* NMI status and PIT channel 2 */
	I8042_COMMAND = 0x64 - I8042_BASE, /* read: status */
	I8042_CMD_RESET = 0xFE,            /* pulse output line 0: the processor's reset */
	/*
	 * Output buffer full for ever, input buffer empty: Linux' probe takes 16 reads of an always
	 * full buffer for an absent controller (any other answer costs it seconds of self test),
	 * and `reboot=k`, which waits for the input buffer, goes on at once.
	 */
	I8042_STATUS = 0x01,
	/* PIT channel 2 has counted down: a kernel that calibrates by it ends its loop and finds
	   the result unusable. */
	PORT_B_TIMER2_OUT = 0x20,

	ACPI_LEN = 3,
	ACPI_SLP_TYP_SHIFT = 2,
	ACPI_SLP_TYP_MASK = 7,
	ACPI_SLP_EN = 0x20,
};

/* Wide accesses reach consecutive ports byte by byte, as on the ISA bus. */
static uint8_t byte_of(uint64_t value, unsigned i)
{
	return (uint8_t)(value >> (8 * i));
}

static uint64_t i8042_read(struct io_region *region UNUSED, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++) {
		if (off + i == I8042_COMMAND)
			v |= (uint64_t)I8042_STATUS << (8 * i);
		else if (off + i == I8042_PORT_B)
			v |= (uint64_t)PORT_B_TIMER2_OUT << (8 * i);
	}
	return v;
}

static void i8042_write(struct io_region *region, uint64_t off, unsigned size, uint64_t value)
{
	struct power *p = container_of(region, struct power, i8042);

	for (unsigned i = 0; i < size; i++)
		if (off + i == I8042_COMMAND && byte_of(value, i) == I8042_CMD_RESET)
			p->fn(p->ctx, POWER_RESET);
}

/* The wake status bit stays clear: there is no sleep state to wake from. */
static uint64_t acpi_read(struct io_region *region UNUSED, uint64_t off UNUSED,
			  unsigned size UNUSED)
{
	return 0;
}

static void acpi_write(struct io_region *region, uint64_t off, unsigned size, uint64_t value)
{
	struct power *p = container_of(region, struct power, acpi);

	for (unsigned i = 0; i < size; i++) {
		uint64_t port = ACPI_RESET_PORT + off + i;
		uint8_t v = byte_of(value, i);

		if (port == ACPI_RESET_PORT && v == ACPI_RESET_VALUE)
			p->fn(p->ctx, POWER_RESET);
		if (port == ACPI_SLEEP_CONTROL_PORT && (v & ACPI_SLP_EN) &&
		    (v >> ACPI_SLP_TYP_SHIFT & ACPI_SLP_TYP_MASK) == ACPI_SLP_TYP_S5)
			p->fn(p->ctx, POWER_OFF);
	}
}

static const struct io_ops i8042_ops = { .read = i8042_read, .write = i8042_write };
static const struct io_ops acpi_ops = { .read = acpi_read, .write = acpi_write };

void power_init(struct power *p, power_fn fn, void *ctx)
{
	ASSERT(fn);
	*p = (struct power){
		.i8042 = { .base = I8042_BASE,
			   .len = I8042_LEN,
			   .ops = &i8042_ops,
			   .name = "i8042" },
		.acpi = { .base = ACPI_RESET_PORT,
			  .len = ACPI_LEN,
			  .ops = &acpi_ops,
			  .name = "acpi-power" },
		.fn = fn,
		.ctx = ctx,
	};
}

int power_add(struct power *p, struct io_bus *ports)
{
	int res = io_bus_add(ports, &p->i8042);

	return res < 0 ? res : io_bus_add(ports, &p->acpi);
}
