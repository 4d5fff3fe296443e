/*
 * Frames that the guest sends to itself, "qd" at once, of "bs" bytes. They come back on the same device (a loopback), or
 * with "rx=1" on the second one (both on one hub).
 *
 * There are two transmit buffers for each frame on its way: a device may show a frame to its receiver before it gives
 * the transmit buffer back.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "cpu.h"
#include "ops.h"
#include "text.h"

enum {
	QUEUE_RX = 0,
	QUEUE_TX = 1,
	HEADER = 12, /* struct virtio_net_hdr_v1 */
	ETHERNET = 14,
	FRAME_MIN = 60,
	FRAME_MAX = 65550,
	STRIDE = 0x10100, /* of buffers; holds header and frame */
	ON_WAY_MAX = 64,
	RX_BUFFERS = 2 * ON_WAY_MAX,
	TX_BUFFERS = 2 * ON_WAY_MAX,
};

static struct {
	struct virtio rx_dev, tx_dev;
	struct vq rx, tx;
	uint64_t frame, n_on_way, n_tx, next_tx;
	bool wants_interrupts;
} n;
static bool is_sending[TX_BUFFERS]; /* the device has it */
static uint64_t posted[TX_BUFFERS];

static uint8_t *rx_buffer(unsigned i)
{
	return (uint8_t *)(GUEST_BUFFERS + (uintptr_t)i * STRIDE);
}

static uint8_t *tx_buffer(unsigned i)
{
	return rx_buffer(RX_BUFFERS + i);
}

static void reclaim(void)
{
	uint16_t head;
	uint32_t len;

	while (vq_take(&n.tx, &head, &len))
		is_sending[head % TX_BUFFERS] = false;
}

static void send(uint64_t now)
{
	unsigned i = (unsigned)(n.next_tx++ % n.n_tx);

	while (is_sending[i]) {
		vq_kick(&n.tx);
		reclaim();
		cpu_pause();
	}
	is_sending[i] = true;
	posted[i] = now;
	vq_post(&n.tx, (uint16_t)i);
}

/* The number of the transmit buffer travels behind the Ethernet header. */
static bool check(unsigned rx, uint32_t len, unsigned *ret_tx)
{
	*ret_tx = rx_buffer(rx)[HEADER + ETHERNET];
	return len == HEADER + n.frame && *ret_tx < n.n_tx;
}

/* Takes the frames that came back and sends as many; false: none came. */
static bool turn_over(void)
{
	uint16_t head;
	uint32_t len;
	unsigned tx;

	if (!vq_take(&n.rx, &head, &len))
		return false;
	uint64_t now = tsc_read();
	reclaim();
	do {
		if (!check(head, len, &tx))
			meter_add_error();
		else
			meter_add(posted[tx], now, n.frame);
		vq_post(&n.rx, head);
		send(now);
	} while (vq_take(&n.rx, &head, &len));
	vq_kick(&n.rx);
	vq_kick(&n.tx);
	return true;
}

static void loop(void)
{
	uint64_t now = tsc_read();

	for (uint64_t i = 0; i < n.n_on_way; i++)
		send(now);
	vq_kick(&n.tx);
	while (meter_goes_on(tsc_read(), n.rx.n_kicks + n.tx.n_kicks)) {
		while (!turn_over()) {
			if (!n.wants_interrupts)
				cpu_pause();
			else if (!vq_arm(&n.rx))
				cpu_wait();
		}
	}
}

/* To everybody, of a type that is for experiments. */
static void make_frame(unsigned i)
{
	uint8_t *p = tx_buffer(i);

	memset(p, 0, HEADER);
	memset(p + HEADER, 0xff, 6);
	memset(p + HEADER + 6, 0x02, 6);
	p[HEADER + 12] = 0x88;
	p[HEADER + 13] = 0xb5;
	memset(p + HEADER + ETHERNET, (int)i, n.frame - ETHERNET);
	n.tx.desc[i] =
	    (struct vring_desc){ .addr = (uint64_t)p, .len = (uint32_t)(HEADER + n.frame) };
}

static void open_queues(void)
{
	uint8_t *memory = (uint8_t *)GUEST_RINGS;

	vq_open(&n.rx, &n.rx_dev, QUEUE_RX, VQ_SIZE_MAX, memory, n.wants_interrupts);
	vq_open(&n.tx, &n.tx_dev, QUEUE_TX, VQ_SIZE_MAX, memory + VQ_MEMORY_SIZE, false);
	if (n.rx.size < RX_BUFFERS || n.tx.size < TX_BUFFERS)
		text_die("the queues of the network device are too small");
	for (unsigned i = 0; i < n.n_tx; i++)
		make_frame(i);
	for (unsigned i = 0; i < RX_BUFFERS; i++) {
		n.rx.desc[i] = (struct vring_desc){ .addr = (uint64_t)rx_buffer(i),
						    .len = HEADER + FRAME_MAX,
						    .flags = VRING_DESC_F_WRITE };
		vq_post(&n.rx, (uint16_t)i);
	}
}

void op_net(const char *line)
{
	bool has_two = text_number(line, "rx", 0);

	n.frame = text_number(line, "bs", FRAME_MIN);
	n.n_on_way = text_number(line, "qd", 1);
	n.wants_interrupts = text_is(line, "wait", "irq");
	if (n.frame < FRAME_MIN || n.frame > FRAME_MAX || n.n_on_way == 0 ||
	    n.n_on_way > ON_WAY_MAX)
		text_die("qd or bs out of range");
	n.n_tx = 2 * n.n_on_way;
	virtio_open(line, VIRTIO_ID_NET, 0, 0, &n.tx_dev);
	if (has_two)
		virtio_open(line, VIRTIO_ID_NET, 1, 0, &n.rx_dev);
	else
		n.rx_dev = n.tx_dev;
	open_queues();
	virtio_start(&n.tx_dev);
	if (has_two)
		virtio_start(&n.rx_dev);
	vq_kick(&n.rx);
	if (n.wants_interrupts)
		meter_take_interrupts(&n.rx_dev);
	ops_run_loop(line, loop);
	meter_print();
}
