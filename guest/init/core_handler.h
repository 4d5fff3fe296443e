/* "/init --core PID SIGNAL": what the kernel starts for a program that dumps core (crash.c). */
#pragma once

#include "core.h"

/* Exit status of the process. The core is on descriptor 0. */
int core_handler_main(int argc, char **argv);
/* The report's text for process @pid into @out of @n bytes; returns its length. @core NULL: nothing
 * but the signal known. */
size_t core_handler_format(pid_t pid, int signal, const struct core *core, char *out, size_t n);
