/* `ktstr bench blk`: the same reads of the same file by everybody. */
#include <math.h>

#include "bench/report.h"
#include "bench/suite.h"

enum {
	BLK_1_IRQ,
	BLK_1_POLL,
	BLK_32_IRQ,
	BLK_32_POLL,
	BLK_SEQ,
	BLK_EMPTY_IRQ,
	BLK_EMPTY_POLL,
	BLK_EMPTY_32,
};

static const struct suite_workload workloads[] = {
	[BLK_1_IRQ] = { "randread-4k-1-irq", "4 KiB random read, 1 at a time, interrupts", "blk",
			"irq", 4096, 1, true },
	[BLK_1_POLL] = { "randread-4k-1-poll", "4 KiB random read, 1 at a time, guest polls", "blk",
			 "poll", 4096, 1, true },
	[BLK_32_IRQ] = { "randread-4k-32-irq", "4 KiB random read, 32 at a time, interrupts", "blk",
			 "irq", 4096, 32, true },
	[BLK_32_POLL] = { "randread-4k-32-poll", "4 KiB random read, 32 at a time, guest polls",
			  "blk", "poll", 4096, 32, true },
	[BLK_SEQ] = { "read-64k-8-poll", "64 KiB sequential read, 8 at a time, guest polls", "blk",
		      "poll", 65536, 8, false },
	[BLK_EMPTY_IRQ] = { "empty-1-irq", "no disk: device name, 1 at a time, interrupts", "getid",
			    "irq", 0, 1, false },
	[BLK_EMPTY_POLL] = { "empty-1-poll", "no disk: device name, 1 at a time, guest polls",
			     "getid", "poll", 0, 1, false },
	[BLK_EMPTY_32] = { "empty-32-poll", "no disk: device name, 32 at a time, guest polls",
			   "getid", "poll", 0, 32, false },
};

static const struct suite_ratio ratios[] = {
	{ "IOPS at 32, ktstr / QEMU", BLK_32_POLL, SUITE_RATE, SUITE_KTSTR, SUITE_QEMU, 1.5, true },
	{ "IOPS at 32, ktstr / fio io_uring", BLK_32_POLL, SUITE_RATE, SUITE_KTSTR, SUITE_FIO_URING,
	  0.9, true },
	{ "IOPS at 32, QEMU / fio io_uring", BLK_32_POLL, SUITE_RATE, SUITE_QEMU, SUITE_FIO_URING,
	  0, true },
	{ "IOPS at 32, io_uring / epoll", BLK_32_POLL, SUITE_RATE, SUITE_KTSTR, SUITE_KTSTR_EPOLL,
	  0, true },
	{ "IOPS at 32, io_uring / one at a time", BLK_32_POLL, SUITE_RATE, SUITE_KTSTR,
	  SUITE_KTSTR_ONE, 0, true },
	{ "IOPS per CPU s at 32, ktstr / QEMU", BLK_32_POLL, SUITE_RATE_PER_CPU, SUITE_KTSTR,
	  SUITE_QEMU, 0, true },
	{ "IOPS at 32, interrupts, ktstr / QEMU", BLK_32_IRQ, SUITE_RATE, SUITE_KTSTR, SUITE_QEMU,
	  0, true },
	{ "empty requests at 32, ktstr / QEMU", BLK_EMPTY_32, SUITE_RATE, SUITE_KTSTR, SUITE_QEMU,
	  0, true },
	{ "MB/s sequential, ktstr / fio io_uring", BLK_SEQ, SUITE_MB_S, SUITE_KTSTR,
	  SUITE_FIO_URING, 0, true },
	{ "added latency at 1, ktstr / QEMU", BLK_1_IRQ, SUITE_ADDED, SUITE_KTSTR, SUITE_QEMU, 0.7,
	  false },
	{ "the same, guest polls", BLK_1_POLL, SUITE_ADDED, SUITE_KTSTR, SUITE_QEMU, 0.7, false },
	{ "p50 at 1, interrupts, ktstr / QEMU", BLK_1_IRQ, SUITE_P50, SUITE_KTSTR, SUITE_QEMU, 0,
	  false },
};

/*
 * Where the time of one request goes, from differences: an empty request is one without submit and disk, one that is
 * polled for is one without interrupt.
 */

enum part {
	PART_KICK,
	PART_WAKE,
	PART_DISK,
	PART_STATUS,
	PART_ACK,
	PART_INTERRUPT,
	PART_ALL,
	N_PARTS
};

