/* What standard output is: a terminal with a width and colors, or something else. */
#pragma once

#include "harness/batch_summary.h"

/* Colors on a terminal only, and not with NO_COLOR or TERM=dumb; no width elsewhere. */
struct batch_summary_style terminal_style(int fd);
