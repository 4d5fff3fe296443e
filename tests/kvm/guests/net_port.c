/* Driver of our virtio-net (net_port.h). */
#include "net_port.h"

#include "apic.h"

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>

enum { RX, TX, N_QUEUES, LARGE_SIZE = NET_HEADER + NET_FRAME_MAX };

static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER, "VIRTIO 1.2, 5.1.6");
static_assert(VQ_SIZE * NET_RX_MERGED_SIZE <= NET_RX_LARGE * LARGE_SIZE, "both kinds of buffers");

static struct vq_ring rings[N_QUEUES] __attribute__((aligned(4096)));
static struct vq queues[N_QUEUES];
static uint8_t tx_buffers[NET_TX_SLOTS][LARGE_SIZE];
static uint8_t rx_memory[NET_RX_LARGE * LARGE_SIZE]; /* more than VQ_SIZE of the merged */
static uint32_t rx_size;                             /* of one buffer */
static struct net_options options;
static volatile bool interrupted;

struct vq *net_queue(unsigned index)
{
	return &queues[index];
}

uint8_t *net_receive_memory(size_t *ret_size)
{
	*ret_size = (size_t)(options.merge ? VQ_SIZE : NET_RX_LARGE) * rx_size;
	return rx_memory;
}

static void on_interrupt(void)
{
	uint32_t status = mmio_read32(NET_MMIO + VIRTIO_MMIO_INTERRUPT_STATUS);
	mmio_write32(NET_MMIO + VIRTIO_MMIO_INTERRUPT_ACK, status);
	interrupted = true;
}

static void take(struct vq *q, uint16_t *ret_n, uint32_t *ret_written)
{
	while (!vq_take(q, ret_n, ret_written)) {
		if (!options.interrupts)
			cpu_pause();
		else if (!vq_arm(q))
			interrupts_wait(&interrupted);
	}
}

static void post_receive_buffer(uint16_t n)
{
	vq_post(&queues[RX], n, rx_memory + (size_t)n * rx_size, rx_size, true);
}

void net_open(const struct net_options *o)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_NET_F_MAC;
	options = *o;
	if (options.event_idx)
		features |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	if (options.merge)
		features |= 1ull << VIRTIO_NET_F_MRG_RXBUF;
	if (options.interrupts)
		interrupts_route(NET_GSI, on_interrupt);
	vq_device_init(NET_MMIO, VIRTIO_ID_NET, features);
	for (uint32_t i = 0; i < N_QUEUES; i++) {
		queues[i] = (struct vq){ .ring = &rings[i],
					 .event_idx = options.event_idx,
					 .want_interrupts = options.interrupts };
		vq_enable(&queues[i], NET_MMIO, i);
	}
	vq_device_start(NET_MMIO);
	rx_size = options.merge ? NET_RX_MERGED_SIZE : LARGE_SIZE;
	uint16_t n_buffers = options.merge ? VQ_SIZE : NET_RX_LARGE;
	for (uint16_t i = 0; i < n_buffers && !options.starved; i++)
		post_receive_buffer(i);
	vq_kick(&queues[RX]);
}

uint8_t *net_frame(unsigned slot)
{
	return tx_buffers[slot] + NET_HEADER;
}

void net_post(unsigned slot, uint32_t len)
{
	vq_post(&queues[TX], (uint16_t)slot, tx_buffers[slot], NET_HEADER + len, false);
}

void net_kick(void)
{
	vq_kick(&queues[TX]);
}

uint32_t net_receive(uint8_t frame[NET_FRAME_MAX])
{
	struct virtio_net_hdr_v1 header = { .num_buffers = 1 };
	uint32_t len = 0;
	for (uint16_t i = 0; i < header.num_buffers; i++) {
		uint16_t n;
		uint32_t size;
		take(&queues[RX], &n, &size);
		const uint8_t *p = rx_memory + (size_t)n * rx_size;
		if (size > rx_size || (i == 0 && size < NET_HEADER))
			guest_die("net: bad receive buffer");
		if (i == 0) {
			memcpy(&header, p, NET_HEADER);
			p += NET_HEADER;
			size -= NET_HEADER;
		}
		if (size > NET_FRAME_MAX - len)
			guest_die("net: frame too long");
		memcpy(frame + len, p, size);
		len += size;
		post_receive_buffer(n);
	}
	vq_kick(&queues[RX]);
	return len;
}

void net_reclaim(unsigned n)
{
	for (; n > 0; n--) {
		uint16_t slot;
		uint32_t written;
		take(&queues[TX], &slot, &written);
		if (written)
			guest_die("net: a sent frame was written to");
	}
}
