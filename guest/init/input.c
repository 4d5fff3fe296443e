/* A queue in front of a pipe. */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void input_init(struct input *in, int fd)
{
	*in = (struct input){ .fd = fd };
}

void input_fini(struct input *in)
{
	if (in->fd >= 0)
		close(in->fd);
	free(in->bytes);
	*in = INPUT_INIT;
}

int input_push(struct input *in, const void *data, size_t n)
{
	if (in->fd < 0)
		return 0;
	if (n == 0) {
		in->is_ended = true;
		return 0;
	}
	if (in->begin > 0) {
		memmove(in->bytes, in->bytes + in->begin, input_pending(in));
		in->end -= in->begin;
		in->begin = 0;
	}
	if (n > in->capacity - in->end) {
		uint8_t *bytes = realloc(in->bytes, in->end + n);
		if (bytes == NULL)
			return -ENOMEM;
		in->bytes = bytes;
		in->capacity = in->end + n;
	}
	memcpy(in->bytes + in->end, data, n);
	in->end += n;
	return 0;
}

void input_flush(struct input *in)
{
	while (in->fd >= 0 && input_pending(in) > 0) {
		ssize_t n = write(in->fd, in->bytes + in->begin, input_pending(in));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) { /* nobody reads it any more */
			input_fini(in);
			return;
		}
		in->begin += (size_t)n;
	}
	if (in->is_ended)
		input_fini(in);
}
