/*
 * virtio-net with a loopback (VIRTIO 1.2, 5.1). Reactor thread, but for config_read (vCPU; constant
 * data).
 *
 *	transmit queue: header (12), frame     receive queue: header, frame, over one or more buffers
 *
 *	pop TX, check the header ---> gather RX buffers ---> copy, push RX, push TX
 *	        |                            |
 *	        +-- makes no sense: drop     +-- too few: hold the frame in guest memory; the next kick
 *	                                         goes on, or it is dropped after HOLD_NS
 *
 * A frame is copied once, from the sender's chain to the receiver's, and never looked at: only the
 * header is ours to judge. Both sides are one driver, so what it may send it must be able to
 * receive: the table of needs refuses a driver that takes CSUM or HOST_TSO without the GUEST half
 * (5.1.6.4.1 forbids to hand it such frames, and completing checksums or cutting segments is a
 * receiver's work here). So an offloaded frame passes with the offload still to be done, between two
 * network namespaces as between two machines.
 *
 * Back-pressure: without receive buffers nothing more is popped. That may not last: a driver that
 * takes its receiving side down must still get its transmissions back (Linux: a watchdog after 5 s).
 * So the frame that waited for HOLD_NS is dropped, and then, until the driver gives a buffer again,
 * those behind it are dropped at once.
 */
#include "virtio/virtio_net.h"

#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/num.h"
#include "virtio/virtio_wire.h"

/* The kernel's header and ours both have a struct of this name: theirs is the configuration space. */
#define virtio_net_config virtio_net_wire_config
#include <linux/virtio_net.h>
#undef virtio_net_config

static_assert(sizeof(struct virtio_net_hdr_v1) == 12, "VIRTIO 1.2, 5.1.6");
static_assert(offsetof(struct virtio_net_hdr_v1, num_buffers) == 10, "5.1.6");
static_assert(offsetof(struct virtio_net_wire_config, mac) == 0, "5.1.4");
static_assert((int)VIRTIO_NET_MAC_LEN == ETH_ALEN, "5.1.4");

enum {
	QUEUE_RX = 0,
	QUEUE_TX = 1,
	N_QUEUES = 2,
	QUEUE_SIZE = 256,
	HEADER_LEN = sizeof(struct virtio_net_hdr_v1),
	/* 5.1.6.3.1 knows frames of 65550 bytes; VLAN tags come on top. */
	FRAME_MAX = 65550 + 2 * 4,
	TURN_BYTES = 2 << 20, /* before others get their turn */
};
#define HOLD_NS NS_PER_S

#define BIT(feature) (1u << (feature))
#define FEATURES                                                                                   \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CSUM) |            \
	 BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |                              \
	 BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_GUEST_TSO4) |                              \
	 BIT(VIRTIO_NET_F_GUEST_TSO6))

static const struct virtio_dev_need needs[] = {
	/* 5.1.3.1 */
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
	/* A loopback's: what is sent is received. */
	{ VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
};

struct virtio_net {
	struct virtio_dev dev;
	struct reactor *reactor;
	uint8_t mac[VIRTIO_NET_MAC_LEN];

	/* The frame at hand; tx NULL: none. */
	struct virtq_chain *tx;
	struct virtio_net_hdr_v1 header;
	uint64_t hold_end_ns; /* 0: it has not had to wait */

	/* Receive buffers that were popped and are not used yet, in order. */
	struct virtq_chain *rx[QUEUE_SIZE];
	uint32_t n_rx;
	uint64_t rx_len; /* bytes of all of them */
	bool is_rx_gone; /* a frame waited in vain, and no buffer came since */

	struct reactor_op hold_op; /* timer: armed by a hold, not cancelled when that ends */
	bool is_stopping;
	struct virtio_net_stats stats;
};

static struct virtio_net *net_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_net, dev);
}

static uint32_t frame_len(const struct virtio_net *n)
{
	return n->tx->readable_len - HEADER_LEN;
}

/* The frame at hand. */

static void frame_end(struct virtio_net *n)
{
	virtio_dev_push(&n->dev, QUEUE_TX, n->tx, 0);
	n->tx = NULL;
	n->hold_end_ns = 0;
}

static void frame_drop(struct virtio_net *n, uint64_t *reason)
{
	(*reason)++;
	frame_end(n);
}

