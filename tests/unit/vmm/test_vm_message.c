/* A VM process's configuration from one end of a socketpair to the other, and what is no such thing. */
#include "vmm/vm_message.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"

enum { SENDER, RECEIVER };

struct fixture {
	int fds[2];
	struct kernel_image kernel;
	struct cpu_mask mask;
	struct virtio_blk_config disk;
	struct virtio_net_config net;
	struct arch_supported supported;
	struct session_config config;
};

static int file_of(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int setup(void **state)
{
	static const uint8_t suffix[] = { 0, 1, 2, 0xff };
	struct fixture *f = xcalloc(1, sizeof(*f));

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->fds), 0);
	f->kernel = (struct kernel_image){ .kind = KERNEL_ELF,
					   .fd = file_of("/proc/self/exe"),
					   .n_segments = 2,
					   .segments = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } },
					   .entry = 0x1000000,
					   .end = 0x2000000,
					   .is_linux = true,
					   .release = "6.6.6" };
	f->mask = (struct cpu_mask){ .leaf = { 7 }, .clear = { 0x10 }, .n = 1 };
	f->disk = (struct virtio_blk_config){ .fd = file_of("/dev/zero"),
					      .read_only = true,
					      .file = { .capacity = 4096, .why_buffered = "text" },
					      .limits = { .iops = 10, .depth = 3 },
					      .id = "ktstr-disk" };
	f->net = virtio_net_config_of("ktstr test");
	f->supported = (struct arch_supported){ .len = 5, .bytes = "cpuid" };
	f->config = (struct session_config){
		.vm = { .kernel = &f->kernel,
			.initrd_fd = file_of("/dev/null"),
			.initrd_len = 8192,
			.initrd_suffix = suffix,
			.initrd_suffix_len = sizeof(suffix),
			.cmdline = "console=ttyS0 ktstr.run=a/b",
			.topology = topology_uniform(2, 4, 2, 2),
			.memory_mib = 512,
			.hugepages = VM_HUGEPAGES_TRY,
			.cpu_mask = &f->mask,
			.supported = &f->supported,
			.pit = true,
			.disk = &f->disk,
			.net = &f->net },
		.backend = REACTOR_EPOLL,
		.link_fd = -1,
		.relay_fd = -1,
		.timeout_ns = 1,
		.boot_timeout_ns = 2,
		.command_timeout_ns = 3,
		.has_init = true,
		.confine = true,
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fd_closep(&f->fds[SENDER]);
	fd_closep(&f->fds[RECEIVER]);
	fd_closep(&f->kernel.fd);
	fd_closep(&f->disk.fd);
	fd_closep(&f->config.vm.initrd_fd);
	freep(&f);
	return 0;
}

static void need_same_file(int a, int b)
{
	struct stat of_a, of_b;

	assert_int_equal(fstat(a, &of_a), 0);
	assert_int_equal(fstat(b, &of_b), 0);
	assert_true(of_a.st_ino == of_b.st_ino && of_a.st_dev == of_b.st_dev && a != b);
	assert_int_equal(fcntl(b, F_GETFD), FD_CLOEXEC);
}

static void test_everything_arrives(void **state)
{
	struct fixture *f = *state;
	struct vm_message m;
	struct error err;

	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	assert_int_equal(vm_message_receive(f->fds[RECEIVER], &m, &err), 0);
	const struct vm_config *vm = &m.config.vm;
	assert_int_equal(m.runner, getpid());
	need_same_file(f->kernel.fd, m.kernel.fd);
	need_same_file(f->disk.fd, m.disk.fd);
	need_same_file(f->config.vm.initrd_fd, vm->initrd_fd);
	assert_int_equal(vm->kernel->segments[1].mem_len, 8);
	assert_string_equal(vm->kernel->release, "6.6.6");
	assert_true(vm->kernel->is_linux);
	assert_string_equal(vm->cmdline, f->config.vm.cmdline);
	assert_int_equal(vm->initrd_suffix_len, 4);
	assert_memory_equal(vm->initrd_suffix, f->config.vm.initrd_suffix, 4);
	assert_memory_equal(&vm->topology, &f->config.vm.topology, sizeof(vm->topology));
	assert_int_equal(vm->memory_mib, 512);
	assert_int_equal(vm->hugepages, VM_HUGEPAGES_TRY);
	assert_memory_equal(vm->cpu_mask, &f->mask, sizeof(f->mask));
	assert_int_equal(vm->supported->len, 5);
	assert_memory_equal(vm->supported->bytes, "cpuid", 5);
	assert_true(vm->pit && vm->disk->read_only);
	assert_int_equal(vm->disk->file.capacity, 4096);
	assert_null(vm->disk->file.why_buffered); /* a pointer of the sender's */
	assert_int_equal(vm->disk->limits.iops, 10);
	assert_string_equal(vm->disk->id, "ktstr-disk");
	assert_memory_equal(vm->net, &f->net, sizeof(f->net));
	assert_int_equal(m.config.backend, REACTOR_EPOLL);
	assert_int_equal(m.config.link_fd, -1);
	assert_int_equal(m.config.relay_fd, -1);
	assert_true(!vm->placement && !vm->hold && !m.config.cgroup_fd);
	assert_true(m.config.timeout_ns == 1 && m.config.boot_timeout_ns == 2 &&
		    m.config.command_timeout_ns == 3 && m.config.has_init && m.config.confine);
	vm_message_fini(&m);
}

