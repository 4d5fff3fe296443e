/* See text.h. */
#include "text.h"

#include "cpu.h"

enum {
	COM1 = 0x3f8,
	COM_FIFO_CONTROL = 2,
	COM_FIFO_ON = 1,
	COM_LINE_STATUS = 5,
	COM_TRANSMIT_EMPTY = 0x20,
	FIFO_SIZE = 16,
};

static unsigned n_in_fifo;

/* Where @c is in the @n bytes at @from; behind them if it is not. One instruction: kernel mode may be interpreted. */
static const char *find_byte(const char *from, char c, size_t n)
{
	bool is_found = false;

	if (n)
		__asm__ volatile("repne scasb"
				 : "+D"(from), "+c"(n), "=@ccz"(is_found)
				 : "a"(c)
				 : "memory");
	return is_found ? from - 1 : from;
}

const char *text_word(const char *line, const char *name)
{
	const char *end = find_byte(line, 0, SIZE_MAX);

	while (line < end) {
		const char *p = line, *n = name;

		while (*n && *p == *n)
			p++, n++;
		if (!*n && *p == '=')
			return p + 1;
		line = find_byte(line, ' ', (size_t)(end - line));
		while (*line == ' ')
			line++;
	}
	return NULL;
}

uint64_t text_parse(const char **p)
{
	bool is_hex = (*p)[0] == '0' && (*p)[1] == 'x';
	uint64_t v = 0;

	for (*p += is_hex ? 2 : 0;; (*p)++) {
		char c = **p;
		if (c >= '0' && c <= '9')
			v = v * (is_hex ? 16 : 10) + (uint64_t)(c - '0');
		else if (is_hex && c >= 'a' && c <= 'f')
			v = v * 16 + (uint64_t)(c - 'a' + 10);
		else
			return v;
	}
}

uint64_t text_number(const char *line, const char *name, uint64_t fallback)
{
	const char *p = text_word(line, name);

	return p ? text_parse(&p) : fallback;
}

bool text_is(const char *line, const char *name, const char *value)
{
	return text_is_value(text_word(line, name), value);
}

bool text_is_value(const char *p, const char *value)
{
	while (p && *value && *p == *value)
		p++, value++;
	return p && !*value && (*p == 0 || *p == ' ');
}

void text_init(void)
{
	out8(COM1 + COM_FIFO_CONTROL, COM_FIFO_ON);
	n_in_fifo = FIFO_SIZE;
}

static void put_char(char c)
{
	if (n_in_fifo == FIFO_SIZE) {
		while (!(in8(COM1 + COM_LINE_STATUS) & COM_TRANSMIT_EMPTY))
			cpu_pause();
		n_in_fifo = 0;
	}
	out8(COM1, (uint8_t)c);
	n_in_fifo++;
}

void text_put(const char *text)
{
	for (; *text; text++)
		put_char(*text);
}

void text_put_number(uint64_t v)
{
	char digits[24], *p = digits + sizeof(digits);

	*--p = 0;
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	text_put(p);
}

void text_line(const char *name, uint64_t value)
{
	text_put(name);
	text_put(" ");
	text_put_number(value);
	text_put("\n");
}

void text_die(const char *why)
{
	text_put("error ");
	text_put(why);
	text_put("\n");
	cpu_call_kernel(cpu_power_off);
	__builtin_unreachable();
}

/* String instructions: a compiler may turn a loop into a call of the very function. */

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
