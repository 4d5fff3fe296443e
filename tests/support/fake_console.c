/* See fake_console.h. */
#include "support/fake_console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <string.h>

#include "base/assert.h"
#include "virtio/virtio_wire.h"

enum { CONTROL_IN = 2, CONTROL_OUT = 3 };

static_assert(FAKE_CONTROL_PORT_ADD == VIRTIO_CONSOLE_PORT_ADD, "5.3.6.2");
static_assert(FAKE_CONTROL_PORT_NAME == VIRTIO_CONSOLE_PORT_NAME, "5.3.6.2");

uint32_t fake_console_input_queue(unsigned port)
{
	return port == 0 ? 0 : 2 + 2 * port;
}

uint32_t fake_console_output_queue(unsigned port)
{
	return fake_console_input_queue(port) + 1;
}

static unsigned fill(struct fake_console *c, uint32_t q_idx, unsigned n)
{
	struct fake_driver *d = &c->driver;
	unsigned done;

	for (done = 0; done < n; done++) {
		struct fake_queue *q = &d->queues[q_idx];

		if (q->n_free == 0)
			break;
		uint16_t head = q->free[q->n_free - 1];
		gpa_t *buffer = &c->input_buffers[q_idx][head];
		if (buffer->addr == 0)
			*buffer = fake_driver_alloc(d, FAKE_CONSOLE_BUFFER, 16);
		struct fake_seg seg = { *buffer, FAKE_CONSOLE_BUFFER, true };
		int res = fake_driver_add(d, q_idx, &seg, 1);
		ASSERT(res == head);
	}
	if (done > 0)
		(void)fake_driver_kick(d, q_idx);
	return done;
}

void fake_console_start_bare(struct fake_console *c, const struct guest_mem *mem,
			     struct io_region *region, gpa_t arena, uint64_t features)
{
	*c = (struct fake_console){ 0 };
	fake_driver_init(&c->driver, mem, region, arena);
	fake_driver_start(&c->driver,
			  features | 1u << VIRTIO_CONSOLE_F_MULTIPORT | 1u << VIRTIO_CONSOLE_F_SIZE,
			  FAKE_CONSOLE_QUEUES, FAKE_CONSOLE_QUEUE_SIZE);
}

void fake_console_start(struct fake_console *c, const struct guest_mem *mem,
			struct io_region *region, gpa_t arena, uint64_t features)
{
	fake_console_start_bare(c, mem, region, arena, features);
	(void)fill(c, CONTROL_IN, FAKE_CONSOLE_QUEUE_SIZE);
	fake_console_control(c, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
}

void fake_console_control(struct fake_console *c, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control msg = { .id = id, .event = event, .value = value };
	struct fake_driver *d = &c->driver;
	uint16_t head;
	uint32_t len;

	while (fake_driver_get_used(d, CONTROL_OUT, &head, &len))
		;
	gpa_t gpa = fake_driver_alloc(d, sizeof(msg), 8);
	int res = guest_mem_write(d->mem, gpa, &msg, sizeof(msg));
	ASSERT(res == 0);
	struct fake_seg seg = { gpa, sizeof(msg), false };
	res = fake_driver_add(d, CONTROL_OUT, &seg, 1);
	ASSERT(res >= 0);
	(void)fake_driver_kick(d, CONTROL_OUT);
}

static void on_message(struct fake_console *c, const uint8_t *msg, uint32_t len)
{
	struct virtio_console_control h;
	uint16_t size[2];

	ASSERT(len >= sizeof(h));
	memcpy(&h, msg, sizeof(h));
	ASSERT(h.id < FAKE_CONSOLE_PORTS);
	struct fake_console_port *p = &c->ports[h.id];
	switch (h.event) {
	case VIRTIO_CONSOLE_PORT_ADD:
		p->n_adds++;
		(void)fill(c, fake_console_input_queue(h.id), FAKE_CONSOLE_QUEUE_SIZE);
		fake_console_control(c, h.id, VIRTIO_CONSOLE_PORT_READY, 1);
		break;
	case VIRTIO_CONSOLE_CONSOLE_PORT:
		p->is_console = h.value;
		fake_console_open(c, h.id, true);
		break;
	case VIRTIO_CONSOLE_RESIZE:
		ASSERT(len == sizeof(h) + sizeof(size));
		memcpy(size, msg + sizeof(h), sizeof(size));
		p->cols = size[0];
		p->rows = size[1];
		p->n_resizes++;
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		p->is_host_open = h.value;
		break;
	case VIRTIO_CONSOLE_PORT_NAME:
		ASSERT(len - sizeof(h) < sizeof(p->name));
		memcpy(p->name, msg + sizeof(h), len - sizeof(h));
		p->name[len - sizeof(h)] = '\0';
		break;
	default:
		ASSERT(false);
	}
}

/* One filled receive buffer, copied out and posted again. */
static uint32_t take_input(struct fake_console *c, uint32_t q_idx, void *data)
{
	uint16_t head;
	uint32_t len;

	if (!fake_driver_get_used(&c->driver, q_idx, &head, &len))
		return 0;
	ASSERT(len <= FAKE_CONSOLE_BUFFER);
	int res = guest_mem_read(c->driver.mem, c->input_buffers[q_idx][head], data, len);
	ASSERT(res == 0);
	(void)fill(c, q_idx, 1);
	return len;
}

unsigned fake_console_service(struct fake_console *c)
{
	uint8_t msg[FAKE_CONSOLE_BUFFER];
	unsigned n = 0;

	for (uint32_t len; (len = take_input(c, CONTROL_IN, msg)) > 0; n++)
		on_message(c, msg, len);
	return n;
}

void fake_console_open(struct fake_console *c, unsigned port, bool open)
{
	fake_console_control(c, port, VIRTIO_CONSOLE_PORT_OPEN, open);
}

unsigned fake_console_fill_control(struct fake_console *c, unsigned n)
{
	return fill(c, CONTROL_IN, n);
}

unsigned fake_console_fill(struct fake_console *c, unsigned port, unsigned n)
{
	return fill(c, fake_console_input_queue(port), n);
}

bool fake_console_write(struct fake_console *c, unsigned port, const void *data, uint32_t n)
{
	struct fake_driver *d = &c->driver;
	uint32_t q_idx = fake_console_output_queue(port);
	uint16_t head;
	uint32_t len;

	ASSERT(n <= FAKE_CONSOLE_WRITE_MAX);
	while (fake_driver_get_used(d, q_idx, &head, &len))
		;
	if (d->queues[q_idx].n_free == 0)
		return false;
	gpa_t *buffer = &c->output_buffer[port][d->queues[q_idx].free[d->queues[q_idx].n_free - 1]];
	if (buffer->addr == 0)
		*buffer = fake_driver_alloc(d, FAKE_CONSOLE_WRITE_MAX, 16);
	int res = guest_mem_write(d->mem, *buffer, data, n);
	ASSERT(res == 0);
	struct fake_seg seg = { *buffer, n, false };
	res = fake_driver_add(d, q_idx, &seg, 1);
	ASSERT(res >= 0);
	(void)fake_driver_kick(d, q_idx);
	return true;
}

uint32_t fake_console_read(struct fake_console *c, unsigned port, void *data)
{
	return take_input(c, fake_console_input_queue(port), data);
}
