/*
 * Set-up against a real KVM: everything is read back, and a few instructions run with it. No
 * reactor, no devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/layout.h"
#include "base/fd.h"
#include "base/num.h"
#include "support/linux_cpuid.h"

enum { RAM = 4 * 1024 * 1024, MAX_CPUS = 8, EXIT_TEST_SKIPPED = 77 };

/* Three cores per LLC: ids 0 1 2 4 5 6. */
static const struct topology six_cpus = { .nodes = { { .n_llcs = 2 } },
					  .distances = { { TOPOLOGY_LOCAL_DISTANCE } },
					  .n_nodes = 1,
					  .n_llcs = 2,
					  .cores_per_llc = 3,
					  .threads_per_core = 1 };

struct vm {
	int kvm_fd, fd;
	int vcpu_fds[MAX_CPUS];
	struct guest_mem mem;
	struct arch_boot boot;
	struct arch_cpuid *cpuid;
	struct error err;
};

static void add_memory(struct vm *vm)
{
	assert_int_equal(guest_mem_map_anonymous(&vm->mem, GPA(0), RAM), 0);
	struct kvm_userspace_memory_region region = { .memory_size = RAM,
						      .userspace_addr =
							  (uintptr_t)vm->mem.ranges[0].hva };
	assert_int_equal(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region), 0);
}

static void add_vcpus(struct vm *vm, const struct cpu_mask *mask)
{
	const struct topology *t = vm->boot.topology;
	struct arch_supported supported;
	const struct arch_cpuid_config config = { .supported = &supported,
						  .topology = t,
						  .mask = mask };

	assert_int_equal(arch_supported_read(vm->kvm_fd, &supported, &vm->err), 0);
	assert_int_equal(arch_cpuid_new(vm->kvm_fd, &config, &vm->cpuid, &vm->err), 0);
	for (uint32_t cpu = 0; cpu < topology_n_cpus(t); cpu++) {
		vm->vcpu_fds[cpu] = ioctl(vm->fd, KVM_CREATE_VCPU, arch_vcpu_id(t, cpu));
		assert_true(vm->vcpu_fds[cpu] >= 0);
		assert_int_equal(arch_vcpu_set_cpuid(vm->vcpu_fds[cpu], vm->cpuid, cpu, &vm->err),
				 0);
		assert_int_equal(arch_vcpu_init(vm->vcpu_fds[cpu], cpu, &vm->boot, &vm->err), 0);
	}
}

static void vm_open(struct vm *vm, const struct topology *t, bool pit, const struct cpu_mask *mask)
{
	*vm = (struct vm){ .boot = { .kind = ARCH_ENTRY_BARE,
				     .entry = GPA(HIMEM_ADDR),
				     .cmdline = "",
				     .topology = t,
				     .ram_bytes = RAM } };
	memset(vm->vcpu_fds, -1, sizeof(vm->vcpu_fds));
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	assert_true(vm->kvm_fd >= 0);
	assert_int_equal(arch_check_capabilities(vm->kvm_fd, &vm->err), 0);
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	assert_true(vm->fd >= 0);
	add_memory(vm);
	assert_int_equal(
	    arch_vm_init(vm->fd, &(struct arch_vm_config){ .topology = t, .pit = pit }, &vm->err),
	    0);
	assert_int_equal(arch_boot_write(&vm->mem, &vm->boot, &vm->err), 0);
	add_vcpus(vm, mask);
}

static void vm_close(struct vm *vm)
{
	for (size_t i = 0; i < MAX_CPUS; i++)
		fd_close(vm->vcpu_fds[i]);
	fd_close(vm->fd);
	fd_close(vm->kvm_fd);
	guest_mem_fini(&vm->mem);
	vm->cpuid = arch_cpuid_free(vm->cpuid);
}

static void test_vm_init_pic_is_left_masked(void **state)
{
	struct vm vm;

	vm_open(&vm, &six_cpus, false, NULL);
	for (uint32_t chip = KVM_IRQCHIP_PIC_MASTER; chip <= KVM_IRQCHIP_PIC_SLAVE; chip++) {
		struct kvm_irqchip c = { .chip_id = chip };

		assert_int_equal(ioctl(vm.fd, KVM_GET_IRQCHIP, &c), 0);
		assert_int_equal(c.chip.pic.imr, 0xFF);
	}
	vm_close(&vm);
}

