/*
 * Intel 82093AA data sheet, section 3; the EOI register is that of version 0x20.
 *
 * A pin, by its redirection entry and whether a pulse is pending:
 *
 *	                 pulse            mask     unmask                  EOI
 *	masked           pending          -        send if pending         clear remote IRR
 *	edge             send             masked   -                       -
 *	level            send, remote IRR masked   -                       -
 *	level, rem. IRR  pending          masked   -                       clear it, send if pending
 */
#include "legacy/ioapic.h"

#include "base/assert.h"

enum {
	REG_SELECT = 0x00, /* offsets in the window */
	REG_WINDOW = 0x10,
	REG_EOI = 0x40,

	INDEX_ID = 0,
	INDEX_VERSION = 1,
	INDEX_ARBITRATION = 2,
	INDEX_ENTRIES = 0x10, /* two registers each, low half first */

	ID_MASK = 0x0F000000,
	VERSION = 0x20 | (IOAPIC_N_PINS - 1) << 16,

	ENTRY_DELIVERY_SHIFT = 8,
	ENTRY_LOGICAL = 1 << 11,
	ENTRY_STATUS = 1 << 12, /* delivery takes no time: always 0 */
	ENTRY_REMOTE_IRR = 1 << 14,
	ENTRY_LEVEL = 1 << 15,
	ENTRY_MASKED = 1 << 16,
	ENTRY_READ_ONLY = ENTRY_STATUS | ENTRY_REMOTE_IRR,

	/* Bits 8 to 14 of the destination in bits 49 to 55, the place that interrupt remapping has
	   for its index: a guest that knows KVM_FEATURE_MSI_EXT_DEST_ID puts them there. */
	ENTRY_EXT_DEST_SHIFT = 49,
	ENTRY_DEST_SHIFT = 56,
};

static struct ioapic_message message_of(uint64_t entry)
{
	return (struct ioapic_message){
		.destination = (uint32_t)(entry >> ENTRY_DEST_SHIFT) |
			       (uint32_t)(entry >> ENTRY_EXT_DEST_SHIFT & 0x7F) << 8,
		.logical = entry & ENTRY_LOGICAL,
		.level = entry & ENTRY_LEVEL,
		.delivery_mode = entry >> ENTRY_DELIVERY_SHIFT & 7,
		.vector = (uint8_t)entry,
	};
}

/* --- lock held --- */

