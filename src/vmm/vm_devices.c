/*
 * Devices come up in the order of the list at the end of this file and go down in reverse; irqfds
 * are last for the reason given in vm.c.
 */
#include "vmm/vm_devices.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/file.h>

#include "arch/arch.h"
#include "base/assert.h"
#include "base/fd.h"
#include "legacy/uart16550.h"
#include "vmm/kvm.h"

static const struct arch_device_slot *const slots[VM_N_LINES] = {
	[VM_LINE_COM1] = &arch_machine.com1,       [VM_LINE_COM2] = &arch_machine.com2,
	[VM_LINE_CONSOLE] = &arch_machine.console, [VM_LINE_DISK] = &arch_machine.blk,
	[VM_LINE_NET] = &arch_machine.net,
};

static int up_irqchip(struct vm_devices *d, struct error *err)
{
	d->irqchip = arch_irqchip_new(d->config.vm_fd, &d->config.vm->topology);
	int res = d->irqchip ? io_bus_add(&d->mmio, arch_irqchip_region(d->irqchip)) : 0;
	return res < 0 ? error_set(err, res, "interrupt controller") : 0;
}

static void down_irqchip(struct vm_devices *d)
{
	d->irqchip = arch_irqchip_free(d->irqchip);
}

/* A line leads to our own interrupt controller or, by an eventfd, to the kernel's (up_irqfds). */
static int add_line(struct vm_devices *d, enum vm_line line, struct irq_sink *ret_sink,
		    struct error *err)
{
	*ret_sink = (struct irq_sink){ 0 };
	if (d->irqchip) {
		*ret_sink = arch_irqchip_sink(d->irqchip, slots[line]->gsi);
		return 0;
	}
	d->irq_fds[line] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->irq_fds[line] < 0 ? kvm_error(err, errno, "eventfd") : 0;
}

static void down_lines(struct vm_devices *d)
{
	for (size_t i = 0; i < VM_N_LINES; i++)
		fd_closep(&d->irq_fds[i]);
}

/* Serial ports and power */

static int add_uart(struct vm_devices *d, enum vm_line line, struct uart16550_config config,
		    struct uart16550 **ret, struct error *err)
{
	if (add_line(d, line, &config.irq_sink, err) < 0)
		return err->code;
	config.reactor = d->config.reactor;
	config.irq_fd = d->irq_fds[line];
	config.ctx = d->config.vm->ctx;
	if (uart16550_new(&config, ret, err) < 0)
		return err->code;
	int res =
	    io_bus_add(arch_machine.uart_is_mmio ? &d->mmio : &d->ports, uart16550_region(*ret));
	return res < 0 ? error_set(err, res, "%s", config.name) : 0;
}

static int up_legacy(struct vm_devices *d, struct error *err)
{
	const struct uart16550_config com1 = { .base = arch_machine.com1.base,
					       .name = "com1",
					       .output = d->config.vm->com1 };
	const struct uart16550_config com2 = { .base = arch_machine.com2.base,
					       .name = "com2",
					       .output = d->config.vm->com2 };

	power_init(&d->power, d->config.on_power, d->config.ctx);
	int res = power_add(&d->power, &d->ports);
	if (res < 0)
		return error_set(err, res, "power");
	if (add_uart(d, VM_LINE_COM1, com1, &d->com1, err) < 0 ||
	    add_uart(d, VM_LINE_COM2, com2, &d->com2, err) < 0)
		return err->code;
	return 0;
}

static void down_legacy(struct vm_devices *d)
{
	d->com1 = uart16550_free(d->com1);
	d->com2 = uart16550_free(d->com2);
}

/* What all virtio devices share */

static int doorbell(void *ctx, gpa_t gpa, int event_fd, uint32_t flags)
{
	const struct vm_devices *d = ctx;
	struct kvm_ioeventfd args = { .addr = gpa.addr, .len = 4, .fd = event_fd, .flags = flags };

	return kvm_ioctl(d->config.vm_fd, KVM_IOEVENTFD, (uintptr_t)&args);
}

