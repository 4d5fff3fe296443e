/* What several examples need of CPUs: pinning, burning time, and what the host took away meanwhile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t now_ns(void);
/* Seconds of CPU time of this process. */
double cpu_seconds(void);
/* Keeps the calling thread on @cpu. */
bool pin_to(int cpu);
/* Burns CPU time until now_ns() is @until_ns. */
void spin_until(uint64_t until_ns);
/* A child that runs @body and ends; -1 with errno. */
pid_t start_child(void (*body)(void *arg), void *arg);
/* Waits for the end of @pid. True: it exited with 0. @ret_cpu_s, if not NULL, gets the CPU time that it used. */
bool end_of_child(pid_t pid, double *ret_cpu_s);

/* Seconds that the host kept from @cpu since boot, of /proc/stat; -1: not known. */
double stolen_seconds(int cpu);
/* The whole file as text without its last newline. False: it cannot be read. */
bool read_file(const char *path, char *text, size_t size);
bool write_file(const char *path, const char *text);
