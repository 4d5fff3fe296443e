#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "image/ld_cache.h"

struct entry {
	const char *key;
	const char *value;
	uint64_t hwcap;
};

static const struct entry entries[] = {
	{ "libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1", 0 },
	{ "libc.so.6", "/usr/lib/glibc-hwcaps/x86-64-v3/libc.so.6", 1ull << 62 },
	{ "libc.so.6", "/lib/i386-linux-gnu/libc.so.6", 0 },
	{ "libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", 0 },
	{ "libbad.so", "relative/libbad.so", 0 },
};
enum { N = ARRAY_SIZE(entries) };

static void put32(struct buf *b, uint32_t v)
{
	buf_append(b, &v, sizeof(v));
}

/* As ldconfig writes it, by default without the old format in front. */
static void make_cache(struct buf *b, bool with_old)
{
	CLEANUP(buf_fini) struct buf strings = { 0 };

	if (with_old) {
		buf_append(b, "ld.so-1.7.0", 12);
		put32(b, 1);
		buf_append_zeros(b, 12);
		while (b->len % 8)
			buf_append_zeros(b, 1);
	}
	buf_append_str(b, "glibc-ld.so.cache1.1");
	put32(b, N);
	put32(b, 0);
	buf_append_zeros(b, 20);
	for (size_t i = 0; i < N; i++) {
		uint32_t base = 48 + N * 24;
		put32(b, 0x303);
		put32(b, base + (uint32_t)strings.len);
		buf_append(&strings, entries[i].key, strlen(entries[i].key) + 1);
		put32(b, base + (uint32_t)strings.len);
		buf_append(&strings, entries[i].value, strlen(entries[i].value) + 1);
		put32(b, 0);
		buf_append(b, &entries[i].hwcap, 8);
	}
	buf_append(b, strings.data, strings.len);
}

static void check_lookups(const struct ld_cache *c)
{
	assert_string_equal(ld_cache_find(c, "libz.so.1", 0), entries[0].value);
	assert_null(ld_cache_find(c, "libz.so.1", 1));
	assert_string_equal(ld_cache_find(c, "libc.so.6", 0), entries[2].value);
	assert_string_equal(ld_cache_find(c, "libc.so.6", 1), entries[3].value);
	assert_string_equal(ld_cache_find(c, "libc.so.6", 2), entries[1].value);
	assert_null(ld_cache_find(c, "libc.so.6", 3));
	assert_null(ld_cache_find(c, "libc.so", 0));
	assert_null(ld_cache_find(c, "libbad.so", 0));
}

static void test_find_new_format_lists_plain_entries_first(void **state)
{
	CLEANUP(ld_cache_fini) struct ld_cache c = { 0 };
	struct buf b = { 0 };

	make_cache(&b, false);
	ld_cache_init(&c, &b);
	check_lookups(&c);
}

static void test_find_new_format_behind_old_one_works_alike(void **state)
{
	CLEANUP(ld_cache_fini) struct ld_cache c = { 0 };
	struct buf b = { 0 };

	make_cache(&b, true);
	ld_cache_init(&c, &b);
	check_lookups(&c);
}

/* Each prefix is a heap block of exactly its length, so that ASan sees any byte read behind it. */
static void test_find_every_truncation_stays_inside(void **state)
{
	CLEANUP(buf_fini) struct buf whole = { 0 };

	make_cache(&whole, true);
	for (size_t n = 0; n < whole.len; n++) {
		struct buf cut = { .data = xmalloc(n), .len = n, .cap = n };
		struct ld_cache c;
		memcpy(cut.data, whole.data, n);
		ld_cache_init(&c, &cut);
		for (unsigned i = 0; i < 3; i++) {
			const char *path = ld_cache_find(&c, "libc.so.6", i);
			assert_true(!path || path[0] == '/');
		}
		ld_cache_fini(&c);
	}
}

static void test_find_every_damaged_byte_stays_inside(void **state)
{
	CLEANUP(buf_fini) struct buf whole = { 0 };

	make_cache(&whole, true);
	for (size_t i = 0; i < whole.len; i++) {
		struct buf bad = { .data = xmalloc(whole.len), .len = whole.len, .cap = whole.len };
		struct ld_cache c;
		memcpy(bad.data, whole.data, whole.len);
		bad.data[i] = 0xff;
		ld_cache_init(&c, &bad);
		for (unsigned nth = 0; nth < 3; nth++)
			(void)ld_cache_find(&c, "libc.so.6", nth);
		ld_cache_fini(&c);
	}
}

static void test_init_other_file_finds_nothing(void **state)
{
	CLEANUP(ld_cache_fini) struct ld_cache c = { 0 };
	struct buf b = { 0 };

	buf_append_str(&b,
		       "# a text file, longer than the header of a cache, which has 48 bytes\n");
	ld_cache_init(&c, &b);
	assert_null(ld_cache_find(&c, "libc.so.6", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_new_format_lists_plain_entries_first),
		cmocka_unit_test(test_find_new_format_behind_old_one_works_alike),
		cmocka_unit_test(test_find_every_truncation_stays_inside),
		cmocka_unit_test(test_find_every_damaged_byte_stays_inside),
		cmocka_unit_test(test_init_other_file_finds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
