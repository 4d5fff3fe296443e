/*
 * `ktstr bench net`: frames that the guest sends to itself. ktstr's device is a loopback; QEMU has none, so its guest has
 * two devices on a hub, sends on one and receives on the other: one copy in either case.
 */
#include "bench/suite.h"

enum { NET_64_1_IRQ, NET_64_1, NET_64, NET_1500, NET_9000, NET_65550 };

static const struct suite_workload workloads[] = {
	[NET_64_1_IRQ] = { "64-1-irq", "64-byte frames, 1 at a time, interrupts", "net", "irq", 64,
			   1, false },
	[NET_64_1] = { "64-1-poll", "64-byte frames, 1 at a time, guest polls", "net", "poll", 64,
		       1, false },
	[NET_64] = { "64-32-poll", "64-byte frames, 32 at a time, guest polls", "net", "poll", 64,
		     32, false },
	[NET_1500] = { "1500-32-poll", "1,500-byte frames, 32 at a time, guest polls", "net",
		       "poll", 1500, 32, false },
	[NET_9000] = { "9000-32-poll", "9,000-byte frames, 32 at a time, guest polls", "net",
		       "poll", 9000, 32, false },
	[NET_65550] = { "65550-32-poll", "65,550-byte frames, 32 at a time, guest polls", "net",
			"poll", 65550, 32, false },
};

static const struct suite_ratio ratios[] = {
	{ "64-byte frames/s, ktstr / QEMU", NET_64, SUITE_RATE, SUITE_KTSTR, SUITE_QEMU, 0, true },
	{ "1,500-byte frames/s, ktstr / QEMU", NET_1500, SUITE_RATE, SUITE_KTSTR, SUITE_QEMU, 0,
	  true },
	{ "65,550-byte MB/s, ktstr / QEMU", NET_65550, SUITE_MB_S, SUITE_KTSTR, SUITE_QEMU, 0,
	  true },
	{ "frames per CPU s, 64 bytes, ktstr / QEMU", NET_64, SUITE_RATE_PER_CPU, SUITE_KTSTR,
	  SUITE_QEMU, 0, true },
	{ "p50 at 1, interrupts, ktstr / QEMU", NET_64_1_IRQ, SUITE_P50, SUITE_KTSTR, SUITE_QEMU, 0,
	  false },
	{ "64-byte frames/s, io_uring / epoll", NET_64, SUITE_RATE, SUITE_KTSTR, SUITE_KTSTR_EPOLL,
	  0, true },
};

const struct suite suite_net = {
	.name = "net",
	.rate_title = "frames/s",
	.workloads = workloads,
	.n_workloads = ARRAY_SIZE(workloads),
	.ratios = ratios,
	.n_ratios = ARRAY_SIZE(ratios),
	.has_net = true,
};
