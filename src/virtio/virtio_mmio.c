/*
 * The virtio-mmio register file, version 2 (VIRTIO 1.2, 4.2.2). vCPU threads, several at once.
 *
 * Two registers are touched for every interrupt, InterruptStatus and InterruptACK: they are one
 * atomic, no lock. The others take the device's lock. Two writes drop it on the way, because they
 * take long: the doorbell's attach and detach (a system call that waits for a grace period of the
 * kernel), and the wait for a device to stop.
 *
 * What a driver must not do is ignored where the standard lets us, and fails the device where the
 * driver would otherwise go on with something else than it asked for (a queue that is not ready, a
 * start without features).
 */
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "virtio/virtio_transport.h"
#include "virtio/virtio_wire.h"

enum { VENDOR_ID = 0x5254534b }; /* "KSTR" */

/* Status bits that a driver sets; NEEDS_RESET is the device's. */
enum {
	DRIVER_STATUS_BITS = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			     VIRTIO_CONFIG_S_FAILED,
};

/* What the driver wrote for a queue, unchecked until QueueReady. */
struct queue_regs {
	uint32_t num;
	struct virtq_areas areas;
};

struct regs {
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	uint64_t driver_features;
	struct queue_regs queues[VIRTIO_DEV_MAX_QUEUES];
};

struct virtio_mmio {
	struct io_region region;
	struct virtio_dev *dev;
	struct doorbell_host doorbell;
	int doorbell_fd;           /* -1: kicks by register exits */
	bool is_doorbell_attached; /* this and below: the device's lock */
	bool is_doorbell_busy;     /* a vCPU attaches or detaches it, without the lock */
	struct regs regs;
	_Atomic uint64_t n_notify_exits;
	_Atomic uint64_t n_register_exits;
};

static struct virtio_mmio *mmio_of(struct io_region *region)
{
	return container_of(region, struct virtio_mmio, region);
}

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint32_t half_get(uint64_t value, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(value >> 32 * sel);
}

static void half_set(uint64_t *value, uint32_t sel, uint32_t half)
{
	if (sel > 1)
		return;
	*value &= ~(0xffffffffull << 32 * sel);
	*value |= (uint64_t)half << 32 * sel;
}

/* The selected queue, or NULL where there is none. */
static struct virtq *queue_selected(struct virtio_mmio *t)
{
	return t->regs.queue_sel < t->dev->ops->n_queues ? &t->dev->queues[t->regs.queue_sel]
							 : NULL;
}

static uint64_t config_read(struct virtio_mmio *t, uint64_t off, unsigned size)
{
	const struct virtio_dev_ops *ops = t->dev->ops;
	uint64_t value = 0;

	if (ops->config_read && size <= ops->config_size && off <= ops->config_size - size)
		ops->config_read(t->dev, (uint32_t)off, &value, size);
	return value;
}

static void config_write(struct virtio_mmio *t, uint64_t off, unsigned size, uint64_t value)
{
	const struct virtio_dev_ops *ops = t->dev->ops;

	if (ops->config_write && size <= ops->config_size && off <= ops->config_size - size)
		ops->config_write(t->dev, (uint32_t)off, &value, size);
}

static uint32_t reg_read(struct virtio_mmio *t, uint64_t off)
{
	const struct virtio_dev *dev = t->dev;
	const struct virtq *q = queue_selected(t);

	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VIRTIO_WIRE_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VIRTIO_WIRE_MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return dev->ops->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR_ID;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half_get(dev->offered, t->regs.device_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? q->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q && virtq_is_ready(q);
	case VIRTIO_MMIO_STATUS:
		return dev->status;
	case VIRTIO_MMIO_SHM_LEN_LOW: /* no shared memory region has an id we know: all ones (4.2.2)
				       */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return dev->config_generation;
	default:
		return 0;
	}
}

static uint64_t mmio_read(struct io_region *region, uint64_t off, unsigned size)
{
	struct virtio_mmio *t = mmio_of(region);
	struct virtio_dev *dev = t->dev;
	uint64_t value = 0;

	count(&t->n_register_exits);
	/* Acquire pairs with raise_interrupt: the rings behind the bit are seen. */
	if (off == VIRTIO_MMIO_INTERRUPT_STATUS && size == 4)
		return atomic_load_explicit(&dev->interrupt_status, memory_order_acquire);
	(void)pthread_mutex_lock(&dev->lock);
	if (dev->dying)
		value = 0;
	else if (off >= VIRTIO_MMIO_CONFIG)
		value = config_read(t, off - VIRTIO_MMIO_CONFIG, size);
	else if (size == 4 && off % 4 == 0)
		value = reg_read(t, off);
	(void)pthread_mutex_unlock(&dev->lock);
	return value;
}

