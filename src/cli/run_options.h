/* The command line of `ktstr run` and `ktstr shell`, parsed and checked, nothing opened yet. */
#pragma once

#include "arch/arch.h"
#include "base/error.h"
#include "base/topology.h"
#include "cli/disk_options.h"
#include "cli/placement_options.h"
#include "vmm/vm_memory.h"

struct run_options {
	const char *kernel; /* NULL: kernel_find's order */
	struct topology topology;
	uint64_t memory_mib; /* 0: what is needed */
	enum vm_hugepages hugepages;
	uint64_t timeout_s;
	const char **append;
	size_t n_append;
	struct cpu_mask cpu_mask;
	const char **includes;
	size_t n_includes;
	const char *modules_dir;
	const char *initrd;
	bool has_disk;
	struct disk_options disk;
	const char *console;
	const char *net; /* GUEST_NET_*; NULL: none */
	const char *dmesg;
	const char *json;
	const char *relay_guest; /* unix socket in the guest; owned */
	const char *relay_host;
	struct placement_options placement;
	bool timeline;
	bool keep;
	bool force;
	bool kaslr;
	bool pit;
	bool interactive; /* ktstr shell */
	bool forward_stdin;
	bool help;
	char **command; /* NULL-terminated; command[0] NULL: none */
};

/* @argv[0] is the subcommand. Errors are class usage. */
MUST_CHECK int run_options_parse(int argc, char **argv, bool interactive, struct run_options *ret,
				 struct error *err);
void run_options_fini(struct run_options *o);
bool run_options_has_net_pair(const struct run_options *o);
void run_options_usage(bool interactive);
