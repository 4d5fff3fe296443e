/*
 * The console guest. One of these words of the command line says what to do, in this order when
 * several are given:
 *
 *	reset_inflight[=N]  N times (100): fill every queue, kick, reset at once, check that nothing is
 *	                    written any more
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

enum { EOT = 4, SCRIBBLE = 0xa5, INFLIGHT_SIZE = 4096, LOOK_LOOPS = 500 };

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

void guest_main(const struct boot_params *boot)
{
	options.event_idx = boot_word(boot, "event_idx", NULL);
	options.interrupts = boot_word(boot, "irq", NULL);
	uint64_t resets = 100, floods = UINT64_MAX;
	if (boot_word(boot, "reset_inflight", &resets))
		reset_inflight(resets);
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
