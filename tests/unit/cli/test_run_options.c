/* The command line of `ktstr run` and `ktstr shell`. */
#include "cli/run_options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

enum { MAX_ARGS = 32 };

/* Words of @line, split at spaces; the words live until free_line. */
struct line {
	char *text;
	char *argv[MAX_ARGS + 1];
	int argc;
};

static void split(struct line *l, const char *text)
{
	char *save = NULL;

	*l = (struct line){ .text = xstrdup(text) };
	for (char *word = strtok_r(l->text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(l->argc < MAX_ARGS);
		l->argv[l->argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
	}
}

static int parse(struct line *l, const char *text, struct run_options *o, struct error *err)
{
	split(l, text);
	return run_options_parse(l->argc, l->argv, strncmp(text, "shell", 5) == 0, o, err);
}

static void done(struct line *l, struct run_options *o)
{
	run_options_fini(o);
	free(l->text);
}

static void test_defaults(void **state UNUSED)
{
	struct run_options o;
	struct error err;
	struct line l;

	assert_int_equal(parse(&l, "run -- true", &o, &err), 0);
	assert_null(o.kernel);
	assert_int_equal(o.memory_mib, 0); /* what is needed */
	assert_int_equal(o.timeout_s, 600);
	assert_int_equal(topology_n_cpus(&o.topology), 1);
	assert_string_equal(o.command[0], "true");
	assert_null(o.command[1]);
	assert_false(o.timeline || o.keep || o.force || o.kaslr || o.pit || o.interactive);
	assert_false(o.forward_stdin || o.help);
	assert_false(o.has_disk);
	assert_null(o.net);
	done(&l, &o);
	assert_int_equal(parse(&l, "shell", &o, &err), 0);
	assert_true(o.interactive);
	assert_int_equal(o.timeout_s, 0);
	assert_null(o.command[0]);
	done(&l, &o);
}

static void test_every_option_is_taken(void **state UNUSED)
{
	struct run_options o;
	struct error err;
	struct line l;

	assert_int_equal(
	    parse(&l,
		  "run --kernel K --topology 2,4,2,1 --memory 1024 --timeout 5 --append a=1 "
		  "--append b "
		  "--include /x --include /y:/z --modules M --relay /g:/h --dmesg D --json J "
		  "--disk /i,ro --net pair",
		  &o, &err),
	    0);
	assert_string_equal(o.kernel, "K");
	assert_int_equal(topology_n_cpus(&o.topology), 8);
	assert_int_equal(o.memory_mib, 1024);
	assert_int_equal(o.timeout_s, 5);
	assert_int_equal(o.n_append, 2);
	assert_string_equal(o.append[0], "a=1");
	assert_string_equal(o.append[1], "b");
	assert_int_equal(o.n_includes, 2);
	assert_string_equal(o.includes[1], "/y:/z");
	assert_string_equal(o.modules_dir, "M");
	assert_string_equal(o.relay_guest, "/g");
	assert_string_equal(o.relay_host, "/h");
	assert_string_equal(o.dmesg, "D");
	assert_string_equal(o.json, "J");
	assert_true(o.has_disk && o.disk.read_only);
	assert_string_equal(o.disk.path, "/i");
	assert_true(run_options_has_net_pair(&o));
	done(&l, &o);
	assert_int_equal(parse(&l,
			       "run --initrd I --cpu -cx16,-popcnt --timeline --keep --force "
			       "--kaslr --pit --stdin --disk J --net plain",
			       &o, &err),
			 0);
	assert_string_equal(o.initrd, "I");
	assert_string_equal(o.disk.path, "J");
	assert_false(o.disk.read_only);
	assert_string_equal(o.net, "plain");
	assert_false(run_options_has_net_pair(&o));
	assert_true(o.cpu_mask.n > 0);
	assert_true(o.timeline && o.keep && o.force && o.kaslr && o.pit && o.forward_stdin);
	done(&l, &o);
}

static void test_options_end_at_the_command(void **state UNUSED)
{
	static const char *const lines[] = { "run --memory 64 -- ls --memory x",
					     "run --memory 64 ls --memory x",
					     "run --memory=64 ls --memory x" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct run_options o;
		struct error err;
		struct line l;
		assert_int_equal(parse(&l, lines[i], &o, &err), 0);
		assert_int_equal(o.memory_mib, 64);
		assert_string_equal(o.command[0], "ls");
		assert_string_equal(o.command[1], "--memory");
		assert_string_equal(o.command[2], "x");
		assert_null(o.command[3]);
		done(&l, &o);
	}
}

static void test_hugepages_are_off_tried_or_required(void **state UNUSED)
{
	static const struct {
		const char *line;
		enum vm_hugepages want;
	} cases[] = { { "run", VM_HUGEPAGES_OFF },
		      { "run --hugepages off", VM_HUGEPAGES_OFF },
		      { "run --hugepages try", VM_HUGEPAGES_TRY },
		      { "run --hugepages require", VM_HUGEPAGES_REQUIRE } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run_options o;
		struct error err;
		struct line l;

		assert_int_equal(parse(&l, cases[i].line, &o, &err), 0);
		assert_int_equal(o.hugepages, cases[i].want);
		done(&l, &o);
	}
}

static void test_last_relay_counts_and_its_host_may_be_left_out(void **state UNUSED)
{
	struct run_options o;
	struct error err;
	struct line l;

	assert_int_equal(parse(&l, "run --relay /a:/b --relay /c", &o, &err), 0);
	assert_string_equal(o.relay_guest, "/c");
	assert_null(o.relay_host);
	done(&l, &o);
}

static void test_help_asks_for_nothing_else(void **state UNUSED)
{
	struct run_options o;
	struct error err;
	struct line l;

	assert_int_equal(parse(&l, "run --help --initrd x -- command", &o, &err), 0);
	assert_true(o.help);
	done(&l, &o);
}

static void test_bad_lines_are_usage_and_name_the_culprit(void **state UNUSED)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "run --nope", "'--nope'" },
		{ "run --nope=1 -- true", "'--nope=1'" },
		{ "run -x", "'-x'" },
		{ "run -abc", "'-a'" },
		{ "run --force=1", "'--force=1'" },
		{ "run --memory", "'--memory' needs a value" },
		{ "run --json", "'--json' needs a value" },
		{ "run --nope", "ktstr run --help" },
		{ "shell --nope", "ktstr shell --help" },
		{ "run --memory 0", "--memory" },
		{ "run --memory 1", "2 to" },
		{ "run --memory 4294967298", "4294967296" },
		{ "run --memory 513", "nearest are 512 and 514" },
		{ "run --hugepages maybe", "'maybe' is not off, try or require" },
		{ "run --memory 1g", "'1g'" },
		{ "run --memory ''", "--memory" },
		{ "run --timeout -1", "'-1'" },
		{ "run --timeout 99999999", "--timeout" },
		{ "run --topology 1,1", "--topology" },
		{ "run --topology 0,1,1,1", "numa_nodes" },
		{ "run --cpu -nosuch", "nosuch" },
		{ "run --relay x.sock", "'x.sock'" },
		{ "run --relay /x:", "'/x:'" },
		{ "run --relay ''", "--relay" },
		{ "run --initrd I -- true", "--initrd" },
		{ "run --initrd I --include /x", "--initrd" },
		{ "run --initrd I --relay /x", "--initrd" },
		{ "run --initrd I --modules /x", "--modules" },
		{ "shell --initrd I", "--initrd" },
		{ "run --net tap -- true", "'tap'" },
		{ "run --net '' -- true", "plain nor pair" },
		{ "run --initrd I --net pair", "--net plain" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run_options o;
		struct error err;
		struct line l;
		assert_true(parse(&l, cases[i].line, &o, &err) < 0);
		assert_int_equal(err.class, ERROR_USAGE);
		if (!strstr(err.text, cases[i].says) || strchr(err.text, '\n'))
			fail_msg("'%s': %s", cases[i].line, err.text);
		done(&l, &o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_option_is_taken),
		cmocka_unit_test(test_options_end_at_the_command),
		cmocka_unit_test(test_hugepages_are_off_tried_or_required),
		cmocka_unit_test(test_last_relay_counts_and_its_host_may_be_left_out),
		cmocka_unit_test(test_help_asks_for_nothing_else),
		cmocka_unit_test(test_bad_lines_are_usage_and_name_the_culprit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
