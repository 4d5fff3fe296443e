/* Kernel release strings ("6.1.0-53-cloud-amd64"): taken from untrusted bytes, compared by version.
 */
#pragma once

#include <stddef.h>

enum { KERNEL_RELEASE_MAX = 128 };

/*
 * Copies the first word of @text (at most @n bytes, NUL-terminated or not) to @ret. It becomes a
 * path component, so
 * @ret is empty unless it starts with a digit and has letters, digits and "._+~-" only.
 */
void kernel_release_parse(const char *text, size_t n, char ret[static KERNEL_RELEASE_MAX]);

/*
 * Orders as strcmp does: runs of digits by value, "-rc" before the release itself, and what does
 * not start with a digit (a name somebody chose) before every version.
 */
int kernel_release_compare(const char *a, const char *b);
