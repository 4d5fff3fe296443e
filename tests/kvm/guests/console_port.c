/* Driver of our virtio-console (console_port.h). Queues of 5.3.2: port 0, control, then the other
 * ports. */
#include "console_port.h"

#include "apic.h"

#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>

enum { CONTROL_RX = 2, CONTROL_TX = 3, N_QUEUES = 2 * (N_PORTS + 1), CONTROL_SIZE = 128 };

static struct vq_ring rings[N_QUEUES] __attribute__((aligned(4096)));
static struct vq queues[N_QUEUES];
static uint8_t rx_buffers[N_PORTS][RX_BUFFERS][RX_SIZE];
static uint8_t control_rx[RX_BUFFERS][CONTROL_SIZE];
static struct virtio_console_control control_tx;
static struct {
	bool added, host_open;
} ports[N_PORTS];
static bool use_interrupts;
static volatile bool interrupted;

struct vq *console_receive_queue(unsigned port)
{
	return &queues[port ? 2 + 2 * port : 0];
}

struct vq *console_transmit_queue(unsigned port)
{
	return console_receive_queue(port) + 1;
}

static void on_interrupt(void)
{
	uint32_t status = mmio_read32(CONSOLE_MMIO + VIRTIO_MMIO_INTERRUPT_STATUS);
	mmio_write32(CONSOLE_MMIO + VIRTIO_MMIO_INTERRUPT_ACK, status);
	interrupted = true;
}

static void on_control_message(const struct virtio_console_control *m);

static void poll_control(void)
{
	uint16_t n;
	uint32_t size;
	while (vq_take(&queues[CONTROL_RX], &n, &size)) {
		if (n >= RX_BUFFERS || size < sizeof(struct virtio_console_control))
			guest_die("console: bad control message");
		struct virtio_console_control m;
		memcpy(&m, control_rx[n], sizeof(m));
		vq_post(&queues[CONTROL_RX], n, control_rx[n], CONTROL_SIZE, true);
		vq_kick(&queues[CONTROL_RX]);
		on_control_message(&m);
	}
}

/* Until something may have happened on @q or on the control queue. */
static void wait_for(struct vq *q)
{
	if (!use_interrupts) {
		cpu_pause();
		return;
	}
	bool more = vq_arm(q);
	more |= vq_arm(&queues[CONTROL_RX]);
	if (!more)
		interrupts_wait(&interrupted);
}

static void send_control(uint32_t port, uint16_t event, uint16_t value)
{
	struct vq *q = &queues[CONTROL_TX];
	control_tx = (struct virtio_console_control){ .id = port, .event = event, .value = value };
	vq_post(q, 0, &control_tx, sizeof(control_tx), false);
	vq_kick(q);
	uint16_t n;
	uint32_t written;
	while (!vq_take(q, &n, &written))
		wait_for(q);
}

static void on_control_message(const struct virtio_console_control *m)
{
	if (m->id >= N_PORTS)
		guest_die("console: control message for an unknown port");
	if (m->event == VIRTIO_CONSOLE_PORT_ADD) {
		send_control(m->id, VIRTIO_CONSOLE_PORT_READY, 1);
		send_control(m->id, VIRTIO_CONSOLE_PORT_OPEN, 1);
		ports[m->id].added = true;
	} else if (m->event == VIRTIO_CONSOLE_PORT_OPEN) {
		ports[m->id].host_open = m->value;
	}
}

static void post_receive_buffers(void)
{
	for (unsigned i = 0; i < RX_BUFFERS; i++) {
		uint16_t n = (uint16_t)i;
		vq_post(&queues[CONTROL_RX], n, control_rx[n], CONTROL_SIZE, true);
		for (unsigned port = 0; port < N_PORTS; port++)
			vq_post(console_receive_queue(port), n, rx_buffers[port][n], RX_SIZE, true);
	}
	vq_kick(&queues[CONTROL_RX]);
	for (unsigned port = 0; port < N_PORTS; port++)
		vq_kick(console_receive_queue(port));
}

static bool all_ports_open(void)
{
	for (unsigned port = 0; port < N_PORTS; port++)
		if (!ports[port].added || !ports[port].host_open)
			return false;
	return true;
}

void console_open(const struct console_options *options)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	if (options->event_idx)
		features |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	use_interrupts = options->interrupts;
	if (use_interrupts)
		interrupts_route(CONSOLE_GSI, on_interrupt);

	vq_device_init(CONSOLE_MMIO, VIRTIO_ID_CONSOLE, features);
	if (mmio_read32(CONSOLE_MMIO + VIRTIO_MMIO_CONFIG +
			offsetof(struct virtio_console_config, max_nr_ports)) < N_PORTS)
		guest_die("console: too few ports");
	memset(ports, 0, sizeof(ports));
	for (uint32_t i = 0; i < N_QUEUES; i++) {
		queues[i] = (struct vq){ .ring = &rings[i],
					 .event_idx = options->event_idx,
					 .want_interrupts = options->interrupts };
		vq_enable(&queues[i], CONSOLE_MMIO, i);
	}
	vq_device_start(CONSOLE_MMIO);
	post_receive_buffers();
	send_control(UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (;;) {
		poll_control();
		if (all_ports_open())
			return;
		wait_for(&queues[CONTROL_RX]);
	}
}

void console_send(unsigned port, const void *data, size_t n)
{
	struct vq *q = console_transmit_queue(port);
	const uint8_t *p = data;
	uint16_t free_list[VQ_SIZE], n_free = VQ_SIZE;
	for (unsigned i = 0; i < VQ_SIZE; i++)
		free_list[i] = (uint16_t)i;
	for (;;) {
		uint16_t done;
		uint32_t written;
		while (vq_take(q, &done, &written))
			free_list[n_free++] = done;
		if (!n && n_free == VQ_SIZE)
			return;
		bool posted = false;
		for (; n && n_free; posted = true) {
			uint32_t chunk = n < TX_CHUNK ? (uint32_t)n : TX_CHUNK;
			vq_post(q, free_list[--n_free], p, chunk, false);
			p += chunk;
			n -= chunk;
		}
		if (posted) {
			vq_kick(q);
			continue;
		}
		poll_control();
		wait_for(q);
	}
}

void console_send_begin(unsigned port, const void *data, size_t buffer_size)
{
	struct vq *q = console_transmit_queue(port);
	for (unsigned i = 0; i < VQ_SIZE; i++)
		vq_post(q, (uint16_t)i, data, (uint32_t)buffer_size, false);
	vq_kick(q);
}

size_t console_receive(unsigned port, uint8_t buffer[RX_SIZE])
{
	struct vq *q = console_receive_queue(port);
	uint16_t n;
	uint32_t size;
	while (!vq_take(q, &n, &size)) {
		poll_control();
		wait_for(q);
	}
	if (n >= RX_BUFFERS || size > RX_SIZE)
		guest_die("console: bad receive buffer");
	memcpy(buffer, rx_buffers[port][n], size);
	vq_post(q, n, rx_buffers[port][n], RX_SIZE, true);
	vq_kick(q);
	return size;
}
