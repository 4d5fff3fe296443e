/*
 * Which of the jobs that wait may start now: CPUs, memory, open files and a number of jobs are the budget. First come, first served,
 * with back-fill: while the first does not fit, later ones that do go past it, ADMISSION_PASSES of them at most; then
 * what becomes free is kept for it. So a wide job is not starved by narrow ones, and does not stop them for longer than
 * it takes to gather its CPUs. Pure, one thread.
 */
#pragma once

struct admission_cost {
	uint32_t cpus;
	uint32_t files; /* open in the runner */
	uint64_t memory_mib;
};

enum {
	ADMISSION_PASSES = 16,
	ADMISSION_DEPTH = 256, /* so many waiting ones are looked at for back-fill */
};

struct admission {
	struct admission_cost limit; /* of all that run */
	uint32_t max_running;
	struct admission_cost used;
	uint32_t n_running;
	uint32_t n_passed; /* went past the one that waits first */
	bool lacks_files;  /* something waited, or waits, for nothing but these */
};

/* Whether it could run on the empty host. One that cannot must not wait: nothing would ever start behind it. */
bool admission_can_ever(const struct admission *a, const struct admission_cost *cost);
/*
 * The place in @queue of the one that starts now, whose cost is then used; SIZE_MAX: none. @queue are @n indexes into
 * @costs, the first waited longest.
 */
size_t admission_take(struct admission *a, const struct admission_cost *costs, const size_t *queue,
		      size_t n);
/* One has ended. */
void admission_give_back(struct admission *a, const struct admission_cost *cost);
