/*
 * The console guest. One of these words of the command line says what to do, in this order when
 * several are given:
 *
 *	reset_inflight[=N]  N times (100): fill every queue, kick, reset at once, check that nothing is
 *	                    written any more
 *	badqueue            break each rule of queues once: the device must ask for a reset, and work
 *	                    again after it
 *	flood[=N]           send the initrd N times (for ever) on port 1
 *	abandon             offer the initrd on port 1 in as many buffers as the queue holds, and power
 *	                    off at once
 *	abandon reset       the same, but reset the console before: the host may still be reading
 *	endless             the same on every port with buffers that name most of RAM: more than
 *	                    anybody can take
 *	whisper             offer a few bytes on port 2, and power off at once
 *	tty                 echo on port 0 until an EOT (0x04) was echoed
 *	relay               the same on port 2
 *	send                send the initrd on port 1, wait for a FRAME_EXIT_ACK there
 *
 * Then it powers off. How: event_idx (negotiate it), irq (sleep and be interrupted instead of
 * polling). A rule that the device breaks ends the guest by guest_die: text on COM1 and a reset
 * instead of a power-off.
 */
#include "console_port.h"

#include "abi/frame.h"

enum { EOT = 4, SCRIBBLE = 0xa5, INFLIGHT_SIZE = 4096, LOOK_LOOPS = 500, FAULT_POLLS = 100 * 1000 };

static struct console_options options;

static void send_and_wait_for_ack(const struct boot_params *boot)
{
	size_t n;
	const uint8_t *initrd = boot_initrd(boot, &n);
	console_send(PORT_FRAMES, initrd, n);

	static uint8_t storage[FRAME_DECODER_STORAGE_MIN], bytes[RX_SIZE];
	struct frame_decoder d;
	frame_decoder_init(&d, storage, sizeof(storage), NULL, NULL);
	for (;;) {
		size_t got = console_receive(PORT_FRAMES, bytes);
		for (size_t at = 0; at < got;) {
			struct frame f;
			at += frame_decoder_feed(&d, bytes + at, got - at);
			while (frame_decoder_next(&d, &f))
				if (f.header.type == FRAME_EXIT_ACK)
					return;
		}
	}
}

static void flood(const struct boot_params *boot, uint64_t times)
{
	size_t n;
	const uint8_t *initrd = boot_initrd(boot, &n);
	if (!n)
		guest_die("flood: no initrd to send");
	for (uint64_t i = 0; i < times; i++)
		console_send(PORT_FRAMES, initrd, n);
}

/* One buffer per descriptor, all offered by one kick. */
static void abandon(const struct boot_params *boot)
{
	struct vq *q = console_transmit_queue(PORT_FRAMES);
	size_t n;
	const uint8_t *initrd = boot_initrd(boot, &n);
	size_t chunk = (n + VQ_SIZE - 1) / VQ_SIZE;
	for (uint16_t i = 0; i < VQ_SIZE && n; i++) {
		size_t part = n < chunk ? n : chunk;
		vq_post(q, i, initrd, (uint32_t)part, false);
		initrd += part;
		n -= part;
	}
	vq_kick(q);
}

static void endless(void)
{
	enum { BEGIN = 0x100000, SIZE = 40 * 1024 * 1024 };
	for (unsigned port = 0; port < N_PORTS; port++)
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): a guest's physical address */
		console_send_begin(port, (const void *)(uintptr_t)BEGIN, SIZE);
}

static void whisper(void)
{
	static const uint8_t text[16] = "is anybody here";
	console_send_begin(PORT_RELAY, text, sizeof(text));
}

static void echo(unsigned port)
{
	static uint8_t bytes[RX_SIZE];
	for (bool more = true; more;) {
		size_t n = console_receive(port, bytes);
		console_send(port, bytes, n);
		for (size_t i = 0; i < n; i++)
			more &= bytes[i] != EOT;
	}
}

static void check_untouched(const volatile struct vq_ring *ring)
{
	const volatile uint8_t *p = (const volatile uint8_t *)ring;
	for (size_t i = 0; i < sizeof(*ring); i++)
		if (p[i] != SCRIBBLE)
			guest_die("the device wrote to a ring after its reset");
}

/* A driver frees its memory right after a reset: whatever the device still did then would hit a
 * stranger. */
