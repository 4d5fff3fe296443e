/*
 * The hostile guest: console, disk and network under a driver that breaks the rules. After each deed the
 * device that was attacked asks for its reset or goes on, works again after a reset, and the others never
 * stopped.
 * Words of the command line, in this order:
 *
 *	rules		break each rule once, on each device
 *	resets=N	N times: reads in flight, reset, give the memory to somebody else: it must stay as it is
 *	touch=N		N disk requests while the second CPU touches every register that may be touched
 *	hammer=N	the same with writes to all registers, resets and whatever else there is
 *
 * Then it powers off. A rule that a device breaks ends the guest by guest_die: text on COM1 and a reset.
 */
#include "console_port.h"
#include "disk.h"
#include "net_port.h"
#include "second_cpu.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

enum {
	SCRIBBLE = 0xa5,
	FAULT_POLLS = 1000 * 1000,
	LOOK_LOOPS = 200,
	INTERRUPT_CONFIG = 2,
	STEP = 16, /* of looks at memory: some KVMs interpret each instruction */
};

static const struct console_options options;
static uint8_t buffers[DISK_IN_FLIGHT][DISK_CHUNK] __attribute__((aligned(4096)));

/* The devices do their work. */

static void use_console(void)
{
	static const uint8_t text[16] = "fifteen letters\n";

	console_send(PORT_FRAMES, text, sizeof(text));
}

static void use_disk(void)
{
	static uint8_t round;
	uint64_t sector = round++ % 16 * 8u;

	memset(buffers[0], round, DISK_CHUNK);
	disk_request(true, sector, buffers[0]);
	memset(buffers[0], 0, DISK_CHUNK);
	disk_request(false, sector, buffers[0]);
	for (size_t i = 0; i < DISK_CHUNK; i += STEP)
		if (buffers[0][i] != round)
			guest_die("the disk lost a byte");
}

static void use_net(void)
{
	enum { LEN = 60 };
	static uint8_t frame[NET_FRAME_MAX], round;

	memset(net_frame(0), ++round, LEN);
	net_post(0, LEN);
	net_kick();
	if (net_receive(frame) != LEN || frame[0] != round || frame[LEN - 1] != round)
		guest_die("the network lost a byte");
	net_reclaim(1);
}

/* What can be attacked. */

static void open_console(void)
{
	console_open(&options);
}

static struct vq *console_victim(void)
{
	return console_transmit_queue(PORT_FRAMES);
}

static void open_net(void)
{
	net_open(&(struct net_options){ .merge = true });
}

static struct vq *net_victim(void)
{
	return net_queue(1);
}

static const struct target {
	const char *name;
	uintptr_t mmio;
	void (*open)(void);
	void (*use)(void);
	struct vq *(*queue)(void);
} targets[] = {
	{ "console", CONSOLE_MMIO, open_console, use_console, console_victim },
	{ "disk", DISK_MMIO, disk_open, use_disk, disk_queue },
	{ "net", NET_MMIO, open_net, use_net, net_victim },
};

/*
 * A chain that each device takes, in descriptors 0 and 1: a block request, some bytes, a frame too short.
 * Broken before it is made available: a device may look at any moment.
 */
static void fill_chain(volatile struct vq_ring *r)
{
	memset(buffers[0], 0, 16);
	r->desc[0].addr = (uint64_t)buffers[0];
	r->desc[0].len = 16;
	r->desc[0].flags = VRING_DESC_F_NEXT;
	r->desc[0].next = 1;
	r->desc[1].addr = (uint64_t)buffers[1];
	r->desc[1].len = DISK_SECTOR + 1;
	r->desc[1].flags = VRING_DESC_F_WRITE;
	r->desc[1].next = 0;
}

static void publish(struct vq *q, uint16_t head, uint16_t step)
{
	q->ring->avail.ring[q->ring->avail.idx % VQ_SIZE] = head;
	compiler_barrier(); /* the entry before the index */
	q->ring->avail.idx += step;
	mmio_write32(q->mmio + VIRTIO_MMIO_QUEUE_NOTIFY, q->index);
}

/* Each breaks one rule of that chain. */

static void bad_zero(volatile struct vring_desc *d)
{
	d[0].len = 0;
}

