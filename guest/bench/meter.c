/* See meter.h. */
#include "meter.h"

#include <linux/virtio_mmio.h>

#include "abi/bench_hist.h"
#include "cpu.h"
#include "text.h"

static struct {
	uint64_t warm, ticks; /* wanted */
	uint64_t warm_end;
	uint64_t begin, end; /* of the counted run; 0: not yet */
	uint64_t n_requests, n_bytes, n_errors, n_kicks, n_interrupts;
} m;
static uint64_t hist[BENCH_HIST_SIZE];
static uintptr_t device;
static volatile uint64_t n_interrupts;

void meter_init(const char *line)
{
	m.warm = text_number(line, "warm", 0);
	m.ticks = text_number(line, "ticks", 0);
}

static void begin(uint64_t kicks)
{
	text_put("begin\n");
	m.n_kicks = kicks;
	m.n_interrupts = n_interrupts;
	m.begin = tsc_read();
}

static void end(uint64_t now, uint64_t kicks)
{
	m.end = now;
	m.n_kicks = kicks - m.n_kicks;
	m.n_interrupts = n_interrupts - m.n_interrupts;
	text_put("end\n");
}

bool meter_goes_on(uint64_t now, uint64_t kicks)
{
	if (m.begin == 0) {
		if (m.warm_end == 0)
			m.warm_end = now + m.warm;
		if (now >= m.warm_end)
			begin(kicks);
		return true;
	}
	/* On a busy host a short run may see no request end: it goes on until one does. */
	if (now - m.begin < m.ticks || now < m.begin || m.n_requests == 0)
		return true;
	end(now, kicks);
	return false;
}

void meter_add(uint64_t posted, uint64_t now, uint64_t n_bytes)
{
	/* What was on its way at the begin waited for that line, too. */
	if (m.begin == 0 || posted < m.begin)
		return;
	m.n_requests++;
	m.n_bytes += n_bytes;
	hist[bench_hist_index(now - posted)]++;
}

void meter_add_error(void)
{
	m.n_errors++;
}

static void print_hist(const char *name)
{
	for (unsigned i = 0; i < BENCH_HIST_SIZE; i++) {
		if (hist[i] == 0)
			continue;
		text_put("hist ");
		text_put(name);
		text_put(" ");
		text_put_number(i);
		text_put(" ");
		text_put_number(hist[i]);
		text_put("\n");
		hist[i] = 0;
	}
}

void meter_print(void)
{
	text_line("ticks", m.end - m.begin);
	text_line("requests", m.n_requests);
	text_line("bytes", m.n_bytes);
	text_line("errors", m.n_errors);
	text_line("kicks", m.n_kicks);
	text_line("interrupts", m.n_interrupts);
	print_hist("latency");
}

void meter_add_cost(uint64_t ticks)
{
	hist[bench_hist_index(ticks)]++;
}

void meter_print_cost(const char *name)
{
	print_hist(name);
}

static void on_interrupt(void)
{
	n_interrupts++;
	mmio_write32(device + VIRTIO_MMIO_INTERRUPT_ACK,
		     mmio_read32(device + VIRTIO_MMIO_INTERRUPT_STATUS));
}

void meter_take_interrupts(const struct virtio *dev)
{
	device = dev->mmio;
	cpu_route_interrupt(dev->gsi, on_interrupt);
}
