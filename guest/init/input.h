/* The command's standard input: bytes from the host on their way into its pipe. One thread. */
#pragma once

struct input {
	int fd;         /* owned; non-blocking; -1: closed, what comes is dropped */
	uint8_t *bytes; /* owned */
	size_t capacity;
	size_t begin;
	size_t end;
	bool is_ended; /* close once all is written */
};
#define INPUT_INIT ((struct input){ .fd = -1 })

/* Takes ownership of @fd. */
void input_init(struct input *in, int fd);
void input_fini(struct input *in); /* idempotent */

static inline size_t input_pending(const struct input *in)
{
	return in->end - in->begin;
}
/* Queues @n bytes; none: the end of the input. -ENOMEM. A closed input takes and drops everything.
 */
MUST_CHECK int input_push(struct input *in, const void *data, size_t n);
/* Writes what the pipe takes; closes it when its reader is gone, or at the end. */
void input_flush(struct input *in);
