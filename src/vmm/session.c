#include "vmm/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "abi/frame.h"
#include "abi/guest_config.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "image/kernel_image.h"
#include "link/link.h"
#include "vmm/io_thread.h"
#include "vmm/judge.h"
#include "vmm/relay.h"
#include "vmm/session_notes.h"

enum {
	DECODER_STORAGE = 64 * 1024,
	/*
	 * hvc0 and the serial ports cannot wait: this much of them may queue for the runner, the
	 * rest is dropped.
	 */
	UNSTOPPABLE_QUEUE_MAX = 1024 * 1024,
	TTY_INPUT_MAX = 64 * 1024,
	TO_GUEST_MAX = 256 * 1024,
	UNREAD_ACKS_MAX = 16,
	/* A panicked guest has panic=-1 and resets itself; one that does not is ended. */
	PANIC_GRACE_S = 3,
};

enum { TIMER_DEADLINE, TIMER_BOOT, TIMER_COMMAND, TIMER_PANIC, N_TIMERS };

struct session;

struct limit_timer {
	struct reactor_op op;
	struct session *session;
	enum judge_limit limit; /* what it means when it passes */
	uint64_t delay_ns;
};

struct session {
	const struct session_config *config;
	struct reactor *reactor;
	struct link *link;
	struct vm *vm;
	struct relay *relay;
	struct judge judge;
	struct frame_decoder decoder;
	uint8_t *decoder_storage;
	struct buf to_guest; /* frames for port 1 that the guest has no buffer for yet */
	uint64_t to_guest_sequence;
	unsigned n_unread_acks; /* answers to EXIT in to_guest, at most */
	struct buf tty_input;
	struct limit_timer timers[N_TIMERS];
	bool frames_stalled; /* port 1 waits for the link */
	bool is_fifo;
	bool has_locks;
	bool vm_ended;
	bool disk_stopped; /* comes last of a VM's end, also without a disk */
	bool verdict_sent;
	bool runner_gone;
	enum vm_end end;
	char end_text[512];
	struct session_counts counts;
};

static void send_phase(struct session *s, enum frame_phase_id phase, uint64_t time_ns)
{
	link_send(s->link, FRAME_VM_PHASE,
		  &(struct frame_phase){ .phase = phase, .time_ns = time_ns },
		  sizeof(struct frame_phase));
}

static void stop_vm(struct session *s, enum judge_limit limit, uint64_t delay_ns)
{
	if (!s->vm || s->vm_ended)
		return;
	if (s->judge.limit == JUDGE_NO_LIMIT) {
		s->judge.limit = limit;
		s->judge.limit_ns = delay_ns;
	}
	vm_stop(s->vm, VM_STOPPED);
}

static void on_timer(struct reactor_op *op, int res, bool more UNUSED)
{
	struct limit_timer *t = container_of(op, struct limit_timer, op);

	if (res == 0)
		stop_vm(t->session, t->limit, t->delay_ns);
}

static void arm_limit(struct session *s, size_t i, uint64_t delay_ns)
{
	if (!delay_ns || !reactor_op_is_idle(&s->timers[i].op))
		return;
	s->timers[i].delay_ns = delay_ns;
	reactor_timer(s->reactor, &s->timers[i].op, clock_now_ns() + delay_ns, on_timer);
}

static void cancel_limit(struct session *s, size_t i)
{
	if (!reactor_op_is_idle(&s->timers[i].op))
		reactor_cancel(s->reactor, &s->timers[i].op);
}

/* The guest's frames */

/* The runner may go on when neither of its two streams into the guest is full. */
static void resume_link(struct session *s)
{
	if (s->tty_input.len < TTY_INPUT_MAX && s->to_guest.len < TO_GUEST_MAX)
		link_resume(s->link);
}

static void flush_to_guest(void *ctx)
{
	struct session *s = ctx;

	if (!s->to_guest.len)
		return;
	size_t n = virtio_console_send(vm_console(s->vm), CONSOLE_PORT_FRAMES, s->to_guest.data,
				       s->to_guest.len);
	buf_consume(&s->to_guest, n);
	if (!s->to_guest.len)
		s->n_unread_acks = 0;
	resume_link(s);
}

