/* The filter of confine.h, which the build makes: printed by confine_list.c, loaded by confine_seccomp.c. */
#pragma once

#include <linux/filter.h>

enum {
	/* Stands for the process's own id, once; no id is as large. */
	CONFINE_PID_MARK = 0x7b1dfeed,
	CONFINE_FILTER_MAX = 512,
};

extern const struct sock_filter confine_filter[];
extern const unsigned short confine_filter_len; /* at most CONFINE_FILTER_MAX */
