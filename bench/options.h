/* The options that every benchmark takes. */
#pragma once

#include <stdint.h>

struct bench_options {
	uint64_t n_runs;
	uint64_t memory_mib;
	const char *ktstr; /* the program under test */
	const char *guest; /* boots in ours and in QEMU microvm (guests/flat.S) */
	const char *qemu;  /* NULL: measure without */
	const char *json;  /* NULL: table only */
};

/* Fills @o, whose values on entry are the defaults; ends the process on --help and on bad usage. */
void bench_options_parse(int argc, char **argv, const char *summary, struct bench_options *o);
/* Ends the process with 77 (skipped, for meson) where there is no usable /dev/kvm. */
void bench_need_kvm(void);

enum { BENCH_ARGV_MAX = 32, BENCH_TEXT_MAX = 24 };

/* Command lines of the same guest under both. Strings are the options' own or literals. */
struct bench_argv {
	const char *argv[BENCH_ARGV_MAX];
	char memory[BENCH_TEXT_MAX];
};
void bench_ktstr_argv(const struct bench_options *o, bool timeline, struct bench_argv *ret);
/* The guest's first byte comes out at descriptor @mark_fd of QEMU. */
void bench_qemu_argv(const struct bench_options *o, int mark_fd, struct bench_argv *ret);
