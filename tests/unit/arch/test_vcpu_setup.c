/* Error paths only: registers need a KVM and are read back in tests/kvm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/arch.h"

static void test_init_no_vcpu_names_cpu_and_call(void **state)
{
	struct arch_boot boot = { .kind = ARCH_ENTRY_BARE };
	struct error err;

	assert_int_equal(arch_vcpu_init(-1, 3, &boot, &err), -EBADF);
	assert_non_null(strstr(err.text, "CPU 3: KVM_SET_MSRS"));
}

static void test_describe_no_vcpu_says_so_within_the_buffer(void **state)
{
	char text[24];

	memset(text, 'x', sizeof(text));
	arch_vcpu_describe(-1, text, sizeof(text) - 1);
	assert_memory_equal(text, "registers unreadable", 20);
	assert_int_equal(text[sizeof(text) - 2], 0);
	assert_int_equal(text[sizeof(text) - 1], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_no_vcpu_names_cpu_and_call),
		cmocka_unit_test(test_describe_no_vcpu_says_so_within_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
