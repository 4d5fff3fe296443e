/* Content keys: of content and boundaries, not of the pieces it came in. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_pieces_do_not_matter(void **state UNUSED)
{
	char whole[HASH_TEXT_MAX], pieces[HASH_TEXT_MAX];
	static uint8_t data[5000];
	struct hash *h = hash_new();

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	hash_update(h, data, sizeof(data));
	hash_format(h, whole);
	(void)hash_free(h);
	h = hash_new();
	for (size_t i = 0; i < sizeof(data); i += 100)
		hash_update(h, data + i, 100);
	hash_format(h, pieces);
	(void)hash_free(h);
	assert_string_equal(whole, pieces);
	assert_int_equal(strlen(whole), HASH_TEXT_MAX - 1);
	assert_int_equal(strspn(whole, "0123456789abcdef"), HASH_TEXT_MAX - 1);
}

static void of_strings(const char *a, const char *b, char text[static HASH_TEXT_MAX])
{
	struct hash *h = hash_new();

	hash_update_str(h, a);
	hash_update_str(h, b);
	hash_format(h, text);
	(void)hash_free(h);
}

static void test_boundaries_of_strings_matter(void **state UNUSED)
{
	char a[HASH_TEXT_MAX], b[HASH_TEXT_MAX];

	of_strings("ab", "c", a);
	of_strings("a", "bc", b);
	assert_string_not_equal(a, b);
}

/* The key is a file name in caches that outlive a build: it may not change unseen. XXH3 of nothing. */
static void test_empty_content_has_the_published_value(void **state UNUSED)
{
	char text[HASH_TEXT_MAX];
	struct hash *h = hash_new();

	hash_format(h, text);
	assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
	assert_null(hash_free(h));
	assert_null(hash_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_do_not_matter),
		cmocka_unit_test(test_boundaries_of_strings_matter),
		cmocka_unit_test(test_empty_content_has_the_published_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
