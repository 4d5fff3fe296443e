#include "harness/test_list.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "abi/test_protocol.h"
#include "base/buf.h"

enum { QUOTE_MAX = 60 }; /* of a line that is no list, in an error */

void test_list_fini(struct test_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct test_spec *t = &l->tests[i];
		freep(&t->name);
		freep(&t->summary);
		freep(&t->topology);
		freep(&t->disk_fs);
	}
	freep(&l->tests);
	l->n = 0;
}

bool test_list_is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-/";
	size_t n = strlen(name);

	return n > 0 && n < TEST_NAME_MAX && name[0] != '-' && name[0] != '/' &&
	       strspn(name, allowed) == n;
}

/* One value of a test's object: 0, or an error that names it. Other types than declared are no list. */
static int take_text(const json_t *o, const char *key, char **ret, struct error *err)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_string(v))
		return error_set_usage(err, -EINVAL, "'%s' is no text", key);
	*ret = xstrdup(json_string_value(v));
	return 0;
}

static int take_count(const json_t *o, const char *key, uint32_t *ret, struct error *err)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
		return error_set_usage(err, -EINVAL, "'%s' is no number of 32 bits", key);
	*ret = (uint32_t)json_integer_value(v);
	return 0;
}

static int take_flag(const json_t *o, const char *key, bool *ret, struct error *err)
{
	const json_t *v = json_object_get(o, key);

	if (v && !json_is_boolean(v))
		return error_set_usage(err, -EINVAL, "'%s' is neither true nor false", key);
	*ret = json_is_true(v);
	return 0;
}

static int take_test(const json_t *o, struct test_spec *t, struct error *err)
{
	if (take_text(o, "name", &t->name, err) < 0)
		return err->code;
	if (!t->name)
		return error_set_usage(err, -EINVAL, "no name");
	if (!test_list_is_name(t->name))
		return error_set_usage(err, -EINVAL,
				       "the name is not 1 to 127 letters, digits and \"._-/\", or "
				       "begins with - or /");
	if (take_text(o, "summary", &t->summary, err) < 0 ||
	    take_text(o, "topology", &t->topology, err) < 0 ||
	    take_text(o, "disk_fs", &t->disk_fs, err) < 0 ||
	    take_count(o, "memory_mib", &t->memory_mib, err) < 0 ||
	    take_count(o, "timeout_s", &t->timeout_s, err) < 0 ||
	    take_count(o, "cpu_cap", &t->cpu_cap, err) < 0 ||
	    take_count(o, "disk_mib", &t->disk_mib, err) < 0 ||
	    take_flag(o, "perf", &t->perf, err) < 0 || take_flag(o, "net", &t->net, err) < 0 ||
	    take_flag(o, "vm_only", &t->vm_only, err) < 0)
		return error_prefix(err, "test '%s'", t->name);
	return 0;
}

/* The line at *@p as an object, and *@p behind it; NULL: it is none, or has no end. */
static json_t *next_line(const char **p, const char *end)
{
	const char *newline = memchr(*p, '\n', (size_t)(end - *p));
	const char *begin = *p;

	if (!newline)
		return NULL;
	*p = newline + 1;
	json_t *o = json_loadb(begin, (size_t)(newline - begin), JSON_REJECT_DUPLICATES, NULL);
	if (o && !json_is_object(o)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int no_list(const char *text, size_t n, struct error *err)
{
	size_t len = n;

	if (n == 0)
		return error_set_usage(err, -EINVAL, "it prints nothing: is it a test program?");
	for (size_t i = 0; i < len && i < QUOTE_MAX; i++)
		if (text[i] == '\n' || text[i] == 0)
			len = i;
	return error_set_usage(
	    err, -EINVAL, "it does not begin with a ktstr_list line but with '%.*s%s'",
	    (int)(len < QUOTE_MAX ? len : QUOTE_MAX), text, len < QUOTE_MAX ? "" : "...");
}

static int take_header(const char *text, size_t n, const char **ret_p, size_t *ret_n,
		       struct error *err)
{
	const char *p = text;
	json_t *o = next_line(&p, text + n);
	json_t *version = json_object_get(o, "ktstr_list"), *count = json_object_get(o, "n_tests");
	int res = 0;

	if (!json_is_integer(version) || !json_is_integer(count))
		res = no_list(text, n, err);
	else if (json_integer_value(version) != TEST_PROTOCOL_VERSION)
		res = error_set_usage(
		    err, -EINVAL, "its list is of version %lld, this ktstr reads version %d",
		    (long long)json_integer_value(version), TEST_PROTOCOL_VERSION);
	else if (json_integer_value(count) < 0 || json_integer_value(count) > TEST_LIST_TESTS_MAX)
		res = error_set_usage(err, -EINVAL, "it promises %lld tests, at most %d can be",
				      (long long)json_integer_value(count), TEST_LIST_TESTS_MAX);
	else
		*ret_n = (size_t)json_integer_value(count);
	*ret_p = p;
	json_decref(o);
	return res;
}

static int by_name(const void *a, const void *b)
{
	const struct test_spec *const *ta = a, *const *tb = b;

	return strcmp((*ta)->name, (*tb)->name);
}

static int check_unique(const struct test_list *l, struct error *err)
{
	CLEANUP(freep)
	const struct test_spec **sorted = xcalloc(l->n + 1, sizeof(struct test_spec *));
	int res = 0;

	for (size_t i = 0; i < l->n; i++)
		sorted[i] = &l->tests[i];
	qsort(sorted, l->n, sizeof(struct test_spec *), by_name);
	for (size_t i = 1; i < l->n && res == 0; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			res = error_set_usage(err, -EEXIST, "it lists two tests named '%s'",
					      sorted[i]->name);
	return res;
}

static int take_tests(const char *p, const char *end, size_t n, struct test_list *l,
		      struct error *err)
{
	for (l->n = 0; l->n < n;) {
		if (p == end || !memchr(p, '\n', (size_t)(end - p)))
			return error_set_usage(err, -EINVAL,
					       "its list is cut off: %zu tests promised, %zu came",
					       n, l->n);
		json_t *o = next_line(&p, end);
		struct test_spec *t = &l->tests[l->n++];
		int res =
		    o ? take_test(o, t, err) : error_set_usage(err, -EINVAL, "no JSON object");
		json_decref(o);
		if (res < 0)
			return error_prefix(err, "line %zu of its list", l->n + 1);
	}
	if (p != end)
		return error_set_usage(err, -EINVAL,
				       "it prints more than the %zu tests that it promised", n);
	return check_unique(l, err);
}

int test_list_parse(const char *text, size_t n, struct test_list *ret, struct error *err)
{
	CLEANUP(test_list_fini) struct test_list l = { 0 };
	const char *p;
	size_t n_tests = 0;

	if (take_header(text, n, &p, &n_tests, err) < 0)
		return err->code;
	l.tests = xcalloc(n_tests + 1, sizeof(*l.tests));
	if (take_tests(p, text + n, n_tests, &l, err) < 0)
		return err->code;
	*ret = l;
	l = (struct test_list){ 0 };
	return 0;
}