static void bad_loop(volatile struct vring_desc *d)
{
	d[1].flags = VRING_DESC_F_NEXT;
}

static void bad_next(volatile struct vring_desc *d)
{
	d[0].next = VQ_SIZE;
}

static void bad_order(volatile struct vring_desc *d)
{
	d[0].flags |= VRING_DESC_F_WRITE;
	d[1].flags = 0;
}

static void bad_address(volatile struct vring_desc *d)
{
	d[0].addr = 0xd0000000; /* in the MMIO gap */
}

static void bad_registers(volatile struct vring_desc *d)
{
	d[1].addr = DISK_MMIO;
}

static void bad_huge(volatile struct vring_desc *d)
{
	d[1].addr = 0;
	d[1].len = UINT32_MAX;
}

static void bad_wrap(volatile struct vring_desc *d)
{
	d[1].addr = UINT64_MAX - 7;
}

static void bad_indirect(volatile struct vring_desc *d)
{
	d[0].flags = VRING_DESC_F_INDIRECT;
	d[0].len = 24; /* no multiple of a descriptor's size */
}

static const struct {
	const char *name;
	void (*break_it)(volatile struct vring_desc *d); /* NULL: the available ring is broken */
	uint16_t head;
	uint16_t step; /* 0: 1 */
} rules[] = {
	{ "zero", bad_zero },
	{ "loop", bad_loop },
	{ "head", .head = VQ_SIZE },
	{ "next", bad_next },
	{ "jump", .step = VQ_SIZE + 1 },
	{ "order", bad_order },
	{ "address", bad_address },
	{ "registers", bad_registers },
	{ "huge", bad_huge },
	{ "wrap", bad_wrap },
	{ "indirect", bad_indirect },
};

static void expect_reset_wish(const struct target *t, const char *name)
{
	for (int polls = 0; !vq_device_needs_reset(t->mmio); polls++)
		if (polls == FAULT_POLLS)
			guest_die(name);
	if (!(mmio_read32(t->mmio + VIRTIO_MMIO_INTERRUPT_STATUS) & INTERRUPT_CONFIG))
		guest_die("no configuration interrupt");
	serial_put("needs reset: ");
	serial_put(t->name);
	serial_put(" ");
	serial_put(name);
	serial_put("\n");
}

/* The others never stopped; @t works again. */
static void check_all(const struct target *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		if (&targets[i] != t)
			targets[i].use();
	t->open();
	t->use();
}

static void break_rules(const struct target *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		t->open();
		fill_chain(t->queue()->ring);
		if (rules[i].break_it)
			rules[i].break_it(t->queue()->ring->desc);
		publish(t->queue(), rules[i].head, rules[i].step ? rules[i].step : 1);
		expect_reset_wish(t, rules[i].name);
		check_all(t);
	}
	fill_chain(t->queue()->ring);
	publish(t->queue(), 0, 1);
	mmio_write32(t->mmio + VIRTIO_MMIO_QUEUE_SEL, t->queue()->index);
	mmio_write32(t->mmio + VIRTIO_MMIO_QUEUE_READY, 0);
	expect_reset_wish(t, "taken");
	check_all(t);
}

/* Resets. */

static void check_untouched(const volatile void *at, size_t n)
{
	const volatile uint8_t *p = at;

	for (size_t i = 0; i < n; i += STEP)
		if (p[i] != SCRIBBLE)
			guest_die("the disk wrote after its reset");
}

static void reset_in_flight(uint64_t times)
{
	volatile struct vq_ring *ring = disk_queue()->ring;

	for (uint64_t i = 0; i < times; i++) {
		disk_open();
		for (unsigned slot = 0; slot < DISK_IN_FLIGHT; slot++)
			disk_post(slot, false, slot * 8, buffers[slot]);
		vq_kick(disk_queue());
		for (uint64_t wait = 0; wait < i % 64; wait++) /* another moment each time */
			cpu_pause();
		vq_device_reset(DISK_MMIO);
		memset((void *)(uintptr_t)ring, SCRIBBLE, sizeof(*ring));
		memset(buffers, SCRIBBLE, sizeof(buffers));
		for (unsigned look = 0; look < LOOK_LOOPS; look++)
			cpu_pause();
		check_untouched(ring, sizeof(*ring));
		check_untouched(buffers, sizeof(buffers));
	}
	check_all(&targets[1]);
}

