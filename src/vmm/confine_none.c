/*
 * Builds with a sanitizer: its run time opens files, starts threads and processes when it likes, so there is no list of what the
 * process may do that would say anything about the one without it.
 */
#include <errno.h>

#include "vmm/confine.h"

int confine(struct error *err)
{
	return confine_check(err);
}

int confine_check(struct error *err)
{
	return error_set_text(err, -EOPNOTSUPP,
			      "this build has a sanitizer in it, which no filter would let work");
}

void confine_drop_capabilities(void)
{
}
