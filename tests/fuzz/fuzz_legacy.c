/*
 * The legacy devices on a port bus as a VM has them: two UARTs, the i8042 and the ACPI power registers,
 * under accesses of any port, width and value, typed input and a reactor that turns now and then.
 *
 * Properties: every byte that was written to a transmitter and not looped back comes out once, in order,
 * or is counted as dropped; input takes no more than it is given nor than the ring has; an access of a
 * claimed port reads what fits its width; power events are those that were written.
 */
#include "fuzz.h"

#include <linux/serial_reg.h>

#include "legacy/power.h"
#include "legacy/uart16550.h"

enum { OPS_MAX = 1024, N_UARTS = 2, TYPED_AHEAD = 4096 };
enum { COM1 = 0x3f8, COM2 = 0x2f8, FLOOD_WORD = 0xf1 };

enum op { OP_READ, OP_WRITE, OP_REGISTER, OP_INPUT, OP_TURN, OP_DRAIN, OP_FLOOD, N_OPS };

/* What the guest wrote, as far as the data sheet lets one know without the device. */
struct model {
	struct uart16550 *uart;
	uint64_t base;
	uint8_t lcr, mcr;
	uint64_t n_written, n_out;
	uint32_t sum_out;
};

struct run {
	struct reactor *reactor;
	struct io_bus ports;
	struct power power;
	struct model uarts[N_UARTS];
	unsigned n_resets, n_offs;
	bool has_flooded;
};

static void on_power(void *ctx, enum power_event event)
{
	struct run *r = ctx;

	if (event == POWER_RESET)
		r->n_resets++;
	else
		r->n_offs++;
}

static void on_output(void *ctx, const uint8_t *data, size_t n)
{
	struct model *m = ctx;

	FUZZ_CHECK(n > 0 && n <= UART_RING_SIZE);
	for (size_t i = 0; i < n; i++)
		m->sum_out += data[i]; /* readable, as far as sanitizers can tell */
	m->n_out += n;
}

static void model_write(struct model *m, uint64_t off, uint8_t value)
{
	if (off == UART_LCR)
		m->lcr = value;
	else if (off == UART_MCR)
		m->mcr = value;
	else if (off == UART_TX && !(m->lcr & UART_LCR_DLAB) && !(m->mcr & UART_MCR_LOOP))
		m->n_written++;
}

/* A wide access is one access of each register. */
static void write_port(struct run *r, uint64_t port, unsigned size, uint64_t value)
{
	unsigned n_events = r->n_resets + r->n_offs;
	bool is_claimed = io_bus_write(&r->ports, port, size, value);

	for (unsigned u = 0; is_claimed && u < N_UARTS; u++) {
		struct model *m = &r->uarts[u];

		for (unsigned i = 0; port >= m->base && i < size; i++)
			if (port - m->base + i < UART_LEN)
				model_write(m, port - m->base + i, (uint8_t)(value >> 8 * i));
	}
	if (r->n_resets + r->n_offs != n_events)
		FUZZ_CHECK((port >= I8042_BASE && port < I8042_BASE + I8042_LEN) ||
			   (port >= ACPI_RESET_PORT && port <= ACPI_SLEEP_STATUS_PORT));
}

static void read_port(struct run *r, uint64_t port, unsigned size)
{
	uint64_t value;

	if (io_bus_read(&r->ports, port, size, &value) && size < 8)
		FUZZ_CHECK(value >> 8 * size == 0);
}

static uint64_t any_port(struct fuzz_input *in)
{
	static const uint16_t bases[] = { COM1, COM2, I8042_BASE, ACPI_RESET_PORT };
	uint8_t how = fuzz_u8(in);

	return how & 0x80 ? fuzz_u16(in) : bases[how % 4] + (how >> 2) % 9u;
}

static void type(struct run *r, struct fuzz_input *in)
{
	static const uint8_t bytes[2 * TYPED_AHEAD];
	struct model *m = &r->uarts[fuzz_u8(in) % N_UARTS];
	size_t n = fuzz_u16(in) % sizeof(bytes);
	size_t taken = uart16550_input(m->uart, bytes, n);

	FUZZ_CHECK(taken <= n && taken <= TYPED_AHEAD);
	FUZZ_CHECK(!(m->mcr & UART_MCR_LOOP) || taken == 0);
}

/* More than the ring has, between two turns. Once: it takes long. */
static void flood(struct run *r, struct fuzz_input *in)
{
	const struct model *m = &r->uarts[fuzz_u8(in) % N_UARTS];
	uint32_t n = r->has_flooded ? 0 : fuzz_u16(in) * 5u;

	r->has_flooded = true;

	for (uint32_t i = 0; i < n; i++)
		write_port(r, m->base + UART_TX, 1, i);
}

static void step(struct run *r, struct fuzz_input *in)
{
	static const unsigned sizes[] = { 1, 1, 1, 1, 2, 4, 8, 3 };
	enum op op = (enum op)(fuzz_u8(in) % N_OPS);
	uint8_t a = fuzz_u8(in);

	switch (op) {
	case OP_READ:
		read_port(r, any_port(in), sizes[a % ARRAY_SIZE(sizes)]);
		break;
	case OP_WRITE:
		write_port(r, any_port(in), sizes[a % ARRAY_SIZE(sizes)], fuzz_u64(in));
		break;
	case OP_REGISTER:
		write_port(r, r->uarts[a & 1].base + (a >> 1) % UART_LEN, 1, fuzz_u8(in));
		break;
	case OP_INPUT:
		type(r, in);
		break;
	case OP_TURN:
		reactor_turn(r->reactor, 0);
		break;
	case OP_DRAIN:
		uart16550_drain(r->uarts[a & 1].uart);
		break;
	case OP_FLOOD:
		if (a == FLOOD_WORD) /* not for each that mutation makes one of */
			flood(r, in);
		break;
	case N_OPS:
		break;
	}
}

static void open_machine(struct run *r)
{
	static const uint16_t bases[N_UARTS] = { COM1, COM2 };
	const struct reactor_config reactor = { .backend = REACTOR_EPOLL };
	struct error err;

	*r = (struct run){ 0 };
	FUZZ_CHECK(reactor_new(&reactor, &r->reactor, &err) == 0);
	power_init(&r->power, on_power, r);
	FUZZ_CHECK(power_add(&r->power, &r->ports) == 0);
	for (unsigned i = 0; i < N_UARTS; i++) {
		struct model *m = &r->uarts[i];
		const struct uart16550_config config = {
			.base = bases[i],
			.name = "com",
			.reactor = r->reactor,
			.irq_fd = -1,
			.output = on_output,
			.ctx = m,
		};

		m->base = bases[i];
		FUZZ_CHECK(uart16550_new(&config, &m->uart, &err) == 0);
		FUZZ_CHECK(io_bus_add(&r->ports, uart16550_region(m->uart)) == 0);
	}
}

static void close_machine(struct run *r)
{
	for (unsigned i = 0; i < N_UARTS; i++) {
		struct model *m = &r->uarts[i];

		uart16550_drain(m->uart);
		FUZZ_CHECK(m->n_out + uart16550_dropped(m->uart) == m->n_written);
		m->uart = uart16550_free(m->uart);
	}
	reactor_turn(r->reactor, 0); /* a message on its way frees its UART */
	r->reactor = reactor_free(r->reactor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	static struct run r;

	open_machine(&r);
	for (int i = 0; i < OPS_MAX && in.n > 0; i++)
		step(&r, &in);
	close_machine(&r);
	return 0;
}
