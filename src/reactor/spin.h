/*
 * Whether to look around for a moment before sleeping. A wake-up costs some microseconds on both
 * sides, and the guest's kick an exit; looking costs the CPU time of the wait. So it pays where waits
 * are short, and what the last ones of a kind took tells that best.
 */
#pragma once

struct spin {
	bool is_off;
	uint8_t score;
};

/* Off where this thread has one CPU only: it would keep from it whom it waits for. */
void spin_init(struct spin *s);
/* How long to look before the next wait; 0: not at all. */
uint64_t spin_ns(const struct spin *s);
/* What became of a look. */
void spin_learn_look(struct spin *s, bool found);
/* A wait without a look took @ns. */
void spin_learn_sleep(struct spin *s, uint64_t ns);
