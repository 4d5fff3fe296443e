/*
 * Hostile guests against every type of device: each ring of support/hostile_rings.c on each queue, each
 * queue that must not become ready, each attack of hostile_attacks.c. One test for each device and row,
 * on both backends of the reactor.
 *
 * After each: the reaction was the right one, a reset and a good driver make the device work again, and
 * a neighbour on the same reactor noticed nothing.
 */
#include "hostile_attacks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"

static enum reactor_backend backend;

/* The judge. */

static bool is_broken(enum reaction r)
{
	return r == FAILS || r == REFUSES;
}

/* A device that asked for its reset does nothing any more, whatever is kicked. */
static void check_quiet(struct subject *s)
{
	uint16_t before[FAKE_QUEUES_MAX] = { 0 };

	for (uint32_t i = 0; i < s->kind->n_queues; i++)
		before[i] = guest_slice_load16(s->driver.queues[i].used, 2);
	attack_kick_all(s);
	rig_turns(&s->rig, 3);
	for (uint32_t i = 0; i < s->kind->n_queues; i++)
		assert_int_equal(guest_slice_load16(s->driver.queues[i].used, 2), before[i]);
}

static void judge(struct subject *s, enum reaction expected, uint64_t faults_before)
{
	uint64_t end_ns = clock_now_ns() + 10 * NS_PER_S;

	while (is_broken(expected) && !rig_needs_reset(&s->rig)) {
		rig_turns(&s->rig, 1);
		assert_true(clock_now_ns() < end_ns);
	}
	rig_turns(&s->rig, 4);
	if (expected == SURVIVES)
		return;
	uint64_t n_pulses = rig_interrupts(&s->rig);
	uint32_t why = fake_driver_read(&s->driver, VIRTIO_MMIO_INTERRUPT_STATUS);
	assert_int_equal((bool)(why & VIRTIO_MMIO_INT_CONFIG), expected == FAILS);
	if (expected == FAILS) {
		assert_true(n_pulses > 0);
		check_quiet(s);
	}
	assert_int_equal(rig_needs_reset(&s->rig), is_broken(expected));
	assert_int_equal(rig_stats(&s->rig).n_guest_faults - faults_before, is_broken(expected));
}

/* One test. */

struct trial {
	char *name;
	const struct subject_kind *kind, *neighbour;
	const struct hostile_ring *ring; /* one of these three */
	const struct hostile_set_up *set_up;
	const struct attack *attack;
};

static void play_set_up(struct subject *s, const struct hostile_set_up *h, uint32_t q_idx)
{
	uint32_t features = fake_driver_read(&s->driver, VIRTIO_MMIO_STATUS);

	assert_int_equal(features, FEATURES_OK);
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_SEL, q_idx);
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_NUM, h->size);
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)h->desc);
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(h->desc >> 32));
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)h->avail);
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(h->avail >> 32));
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)h->used);
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(h->used >> 32));
	fake_driver_write(&s->driver, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(fake_driver_read(&s->driver, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void bring_to(struct subject *s, enum stage stage, uint64_t features)
{
	rig_reset(&s->rig);
	fake_driver_init(&s->driver, &s->rig.mem, rig_region(&s->rig), GPA(HOSTILE_ARENA));
	if (stage == AT_FEATURES_OK)
		assert_int_equal(fake_driver_negotiate(&s->driver, features), FEATURES_OK);
	else if (stage == AT_WORK)
		subject_attack(s, features);
	(void)rig_interrupts(&s->rig);
}

/* @q_idx: of the rows that are about one queue. */
static void run(struct subject *s, const struct trial *t, uint32_t q_idx)
{
	uint64_t faults = rig_stats(&s->rig).n_guest_faults;

	if (t->ring) {
		bring_to(s, AT_WORK, t->ring->no_indirect ? 0 : RING_FEATURES);
		hostile_ring_play(t->ring, &s->driver, q_idx);
		subject_kick(s, q_idx);
		judge(s, FAILS, faults);
		assert_string_equal(s->dev->queues[q_idx].why, t->ring->why);
	} else if (t->set_up) {
		bring_to(s, AT_FEATURES_OK, RING_FEATURES);
		play_set_up(s, t->set_up, q_idx);
		judge(s, REFUSES, faults);
	} else if (t->attack) {
		bring_to(s, t->attack->stage, RING_FEATURES);
		t->attack->play(s);
		judge(s, t->attack->reaction, faults);
	}
}

static void test_trial(void **state)
{
	static struct subject s, neighbour;
	const struct trial *t = *state;

	subject_open(&s, t->kind, backend);
	subject_open_beside(&neighbour, t->neighbour, &s);
	subject_recover(&neighbour);
	for (uint32_t i = 0; i < (t->attack ? 1 : t->kind->n_queues); i++) {
		run(&s, t, i);
		subject_recover(&s);
		neighbour.kind->use(&neighbour);
	}
	assert_int_equal(rig_stats(&neighbour.rig).n_guest_faults, 0);
	run(&s, t, 0); /* and the VM ends as it is */
	neighbour.kind->use(&neighbour);
	subject_close(&neighbour);
	subject_close(&s);
}

/* All trials of all devices. */

struct plan {
	struct trial *trials;
	struct CMUnitTest *tests;
	size_t n;
};

static void add(struct plan *p, const char *what, struct trial t, const char *name)
{
	t.name = xasprintf("%s: %s%s", t.kind->name, what, name);
	p->trials[p->n] = t;
	p->tests[p->n] = (struct CMUnitTest){ .name = t.name,
					      .test_func = test_trial,
					      .initial_state = &p->trials[p->n] };
	p->n++;
}

static bool is_meant(const struct attack *a, const struct subject_kind *kind)
{
	return (kind->traits & a->with) == a->with && !(kind->traits & a->without);
}

static void make_plan(struct plan *p)
{
	size_t most = n_subject_kinds * (n_hostile_rings + n_hostile_set_ups + n_attacks);

	*p = (struct plan){ xcalloc(most, sizeof(struct trial)),
			    xcalloc(most, sizeof(struct CMUnitTest)), 0 };
	for (size_t k = 0; k < n_subject_kinds; k++) {
		struct trial t = { .kind = subject_kinds[k],
				   .neighbour = subject_kinds[(k + 1) % n_subject_kinds] };

		for (size_t i = 0; i < n_hostile_rings; i++) {
			struct trial ring = t;

			ring.ring = &hostile_rings[i];
			add(p, "", ring, ring.ring->name);
		}
		for (size_t i = 0; i < n_hostile_set_ups; i++) {
			struct trial set_up = t;

			set_up.set_up = &hostile_set_ups[i];
			add(p, "queue of ", set_up, set_up.set_up->name);
		}
		for (size_t i = 0; i < n_attacks; i++) {
			t.attack = &attacks[i];
			if (is_meant(t.attack, t.kind))
				add(p, "", t, t.attack->name);
		}
	}
}

int main(void)
{
	struct plan p;
	int n_failed = 0;

	make_plan(&p);
	backend = REACTOR_AUTO;
	n_failed +=
	    _cmocka_run_group_tests("virtio/hostile, best backend", p.tests, p.n, NULL, NULL);
	backend = REACTOR_EPOLL;
	n_failed += _cmocka_run_group_tests("virtio/hostile, epoll", p.tests, p.n, NULL, NULL);
	for (size_t i = 0; i < p.n; i++)
		free(p.trials[i].name);
	free(p.tests);
	free(p.trials);
	return n_failed;
}
