#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct batch_summary_style terminal_style(int fd)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	/* NOLINTEND(concurrency-mt-unsafe) */
	struct winsize size = { 0 };

	if (!isatty(fd))
		return (struct batch_summary_style){ 0 };
	(void)ioctl(fd, TIOCGWINSZ, &size); /* without a size lines are not wrapped */
	return (struct batch_summary_style){ .width = size.ws_col,
					     .color = !(no_color && *no_color) && term &&
						      strcmp(term, "dumb") != 0 };
}
