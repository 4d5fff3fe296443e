/* What the head of a core dump says: which signal, where. */
#pragma once

#include <sys/types.h>

struct core {
	int signal;
	int signal_code; /* si_code */
	bool has_fault_addr;
	uint64_t fault_addr;
	struct core_regs { /* of the thread that died */
		uint64_t ip;
		uint64_t sp;
		uint64_t fp;
	} regs;
};

enum {
	CORE_NOTES_MAX = 256 * 1024, /* the dying thread's notes come first; more is not read */
};

/*
 * Parses the note segment of a core (the first @n bytes of it are enough). False when it has no
 * register note. Any bytes are safe.
 */
bool core_parse_notes(const uint8_t *notes, size_t n, struct core *ret);
/*
 * Reads a core from a stream as far as its notes. False: not an ELF core of this architecture, or
 * it ends too early.
 */
bool core_read(int fd, struct core *ret);
