/* The subcommands: each gets argv from its own name on and returns ktstr's exit status. */
#pragma once

#include "base/error.h"

struct command_context {
	uint64_t start_ns; /* when the process began, CLOCK_MONOTONIC */
};

int cmd_run(const struct command_context *ctx, int argc, char **argv);
int cmd_shell(const struct command_context *ctx, int argc, char **argv);
int cmd_test(const struct command_context *ctx, int argc, char **argv);
/* Not for users: a VM process (vmm/vm_process.h). */
int cmd_vmm(const struct command_context *ctx, int argc, char **argv);
int cmd_kernel(const struct command_context *ctx, int argc, char **argv);
int cmd_topo(const struct command_context *ctx, int argc, char **argv);
int cmd_plan(const struct command_context *ctx, int argc, char **argv);
int cmd_locks(const struct command_context *ctx, int argc, char **argv);
int cmd_cleanup(const struct command_context *ctx, int argc, char **argv);
int cmd_report(const struct command_context *ctx, int argc, char **argv);
int cmd_doctor(const struct command_context *ctx, int argc, char **argv);
int cmd_bench(const struct command_context *ctx, int argc, char **argv);

/* Prints "ktstr: text" to stderr and returns the exit status of its class. */
int command_fail(const struct error *err);
