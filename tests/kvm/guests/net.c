/*
 * The network guest. One of these words of the command line says what to do:
 *
 *	sizes               send frames of 64 to 65550 bytes, one by one; each must come back exactly
 *	batch[=N]           N times (50): send as many frames as there are slots with one kick, take
 *	                    them back in order
 *	reset_inflight[=N]  N times (50): fill both queues, kick, reset at once, check that nothing is
 *	                    written any more
 *	starve              send a frame without having posted a receive buffer, power off at once
 *
 * Then it powers off. How: merge, event_idx (negotiate them), irq (sleep and be interrupted instead
 * of polling). A rule that the device breaks ends the guest by guest_die.
 */
#include "net_port.h"

#include <linux/virtio_mmio.h>

enum { SCRIBBLE = 0xa5, LOOK_LOOPS = 500, SIZE_MIN = 64 };

static struct net_options options;
static uint8_t received[NET_FRAME_MAX];

/* By words: on some KVMs each instruction of a guest's kernel mode is interpreted. */
static void fill(uint8_t *frame, uint32_t len, uint64_t seed)
{
	for (uint32_t i = 0; i < len; i += 8) {
		uint64_t word = (seed + i + 1) * 0x9e3779b97f4a7c15;
		if (len - i >= 8)
			__builtin_memcpy(frame + i, &word, 8);
		else
			memcpy(frame + i, &word, len - i);
	}
}

static bool is_equal(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	for (; n >= 8; n -= 8, a += 8, b += 8) {
		uint64_t x, y;
		__builtin_memcpy(&x, a, 8);
		__builtin_memcpy(&y, b, 8);
		if (x != y)
			return false;
	}
	return memcmp(a, b, n) == 0;
}

static void expect(const uint8_t *frame, uint32_t len)
{
	if (net_receive(received) != len)
		guest_die("a frame came back with another length");
	if (!is_equal(received, frame, len))
		guest_die("a frame came back with other bytes");
}

static uint32_t next_size(uint32_t len)
{
	static const uint32_t borders[] = { 1514, NET_RX_MERGED_SIZE - NET_HEADER,
					    NET_RX_MERGED_SIZE - NET_HEADER + 1, 65535,
					    NET_FRAME_MAX };
	uint32_t next = len < 96 ? len + 1 : len + len / 5;
	for (size_t i = 0; i < ARRAY_SIZE(borders); i++)
		if (len < borders[i] && borders[i] < next)
			next = borders[i];
	return next;
}

static void echo_sizes(void)
{
	uint64_t n = 0;
	for (uint32_t len = SIZE_MIN; len <= NET_FRAME_MAX; len = next_size(len), n++) {
		unsigned slot = n % NET_TX_SLOTS;
		fill(net_frame(slot), len, (uint32_t)n);
		net_post(slot, len);
		net_kick();
		expect(net_frame(slot), len);
		net_reclaim(1);
	}
	serial_put("frames: ");
	serial_put_number(n);
	serial_put("\n");
}

static void batches(uint64_t times)
{
	for (uint64_t i = 0; i < times; i++) {
		for (unsigned slot = 0; slot < NET_TX_SLOTS; slot++) {
			fill(net_frame(slot), 100 + slot * 100, (uint32_t)i + slot);
			net_post(slot, 100 + slot * 100);
		}
		net_kick();
		for (unsigned slot = 0; slot < NET_TX_SLOTS; slot++)
			expect(net_frame(slot), 100 + slot * 100);
		net_reclaim(NET_TX_SLOTS);
	}
}

static void check_untouched(const volatile uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != SCRIBBLE)
			guest_die("the device wrote to memory after its reset");
}

/* A driver frees its memory right after a reset. */
static void reset_inflight(uint64_t times)
{
	for (uint64_t i = 0; i < times; i++) {
		net_open(&options);
		size_t n;
		uint8_t *memory = net_receive_memory(&n);
		for (unsigned slot = 0; slot < NET_TX_SLOTS; slot++)
			net_post(slot, NET_FRAME_MAX);
		net_kick();
		vq_device_reset(NET_MMIO);
		memset(memory, SCRIBBLE, n);
		for (unsigned q = 0; q < 2; q++)
			memset((void *)(uintptr_t)net_queue(q)->ring, SCRIBBLE,
			       sizeof(struct vq_ring));
		for (unsigned look = 0; look < LOOK_LOOPS; look++)
			cpu_pause();
		for (unsigned q = 0; q < 2; q++)
			check_untouched((const volatile uint8_t *)net_queue(q)->ring,
					sizeof(struct vq_ring));
		for (size_t at = 0; at < n; at += 4096 - 64) /* each page, at other places */
			check_untouched(memory + at, 1);
	}
}

void guest_main(const struct boot_params *boot)
{
	uint64_t times = 50;
	options.event_idx = boot_word(boot, "event_idx", NULL);
	options.interrupts = boot_word(boot, "irq", NULL);
	options.merge = boot_word(boot, "merge", NULL);
	options.starved = boot_word(boot, "starve", NULL);
	if (boot_word(boot, "reset_inflight", &times)) {
		reset_inflight(times);
		return;
	}
	net_open(&options);
	if (boot_word(boot, "sizes", NULL))
		echo_sizes();
	if (boot_word(boot, "batch", &times))
		batches(times);
	if (options.starved) {
		net_post(0, SIZE_MIN);
		net_kick();
	}
}
