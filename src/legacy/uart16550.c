/*
 * 16550A UART (PC16550D data sheet), with a transmitter that is always empty and a line that is always
 * connected.
 *
 *	 vCPU threads                                reactor thread
 *	 THR write -> tx ring --(post when it was empty)--> uart16550_drain -> config.output
 *	 RBR read  <- rx ring <---------------------------- uart16550_input
 *
 * Everything below `lock` is read and written under it; the reactor gives output() the ring's bytes
 * without the lock, which is safe because writers only append and only the reactor takes bytes away.
 *
 * Interrupt conditions and what ends them (data sheet, table 2):
 *
 *	line status    an overrun               reading LSR
 *	received data  bytes in the rx ring     reading RBR until it is empty
 *	THR empty      armed by a THR write     reading an IIR that names it, or the next THR write (which
 *	               or by enabling it        arms it again at once: our transmitter takes no time)
 *
 * The line is a pulse per new condition, so a condition that stays is announced again wherever a guest
 * might wait.
 */
#include "legacy/uart16550.h"

#include <linux/serial_reg.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"

enum {
	RX_RING_SIZE = 4096,
	IER_MASK = 0x0F, /* a 16550A has no more; Linux recognises XScale parts by bit 6 */
	MCR_MASK = 0x1F,
	IIR_FIFOS_ON = 0xC0,
	MSR_CONNECTED = UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS,
	DIVISOR_115200 = 1,
};

struct uart16550 {
	struct io_region region;
	struct uart16550_config config;
	struct irq_line irq;
	struct reactor_msg msg;
	bool orphan; /* freed while the message was on its way: its callback frees the memory.
			Reactor thread */
	_Atomic uint64_t n_dropped;

	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool fifos_on, thr_empty_armed, overrun;
	size_t rx_head, rx_n;
	size_t tx_head, tx_n;
	uint8_t rx[RX_RING_SIZE];
	uint8_t tx[UART_RING_SIZE];
};

/* --- interrupts; lock held --- */

/* The IER bits of the conditions that hold and are enabled. */
static uint8_t conditions(const struct uart16550 *u)
{
	uint8_t c = 0;

	if (u->overrun)
		c |= UART_IER_RLSI;
	if (u->rx_n)
		c |= UART_IER_RDI;
	if (u->thr_empty_armed)
		c |= UART_IER_THRI;
	return c & u->ier;
}

