/* list, add and find. */
#include "image/kernel_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "kernel_maker.h"

struct fixture {
	char *dir;
	char *cache;
	char *kernels;
	char *bzimage; /* of release 6.6.6-test */
	struct kernel_entry entry;
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	f->dir = maker_dir();
	f->cache = xasprintf("%s/cache", f->dir);
	f->kernels = xasprintf("%s/kernels", f->cache);
	f->bzimage = xasprintf("%s/vmlinuz-x", f->dir);
	maker_elf(&elf);
	maker_payload(COMPRESSION_GZIP, &elf, &payload);
	maker_bzimage(&payload, &bz);
	maker_write(f->bzimage, bz.data, bz.len);
	(void)unsetenv("KTSTR_KERNEL");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	kernel_entry_fini(&f->entry);
	maker_dir_remove(f->dir);
	free(f->cache);
	free(f->kernels);
	free(f->bzimage);
	free(f);
	return 0;
}

/* Writes "x" to dir/..., with the folders above. */
static void put_file(const char *path, const char *text)
{
	CLEANUP(freep) char *parent = xstrdup(path);
	struct error err;

	*strrchr(parent, '/') = 0;
	assert_int_equal(file_make_dirs(parent, 0755, &err), 0);
	maker_write(path, text, strlen(text));
}

static void put_entry(const struct fixture *f, const char *name)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s/vmlinuz", f->kernels, name);

	put_file(path, "x");
}

static int add(struct fixture *f, const char *path, const char *modules, const char *name)
{
	kernel_entry_fini(&f->entry);
	f->err = (struct error){ 0 };
	return kernel_cache_add(f->cache, path, modules, name, &f->entry, &f->err);
}

static int find(struct fixture *f, const char *spec)
{
	kernel_entry_fini(&f->entry);
	f->err = (struct error){ 0 };
	return kernel_find(f->cache, spec, &f->entry, &f->err);
}

static void assert_usage(const struct fixture *f, int r, const char *what)
{
	assert_true(r < 0);
	assert_int_equal(f->err.class, ERROR_USAGE);
	if (!strstr(f->err.text, what))
		fail_msg("'%s' does not say '%s'", f->err.text, what);
}

/* ".lock" and entries: nothing temporary. */
static void assert_no_leftovers(const struct fixture *f, size_t n_entries)
{
	assert_int_equal(maker_count(f->kernels, ""), n_entries + 1);
}

static void test_list_without_cache_is_empty(void **state)
{
	struct fixture *f = *state;
	struct kernel_entry *entries;
	size_t n;

	assert_int_equal(kernel_cache_list(f->cache, &entries, &n, &f->err), 0);
	assert_int_equal(n, 0);
	free(entries);
}

static void test_list_sorts_by_version_and_passes_over_the_incomplete(void **state)
{
	static const char *const sorted[] = { "mine", "6.1.0-9-cloud", "6.1.0-53-cloud", "6.12.7" };
	struct fixture *f = *state;
	struct kernel_entry *entries;
	size_t n;

	put_entry(f, "6.12.7");
	put_entry(f, "6.1.0-9-cloud");
	put_entry(f, "mine");
	put_entry(f, "6.1.0-53-cloud");
	put_entry(f, ".new-abcdef");
	put_entry(f, "odd name");
	CLEANUP(freep) char *empty = xasprintf("%s/6.99/source", f->kernels);
	put_file(empty, "x");
	assert_int_equal(kernel_cache_list(f->cache, &entries, &n, &f->err), 0);
	assert_int_equal(n, ARRAY_SIZE(sorted));
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(entries[i].name, sorted[i]);
		assert_null(entries[i].modules_dir);
		assert_null(entries[i].source);
		kernel_entry_fini(&entries[i]);
	}
	free(entries);
}

