/* What can be decided without a KVM: sizes, vCPU ids, and the names in messages (a descriptor that
 * is no KVM lacks all). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/host_error.h"
#include "base/fd.h"

static void test_check_capabilities_missing_ones_are_named(void **state)
{
	CLEANUP(fd_closep) int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct error err;

	assert_int_equal(arch_check_capabilities(fd, &err), -ENOTSUP);
	assert_int_equal(err.class, ERROR_SKIP);
	assert_non_null(strstr(err.text, "KVM_CAP_IRQCHIP"));
	assert_non_null(strstr(err.text, "KVM_CAP_IOEVENTFD"));
	assert_non_null(strstr(err.text, "KVM_CAP_EXT_CPUID"));
	assert_null(strstr(err.text, "PIT")); /* needed only where one is made */
}

/* Tables of shapes: nodes, LLCs, cores, threads. */
static struct topology of(const uint32_t n[4])
{
	return topology_uniform(n[0], n[1], n[2], n[3]);
}

static void test_vm_init_pit_beside_wide_apic_ids_is_a_usage_error(void **state)
{
	const struct topology t = topology_uniform(1, 1, 256, 1);
	struct arch_vm_config config = { .topology = &t, .pit = true };
	struct error err;

	assert_int_equal(arch_vm_init(-1, &config, &err), -EINVAL);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "--pit"));
	config.pit = false;
	assert_int_equal(arch_vm_init(-1, &config, &err), -EBADF);
	assert_int_equal(err.class, ERROR_INFRA);
}

static void test_irqchip_is_in_this_process_only_for_wide_apic_ids(void **state)
{
	const struct topology narrow = topology_uniform(1, 1, 255, 1),
			      wide = topology_uniform(1, 86, 3, 1);

	assert_null(arch_irqchip_new(-1, &narrow));
	struct arch_irqchip *c = arch_irqchip_new(-1, &wide);
	assert_non_null(c);
	assert_null(arch_irqchip_free(c));
}

static void test_vm_init_failing_ioctl_is_named(void **state)
{
	const struct topology t = topology_uniform(1, 1, 255, 1);
	struct arch_vm_config config = { .topology = &t };
	struct error err;

	assert_int_equal(arch_vm_init(-1, &config, &err), -EBADF);
	assert_non_null(strstr(err.text, "KVM_SET_TSS_ADDR"));
	assert_int_equal(err.class, ERROR_INFRA);
}

static void test_vcpu_id_has_gaps_where_counts_are_no_powers_of_two(void **state)
{
	static const struct {
		uint32_t t[4];
		uint32_t cpu;
		uint64_t id;
	} cases[] = {
		{ { 1, 1, 1, 1 }, 0, 0 },   { { 1, 3, 3, 1 }, 2, 2 },
		{ { 1, 3, 3, 1 }, 3, 4 },   { { 1, 3, 3, 1 }, 8, 10 },
		{ { 1, 2, 4, 2 }, 15, 15 }, { { 2, 2, 5, 3 }, 29, 1 << 5 | 4 << 2 | 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct topology t = of(cases[i].t);
		assert_int_equal(arch_vcpu_id(&t, cases[i].cpu), cases[i].id);
	}
}

static void test_host_error_transient_ones_say_host_resources(void **state)
{
	static const int transient[] = { ENOMEM, EBUSY, EAGAIN, EMFILE };
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(transient); i++) {
		assert_int_equal(host_error_set(&err, transient[i], "KVM_CREATE_X"), -transient[i]);
		assert_int_equal(err.class, ERROR_INFRA);
		assert_non_null(strstr(err.text, "KVM_CREATE_X: host resources"));
	}
	assert_int_equal(host_error_set(&err, EINVAL, "KVM_CREATE_X"), -EINVAL);
	assert_null(strstr(err.text, "host resources"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_capabilities_missing_ones_are_named),
		cmocka_unit_test(test_vm_init_pit_beside_wide_apic_ids_is_a_usage_error),
		cmocka_unit_test(test_irqchip_is_in_this_process_only_for_wide_apic_ids),
		cmocka_unit_test(test_vm_init_failing_ioctl_is_named),
		cmocka_unit_test(test_vcpu_id_has_gaps_where_counts_are_no_powers_of_two),
		cmocka_unit_test(test_host_error_transient_ones_say_host_resources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