static uint8_t interrupt_id(uint8_t conds)
{
	if (conds & UART_IER_RLSI)
		return UART_IIR_RLSI;
	if (conds & UART_IER_RDI)
		return UART_IIR_RDI;
	if (conds & UART_IER_THRI)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void pulse_if(struct uart16550 *u, bool wanted)
{
	if (wanted)
		irq_line_pulse(&u->irq);
}

/* --- receiver; lock held --- */

static size_t rx_fifo_size(const struct uart16550 *u)
{
	return u->fifos_on ? UART_FIFO_SIZE : 1;
}

static void rx_push(struct uart16550 *u, uint8_t byte)
{
	u->rx[(u->rx_head + u->rx_n) % RX_RING_SIZE] = byte;
	u->rx_n++;
}

static uint8_t rx_pop(struct uart16550 *u)
{
	if (!u->rx_n)
		return 0;
	uint8_t byte = u->rx[u->rx_head];
	u->rx_head = (u->rx_head + 1) % RX_RING_SIZE;
	u->rx_n--;
	return byte;
}

/* What the chip's own FIFO would hold is lost, what was typed ahead of it arrives later. */
static void rx_clear_fifo(struct uart16550 *u)
{
	size_t n = u->rx_n < UART_FIFO_SIZE ? u->rx_n : UART_FIFO_SIZE;

	u->rx_head = (u->rx_head + n) % RX_RING_SIZE;
	u->rx_n -= n;
	u->overrun = false;
}

static uint8_t read_rbr(struct uart16550 *u)
{
	uint8_t byte = rx_pop(u);

	pulse_if(u, conditions(u));
	return byte;
}

/* --- transmitter; lock held --- */

static void tx_push(struct uart16550 *u, uint8_t byte)
{
	if (u->tx_n == UART_RING_SIZE) {
		atomic_fetch_add_explicit(&u->n_dropped, 1, memory_order_relaxed);
		return;
	}
	u->tx[(u->tx_head + u->tx_n) % UART_RING_SIZE] = byte;
	if (u->tx_n++ == 0)
		(void)reactor_post(u->config.reactor, &u->msg); /* false: on its way already */
}

static void loop_back(struct uart16550 *u, uint8_t byte)
{
	if (u->rx_n < rx_fifo_size(u))
		rx_push(u, byte);
	else
		u->overrun = true;
}

static void write_thr(struct uart16550 *u, uint8_t byte)
{
	if (u->mcr & UART_MCR_LOOP)
		loop_back(u, byte);
	else
		tx_push(u, byte);
	u->thr_empty_armed = true;
	/* Each byte is its own edge: a handler may write the next one without ever reading IIR. */
	pulse_if(u, conditions(u));
}

/* --- other registers; lock held --- */

static uint8_t read_iir(struct uart16550 *u)
{
	uint8_t before = conditions(u);
	uint8_t id = interrupt_id(before);

	if (id == UART_IIR_THRI)
		u->thr_empty_armed = false;
	/* Named one of two or more: the others have no edge of their own to come. */
	pulse_if(u, before & (before - 1));
	return id | (u->fifos_on ? IIR_FIFOS_ON : 0);
}

static void write_ier(struct uart16550 *u, uint8_t value)
{
	uint8_t before = conditions(u);
	uint8_t rising = value & ~u->ier;

	u->ier = value & IER_MASK;
	/* Enabling the interrupt with an empty THR raises it, also when IIR had acknowledged it:
	 * Linux tests for that. */
	if (rising & UART_IER_THRI)
		u->thr_empty_armed = true;
	pulse_if(u, conditions(u) & ~before);
}

static void write_fcr(struct uart16550 *u, uint8_t value)
{
	bool on = value & UART_FCR_ENABLE_FIFO;

	if (on != u->fifos_on || (value & UART_FCR_CLEAR_RCVR))
		rx_clear_fifo(u);
	u->fifos_on = on;
}

static uint8_t read_lsr(struct uart16550 *u)
{
	uint8_t v = UART_LSR_THRE | UART_LSR_TEMT;

	if (u->rx_n)
		v |= UART_LSR_DR;
	if (u->overrun)
		v |= UART_LSR_OE;
	u->overrun = false;
	return v;
}

/* In loop mode the modem outputs feed the modem inputs. */
static uint8_t read_msr(const struct uart16550 *u)
{
	uint8_t v = 0;

	if (!(u->mcr & UART_MCR_LOOP))
		return MSR_CONNECTED;
	if (u->mcr & UART_MCR_RTS)
		v |= UART_MSR_CTS;
	if (u->mcr & UART_MCR_DTR)
		v |= UART_MSR_DSR;
	if (u->mcr & UART_MCR_OUT1)
		v |= UART_MSR_RI;
	if (u->mcr & UART_MCR_OUT2)
		v |= UART_MSR_DCD;
	return v;
}

static uint8_t read_register(struct uart16550 *u, uint64_t off)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (off) {
	case UART_RX:
		return dlab ? u->dll : read_rbr(u);
	case UART_IER:
		return dlab ? u->dlm : u->ier;
	case UART_IIR:
		return read_iir(u);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		return read_lsr(u);
	case UART_MSR:
		return read_msr(u);
	case UART_SCR:
		return u->scr;
	default:
		return 0;
	}
}

static void write_register(struct uart16550 *u, uint64_t off, uint8_t value)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (off) {
	case UART_TX:
		if (dlab)
			u->dll = value;
		else
			write_thr(u, value);
		break;
	case UART_IER:
		if (dlab)
			u->dlm = value;
		else
			write_ier(u, value);
		break;
	case UART_FCR:
		write_fcr(u, value);
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		u->mcr = value & MCR_MASK;
		break;
	case UART_SCR:
		u->scr = value;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
}

/* --- register window; vCPU threads --- */