static void test_vm_init_pit_exists_only_when_asked_for(void **state)
{
	const struct topology one = topology_uniform(1, 1, 1, 1);
	struct kvm_pit_state2 pit;
	struct vm vm;

	vm_open(&vm, &one, false, NULL);
	assert_true(ioctl(vm.fd, KVM_GET_PIT2, &pit) < 0);
	vm_close(&vm);
	vm_open(&vm, &one, true, NULL);
	assert_int_equal(ioctl(vm.fd, KVM_GET_PIT2, &pit), 0);
	vm_close(&vm);
}

static void test_vm_init_twice_is_an_error_that_names_the_call(void **state)
{
	struct vm vm;

	vm_open(&vm, &six_cpus, false, NULL);
	assert_true(
	    arch_vm_init(vm.fd, &(struct arch_vm_config){ .topology = &six_cpus }, &vm.err) < 0);
	assert_non_null(strstr(vm.err.text, "KVM_"));
	vm_close(&vm);
}

static void test_vcpu_cpuid_and_apic_id_are_its_own(void **state)
{
	static const uint32_t ids[] = { 0, 1, 2, 4, 5, 6 };
	struct vm vm;

	vm_open(&vm, &six_cpus, false, NULL);
	for (uint32_t cpu = 0; cpu < ARRAY_SIZE(ids); cpu++) {
		struct cpuid_table t = { .n = CPUID_MAX_ENTRIES };
		struct kvm_lapic_state lapic;

		assert_int_equal(ioctl(vm.vcpu_fds[cpu], KVM_GET_CPUID2, &t), 0);
		assert_int_equal(cpuid_find(&t, 1, 0)->ebx >> 24, ids[cpu]);
		assert_int_equal(cpuid_find(&t, 0xB, 1)->edx, ids[cpu]);
		assert_int_equal(ioctl(vm.vcpu_fds[cpu], KVM_GET_LAPIC, &lapic), 0);
		assert_int_equal((uint8_t)lapic.regs[0x23], ids[cpu]);
	}
	vm_close(&vm);
}

static void test_vcpu_init_boot_cpu_registers_read_back(void **state)
{
	struct kvm_lapic_state lapic;
	struct kvm_sregs s;
	struct kvm_regs r;
	struct vm vm;
	uint32_t lint0;

	vm_open(&vm, &six_cpus, false, NULL);
	assert_int_equal(ioctl(vm.vcpu_fds[0], KVM_GET_REGS, &r), 0);
	assert_int_equal(ioctl(vm.vcpu_fds[0], KVM_GET_SREGS, &s), 0);
	assert_int_equal(ioctl(vm.vcpu_fds[0], KVM_GET_LAPIC, &lapic), 0);
	memcpy(&lint0, lapic.regs + 0x350, 4);
	assert_int_equal(r.rip, HIMEM_ADDR);
	assert_int_equal(r.rsi, ZERO_PAGE_ADDR);
	assert_int_equal(s.cs.selector, BOOT_CS);
	assert_int_equal(s.cs.l, 1);
	assert_int_equal(s.ds.selector, BOOT_DS);
	assert_int_equal(s.cr3, PML4_ADDR);
	assert_int_equal(s.efer & 0x500, 0x500);
	assert_int_equal(lint0 & 0x10700, 0x700);
	vm_close(&vm);
}

