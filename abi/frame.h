/*
 * The frame protocol that guest and host, and VM process and runner, speak. No libc beyond
 * memcpy/memset/memmove: the guest's PID 1, the host and bare-metal micro-guests link the same
 * code.
 *
 * A frame is a 32-byte header, then `length` bytes of payload, little-endian, no padding:
 *
 *	 0  u32 magic        "KTS1"
 *	 4  u16 version      FRAME_VERSION
 *	 6  u16 type         enum frame_type
 *	 8  u64 sequence     counts up from 0 per direction and stream
 *	16  u32 length       payload bytes, at most FRAME_PAYLOAD_MAX
 *	20  u32 payload_crc  CRC-32 (IEEE 802.3) of the payload
 *	24  u32 flags        0; receivers ignore unknown bits
 *	28  u32 header_crc   CRC-32 of bytes 0..27
 *
 * A header that fails any check is not trusted for its length: the decoder moves on one byte at a
 * time to the next good header and reports the bytes it dropped. A good header with a damaged
 * payload costs the frame; frames that followed a writer's death or a lost chunk, and so lie inside
 * the bytes it claims, are still found (frame_decoder.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_VERSION = 1,
	FRAME_HEADER_SIZE = 32,
	FRAME_PAYLOAD_MAX = 16 * 1024 * 1024,
};
#define FRAME_MAGIC 0x3153544bu /* "KTS1" */

enum frame_type {
	/* Guest to host: the test's own stream. */
	FRAME_SCENARIO_START = 1, /* test_protocol.h */
	FRAME_SCENARIO_END = 2,   /* test_protocol.h */
	FRAME_TEST_RESULT = 3,    /* test_protocol.h */
	FRAME_EXIT = 4,           /* struct frame_exit; the host answers FRAME_EXIT_ACK */
	FRAME_STIMULUS = 5,
	FRAME_SCHED_EXIT = 6,
	FRAME_PROFRAW = 7,
	FRAME_PAYLOAD_METRICS = 8, /* test_protocol.h */
	FRAME_RAW_PAYLOAD_OUTPUT = 9,
	/* Guest to host: what every run has. */
	FRAME_STDOUT = 16,
	FRAME_STDERR = 17,
	FRAME_PHASE = 18,      /* struct frame_phase */
	FRAME_KERNEL_LOG = 19, /* text lines of /dev/kmsg, as printed: "[    0.123456] text\n" */
	/* Text: a program of the test died by a signal: what, where, backtrace */
	FRAME_CRASH = 20,
	FRAME_INIT_ERROR = 21, /* text: the step of PID 1 that failed, and why */
	/* Host to guest. */
	FRAME_EXIT_ACK = 32,
	FRAME_STDIN = 33,    /* bytes for the command; an empty one is the end of file */
	FRAME_SHUTDOWN = 34, /* stop the command (SIGTERM, then SIGKILL) and end as usual */
	/* VM process to runner, beside the guest's frames that it passes on. */
	FRAME_VM_PHASE = 48,   /* struct frame_phase, host clock */
	FRAME_VM_OUTCOME = 49, /* struct frame_outcome, then text; the last frame of a VM */
	FRAME_VM_SERIAL = 50,  /* bytes of COM1 */
	FRAME_VM_TTY = 51,     /* bytes of hvc0 */
	/* Text: one line for the user ("frames damaged: 12 bytes dropped") */
	FRAME_VM_NOTE = 52,
	FRAME_VM_STATS = 53, /* text: "key value" lines */
	FRAME_VM_COM2 = 54,  /* bytes of COM2 */
	/* struct frame_started: every vCPU's thread is there. With `held` none enters before FRAME_VM_GO */
	FRAME_VM_STARTED = 55,
	/* Runner to VM process. */
	FRAME_VM_STOP = 64,
	FRAME_VM_TTY_INPUT = 65,
	FRAME_VM_TTY_SIZE = 66, /* struct frame_tty_size */
	FRAME_VM_GO = 67,       /* the vCPUs may run */
	FRAME_VM_CONFIG = 68,   /* the first one, to a VM process that was started anew */
};

