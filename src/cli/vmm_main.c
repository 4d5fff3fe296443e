/*
 * The VM process of a batch: a program of its own with nothing in it but a VM, static, embedded in ktstr (vm_program.S) and
 * executed from memory for each VM. Most of what starting a process costs is the loading of libraries, of which ktstr has a
 * dozen; and what is not there no guest can use.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "vmm/vm_process.h"

int main(void)
{
	struct error err;

	/* As in ktstr itself: past the limit on file sizes a write fails. */
	(void)signal(SIGXFSZ, SIG_IGN);
	log_init();
	if (vm_process_main(&err) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "ktstr: the VM process: %s\n", err.text);
	return EXIT_FAILURE;
}
