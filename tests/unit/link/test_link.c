/* Framed streams over a socketpair (src/link/link.h): both ends on one reactor. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "link/link.h"

struct end {
	struct link *link;
	struct buf received; /* payloads, one after the other */
	unsigned n_frames;
	unsigned n_writable;
	unsigned n_closed;
	int close_err;
	unsigned pause_after; /* pause in the callback of that frame; 0: never */
	bool close_in_callback;
	uint16_t last_type;
};

struct fixture {
	struct reactor *r;
	struct end a, b;
	int b_fd;
};

static void on_frame(void *ctx, const struct frame *f)
{
	struct end *e = ctx;

	buf_append(&e->received, f->payload, f->header.length);
	e->last_type = f->header.type;
	e->n_frames++;
	if (e->pause_after && e->n_frames == e->pause_after)
		link_pause(e->link);
	if (e->close_in_callback)
		e->link = link_close(e->link);
}

static void on_writable(void *ctx)
{
	((struct end *)ctx)->n_writable++;
}

static void on_closed(void *ctx, int err)
{
	struct end *e = ctx;

	e->n_closed++;
	e->close_err = err;
}

static const struct link_ops ops = { on_frame, on_writable, on_closed };

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err;
	int pair[2];

	assert_int_equal(reactor_new(&(struct reactor_config){ 0 }, &f->r, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(link_new(f->r, pair[0], &ops, &f->a, &f->a.link, &err), 0);
	assert_int_equal(link_new(f->r, pair[1], &ops, &f->b, &f->b.link, &err), 0);
	f->b_fd = pair[1];
	*state = f;
	return 0;
}

static void turn(struct fixture *f, unsigned n)
{
	while (n--)
		reactor_turn(f->r, 1000000);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->a.link = link_close(f->a.link);
	f->b.link = link_close(f->b.link);
	turn(f, 3);
	(void)reactor_free(f->r); /* asserts that both links let go */
	buf_fini(&f->a.received);
	buf_fini(&f->b.received);
	free(f);
	return 0;
}

static void test_send_frame_arrives_whole(void **state)
{
	struct fixture *f = *state;

	link_send2(f->a.link, FRAME_STDOUT, "he", 2, "llo", 3);
	turn(f, 3);
	assert_int_equal(f->b.n_frames, 1);
	assert_int_equal(f->b.last_type, FRAME_STDOUT);
	assert_memory_equal(f->b.received.data, "hello", 5);
}

static void test_send_beyond_the_socket_queues_and_arrives_in_order(void **state)
{
	struct fixture *f = *state;
	static uint8_t chunk[100000];
	size_t total = 0;

	for (unsigned i = 0; i < 100; i++) {
		memset(chunk, (int)i, sizeof(chunk));
		link_send(f->a.link, FRAME_STDOUT, chunk, sizeof(chunk));
		total += sizeof(chunk);
	}
	assert_true(link_is_congested(f->a.link));
	for (unsigned i = 0; i < 1000 && f->b.n_frames < 100; i++)
		turn(f, 1);
	assert_int_equal(f->b.received.len, total);
	for (size_t i = 0; i < total; i += sizeof(chunk))
		assert_int_equal(f->b.received.data[i], i / sizeof(chunk));
	assert_int_equal(link_pending(f->a.link), 0);
	assert_true(f->a.n_writable > 0);
	assert_int_equal(link_dropped_bytes(f->b.link), 0);
}

static void test_largest_frame_arrives(void **state)
{
	struct fixture *f = *state;
	uint8_t *big = xcalloc(1, FRAME_PAYLOAD_MAX);

	link_send(f->a.link, FRAME_TEST_RESULT, big, FRAME_PAYLOAD_MAX);
	for (unsigned i = 0; i < 2000 && !f->b.n_frames; i++)
		turn(f, 1);
	assert_int_equal(f->b.received.len, FRAME_PAYLOAD_MAX);
	free(big);
}

static void test_pause_keeps_what_follows_until_resume(void **state)
{
	struct fixture *f = *state;

	f->b.pause_after = 2;
	for (unsigned i = 0; i < 5; i++)
		link_send(f->a.link, FRAME_STDOUT, "x", 1);
	turn(f, 4);
	assert_int_equal(f->b.n_frames, 2);
	link_resume(f->b.link);
	turn(f, 2);
	assert_int_equal(f->b.n_frames, 5);
}

static void test_peer_closed_is_told_once_after_its_last_frame(void **state)
{
	struct fixture *f = *state;

	link_send(f->a.link, FRAME_EXIT, "12345678", 8);
	f->a.link = link_close(f->a.link);
	turn(f, 5);
	assert_int_equal(f->b.n_frames, 1);
	assert_int_equal(f->b.n_closed, 1);
	assert_int_equal(f->b.close_err, 0);
	link_send(f->b.link, FRAME_STDOUT, "lost", 4); /* nobody there: no crash, no signal */
	turn(f, 2);
	assert_int_equal(f->b.n_closed, 1);
}

static void test_close_from_inside_a_callback_is_the_last_word(void **state)
{
	struct fixture *f = *state;

	f->b.close_in_callback = true;
	link_send(f->a.link, FRAME_STDOUT, "1", 1);
	link_send(f->a.link, FRAME_STDOUT, "2", 1);
	turn(f, 4);
	assert_int_equal(f->b.n_frames, 1);
	assert_int_equal(f->b.n_closed, 0);
	assert_int_equal(f->a.n_closed, 1);
}

static void test_damaged_bytes_are_dropped_and_counted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write(f->b_fd, "noise", 5), 5);
	turn(f, 2);
	link_send(f->b.link, FRAME_STDOUT, "ok", 2);
	turn(f, 3);
	assert_int_equal(f->a.n_frames, 1);
	assert_int_equal(link_dropped_bytes(f->a.link), 5);
}

