/*
 * An error on a set-up path: a negative errno and the sentence a user reads. By value in the
 * caller, no heap.
 *
 *	if (fd < 0)
 *		return error_set(err, errno, "open '%s'", path);
 *
 * Only src/cli prints one and turns it into an exit status.
 */
#pragma once

#include <stdarg.h>

enum { ERROR_TEXT_MAX = 1024 };

/*
 * What an error means for the exit status (DESIGN.md, section 9). The default is ours or the host's
 * fault; a library sets another class where it alone can know.
 */
enum error_class {
	ERROR_INFRA,           /* KVM, memory, a bug: the run says nothing about the test */
	ERROR_USAGE,           /* what the user asked for cannot be: wrong file, wrong number */
	ERROR_SKIP,            /* this host cannot, another could */
	ERROR_UNREPRESENTABLE, /* a topology that no host could give: an error like USAGE, never a skip */
};

struct error {
	int code; /* negative errno; 0: no error */
	enum error_class class;
	char text[ERROR_TEXT_MAX];
};

/*
 * Sets @err to @code and the formatted text, followed by ": strerror(code)". @code may be given as
 * errno (positive) or negative; returns the negative. Never returns 0.
 */
int error_set(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * The same without the strerror text, for what is no failed system call; @code classifies (-EINVAL,
 * -ENOENT, ...).
 */
int error_set_text(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same as error_set_text, class ERROR_USAGE. */
int error_set_usage(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same as error_set, class ERROR_USAGE: a failed system call on what the user named. */
int error_set_usage_errno(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Wraps from the outside in: "disk 'a.img': open: ...". Returns err->code. */
int error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Sets the class of an error that is already set; returns err->code. */
int error_classify(struct error *err, enum error_class class);