static int attach_doorbell(void *ctx, gpa_t gpa, int event_fd)
{
	return doorbell(ctx, gpa, event_fd, 0);
}

static int detach_doorbell(void *ctx, gpa_t gpa, int event_fd)
{
	return doorbell(ctx, gpa, event_fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int add_virtio(struct vm_devices *d, struct virtio_dev *dev, enum vm_line line,
		      struct vm_virtio *at, struct error *err)
{
	struct irq_sink irq_sink;

	if (add_line(d, line, &irq_sink, err) < 0)
		return err->code;
	const struct virtio_mmio_config config = {
		.base = GPA(slots[line]->base),
		.mem = d->config.mem,
		.reactor = d->config.reactor,
		.doorbell = { attach_doorbell, detach_doorbell, d },
		.irq_fd = d->irq_fds[line],
		.irq_sink = irq_sink,
	};
	if (virtio_mmio_new(&config, dev, &at->mmio, err) < 0)
		return err->code;
	int res = io_bus_add(&d->mmio, virtio_mmio_region(at->mmio));
	return res < 0 ? error_set(err, res, "%s", dev->ops->name) : 0;
}

static void on_virtio_stopped(void *ctx)
{
	struct vm_virtio *at = ctx;

	at->stopped = true;
}

/* Stops the device unless somebody did, and waits until it has let go of guest memory. */
static void remove_virtio(struct vm_devices *d, struct vm_virtio *at)
{
	if (!at->mmio)
		return;
	if (!at->stopping) {
		at->stopping = true;
		virtio_mmio_stop(at->mmio, on_virtio_stopped, at);
	}
	while (!at->stopped)
		reactor_turn(d->config.reactor, UINT64_MAX);
	at->mmio = virtio_mmio_free(at->mmio);
}

/* Console */

static int up_console(struct vm_devices *d, struct error *err)
{
	if (virtio_console_new(&d->config.vm->console, d->config.reactor, &d->console, err) < 0)
		return err->code;
	return add_virtio(d, virtio_console_dev(d->console), VM_LINE_CONSOLE, &d->console_at, err);
}

static void down_console(struct vm_devices *d)
{
	remove_virtio(d, &d->console_at);
	d->console = virtio_console_free(d->console);
}

/* Disk: stops before the verdict, or, in a VM that never ran, when that is taken down. */

static int up_disk(struct vm_devices *d, struct error *err)
{
	if (!d->config.vm->disk)
		return 0;
	if (virtio_blk_new(d->config.vm->disk, d->config.reactor, &d->disk, err) < 0)
		return err->code;
	return add_virtio(d, virtio_blk_dev(d->disk), VM_LINE_DISK, &d->disk_at, err);
}

static void on_disk_stopped(void *ctx)
{
	struct vm_devices *d = ctx;

	d->disk_at.stopped = true;
	/*
	 * Not at our exit: whoever starts the next VM after this one's verdict may have the file.
	 */
	if (d->disk)
		(void)flock(d->config.vm->disk->fd,
			    LOCK_UN); /* an error means that there is no lock */
	if (d->disk_done)
		d->disk_done(d->disk_done_ctx);
}

static void on_no_disk(struct reactor_deferred *work)
{
	on_disk_stopped(container_of(work, struct vm_devices, no_disk_work));
}

void vm_devices_stop_disk(struct vm_devices *d, void (*done)(void *ctx), void *ctx)
{
	ASSERT(!d->disk_at.stopping);
	d->disk_at.stopping = true;
	d->disk_done = done;
	d->disk_done_ctx = ctx;
	d->no_disk_work.fn = on_no_disk;
	if (d->disk_at.mmio)
		virtio_mmio_stop(d->disk_at.mmio, on_disk_stopped, d);
	else
		reactor_defer(d->config.reactor, &d->no_disk_work);
}

static void down_disk(struct vm_devices *d)
{
	if (d->disk_at.mmio && !d->disk_at.stopping)
		vm_devices_stop_disk(d, NULL, NULL);
	while (d->disk_at.stopping && !d->disk_at.stopped) /* without a disk, too: no_disk_work */
		reactor_turn(d->config.reactor, UINT64_MAX);
	remove_virtio(d, &d->disk_at);
	d->disk = virtio_blk_free(d->disk);
}

/* Network */

static int up_net(struct vm_devices *d, struct error *err)
{
	if (!d->config.vm->net)
		return 0;
	d->net = virtio_net_new(d->config.vm->net, d->config.reactor);
	return add_virtio(d, virtio_net_dev(d->net), VM_LINE_NET, &d->net_at, err);
}

static void down_net(struct vm_devices *d)
{
	remove_virtio(d, &d->net_at);
	d->net = virtio_net_free(d->net);
}

static int up_irqfds(struct vm_devices *d, struct error *err)
{
	for (size_t i = 0; i < VM_N_LINES; i++) {
		struct kvm_irqfd args = { .fd = (uint32_t)d->irq_fds[i], .gsi = slots[i]->gsi };
		int res =
		    d->irq_fds[i] < 0 ? 0 : kvm_ioctl(d->config.vm_fd, KVM_IRQFD, (uintptr_t)&args);
		if (res < 0)
			return kvm_error(err, res, "KVM_IRQFD for GSI %u", args.gsi);
	}
	return 0;
}

/* down of a part runs also when its own up failed half-way: each undoes what it finds. */
static const struct {
	int (*up)(struct vm_devices *d, struct error *err);
	void (*down)(struct vm_devices *d);
} parts[] = {
	{ .up = up_irqchip, .down = down_irqchip },
	{ .down = down_lines },
	{ .up = up_legacy, .down = down_legacy },
	{ .up = up_console, .down = down_console },
	{ .up = up_disk, .down = down_disk },
	{ .up = up_net, .down = down_net },
	{ .up = up_irqfds },
};

int vm_devices_init(struct vm_devices *d, const struct vm_devices_config *config, struct error *err)
{
	*d = (struct vm_devices){ .config = *config };
	for (size_t i = 0; i < VM_N_LINES; i++)
		d->irq_fds[i] = -1;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].up && parts[i].up(d, err) < 0)
			return err->code;
	return 0;
}