static void test_add_bzimage_takes_its_release_as_name(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *image = xasprintf("%s/6.6.6-test/vmlinuz", f->kernels);
	CLEANUP(freep) char *source = xasprintf("file %s", f->bzimage);
	struct stat st;

	assert_int_equal(add(f, f->bzimage, NULL, NULL), 0);
	assert_string_equal(f->entry.name, "6.6.6-test");
	assert_string_equal(f->entry.image, image);
	assert_string_equal(f->entry.source, source);
	assert_null(f->entry.modules_dir);
	assert_int_equal(stat(image, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	assert_no_leftovers(f, 1);
}

static void test_add_with_modules_copies_the_tree_without_source_links(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *modules = xasprintf("%s/tree/6.6.6-test/", f->dir);
	CLEANUP(freep) char *dep = xasprintf("%s/modules.dep", modules);
	CLEANUP(freep) char *ko = xasprintf("%s/kernel/drivers/a.ko", modules);
	CLEANUP(freep) char *build = xasprintf("%s/build", modules);
	CLEANUP(freep) char *alias = xasprintf("%s/kernel/b.ko", modules);

	put_file(dep, "kernel/drivers/a.ko:\n");
	put_file(ko, "module");
	assert_int_equal(symlink("/usr/src/linux", build), 0);
	assert_int_equal(symlink("drivers/a.ko", alias), 0);
	assert_int_equal(add(f, f->bzimage, modules, "mine"), 0);
	CLEANUP(freep) char *want = xasprintf("%s/mine/lib/modules/6.6.6-test", f->kernels);
	CLEANUP(freep) char *got_alias = xasprintf("%s/kernel/b.ko", want);
	CLEANUP(freep) char *got_build = xasprintf("%s/build", want);
	CLEANUP(buf_fini) struct buf content = { 0 };
	assert_string_equal(f->entry.modules_dir, want);
	assert_int_equal(file_read(got_alias, 100, &content, &f->err), 0);
	assert_string_equal(buf_str(&content), "module");
	struct stat st;
	assert_int_not_equal(lstat(got_build, &st), 0);
	assert_no_leftovers(f, 1);
}

static void test_add_again_replaces_the_entry(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(freep) char *vmlinux = xasprintf("%s/vmlinux", f->dir);

	maker_elf(&elf);
	maker_write(vmlinux, elf.data, elf.len);
	assert_int_equal(add(f, f->bzimage, NULL, "mine"), 0);
	assert_int_equal(add(f, vmlinux, NULL, "mine"), 0);
	CLEANUP(freep) char *want = xasprintf("%s/mine/vmlinux", f->kernels);
	CLEANUP(freep) char *gone = xasprintf("%s/mine/vmlinuz", f->kernels);
	assert_string_equal(f->entry.image, want);
	assert_int_not_equal(access(gone, F_OK), 0);
	assert_no_leftovers(f, 1);
}

static void test_add_bad_input_is_refused_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(freep) char *guest = xasprintf("%s/guest", f->dir);

	maker_micro_guest(&elf);
	maker_write(guest, elf.data, elf.len);
	assert_usage(f, add(f, "/nonexistent/k", NULL, NULL), "/nonexistent/k");
	assert_usage(f, add(f, f->dir, NULL, NULL), "a directory");
	assert_usage(f, add(f, guest, NULL, NULL), "give it a name");
	assert_usage(f, add(f, f->bzimage, NULL, "../x"), "kernel name '../x'");
	assert_usage(f, add(f, f->bzimage, NULL, ".hidden"), "kernel name");
	assert_usage(f, add(f, f->bzimage, "/nonexistent/m", NULL), "modules '/nonexistent/m'");
	assert_usage(f, add(f, f->bzimage, f->bzimage, NULL), "not a folder");
	assert_int_equal(maker_count(f->kernels, ""), 0);
}

static void test_add_removes_what_a_killed_process_left(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *deep = xasprintf("%s/.new-Ab12Cd/tree/lib/modules/x", f->kernels);
	CLEANUP(freep) char *temp = xasprintf("%s/.new-Ab12Cd", f->kernels);

	put_file(deep, "x");
	assert_int_equal(add(f, f->bzimage, NULL, NULL), 0);
	assert_int_not_equal(access(temp, F_OK), 0);
	assert_no_leftovers(f, 1);
}

static void test_find_name_takes_whole_then_component_then_prefix(void **state)
{
	static const struct {
		const char *spec;
		const char *name;
	} table[] = {
		{ "6.1", "6.1.0-53-cloud" }, { "6.12", "6.12.7" },        { "6.12.7", "6.12.7" },
		{ "6.12.70", "6.12.70-x" },  { "6.12.70-", "6.12.70-x" }, { "mi", "mine" },
	};
	struct fixture *f = *state;

	put_entry(f, "6.1.0-53-cloud");
	put_entry(f, "6.12.7");
	put_entry(f, "mine");
	assert_int_equal(find(f, "6.12"), 0);
	put_entry(f, "6.12.70-x");
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (strcmp(table[i].spec, "6.12") == 0)
			continue; /* by now two of that series */
		if (find(f, table[i].spec) < 0)
			fail_msg("%s", f->err.text);
		assert_string_equal(f->entry.name, table[i].name);
	}
	assert_usage(f, find(f, "6.12"), "fits several of the cache: 6.12.7, 6.12.70-x");
}

static void test_find_unknown_name_tells_what_there_is(void **state)
{
	struct fixture *f = *state;

	assert_usage(f, find(f, "5.4"), "has: nothing");
	assert_non_null(strstr(f->err.text, "ktstr kernel fetch"));
	put_entry(f, "6.12.7");
	assert_usage(f, find(f, "5.4"), "has: 6.12.7");
	assert_usage(f, find(f, ""), "give a path");
}

