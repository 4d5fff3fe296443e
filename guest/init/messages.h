/* The command's own channel (GUEST_ENV_CHANNEL in abi/guest_config.h): its messages become frames.
 */
#pragma once

#include "outlet.h"

/*
 * Takes one message off the socket. 1: there may be more; 0: none now; negative errno: the channel
 * has ended (-EPIPE) or broken. A message that is oversize or malformed is reported on the
 * command's standard error and dropped.
 */
MUST_CHECK int messages_pump(int fd, struct outlet *o);
