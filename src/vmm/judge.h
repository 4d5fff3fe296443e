/*
 * The verdict on a VM: what its streams and its end say, by one set of rules (DESIGN.md, section
 * 9). Pure: no I/O, no clock. Fed on the I/O thread.
 */
#pragma once

#include "abi/frame.h"
#include "vmm/vm.h"

enum { JUDGE_TEXT_MAX = 4096, JUDGE_LINE_MAX = 512, JUDGE_KEEP_LINES = 24 };

/* Why the VM process itself ended the VM; the guest had no say. */
enum judge_limit {
	JUDGE_NO_LIMIT,
	JUDGE_TIMEOUT,
	JUDGE_BOOT_TIMEOUT,
	JUDGE_COMMAND_TIMEOUT, /* counted from the frame that the command starts */
	JUDGE_PANIC_GRACE,
	JUDGE_INTERRUPTED
};

struct judge {
	/* The line being collected from each serial port. */
	char line[2][JUDGE_LINE_MAX];
	size_t line_len[2];
	/* First cause first: the line that gave the outcome, then what followed it. */
	char why[JUDGE_TEXT_MAX];
	size_t why_len;
	uint32_t n_why_lines;
	bool panic;
	bool oops;
	bool stall;
	bool ejected; /* the kernel took a BPF scheduler out, for an error of it */
	bool has_exit;
	bool is_exit_text; /* it came over COM2 */
	struct frame_exit exit;
	char init_error[512];
	uint32_t last_phase;
	enum judge_limit limit;
	uint64_t limit_ns; /* how long it was */
	bool bare;         /* no Linux in it: powering off is success */
};

void judge_init(struct judge *j, bool bare);
/* Bytes of a serial console: @port 0 is COM1 (kernel messages), 1 is COM2 (fallback sentinels). */
void judge_serial(struct judge *j, unsigned port, const uint8_t *data, size_t n);
void judge_phase(struct judge *j, uint32_t phase);
void judge_exit(struct judge *j, const struct frame_exit *exit);
/* One of the time limits ended the VM. */
static inline bool judge_is_out_of_time(const struct judge *j)
{
	return j->limit == JUDGE_TIMEOUT || j->limit == JUDGE_BOOT_TIMEOUT ||
	       j->limit == JUDGE_COMMAND_TIMEOUT;
}
void judge_init_error(struct judge *j, const uint8_t *text, size_t n);

/*
 * The verdict, and its reason as text (one line first, details after it). @end_text is
 * vm_config.on_end's.
 */
void judge_decide(const struct judge *j, enum vm_end end, const char *end_text,
		  struct frame_outcome *ret, char why[static JUDGE_TEXT_MAX]);