/* A wide access is one byte access per register, as on the ISA bus. */
static uint64_t uart_read(struct io_region *region, uint64_t off, unsigned size)
{
	struct uart16550 *u = container_of(region, struct uart16550, region);
	uint64_t v = 0;

	pthread_mutex_lock(&u->lock);
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)read_register(u, off + i) << (8 * i);
	pthread_mutex_unlock(&u->lock);
	return v;
}

static void uart_write(struct io_region *region, uint64_t off, unsigned size, uint64_t value)
{
	struct uart16550 *u = container_of(region, struct uart16550, region);

	pthread_mutex_lock(&u->lock);
	for (unsigned i = 0; i < size; i++)
		write_register(u, off + i, (uint8_t)(value >> (8 * i)));
	pthread_mutex_unlock(&u->lock);
}

static const struct io_ops uart_ops = { .read = uart_read, .write = uart_write };

/* --- reactor thread --- */

static void uart_release(struct uart16550 *u)
{
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static void on_output(struct reactor_msg *msg)
{
	struct uart16550 *u = container_of(msg, struct uart16550, msg);

	if (u->orphan)
		uart_release(u);
	else
		uart16550_drain(u);
}

int uart16550_new(const struct uart16550_config *config, struct uart16550 **ret, struct error *err)
{
	ASSERT(config->reactor && config->output);

	struct uart16550 *u = xcalloc(1, sizeof(*u));
	u->config = *config;
	u->region = (struct io_region){
		.base = config->base, .len = UART_LEN, .ops = &uart_ops, .name = config->name
	};
	u->irq.fd = config->irq_fd;
	u->irq.sink = config->irq_sink;
	u->msg.fn = on_output;
	u->dll = DIVISOR_115200;
	int res = pthread_mutex_init(&u->lock, NULL);
	if (res) {
		free(u);
		return error_set(err, res, "%s: mutex", config->name);
	}
	*ret = u;
	return 0;
}

struct uart16550 *uart16550_free(struct uart16550 *u)
{
	if (!u)
		return NULL;
	/* Nobody posts any more; a message that is queued cannot be taken back, so it frees. */
	if (atomic_load_explicit(&u->msg.posted, memory_order_acquire))
		u->orphan = true;
	else
		uart_release(u);
	return NULL;
}

struct io_region *uart16550_region(struct uart16550 *u)
{
	return &u->region;
}

/* The longest piece of the tx ring that is contiguous, at most @max bytes. */
static size_t tx_peek(struct uart16550 *u, size_t max, const uint8_t **ret)
{
	pthread_mutex_lock(&u->lock);
	size_t n = UART_RING_SIZE - u->tx_head;
	if (n > u->tx_n)
		n = u->tx_n;
	*ret = u->tx + u->tx_head;
	pthread_mutex_unlock(&u->lock);
	return n < max ? n : max;
}

/* True when more has come in meanwhile. */
static bool tx_consume(struct uart16550 *u, size_t n)
{
	pthread_mutex_lock(&u->lock);
	u->tx_head = (u->tx_head + n) % UART_RING_SIZE;
	u->tx_n -= n;
	bool more = u->tx_n;
	pthread_mutex_unlock(&u->lock);
	return more;
}

/* At most one ringful, so that a guest that never stops writing does not hold the reactor. */
void uart16550_drain(struct uart16550 *u)
{
	size_t budget = UART_RING_SIZE;
	bool more = false;

	for (;;) {
		const uint8_t *data;
		size_t n = tx_peek(u, budget, &data);

		if (!n)
			break;
		u->config.output(u->config.ctx, data, n);
		more = tx_consume(u, n);
		budget -= n;
	}
	if (more)
		(void)reactor_post(u->config.reactor, &u->msg); /* false: on its way already */
}

size_t uart16550_input(struct uart16550 *u, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t taken = 0;

	pthread_mutex_lock(&u->lock);
	uint8_t before = conditions(u);
	/* In loop mode the receiver is cut off from the line. */
	while (!(u->mcr & UART_MCR_LOOP) && taken < n && u->rx_n < RX_RING_SIZE)
		rx_push(u, p[taken++]);
	pulse_if(u, conditions(u) & ~before);
	pthread_mutex_unlock(&u->lock);
	return taken;
}

uint64_t uart16550_dropped(const struct uart16550 *u)
{
	return atomic_load_explicit(&u->n_dropped, memory_order_relaxed);
}