static struct placement performance_of(const struct topology *t)
{
	struct placement p = { .n_vcpus = (uint32_t)topology_n_cpus(t),
			       .n_vcpu_cpus = (uint32_t)topology_n_cpus(t),
			       .is_performance = true,
			       .service_cpu = 99,
			       .n_nodes = t->n_nodes };

	id_set_add_range(&p.cpus, 10, 90);
	id_set_add(&p.mems, 7);
	p.vcpu_cpus = xcalloc(p.n_vcpus, sizeof(*p.vcpu_cpus));
	for (uint32_t i = 0; i < p.n_vcpus; i++)
		p.vcpu_cpus[i] = 10 + i;
	p.node_mems = xcalloc(p.n_nodes, sizeof(*p.node_mems));
	for (uint32_t i = 0; i < p.n_nodes; i++)
		id_set_add(&p.node_mems[i], 5 + i);
	return p;
}

static void test_placement_arrives(void **state)
{
	struct fixture *f = *state;
	CLEANUP(placement_fini) struct placement p = performance_of(&f->config.vm.topology);
	struct vm_message m;
	struct error err;

	f->config.vm.placement = &p;
	f->config.vm.hold = true;
	f->config.cgroup_fd = &f->disk.fd;
	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	assert_int_equal(vm_message_receive(f->fds[RECEIVER], &m, &err), 0);
	const struct placement *got = m.config.vm.placement;
	assert_true(m.config.vm.hold && got->is_performance);
	assert_true(id_set_is_equal(&got->cpus, &p.cpus) && id_set_is_equal(&got->mems, &p.mems));
	assert_true(got->n_vcpus == p.n_vcpus && got->n_vcpu_cpus == p.n_vcpu_cpus);
	assert_int_equal(got->service_cpu, 99);
	assert_memory_equal(got->vcpu_cpus, p.vcpu_cpus, p.n_vcpus * sizeof(*p.vcpu_cpus));
	assert_int_equal(got->n_nodes, p.n_nodes);
	assert_memory_equal(got->node_mems, p.node_mems, p.n_nodes * sizeof(*p.node_mems));
	need_same_file(f->disk.fd, *m.config.cgroup_fd);
	vm_message_fini(&m);
}

/* Without the arrays; they are of performance mode. */
static void test_budget_arrives(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .n_vcpus = (uint32_t)topology_n_cpus(&f->config.vm.topology),
			       .n_vcpu_cpus = 1 };
	struct vm_message m;
	struct error err;

	id_set_add(&p.cpus, 3);
	f->config.vm.placement = &p;
	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	assert_int_equal(vm_message_receive(f->fds[RECEIVER], &m, &err), 0);
	const struct placement *got = m.config.vm.placement;
	assert_true(id_set_is_equal(&got->cpus, &p.cpus) && placement_is_overcommitted(got));
	assert_true(!got->vcpu_cpus && !got->node_mems && !m.config.vm.hold);
	assert_null(m.config.cgroup_fd);
	vm_message_fini(&m);
}

