/* The value of --disk. */
#include "cli/disk_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/num.h"

static void test_good_values_are_taken(void **state UNUSED)
{
	static const struct {
		const char *arg, *path;
		struct disk_options want;
		uint64_t burst_ms;
	} cases[] = {
		{ "a.img", "a.img", { .limits.depth = 256 }, 100 },
		{ "/x=y/z,ro", "/x=y/z", { .read_only = true, .limits.depth = 256 }, 100 },
		{ "./new=5,buffered,snapshot",
		  "./new=5",
		  { .snapshot = true, .buffered = true, .limits.depth = 256 },
		  100 },
		{ "f,iops=1000,bps=10M,burst=20,depth=1",
		  "f",
		  { .limits = { .iops = 1000, .bps = 10 * MIB, .depth = 1 } },
		  20 },
		{ "f,bps=512", "f", { .limits = { .bps = 512, .depth = 256 } }, 100 },
		{ "f,iops=9223372036854775807,bps=8388607T",
		  "f",
		  { .limits = { .iops = INT64_MAX, .bps = 8388607 * TIB, .depth = 256 } },
		  100 },
		{ "new=1G", NULL, { .new_bytes = GIB, .limits.depth = 256 }, 100 },
		{ "new=16M,fs=ext4",
		  NULL,
		  { .new_bytes = 16 * MIB, .fs = DISK_FS_EXT4, .limits.depth = 256 },
		  100 },
		{ "new=2T,fs=btrfs,iops=7,buffered",
		  NULL,
		  { .new_bytes = 2 * TIB,
		    .fs = DISK_FS_BTRFS,
		    .buffered = true,
		    .limits = { .iops = 7, .depth = 256 } },
		  100 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct disk_options *w = &cases[i].want;
		struct disk_options o;
		struct error err;
		if (disk_options_parse(cases[i].arg, &o, &err) < 0)
			fail_msg("'%s': %s", cases[i].arg, err.text);
		if (cases[i].path)
			assert_string_equal(o.path, cases[i].path);
		else
			assert_null(o.path);
		assert_int_equal(o.new_bytes, w->new_bytes);
		assert_int_equal(o.fs, w->fs);
		assert_int_equal(o.read_only, w->read_only);
		assert_int_equal(o.snapshot, w->snapshot);
		assert_int_equal(o.buffered, w->buffered);
		assert_int_equal(o.limits.iops, w->limits.iops);
		assert_int_equal(o.limits.bps, w->limits.bps);
		assert_int_equal(o.limits.depth, w->limits.depth);
		assert_int_equal(o.limits.burst_ns, cases[i].burst_ms * NS_PER_MS);
		disk_options_fini(&o);
	}
}

static void test_bad_values_are_usage_and_name_the_culprit(void **state UNUSED)
{
	static const struct {
		const char *arg, *says;
	} cases[] = {
		{ "", "no file is named" },
		{ ",ro", "no file is named" },
		{ "f,", "unknown option ''" },
		{ "f,rw", "unknown option 'rw'" },
		{ "f,roo", "unknown option 'roo'" },
		{ "f,new=1G", "unknown option 'new'" },
		{ "f,ro,", "unknown option ''" },
		{ "f,ro,ro", "'ro' is given twice" },
		{ "f,iops=1,depth=2,iops=1", "'iops' is given twice" },
		{ "f,ro=1", "'ro' takes no value" },
		{ "f,iops", "iops=a number of operations" },
		{ "f,iops=", "'iops' needs a value" },
		{ "f,iops=0", "0 is not in the range 1 to" },
		{ "f,iops=1k", "'1k'" },
		{ "f,iops=9223372036854775808", "iops" },
		{ "f,iops=-1", "'-1'" },
		{ "f,bps=", "'bps' needs a value" },
		{ "f,bps=0", "range 1 to" },
		{ "f,bps=1.5M", "'1.5M' is no number of bytes" },
		{ "f,bps=M", "'M'" },
		{ "f,bps=8388608T", "range" },
		{ "f,bps=99999999999999999999", "range" },
		{ "f,iops=1,burst=0", "1 to 60000" },
		{ "f,iops=1,burst=60001", "1 to 60000" },
		{ "f,burst=5", "'burst' needs 'iops' or 'bps'" },
		{ "f,depth=0", "1 to 256" },
		{ "f,depth=257", "1 to 256" },
		{ "f,fs=ext4", "new=SIZE,fs=ext4" },
		{ "f,ro,snapshot", "exclude each other" },
		{ "new=", "''" },
		{ "new=1X", "'1X'" },
		{ "new=0", "1M to 16T" },
		{ "new=1K", "1M to 16T" },
		{ "new=17T", "1M to 16T" },
		{ "new=99999999T", "1M to 16T" },
		{ "new=1048577", "whole number of sectors" },
		{ "new=1G,ro", "neither 'ro' nor 'snapshot'" },
		{ "new=1G,snapshot", "neither 'ro' nor 'snapshot'" },
		{ "new=1G,fs=xfs", "'xfs' is neither ext4 nor btrfs" },
		{ "new=1G,fs=", "fs=ext4 or btrfs" },
		{ "new=8M,fs=ext4", "at least 16M" },
		{ "new=64M,fs=btrfs", "at least 128M" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct disk_options o;
		struct error err = { 0 };
		if (disk_options_parse(cases[i].arg, &o, &err) >= 0)
			fail_msg("'%s' was taken", cases[i].arg);
		assert_int_equal(err.class, ERROR_USAGE);
		if (!strstr(err.text, cases[i].says) || strchr(err.text, '\n') ||
		    strncmp(err.text, "--disk: ", 8) != 0)
			fail_msg("'%s': %s", cases[i].arg, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_values_are_taken),
		cmocka_unit_test(test_bad_values_are_usage_and_name_the_culprit),
	};

	return cmocka_run_group_tests_name("cli/disk_options", tests, NULL, NULL);
}
