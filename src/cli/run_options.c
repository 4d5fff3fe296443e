#include "cli/run_options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/guest_config.h"
#include "base/buf.h"
#include "base/num.h"
#include "cli/memory_size.h"
#include "cli/option_parse.h"
#include "cli/topology_option.h"

enum { DEFAULT_TIMEOUT_S = 600, MAX_TIMEOUT_S = 30 * 86400 };

enum option_id {
	OPT_APPEND = OPTION_ID_FIRST,
	OPT_CONSOLE,
	OPT_CPU,
	OPT_CPU_CAP,
	OPT_DISK,
	OPT_DMESG,
	OPT_FORCE,
	OPT_HELP,
	OPT_HUGEPAGES,
	OPT_INCLUDE,
	OPT_INITRD,
	OPT_JSON,
	OPT_KASLR,
	OPT_KEEP,
	OPT_KERNEL,
	OPT_MEMORY,
	OPT_MODULES,
	OPT_NET,
	OPT_NO_LOCKS,
	OPT_PERF,
	OPT_PIT,
	OPT_RELAY,
	OPT_SPREAD,
	OPT_STDIN,
	OPT_TIMELINE,
	OPT_TIMEOUT,
	OPT_TOPOLOGY,
	OPT_WAIT,
};

static const struct option long_options[] = {
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "cpu-cap", required_argument, NULL, OPT_CPU_CAP },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "dmesg", required_argument, NULL, OPT_DMESG },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "hugepages", required_argument, NULL, OPT_HUGEPAGES },
	{ "include", required_argument, NULL, OPT_INCLUDE },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "kaslr", no_argument, NULL, OPT_KASLR },
	{ "keep", no_argument, NULL, OPT_KEEP },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "modules", required_argument, NULL, OPT_MODULES },
	{ "net", required_argument, NULL, OPT_NET },
	{ "no-locks", no_argument, NULL, OPT_NO_LOCKS },
	{ "perf", no_argument, NULL, OPT_PERF },
	{ "pit", no_argument, NULL, OPT_PIT },
	{ "relay", required_argument, NULL, OPT_RELAY },
	{ "spread", no_argument, NULL, OPT_SPREAD },
	{ "stdin", no_argument, NULL, OPT_STDIN },
	{ "timeline", no_argument, NULL, OPT_TIMELINE },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "topology", required_argument, NULL, OPT_TOPOLOGY },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ 0 },
};

void run_options_usage(bool interactive)
{
	printf("usage: ktstr %s [options] %s\n", interactive ? "shell" : "run",
	       interactive ? "[-- COMMAND ARGS...]" : "-- COMMAND ARGS...");
	fputs(
	    "  --kernel K            kernel file, or name of a cached kernel (ktstr kernel list);\n"
	    "                        default: $KTSTR_KERNEL, the newest in the cache, the host's "
	    "own\n"
	    "  --topology n,l,c,t    NUMA nodes, LLCs in all, cores per LLC, threads per core "
	    "(1,1,1,1);\n"
	    "                        a preset, node by node or @FILE: see `ktstr topo --help`\n"
	    "  --memory MIB          guest memory (what the topology's nodes have; 512, or what is "
	    "needed)\n"
	    "  --hugepages off|try|require  take it from the host's pages of 2 MiB (off)\n"
	    "  --timeout S           end the run after S seconds (600; 0: never)\n"
	    "  --append ARGS         more kernel arguments; repeatable\n"
	    "  --cpu -FEATURE,...    hide CPU features (names as in /proc/cpuinfo)\n"
	    "  --disk FILE[,OPT]...  raw image or block device as the guest's /dev/vda; ro, "
	    "snapshot, buffered,\n"
	    "                        iops=N, bps=N[K|M|G], burst=MS, depth=N\n"
	    "  --disk new=SIZE[,fs=ext4|btrfs][,OPT]...  an empty disk of this VM only\n"
	    "  --net plain|pair      a network card whose frames come back; pair: and two network\n"
	    "                        namespaces joined by it, /run/netns/a and /run/netns/b\n"
	    "  --include HOST[:GUEST]  take a file or folder along; repeatable\n"
	    "  --modules DIR         module tree (lib/modules/RELEASE) instead of the one beside "
	    "the kernel\n"
	    "  --initrd FILE         boot with this initramfs as it is, without ktstr-init and "
	    "COMMAND\n"
	    "  --relay GUEST[:HOST]  join unix socket GUEST in the guest to unix socket HOST here\n"
	    "  --stdin               feed standard input to the command\n"
	    "  --console FILE        write there what the guest prints on its first serial port\n"
	    "  --dmesg FILE          write the kernel log there\n"
	    "  --json FILE           write the result there as one JSON document (-: stdout)\n"
	    "  --timeline            print when each phase was reached\n"
	    "  --keep                keep the artefacts (consoles, kernel log, result) and say "
	    "where\n"
	    "  --kaslr               boot the bzImage itself, so that the kernel places itself\n"
	    "  --pit                 give the machine an i8254 timer\n"
	    "  --force               boot even where `ktstr doctor` says that this KVM cannot\n",
	    stdout);
	placement_options_usage();
}

