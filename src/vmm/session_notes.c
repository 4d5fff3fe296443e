#include "vmm/session_notes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "vmm/vm_stats.h"

enum { VCPU_NOTES_MAX = 8 };

void session_note(struct link *link, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	link_send(link, FRAME_VM_NOTE, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* Where a guest that did not end in time was. */
static void send_vcpu_notes(struct link *link, const struct session_account *a)
{
	uint32_t n = (uint32_t)num_min(a->n_vcpus, VCPU_NOTES_MAX);
	char text[480];

	if (!judge_is_out_of_time(a->judge))
		return;
	for (uint32_t i = 0; i < n; i++) {
		vm_describe_vcpu(a->vm, i, text, sizeof(text));
		session_note(link, "vCPU %u: %s", i, text);
	}
}

void session_send_notes(struct link *link, const struct session_account *a)
{
	if (a->decoder->n_dropped_bytes || a->decoder->n_lost)
		session_note(link,
			     "frame stream damaged: %" PRIu64 " bytes dropped, %" PRIu64
			     " frames missing, %" PRIu64 " resynchronisations",
			     a->decoder->n_dropped_bytes, a->decoder->n_lost,
			     a->decoder->n_resyncs);
	if (a->counts.forged_frames)
		session_note(link, "%" PRIu64 " frames of unknown or host types ignored",
			     a->counts.forged_frames);
	if (a->counts.tty_dropped)
		session_note(link, "hvc0: %" PRIu64 " bytes dropped", a->counts.tty_dropped);
	/* The command's own status stands, but a kernel that stalled on the way is not kept quiet. */
	if (a->judge->stall && !a->judge->ejected && a->judge->has_exit)
		session_note(link, "the kernel reported a stall: %.*s",
			     (int)strcspn(a->judge->why, "\n"), a->judge->why);
	if (a->judge->has_exit && a->judge->limit != JUDGE_NO_LIMIT && a->end == VM_STOPPED)
		session_note(link, "the guest did not power off after its exit: it was ended");
	struct vm_stats stats;
	vm_stats(a->vm, &stats);
	for (size_t i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++)
		if (stats.console.port[i].bytes_lost)
			session_note(link,
				     "port %zu: %" PRIu64 " bytes lost in a reset by the guest", i,
				     stats.console.port[i].bytes_lost);
	uint64_t serial = a->counts.serial_dropped + stats.uart_dropped;
	if (serial)
		session_note(link, "serial ports: %" PRIu64 " bytes dropped", serial);
	send_vcpu_notes(link, a);
}

void session_send_stats(struct link *link, const struct session_account *a)
{
	struct vm_stats st;
	struct buf text = { 0 };

	vm_stats(a->vm, &st);
	vm_stats_format(&st, &text);
	vm_stats_format_vcpus(a->vm, a->n_vcpus, &text);
	buf_printf(&text,
		   "frames.received %" PRIu64 "\nframes.dropped_bytes %" PRIu64
		   "\nframes.lost %" PRIu64 "\n",
		   a->decoder->n_frames, a->decoder->n_dropped_bytes, a->decoder->n_lost);
	link_send(link, FRAME_VM_STATS, text.data, text.len);
	buf_fini(&text);
}
