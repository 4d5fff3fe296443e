/*
 * What a reactor looks at before it sleeps: its watches (reactor.h, reactor_watch), whose work is in memory, and for how long it
 * pays to go on looking (spin.h). Private to the reactor, its owner's thread.
 */
#pragma once

#include "reactor/reactor.h"
#include "reactor/reactor_backend.h"
#include "reactor/spin.h"

struct watches {
	struct list list;                  /* of struct reactor_watch */
	struct spin guest_spin, file_spin; /* for the guest alone; for one file operation */
};

void watches_init(struct watches *watches);
/* Sleeps @wait_ns at most, unless the watches have work; they wake us from here on. */
void watches_sleep(struct watches *watches, struct backend *b, uint64_t wait_ns);
/* The same, after a look around where that pays; @n_file_io operations are in flight. */
void watches_wait(struct watches *watches, struct backend *b, size_t n_file_io, uint64_t wait_ns);
/* Runs those whose work was found. */
void watches_run(struct watches *watches);
