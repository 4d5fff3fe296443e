/*
 * virtio-net under a hostile driver: frames of any size, header and shape, receive buffers that are
 * short, many or missing, raw descriptors, resets and restarts at any moment.
 *
 * Properties: while the driver keeps to the ring's rules, what comes back is what was sent, in
 * order, whole, with the header it had; num_buffers is true; every frame that was given back is
 * counted once, as looped or as dropped; every reset and the final stop end.
 */
#include "fuzz_virtio.h"

#include <linux/if_ether.h>

#include "virtio/virtio_net.h"

/* The kernel's configuration space has the name of our configuration. */
#define virtio_net_config virtio_net_wire_config
#include <linux/virtio_net.h>
#undef virtio_net_config

enum { OPS_MAX = 256, QUEUE_SIZE = 16, RX = 0, TX = 1, HEADER = 12 };
enum {
	RX_AREA = 0x2000,
	RX_SLOT = 0x400,
	TX_AREA = 0x7c00,
	TX_SLOT = 0x800
}; /* TX across the border */

enum op {
	OP_FRAME,
	OP_BUFFER,
	OP_DESC,
	OP_KICK,
	OP_TURN,
	OP_COLLECT,
	OP_RESTART,
	OP_POKE,
	OP_DRAIN,
	N_OPS
};

struct frame {
	struct virtio_net_hdr_v1 header;
	uint32_t len;
	uint8_t seed;
};

struct run {
	struct rig rig;
	struct fake_driver driver;
	struct virtio_net *net;
	bool is_tame;                /* no raw write touched the rings since the last restart */
	struct frame sent[256];      /* since then, in order */
	unsigned n_sent, n_received; /* received: how far in sent the last that came back was */
	uint64_t n_given_back;
	uint64_t counted_before; /* by the device, up to the last restart */
	uint32_t buffer_len[QUEUE_SIZE];
};

static uint64_t counted(const struct run *r)
{
	struct virtio_net_stats s;

	virtio_net_stats(r->net, &s);
	return s.n_frames + s.n_dropped_header + s.n_dropped_size + s.n_dropped_no_fit +
	       s.n_dropped_no_buffer;
}

static void restart(struct run *r, uint8_t features)
{
	static const uint32_t sets[] = {
		0,
		1u << VIRTIO_NET_F_MRG_RXBUF,
		1u << VIRTIO_NET_F_CSUM | 1u << VIRTIO_NET_F_GUEST_CSUM,
		1u << VIRTIO_NET_F_CSUM | 1u << VIRTIO_NET_F_GUEST_CSUM |
		    1u << VIRTIO_NET_F_HOST_TSO4 | 1u << VIRTIO_NET_F_GUEST_TSO4 |
		    1u << VIRTIO_NET_F_HOST_TSO6 | 1u << VIRTIO_NET_F_GUEST_TSO6 |
		    1u << VIRTIO_NET_F_MRG_RXBUF,
	};
	struct fake_driver *d = &r->driver;

	rig_write_any(&r->rig, VIRTIO_MMIO_STATUS, 4, 0);
	d->arena = FUZZ_ARENA;
	d->queues[RX] = d->queues[TX] = (struct fake_queue){ 0 };
	fake_driver_start(
	    d, (uint64_t)(features & 3) << VIRTIO_RING_F_INDIRECT_DESC | sets[features >> 2 & 3], 2,
	    QUEUE_SIZE);
	r->is_tame = true;
	r->n_sent = r->n_received = 0;
	r->n_given_back = 0;
	r->counted_before = counted(r);
}

static void write_byte(struct run *r, uint64_t at, uint8_t byte)
{
	FUZZ_CHECK(guest_mem_write(&r->rig.mem, GPA(at), &byte, 1) == 0);
}

static uint8_t read_byte(struct run *r, uint64_t at)
{
	uint8_t byte;

	FUZZ_CHECK(guest_mem_read(&r->rig.mem, GPA(at), &byte, 1) == 0);
	return byte;
}

static uint8_t pattern(uint8_t seed, uint32_t i)
{
	return (uint8_t)(seed + i * 7 + (i >> 8));
}

static void any_header(struct virtio_net_hdr_v1 *h, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);

	if (how & 1)
		fuzz_take(in, h, sizeof(*h));
	if (how & 2) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = fuzz_u8(in);
		h->csum_offset = fuzz_u8(in) % 32;
	}
	if (how & 4) {
		h->gso_type = fuzz_u8(in) % 8;
		h->gso_size = fuzz_u8(in);
	}
}

/* A frame whose bytes its place and seed tell, in one or two descriptors. */
static void add_frame(struct run *r, struct fuzz_input *in)
{
	struct fake_queue *q = &r->driver.queues[TX];
	struct virtio_net_hdr_v1 header = { 0 };
	uint8_t bytes[HEADER];

	if (q->n_free < 2 || r->n_sent == ARRAY_SIZE(r->sent))
		return;
	struct frame *f = &r->sent[r->n_sent++];
	any_header(&header, in);
	*f = (struct frame){ header, fuzz_u16(in) % (TX_SLOT - HEADER), (uint8_t)r->n_sent };
	uint64_t at = TX_AREA + q->free[q->n_free - 1] * (uint64_t)TX_SLOT;
	memcpy(bytes, &header, HEADER);
	for (uint32_t i = 0; i < HEADER + f->len; i++)
		write_byte(r, at + i, i < HEADER ? bytes[i] : pattern(f->seed, i - HEADER));
	uint32_t cut = fuzz_u16(in) % (HEADER + f->len);
	struct fake_seg segs[] = { { GPA(at), cut, false },
				   { GPA(at + cut), HEADER + f->len - cut, false } };
	FUZZ_CHECK(fake_driver_add(&r->driver, TX, segs + !cut, cut ? 2 : 1) >= 0);
}

