#include "base/text.h"

#include <string.h>

#include "base/assert.h"
#include "base/num.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Decodes one character of @n > 0 bytes. Returns how many it has; 0: no UTF-8 (RFC 3629). */
static size_t decode(const uint8_t *p, size_t n, uint32_t *ret)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7fu >> len);

	if (len == 0 || len > n || p[0] >= 0xf8)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return len;
}

static bool is_fit(uint32_t c)
{
	if (c < 0x20)
		return c == '\n' || c == '\t';
	if (c >= 0x7f && c < 0xa0) /* DEL, and the C1 controls that terminals obey */
		return false;
	if ((c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)) /* directions */
		return false;
	return (c & 0xfffe) != 0xfffe; /* no characters; XML refuses them */
}

/* How many bytes from @p on are fit as they are. */
static size_t fit_length(const uint8_t *p, size_t n)
{
	size_t at = 0;
	uint32_t c;

	while (at < n) {
		size_t len = decode(p + at, n - at, &c);
		if (len == 0 || !is_fit(c))
			break;
		at += len;
	}
	return at;
}

bool text_is_clean(const void *text, size_t n)
{
	return fit_length(text, n) == n;
}

void text_clean(struct buf *ret, const void *text, size_t n)
{
	const uint8_t *p = text;
	uint32_t c;

	while (n) {
		size_t fit = fit_length(p, n);
		buf_append(ret, p, fit);
		p += fit;
		n -= fit;
		if (!n)
			break;
		size_t len = decode(p, n, &c);
		if (*p == '\r' && (n == 1 || p[1] != '\n'))
			buf_append_str(ret, "\n");
		else if (*p != '\r')
			buf_append_str(ret, replacement);
		p += len ? len : 1;
		n -= len ? len : 1;
	}
}

static bool continues(char c)
{
	return (c & 0xc0) == 0x80;
}

char *text_head(const void *text, size_t n, size_t max)
{
	struct buf b = { 0 };
	bool cut = n > max;

	ASSERT(max >= 16);
	text_clean(&b, text, cut ? max : n);
	char *s = (char *)(uintptr_t)buf_str(&b); /* the buffer's memory becomes the caller's */
	if (!cut && b.len <= max)
		return s;
	size_t end = num_min(b.len, max - strlen(TEXT_CUT));
	while (end > 0 && continues(s[end]))
		end--;
	memcpy(s + end, TEXT_CUT, sizeof(TEXT_CUT));
	return s;
}

char *text_tail(const void *text, size_t n, size_t max)
{
	CLEANUP(buf_fini) struct buf b = { 0 };
	struct buf kept = { 0 };
	size_t skip = n > max ? n - max : 0, begin = 0;

	ASSERT(max >= 16);
	text_clean(&b, (const char *)text + skip, n - skip);
	const char *s = buf_str(&b);
	if (skip || b.len > max) {
		begin = b.len > max - strlen(TEXT_CUT) ? b.len - (max - strlen(TEXT_CUT)) : 0;
		while (begin < b.len && continues(s[begin]))
			begin++;
		buf_append_str(&kept, TEXT_CUT);
	}
	buf_append(&kept, s + begin, b.len - begin);
	return (char *)(uintptr_t)buf_str(&kept);
}

char *text_line(const char *text, size_t max)
{
	char *s = text_head(text, strlen(text), max);

	for (char *p = s; *p; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	return s;
}