static void test_find_name_of_a_file_suggests_its_path(void **state)
{
	struct fixture *f = *state;
	char here[4096];

	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(f->dir), 0);
	int r = find(f, "vmlinuz-x");
	assert_int_equal(chdir(here), 0);
	assert_usage(f, r, "say './vmlinuz-x'");
}

static void test_find_path_finds_modules_beside_it(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *above = xasprintf("%s/pkg/lib/modules/6.6.6-test", f->dir);
	CLEANUP(freep) char *above_file = xasprintf("%s/modules.order", above);
	CLEANUP(freep) char *boot = xasprintf("%s/pkg/boot/vmlinuz", f->dir);
	CLEANUP(freep)
	char *beside_file = xasprintf("%s/pkg/boot/lib/modules/6.6.6-test/modules.order", f->dir);
	CLEANUP(freep) char *among = xasprintf("%s/m/vmlinuz", f->dir);
	CLEANUP(freep) char *among_dep = xasprintf("%s/m/modules.dep", f->dir);

	assert_int_equal(find(f, f->bzimage), 0);
	assert_string_equal(f->entry.name, "6.6.6-test");
	assert_string_equal(f->entry.image, f->bzimage);
	assert_null(f->entry.modules_dir);

	put_file(above_file, "");
	put_file(boot, "");
	assert_int_equal(unlink(boot), 0);
	assert_int_equal(link(f->bzimage, boot), 0);
	assert_int_equal(find(f, boot), 0);
	assert_non_null(f->entry.modules_dir);
	assert_non_null(strstr(f->entry.modules_dir, "/pkg/boot/../lib/modules/6.6.6-test"));

	put_file(beside_file, "");
	assert_int_equal(find(f, boot), 0);
	assert_non_null(strstr(f->entry.modules_dir, "/pkg/boot/lib/modules/6.6.6-test"));

	put_file(among_dep, "");
	assert_int_equal(link(f->bzimage, among), 0);
	assert_int_equal(find(f, among), 0);
	assert_non_null(strstr(f->entry.modules_dir, "/m"));
}

static void test_find_bad_path_is_refused(void **state)
{
	struct fixture *f = *state;

	put_entry(f, "6.12.7"); /* not taken instead */
	assert_usage(f, find(f, "/nonexistent/k"),
		     "'/nonexistent/k': cannot open it: No such file");
	assert_usage(f, find(f, f->dir), "a directory");
}

static void test_find_without_spec_goes_environment_cache_host(void **state)
{
	struct fixture *f = *state;
	struct utsname host;
	CLEANUP(freep) char *own = NULL;

	assert_int_equal(uname(&host), 0);
	own = xasprintf("/boot/vmlinuz-%s", host.release);
	if (access(own, F_OK) != 0) {
		assert_usage(f, find(f, NULL), own);
		assert_non_null(strstr(f->err.text, "ktstr kernel fetch"));
		assert_non_null(strstr(f->err.text, f->kernels));
	}
	put_entry(f, "6.1.7");
	put_entry(f, "6.12.7");
	put_entry(f, "zz-mine");
	assert_int_equal(find(f, NULL), 0);
	assert_string_equal(f->entry.name, "6.12.7");

	assert_int_equal(setenv("KTSTR_KERNEL", f->bzimage, 1), 0);
	assert_int_equal(find(f, NULL), 0);
	assert_string_equal(f->entry.image, f->bzimage);
	assert_int_equal(setenv("KTSTR_KERNEL", "zz", 1), 0);
	assert_int_equal(find(f, NULL), 0);
	assert_string_equal(f->entry.name, "zz-mine");
	assert_int_equal(find(f, "6.1.7"), 0); /* what the user names comes first */
	assert_string_equal(f->entry.name, "6.1.7");
	assert_int_equal(setenv("KTSTR_KERNEL", "9.9", 1), 0);
	assert_usage(f, find(f, NULL), "$KTSTR_KERNEL: kernel '9.9'");
	assert_int_equal(setenv("KTSTR_KERNEL", "", 1), 0);
	assert_int_equal(find(f, NULL), 0);
	assert_string_equal(f->entry.name, "6.12.7");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_list_without_cache_is_empty),
		T(test_list_sorts_by_version_and_passes_over_the_incomplete),
		T(test_add_bzimage_takes_its_release_as_name),
		T(test_add_with_modules_copies_the_tree_without_source_links),
		T(test_add_again_replaces_the_entry),
		T(test_add_bad_input_is_refused_and_leaves_nothing),
		T(test_add_removes_what_a_killed_process_left),
		T(test_find_name_takes_whole_then_component_then_prefix),
		T(test_find_unknown_name_tells_what_there_is),
		T(test_find_name_of_a_file_suggests_its_path),
		T(test_find_path_finds_modules_beside_it),
		T(test_find_bad_path_is_refused),
		T(test_find_without_spec_goes_environment_cache_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