static const char *const part_names[N_PARTS] = {
	[PART_KICK] = "kick",
	[PART_WAKE] = "wake, pop, publish",
	[PART_DISK] = "submit and disk",
	[PART_STATUS] = "exit: InterruptStatus",
	[PART_ACK] = "exit: InterruptACK",
	[PART_INTERRUPT] = "rest of the interrupt",
	[PART_ALL] = "all: p50 with interrupts",
};

static const char *const part_keys[N_PARTS] = { "kick",     "wake",      "disk", "status_exit",
						"ack_exit", "interrupt", "all" };

/* Where a VMM polls, its guest need not kick: then an empty request can be faster than a kick. */
static void find_parts(const struct suite_results *r, enum suite_variant v, double ret[N_PARTS])
{
	double empty = report_median(&r->d[BLK_EMPTY_POLL][v][SUITE_P50]);
	double polled = report_median(&r->d[BLK_1_POLL][v][SUITE_P50]);

	ret[PART_ALL] = report_median(&r->d[BLK_1_IRQ][v][SUITE_P50]);
	ret[PART_KICK] = fmin(empty, report_median(&r->d[BLK_EMPTY_POLL][v][SUITE_KICKS]) *
					 report_median(&r->costs[v][GUEST_COST_KICK]));
	ret[PART_WAKE] = empty - ret[PART_KICK];
	ret[PART_DISK] = polled - empty;
	ret[PART_STATUS] = report_median(&r->costs[v][GUEST_COST_STATUS]);
	ret[PART_ACK] = report_median(&r->costs[v][GUEST_COST_ACK]);
	ret[PART_INTERRUPT] = ret[PART_ALL] - polled - ret[PART_STATUS] - ret[PART_ACK];
}

static void put_budget(const struct suite_results *r, struct buf *text)
{
	double ours[N_PARTS], theirs[N_PARTS];
	double floor = report_median(&r->d[BLK_1_IRQ][SUITE_FIO_URING][SUITE_P50]);

	find_parts(r, SUITE_KTSTR, ours);
	find_parts(r, SUITE_QEMU, theirs);
	buf_printf(text, "\n%-40s %8s %8s\n", "where one request's time goes, us", "ktstr", "QEMU");
	for (size_t i = 0; i < N_PARTS; i++) {
		buf_printf(text, "  %-38s", part_names[i]);
		report_put_value(text, ours[i], 8, 1);
		report_put_value(text, theirs[i], 8, 1);
		buf_append_str(text, "\n");
	}
	buf_printf(text, "  %-38s", "of it, the guest to itself: interrupt");
	report_put_value(text, report_median(&r->costs[SUITE_KTSTR][GUEST_COST_INTERRUPT]), 8, 1);
	report_put_value(text, report_median(&r->costs[SUITE_QEMU][GUEST_COST_INTERRUPT]), 8, 1);
	buf_append_str(text, "\n");
	if (!isnan(floor))
		buf_printf(text, "  %-38s %8.1f\n", "submit and disk on the host, fio", floor);
	buf_printf(text,
		   "virtio over PCI with MSI-X has neither exit: it would save %.1f of %.1f us\n",
		   ours[PART_STATUS] + ours[PART_ACK], ours[PART_ALL]);
}

static json_t *number_or_null(double value)
{
	return isnan(value) ? json_null() : json_real(value);
}

static json_t *budget_json(const struct suite_results *r)
{
	json_t *all = json_object();

	for (enum suite_variant v = SUITE_KTSTR; v <= SUITE_QEMU; v++) {
		double parts[N_PARTS];
		if (r->costs[v][GUEST_COST_KICK].n == 0)
			continue;
		json_t *values = json_object();
		find_parts(r, v, parts);
		for (size_t i = 0; i < N_PARTS; i++)
			json_object_set_new(values, part_keys[i], number_or_null(parts[i]));
		json_object_set_new(values, "interrupt_to_itself",
				    dist_json(&r->costs[v][GUEST_COST_INTERRUPT]));
		json_object_set_new(all, suite_variant_keys[v], values);
	}
	return all;
}

const struct suite suite_blk = {
	.name = "blk",
	.rate_title = "IOPS",
	.workloads = workloads,
	.n_workloads = ARRAY_SIZE(workloads),
	.ratios = ratios,
	.n_ratios = ARRAY_SIZE(ratios),
	.has_disk = true,
	.put_budget = put_budget,
	.budget_json = budget_json,
};
