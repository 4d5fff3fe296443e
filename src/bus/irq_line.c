/* See irq_line.h. */
#include "bus/irq_line.h"

#include <stdatomic.h>
#include <unistd.h>

void irq_line_pulse(struct irq_line *line)
{
	static const uint64_t one = 1;

	atomic_fetch_add_explicit(&line->n_raised, 1, memory_order_relaxed);
	if (line->fd < 0) {
		if (line->sink.pulse)
			line->sink.pulse(line->sink.ctx, line->sink.pin);
		return;
	}
	/*
	 * Nothing to do about a failure: a full counter (non-blocking eventfd, nobody reads) is an
	 * interrupt that is pending already.
	 */
	ssize_t n = write(line->fd, &one, sizeof(one));
	(void)n;
}
