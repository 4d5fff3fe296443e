/*
 * What the reactor's tests share. Each executable runs its whole group on the backend named by its
 * first argument ("uring" or "epoll"); 77 (skipped) where the host refuses io_uring. Setup makes a
 * reactor; teardown frees it, which asserts that nothing is armed, and checks that no descriptor
 * stayed open.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "reactor/reactor.h"

struct fixture {
	struct reactor *r;
	int n_fds; /* open before the reactor was made */
};

/* An op and what its callbacks said. */
struct probe {
	struct reactor_op op;
	struct reactor *r;
	int n_events; /* callbacks with more */
	int n_finals;
	int events; /* all bits of all events */
	int res;    /* of the last final callback */
	int turn;   /* value of probe_clock in the last callback */
};

/* Counts up with each callback of any probe: tells order. */
extern int probe_clock;

void on_probe(struct reactor_op *op, int res, bool more);

int fixture_setup(void **state);
int fixture_setup_tiny(void **state); /* one submission entry */
int fixture_teardown(void **state);

/* The chosen backend, and a reactor of it. */
enum reactor_backend fixture_backend(void);
struct reactor *make_reactor(unsigned entries);

/* Runs turns until *n reaches @want; fails the test after ten seconds. */
void turns_until(struct reactor *r, const int *n, int want);
/* Cancels @p and runs until its final callback. */
void finish_probe(struct reactor *r, struct probe *p);

int make_eventfd(uint64_t count);
void ring_eventfd(int fd);
int count_fds(void);

/* Runs @fn in a child process; its wait status. What it prints on stderr is dropped. */
int run_in_child(void (*fn)(void *arg), void *arg);

int fixture_main(int argc, char **argv, const char *name, const struct CMUnitTest *tests, size_t n);
