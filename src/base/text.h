/*
 * Text of strangers (a guest, a test program, a file), made fit to be kept, shown on a terminal and written to
 * any document: valid UTF-8 of the characters that XML has, of control characters only newlines and tabs, nothing
 * that turns the direction of writing. What is not fit becomes U+FFFD, "\r\n" and "\r" become "\n". Cleaning clean text
 * changes nothing.
 */
#pragma once

#include "base/buf.h"

#define TEXT_CUT "[...]" /* stands where something was left out */

/* Appends. */
void text_clean(struct buf *ret, const void *text, size_t n);
/* Whether text_clean would keep it as it is. */
bool text_is_clean(const void *text, size_t n);

/*
 * New strings of at most @max >= 16 bytes without the NUL. What is too long is cut between characters: text_head
 * keeps its beginning, text_tail its end. text_line keeps the beginning and has blanks for newlines and tabs.
 */
MUST_CHECK char *text_head(const void *text, size_t n, size_t max);
MUST_CHECK char *text_tail(const void *text, size_t n, size_t max);
MUST_CHECK char *text_line(const char *text, size_t max);
