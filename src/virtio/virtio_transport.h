/*
 * The side of virtio_dev.c that a transport uses. What devices use is virtio_dev.h.
 *
 * "Held": the caller, a vCPU thread, holds dev->lock.
 */
#pragma once

#include "virtio/virtio_dev.h"

/*
 * Set-up: gives the device its queues and interrupt line, and polls @doorbell_fd (-1: none) until
 * virtio_dev_shutdown. Borrows all.
 */
void virtio_dev_bind(struct virtio_dev *dev, const struct guest_mem *mem, int irq_fd,
		     struct irq_sink irq_sink, int doorbell_fd);
/* After virtio_dev_shutdown has finished. */
void virtio_dev_unbind(struct virtio_dev *dev);

/* Held, idle: the driver said DRIVER_OK. The reactor starts the device soon. */
void virtio_dev_request_start(struct virtio_dev *dev);
/* Held: a kick that came as a register exit. */
void virtio_dev_request_kick(struct virtio_dev *dev);
/*
 * Held, and let go while waiting: returns when the device is idle, true, or when the VM ends,
 * false. This is how a guest's reset returns only after the last host access to its memory.
 */
MUST_CHECK bool virtio_dev_quiesce(struct virtio_dev *dev);
/* Held, idle: as after power-on. */
void virtio_dev_reset(struct virtio_dev *dev);

/* Reactor thread: looks at all queues now, repeatedly while a device asks for it (bounded). vCPUs
 * are stopped. */
void virtio_dev_drain(struct virtio_dev *dev);
/*
 * Reactor thread, once: stops the device for good and releases vCPUs in virtio_dev_quiesce. @done
 * comes when it is idle and none of its reactor ops is armed; never from inside this call; it may
 * free the device.
 */
void virtio_dev_shutdown(struct virtio_dev *dev, void (*done)(void *ctx), void *ctx);
