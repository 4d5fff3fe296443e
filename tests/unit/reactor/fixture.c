#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_SKIPPED = 77 };

#define LIMIT_NS (10 * NS_PER_S)

int probe_clock;
static enum reactor_backend backend;

void on_probe(struct reactor_op *op, int res, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	p->turn = ++probe_clock;
	if (more) {
		assert_int_equal(op->state, REACTOR_OP_ARMED);
		p->n_events++;
		p->events |= res;
	} else {
		assert_true(reactor_op_is_idle(op));
		p->n_finals++;
		p->res = res;
	}
}

enum reactor_backend fixture_backend(void)
{
	return backend;
}

struct reactor *make_reactor(unsigned entries)
{
	struct reactor_config config = { .backend = backend, .entries = entries };
	struct reactor *r = NULL;
	struct error err = { 0 };

	if (reactor_new(&config, &r, &err) < 0)
		fail_msg("%s", err.text);
	return r;
}

static int setup(void **state, unsigned entries)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->n_fds = count_fds();
	f->r = make_reactor(entries);
	*state = f;
	return 0;
}

int fixture_setup(void **state)
{
	return setup(state, 0);
}

int fixture_setup_tiny(void **state)
{
	return setup(state, 1);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	f->r = reactor_free(f->r);
	assert_int_equal(count_fds(), f->n_fds);
	free(f);
	return 0;
}

void turns_until(struct reactor *r, const int *n, int want)
{
	uint64_t end_ns = clock_now_ns() + LIMIT_NS;

	/* Turns sleep as long as the limit, so that a wake-up that is missing shows. */
	while (*n < want && clock_now_ns() < end_ns)
		reactor_turn(r, LIMIT_NS);
	assert_int_equal(*n, want);
	assert_true(clock_now_ns() < end_ns);
}

void finish_probe(struct reactor *r, struct probe *p)
{
	int n = p->n_finals;

	reactor_cancel(r, &p->op);
	assert_int_equal(p->n_finals, n);
	turns_until(r, &p->n_finals, n + 1);
}

int make_eventfd(uint64_t count)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	if (count)
		assert_int_equal(write(fd, &count, sizeof(count)), sizeof(count));
	return fd;
}

void ring_eventfd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int run_in_child(void (*fn)(void *arg), void *arg)
{
	int status = -1;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		(void)dup2(null, STDERR_FILENO);
		fn(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* 0, or 77 if this host cannot run the chosen backend. */
static int check_backend(void)
{
	struct reactor_config config = { .backend = backend };
	struct reactor *r = NULL;
	struct error err = { 0 };

	if (reactor_new(&config, &r, &err) == 0) {
		reactor_free(r);
		return 0;
	}
	printf("SKIP: %s\n", err.text);
	return backend == REACTOR_URING ? TEST_SKIPPED : 1;
}

int fixture_main(int argc, char **argv, const char *name, const struct CMUnitTest *tests, size_t n)
{
	struct error err = { 0 };

	if (argc != 2 || reactor_backend_parse(argv[1], &backend, &err) < 0 ||
	    backend == REACTOR_AUTO) {
		fprintf(stderr, "usage: %s uring|epoll\n", argv[0]);
		return 1;
	}
	int ret = check_backend();
	if (ret)
		return ret;
	return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}
