#include "cli/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"

int sink_open(struct sink *s, const char *path, uint64_t limit, struct error *err)
{
	s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (s->fd < 0)
		return error_set_usage_errno(err, errno, "cannot write '%s'", path);
	s->path = xstrdup(path);
	s->file_limit = limit;
	return 0;
}

void sink_fini(struct sink *s)
{
	fd_closep(&s->fd);
	freep(&s->path);
	freep(&s->tail);
}

static void write_file(struct sink *s, const uint8_t *data, size_t n)
{
	size_t room = num_min(n, s->file_limit - s->file_len);
	int res = s->write_error ? s->write_error : fd_write_all(s->fd, data, room);

	if (res < 0) {
		s->write_error = res;
		room = 0;
	}
	s->file_len += room;
	s->n_dropped += n - room;
}

void sink_write(struct sink *s, const void *data, size_t n)
{
	const uint8_t *p = data;

	if (s->fd >= 0)
		write_file(s, p, n);
	if (n > SINK_TAIL_MAX) {
		p += n - SINK_TAIL_MAX;
		n = SINK_TAIL_MAX;
	}
	if (!s->tail)
		s->tail = xmalloc(SINK_TAIL_MAX);
	while (n) {
		size_t run = num_min(n, SINK_TAIL_MAX - s->tail_end);
		memcpy(s->tail + s->tail_end, p, run);
		s->tail_end = (s->tail_end + run) % SINK_TAIL_MAX;
		s->tail_len = num_min(s->tail_len + run, SINK_TAIL_MAX);
		p += run;
		n -= run;
	}
}

char *sink_tail(const struct sink *s)
{
	char *text = xmalloc(s->tail_len + 1);
	size_t begin = (s->tail_end + SINK_TAIL_MAX - s->tail_len) % SINK_TAIL_MAX;
	size_t first = num_min(s->tail_len, SINK_TAIL_MAX - begin);

	if (s->tail_len) {
		memcpy(text, s->tail + begin, first);
		memcpy(text + first, s->tail, s->tail_len - first);
	}
	text[s->tail_len] = 0;
	return text;
}
