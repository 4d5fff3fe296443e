/* A second CPU at work beside the first: 64-bit mode, CPL 0, the same memory, interrupts off. */
#pragma once

#include "guest.h"

/* Starts it (of a machine of two CPUs) in @entry, which may return: it halts then. Once. */
void second_cpu_start(void (*entry)(void));
