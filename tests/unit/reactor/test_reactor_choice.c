/*
 * Which backend a host gets. A host that refuses a system call is made of a seccomp filter in a
 * child process, as container runtimes make it.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* From here on @nr fails with @code in this process. */
static void forbid(unsigned nr, unsigned code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(2);
}

/* In the children an assertion of cmocka would unwind into the parent's test: check and exit. */
static void check(bool cond, int line)
{
	if (!cond)
		_exit(line % 100 + 100);
}
#define CHECK(cond) check((cond), __LINE__)

static void count_final(struct reactor_op *op, int res, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	p->n_finals += !more;
	p->res = res;
}

static void turn_to_final(struct reactor *r, struct probe *p)
{
	for (int i = 0; i < 1000 && p->n_finals == 0; i++)
		reactor_turn(r, 10 * NS_PER_MS);
	CHECK(p->n_finals == 1);
}

struct refusal {
	unsigned code;
	const char *text; /* in the reason */
};

static void auto_under_refusal(void *arg)
{
	const struct refusal *refusal = arg;
	struct reactor_config config = { 0 };
	struct reactor *r = NULL;
	struct error err = { 0 };
	struct probe p = { 0 };

	forbid(__NR_io_uring_setup, refusal->code);
	CHECK(reactor_new(&config, &r, &err) == 0);
	CHECK(err.code == 0);
	CHECK(strcmp(reactor_backend_name(r), "epoll") == 0);
	CHECK(reactor_fallback_reason(r) != NULL);
	CHECK(strstr(reactor_fallback_reason(r), "io_uring_setup") != NULL);
	CHECK(strstr(reactor_fallback_reason(r), refusal->text) != NULL);
	reactor_timer(r, &p.op, 0, count_final);
	turn_to_final(r, &p);
	reactor_free(r);
}

static void forced_uring_under_refusal(void *arg)
{
	const struct refusal *refusal = arg;
	struct reactor_config config = { .backend = REACTOR_URING };
	struct reactor *r = NULL;
	struct error err = { 0 };
	int n_fds = count_fds();

	forbid(__NR_io_uring_setup, refusal->code);
	CHECK(reactor_new(&config, &r, &err) == -(int)refusal->code);
	CHECK(r == NULL);
	CHECK(strstr(err.text, "reactor: io_uring_setup") != NULL);
	CHECK(strstr(err.text, refusal->text) != NULL);
	CHECK(count_fds() == n_fds);
}

static void test_host_that_refuses_io_uring_falls_back_with_the_reason(void **state)
{
	static struct refusal refusals[] = {
		{ EPERM, "Operation not permitted" }, { ENOSYS, "seccomp filter" },
		{ EACCES, "security policy" },        { ENOMEM, "Cannot allocate memory" },
		{ EINVAL, "Invalid argument" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		assert_int_equal(run_in_child(auto_under_refusal, &refusals[i]), 0);
		assert_int_equal(run_in_child(forced_uring_under_refusal, &refusals[i]), 0);
	}
}

static void forced_epoll(void *arg)
{
	struct reactor_config config = { .backend = REACTOR_EPOLL };
	struct reactor *r = NULL;
	struct error err = { 0 };

	CHECK(reactor_new(&config, &r, &err) == 0);
	CHECK(strcmp(reactor_backend_name(r), "epoll") == 0);
	CHECK(reactor_fallback_reason(r) == NULL); /* it was asked for */
	reactor_free(r);
}

static void test_forced_epoll_has_no_fallback_reason(void **state)
{
	assert_int_equal(run_in_child(forced_epoll, NULL), 0);
}

static void timer_without_epoll_pwait2(void *arg)
{
	struct reactor_config config = { .backend = REACTOR_EPOLL };
	struct reactor *r = NULL;
	struct error err = { 0 };

	forbid(__NR_epoll_pwait2, ENOSYS);
	CHECK(reactor_new(&config, &r, &err) == 0);
	for (int i = 0; i < 5; i++) {
		struct probe p = { 0 };
		uint64_t deadline_ns = clock_now_ns() + 1500 * NS_PER_US;
		reactor_timer(r, &p.op, deadline_ns, count_final);
		reactor_turn(r, UINT64_MAX); /* one turn: rounded up, not down */
		CHECK(p.n_finals == 1 && clock_now_ns() >= deadline_ns);
	}
	reactor_turn(r, 0);
	reactor_free(r);
}

static void test_epoll_without_pwait2_keeps_time_in_milliseconds(void **state)
{
	assert_int_equal(run_in_child(timer_without_epoll_pwait2, NULL), 0);
}

static void read_without_threads(void *arg)
{
	struct reactor_config config = { .backend = REACTOR_EPOLL };
	struct reactor *r = NULL;
	struct error err = { 0 };
	struct probe p = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	forbid(__NR_clone3, ENOSYS);
	forbid(__NR_clone, EAGAIN);
	CHECK(fd >= 0 && reactor_new(&config, &r, &err) == 0);
	reactor_readv(r, &p.op, fd, &iov, 1, 0, count_final);
	CHECK(p.n_finals == 0);
	turn_to_final(r, &p);
	CHECK(p.res == -EAGAIN);
	reactor_free(r);
}

static void test_epoll_file_io_where_no_thread_starts_ends_with_the_error(void **state)
{
	assert_int_equal(run_in_child(read_without_threads, NULL), 0);
}

static void test_parse_knows_two_backends_and_nothing(void **state)
{
	enum reactor_backend backend = REACTOR_EPOLL;
	struct error err = { 0 };

	assert_int_equal(reactor_backend_parse(NULL, &backend, &err), 0);
	assert_int_equal(backend, REACTOR_AUTO);
	assert_int_equal(reactor_backend_parse("uring", &backend, &err), 0);
	assert_int_equal(backend, REACTOR_URING);
	assert_int_equal(reactor_backend_parse("epoll", &backend, &err), 0);
	assert_int_equal(backend, REACTOR_EPOLL);
	assert_int_equal(reactor_backend_parse("", &backend, &err), 0);
	assert_int_equal(backend, REACTOR_AUTO);
}

static void test_parse_of_anything_else_is_a_usage_error(void **state)
{
	static const char *const wrong[] = { "io_uring", "URING", "auto", " epoll", "epoll " };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		enum reactor_backend backend = REACTOR_EPOLL;
		struct error err = { 0 };
		assert_int_equal(reactor_backend_parse(wrong[i], &backend, &err), -EINVAL);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_int_equal(backend, REACTOR_EPOLL);
		assert_non_null(strstr(err.text, wrong[i]));
		assert_non_null(strstr(err.text, "KTSTR_REACTOR"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_that_refuses_io_uring_falls_back_with_the_reason),
		cmocka_unit_test(test_forced_epoll_has_no_fallback_reason),
		cmocka_unit_test(test_epoll_without_pwait2_keeps_time_in_milliseconds),
		cmocka_unit_test(test_epoll_file_io_where_no_thread_starts_ends_with_the_error),
		cmocka_unit_test(test_parse_knows_two_backends_and_nothing),
		cmocka_unit_test(test_parse_of_anything_else_is_a_usage_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
