/*
 * virtio-net (VIRTIO 1.2, 5.1): one pair of queues of 256 and a layer-2 loopback in the VMM. Each
 * frame that the guest sends comes back to it, as it is and in order, whatever its addresses: the
 * reflective relay (IEEE 802.1Qbg) that macvlan interfaces in vepa mode count on. Nothing of the
 * host's network is involved.
 *
 * All functions: reactor thread.
 */
#pragma once

#include "virtio/virtio_dev.h"

enum { VIRTIO_NET_MAC_LEN = 6 };

struct virtio_net_config {
	uint8_t mac[VIRTIO_NET_MAC_LEN]; /* copied */
};

struct virtio_net;

/*
 * With the MAC address of the VM that is called @name: always the same, a locally administered one,
 * its last byte a multiple of 16, so that a guest can give the next ones to interfaces of its own.
 */
struct virtio_net_config virtio_net_config_of(const char *name);
struct virtio_net *virtio_net_new(const struct virtio_net_config *config, struct reactor *reactor);
/* After virtio_mmio_stop has finished. NULL is fine; returns NULL. */
struct virtio_net *virtio_net_free(struct virtio_net *n);
struct virtio_dev *virtio_net_dev(struct virtio_net *n);

struct virtio_net_stats {
	/* Frames that came back to the guest, and their bytes without virtio's header. */
	uint64_t n_frames, bytes;
	uint64_t n_gso_frames; /* of these, frames that are to be cut into segments */
	uint64_t n_rx_buffers; /* receive buffers used for them: more than frames with MRG_RXBUF */
	uint64_t n_stalls;     /* times that a frame had to wait for receive buffers */
	/* Frames that did not come back, by reason. */
	uint64_t n_dropped_header; /* virtio's header makes no sense or was not negotiated */
	uint64_t n_dropped_size;   /* shorter than an Ethernet header, or longer than any frame */
	uint64_t n_dropped_no_fit; /* longer than the receive buffer, without MRG_RXBUF */
	uint64_t n_dropped_no_buffer; /* no receive buffers for a second, or to the end */
};
void virtio_net_stats(const struct virtio_net *n, struct virtio_net_stats *ret);