static void reset_inflight(uint64_t times)
{
	static uint8_t noise[INFLIGHT_SIZE];
	memset(noise, 'n', sizeof(noise));
	for (uint64_t i = 0; i < times; i++) {
		console_open(&options);
		for (unsigned port = 0; port < N_PORTS; port++)
			console_send_begin(port, noise, sizeof(noise));
		vq_device_reset(CONSOLE_MMIO);
		for (unsigned port = 0; port < N_PORTS; port++) {
			volatile struct vq_ring *ring = console_transmit_queue(port)->ring;
			memset((void *)(uintptr_t)ring, SCRIBBLE, sizeof(*ring));
		}
		for (unsigned look = 0; look < LOOK_LOOPS; look++)
			cpu_pause();
		for (unsigned port = 0; port < N_PORTS; port++)
			check_untouched(console_transmit_queue(port)->ring);
	}
}

/* Each breaks one rule on the transmit queue of the frame port; the kick follows. */

static void bad_loop(volatile struct vq_ring *r)
{
	for (uint16_t i = 0; i < 2; i++) {
		r->desc[i].flags = VRING_DESC_F_NEXT;
		r->desc[i].next = !i;
	}
}

static void bad_head(volatile struct vq_ring *r)
{
	r->avail.ring[0] = VQ_SIZE;
}

static void bad_next(volatile struct vq_ring *r)
{
	r->desc[0].flags = VRING_DESC_F_NEXT;
	r->desc[0].next = VQ_SIZE;
}

static void bad_jump(volatile struct vq_ring *r)
{
	r->avail.idx = VQ_SIZE + 1;
}

static void bad_address(volatile struct vq_ring *r)
{
	r->desc[0].addr = 0xd0000000; /* in the MMIO gap */
}

static void bad_wrap(volatile struct vq_ring *r)
{
	r->desc[0].addr = UINT64_MAX - 7;
	r->desc[0].len = 16;
}

static void bad_indirect(volatile struct vq_ring *r)
{
	r->desc[0].flags = VRING_DESC_F_INDIRECT;
	r->desc[0].len = 24; /* no multiple of a descriptor's size */
}

static const struct {
	const char *name;
	void (*break_it)(volatile struct vq_ring *r);
} bad_cases[] = {
	{ "loop", bad_loop },         { "head", bad_head },       { "next", bad_next },
	{ "jump", bad_jump },         { "address", bad_address }, { "wrap", bad_wrap },
	{ "indirect", bad_indirect },
};

static void bad_queue(void)
{
	static uint8_t bytes[16] = "innocent bytes\n";
	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		console_open(&options);
		struct vq *q = console_transmit_queue(PORT_FRAMES);
		vq_post(q, 0, bytes, sizeof(bytes), false);
		bad_cases[i].break_it(q->ring);
		vq_kick(q);
		int polls = 0;
		while (!vq_device_needs_reset(CONSOLE_MMIO))
			if (++polls == FAULT_POLLS)
				guest_die(bad_cases[i].name);
		serial_put("needs reset: ");
		serial_put(bad_cases[i].name);
		serial_put("\n");
	}
}

void guest_main(const struct boot_params *boot)
{
	options.event_idx = boot_word(boot, "event_idx", NULL);
	options.interrupts = boot_word(boot, "irq", NULL);
	uint64_t resets = 100, floods = UINT64_MAX;
	if (boot_word(boot, "reset_inflight", &resets))
		reset_inflight(resets);
	if (boot_word(boot, "badqueue", NULL))
		bad_queue();
	console_open(&options);
	serial_put("console open\n");
	if (boot_word(boot, "flood", &floods))
		flood(boot, floods);
	if (boot_word(boot, "abandon", NULL))
		abandon(boot);
	if (boot_word(boot, "reset", NULL))
		vq_device_reset(CONSOLE_MMIO);
	if (boot_word(boot, "endless", NULL))
		endless();
	if (boot_word(boot, "whisper", NULL))
		whisper();
	if (boot_word(boot, "tty", NULL))
		echo(PORT_TTY);
	if (boot_word(boot, "relay", NULL))
		echo(PORT_RELAY);
	if (boot_word(boot, "send", NULL))
		send_and_wait_for_ack(boot);
}