static void send_pending(struct ioapic *a, unsigned pin)
{
	uint64_t *entry = &a->entries[pin];

	if (!(a->pending & 1u << pin) || (*entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
		return;
	const struct ioapic_message message = message_of(*entry);
	a->pending &= ~(1u << pin);
	if (message.level)
		*entry |= ENTRY_REMOTE_IRR;
	a->config.send(a->config.ctx, &message);
}

/* A level-triggered pin is watched masked or not: a driver may mask it before the EOI comes. */
static void update_watch(struct ioapic *a, unsigned pin, uint64_t before)
{
	const uint64_t quiet = ENTRY_MASKED | ENTRY_READ_ONLY;
	uint64_t now = a->entries[pin];

	if (!((now | before) & ENTRY_LEVEL) || (now & ~quiet) == (before & ~quiet))
		return;
	const struct ioapic_message message = message_of(now);
	a->config.watch(a->config.ctx, pin, message.level ? &message : NULL);
}

static void write_entry(struct ioapic *a, unsigned pin, uint64_t value)
{
	uint64_t before = a->entries[pin];

	a->entries[pin] = (value & ~(uint64_t)ENTRY_READ_ONLY) | (before & ENTRY_REMOTE_IRR);
	/* Edge-triggered entries have none. Drivers of parts without an EOI register rely on it. */
	if (!(value & ENTRY_LEVEL))
		a->entries[pin] &= ~(uint64_t)ENTRY_REMOTE_IRR;
	update_watch(a, pin, before);
	send_pending(a, pin);
}

static void end_interrupt(struct ioapic *a, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++) {
		if (!(a->entries[pin] & ENTRY_REMOTE_IRR) || (uint8_t)a->entries[pin] != vector)
			continue;
		a->entries[pin] &= ~(uint64_t)ENTRY_REMOTE_IRR;
		send_pending(a, pin);
	}
}

static uint32_t read_selected(const struct ioapic *a)
{
	unsigned index = a->select;

	if (index == INDEX_ID || index == INDEX_ARBITRATION)
		return a->id;
	if (index == INDEX_VERSION)
		return VERSION;
	if (index < INDEX_ENTRIES || index >= INDEX_ENTRIES + 2 * IOAPIC_N_PINS)
		return 0;
	return (uint32_t)(a->entries[(index - INDEX_ENTRIES) / 2] >> (index % 2 ? 32 : 0));
}

static void write_selected(struct ioapic *a, uint32_t value)
{
	unsigned index = a->select;

	if (index == INDEX_ID)
		a->id = value & ID_MASK;
	if (index < INDEX_ENTRIES || index >= INDEX_ENTRIES + 2 * IOAPIC_N_PINS)
		return;
	unsigned pin = (index - INDEX_ENTRIES) / 2;
	uint64_t other = a->entries[pin] & (index % 2 ? UINT32_MAX : ~(uint64_t)UINT32_MAX);
	write_entry(a, pin, other | (uint64_t)value << (index % 2 ? 32 : 0));
}

/* --- vCPU threads --- */

/* Registers are 32 bits wide; other accesses read 0 and do nothing. */
static uint64_t ioapic_read(struct io_region *region, uint64_t off, unsigned size)
{
	struct ioapic *a = container_of(region, struct ioapic, region);
	uint32_t v = 0;

	if (size != 4)
		return 0;
	(void)pthread_mutex_lock(&a->lock);
	if (off == REG_SELECT)
		v = a->select;
	else if (off == REG_WINDOW)
		v = read_selected(a);
	(void)pthread_mutex_unlock(&a->lock);
	return v;
}

static void ioapic_write(struct io_region *region, uint64_t off, unsigned size, uint64_t value)
{
	struct ioapic *a = container_of(region, struct ioapic, region);

	if (size != 4)
		return;
	(void)pthread_mutex_lock(&a->lock);
	if (off == REG_SELECT)
		a->select = (uint8_t)value;
	else if (off == REG_WINDOW)
		write_selected(a, (uint32_t)value);
	else if (off == REG_EOI)
		end_interrupt(a, (uint8_t)value);
	(void)pthread_mutex_unlock(&a->lock);
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	(void)pthread_mutex_lock(&a->lock);
	end_interrupt(a, vector);
	(void)pthread_mutex_unlock(&a->lock);
}

/* --- any thread --- */

static void ioapic_pulse(void *ctx, unsigned pin)
{
	struct ioapic *a = ctx;

	(void)pthread_mutex_lock(&a->lock);
	a->pending |= 1u << pin;
	send_pending(a, pin);
	(void)pthread_mutex_unlock(&a->lock);
}

struct irq_sink ioapic_sink(struct ioapic *a, unsigned pin)
{
	ASSERT(pin < IOAPIC_N_PINS);
	return (struct irq_sink){ ioapic_pulse, a, pin };
}

void ioapic_init(struct ioapic *a, const struct ioapic_config *config)
{
	static const struct io_ops ops = { .read = ioapic_read, .write = ioapic_write };

	ASSERT(config->send && config->watch);
	*a = (struct ioapic){
		.region = { .base = config->base,
			    .len = IOAPIC_LEN,
			    .ops = &ops,
			    .name = "ioapic" },
		.config = *config,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++)
		a->entries[pin] = ENTRY_MASKED;
}

void ioapic_fini(struct ioapic *a)
{
	(void)pthread_mutex_destroy(&a->lock); /* nobody holds it: cannot fail */
}