/*
 * Attaches or detaches the doorbell. Held, and let go around the system call. Where the host
 * refuses, kicks simply go on as register exits.
 */
static void doorbell_set(struct virtio_mmio *t, bool on)
{
	struct virtio_dev *dev = t->dev;
	const struct doorbell_host *host = &t->doorbell;
	gpa_t gpa = GPA(t->region.base + VIRTIO_MMIO_QUEUE_NOTIFY);

	while (t->is_doorbell_busy)
		(void)pthread_cond_wait(&dev->changed, &dev->lock);
	if (!host->attach || t->is_doorbell_attached == on || dev->dying)
		return;
	t->is_doorbell_busy = true;
	(void)pthread_mutex_unlock(&dev->lock);
	int res = on ? host->attach(host->ctx, gpa, t->doorbell_fd)
		     : host->detach(host->ctx, gpa, t->doorbell_fd);
	(void)pthread_mutex_lock(&dev->lock);
	t->is_doorbell_busy = false;
	(void)pthread_cond_broadcast(&dev->changed);
	if (res < 0)
		log_debug("%s: doorbell %s: error %d", dev->ops->name, on ? "attach" : "detach",
			  res);
	else
		t->is_doorbell_attached = on;
}

static void reset(struct virtio_mmio *t)
{
	doorbell_set(t, false);
	if (!virtio_dev_quiesce(t->dev))
		return;
	virtio_dev_reset(t->dev);
	t->regs = (struct regs){ 0 };
}

/* 3.1.1 step 5: the device takes the driver's choice, or the bit stays clear. */
static bool are_features_good(const struct virtio_mmio *t)
{
	const struct virtio_dev_ops *ops = t->dev->ops;
	uint64_t wanted = t->regs.driver_features;

	for (size_t i = 0; i < ops->n_needs; i++)
		if (wanted >> ops->needs[i].bit & 1 && !(wanted >> ops->needs[i].needs & 1))
			return false;
	return !(wanted & ~t->dev->offered) && wanted >> VIRTIO_F_VERSION_1 & 1;
}

