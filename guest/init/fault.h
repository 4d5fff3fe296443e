/*
 * What went wrong in a step of PID 1, as one line of text: the guest's counterpart of the host's
 * struct error. By value in the caller, no heap.
 */
#pragma once

struct fault {
	int code; /* negative errno, or 0 */
	char text[256];
};

/* Fills @f with the text, ": " and the errno's description when @code is negative; returns @code.
 */
int fault_set(struct fault *f, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