/*
 * Lifecycle phases, in order; FRAME_PHASE carries those of the guest, FRAME_VM_PHASE those of the
 * host.
 */
enum frame_phase_id {
	PHASE_START = 0,         /* the ktstr process began */
	PHASE_IMAGE_READY = 1,   /* kernel and initramfs found, built or taken from the cache */
	PHASE_VM_PROCESS = 2,    /* the VM process runs */
	PHASE_VM_LOADED = 4,     /* the VM exists; kernel, initramfs, tables are in its memory */
	PHASE_VCPU_RUN = 5,      /* first KVM_RUN */
	PHASE_INIT = 16,         /* PID 1 runs */
	PHASE_MODULES = 17,      /* modules loaded */
	PHASE_PORTS = 18,        /* frame channel open (the first phase that can be reported) */
	PHASE_COMMAND = 19,      /* the command was started */
	PHASE_COMMAND_EXIT = 20, /* the command ended */
	PHASE_POWER_OFF = 21,    /* PID 1 powers off */
	PHASE_VM_END = 32,       /* the VM stopped */
	PHASE_VERDICT = 33,      /* outcome judged and sent */
};
const char *frame_phase_name(uint32_t phase); /* "init", ...; "?" if unknown */
const char *frame_type_name(uint16_t type);   /* "exit", ...; NULL if unknown */

struct frame_phase {
	uint32_t phase;
	uint32_t reserved;
	uint64_t time_ns; /* guest: CLOCK_BOOTTIME; host: CLOCK_MONOTONIC */
};

enum frame_exit_kind {
	EXIT_STATUS = 0,    /* value: exit status 0..255 */
	EXIT_SIGNAL = 1,    /* value: signal number */
	EXIT_NOT_FOUND = 2, /* value: errno; the command could not be executed (127) */
	EXIT_NOT_EXEC = 3,  /* value: errno; found but not executable (126) */
	EXIT_INIT = 4,      /* PID 1 failed before the command: FRAME_INIT_ERROR says why */
};
struct frame_exit {
	uint32_t kind;
	int32_t value;
};

struct frame_tty_size {
	uint16_t rows;
	uint16_t cols;
};

/* What of a performance run was to be had on this host. */
enum frame_applied {
	APPLIED_PINS = 1u << 0,      /* one CPU for each vCPU thread, one for the I/O thread */
	APPLIED_FIFO = 1u << 1,      /* they run as SCHED_FIFO */
	APPLIED_BOUND = 1u << 2,     /* memory of each guest node comes from its host nodes */
	APPLIED_HUGEPAGES = 1u << 3, /* and is in pages of 2 MiB; else */
	APPLIED_LOCKED = 1u << 4,    /* it stays in RAM once touched */
	APPLIED_PAUSE = 1u << 5,     /* a guest that spins does not exit */
	APPLIED_HLT = 1u << 6,       /* nor one that halts */
	APPLIED_CLOCK = 1u << 7,     /* its clock is the TSC */
};
struct frame_started {
	uint64_t memory_base; /* in the VM process's address space */
	uint64_t memory_len;
	uint32_t applied; /* enum frame_applied */
	uint32_t held;    /* 1: FRAME_VM_GO is waited for */
};

/* DESIGN.md, section 9. */
enum outcome {
	OUTCOME_PASS = 0,
	OUTCOME_FAIL = 1,
	OUTCOME_SKIP = 2,
	OUTCOME_INCONCLUSIVE = 3,
	OUTCOME_PANIC = 4,
	OUTCOME_STALL = 5,
	OUTCOME_TIMEOUT = 6,
	OUTCOME_BOOT = 7,
	OUTCOME_INFRA = 8,
};
const char *outcome_name(uint32_t outcome); /* "PASS", ...; "?" if unknown */

