/* Programs that die: what their end is called, and how a report of it travels to PID 1. */
#pragma once

#include <sys/types.h>

/* Abstract address of the datagram socket on which PID 1 takes reports from its core handlers
 * (core_handler.c). */
#define CRASH_SOCKET_NAME "ktstr-crash"

enum {
	CRASH_TEXT_MAX = 8 * 1024,
};

/* One datagram. */
struct crash_report {
	int32_t pid;
	int32_t signal;
	char text[CRASH_TEXT_MAX]; /* not terminated; as long as the datagram */
};

/* Is a death by @signal a defect of the program (and not somebody's kill)? */
bool crash_is_signal(int signal);
/* "SIGSEGV", ...; "signal" for others. */
const char *crash_signal_name(int signal);

/*
 * Makes the kernel start "/init --core" for a program that dumps core, and opens the socket for the
 * reports. -1: this kernel writes no cores (or has no unix sockets), then a crash is known by its
 * signal alone.
 */
int crash_listen(void);
/* 1: *@ret has a report of *@ret_text_len bytes of text; 0: none there. */
int crash_receive(int fd, struct crash_report *ret, size_t *ret_text_len);
