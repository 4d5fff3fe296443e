/*
 * Debug lines on stderr, only with KTSTR_LOG=debug. Users' messages come from src/cli, never from
 * here.
 */
#pragma once

/* Reads KTSTR_LOG once, at the start of a process, before there are threads. */
void log_init(void);
bool log_is_debug(void);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);
