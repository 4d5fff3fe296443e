#include "vmm/vm_stats.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "vmm/vcpu.h"

static void append(struct buf *text, const char *device, const char *key, uint64_t value)
{
	buf_printf(text, "%s.%s %" PRIu64 "\n", device, key, value);
}

static void append_mmio(struct buf *text, const char *device, const struct virtio_mmio_stats *m)
{
	append(text, device, "kicks", m->n_kicks);
	append(text, device, "looks", m->n_looks);
	append(text, device, "notify_exits", m->n_notify_exits);
	append(text, device, "register_exits", m->n_register_exits);
	append(text, device, "interrupts", m->n_interrupts);
	append(text, device, "interrupts_suppressed", m->n_interrupts_suppressed);
	append(text, device, "guest_faults", m->n_guest_faults);
}

static void append_disk(struct buf *text, const struct virtio_blk_stats *d)
{
	append(text, "disk", "reads", d->n_reads);
	append(text, "disk", "writes", d->n_writes);
	append(text, "disk", "flushes", d->n_flushes);
	append(text, "disk", "discards", d->n_discards);
	append(text, "disk", "write_zeroes", d->n_write_zeroes);
	append(text, "disk", "bytes_read", d->bytes_read);
	append(text, "disk", "bytes_written", d->bytes_written);
	append(text, "disk", "errors", d->n_errors);
	append(text, "disk", "unsupported", d->n_unsupported);
	append(text, "disk", "in_flight_max", d->gate.n_inside_max);
	append(text, "disk", "continued", d->n_continued);
	append(text, "disk", "retries", d->n_retries);
	append(text, "disk", "throttled_iops", d->gate.n_throttled_iops);
	append(text, "disk", "throttled_bps", d->gate.n_throttled_bps);
	append(text, "disk", "direct_ends", d->n_direct_ends);
}

static void append_net(struct buf *text, const struct virtio_net_stats *n)
{
	append(text, "net", "frames", n->n_frames);
	append(text, "net", "bytes", n->bytes);
	append(text, "net", "gso_frames", n->n_gso_frames);
	append(text, "net", "rx_buffers", n->n_rx_buffers);
	append(text, "net", "stalls", n->n_stalls);
	append(text, "net", "dropped_header", n->n_dropped_header);
	append(text, "net", "dropped_size", n->n_dropped_size);
	append(text, "net", "dropped_no_fit", n->n_dropped_no_fit);
	append(text, "net", "dropped_no_buffer", n->n_dropped_no_buffer);
}

void vm_stats_format(const struct vm_stats *st, struct buf *text)
{
	append(text, "exits", "io", st->n_io_exits);
	append(text, "exits", "mmio", st->n_mmio_exits);
	append(text, "exits", "interrupted", st->n_interrupted);
	append(text, "exits", "other", st->n_other_exits);
	append(text, "exits", "unclaimed", st->n_unclaimed);
	append_mmio(text, "console", &st->console_mmio);
	for (size_t i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++) {
		char port[32];

		(void)snprintf(port, sizeof(port), "console.port%zu", i);
		append(text, port, "bytes_out", st->console.port[i].bytes_out);
		append(text, port, "bytes_in", st->console.port[i].bytes_in);
		append(text, port, "stalls", st->console.port[i].n_stalls);
	}
	if (st->has_disk) {
		append_mmio(text, "disk", &st->disk_mmio);
		append_disk(text, &st->disk);
	}
	if (st->has_net) {
		append_mmio(text, "net", &st->net_mmio);
		append_net(text, &st->net);
	}
}

void vm_stats_format_vcpus(const struct vm *vm, uint32_t n_vcpus, struct buf *text)
{
	uint64_t run_ns = 0, delay_ns = 0, n_involuntary = 0;
	bool has_time = true;

	for (uint32_t i = 0; i < n_vcpus; i++) {
		const struct vcpu_stats *s = vm_vcpu_stats(vm, i);
		char vcpu[32];

		(void)snprintf(vcpu, sizeof(vcpu), "vcpu%u", i);
		if (s->has_time) {
			append(text, vcpu, "run_us", s->run_ns / NS_PER_US);
			append(text, vcpu, "run_delay_us", s->run_delay_ns / NS_PER_US);
		}
		append(text, vcpu, "involuntary_switches", s->n_involuntary);
		has_time &= s->has_time;
		run_ns += s->run_ns;
		delay_ns += s->run_delay_ns;
		n_involuntary += s->n_involuntary;
	}
	if (has_time) {
		append(text, "vcpus", "run_us", run_ns / NS_PER_US);
		append(text, "vcpus", "run_delay_us", delay_ns / NS_PER_US);
	}
	append(text, "vcpus", "involuntary_switches", n_involuntary);
}
