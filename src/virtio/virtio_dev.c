/*
 * The device core: state machine (the picture is in virtio_dev.h), queues, interrupts.
 *
 *	state \ event   request_start  quiesce/stop wanted    work on the reactor        stopped
 *	IDLE            STARTING       returns                -                          bug
 *	STARTING        bug            IDLE                   start, notify: RUNNING     bug
 *	RUNNING         bug            STOP_WANTED            notify (VM ends: STOPPING) bug
 *	STOP_WANTED     bug            waits                  stop: STOPPING             bug
 *	STOPPING        bug            waits                  -                          IDLE
 *
 * Reactor entries, each of which takes the lock: on_doorbell (kicks), on_work (messages of vCPU
 * threads and of ourselves), on_flush (end of a turn), and virtio_dev_enter for the device's own
 * completions.
 */
#include "virtio/virtio_dev.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>

#include "base/log.h"
#include "virtio/virtio_transport.h"
#include "virtio/virtio_wire.h"

#define CORE_FEATURES                                                                              \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |                        \
	 1ull << VIRTIO_RING_F_EVENT_IDX)

enum { DRAIN_ROUNDS_MAX = 256 };

static const char *state_name(enum virtio_dev_state state)
{
	static const char *const names[] = {
		[VIRTIO_DEV_IDLE] = "idle",         [VIRTIO_DEV_STARTING] = "starting",
		[VIRTIO_DEV_RUNNING] = "running",   [VIRTIO_DEV_STOP_WANTED] = "stop wanted",
		[VIRTIO_DEV_STOPPING] = "stopping",
	};

	return names[state];
}

static void dev_set_state(struct virtio_dev *dev, enum virtio_dev_state next)
{
	static const unsigned legal[] = {
		[VIRTIO_DEV_IDLE] = 1u << VIRTIO_DEV_STARTING,
		[VIRTIO_DEV_STARTING] = 1u << VIRTIO_DEV_IDLE | 1u << VIRTIO_DEV_RUNNING,
		[VIRTIO_DEV_RUNNING] = 1u << VIRTIO_DEV_STOP_WANTED | 1u << VIRTIO_DEV_STOPPING,
		[VIRTIO_DEV_STOP_WANTED] = 1u << VIRTIO_DEV_STOPPING,
		[VIRTIO_DEV_STOPPING] = 1u << VIRTIO_DEV_IDLE,
	};

	ASSERT(legal[dev->state] & 1u << next);
	log_debug("%s: %s -> %s", dev->ops->name, state_name(dev->state), state_name(next));
	dev->state = next;
	(void)pthread_cond_broadcast(&dev->changed); /* cannot fail */
}

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void raise_interrupt(struct virtio_dev *dev, uint32_t bit)
{
	/* Release pairs with the acquire of the driver's InterruptStatus read: it then sees why. */
	atomic_fetch_or_explicit(&dev->interrupt_status, bit, memory_order_release);
	irq_line_pulse(&dev->irq);
}

/* Work for the reactor. */

static void notify_all(struct virtio_dev *dev)
{
	dev->watch.found =
	    false; /* one notify a turn, or a refilling guest would get twice its due */
	for (uint32_t i = 0; i < dev->ops->n_queues; i++) {
		if (!virtq_is_ready(&dev->queues[i]))
			continue;
		dev->budget[i] = dev->queues[i].size;
		dev->queues[i].is_hungry = false; /* until its device looks and finds nothing */
		if (virtio_dev_is_running(dev))
			dev->ops->notify(dev, i);
	}
}

/*
 * Work without a kick: while the reactor watches, an empty queue asks for none, and the driver sees
 * no reason to kick. A queue whose device would not pop (it waits for something else) is not hungry,
 * and nobody's work.
 */

static bool can_watch(const struct virtio_dev *dev)
{
	return dev->state == VIRTIO_DEV_RUNNING && !dev->dying && !virtio_dev_is_broken(dev);
}

static struct virtio_dev *dev_of_watch(struct reactor_watch *w)
{
	return container_of(w, struct virtio_dev, watch);
}

static bool watch_look(struct reactor_watch *w)
{
	struct virtio_dev *dev = dev_of_watch(w);
	bool found = false;

	virtio_dev_enter(dev);
	for (uint32_t i = 0; can_watch(dev) && !found && i < dev->ops->n_queues; i++)
		found = dev->queues[i].is_hungry && virtq_has_avail(&dev->queues[i]);
	virtio_dev_leave(dev);
	return found;
}