struct frame_outcome {
	uint32_t outcome;
	uint32_t last_phase;    /* enum frame_phase_id reached */
	struct frame_exit exit; /* valid when has_exit */
	uint32_t has_exit;
	uint32_t is_usage; /* 1: INFRA because of what the user asked for (exit status 64) */
};

struct frame_header {
	uint16_t type;
	uint32_t flags;
	uint64_t sequence;
	uint32_t length;
	uint32_t payload_crc;
};

uint32_t frame_crc32(uint32_t crc, const void *data, size_t n); /* start with 0; chains */
/* Writes the 32 bytes of @h. */
void frame_header_encode(const struct frame_header *h, uint8_t out[FRAME_HEADER_SIZE]);
/*
 * The same for a writer that has the payload at hand: fills in length and checksum. False (and @out
 * untouched) when @length is above FRAME_PAYLOAD_MAX. A payload in pieces: chain frame_crc32 and
 * use frame_header_encode.
 */
bool frame_encode_header_for(uint16_t type, uint64_t sequence, const void *payload, size_t length,
			     uint8_t out[FRAME_HEADER_SIZE]);
/* False when magic, version, length or checksum is wrong. */
bool frame_header_decode(const uint8_t in[FRAME_HEADER_SIZE], struct frame_header *ret);

/*
 * Streaming decoder over a caller's storage: bytes in by any chunks, whole frames out. It never
 * allocates by itself: the storage grows through @grow up to header + FRAME_PAYLOAD_MAX, only after
 * a header with a valid checksum asked for it.
 *
 *	while (n) {
 *		size_t took = frame_decoder_feed(&d, p, n);      // buffers what it can
 *		p += took, n -= took;
 *		while (frame_decoder_next(&d, &frame)) ...       // payload valid until the next
 *	}
 */
struct frame {
	struct frame_header header;
	const uint8_t *payload;
};

struct frame_decoder {
	uint8_t *storage;
	size_t capacity;
	size_t begin, end; /* unread bytes */
	/*
	 * Returns storage of at least @need bytes with the old content kept (realloc), or NULL: the
	 * frame is dropped.
	 */
	uint8_t *(*grow)(void *ctx, uint8_t *storage, size_t need);
	void *ctx;
	uint64_t n_frames;
	uint64_t n_dropped_bytes; /* noise and damaged frames */
	uint64_t n_resyncs;       /* times a good frame followed dropped bytes */
	uint64_t n_lost;          /* gaps in sequence numbers, in frames */
	uint64_t next_sequence;
	bool in_sync;
	bool finished;
	size_t n_skip_bytes;    /* still to come of a frame that storage was refused for */
	size_t n_suspect_bytes; /* from begin: extent of a damaged frame being searched */
	uint32_t rescan_credit; /* bytes of checksum work that damaged frames may still cost */
};

enum { FRAME_DECODER_STORAGE_MIN = 4096 };

/*
 * @storage of @capacity >= FRAME_DECODER_STORAGE_MIN bytes is the caller's (and after a grow,
 * d->storage is); @grow may be NULL (frames that do not fit are dropped).
 */
void frame_decoder_init(struct frame_decoder *d, uint8_t *storage, size_t capacity,
			uint8_t *(*grow)(void *, uint8_t *, size_t), void *ctx);
/* Returns how many bytes it took: at least one of @n > 0 once frame_decoder_next said false. */
size_t frame_decoder_feed(struct frame_decoder *d, const void *data, size_t n);
/* False: no whole frame is buffered. Linear in the bytes fed, whatever they are. */
bool frame_decoder_next(struct frame_decoder *d, struct frame *ret);
/*
 * The stream has ended, nothing is fed any more. Bytes that are no frame count as dropped. Frames
 * may have been waiting behind a header that promised more than came: call frame_decoder_next until
 * it says false once more.
 */
void frame_decoder_finish(struct frame_decoder *d);
