/* JSON as the library writes it: to a stream, whatever locale the test has set. */
#pragma once

#include <stdio.h>

/*
 * @text with its quotes. A byte that is not part of good UTF-8 becomes U+FFFD: a reader that is
 * strict about it would refuse the whole line.
 */
void ktstr_json_string(FILE *f, const char *text);
/* A number as printf made it: what the locale has for a decimal point, of whatever bytes, becomes a point. */
void ktstr_json_number(FILE *f, const char *printed);
/* A further member of an object: a comma, the key, the value. */
void ktstr_json_add_string(FILE *f, const char *key, const char *text);
void ktstr_json_add_number(FILE *f, const char *key, double value); /* finite */