static int parse_relay(struct run_options *o, const char *arg, struct error *err)
{
	const char *colon = strchr(arg, ':');
	size_t n = colon ? (size_t)(colon - arg) : strlen(arg);

	if (arg[0] != '/' || (colon && !colon[1]))
		return error_set_usage(
		    err, -EINVAL,
		    "--relay: '%s' is not GUEST[:HOST] with an absolute socket path in the guest",
		    arg);
	freep(&o->relay_guest);
	o->relay_guest = xasprintf("%.*s", (int)n, arg);
	o->relay_host = colon ? colon + 1 : NULL;
	return 0;
}

static int parse_disk(struct run_options *o, const char *arg, struct error *err)
{
	if (o->has_disk)
		return error_set_usage(err, -EINVAL, "--disk: '%s': a VM has one disk at most",
				       arg);
	o->has_disk = disk_options_parse(arg, &o->disk, err) == 0;
	return o->has_disk ? 0 : err->code;
}

static int parse_net(struct run_options *o, const char *arg, struct error *err)
{
	if (strcmp(arg, GUEST_NET_PLAIN) != 0 && strcmp(arg, GUEST_NET_PAIR) != 0)
		return error_set_usage(err, -EINVAL, "--net: '%s' is neither %s nor %s", arg,
				       GUEST_NET_PLAIN, GUEST_NET_PAIR);
	o->net = arg;
	return 0;
}

static int parse_hugepages(const char *arg, enum vm_hugepages *ret, struct error *err)
{
	static const char *const names[] = { [VM_HUGEPAGES_OFF] = "off",
					     [VM_HUGEPAGES_TRY] = "try",
					     [VM_HUGEPAGES_REQUIRE] = "require" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(arg, names[i]) != 0)
			continue;
		*ret = (enum vm_hugepages)i;
		return 0;
	}
	return error_set_usage(err, -EINVAL, "--hugepages: '%s' is not off, try or require", arg);
}