static void send_to_guest(struct session *s, enum frame_type type, const void *payload, size_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];

	/* What goes to the guest came in a frame itself, or is empty: it is never too long. */
	bool fits =
	    frame_encode_header_for((uint16_t)type, s->to_guest_sequence++, payload, n, header);
	ASSERT(fits);
	buf_append(&s->to_guest, header, sizeof(header));
	buf_append(&s->to_guest, payload, n);
	flush_to_guest(s);
}

static void on_guest_phase(struct session *s, const struct frame *f)
{
	struct frame_phase phase;

	if (f->header.length != sizeof(phase))
		return;
	memcpy(&phase, f->payload, sizeof(phase));
	judge_phase(&s->judge, phase.phase);
	if (phase.phase == PHASE_COMMAND && !s->vm_ended)
		arm_limit(s, TIMER_COMMAND, s->config->command_timeout_ns);
}

static void on_guest_exit(struct session *s, const struct frame *f)
{
	struct frame_exit exit;

	if (f->header.length != sizeof(exit))
		return;
	memcpy(&exit, f->payload, sizeof(exit));
	judge_exit(&s->judge, &exit);
	/*
	 * Everything before it has been decoded, in order: the guest may go. The answer waits behind
	 * whatever input the guest has not read; a guest that says EXIT again and again without
	 * reading is not answered for ever.
	 */
	if (s->n_unread_acks++ < UNREAD_ACKS_MAX)
		send_to_guest(s, FRAME_EXIT_ACK, NULL, 0);
}

static void on_guest_frame(struct session *s, const struct frame *f)
{
	/*
	 * Types from FRAME_EXIT_ACK on are for hosts to send; a guest that sends one does not reach
	 * the runner.
	 */
	if (f->header.type >= FRAME_EXIT_ACK || !frame_type_name(f->header.type)) {
		s->counts.forged_frames++;
		return;
	}
	cancel_limit(s, TIMER_BOOT);
	if (f->header.type == FRAME_PHASE)
		on_guest_phase(s, f);
	if (f->header.type == FRAME_INIT_ERROR)
		judge_init_error(&s->judge, f->payload, f->header.length);
	link_send(s->link, f->header.type, f->payload, f->header.length);
	if (f->header.type == FRAME_EXIT)
		on_guest_exit(s, f);
}

static size_t frames_output(void *ctx, const uint8_t *data, size_t n)
{
	struct session *s = ctx;
	struct frame frame;
	size_t taken = 0;

	if (s->verdict_sent)
		return n; /* a guest's queues can claim more than a drain looks at: too late for a verdict */
	while (taken < n && (!link_is_congested(s->link) || s->runner_gone)) {
		taken += frame_decoder_feed(&s->decoder, data + taken, n - taken);
		while (frame_decoder_next(&s->decoder, &frame))
			on_guest_frame(s, &frame);
	}
	s->frames_stalled = taken < n;
	return taken;
}

static uint8_t *grow_decoder(void *ctx, uint8_t *storage, size_t need)
{
	struct session *s = ctx;
	uint8_t *bigger = realloc(storage, need);

	if (bigger)
		s->decoder_storage = bigger;
	return bigger;
}

/* Serial ports and hvc0 */

static void send_unstoppable(struct session *s, enum frame_type type, const uint8_t *data, size_t n,
			     uint64_t *dropped)
{
	if (s->verdict_sent)
		return; /* as with frames: the link may be closed */
	if (link_pending(s->link) > UNSTOPPABLE_QUEUE_MAX)
		*dropped += n;
	else
		link_send(s->link, type, data, n);
}

static void on_com1(void *ctx, const uint8_t *data, size_t n)
{
	struct session *s = ctx;
	bool panicked = s->judge.panic;

	send_unstoppable(s, FRAME_VM_SERIAL, data, n, &s->counts.serial_dropped);
	judge_serial(&s->judge, 0, data, n);
	if (s->judge.panic && !panicked && !s->vm_ended)
		arm_limit(s, TIMER_PANIC, PANIC_GRACE_S * NS_PER_S);
}

static void on_com2(void *ctx, const uint8_t *data, size_t n)
{
	struct session *s = ctx;

	send_unstoppable(s, FRAME_VM_COM2, data, n, &s->counts.serial_dropped);
	judge_serial(&s->judge, 1, data, n);
}

static size_t tty_output(void *ctx, const uint8_t *data, size_t n)
{
	struct session *s = ctx;

	send_unstoppable(s, FRAME_VM_TTY, data, n, &s->counts.tty_dropped);
	return n;
}