static bool watch_ask(struct reactor_watch *w)
{
	struct virtio_dev *dev = dev_of_watch(w);
	bool found = false;

	virtio_dev_enter(dev);
	for (uint32_t i = 0; can_watch(dev) && i < dev->ops->n_queues; i++)
		if (virtq_ask_kick(&dev->queues[i]))
			found = true;
	virtio_dev_leave(dev);
	return found;
}

static void watch_work(struct reactor_watch *w)
{
	struct virtio_dev *dev = dev_of_watch(w);

	virtio_dev_enter(dev);
	if (can_watch(dev)) {
		count(&dev->counters.n_looks);
		notify_all(dev);
	}
	virtio_dev_leave(dev);
}

static const struct reactor_watch_ops watch_ops = {
	.look = watch_look,
	.ask = watch_ask,
	.work = watch_work,
};

static void dev_start(struct virtio_dev *dev)
{
	for (uint32_t i = 0; i < dev->ops->n_queues; i++) {
		struct virtq *q = &dev->queues[i];

		q->event_idx = virtio_dev_has_feature(dev, VIRTIO_RING_F_EVENT_IDX);
		q->indirect = virtio_dev_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC);
		q->is_lazy = true;
		dev->budget[i] = q->size;
	}
	reactor_watch(dev->reactor, &dev->watch);
	dev_set_state(dev, VIRTIO_DEV_RUNNING);
	dev->ops->start(dev);
	notify_all(dev); /* kicks may have come before us */
}

static void dev_stop(struct virtio_dev *dev)
{
	reactor_unwatch(dev->reactor, &dev->watch);
	dev_set_state(dev, VIRTIO_DEV_STOPPING);
	dev->ops->stop(dev);
}

/* The last step of a shutdown, at the end of a turn and without the lock: @done may free the
 * device. */
static void on_finish(struct reactor_deferred *d)
{
	struct virtio_dev *dev = container_of(d, struct virtio_dev, finish_work);

	dev->done(dev->done_ctx);
}

static void finish_if_over(struct virtio_dev *dev)
{
	if (!dev->is_finishing || dev->state != VIRTIO_DEV_IDLE ||
	    !reactor_op_is_idle(&dev->doorbell_op))
		return;
	reactor_undefer(dev->reactor, &dev->flush_work);
	reactor_defer(dev->reactor, &dev->finish_work);
}

static void do_work(struct virtio_dev *dev)
{
	bool kick = dev->is_kick_wanted;

	dev->is_kick_wanted = false;
	switch (dev->state) {
	case VIRTIO_DEV_STARTING:
		if (dev->dying)
			dev_set_state(dev, VIRTIO_DEV_IDLE);
		else
			dev_start(dev);
		break;
	case VIRTIO_DEV_RUNNING:
		if (dev->dying)
			dev_stop(dev);
		else if (kick)
			notify_all(dev);
		break;
	case VIRTIO_DEV_STOP_WANTED:
		dev_stop(dev);
		break;
	case VIRTIO_DEV_IDLE:
	case VIRTIO_DEV_STOPPING:
		break;
	}
}

static void on_work(struct reactor_msg *msg)
{
	struct virtio_dev *dev = container_of(msg, struct virtio_dev, work_msg);

	virtio_dev_enter(dev);
	/* Nobody posts after virtio_dev_shutdown did, so if it was before us, this is the last
	 * message. */
	dev->is_finishing = dev->dying;
	do_work(dev);
	finish_if_over(dev);
	virtio_dev_leave(dev);
}

static void on_doorbell(struct reactor_op *op, int res, bool more)
{
	struct virtio_dev *dev = container_of(op, struct virtio_dev, doorbell_op);

	virtio_dev_enter(dev);
	if (res > 0 && dev->state == VIRTIO_DEV_RUNNING && !dev->dying) {
		count(&dev->counters.n_kicks);
		notify_all(dev);
	}
	/* A poll that the host refused would leave the guest kicking in vain: better a device that
	 * says so. */
	if (!more && !dev->dying)
		virtio_dev_fail(dev, "doorbell poll failed");
	finish_if_over(dev);
	virtio_dev_leave(dev);
}

