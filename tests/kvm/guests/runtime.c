/* The runtime of micro-guests (guest.h). */
#include "guest.h"

enum {
	COM1 = 0x3f8,
	COM_LINE_STATUS = 5,
	COM_TRANSMIT_EMPTY = 0x20,
	ACPI_RESET = 0x600,
	ACPI_SLEEP_CONTROL = 0x601,
	I8042_COMMAND = 0x64,
};

void guest_run(const struct boot_params *boot)
{
	guest_main(boot);
	guest_power_off();
}

void guest_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

void guest_spin(void)
{
	for (;;)
		cpu_pause();
}

void guest_power_off(void)
{
	out8(ACPI_SLEEP_CONTROL, 5 << 2 | 0x20);
	guest_halt();
}

void guest_reset(void)
{
	out8(ACPI_RESET, 0x01);
	guest_halt();
}

void guest_i8042_reset(void)
{
	out8(I8042_COMMAND, 0xfe);
	guest_halt();
}

void guest_triple_fault(void)
{
	static const uint8_t null_idt[10] = { 0 };
	__asm__ volatile("lidt %0; ud2" : : "m"(null_idt) : "memory");
	__builtin_unreachable();
}

void guest_die(const char *why)
{
	serial_put("guest failed: ");
	serial_put(why);
	serial_put("\n");
	guest_reset();
}

static void serial_put_char(char c)
{
	while (!(in8(COM1 + COM_LINE_STATUS) & COM_TRANSMIT_EMPTY))
		cpu_pause();
	out8(COM1, (uint8_t)c);
}

void serial_put(const char *text)
{
	for (; *text; text++)
		serial_put_char(*text);
}

static void serial_put_digits(uint64_t v, unsigned base)
{
	char text[24], *p = text + sizeof(text);
	*--p = '\0';
	do {
		*--p = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	serial_put(p);
}

void serial_put_number(uint64_t v)
{
	serial_put_digits(v, 10);
}

void serial_put_hex(uint64_t v)
{
	serial_put("0x");
	serial_put_digits(v, 16);
}

const char *boot_command_line(const struct boot_params *boot)
{
	uint64_t at = boot->hdr.cmd_line_ptr | (uint64_t)boot->ext_cmd_line_ptr << 32;
	return at ? (const char *)at : "";
}

static uint64_t parse_number(const char *p)
{
	uint64_t v = 0;
	for (; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return v;
}

/* What follows @name at @p, when @p is that word: its end or its '='; NULL otherwise. */
static const char *match_word(const char *p, const char *name)
{
	while (*name && *p == *name)
		p++, name++;
	return !*name && (*p == '\0' || *p == ' ' || *p == '=') ? p : NULL;
}

bool boot_word(const struct boot_params *boot, const char *name, uint64_t *ret_value)
{
	const char *p = boot_command_line(boot);
	for (;;) {
		while (*p == ' ')
			p++;
		if (!*p)
			return false;
		const char *end = match_word(p, name);
		if (end) {
			if (*end == '=' && ret_value)
				*ret_value = parse_number(end + 1);
			return true;
		}
		while (*p && *p != ' ')
			p++;
	}
}

const uint8_t *boot_initrd(const struct boot_params *boot, size_t *ret_size)
{
	*ret_size = boot->hdr.ramdisk_size | (uint64_t)boot->ext_ramdisk_size << 32;
	if (!*ret_size)
		return NULL;
	return (const uint8_t *)(boot->hdr.ramdisk_image | (uint64_t)boot->ext_ramdisk_image << 32);
}

/* String instructions, because a compiler may turn a C loop here into a call of the very function.
 */

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *d = to;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	if ((uintptr_t)to - (uintptr_t)from >= n)
		return memcpy(to, from, n);
	uint8_t *d = (uint8_t *)to + n - 1;
	const uint8_t *s = (const uint8_t *)from + n - 1;
	__asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;
	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}