static void test_vcpu_init_others_wait_for_sipi(void **state)
{
	struct kvm_mp_state mp;
	struct vm vm;

	vm_open(&vm, &six_cpus, false, NULL);
	assert_int_equal(ioctl(vm.vcpu_fds[0], KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_RUNNABLE);
	for (size_t cpu = 1; cpu < 6; cpu++) {
		assert_int_equal(ioctl(vm.vcpu_fds[cpu], KVM_GET_MP_STATE, &mp), 0);
		assert_int_equal(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
	}
	vm_close(&vm);
}

/* Runs a CPU to its next exit. */
static const struct kvm_run *run(struct vm *vm, uint32_t cpu, int *ret_size)
{
	*ret_size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run =
	    mmap(NULL, (size_t)*ret_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fds[cpu], 0);
	int res;

	assert_ptr_not_equal(run, MAP_FAILED);
	do {
		res = ioctl(vm->vcpu_fds[cpu], KVM_RUN, 0);
	} while (res < 0 && (errno == EINTR || errno == EAGAIN));
	assert_int_equal(res, 0);
	return run;
}

static void test_run_code_sees_zero_page_and_leaves_by_a_port(void **state)
{
	static const uint8_t code[] = {
		0x48, 0x8B, 0x46, 0x70, /* mov rax, [rsi + 0x70]: acpi_rsdp_addr */
		0x8A, 0x00,             /* mov al, [rax]: 'R' */
		0x66, 0xBA, 0xF8, 0x03, /* mov dx, 0x3f8 */
		0xEE,                   /* out dx, al */
	};
	const struct topology one = topology_uniform(1, 1, 1, 1);
	struct vm vm;
	char text[512];
	int size;

	vm_open(&vm, &one, false, NULL);
	assert_int_equal(guest_mem_write(&vm.mem, vm.boot.entry, code, sizeof(code)), 0);
	const struct kvm_run *r = run(&vm, 0, &size);
	assert_int_equal(r->exit_reason, KVM_EXIT_IO);
	assert_int_equal(r->io.port, 0x3F8);
	assert_int_equal(((const uint8_t *)r)[r->io.data_offset], 'R');
	arch_vcpu_describe(vm.vcpu_fds[0], text, sizeof(text));
	assert_non_null(strstr(text, "rsi=7000"));
	assert_non_null(strstr(text, "cr3=9000"));
	assert_int_equal(munmap((void *)(uintptr_t)r, (size_t)size), 0);
	vm_close(&vm);
}

/* One CPUID instruction of the guest below. */
struct request {
	uint32_t leaf, subleaf;
	uint32_t eax, ebx, ecx, edx;
};
enum { REQUESTS = 0x200000, END_OF_REQUESTS = -1 };

static size_t add_requests(struct request *list)
{
	static const struct {
		uint32_t leaf, n;
	} leaves[] = { { 0, 1 },          { 1, 1 },          { 4, 5 },          { 0xB, 3 },
		       { 0x1F, 3 },       { 0x80000000, 1 }, { 0x80000001, 1 }, { 0x80000006, 1 },
		       { 0x80000008, 1 }, { 0x8000001D, 5 }, { 0x8000001E, 1 }, { 0x80000026, 5 } };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		for (uint32_t k = 0; k < leaves[i].n; k++)
			list[n++] = (struct request){ .leaf = leaves[i].leaf, .subleaf = k };
	list[n] = (struct request){ .leaf = (uint32_t)END_OF_REQUESTS };
	return n;
}

/* What CPUID says to code that runs on @cpu. */
static struct cpuid_table execute_cpuid(struct vm *vm, uint32_t cpu)
{
	static const uint8_t code[] = {
		0x48, 0xC7, 0xC7, 0x00, 0x00, 0x20, 0x00, /* mov rdi, REQUESTS */
		0x8B, 0x07,                               /* next: mov eax, [rdi] */
		0x83, 0xF8, 0xFF,                         /* cmp eax, END_OF_REQUESTS */
		0x74, 0x17,                               /* je done */
		0x8B, 0x4F, 0x04,                         /* mov ecx, [rdi + 4] */
		0x0F, 0xA2,                               /* cpuid */
		0x89, 0x47, 0x08,                         /* mov [rdi + 8], eax */
		0x89, 0x5F, 0x0C,                         /* mov [rdi + 12], ebx */
		0x89, 0x4F, 0x10,                         /* mov [rdi + 16], ecx */
		0x89, 0x57, 0x14,                         /* mov [rdi + 20], edx */
		0x48, 0x83, 0xC7, 0x18,                   /* add rdi, 24 */
		0xEB, 0xE2,                               /* jmp next */
		0x66, 0xBA, 0xF8, 0x03,                   /* done: mov dx, 0x3f8 */
		0xEE,                                     /* out dx, al */
	};
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct request list[64];
	size_t n = add_requests(list), bytes = (n + 1) * sizeof(*list);
	struct cpuid_table t = { 0 };
	int size;

	/* The boot CPU's registers, whichever CPU it is. */
	assert_int_equal(arch_vcpu_init(vm->vcpu_fds[cpu], 0, &vm->boot, &vm->err), 0);
	assert_int_equal(ioctl(vm->vcpu_fds[cpu], KVM_SET_MP_STATE, &runnable), 0);
	assert_int_equal(guest_mem_write(&vm->mem, vm->boot.entry, code, sizeof(code)), 0);
	assert_int_equal(guest_mem_write(&vm->mem, GPA(REQUESTS), list, bytes), 0);
	const struct kvm_run *r = run(vm, cpu, &size);
	assert_int_equal(r->exit_reason, KVM_EXIT_IO);
	assert_int_equal(munmap((void *)(uintptr_t)r, (size_t)size), 0);
	assert_int_equal(guest_mem_read(&vm->mem, GPA(REQUESTS), list, bytes), 0);
	for (size_t i = 0; i < n; i++)
		t.e[t.n++] = (struct kvm_cpuid_entry2){ .function = list[i].leaf,
							.index = list[i].subleaf,
							.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
							.eax = list[i].eax,
							.ebx = list[i].ebx,
							.ecx = list[i].ecx,
							.edx = list[i].edx };
	return t;
}

/* KVM passes on what it was given, and Linux would find the declaration in it. */
static void check_executed_cpuid(const struct topology *topo)
{
	struct vm vm;

	vm_open(&vm, topo, false, NULL);
	for (uint32_t cpu = 0; cpu < topology_n_cpus(topo); cpu++) {
		const struct cpuid_table t = execute_cpuid(&vm, cpu);
		bool amd = cpuid_vendor(&t) == CPUID_AMD || cpuid_vendor(&t) == CPUID_HYGON;

		for (size_t i = 0; i < linux_n_paths; i++) {
			struct linux_cpu c = { 0 };

			if (linux_paths[i].amd != amd)
				continue;
			if (!linux_paths[i].read(&t, &c))
				fail_msg("CPU %u: %s", cpu, linux_paths[i].name);
			assert_int_equal(c.apic_id, topology_apic_id(topo, cpu));
			assert_int_equal(c.pkg_id, topology_cpu_llc(topo, cpu));
			assert_int_equal(c.llc_id, topology_cpu_llc(topo, cpu));
			assert_int_equal(c.core_id, topology_cpu_core(topo, cpu));
		}
	}
	vm_close(&vm);
}

static void test_cpuid_executed_on_every_vcpu_is_the_topology(void **state)
{
	const struct topology smt = topology_uniform(1, 2, 2, 2),
			      odd = topology_uniform(1, 7, 1, 1);

	check_executed_cpuid(&six_cpus);
	check_executed_cpuid(&smt);
	check_executed_cpuid(&odd);
}

static void test_cpuid_mask_reaches_the_vcpu(void **state)
{
	const struct topology one = topology_uniform(1, 1, 1, 1);
	struct cpuid_table t = { .n = CPUID_MAX_ENTRIES };
	struct cpu_mask mask;
	struct error err;
	struct vm vm;

	assert_int_equal(arch_cpu_mask_parse("-cx16,-steal_time", &mask, &err), 0);
	vm_open(&vm, &one, false, &mask);
	assert_int_equal(ioctl(vm.vcpu_fds[0], KVM_GET_CPUID2, &t), 0);
	assert_int_equal(cpuid_find(&t, 1, 0)->ecx & 1u << 13, 0);
	assert_int_equal(cpuid_find(&t, 0x40000001, 0)->eax & 1u << 5, 0);
	vm_close(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm_init_pic_is_left_masked),
		cmocka_unit_test(test_vm_init_pit_exists_only_when_asked_for),
		cmocka_unit_test(test_vm_init_twice_is_an_error_that_names_the_call),
		cmocka_unit_test(test_vcpu_cpuid_and_apic_id_are_its_own),
		cmocka_unit_test(test_vcpu_init_boot_cpu_registers_read_back),
		cmocka_unit_test(test_vcpu_init_others_wait_for_sipi),
		cmocka_unit_test(test_run_code_sees_zero_page_and_leaves_by_a_port),
		cmocka_unit_test(test_cpuid_executed_on_every_vcpu_is_the_topology),
		cmocka_unit_test(test_cpuid_mask_reaches_the_vcpu),
	};

	CLEANUP(fd_closep) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return EXIT_TEST_SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
