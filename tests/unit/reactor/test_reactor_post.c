/* Messages from other threads. The thread sanitizer sees in here what "visible to it" means. */
#include "fixture.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_THREADS = 4, N_MESSAGES = 100000 };

struct note {
	struct reactor_msg msg;
	struct mailbox *box;
	int sender;
	int number; /* plain: published by the post alone */
};

struct mailbox {
	struct reactor *r;
	pthread_t owner;
	int n_received;
	int next[N_THREADS];
	bool out_of_order;
	bool on_wrong_thread;
};

static void on_note(struct reactor_msg *msg)
{
	struct note *note = container_of(msg, struct note, msg);
	struct mailbox *box = note->box;

	box->n_received++;
	box->out_of_order |= box->next[note->sender]++ != note->number;
	box->on_wrong_thread |= !pthread_equal(pthread_self(), box->owner);
	free(note); /* a message is its owner's again in its callback */
}

struct sender {
	pthread_t thread;
	struct mailbox *box;
	int idx;
};

static void *send_notes(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < N_MESSAGES; i++) {
		struct note *note = calloc(1, sizeof(*note));
		if (!note)
			abort();
		note->msg.fn = on_note;
		note->box = s->box;
		note->sender = s->idx;
		note->number = i;
		if (!reactor_post(s->box->r, &note->msg))
			abort();
	}
	return NULL;
}

static void test_messages_of_four_threads_arrive_in_order_on_the_owner(void **state)
{
	struct mailbox box = { .r = ((struct fixture *)*state)->r, .owner = pthread_self() };
	struct sender senders[N_THREADS];

	for (int i = 0; i < N_THREADS; i++) {
		senders[i] = (struct sender){ .box = &box, .idx = i };
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_notes, &senders[i]),
				 0);
	}
	uint64_t end_ns = clock_now_ns() + 60 * NS_PER_S;
	while (box.n_received < N_THREADS * N_MESSAGES && clock_now_ns() < end_ns)
		reactor_turn(box.r, NS_PER_S);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
	assert_int_equal(box.n_received, N_THREADS * N_MESSAGES);
	assert_false(box.out_of_order);
	assert_false(box.on_wrong_thread);
}

/* One message that everybody posts: each callback covers all posts before it. */
struct bell {
	struct reactor_msg msg;
	struct reactor *r;
	_Atomic int n_rung;
	int n_seen;
	int n_callbacks;
};

static void on_bell(struct reactor_msg *msg)
{
	struct bell *b = container_of(msg, struct bell, msg);

	b->n_callbacks++;
	b->n_seen = atomic_load_explicit(&b->n_rung, memory_order_relaxed);
}

static void *ring_bell(void *arg)
{
	struct bell *b = arg;

	for (int i = 0; i < N_MESSAGES; i++) {
		/* Relaxed: the post has to publish it, also where the message was on its way. */
		atomic_fetch_add_explicit(&b->n_rung, 1, memory_order_relaxed);
		(void)reactor_post(b->r, &b->msg); /* false: on its way */
	}
	return NULL;
}

static void test_message_posted_again_and_again_misses_no_post(void **state)
{
	struct bell b = { .r = ((struct fixture *)*state)->r, .msg.fn = on_bell };
	pthread_t threads[N_THREADS];

	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ring_bell, &b), 0);
	turns_until(b.r, &b.n_seen, N_THREADS * N_MESSAGES);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	reactor_turn(b.r, 0);
	assert_int_equal(b.n_seen, N_THREADS * N_MESSAGES);
	assert_true(b.n_callbacks <= N_THREADS * N_MESSAGES);
}

static void test_message_on_its_way_is_not_posted_twice(void **state)
{
	struct bell b = { .r = ((struct fixture *)*state)->r, .msg.fn = on_bell };

	assert_true(reactor_post(b.r, &b.msg));
	assert_false(reactor_post(b.r, &b.msg));
	assert_int_equal(b.n_callbacks, 0);
	reactor_turn(b.r, UINT64_MAX);
	assert_int_equal(b.n_callbacks, 1);
	assert_true(reactor_post(b.r, &b.msg));
	reactor_turn(b.r, UINT64_MAX);
	assert_int_equal(b.n_callbacks, 2);
}

static void on_post_again(struct reactor_msg *msg)
{
	struct bell *b = container_of(msg, struct bell, msg);

	if (++b->n_callbacks < 5)
		assert_true(reactor_post(b->r, msg));
}

static void test_message_posted_in_its_callback_comes_in_the_next_turn(void **state)
{
	struct bell b = { .r = ((struct fixture *)*state)->r, .msg.fn = on_post_again };

	assert_true(reactor_post(b.r, &b.msg));
	for (int i = 1; i <= 5; i++) {
		reactor_turn(b.r, UINT64_MAX);
		assert_int_equal(b.n_callbacks, i);
	}
}

/* The largest count of any eventfd of this process; the reactor's own is never read. */
static unsigned long long eventfd_writes(void)
{
	DIR *dir = opendir("/proc/self/fdinfo");
	unsigned long long max = 0;

	assert_non_null(dir);
	for (struct dirent *d; (d = readdir(dir));) {
		char path[300], line[128];
		unsigned long long count;
		(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", d->d_name);
		FILE *f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "eventfd-count: %llx", &count) == 1 && count > max)
				max = count;
		if (f)
			fclose(f);
	}
	closedir(dir);
	return max;
}

static void test_posts_behind_a_pending_wake_up_make_no_system_call(void **state)
{
	enum { N_BELLS = 1000 };
	struct reactor *r = ((struct fixture *)*state)->r;
	static struct bell bells[N_BELLS];
	unsigned long long before = eventfd_writes();

	for (int i = 0; i < N_BELLS; i++) {
		bells[i] = (struct bell){ .r = r, .msg.fn = on_bell };
		assert_true(reactor_post(r, &bells[i].msg));
	}
	assert_int_equal(eventfd_writes() - before, 1);
	reactor_turn(r, UINT64_MAX);
	for (int i = 0; i < N_BELLS; i++)
		assert_int_equal(bells[i].n_callbacks, 1);
}

static void *ring_later(void *arg)
{
	struct bell *b = arg;

	usleep(20000);
	(void)reactor_post(b->r, &b->msg);
	return NULL;
}

static void test_post_wakes_a_sleeping_turn(void **state)
{
	struct bell b = { .r = ((struct fixture *)*state)->r, .msg.fn = on_bell };
	pthread_t thread;
	uint64_t start_ns = clock_now_ns();

	assert_int_equal(pthread_create(&thread, NULL, ring_later, &b), 0);
	turns_until(b.r, &b.n_callbacks, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(clock_now_ns() - start_ns >= 20 * NS_PER_MS);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages_of_four_threads_arrive_in_order_on_the_owner),
		TEST(test_message_posted_again_and_again_misses_no_post),
		TEST(test_message_on_its_way_is_not_posted_twice),
		TEST(test_message_posted_in_its_callback_comes_in_the_next_turn),
		TEST(test_posts_behind_a_pending_wake_up_make_no_system_call),
		TEST(test_post_wakes_a_sleeping_turn),
	};

	return fixture_main(argc, argv, "reactor messages", tests, ARRAY_SIZE(tests));
}
