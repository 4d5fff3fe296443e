/* A failed KVM call of set-up, told apart: the host is short of something now, or it refuses for
 * good. */
#pragma once

#include <errno.h>

#include "base/error.h"

static inline bool host_error_is_transient(int code)
{
	return code == ENOMEM || code == EBUSY || code == EAGAIN || code == EMFILE;
}

/* @code is an errno (positive). Class INFRA in both cases; returns the negative code. */
static inline int host_error_set(struct error *err, int code, const char *what)
{
	if (host_error_is_transient(code))
		return error_set(err, code, "%s: host resources", what);
	return error_set(err, code, "%s", what);
}