/* Numbers that the VM would index by. */
static void test_placement_that_does_not_fit_is_refused(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++) {
		CLEANUP(placement_fini) struct placement p = performance_of(&f->config.vm.topology);
		struct vm_message m;
		struct error err;
		if (i == 0)
			p.n_vcpus--;
		else if (i == 1)
			p.n_nodes--;
		else if (i == 2)
			p.vcpu_cpus[1] = ID_SET_MAX;
		else
			p.service_cpu = ID_SET_MAX;
		f->config.vm.placement = &p;
		assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
		assert_int_equal(vm_message_receive(f->fds[RECEIVER], &m, &err), -EBADMSG);
		vm_message_fini(&m);
	}
}

/* More than go into one message. */
static void test_all_locks_arrive(void **state)
{
	enum { N = 2 * VM_MESSAGE_LOCKS + 7 };
	struct fixture *f = *state;
	struct vm_message m;
	struct error err;
	int fds[N];

	for (size_t i = 0; i < N; i++)
		fds[i] = i % 2 ? f->kernel.fd : f->disk.fd;
	f->config.lock_fds = fds;
	f->config.n_lock_fds = N;
	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	assert_int_equal(vm_message_receive(f->fds[RECEIVER], &m, &err), 0);
	assert_int_equal(m.config.n_lock_fds, N);
	for (size_t i = 0; i < N; i++)
		need_same_file(fds[i], m.config.lock_fds[i]);
	vm_message_fini(&m);
}

static void test_what_is_not_there_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct vm_message m;
	struct error err;

	fd_closep(&f->config.vm.initrd_fd);
	f->config.vm.disk = NULL;
	f->config.vm.net = NULL;
	f->config.vm.cpu_mask = NULL;
	f->config.vm.supported = NULL;
	f->config.vm.initrd_suffix = NULL;
	f->config.vm.initrd_suffix_len = 0;
	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	assert_int_equal(vm_message_receive(f->fds[RECEIVER], &m, &err), 0);
	need_same_file(f->kernel.fd, m.kernel.fd);
	assert_true(!m.config.vm.disk && !m.config.vm.net && !m.config.vm.cpu_mask);
	assert_null(m.config.vm.supported);
	assert_int_equal(m.config.vm.initrd_fd, -1);
	assert_int_equal(m.config.vm.initrd_suffix_len, 0);
	vm_message_fini(&m);
}

static void test_too_long_arguments_are_the_users_error(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *text = xcalloc(1, VM_MESSAGE_MAX + 1);
	struct error err;

	memset(text, 'a', VM_MESSAGE_MAX);
	f->config.vm.cmdline = text;
	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), -E2BIG);
	assert_int_equal(err.class, ERROR_USAGE);
}

/* Each byte of the message turned, and each of its beginnings: an error, never a configuration. */
static void test_damaged_message_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[64 * 1024];
	struct error err;

	/* Without descriptors, which plain writes would lose: then only the damage is wrong. */
	fd_closep(&f->kernel.fd);
	fd_closep(&f->config.vm.initrd_fd);
	f->config.vm.disk = NULL;
	CLEANUP(placement_fini) struct placement p = performance_of(&f->config.vm.topology);
	f->config.vm.placement = &p;
	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	ssize_t n = read(f->fds[RECEIVER], bytes, sizeof(bytes));
	assert_true(n > 1000 && n < (ssize_t)sizeof(bytes));
	for (ssize_t i = 0; i < n; i += i < 64 ? 1 : 397) {
		struct vm_message m;
		int pair[2];
		bool cut = i & 1;
		bytes[i] ^= 1;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(fd_write_all(pair[0], bytes, cut ? (size_t)i : (size_t)n), 0);
		(void)close(pair[0]);
		assert_true(vm_message_receive(pair[1], &m, &err) < 0);
		vm_message_fini(&m);
		(void)close(pair[1]);
		bytes[i] ^= 1;
	}
}

/* The same bytes without the descriptors that they promise. */
static void test_missing_descriptors_are_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[64 * 1024];
	struct vm_message m;
	struct error err;

	assert_int_equal(vm_message_send(f->fds[SENDER], &f->config, &err), 0);
	ssize_t n = read(f->fds[RECEIVER], bytes, sizeof(bytes));
	assert_int_equal(fd_write_all(f->fds[SENDER], bytes, (size_t)n), 0);
	assert_true(vm_message_receive(f->fds[RECEIVER], &m, &err) < 0);
	vm_message_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everything_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_placement_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_budget_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_placement_that_does_not_fit_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_all_locks_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_there_is_not_there, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_too_long_arguments_are_the_users_error, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_damaged_message_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_descriptors_are_refused, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