/*
 * Port 2 when nothing is joined to it: a byte sink, so that a guest that writes there is not stuck.
 */
static size_t discard_output(void *ctx UNUSED, const uint8_t *data UNUSED, size_t n)
{
	return n;
}

static void flush_tty_input(void *ctx)
{
	struct session *s = ctx;

	if (!s->tty_input.len)
		return;
	size_t n = virtio_console_send(vm_console(s->vm), CONSOLE_PORT_TTY, s->tty_input.data,
				       s->tty_input.len);
	buf_consume(&s->tty_input, n);
	resume_link(s);
}

/* The end */

/* The runner closes the link next; that it then exits must not cut the teardown short. */
static void let_runner_go(struct session *s)
{
	if (s->verdict_sent && !link_pending(s->link))
		(void)prctl(PR_SET_PDEATHSIG, 0);
}

/*
 * The runner closes the link when it has the verdict. Waiting for that keeps the teardown, which is
 * milliseconds of kernel work, from delaying it.
 */
static void finish_if_taken(struct session *s)
{
	if (s->verdict_sent && s->runner_gone)
		reactor_stop(s->reactor, 0);
}

static struct session_account account_of(const struct session *s)
{
	return (struct session_account){ .counts = s->counts,
					 .decoder = &s->decoder,
					 .judge = &s->judge,
					 .vm = s->vm,
					 .n_vcpus = topology_n_cpus(&s->config->vm.topology),
					 .end = s->end };
}

static void send_outcome(struct session *s, const struct frame_outcome *outcome, const char *why)
{
	link_send2(s->link, FRAME_VM_OUTCOME, outcome, sizeof(*outcome), why, strlen(why));
	s->verdict_sent = true;
	let_runner_go(s);
	finish_if_taken(s);
}

/*
 * The verdict is due when the VM ended, its last frames have come through and its disk's I/O is
 * over.
 */
static void judge_if_drained(struct session *s)
{
	struct frame_outcome outcome;
	char why[JUDGE_TEXT_MAX];

	if (!s->vm_ended || !s->disk_stopped || s->frames_stalled || s->verdict_sent)
		return;
	/* Whole frames may sit behind a header that promised more than came; EXIT can be one. */
	struct frame frame;
	frame_decoder_finish(&s->decoder);
	while (frame_decoder_next(&s->decoder, &frame))
		on_guest_frame(s, &frame);
	const struct session_account account = account_of(s);
	session_send_notes(s->link, &account);
	session_send_stats(s->link, &account);
	judge_decide(&s->judge, s->end, s->end_text, &outcome, why);
	send_phase(s, PHASE_VERDICT, clock_now_ns());
	send_outcome(s, &outcome, why);
}

static void on_disk_stopped(void *ctx)
{
	struct session *s = ctx;

	s->disk_stopped = true;
	judge_if_drained(s);
}

/* Before the verdict: who runs VMs one after the other need not wait for the teardown of each. */
static void release_locks(struct session *s)
{
	for (size_t i = 0; s->has_locks && i < s->config->n_lock_fds; i++)
		(void)fd_close(s->config->lock_fds[i]);
	s->has_locks = false;
}

static void on_vm_end(void *ctx, enum vm_end end, const char *text)
{
	struct session *s = ctx;

	s->end = end;
	release_locks(s);
	if (vm_first_run_ns(s->vm))
		send_phase(s, PHASE_VCPU_RUN, vm_first_run_ns(s->vm));
	(void)snprintf(s->end_text, sizeof(s->end_text), "%s", text);
	send_phase(s, PHASE_VM_END, clock_now_ns());
	vm_drain(s->vm);
	s->vm_ended = true;
	for (size_t i = 0; i < N_TIMERS; i++)
		cancel_limit(s, i);
	/* What was meant for the guest is of no use now, and must not hide that the runner goes. */
	buf_consume(&s->to_guest, s->to_guest.len);
	buf_consume(&s->tty_input, s->tty_input.len);
	resume_link(s);
	vm_stop_disk(s->vm, on_disk_stopped, s);
}

/* The runner's side */

static void on_tty_size(struct session *s, const struct frame *f)
{
	struct frame_tty_size size;

	if (f->header.length != sizeof(size))
		return;
	memcpy(&size, f->payload, sizeof(size));
	virtio_console_resize(vm_console(s->vm), size.rows, size.cols);
}