static void on_flush(struct reactor_deferred *d)
{
	struct virtio_dev *dev = container_of(d, struct virtio_dev, flush_work);
	bool wanted = false;

	virtio_dev_enter(dev);
	for (uint32_t i = 0; i < dev->ops->n_queues && !virtio_dev_is_broken(dev); i++) {
		struct virtq *q = &dev->queues[i];

		if (!virtq_is_ready(q) || !virtq_has_unflushed(q))
			continue;
		if (virtq_flush(q))
			wanted = true;
		else
			count(&dev->counters.n_suppressed);
	}
	if (wanted)
		raise_interrupt(dev, VIRTIO_MMIO_INT_VRING);
	virtio_dev_leave(dev);
}

/* For devices. */

void virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_ops *ops,
		     struct reactor *reactor)
{
	ASSERT(ops->n_queues <= VIRTIO_DEV_MAX_QUEUES);
	*dev = (struct virtio_dev){ .ops = ops, .reactor = reactor, .irq = { .fd = -1 } };
	dev->offered = ops->features | CORE_FEATURES;
	dev->work_msg.fn = on_work;
	dev->flush_work.fn = on_flush;
	dev->finish_work.fn = on_finish;
	dev->watch.ops = &watch_ops;
	/* Default attributes: neither can fail on Linux. */
	(void)pthread_mutex_init(&dev->lock, NULL);
	(void)pthread_cond_init(&dev->changed, NULL);
}

void virtio_dev_fini(struct virtio_dev *dev)
{
	ASSERT(dev->state == VIRTIO_DEV_IDLE && dev->depth == 0);
	ASSERT(reactor_op_is_idle(&dev->doorbell_op));
	(void)pthread_cond_destroy(&dev->changed); /* nobody waits */
	(void)pthread_mutex_destroy(&dev->lock);
}

void virtio_dev_enter(struct virtio_dev *dev)
{
	if (dev->depth++ == 0)
		(void)pthread_mutex_lock(&dev->lock); /* cannot fail: not recursive, not robust */
}

void virtio_dev_leave(struct virtio_dev *dev)
{
	ASSERT(dev->depth > 0);
	if (--dev->depth == 0)
		(void)pthread_mutex_unlock(&dev->lock);
}

bool virtio_dev_is_broken(const struct virtio_dev *dev)
{
	return dev->status & VIRTIO_CONFIG_S_NEEDS_RESET;
}

bool virtio_dev_is_running(const struct virtio_dev *dev)
{
	return (dev->state == VIRTIO_DEV_RUNNING || dev->state == VIRTIO_DEV_STOP_WANTED) &&
	       !virtio_dev_is_broken(dev);
}

bool virtio_dev_has_feature(const struct virtio_dev *dev, unsigned bit)
{
	return dev->features >> bit & 1;
}

/* Whether rings may be touched: they are the device's from start to stopped. */
static bool is_usable(const struct virtio_dev *dev, uint32_t q_idx)
{
	ASSERT(q_idx < dev->ops->n_queues);
	return (virtio_dev_is_running(dev) || dev->state == VIRTIO_DEV_STOPPING) &&
	       !virtio_dev_is_broken(dev) && virtq_is_ready(&dev->queues[q_idx]);
}

enum virtq_result virtio_dev_pop(struct virtio_dev *dev, uint32_t q_idx, struct virtq_chain **ret)
{
	struct virtq *q = &dev->queues[q_idx];

	if (!is_usable(dev, q_idx))
		return VIRTQ_EMPTY;
	/* A device that stops has its own bound. */
	if (dev->budget[q_idx] == 0 && dev->state != VIRTIO_DEV_STOPPING) {
		virtio_dev_again(dev);
		return VIRTQ_EMPTY;
	}
	int res = virtq_pop(q, ret);
	if (res < 0) {
		virtio_dev_fail(dev, q->why);
		return VIRTQ_EMPTY;
	}
	if (res == VIRTQ_OK && dev->budget[q_idx] > 0)
		dev->budget[q_idx]--;
	return (enum virtq_result)res;
}

bool virtio_dev_has_avail(const struct virtio_dev *dev, uint32_t q_idx)
{
	return is_usable(dev, q_idx) && virtq_has_avail(&dev->queues[q_idx]);
}

void virtio_dev_push(struct virtio_dev *dev, uint32_t q_idx, struct virtq_chain *chain,
		     uint32_t written)
{
	if (!is_usable(dev, q_idx))
		return;
	virtq_push(&dev->queues[q_idx], chain, written);
	reactor_defer(dev->reactor, &dev->flush_work);
}

void virtio_dev_again(struct virtio_dev *dev)
{
	if (dev->dying)
		return;
	dev->is_kick_wanted = true;
	(void)reactor_post(dev->reactor, &dev->work_msg); /* one message covers all wishes */
}

