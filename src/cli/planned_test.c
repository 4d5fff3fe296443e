#include "cli/planned_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/guest_config.h"
#include "abi/test_protocol.h"
#include "base/fd.h"
#include "base/topology_text.h"
#include "cli/topology_option.h"

/* The word of the command line that tells a bare guest which test it is to be. */
#define BARE_TEST_WORD "ktstr.run="

enum {
	/*
	 * That the runner has open for a VM, its locks aside: link and pidfd, twice with epoll; ticket, select lock and inotify; the
	 * cgroup's procs, a disk. A pidfd stays for a moment when the VM's place is another's already.
	 */
	FILES_OF_VM = 12,
	FILES_OF_OUTPUT = 6,
};

static int take_topology(const char *text, struct topology *ret, struct error *err)
{
	*ret = topology_uniform(1, 1, 1, 1);
	if (!text)
		return 0;
	return topology_parse(text, ret, err) < 0 ? error_prefix(err, "topology") : 0;
}

static int take_disk(const struct test_spec *t, struct run_options *ret, struct error *err)
{
	if (!t->disk_mib)
		return 0;
	CLEANUP(freep)
	char *text = xasprintf("new=%uM%s%s", t->disk_mib, t->disk_fs ? ",fs=" : "",
			       t->disk_fs ? t->disk_fs : "");
	ret->has_disk = disk_options_parse(text, &ret->disk, err) == 0;
	return ret->has_disk ? 0 : err->code;
}

static int take_memory(const struct test_spec *t, struct run_options *ret, struct error *err)
{
	struct memory_layout layout;

	if (!t->memory_mib)
		return 0;
	if (topology_option_memory(&ret->topology, t->memory_mib, &ret->memory_mib, &layout, err) <
	    0)
		return error_prefix(err, "memory_mib");
	return 0;
}

static int take_options(struct planned_test *test, const struct test_options *o, struct error *err)
{
	const struct test_spec *spec = test->spec;
	struct run_options *r = &test->options;

	*r = (struct run_options){
		.kernel = o->kernel,
		.timeout_s = spec->timeout_s ? spec->timeout_s : o->timeout_s,
		.includes = o->includes,
		.n_includes = o->n_includes,
		.modules_dir = o->modules_dir,
		.net = spec->net ? GUEST_NET_PLAIN : NULL,
		.force = o->force,
		.command = test->command,
	};
	if (take_topology(spec->topology, &r->topology, err) < 0 || take_disk(spec, r, err) < 0 ||
	    take_memory(spec, r, err) < 0)
		return err->code;
	return guest_setup_check_memory(r, err);
}

/* A base that is there, or a new one. */
static int find_base(struct planned_test *test, struct batch_images *images, struct error *err)
{
	struct initramfs base = INITRAMFS_INIT;

	for (size_t i = 0; i < images->n_bases; i++) {
		if (!guest_setup_shares_base(&images->base_tests[i]->options, &test->options))
			continue;
		test->base = i;
		return 0;
	}
	if (images->setup.kernel.is_linux &&
	    guest_setup_initramfs(&images->setup, &test->options, &base, err) < 0)
		return err->code;
	size_t n = images->n_bases + 1;
	images->bases = xreallocarray(images->bases, n, sizeof(*images->bases));
	images->base_tests = xreallocarray(images->base_tests, n, sizeof(struct planned_test *));
	images->bases[n - 1] = base;
	images->base_tests[n - 1] = test;
	test->base = images->n_bases++;
	return 0;
}

static int prepare(struct planned_test *test, const struct test_options *o,
		   struct batch_images *images, struct error *err)
{
	if (take_options(test, o, err) < 0 || find_base(test, images, err) < 0)
		return err->code;
	return guest_setup_memory(&images->setup, &images->bases[test->base], &test->options, err);
}

void planned_test_prepare(struct planned_test *test, const struct test_options *o,
			  struct batch_images *images)
{
	test->name = test->spec->name;
	test->command[0] = test->program->command;
	test->command[1] = (char *)(uintptr_t) "--ktstr-run";
	test->command[2] = test->name;
	test->is_decided = prepare(test, o, images, &test->why_not) < 0;
	uint32_t n_cpus = topology_n_cpus(&test->options.topology);
	bool has_own_place = test->spec->perf || test->spec->cpu_cap;
	test->cpu_cap = has_own_place ? test->spec->cpu_cap : o->n_cpus;
	test->cost = (struct admission_cost){
		.cpus = test->cpu_cap && test->cpu_cap < n_cpus ? test->cpu_cap : n_cpus,
		.files = FILES_OF_VM + (o->output ? FILES_OF_OUTPUT : 0),
		.memory_mib = test->options.memory_mib,
	};
	test->options.append = xcalloc(o->n_append + 1, sizeof(char *));
	for (size_t i = 0; i < o->n_append; i++)
		test->options.append[i] = o->append[i];
	test->options.n_append = o->n_append;
	if (!images->setup.kernel.is_linux) {
		test->bare_word = xasprintf(BARE_TEST_WORD "%s", test->name);
		test->options.append[test->options.n_append++] = test->bare_word;
	}
}

void planned_test_fini(struct planned_test *test)
{
	freep(&test->id);
	freep(&test->bare_word);
	test->options.includes = NULL; /* not its own */
	run_options_fini(&test->options);
}

void batch_images_fini(struct batch_images *images)
{
	for (size_t i = 0; i < images->n_bases; i++)
		initramfs_fini(&images->bases[i]);
	fd_closep(&images->vm_program_fd);
	freep(&images->bases);
	freep(&images->base_tests);
	guest_setup_fini(&images->setup);
}
