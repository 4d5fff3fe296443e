/*
 * The tests of one program, as `PROGRAM --ktstr-list` prints them (abi/test_protocol.h). The program is not trusted: a
 * list that is cut off, names a test twice or is no list at all is an error that says so. Pure: text in, a table out.
 */
#pragma once

#include "base/error.h"

struct test_spec {
	char *name;
	char *summary;  /* NULL: none, as all texts here */
	char *topology; /* any form of topology_text.h, not parsed */
	char *disk_fs;
	uint32_t memory_mib, timeout_s, cpu_cap, disk_mib; /* 0: not declared */
	bool perf, net, vm_only;
};

struct test_list {
	struct test_spec *tests;
	size_t n;
};

enum { TEST_LIST_TESTS_MAX = 100000 };

/* Errors (class usage) are one line about the list, such as "line 3: no name". @text has a NUL at @n, and perhaps before. */
MUST_CHECK int test_list_parse(const char *text, size_t n, struct test_list *ret,
			       struct error *err);
void test_list_fini(struct test_list *l); /* idempotent */
/* A name that can be an argument, a word of a command line and a part of a path. */
bool test_list_is_name(const char *name);
