/*
 * ktstr: tests of Linux process schedulers, each run in a virtual machine of its own.
 * docs/authoring.md is the guide. A test program is a table of tests and one call:
 *
 *	static void all_online(struct ktstr *t)
 *	{
 *		long n = sysconf(_SC_NPROCESSORS_ONLN);
 *		KTSTR_CHECK(t, n == 4, "%ld CPUs are online", n);
 *	}
 *
 *	static const struct ktstr_test tests[] = {
 *		{ .name = "cpus/all_online", .run = all_online, .topology = "1,1,4,1" },
 *		{ 0 },
 *	};
 *
 *	int main(int argc, char **argv)
 *	{
 *		return ktstr_main(argc, argv, tests);
 *	}
 *
 * The same program lists its tests on the host (--ktstr-list) and runs one in the guest (--ktstr-run NAME).
 *
 * The outcome of a test is the worst of what it said: FAIL (a check failed), INCONCLUSIVE (nothing
 * was measured), SKIP (cannot run here), else PASS. One that checked and measured nothing at all is
 * INCONCLUSIVE. Functions that take a struct ktstr may be called from any thread, and from children
 * that the test forked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KTSTR_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* A test, or a subtest, while it runs. */
struct ktstr;

/* A test and what its VM must have. 0, NULL and false: not needed, or the runner's default. */
struct ktstr_test {
	const char *name; /* letters, digits and "._-/"; no other test of the program has it */
	void (*run)(struct ktstr *t);
	const char *summary;  /* one line */
	const char *topology; /* as `ktstr run --topology` takes it: "1,2,4,1", or a preset */
	uint32_t memory_mib;
	uint32_t timeout_s;
	bool perf;           /* performance mode: each vCPU has a CPU of the host for itself */
	uint32_t cpu_cap;    /* or a budget: the whole VM shares this many CPUs of the host */
	uint32_t disk_mib;   /* an empty disk of this size, /dev/vda */
	const char *disk_fs; /* with a file system on it: "ext4" */
	bool net;            /* a network interface */
	bool vm_only;        /* harms the machine that it runs on: skipped outside of a VM */
};

/*
 * The whole of a test program's main(). @tests ends with an entry without a name. Returns the exit
 * status: 0 passed, 1 failed, 77 skipped, 78 inconclusive, 64 wrong arguments or a wrong declaration.
 */
int ktstr_main(int argc, char **argv, const struct ktstr_test *tests);

/*
 * Fails the test unless @cond holds, with the place in the source, the condition and a printf-like
 * text that says more. Returns whether it holds; the test goes on in either case:
 *
 *	if (!KTSTR_CHECK(t, fd >= 0, "open '%s': %m", path))
 *		return;
 */
#define KTSTR_CHECK(t, cond, ...) ktstr_check((t), (cond), __FILE__, __LINE__, #cond, __VA_ARGS__)
bool ktstr_check(struct ktstr *t, bool holds, const char *file, int line, const char *cond,
		 const char *fmt, ...) KTSTR_PRINTF(6, 7);

/* Set the outcome; the test still has to return. */
void ktstr_fail(struct ktstr *t, const char *fmt, ...) KTSTR_PRINTF(2, 3);
void ktstr_inconclusive(struct ktstr *t, const char *fmt, ...) KTSTR_PRINTF(2, 3);
void ktstr_skip(struct ktstr *t, const char *fmt, ...) KTSTR_PRINTF(2, 3);

/*
 * Runs @run as a part of @t with an outcome of its own; one at a time. @t fails, or is inconclusive,
 * if it does; a skipped one counts as nothing. Returns whether it passed.
 */
bool ktstr_subtest(struct ktstr *t, const char *name, void (*run)(struct ktstr *t, void *arg),
		   void *arg);

enum ktstr_better { KTSTR_NEITHER_IS_BETTER, KTSTR_HIGHER_IS_BETTER, KTSTR_LOWER_IS_BETTER };

/* A number that was measured, for the host to keep and compare. One that is not finite makes @t inconclusive. */
void ktstr_metric(struct ktstr *t, const char *name, double value, const char *unit,
		  enum ktstr_better better);

struct ktstr_topology {
	uint32_t nodes;
	uint32_t llcs; /* of all nodes */
	uint32_t cores_per_llc;
	uint32_t threads_per_core;
};

/*
 * What the VM has (KTSTR_TOPOLOGY of its environment). Outside of one, what the test declares, if
 * that is in the form of four numbers; else 1,1,1,1.
 */
struct ktstr_topology ktstr_topology(const struct ktstr *t);

#ifdef __cplusplus
}
#endif