static void status_write(struct virtio_mmio *t, uint32_t value)
{
	struct virtio_dev *dev = t->dev;
	uint32_t set = value & DRIVER_STATUS_BITS & ~(uint32_t)dev->status;

	if (value == 0) {
		reset(t);
		return;
	}
	if (set & VIRTIO_CONFIG_S_FEATURES_OK) {
		if (are_features_good(t))
			dev->features = t->regs.driver_features;
		else
			set &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	}
	if (set & VIRTIO_CONFIG_S_DRIVER_OK &&
	    !((dev->status | set) & VIRTIO_CONFIG_S_FEATURES_OK)) {
		set &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
		virtio_dev_fail(dev, "DRIVER_OK without FEATURES_OK");
	}
	dev->status |= (uint8_t)set;
	if (!(set & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	doorbell_set(t, true);
	/* The lock was let go: another vCPU may have reset the device, or the VM may have ended. */
	if (!dev->dying && dev->state == VIRTIO_DEV_IDLE && !virtio_dev_is_broken(dev) &&
	    dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_dev_request_start(dev);
}

static void queue_ready_write(struct virtio_mmio *t, uint32_t value)
{
	struct virtio_dev *dev = t->dev;
	struct virtq *q = queue_selected(t);

	if (!q || virtq_is_ready(q) == (value & 1))
		return;
	if (!(value & 1)) {
		/*
		 * Taking one queue from a running device: without VIRTIO_F_RING_RESET no driver may
		 * count on the others going on, so the whole device stops and asks for a reset.
		 */
		if (dev->state == VIRTIO_DEV_IDLE)
			virtq_reset(q);
		else if (virtio_dev_quiesce(dev))
			virtio_dev_fail(dev, "queue taken from a running device");
		return;
	}
	const struct queue_regs *r = &t->regs.queues[t->regs.queue_sel];
	if (virtq_configure(q, r->num, &r->areas) < 0)
		virtio_dev_fail(dev, q->why);
}

/* Setting up queues has its time: after the features are fixed, before DRIVER_OK (3.1.1), and only
 * while not ready. */
static bool can_set_queue(struct virtio_mmio *t)
{
	uint8_t status = t->dev->status;

	return status & VIRTIO_CONFIG_S_FEATURES_OK &&
	       !(status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) &&
	       t->dev->state == VIRTIO_DEV_IDLE;
}

static void queue_write(struct virtio_mmio *t, uint64_t off, uint32_t value)
{
	const struct virtq *q = queue_selected(t);

	if (!q || virtq_is_ready(q) || !can_set_queue(t))
		return;
	struct queue_regs *r = &t->regs.queues[t->regs.queue_sel];
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		r->num = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		half_set(&r->areas.desc.addr, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		half_set(&r->areas.avail.addr, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		half_set(&r->areas.used.addr, off == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	default:
		break;
	}
}

static void reg_write(struct virtio_mmio *t, uint64_t off, uint32_t value)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->regs.device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		t->regs.driver_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(t->dev->status & VIRTIO_CONFIG_S_FEATURES_OK))
			half_set(&t->regs.driver_features, t->regs.driver_features_sel, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		t->regs.queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (!(value & 1) || can_set_queue(t))
			queue_ready_write(t, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		count(&t->n_notify_exits);
		virtio_dev_request_kick(t->dev);
		break;
	case VIRTIO_MMIO_STATUS:
		status_write(t, value);
		break;
	default:
		queue_write(t, off, value);
		break;
	}
}

static void mmio_write(struct io_region *region, uint64_t off, unsigned size, uint64_t value)
{
	struct virtio_mmio *t = mmio_of(region);
	struct virtio_dev *dev = t->dev;

	count(&t->n_register_exits);
	if (off == VIRTIO_MMIO_INTERRUPT_ACK && size == 4) {
		atomic_fetch_and_explicit(&dev->interrupt_status, ~(uint32_t)value,
					  memory_order_acq_rel);
		return;
	}
	(void)pthread_mutex_lock(&dev->lock);
	if (dev->dying)
		; /* nothing counts any more */
	else if (off >= VIRTIO_MMIO_CONFIG)
		config_write(t, off - VIRTIO_MMIO_CONFIG, size, value);
	else if (size == 4 && off % 4 == 0)
		reg_write(t, off, (uint32_t)value);
	(void)pthread_mutex_unlock(&dev->lock);
}

static const struct io_ops mmio_ops = { .read = mmio_read, .write = mmio_write };

int virtio_mmio_new(const struct virtio_mmio_config *config, struct virtio_dev *dev,
		    struct virtio_mmio **ret, struct error *err)
{
	CLEANUP(fd_closep) int doorbell_fd = -1;

	if (config->doorbell.attach) {
		doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (doorbell_fd < 0)
			return error_set(err, errno, "%s: eventfd", dev->ops->name);
	}
	ASSERT(config->reactor == dev->reactor);
	struct virtio_mmio *t = xcalloc(1, sizeof(*t));
	t->region = (struct io_region){
		.base = config->base.addr,
		.len = VIRTIO_MMIO_LEN,
		.ops = &mmio_ops,
		.name = dev->ops->name,
	};
	t->dev = dev;
	t->doorbell = config->doorbell;
	t->doorbell_fd = TAKE_FD(doorbell_fd);
	virtio_dev_bind(dev, config->mem, config->irq_fd, config->irq_sink, t->doorbell_fd);
	*ret = t;
	return 0;
}

struct virtio_mmio *virtio_mmio_free(struct virtio_mmio *t)
{
	if (!t)
		return NULL;
	/* A doorbell still attached goes with the VM: detaching it now would cost a grace period
	 * for nothing. */
	virtio_dev_unbind(t->dev);
	fd_close(t->doorbell_fd);
	free(t);
	return NULL;
}

struct io_region *virtio_mmio_region(struct virtio_mmio *t)
{
	return &t->region;
}

void virtio_mmio_drain(struct virtio_mmio *t)
{
	virtio_dev_drain(t->dev);
}

void virtio_mmio_stop(struct virtio_mmio *t, void (*done)(void *ctx), void *ctx)
{
	virtio_dev_shutdown(t->dev, done, ctx);
}

void virtio_mmio_stats(const struct virtio_mmio *t, struct virtio_mmio_stats *ret)
{
	const struct virtio_dev *dev = t->dev;

	*ret = (struct virtio_mmio_stats){
		.n_kicks = dev->counters.n_kicks,
		.n_looks = dev->counters.n_looks,
		.n_notify_exits = t->n_notify_exits,
		.n_register_exits = t->n_register_exits,
		.n_interrupts = dev->irq.n_raised,
		.n_interrupts_suppressed = dev->counters.n_suppressed,
		.n_guest_faults = dev->counters.n_faults,
	};
}
