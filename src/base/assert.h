/*
 * ASSERT is for our own bugs only: preconditions, state machines, invariants. It is always compiled
 * in and its condition has no side effects. Guest data and host failures never reach it (STYLE.md,
 * section 4).
 */
#pragma once

NORETURN void assert_failed(const char *cond, const char *func, const char *file, int line);

#define ASSERT(cond) ((cond) ? (void)0 : assert_failed(#cond, __func__, __FILE__, __LINE__))
