/*
 * Each type of device with the least of a host behind it, for tests that do the same to all of them.
 * A new type is a file subject_<name>.c and a row of subject_kinds.
 *
 * A subject lives through two kinds of drivers in turn, with a reset between them: one that attacks
 * (subject_attack: s->driver, small queues, rings to write over), and one that plays by the rules
 * (boot, then use any number of times). Memory is that of hostile_rings.h.
 */
#pragma once

#include "support/hostile_rings.h"
#include "support/rig.h"
#include "virtio/virtio_dev.h"

enum { SUBJECT_ARENA = 1 << 20 }; /* of the good driver; the attacker's is below */

struct subject;

enum {
	SUBJECT_HOLDS_CHAINS = 1u << 0, /* has several chains of one queue in flight */
	SUBJECT_HAS_HEADERS = 1u << 1,  /* what comes on output_queue begins with a header */
};

struct subject_kind {
	const char *name;
	uint32_t n_queues;
	uint32_t output_queue; /* one whose chains a kick brings to the host */
	unsigned traits;       /* SUBJECT_* */
	/* Makes the device and what it is connected to, on s->rig.reactor. */
	struct virtio_dev *(*open)(struct subject *s);
	void (*close)(struct subject *s);
	/* On a reset device. */
	void (*boot)(struct subject *s);
	/* Once booted: bytes both ways, each checked. */
	void (*use)(struct subject *s);
	/* For s->driver, up: makes the device look at @q_idx, where a kick alone does not. */
	void (*provoke)(struct subject *s, uint32_t q_idx);
	/* For s->driver, up: fills queues with good I/O, in flight if possible, and kicks. */
	void (*load)(struct subject *s);
};

extern const struct subject_kind *const subject_kinds[];
extern const size_t n_subject_kinds;

extern const struct subject_kind subject_blk, subject_console, subject_net; /* subject_<name>.c */

struct subject {
	const struct subject_kind *kind;
	struct rig rig;
	struct virtio_dev *dev;
	struct fake_driver driver; /* the attacker's */
	void *host;                /* the kind's */
};

void subject_open(struct subject *s, const struct subject_kind *kind, enum reactor_backend backend);
/* On the reactor of @other, which is closed later. */
void subject_open_beside(struct subject *s, const struct subject_kind *kind,
			 const struct subject *other);
void subject_close(struct subject *s);
/* From a reset device: every queue of the attacker, up to DRIVER_OK. */
void subject_attack(struct subject *s, uint64_t features);
/* The attacker's queue @q_idx: a kick, whatever the device asked for, and kind->provoke. */
void subject_kick(struct subject *s, uint32_t q_idx);
/* Ends any life: reset, and a good driver with its I/O. */
void subject_recover(struct subject *s);
