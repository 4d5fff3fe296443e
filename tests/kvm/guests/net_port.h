/* A driver for our virtio-net (VIRTIO 1.2, 5.1), polling or by interrupts. */
#pragma once

#include "vq.h"

enum {
	NET_MMIO = 0xc0002000u,
	NET_GSI = 7,
	NET_HEADER = 12,
	NET_FRAME_MAX = 65550,
	NET_TX_SLOTS = 8,
	NET_RX_LARGE = 8,         /* receive buffers for whole frames, without MRG_RXBUF */
	NET_RX_MERGED_SIZE = 4096 /* of one of VQ_SIZE with it */
};

struct net_options {
	bool event_idx;
	bool interrupts;
	bool merge;   /* MRG_RXBUF */
	bool starved; /* post no receive buffers */
};

/* Reset, negotiation, queues, receive buffers. */
void net_open(const struct net_options *options);
/* Where to build the frame of @slot; it is the device's from net_post to net_reclaim. */
uint8_t *net_frame(unsigned slot);
void net_post(unsigned slot, uint32_t len); /* not kicked */
void net_kick(void);
/* Waits for the next frame and copies it out; its buffers are posted again. Returns its length. */
uint32_t net_receive(uint8_t frame[NET_FRAME_MAX]);
/* Waits until the device has given back @n more frames that were posted. */
void net_reclaim(unsigned n);
/* For tests that look behind it. */
struct vq *net_queue(unsigned index);
/* All receive buffers. */
uint8_t *net_receive_memory(size_t *ret_size);
