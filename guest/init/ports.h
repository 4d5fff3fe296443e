/* The virtio-console ports, by name. */
#pragma once

#include "fault.h"

/*
 * Opens the port called @name, non-blocking, waiting up to @limit_ms for it to appear and for the
 * host to open its end (both follow the driver's start a moment later). -ENODEV at once when no
 * virtio console is bound to a driver, -ETIMEDOUT, -EBUSY when somebody has it open.
 */
MUST_CHECK int ports_open(const char *name, int64_t limit_ms, int *ret_fd, struct fault *f);
/*
 * The port of that name under @class_dir ("/sys/class/virtio-ports"): its device's name
 * ("vport0p1") into @dev of
 * @n bytes. -ENODEV: the class is not there; -ENOENT: no such port (yet).
 */
MUST_CHECK int ports_find(const char *class_dir, const char *name, char *dev, size_t n);
