/* The host's orders: GUEST_CONFIG_PATH, as abi/guest_config.h describes it. */
#pragma once

#include "fault.h"

struct config {
	char *text;     /* owned; the records, which all the strings below point into */
	char *exec;     /* absolute path */
	char **argv;    /* owned array, NULL-terminated, never empty */
	char **envp;    /* owned array, NULL-terminated */
	char **modules; /* owned array, NULL-terminated */
	char *cwd;      /* NULL: not given, "/" */
	char *relay;    /* NULL: none */
	char *net;      /* a layout, NULL: none */
	bool tty;
	bool feed_stdin;
	bool kmsg;
};

/*
 * Takes ownership of @text (malloc, @n bytes) on success. -EINVAL names the record: unknown key, no
 * '=', a flag that is neither 0 nor 1, exec missing or relative, last record not ended; -ENOMEM.
 */
MUST_CHECK int config_parse(char *text, size_t n, struct config *ret, struct fault *f);
MUST_CHECK int config_read(const char *path, struct config *ret, struct fault *f);
void config_fini(struct config *c); /* idempotent; accepts {0} */
