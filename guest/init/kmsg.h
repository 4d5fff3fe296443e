/* The kernel log: records of /dev/kmsg as the lines that a console would show. */
#pragma once

#include "outlet.h"

/*
 * Formats one record ("6,412,5060128,-;text\n KEY=value\n...") as "[    5.060128] text\n"; each
 * line of a text of several gets the time. Returns the bytes written, at most @capacity; 0 for what
 * is no record.
 */
size_t kmsg_format(const char *record, size_t n, char *out, size_t capacity);
/* Sends one frame of what is there. 1: there may be more; 0: drained; negative errno: the log
 * cannot be read. */
MUST_CHECK int kmsg_pump(int fd, struct outlet *o);
