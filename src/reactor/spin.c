/* See spin.h. */
#include "reactor/spin.h"

#include <sched.h>

#include "base/clock.h"

/*
 * The score moves by one with each sleep, and falls far with a look in vain: where every second wait
 * is a long one, nothing is looked for, and where waits become long, that ends after two looks.
 */
enum { SCORE_MAX = 16, SCORE_ON = 8, IN_VAIN_COSTS = 8 };

#define LOOK_NS (50 * NS_PER_US)
/* Asleep the same wait takes longer, by kick and wake-up: as much again on slow hosts. */
#define SHORT_NS (2 * LOOK_NS)

void spin_init(struct spin *s)
{
	cpu_set_t set;

	/* Where it is unknown (more CPUs than the set holds) there is more than one. */
	*s = (struct spin){ .is_off = sched_getaffinity(0, sizeof(set), &set) == 0 &&
				      CPU_COUNT(&set) < 2 };
}

uint64_t spin_ns(const struct spin *s)
{
	return s->is_off || s->score < SCORE_ON ? 0 : LOOK_NS;
}

static void change(struct spin *s, int by)
{
	int score = s->score + by;

	s->score = (uint8_t)(score < 0 ? 0 : score > SCORE_MAX ? SCORE_MAX : score);
}

void spin_learn_look(struct spin *s, bool found)
{
	change(s, found ? 1 : -IN_VAIN_COSTS);
}

void spin_learn_sleep(struct spin *s, uint64_t ns)
{
	change(s, ns <= SHORT_NS ? 1 : -1);
}
