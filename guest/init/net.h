/* The network of `--net`: what of it is PID 1's to make. */
#pragma once

#include "fault.h"

/*
 * @layout GUEST_NET_PLAIN: the NIC up. GUEST_NET_PAIR: also two network namespaces, pinned at
 * @dir/a and @dir/b, each with a macvlan of the NIC in vepa mode, addresses and lo, all
 * up (abi/guest_config.h). We end in the namespace that we were in. Errors name the step.
 */
MUST_CHECK int net_make(const char *layout, const char *dir, struct fault *f);
