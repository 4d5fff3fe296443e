#include "image/kernel_release.h"

#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_release_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("._+~-", c));
}

void kernel_release_parse(const char *text, size_t n, char ret[static KERNEL_RELEASE_MAX])
{
	size_t len = 0;

	ret[0] = 0;
	while (len < n && len < KERNEL_RELEASE_MAX && is_release_char(text[len]))
		len++;
	bool is_word = len == n || text[len] == 0 || text[len] == ' ' || text[len] == '\n';
	if (len == 0 || len == KERNEL_RELEASE_MAX || !is_word || !is_digit(text[0]))
		return;
	memcpy(ret, text, len);
	ret[len] = 0;
}

/* Compares two runs of digits by value and moves both pointers behind them. */
static int compare_numbers(const char **a, const char **b)
{
	*a += strspn(*a, "0");
	*b += strspn(*b, "0");
	size_t na = strspn(*a, "0123456789");
	size_t nb = strspn(*b, "0123456789");
	int order = na != nb ? (na < nb ? -1 : 1) : strncmp(*a, *b, na);

	*a += na;
	*b += nb;
	return order;
}

/* Rank of a character that is no digit: a release candidate sorts before the end, everything else
 * behind it. */
static int rank(const char *s)
{
	if (strncmp(s, "-rc", 3) == 0 || *s == '~')
		return -1;
	return (unsigned char)*s;
}

int kernel_release_compare(const char *a, const char *b)
{
	if (is_digit(*a) != is_digit(*b))
		return is_digit(*a) ? 1 : -1;
	while (*a || *b) {
		if (is_digit(*a) && is_digit(*b)) {
			int order = compare_numbers(&a, &b);
			if (order)
				return order;
			continue;
		}
		if (rank(a) != rank(b))
			return rank(a) < rank(b) ? -1 : 1;
		a++;
		b++;
	}
	return 0;
}
