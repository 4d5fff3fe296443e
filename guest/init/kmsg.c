/*
 * One read of /dev/kmsg is one record, in the form of the kernel's
 * Documentation/ABI/testing/dev-kmsg: "priority,sequence,microseconds,flags[,...];text",
 * unprintable bytes as \xNN, then lines of properties that start with a space and are left out
 * here.
 */
#include "kmsg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	RECORD_MAX = 8192, /* the kernel's CONSOLE_EXT_LOG_MAX */
	FRAME_FILL = 32 * 1024,
};

struct text {
	char *p;
	size_t n;
	size_t capacity;
};

static void put(struct text *t, char c)
{
	if (t->n < t->capacity)
		t->p[t->n++] = c;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at *@i, which moves past it, escapes undone. */
static char next_byte(const char *text, size_t n, size_t *i)
{
	const char *p = text + *i;

	if (p[0] == '\\' && n - *i >= 4 && p[1] == 'x' && hex_digit(p[2]) >= 0 &&
	    hex_digit(p[3]) >= 0) {
		*i += 4;
		return (char)(hex_digit(p[2]) * 16 + hex_digit(p[3]));
	}
	*i += 1;
	return p[0];
}

static void put_time(struct text *t, uint64_t us)
{
	char stamp[40];
	int n = snprintf(stamp, sizeof(stamp), "[%5llu.%06llu] ",
			 (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000));

	for (int i = 0; i < n; i++)
		put(t, stamp[i]);
}

/* The third of the comma-separated numbers. */
static bool parse_time(const char *record, size_t n, uint64_t *ret_us)
{
	uint64_t us = 0;
	size_t n_commas = 0;
	size_t n_digits = 0;

	for (size_t i = 0; i < n && n_commas < 3; i++) {
		if (record[i] == ',') {
			n_commas++;
		} else if (n_commas == 2) {
			if (record[i] < '0' || record[i] > '9' || ++n_digits > 18)
				return false;
			us = us * 10 + (uint64_t)(record[i] - '0');
		}
	}
	*ret_us = us;
	return n_commas == 3 && n_digits > 0;
}

size_t kmsg_format(const char *record, size_t n, char *out, size_t capacity)
{
	char *begin = out;
	struct text t = { .p = begin, .capacity = capacity };
	uint64_t us = 0;
	const char *text = memchr(record, ';', n);

	if (text == NULL || !parse_time(record, (size_t)(text - record), &us) || capacity == 0)
		return 0;
	text++;
	n -= (size_t)(text - record);
	const char *end = memchr(text, '\n', n);
	if (end != NULL)
		n = (size_t)(end - text);

	put_time(&t, us);
	for (size_t i = 0; i < n;) {
		char c = next_byte(text, n, &i);
		put(&t, c);
		if (c == '\n' && i < n)
			put_time(&t, us);
	}
	if (t.n == capacity)
		t.n--; /* cut, but still a line */
	if (t.n == 0 || out[t.n - 1] != '\n')
		put(&t, '\n');
	return t.n;
}

int kmsg_pump(int fd, struct outlet *o)
{
	static const char overrun[] = "[ktstr-init: the kernel log overran, lines are missing]\n";
	char record[RECORD_MAX];
	char lines[FRAME_FILL + RECORD_MAX];
	size_t used = 0;
	int res = 1;

	while (res == 1 && used < FRAME_FILL) {
		ssize_t n = read(fd, record, sizeof(record));
		if (n > 0) {
			used += kmsg_format(record, (size_t)n, lines + used, sizeof(lines) - used);
		} else if (n < 0 && errno == EPIPE) {
			memcpy(lines + used, overrun, sizeof(overrun) - 1);
			used += sizeof(overrun) - 1;
		} else if (n < 0 && errno != EINTR) {
			res = errno == EAGAIN ? 0 : -errno;
		} else if (n == 0) {
			res = -EPIPE; /* a log has no end */
		}
	}
	if (used > 0)
		outlet_send(o, FRAME_KERNEL_LOG, lines, used);
	return res;
}
