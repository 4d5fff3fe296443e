/* Ports by name, in a folder that looks like /sys/class/virtio-ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ports.h"

static const struct {
	const char *dev;
	const char *name; /* NULL: the host has not told it yet */
} ports[] = {
	{ "vport0p0", NULL },
	{ "vport0p1", "ktstr.frames\n" },
	{ "vport0p2", "ktstr.relay\n" },
	{ "vport1p1", "ktstr" },
};

static char folder[] = "/tmp/ktstr-test-ports-XXXXXX"; /* mkdtemp writes it */

static void path_of(size_t i, const char *leaf, char path[128])
{
	(void)snprintf(path, 128, "%s/%s%s", folder, ports[i].dev, leaf);
}

static int set_up(void **state)
{
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		path_of(i, "", path);
		assert_int_equal(mkdir(path, 0755), 0);
		if (ports[i].name == NULL)
			continue;
		path_of(i, "/name", path);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_int_equal(write(fd, ports[i].name, strlen(ports[i].name)),
				 strlen(ports[i].name));
		close(fd);
	}
	return 0;
}

static int tear_down(void **state)
{
	char path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		path_of(i, "/name", path);
		(void)unlink(path);
		path_of(i, "", path);
		(void)rmdir(path);
	}
	return rmdir(folder);
}

static void test_find_exact_name_gives_its_device(void **state)
{
	char dev[32];

	(void)state;
	assert_int_equal(ports_find(folder, "ktstr.frames", dev, sizeof(dev)), 0);
	assert_string_equal(dev, "vport0p1");
	assert_int_equal(ports_find(folder, "ktstr.relay", dev, sizeof(dev)), 0);
	assert_string_equal(dev, "vport0p2");
	assert_int_equal(ports_find(folder, "ktstr", dev, sizeof(dev)), 0);
	assert_string_equal(dev, "vport1p1");
}

static void test_find_absent_name_or_class_is_told_apart(void **state)
{
	char dev[32];

	(void)state;
	assert_int_equal(ports_find(folder, "ktstr.frame", dev, sizeof(dev)), -ENOENT);
	assert_int_equal(ports_find("/proc/none/class", "ktstr.frames", dev, sizeof(dev)), -ENODEV);
	assert_int_equal(ports_find(folder, "ktstr.frames", dev, 4), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_exact_name_gives_its_device),
		cmocka_unit_test(test_find_absent_name_or_class_is_told_apart),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
