/*
 * The attacks of test_hostile.c that are code: on registers, on rings at work, by other vCPUs. Each
 * brings the subject from where the driver stands to where test_hostile.c judges its reaction.
 */
#pragma once

#include "support/subject.h"
#include "virtio/virtio_wire.h"

enum {
	ACKNOWLEDGED = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
	FEATURES_OK = ACKNOWLEDGED | VIRTIO_CONFIG_S_FEATURES_OK,
};
#define INDIRECT      (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define RING_FEATURES (INDIRECT | 1ull << VIRTIO_RING_F_EVENT_IDX)

enum reaction {
	FAILS,    /* NEEDS_RESET, one fault, a configuration interrupt */
	REFUSES,  /* the same without the interrupt: the driver was not up yet */
	IGNORES,  /* goes on, no fault */
	SURVIVES, /* one of these; it depends on time */
};

/* Where the driver stands when the attack begins. */
enum stage { AT_RESET, AT_FEATURES_OK, AT_WORK };

struct attack {
	const char *name;
	void (*play)(struct subject *s);
	enum stage stage;
	enum reaction reaction;
	unsigned with, without; /* only devices with these traits, without those */
};

extern const struct attack attacks[];
extern const size_t n_attacks;

/* Notifies every queue, whatever the device asked for. */
void attack_kick_all(struct subject *s);
