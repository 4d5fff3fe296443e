/*
 * `ktstr test`, in the order of events: options -> lists of the programs -> selection -> kernel, initramfs -> batch ->
 * results.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/batch.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "vmm/vm_process.h"

int cmd_test(const struct command_context *ctx, int argc, char **argv)
{
	struct test_options options;
	struct error err;
	int status;

	if (test_options_parse(argc, argv, &options, &err) < 0) {
		status = command_fail(&err);
	} else if (options.help) {
		test_options_usage();
		status = EXIT_CODE_OK;
	} else {
		status = batch_run(&options, ctx->start_ns, &err);
		if (status < 0)
			status = command_fail(&err);
	}
	test_options_fini(&options);
	return status;
}

int cmd_vmm(const struct command_context *ctx UNUSED, int argc UNUSED, char **argv UNUSED)
{
	struct error err;

	return vm_process_main(&err) < 0 ? command_fail(&err) : EXIT_CODE_OK;
}
