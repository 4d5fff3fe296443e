/*
 * Frame headers to and from bytes, and the names of types, phases and outcomes. The layouts that
 * travel inside payloads are pinned here: both sides memcpy them.
 */
#include "abi/frame.h"

#include <assert.h>

static_assert(sizeof(struct frame_phase) == 16 && offsetof(struct frame_phase, time_ns) == 8,
	      "frame_phase is wire");
static_assert(sizeof(struct frame_exit) == 8 && offsetof(struct frame_exit, value) == 4,
	      "frame_exit is wire");
static_assert(sizeof(struct frame_tty_size) == 4 && offsetof(struct frame_tty_size, cols) == 2,
	      "frame_tty_size is wire");
static_assert(sizeof(struct frame_outcome) == 24 && offsetof(struct frame_outcome, exit) == 8 &&
		  offsetof(struct frame_outcome, has_exit) == 16,
	      "frame_outcome is wire");

/* Byte offsets of the header's fields (frame.h). */
enum {
	OFF_MAGIC = 0,
	OFF_VERSION = 4,
	OFF_TYPE = 6,
	OFF_SEQUENCE = 8,
	OFF_LENGTH = 16,
	OFF_PAYLOAD_CRC = 20,
	OFF_FLAGS = 24,
	OFF_HEADER_CRC = 28,
};
static_assert(OFF_HEADER_CRC + 4 == FRAME_HEADER_SIZE, "the checksum ends the header");

static void store(uint8_t *p, uint64_t v, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t load(const uint8_t *p, int n)
{
	uint64_t v = 0;
	for (int i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

void frame_header_encode(const struct frame_header *h, uint8_t out[FRAME_HEADER_SIZE])
{
	store(out + OFF_MAGIC, FRAME_MAGIC, 4);
	store(out + OFF_VERSION, FRAME_VERSION, 2);
	store(out + OFF_TYPE, h->type, 2);
	store(out + OFF_SEQUENCE, h->sequence, 8);
	store(out + OFF_LENGTH, h->length, 4);
	store(out + OFF_PAYLOAD_CRC, h->payload_crc, 4);
	store(out + OFF_FLAGS, h->flags, 4);
	store(out + OFF_HEADER_CRC, frame_crc32(0, out, OFF_HEADER_CRC), 4);
}

bool frame_encode_header_for(uint16_t type, uint64_t sequence, const void *payload, size_t length,
			     uint8_t out[FRAME_HEADER_SIZE])
{
	if (length > FRAME_PAYLOAD_MAX)
		return false;
	const struct frame_header h = {
		.type = type,
		.sequence = sequence,
		.length = (uint32_t)length,
		.payload_crc = frame_crc32(0, payload, length),
	};
	frame_header_encode(&h, out);
	return true;
}

bool frame_header_decode(const uint8_t in[FRAME_HEADER_SIZE], struct frame_header *ret)
{
	if (load(in + OFF_MAGIC, 4) != FRAME_MAGIC || load(in + OFF_VERSION, 2) != FRAME_VERSION)
		return false;
	uint32_t length = (uint32_t)load(in + OFF_LENGTH, 4);
	if (length > FRAME_PAYLOAD_MAX)
		return false;
	if (load(in + OFF_HEADER_CRC, 4) != frame_crc32(0, in, OFF_HEADER_CRC))
		return false;
	*ret = (struct frame_header){
		.type = (uint16_t)load(in + OFF_TYPE, 2),
		.flags = (uint32_t)load(in + OFF_FLAGS, 4),
		.sequence = load(in + OFF_SEQUENCE, 8),
		.length = length,
		.payload_crc = (uint32_t)load(in + OFF_PAYLOAD_CRC, 4),
	};
	return true;
}

/* The switches below are over wire values: an unknown one is data, not a bug. */
/* clang-format off */

const char *frame_type_name(uint16_t type)
{
	switch ((enum frame_type)type) {
	case FRAME_SCENARIO_START: return "scenario-start";
	case FRAME_SCENARIO_END: return "scenario-end";
	case FRAME_TEST_RESULT: return "test-result";
	case FRAME_EXIT: return "exit";
	case FRAME_STIMULUS: return "stimulus";
	case FRAME_SCHED_EXIT: return "sched-exit";
	case FRAME_PROFRAW: return "profraw";
	case FRAME_PAYLOAD_METRICS: return "payload-metrics";
	case FRAME_RAW_PAYLOAD_OUTPUT: return "raw-payload-output";
	case FRAME_STDOUT: return "stdout";
	case FRAME_STDERR: return "stderr";
	case FRAME_PHASE: return "phase";
	case FRAME_KERNEL_LOG: return "kernel-log";
	case FRAME_CRASH: return "crash";
	case FRAME_INIT_ERROR: return "init-error";
	case FRAME_EXIT_ACK: return "exit-ack";
	case FRAME_STDIN: return "stdin";
	case FRAME_SHUTDOWN: return "shutdown";
	case FRAME_VM_PHASE: return "vm-phase";
	case FRAME_VM_OUTCOME: return "vm-outcome";
	case FRAME_VM_SERIAL: return "vm-serial";
	case FRAME_VM_TTY: return "vm-tty";
	case FRAME_VM_NOTE: return "vm-note";
	case FRAME_VM_STATS: return "vm-stats";
	case FRAME_VM_COM2: return "vm-com2";
	case FRAME_VM_STARTED: return "vm-started";
	case FRAME_VM_STOP: return "vm-stop";
	case FRAME_VM_CONFIG: return "vm-config";
	case FRAME_VM_TTY_INPUT: return "vm-tty-input";
	case FRAME_VM_TTY_SIZE: return "vm-tty-size";
	case FRAME_VM_GO: return "vm-go";
	}
	return NULL;
}

const char *frame_phase_name(uint32_t phase)
{
	switch ((enum frame_phase_id)phase) {
	case PHASE_START: return "start";
	case PHASE_IMAGE_READY: return "image-ready";
	case PHASE_VM_PROCESS: return "vm-process";
	case PHASE_VM_LOADED: return "vm-loaded";
	case PHASE_VCPU_RUN: return "vcpu-run";
	case PHASE_INIT: return "init";
	case PHASE_MODULES: return "modules";
	case PHASE_PORTS: return "ports";
	case PHASE_COMMAND: return "command";
	case PHASE_COMMAND_EXIT: return "command-exit";
	case PHASE_POWER_OFF: return "power-off";
	case PHASE_VM_END: return "vm-end";
	case PHASE_VERDICT: return "verdict";
	}
	return "?";
}

const char *outcome_name(uint32_t outcome)
{
	switch ((enum outcome)outcome) {
	case OUTCOME_PASS: return "PASS";
	case OUTCOME_FAIL: return "FAIL";
	case OUTCOME_SKIP: return "SKIP";
	case OUTCOME_INCONCLUSIVE: return "INCONCLUSIVE";
	case OUTCOME_PANIC: return "PANIC";
	case OUTCOME_STALL: return "STALL";
	case OUTCOME_TIMEOUT: return "TIMEOUT";
	case OUTCOME_BOOT: return "BOOT";
	case OUTCOME_INFRA: return "INFRA";
	}
	return "?";
}
/* clang-format on */