static void on_link_frame(void *ctx, const struct frame *f)
{
	struct session *s = ctx;

	if (!s->vm || s->vm_ended)
		return;
	switch (f->header.type) {
	case FRAME_VM_STOP:
		stop_vm(s, JUDGE_INTERRUPTED, 0);
		break;
	case FRAME_VM_GO:
		vm_release(s->vm);
		break;
	case FRAME_VM_TTY_INPUT:
		buf_append(&s->tty_input, f->payload, f->header.length);
		if (s->tty_input.len >= TTY_INPUT_MAX)
			link_pause(s->link);
		flush_tty_input(s);
		break;
	case FRAME_VM_TTY_SIZE:
		on_tty_size(s, f);
		break;
	case FRAME_STDIN:
	case FRAME_SHUTDOWN:
		send_to_guest(s, f->header.type, f->payload, f->header.length);
		if (s->to_guest.len >= TO_GUEST_MAX)
			link_pause(s->link);
		break;
	default:
		break; /* a newer runner's frame: not for us */
	}
}

/* Port 1 goes on where it was stopped; the verdict may be due when that was the last of it. */
static void resume_frames(struct session *s)
{
	if (!s->frames_stalled || !s->vm)
		return;
	s->frames_stalled = false;
	virtio_console_resume(vm_console(s->vm), CONSOLE_PORT_FRAMES);
	/* A resume outputs a turn's worth. What is behind it must be in before the verdict. */
	if (s->vm_ended && !s->frames_stalled)
		vm_drain(s->vm);
	judge_if_drained(s);
}

static void on_link_writable(void *ctx)
{
	struct session *s = ctx;

	resume_frames(s);
	let_runner_go(s);
}

static void on_link_closed(void *ctx, int err UNUSED)
{
	struct session *s = ctx;

	/* Nobody is left to tell: end the VM and go. */
	s->runner_gone = true;
	stop_vm(s, JUDGE_INTERRUPTED, 0);
	resume_frames(s);
	finish_if_taken(s);
}

static const struct link_ops link_callbacks = { on_link_frame, on_link_writable, on_link_closed };

/* Building, running, taking down */

/* The class decides the runner's exit status; it travels in the outcome. */
static void fail_to_build(struct session *s, const struct error *err)
{
	const struct frame_outcome outcome = {
		.outcome = err->class == ERROR_SKIP ? OUTCOME_SKIP : OUTCOME_INFRA,
		.last_phase = PHASE_VM_PROCESS,
		.is_usage = err->class == ERROR_USAGE || err->class == ERROR_UNREPRESENTABLE,
	};

	release_locks(s);
	send_outcome(s, &outcome, err->text);
}

static void on_vm_ready(void *ctx)
{
	struct session *s = ctx;
	const struct placement *p = s->config->vm.placement;
	const struct frame_started started = vm_started(s->vm);

	if (vm_confine_failure(s->vm))
		session_note(s->link, "%s", vm_confine_failure(s->vm));
	/* A performance run takes what there is; its supervisor tells of it (FRAME_VM_STARTED). */
	if (!(p && p->is_performance) && vm_lacks_hugepages(s->vm))
		session_note(s->link,
			     "--hugepages try: the host has no %" PRIu64
			     " free pages of 2 MiB for this VM; it runs on normal ones",
			     s->config->vm.memory_mib * MIB / TOPOLOGY_MEMORY_UNIT);
	link_send(s->link, FRAME_VM_STARTED, &started, sizeof(started));
}