static bool is_gso_good(const struct virtio_net *n, const struct virtio_net_hdr_v1 *h)
{
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (h->gso_size == 0 || !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return false;
	return (h->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 &&
		virtio_dev_has_feature(&n->dev, VIRTIO_NET_F_HOST_TSO4)) ||
	       (h->gso_type == VIRTIO_NET_HDR_GSO_TCPV6 &&
		virtio_dev_has_feature(&n->dev, VIRTIO_NET_F_HOST_TSO6));
}

/* 5.1.6.2: what the sender leaves to do. hdr_len is a hint that may be wrong. */
static bool is_header_good(const struct virtio_net *n)
{
	const struct virtio_net_hdr_v1 *h = &n->header;

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    (!virtio_dev_has_feature(&n->dev, VIRTIO_NET_F_CSUM) ||
	     (uint32_t)h->csum_start + h->csum_offset + 2 > frame_len(n)))
		return false;
	return is_gso_good(n, h);
}

/* Takes the next frame that makes sense; false: none. */
static bool frame_next(struct virtio_net *n)
{
	while (virtio_dev_pop(&n->dev, QUEUE_TX, &n->tx) == VIRTQ_OK) {
		if (chain_read(n->tx, 0, &n->header, HEADER_LEN) < 0) {
			n->tx = NULL;
			virtio_dev_fail(&n->dev, "frame shorter than its virtio-net header");
			return false;
		}
		if (frame_len(n) < ETH_HLEN || frame_len(n) > FRAME_MAX)
			frame_drop(n, &n->stats.n_dropped_size);
		else if (!is_header_good(n))
			frame_drop(n, &n->stats.n_dropped_header);
		else
			return true;
	}
	n->tx = NULL;
	return false;
}

/* Receive buffers. */

/* Whether those at hand take the frame, or the first one is all that counts: without MRG_RXBUF. */
static bool rx_gather(struct virtio_net *n)
{
	bool can_merge = virtio_dev_has_feature(&n->dev, VIRTIO_NET_F_MRG_RXBUF);
	struct virtq_chain *chain;

	while (n->rx_len < n->tx->readable_len && (can_merge || n->n_rx == 0)) {
		if (virtio_dev_pop(&n->dev, QUEUE_RX, &chain) != VIRTQ_OK)
			return false;
		if (chain->writable_len < HEADER_LEN) { /* 5.1.6.3.1 */
			virtio_dev_fail(&n->dev, "receive buffer shorter than a header");
			return false;
		}
		n->rx[n->n_rx++] = chain; /* no more than the queue has */
		n->rx_len += chain->writable_len;
		n->is_rx_gone = false;
	}
	return true;
}

/* How many of the buffers at hand the frame takes, each but the last to its end (5.1.6.4.1). */
static uint16_t rx_count(const struct virtio_net *n)
{
	uint64_t len = 0;
	uint16_t i = 0;

	while (len < n->tx->readable_len)
		len += n->rx[i++]->writable_len;
	return i;
}

static void frame_deliver(struct virtio_net *n)
{
	uint16_t n_buffers = rx_count(n);
	struct virtio_net_hdr_v1 header = n->header;
	uint32_t done = HEADER_LEN;

	header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM; /* others are to be ignored, 5.1.6.2.2 */
	header.num_buffers = n_buffers;
	int res = chain_write(n->rx[0], 0, &header, HEADER_LEN);
	ASSERT(res == 0); /* as long as that: rx_gather */
	for (uint16_t i = 0; i < n_buffers; i++) {
		struct virtq_chain *rx = n->rx[i];
		uint32_t at = i == 0 ? HEADER_LEN : 0;
		uint32_t len = (uint32_t)num_min(rx->writable_len - at, n->tx->readable_len - done);

		res = chain_copy(rx, at, n->tx, done, len);
		ASSERT(res == 0); /* inside both: see len */
		done += len;
		n->rx_len -= rx->writable_len;
		virtio_dev_push(&n->dev, QUEUE_RX, rx, at + len);
	}
	n->n_rx -= n_buffers;
	for (uint32_t i = 0; i < n->n_rx; i++) /* none, but after a frame that was dropped */
		n->rx[i] = n->rx[n_buffers + i];
	n->stats.n_frames++;
	n->stats.bytes += frame_len(n);
	n->stats.n_rx_buffers += n_buffers;
	n->stats.n_gso_frames += header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
	frame_end(n);
}

/* The loop. */

static void net_on_hold_end(struct reactor_op *op, int res, bool more);

/*
 * The frame at hand found too few buffers. True: it was dropped; false: it waits, or there are
 * buffers after all, which the next turn or kick brings.
 */
static bool frame_hold(struct virtio_net *n)
{
	if (virtio_dev_is_broken(&n->dev) || virtio_dev_has_avail(&n->dev, QUEUE_RX))
		return false;
	if (n->is_rx_gone) {
		frame_drop(n, &n->stats.n_dropped_no_buffer);
		return true;
	}
	if (n->hold_end_ns)
		return false;
	n->stats.n_stalls++;
	n->hold_end_ns = clock_now_ns() + HOLD_NS;
	if (reactor_op_is_idle(&n->hold_op))
		reactor_timer(n->reactor, &n->hold_op, n->hold_end_ns, net_on_hold_end);
	return false;
}