void vm_devices_fini(struct vm_devices *d)
{
	for (size_t i = ARRAY_SIZE(parts); i-- > 0;)
		if (parts[i].down)
			parts[i].down(d);
}

void vm_devices_drain(struct vm_devices *d)
{
	virtio_mmio_drain(d->console_at.mmio);
	if (d->disk_at.mmio)
		virtio_mmio_drain(d->disk_at.mmio);
	if (d->net_at.mmio)
		virtio_mmio_drain(d->net_at.mmio);
	uart16550_drain(d->com1);
	uart16550_drain(d->com2);
}

void vm_devices_stats(const struct vm_devices *d, struct vm_stats *ret)
{
	ret->n_unclaimed += atomic_load(&d->mmio.n_unclaimed) + atomic_load(&d->ports.n_unclaimed);
	ret->uart_dropped += uart16550_dropped(d->com1) + uart16550_dropped(d->com2);
	virtio_mmio_stats(d->console_at.mmio, &ret->console_mmio);
	virtio_console_stats(d->console, &ret->console);
	ret->has_disk = d->disk;
	if (d->disk) {
		virtio_mmio_stats(d->disk_at.mmio, &ret->disk_mmio);
		virtio_blk_stats(d->disk, &ret->disk);
	}
	ret->has_net = d->net;
	if (d->net) {
		virtio_mmio_stats(d->net_at.mmio, &ret->net_mmio);
		virtio_net_stats(d->net, &ret->net);
	}
}
