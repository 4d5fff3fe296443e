/* What a test program declares: checked, listed, looked up. */
#pragma once

#include <stdio.h>

#include "ktstr.h"

/* "nodes,llcs,cores_per_llc,threads_per_core" and nothing else. */
bool ktstr_declaration_parse_topology(const char *text, struct ktstr_topology *ret);
/* Whether all of @tests can be. The first mistake is told on @errors, in one line. */
bool ktstr_declaration_check(const struct ktstr_test *tests, FILE *errors);
/* --ktstr-list (abi/test_protocol.h). */
void ktstr_declaration_list(const struct ktstr_test *tests, FILE *f);
/* NULL: there is none of that name. */
const struct ktstr_test *ktstr_declaration_find(const struct ktstr_test *tests, const char *name);
