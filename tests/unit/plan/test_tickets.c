/* Tickets: their text, their order, and those of the dead. */
#include "plan/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hosts.h"
#include "scratch_dir.h"

static void test_text_of_a_ticket_gives_the_request_back(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct host *h = host_regular(2, 4, 4, 2, true);
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 3, 5, 2, 2);
	struct queue_entry e;

	r.guest.node_llcs[2] = 0;
	r.guest.n_llcs = 4;
	r.budget = PLAN_BUDGET_AUTHOR;
	r.spread = true;
	r.n_cpus = 7;
	r.offset = 0xdeadbeef;
	request_allow(&r, "0-3,60-63");
	ticket_format(&r, UINT64_C(123456789012345), &text);
	assert_int_equal(ticket_parse(buf_str(&text), &e), 0);
	assert_memory_equal(&e.request.guest, &r.guest, sizeof(r.guest));
	assert_true(id_set_is_equal(&e.request.allowed, &r.allowed));
	assert_int_equal(e.request.tier, r.tier);
	assert_int_equal(e.request.budget, r.budget);
	assert_true(e.request.spread);
	assert_int_equal(e.request.n_cpus, 7);
	assert_int_equal(e.request.offset, 0xdeadbeef);
	assert_true(e.arrived_ns == UINT64_C(123456789012345));
	(void)host_free(h);
}

static void test_what_is_no_ticket_is_refused(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		"hello",
		"ktstr-ticket 2 1 0 0 0 1 0 1 1 1 0-3\n",
		"ktstr-ticket 1 1 0 0 0 1 0 1 1 1\n",
		"ktstr-ticket 1 1 3 0 0 1 0 1 1 1 0-3\n",
		"ktstr-ticket 1 1 0 9 0 1 0 1 1 1 0-3\n",
		"ktstr-ticket 1 1 0 0 0 1 0 0 1 1 0-3\n",
		"ktstr-ticket 1 1 0 0 0 1 0 1 1 0 0-3\n",
		"ktstr-ticket 1 1 0 0 0 1 0 1 1 1,,2 0-3\n",
		"ktstr-ticket 1 1 0 0 0 1 0 4000000000 4000000000 1 0-3\n",
		"ktstr-ticket 1 1 0 0 0 1 0 1 1 1 0-9999\n",
	};
	struct queue_entry e;

	assert_int_equal(ticket_parse("ktstr-ticket 1 1 0 0 0 1 0 1 1 1 0-3\n", &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ticket_parse(bad[i], &e), -EINVAL);
}

struct fixture {
	char *path;
	struct lock_dir dir;
	struct host *h;
	struct plan_request r;
};

static void setup(struct fixture *f)
{
	struct error err;

	f->path = scratch_dir_new();
	f->h = host_regular(1, 2, 2, 1, false);
	f->r = request_of(f->h, PLAN_DEFAULT, 1, 1, 1, 1);
	assert_int_equal(lock_dir_open(&f->dir, f->path, true, &err), 0);
}

static void teardown(struct fixture *f)
{
	lock_dir_close(&f->dir);
	scratch_dir_free(f->path);
	f->h = host_free(f->h);
}

static size_t n_earlier(struct fixture *f, struct tickets *t)
{
	struct error err;

	if (tickets_read(t, &f->dir, &err) < 0)
		fail_msg("%s", err.text);
	return t->n_earlier;
}

static void take(struct fixture *f, struct tickets *t, uint64_t now_ns)
{
	struct error err;

	if (tickets_take(t, &f->dir, &f->r, now_ns, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_line_is_in_order_of_arrival(void **state UNUSED)
{
	struct tickets t[4] = { TICKETS_INIT, TICKETS_INIT, TICKETS_INIT, TICKETS_INIT };
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < 3; i++)
		take(&f, &t[i], 100 + i);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(n_earlier(&f, &t[i]), i);
	assert_true(t[3].earlier[0]->arrived_ns == 100 && t[3].earlier[2]->arrived_ns == 102);
	tickets_leave(&t[1]);
	assert_int_equal(n_earlier(&f, &t[2]), 1);
	assert_int_equal(n_earlier(&f, &t[3]), 2);
	assert_int_equal(n_earlier(&f, &t[1]), 2); /* whoever left sees all the others */
	take(&f, &t[1], 103);                      /* and comes behind them */
	assert_int_equal(n_earlier(&f, &t[1]), 2);
	assert_int_equal(n_earlier(&f, &t[2]), 1);
	for (size_t i = 0; i < 4; i++)
		tickets_fini(&t[i]);
	teardown(&f);
}

static void test_dead_tickets_and_other_files_count_for_nothing(void **state UNUSED)
{
	static const char text[] = "ktstr-ticket 1 1 0 0 0 1 0 1 1 1 0-3\n";
	struct tickets own = TICKETS_INIT;
	struct tickets other = TICKETS_INIT;
	struct fixture f;

	setup(&f);
	assert_int_equal(n_earlier(&f, &own), 0);
	assert_int_equal(own.dir_fd, -1); /* a look makes no folder */
	take(&f, &own, 1);
	tickets_leave(&own);
	int fd = openat(own.dir_fd, "0000000001", O_CREAT | O_RDWR, 0644); /* nobody locks it */
	assert_int_equal(fd_write_all(fd, text, sizeof(text) - 1), 0);
	(void)fd_close(fd);
	(void)fd_close(openat(own.dir_fd, "readme", O_CREAT | O_RDWR, 0644));
	assert_int_equal(symlinkat("/etc/passwd", own.dir_fd, "0000000003"), 0);
	take(&f, &other, 5);
	assert_int_equal(n_earlier(&f, &own), 1);
	assert_true(own.earlier[0]->arrived_ns == 5);
	assert_int_equal(faccessat(own.dir_fd, "0000000001", F_OK, 0), -1); /* removed */
	/* Dies while others know it. */
	(void)close(other.own_fd);
	other.own_fd = -1;
	assert_int_equal(n_earlier(&f, &own), 0);
	tickets_fini(&own);
	tickets_fini(&other);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_of_a_ticket_gives_the_request_back),
		cmocka_unit_test(test_what_is_no_ticket_is_refused),
		cmocka_unit_test(test_line_is_in_order_of_arrival),
		cmocka_unit_test(test_dead_tickets_and_other_files_count_for_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
