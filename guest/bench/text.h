/* What goes in and out as text: words of the kernel command line, lines on COM1. */
#pragma once

/* The value behind "name=" on the command line, up to a space; NULL: no such word. */
const char *text_word(const char *line, const char *name);
/* The same as a decimal number; @fallback without it. */
uint64_t text_number(const char *line, const char *name, uint64_t fallback);
/* Whether the word's value is @value. */
bool text_is(const char *line, const char *name, const char *value);
/* The same for what text_word has found; NULL is no value. */
bool text_is_value(const char *word, const char *value);
/* A number in decimal, or in hexadecimal behind 0x; moves *@p behind it. */
uint64_t text_parse(const char **p);

/* Once, before the first line. COM1 sends 16 bytes at a time. */
void text_init(void);
void text_put(const char *text);
void text_put_number(uint64_t v);
/* "NAME VALUE". */
void text_line(const char *name, uint64_t value);

/* "error WHY" on COM1, then the end of the machine. At CPL 0 or 3. */
NORETURN void text_die(const char *why);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