/* A peer that is no link: a bare descriptor, which may go while we still have much to send. */
static int bare_peer(struct fixture *f, struct end *e)
{
	struct error err;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*e = (struct end){ 0 };
	assert_int_equal(link_new(f->r, pair[0], &ops, e, &e->link, &err), 0);
	return pair[1];
}

static void say(int fd, uint64_t sequence, const char *text)
{
	uint8_t header[FRAME_HEADER_SIZE];

	assert_true(frame_encode_header_for(FRAME_STDOUT, sequence, text, strlen(text), header));
	assert_int_equal(fd_write_all(fd, header, sizeof(header)), 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void test_last_words_are_heard_before_a_send_fails(void **state)
{
	struct fixture *f = *state;
	static uint8_t much[1 << 20];
	struct end e;
	int fd = bare_peer(f, &e);

	link_send(e.link, FRAME_STDIN, much, sizeof(much));
	turn(f, 2);
	assert_true(link_pending(e.link) > 0);
	say(fd, 0, "last ");
	say(fd, 1, "words");
	(void)fd_close(fd);
	turn(f, 4);
	assert_int_equal(e.n_frames, 2);
	assert_memory_equal(e.received.data, "last words", 10);
	assert_int_equal(e.n_closed, 1);
	e.link = link_close(e.link);
	buf_fini(&e.received);
}

static void test_close_at_the_last_frame_hears_of_no_end(void **state)
{
	struct fixture *f = *state;
	struct end e;
	int fd = bare_peer(f, &e);

	e.close_in_callback = true;
	say(fd, 0, "last");
	(void)fd_close(fd);
	turn(f, 4);
	assert_int_equal(e.n_frames, 1);
	assert_int_equal(e.n_closed, 0);
	buf_fini(&e.received);
}

/* No descriptor is left for the poll's duplicate: the link ends, and the peer is told. */
static void test_poll_that_cannot_be_armed_ends_the_link_for_both(void **state)
{
	struct end e = { 0 };
	struct reactor *r;
	struct error err;
	struct rlimit old, none;
	int pair[2];
	char byte;

	(void)state;
	assert_int_equal(
	    reactor_new(&(struct reactor_config){ .backend = REACTOR_EPOLL }, &r, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ (rlim_t)pair[1] + 1, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(link_new(r, pair[0], &ops, &e, &e.link, &err), 0);
	reactor_turn(r, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(e.n_closed, 1);
	assert_int_equal(e.close_err, -EMFILE);
	assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
	e.link = link_close(e.link);
	reactor_turn(r, 0);
	reactor_turn(r, 0);
	(void)reactor_free(r);
	(void)fd_close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_send_frame_arrives_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_send_beyond_the_socket_queues_and_arrives_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_largest_frame_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause_keeps_what_follows_until_resume, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_peer_closed_is_told_once_after_its_last_frame,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_from_inside_a_callback_is_the_last_word,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_bytes_are_dropped_and_counted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_last_words_are_heard_before_a_send_fails,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_at_the_last_frame_hears_of_no_end, setup,
						teardown),
		cmocka_unit_test(test_poll_that_cannot_be_armed_ends_the_link_for_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
