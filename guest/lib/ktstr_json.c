#include "ktstr_json.h"

#include <string.h>

/* Length of the character that begins at @s, 0 if it is no good UTF-8 (RFC 3629). */
static size_t utf8_length(const unsigned char *s)
{
	/* Lead bytes up to @last begin @n bytes, of which the second is in @low .. @high. */
	static const struct {
		unsigned char first, last, n, low, high;
	} forms[] = {
		{ 0x01, 0x7f, 1, 0, 0 },       { 0xc2, 0xdf, 2, 0x80, 0xbf },
		{ 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
		{ 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf },
		{ 0xf0, 0xf0, 4, 0x90, 0xbf }, { 0xf1, 0xf3, 4, 0x80, 0xbf },
		{ 0xf4, 0xf4, 4, 0x80, 0x8f },
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		if (forms[i].n > 1 && (s[1] < forms[i].low || s[1] > forms[i].high))
			return 0;
		for (size_t k = 2; k < forms[i].n; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].n;
	}
	return 0;
}

void ktstr_json_string(FILE *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	fputc('"', f);
	while (*s != '\0') {
		size_t n = utf8_length(s);
		if (n == 0)
			fputs("\\ufffd", f);
		else if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(f, "\\u%04x", *s);
		else
			fwrite(s, 1, n, f);
		s += n > 0 ? n : 1;
	}
	fputc('"', f);
}

void ktstr_json_add_string(FILE *f, const char *key, const char *text)
{
	fprintf(f, ",\"%s\":", key);
	ktstr_json_string(f, text);
}

void ktstr_json_number(FILE *f, const char *printed)
{
	static const char own[] = "0123456789+-e";

	while (*printed != '\0') {
		size_t n = strspn(printed, own);
		fwrite(printed, 1, n, f);
		printed += n;
		if (*printed != '\0')
			fputc('.', f);
		printed += strcspn(printed, own);
	}
}

void ktstr_json_add_number(FILE *f, const char *key, double value)
{
	char text[40];

	(void)snprintf(text, sizeof(text), "%.17g", value);
	fprintf(f, ",\"%s\":", key);
	ktstr_json_number(f, text);
}