static int parse_one(struct run_options *o, int id, char *arg, struct error *err)
{
	switch ((enum option_id)id) {
	case OPT_APPEND:
		option_list_add(&o->append, &o->n_append, arg);
		return 0;
	case OPT_CONSOLE:
		o->console = arg;
		return 0;
	case OPT_CPU:
		return arch_cpu_mask_parse(arg, &o->cpu_mask, err);
	case OPT_CPU_CAP:
		o->placement.cpu_cap = arg;
		return 0;
	case OPT_DISK:
		return parse_disk(o, arg, err);
	case OPT_DMESG:
		o->dmesg = arg;
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	case OPT_HUGEPAGES:
		return parse_hugepages(arg, &o->hugepages, err);
	case OPT_INCLUDE:
		option_list_add(&o->includes, &o->n_includes, arg);
		return 0;
	case OPT_INITRD:
		o->initrd = arg;
		return 0;
	case OPT_JSON:
		o->json = arg;
		return 0;
	case OPT_KASLR:
		o->kaslr = true;
		return 0;
	case OPT_KEEP:
		o->keep = true;
		return 0;
	case OPT_KERNEL:
		o->kernel = arg;
		return 0;
	case OPT_MEMORY:
		return num_parse_u64("--memory", arg, 2, MEMORY_SIZE_MAX_MIB, &o->memory_mib, err);
	case OPT_MODULES:
		o->modules_dir = arg;
		return 0;
	case OPT_NET:
		return parse_net(o, arg, err);
	case OPT_NO_LOCKS:
		o->placement.no_locks = true;
		return 0;
	case OPT_PERF:
		o->placement.perf = true;
		return 0;
	case OPT_PIT:
		o->pit = true;
		return 0;
	case OPT_RELAY:
		return parse_relay(o, arg, err);
	case OPT_SPREAD:
		o->placement.spread = true;
		return 0;
	case OPT_STDIN:
		o->forward_stdin = true;
		return 0;
	case OPT_TIMELINE:
		o->timeline = true;
		return 0;
	case OPT_TIMEOUT:
		return num_parse_u64("--timeout", arg, 0, MAX_TIMEOUT_S, &o->timeout_s, err);
	case OPT_TOPOLOGY:
		return topology_option_parse(arg, &o->topology, err);
	case OPT_WAIT:
		return placement_options_parse_wait(arg, &o->placement.wait_ms, err);
	}
	return error_set_usage(err, -EINVAL, "unknown option; see `ktstr run --help`");
}

bool run_options_has_net_pair(const struct run_options *o)
{
	return o->net && strcmp(o->net, GUEST_NET_PAIR) == 0;
}

static int check(struct run_options *o, struct error *err)
{
	struct memory_layout memory;

	/* Without --memory the size waits for the initramfs. */
	if (o->memory_mib &&
	    topology_option_memory(&o->topology, o->memory_mib, &o->memory_mib, &memory, err) < 0)
		return err->code;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	if (placement_options_finish(&o->placement, getenv("KTSTR_CPU_CAP"), err) < 0)
		return err->code;
	if (arch_cpu_mask_check(&o->cpu_mask, &o->topology, err) < 0)
		return err->code;
	if (o->initrd &&
	    (o->command[0] || o->n_includes || o->modules_dir || o->relay_guest || o->interactive))
		return error_set_usage(
		    err, -EINVAL,
		    "--initrd boots an initramfs as it is: it goes with no COMMAND, --include, "
		    "--modules, --relay, and not with `ktstr shell`");
	if (o->initrd && run_options_has_net_pair(o))
		return error_set_usage(err, -EINVAL,
				       "--net pair is made by ktstr's own initramfs, not by that "
				       "of --initrd: give it --net plain");
	return 0;
}

int run_options_parse(int argc, char **argv, bool interactive, struct run_options *ret,
		      struct error *err)
{
	int id;

	*ret = (struct run_options){
		.topology = topology_uniform(1, 1, 1, 1),
		.timeout_s = interactive ? 0 : DEFAULT_TIMEOUT_S,
		.interactive = interactive,
		.placement = PLACEMENT_OPTIONS_INIT,
	};
	opterr = 0;
	optind = 0; /* GNU: forget all of an earlier parse, also a half-read cluster of letters */
	while ((id = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		if (id == ':' || id == '?')
			return option_refuse(id, argv, err);
		if (parse_one(ret, id, optarg, err) < 0)
			return err->code;
	}
	ret->command = argv + optind;
	return ret->help ? 0 : check(ret, err);
}

void run_options_fini(struct run_options *o)
{
	freep(&o->append);
	freep(&o->includes);
	freep(&o->relay_guest);
	disk_options_fini(&o->disk);
}
