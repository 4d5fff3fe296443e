/* The benchmark guest's operations, by the word "op" of the command line. */
#pragma once

#include "meter.h"

/* Where rings and data live: ktstr bench gives the guest 64 MiB. */
#define GUEST_RINGS   ((uintptr_t)0x800000)
#define GUEST_BUFFERS ((uintptr_t)0x1000000)

void op_blk(const char *line);
void op_costs(const char *line);
void op_net(const char *line);
void op_test(const char *line);
NORETURN void op_halt(void);

/* Runs @loop at the privilege level that "cpl" asks for. */
void ops_run_loop(const char *line, void (*loop)(void));
