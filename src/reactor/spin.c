/* See spin.h. */
#include "reactor/spin.h"

#include <sched.h>

#include "base/clock.h"

/*
 * The score rises by one with each short wait and falls far with a look in vain: where every second
 * wait is a long one, at most one in nine is looked for.
 */
enum { SCORE_MAX = 16, SCORE_ON = 8, IN_VAIN_COSTS = 8 };

#define LOOK_NS (50 * NS_PER_US)
/* Asleep the same wait takes longer, by kick and wake-up: in all as much again on slow hosts. */
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

static void rise(struct spin *s)
{
	if (s->score < SCORE_MAX)
		s->score++;
}

static void fall(struct spin *s)
{
	s->score = s->score > IN_VAIN_COSTS ? s->score - IN_VAIN_COSTS : 0;
}

void spin_learn_look(struct spin *s, bool found)
{
	if (found)
		rise(s);
	else
		fall(s);
}

void spin_learn_sleep(struct spin *s, uint64_t ns)
{
	if (ns <= SHORT_NS)
		rise(s);
	else
		fall(s);
}
