/*
 * The core of a virtio device, embedded in each: its queues, its interrupt line, its life.
 *
 * A device sees chains of guest memory slices, this header and the reactor. It sees no guest address,
 * descriptor, ring index, register or KVM. All of its state, and all of struct virtio_dev, is guarded
 * by one lock, which is taken in two places: virtio_mmio.c for register exits of vCPU threads,
 * virtio_dev_enter for everything on the reactor thread. The ops below are called with it held.
 *
 * The states, and who moves them (virtio_dev.c):
 *
 *	             vCPU: DRIVER_OK           reactor            vCPU: reset        reactor
 *	   IDLE ----------------> STARTING ------------> RUNNING ------------> STOP_WANTED
 *	    ^  <-------------------/  vCPU: reset          |                        |
 *	    |                                              | reactor: VM ends       | ops->stop
 *	    |       virtio_dev_stopped                     v                        v
 *	    +------------------------------------------ STOPPING <-----------------+
 */
#pragma once

#include <pthread.h>

#include "bus/irq_line.h"
#include "reactor/reactor.h"
#include "virtio/virtq.h"

struct virtio_dev;

enum { VIRTIO_DEV_MAX_QUEUES = 8 };

/* A driver that takes feature @bit must take @needs, too, or FEATURES_OK stays clear. */
struct virtio_dev_need {
	uint8_t bit, needs;
};

struct virtio_dev_ops {
	const char *name;
	uint32_t device_id;
	uint64_t features; /* the device type's own; ring features and VERSION_1 are the core's */
	const struct virtio_dev_need *needs; /* NULL: none */
	size_t n_needs;
	uint32_t n_queues;
	uint16_t queue_size_max; /* a power of two */
	uint32_t config_size;    /* bytes; reads beyond it are 0 */

	/* Mandatory, reactor. The driver is ready (DRIVER_OK), its queues are usable; a notify of
	 * each follows. */
	void (*start)(struct virtio_dev *dev);
	/*
	 * Mandatory, reactor, running devices only. Queue @q_idx, which is ready, may have
	 * something new. One kick is told to every queue: a look at an empty one is cheap.
	 */
	void (*notify)(struct virtio_dev *dev, uint32_t q_idx);
	/*
	 * Mandatory, reactor. The driver resets the device or the VM ends: finish or cancel what is
	 * in flight, then call virtio_dev_stopped, from here or later. Until then queues and chains
	 * stay valid, and no notify comes.
	 */
	void (*stop)(struct virtio_dev *dev);
	/* Optional, vCPU. @off and @n lie inside config_size; missing: reads 0, writes are ignored.
	 */
	void (*config_read)(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t n);
	void (*config_write)(struct virtio_dev *dev, uint32_t off, const void *buf, uint32_t n);
};

enum virtio_dev_state {
	VIRTIO_DEV_IDLE,
	VIRTIO_DEV_STARTING,
	VIRTIO_DEV_RUNNING,
	VIRTIO_DEV_STOP_WANTED,
	VIRTIO_DEV_STOPPING,
};

struct virtio_dev_counters {
	_Atomic uint64_t n_kicks;
	_Atomic uint64_t n_looks; /* times that work was found without a kick */
	_Atomic uint64_t n_suppressed;
	_Atomic uint64_t n_faults;
};

/* Members are the core's; devices read none of them and write `offered` only. Guarded by lock where
 * nothing else is said. */
struct virtio_dev {
	const struct virtio_dev_ops *ops;
	struct reactor *reactor;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* state, dying, or the transport's doorbell */
	unsigned depth;         /* reactor thread only: nesting of virtio_dev_enter */
	enum virtio_dev_state state;
	uint8_t status; /* VIRTIO 1.2, 2.1 */
	bool dying;     /* the VM ends: no register access counts any more */
	bool is_kick_wanted;
	bool is_finishing; /* work_msg has seen dying */
	uint64_t offered; /* ops->features and the core's; a device may narrow it before it gets its
			     transport */
	uint64_t features; /* accepted by the driver */
	uint32_t config_generation;
	_Atomic uint32_t interrupt_status; /* read and cleared by vCPUs without the lock */
	struct irq_line irq;
	struct virtq queues[VIRTIO_DEV_MAX_QUEUES];
	uint16_t
	    budget[VIRTIO_DEV_MAX_QUEUES]; /* chains it may still pop before others get a turn */
	struct reactor_op doorbell_op;
	struct reactor_watch watch; /* of the queues' available rings, while running */
	struct reactor_msg work_msg;
	struct reactor_deferred flush_work, finish_work;
	void (*done)(void *ctx); /* virtio_dev_shutdown's */
	void *done_ctx;
	struct virtio_dev_counters counters;
};

/* Set-up. Borrows @ops and @reactor. virtio_dev_fini after the transport was freed (or never made).
 */
void virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_ops *ops,
		     struct reactor *reactor);
void virtio_dev_fini(struct virtio_dev *dev);

/*
 * Reactor thread: brackets a device's code that was not called through its ops, that is completions
 * of its own reactor ops and its public functions. Nests.
 */
void virtio_dev_enter(struct virtio_dev *dev);
void virtio_dev_leave(struct virtio_dev *dev);

/* The rest is for the inside of ops and of enter/leave. */

/* Between start and stop, and the guest broke nothing. */
bool virtio_dev_is_running(const struct virtio_dev *dev);
/* The guest broke a rule: pops find nothing, pushes go nowhere; only stop is left. */
bool virtio_dev_is_broken(const struct virtio_dev *dev);
bool virtio_dev_has_feature(const struct virtio_dev *dev, unsigned bit);

/*
 * VIRTQ_OK or VIRTQ_EMPTY. A broken ring fails the device and reads as empty. So does a queue that
 * gave its size's worth of chains in one turn: a notify follows in the next, so that a guest that
 * refills forever starves nobody.
 */
MUST_CHECK enum virtq_result virtio_dev_pop(struct virtio_dev *dev, uint32_t q_idx,
					    struct virtq_chain **ret);
bool virtio_dev_has_avail(const struct virtio_dev *dev, uint32_t q_idx);
/* Gives a chain back; the guest sees all of a turn's at its end, with at most one interrupt. */
void virtio_dev_push(struct virtio_dev *dev, uint32_t q_idx, struct virtq_chain *chain,
		     uint32_t written);
/* Notifies every queue again in the next turn. */
void virtio_dev_again(struct virtio_dev *dev);

/*
 * The guest broke a rule: DEVICE_NEEDS_RESET and a configuration interrupt (VIRTIO 1.2, 2.1.2),
 * counted, one debug line per reset. Any thread that holds the device.
 */
void virtio_dev_fail(struct virtio_dev *dev, const char *why);
/* Ends a stop: nothing of the host touches guest memory for this device any more. Every chain is
 * void. */
void virtio_dev_stopped(struct virtio_dev *dev);
/* Configuration space changed: new generation, and an interrupt if the driver runs. */
void virtio_dev_config_changed(struct virtio_dev *dev);