/* The second CPU. */

enum second { SECOND_NONE, SECOND_TOUCHES, SECOND_HAMMERS, SECOND_DONE };

static volatile enum second second;
static volatile uint64_t second_loops;

static uint64_t next_random(uint64_t *state)
{
	/* Knuth's 64-bit linear congruence; its high bits are the good ones. */
	*state = *state * 6364136223846793005 + 1442695040888963407;
	return *state >> 24;
}

static void touch(uintptr_t mmio, uint64_t z)
{
	(void)mmio_read32(mmio + z % 0x40 * 4);
	(void)mmio_read32(mmio + VIRTIO_MMIO_CONFIG + z % 0x20 * 4);
	mmio_write32(mmio + VIRTIO_MMIO_CONFIG + z % 0x20 * 4, (uint32_t)z);
	mmio_write32(mmio + VIRTIO_MMIO_QUEUE_NOTIFY, z & 7);
	mmio_write32(mmio + VIRTIO_MMIO_INTERRUPT_ACK, z & 3);
}

static void hammer(uintptr_t mmio, uint64_t z)
{
	static const uint32_t values[] = { 0, 1, 3, 8, 11, 15, 64, 0x1000, 0x100000, UINT32_MAX };

	mmio_write32(mmio + z % 0x30 * 4, values[(z >> 8) % ARRAY_SIZE(values)]);
}

static void run_second(void)
{
	uint64_t random = 1;

	for (; second != SECOND_DONE; second_loops++) {
		uint64_t z = next_random(&random);

		for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
			if (second == SECOND_TOUCHES)
				touch(targets[i].mmio, z >> i);
			else if (second == SECOND_HAMMERS)
				hammer(targets[i].mmio, z >> i);
		}
	}
	second = SECOND_NONE;
}

static void start_second(enum second what)
{
	static bool is_started;

	second = what;
	if (!is_started)
		second_cpu_start(run_second);
	is_started = true;
	for (uint64_t before = second_loops, polls = 0; second_loops == before; polls++) {
		if (polls == 100ull * FAULT_POLLS)
			guest_die("the second CPU does not come");
		cpu_pause();
	}
}

static void stop_second(void)
{
	second = SECOND_DONE;
	while (second == SECOND_DONE)
		cpu_pause();
}

static void work_while_touched(uint64_t times)
{
	start_second(SECOND_TOUCHES);
	for (uint64_t i = 0; i < times; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(targets); k++)
			targets[k].use();
	}
}

/* I/O of any outcome, by both CPUs. */
static void work_while_hammered(uint64_t times)
{
	uint64_t random = 2;

	start_second(SECOND_HAMMERS);
	for (uint64_t i = 0; i < times; i++) {
		uint64_t z = next_random(&random);

		if (z % 8 == 0)
			mmio_write32(DISK_MMIO + VIRTIO_MMIO_STATUS, 0);
		disk_post((unsigned)(z % DISK_IN_FLIGHT), z & 64, z % 100, buffers[0]);
		mmio_write32(DISK_MMIO + VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		hammer(targets[z % ARRAY_SIZE(targets)].mmio, z >> 2);
	}
}

static void open_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		targets[i].open();
}

void guest_main(const struct boot_params *boot)
{
	uint64_t resets = 0, touches = 0, hammers = 0;

	open_all();
	for (size_t i = 0; boot_word(boot, "rules", NULL) && i < ARRAY_SIZE(targets); i++)
		break_rules(&targets[i]);
	if (boot_word(boot, "resets", &resets))
		reset_in_flight(resets);
	if (boot_word(boot, "touch", &touches))
		work_while_touched(touches);
	if (boot_word(boot, "hammer", &hammers))
		work_while_hammered(hammers);
	if (touches || hammers) {
		stop_second();
		serial_put("second CPU: ");
		serial_put_number(second_loops);
		serial_put(" loops\n");
		open_all();
		check_all(&targets[0]);
	}
	serial_put("survived\n");
}