void virtio_dev_fail(struct virtio_dev *dev, const char *why)
{
	count(&dev->counters.n_faults);
	if (virtio_dev_is_broken(dev))
		return;
	log_debug("%s: device needs reset: %s", dev->ops->name, why);
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		raise_interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_dev_stopped(struct virtio_dev *dev)
{
	ASSERT(dev->state == VIRTIO_DEV_STOPPING);
	reactor_undefer(dev->reactor, &dev->flush_work);
	for (uint32_t i = 0; i < dev->ops->n_queues; i++) {
		struct virtq *q = &dev->queues[i];

		/* The last results, for a driver that looks; no interrupt: it waits for us anyway.
		 */
		if (virtq_is_ready(q) && !virtio_dev_is_broken(dev))
			(void)virtq_flush(q);
		virtq_reset(q);
	}
	dev_set_state(dev, VIRTIO_DEV_IDLE);
	finish_if_over(dev);
}

void virtio_dev_config_changed(struct virtio_dev *dev)
{
	dev->config_generation++;
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		raise_interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

/* For the transport. */

void virtio_dev_bind(struct virtio_dev *dev, const struct guest_mem *mem, int irq_fd,
		     struct irq_sink irq_sink, int doorbell_fd)
{
	dev->irq.fd = irq_fd;
	dev->irq.sink = irq_sink;
	for (uint32_t i = 0; i < dev->ops->n_queues; i++)
		virtq_init(&dev->queues[i], mem, dev->ops->queue_size_max);
	if (doorbell_fd >= 0)
		reactor_poll(dev->reactor, &dev->doorbell_op, doorbell_fd, POLLIN, on_doorbell);
}

void virtio_dev_unbind(struct virtio_dev *dev)
{
	ASSERT(dev->state == VIRTIO_DEV_IDLE && reactor_op_is_idle(&dev->doorbell_op));
	for (uint32_t i = 0; i < dev->ops->n_queues; i++)
		virtq_fini(&dev->queues[i]);
	dev->irq.fd = -1;
}

void virtio_dev_request_start(struct virtio_dev *dev)
{
	dev_set_state(dev, VIRTIO_DEV_STARTING);
	(void)reactor_post(dev->reactor, &dev->work_msg);
}

void virtio_dev_request_kick(struct virtio_dev *dev)
{
	virtio_dev_again(dev);
}

bool virtio_dev_quiesce(struct virtio_dev *dev)
{
	while (!dev->dying && dev->state != VIRTIO_DEV_IDLE) {
		if (dev->state == VIRTIO_DEV_STARTING) {
			dev_set_state(dev, VIRTIO_DEV_IDLE);
			break;
		}
		if (dev->state == VIRTIO_DEV_RUNNING) {
			dev_set_state(dev, VIRTIO_DEV_STOP_WANTED);
			(void)reactor_post(dev->reactor, &dev->work_msg);
		}
		(void)pthread_cond_wait(&dev->changed, &dev->lock); /* cannot fail */
	}
	return !dev->dying;
}

void virtio_dev_reset(struct virtio_dev *dev)
{
	ASSERT(dev->state == VIRTIO_DEV_IDLE);
	dev->status = 0;
	dev->features = 0;
	dev->is_kick_wanted = false;
	atomic_store_explicit(&dev->interrupt_status, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < dev->ops->n_queues; i++)
		virtq_reset(&dev->queues[i]);
}

void virtio_dev_drain(struct virtio_dev *dev)
{
	virtio_dev_enter(dev);
	dev->is_kick_wanted = true;
	for (int i = 0; i < DRAIN_ROUNDS_MAX && dev->is_kick_wanted; i++)
		do_work(dev);
	virtio_dev_leave(dev);
}

void virtio_dev_shutdown(struct virtio_dev *dev, void (*done)(void *ctx), void *ctx)
{
	virtio_dev_enter(dev);
	ASSERT(!dev->dying);
	dev->done = done;
	dev->done_ctx = ctx;
	dev->dying = true;
	(void)pthread_cond_broadcast(&dev->changed); /* vCPUs in virtio_dev_quiesce leave */
	if (dev->doorbell_op.state == REACTOR_OP_ARMED)
		reactor_cancel(dev->reactor, &dev->doorbell_op);
	(void)reactor_post(dev->reactor, &dev->work_msg);
	virtio_dev_leave(dev);
}