static void net_pump(struct virtio_net *n)
{
	for (uint64_t bytes = 0; bytes < TURN_BYTES;) {
		if (!n->tx && !frame_next(n))
			return;
		uint32_t len = n->tx->readable_len;
		if (!rx_gather(n)) {
			if (!frame_hold(n))
				return;
		} else if (n->rx_len < len) {
			frame_drop(n, &n->stats.n_dropped_no_fit);
		} else {
			frame_deliver(n);
		}
		bytes += len;
	}
	virtio_dev_again(&n->dev);
}

static void stop_finish(struct virtio_net *n)
{
	n->is_stopping = false;
	virtio_dev_stopped(&n->dev);
}

static void net_on_hold_end(struct reactor_op *op, int res UNUSED, bool more UNUSED)
{
	struct virtio_net *n = container_of(op, struct virtio_net, hold_op);

	virtio_dev_enter(&n->dev);
	if (n->is_stopping) {
		stop_finish(n);
	} else if (n->hold_end_ns > clock_now_ns()) { /* a later frame's */
		reactor_timer(n->reactor, &n->hold_op, n->hold_end_ns, net_on_hold_end);
	} else if (n->hold_end_ns) {
		frame_drop(n, &n->stats.n_dropped_no_buffer);
		n->is_rx_gone = true;
		net_pump(n);
	}
	virtio_dev_leave(&n->dev);
}

/* The device. */

static void net_start(struct virtio_dev *dev)
{
	/* Nothing: the driver speaks first. */
}

static void net_notify(struct virtio_dev *dev, uint32_t q_idx UNUSED)
{
	net_pump(net_of(dev)); /* frames or buffers: both go on from where we are */
}

static void net_stop(struct virtio_dev *dev)
{
	struct virtio_net *n = net_of(dev);

	if (n->tx)
		n->stats.n_dropped_no_buffer++;
	n->tx = NULL;
	n->hold_end_ns = 0;
	n->n_rx = 0;
	n->rx_len = 0;
	n->is_rx_gone = false;
	n->is_stopping = true;
	if (reactor_op_is_idle(&n->hold_op))
		stop_finish(n);
	else
		reactor_cancel(n->reactor, &n->hold_op);
}

static void net_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t n)
{
	memcpy(buf, net_of(dev)->mac + off, n);
}

static const struct virtio_dev_ops net_ops = {
	.name = "virtio-net",
	.device_id = VIRTIO_ID_NET,
	.features = FEATURES,
	.needs = needs,
	.n_needs = ARRAY_SIZE(needs),
	.n_queues = N_QUEUES,
	.queue_size_max = QUEUE_SIZE,
	.config_size = VIRTIO_NET_MAC_LEN,
	.start = net_start,
	.notify = net_notify,
	.stop = net_stop,
	.config_read = net_config_read,
};

struct virtio_net_config virtio_net_config_of(const char *name)
{
	struct virtio_net_config config;
	char text[HASH_TEXT_MAX];
	struct hash *h = hash_new();

	hash_update_str(h, name);
	hash_format(h, text);
	(void)hash_free(h);
	text[2 * sizeof(config.mac)] = 0;
	uint64_t bits = strtoull(text, NULL, 16);
	for (size_t i = 0; i < VIRTIO_NET_MAC_LEN; i++)
		config.mac[i] = (uint8_t)(bits >> 8 * i);
	config.mac[0] = (config.mac[0] & 0xfc) | 2; /* locally administered, one station's */
	config.mac[VIRTIO_NET_MAC_LEN - 1] &= 0xf0;
	return config;
}

struct virtio_net *virtio_net_new(const struct virtio_net_config *config, struct reactor *reactor)
{
	struct virtio_net *n = xcalloc(1, sizeof(*n));

	virtio_dev_init(&n->dev, &net_ops, reactor);
	n->reactor = reactor;
	memcpy(n->mac, config->mac, sizeof(n->mac));
	return n;
}

struct virtio_net *virtio_net_free(struct virtio_net *n)
{
	if (!n)
		return NULL;
	ASSERT(reactor_op_is_idle(&n->hold_op));
	virtio_dev_fini(&n->dev);
	free(n);
	return NULL;
}

struct virtio_dev *virtio_net_dev(struct virtio_net *n)
{
	return &n->dev;
}

void virtio_net_stats(const struct virtio_net *n, struct virtio_net_stats *ret)
{
	*ret = n->stats;
}