static int build(struct session *s, struct error *err)
{
	struct vm_config config = s->config->vm;

	config.is_fifo = s->is_fifo;
	config.confine = s->config->confine;
	config.com1 = on_com1;
	config.com2 = on_com2;
	config.on_ready = on_vm_ready;
	config.on_end = on_vm_end;
	config.ctx = s;
	config.console = (struct virtio_console_config){
		.names = { NULL, GUEST_PORT_FRAMES, GUEST_PORT_RELAY },
		.ops = { [CONSOLE_PORT_TTY] = { .output = tty_output,
						.input_ready = flush_tty_input },
			 [CONSOLE_PORT_FRAMES] = { .output = frames_output,
						   .input_ready = flush_to_guest,
						   .must_arrive = true },
			 [CONSOLE_PORT_RELAY] = { .output = discard_output } },
		.ctx = { s, s, s },
		.rows = s->config->rows,
		.cols = s->config->cols,
	};
	if (s->config->relay_fd >= 0) {
		if (relay_new(s->reactor, s->config->relay_fd, &s->relay, err) < 0)
			return err->code;
		config.console.ops[CONSOLE_PORT_RELAY] = relay_port_ops;
		config.console.ctx[CONSOLE_PORT_RELAY] = s->relay;
	}
	if (vm_new(&config, s->reactor, &s->vm, err) < 0)
		return err->code;
	if (s->relay)
		relay_set_console(s->relay, vm_console(s->vm));
	send_phase(s, PHASE_VM_LOADED, clock_now_ns());
	return vm_start(s->vm, err);
}

static bool all_idle(const struct session *s)
{
	for (size_t i = 0; i < N_TIMERS; i++)
		if (!reactor_op_is_idle(&s->timers[i].op))
			return false;
	return !s->relay || relay_is_idle(s->relay);
}

static void take_down(struct session *s)
{
	release_locks(s);
	for (size_t i = 0; i < N_TIMERS; i++)
		cancel_limit(s, i);
	if (s->relay)
		relay_stop(s->relay);
	s->link = link_close(s->link);
	s->vm = vm_free(s->vm);
	while (!all_idle(s))
		reactor_turn(s->reactor, UINT64_MAX);
	s->relay = relay_free(s->relay);
	reactor_turn(s->reactor, 0); /* the link's memory goes in a turn of its own */
	s->reactor = reactor_free(s->reactor);
	buf_fini(&s->to_guest);
	buf_fini(&s->tty_input);
	free(s->decoder_storage);
}

static void init(struct session *s, const struct session_config *config)
{
	static const enum judge_limit limits[N_TIMERS] = {
		[TIMER_DEADLINE] = JUDGE_TIMEOUT,
		[TIMER_BOOT] = JUDGE_BOOT_TIMEOUT,
		[TIMER_COMMAND] = JUDGE_COMMAND_TIMEOUT,
		[TIMER_PANIC] = JUDGE_PANIC_GRACE,
	};

	*s = (struct session){ .config = config, .has_locks = config->n_lock_fds > 0 };
	for (size_t i = 0; i < N_TIMERS; i++)
		s->timers[i] = (struct limit_timer){ .session = s, .limit = limits[i] };
	s->decoder_storage = xmalloc(DECODER_STORAGE);
	frame_decoder_init(&s->decoder, s->decoder_storage, DECODER_STORAGE, grow_decoder, s);
	judge_init(&s->judge, !config->vm.kernel->is_linux && !config->has_init);
}

int session_run(struct session_config *config)
{
	struct reactor_config reactor_config = { .backend = config->backend };
	struct session s;
	struct error err, no_place;
	struct id_set worker_cpus;
	uint64_t begin_ns = clock_now_ns();

	init(&s, config);
	/* First of all: what is touched and started from now on is where it belongs. */
	int placed = io_thread_place(config->vm.placement, config->cgroup_fd, &s.is_fifo,
				     &worker_cpus, &no_place);
	if (placed == 0 && !id_set_is_empty(&worker_cpus))
		reactor_config.worker_cpus = &worker_cpus;
	if (reactor_new(&reactor_config, &s.reactor, &err) < 0 ||
	    link_new(s.reactor, config->link_fd, &link_callbacks, &s, &s.link, &err) < 0) {
		s.reactor = reactor_free(s.reactor);
		free(s.decoder_storage);
		return err.code;
	}
	if (reactor_fallback_reason(s.reactor))
		session_note(s.link, "io_uring is not available, using epoll: %s",
			     reactor_fallback_reason(s.reactor));
	send_phase(&s, PHASE_VM_PROCESS, begin_ns);
	if (placed < 0) {
		fail_to_build(&s, &no_place);
	} else if (build(&s, &err) < 0) {
		fail_to_build(&s, &err);
	} else {
		arm_limit(&s, TIMER_DEADLINE, config->timeout_ns);
		if (!s.judge.bare)
			arm_limit(&s, TIMER_BOOT, config->boot_timeout_ns);
	}
	(void)reactor_run(s.reactor); /* ends when the verdict has left, or nobody waits for it */
	take_down(&s);
	return 0;
}