static void add_buffer(struct run *r, struct fuzz_input *in)
{
	struct fake_queue *q = &r->driver.queues[RX];
	uint8_t how = fuzz_u8(in);
	uint32_t len = how & 1 ? RX_SLOT : HEADER + fuzz_u16(in) % (RX_SLOT - HEADER);

	if (how == 0xff)
		len = 1 + fuzz_u8(in) % HEADER; /* may break the rule */
	if (q->n_free < 1)
		return;
	uint16_t slot = q->free[q->n_free - 1];
	struct fake_seg seg = { GPA(RX_AREA + slot * (uint64_t)RX_SLOT), len, true };
	FUZZ_CHECK(fake_driver_add(&r->driver, RX, &seg, 1) == slot);
	r->buffer_len[slot] = len;
}

/* The next frame of sent that this one can be: those between were dropped. */
static void check_frame(struct run *r, const struct virtio_net_hdr_v1 *h, const uint8_t *bytes,
			uint32_t len)
{
	const struct frame *f;

	do {
		FUZZ_CHECK(r->n_received < r->n_sent);
		f = &r->sent[r->n_received++];
	} while (f->len != len || bytes[0] != pattern(f->seed, 0));
	FUZZ_CHECK(len >= ETH_HLEN);
	for (uint32_t i = 0; i < len; i++)
		FUZZ_CHECK(bytes[i] == pattern(f->seed, i));
	FUZZ_CHECK(h->flags == (f->header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM));
	FUZZ_CHECK(h->gso_type == f->header.gso_type && h->gso_size == f->header.gso_size);
	FUZZ_CHECK(h->gso_type == VIRTIO_NET_HDR_GSO_NONE || h->flags);
	FUZZ_CHECK(!h->flags || (uint32_t)h->csum_start + h->csum_offset + 2 <= len);
}

static void collect_received(struct run *r)
{
	static uint8_t bytes[QUEUE_SIZE * RX_SLOT];
	struct virtio_net_hdr_v1 header;
	uint32_t total, len;
	uint16_t head;

	while (fake_driver_get_used(&r->driver, RX, &head, &len)) {
		header.num_buffers = 1;
		total = 0;
		for (uint16_t i = 0; i < header.num_buffers; i++) {
			/* One flush publishes all buffers of a frame. */
			FUZZ_CHECK(i == 0 || fake_driver_get_used(&r->driver, RX, &head, &len));
			FUZZ_CHECK(len <= r->buffer_len[head]);
			for (uint32_t at = 0; at < len; at++)
				bytes[total++] =
				    read_byte(r, RX_AREA + head * (uint64_t)RX_SLOT + at);
			FUZZ_CHECK(total >= HEADER);
			memcpy(&header, bytes, HEADER);
			FUZZ_CHECK(header.num_buffers >= 1 && header.num_buffers <= QUEUE_SIZE);
			FUZZ_CHECK(i + 1 == header.num_buffers || len == r->buffer_len[head]);
		}
		check_frame(r, &header, bytes + HEADER, total - HEADER);
	}
}

static void collect(struct run *r)
{
	uint16_t head;
	uint32_t len;

	if (!r->is_tame) /* the rings may say anything: it wrote over them itself */
		return;
	collect_received(r);
	for (; fake_driver_get_used(&r->driver, TX, &head, &len); r->n_given_back++)
		FUZZ_CHECK(len == 0);
	/* The last of a turn are published when it ends. */
	FUZZ_CHECK(r->n_given_back <= counted(r) - r->counted_before);
	FUZZ_CHECK(counted(r) - r->counted_before <= r->n_sent);
}

static void step(struct run *r, struct fuzz_input *in)
{
	enum op op = (enum op)(fuzz_u8(in) % N_OPS);

	switch (op) {
	case OP_FRAME:
		add_frame(r, in);
		break;
	case OP_BUFFER:
		add_buffer(r, in);
		break;
	case OP_DESC:
		r->is_tame = false;
		fuzz_raw_desc(&r->driver, fuzz_u8(in) & 1, in);
		fake_driver_raw_avail(&r->driver, fuzz_u8(in) & 1, fuzz_u8(in) % QUEUE_SIZE);
		break;
	case OP_KICK:
		fake_driver_write(&r->driver, VIRTIO_MMIO_QUEUE_NOTIFY, fuzz_u8(in) & 1);
		break;
	case OP_TURN:
		reactor_turn(r->rig.reactor, 0);
		break;
	case OP_COLLECT:
		collect(r);
		break;
	case OP_RESTART:
		restart(r, fuzz_u8(in));
		break;
	case OP_POKE:
		r->is_tame = false;
		fuzz_poke(&r->rig.mem, in);
		break;
	case OP_DRAIN:
		virtio_mmio_drain(r->rig.mmio);
		break;
	case N_OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct virtio_net_config config = { .mac = { 2 } };
	struct fuzz_input in = { data, size };
	static struct run r;

	r = (struct run){ 0 };
	fuzz_rig_open(&r.rig);
	r.net = virtio_net_new(&config, r.rig.reactor);
	fuzz_rig_attach(&r.rig, virtio_net_dev(r.net), &r.driver);
	restart(&r, fuzz_u8(&in));
	for (int i = 0; i < OPS_MAX && in.n > 0; i++)
		step(&r, &in);
	rig_detach(&r.rig);
	r.net = virtio_net_free(r.net);
	rig_close(&r.rig);
	return 0;
}
