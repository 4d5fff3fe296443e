/* The notes of a core dump: good ones, and any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>

#include "core.h"

struct notes {
	uint8_t bytes[4096];
	size_t n;
};

static void add_note(struct notes *x, uint32_t type, const void *desc, size_t n)
{
	const Elf64_Nhdr h = { .n_namesz = 5, .n_descsz = (uint32_t)n, .n_type = type };

	memcpy(x->bytes + x->n, &h, sizeof(h));
	memcpy(x->bytes + x->n + sizeof(h), "CORE\0\0\0", 8);
	memcpy(x->bytes + x->n + sizeof(h) + 8, desc, n);
	x->n += sizeof(h) + 8 + ((n + 3) & ~(size_t)3);
}

static void add_status(struct notes *x, uint64_t ip)
{
	struct elf_prstatus status = { .pr_cursig = SIGSEGV };
	struct user_regs_struct regs = { .rip = ip, .rsp = 0x7000, .rbp = 0x7010 };

	memcpy(status.pr_reg, &regs, sizeof(regs));
	add_note(x, NT_PRSTATUS, &status, sizeof(status));
}

static void add_info(struct notes *x, int signal, int code, uintptr_t addr)
{
	siginfo_t info = { .si_signo = signal, .si_code = code };

	info.si_addr = (void *)addr;
	add_note(x, NT_SIGINFO, &info, sizeof(info));
}

static void test_parse_fault_gives_registers_and_address(void **state)
{
	struct notes x = { .n = 0 };
	struct core c;

	(void)state;
	add_status(&x, 0x401000);
	add_note(&x, NT_PRPSINFO, "psinfo", 6);
	add_info(&x, SIGSEGV, SEGV_MAPERR, 0x10);
	add_status(&x, 0x999); /* another thread */
	assert_true(core_parse_notes(x.bytes, x.n, &c));
	assert_int_equal(c.signal, SIGSEGV);
	assert_true(c.has_fault_addr);
	assert_int_equal(c.fault_addr, 0x10);
	assert_int_equal(c.regs.ip, 0x401000);
	assert_int_equal(c.regs.sp, 0x7000);
	assert_int_equal(c.regs.fp, 0x7010);
}

static void test_parse_sent_signal_has_no_address(void **state)
{
	struct notes x = { .n = 0 };
	struct core c;

	(void)state;
	add_status(&x, 1);
	add_info(&x, SIGSEGV, SI_USER, 0x1234); /* the union holds a pid there */
	assert_true(core_parse_notes(x.bytes, x.n, &c));
	assert_false(c.has_fault_addr);
}

static void test_parse_cut_notes_need_the_status_only(void **state)
{
	struct notes x = { .n = 0 };
	struct core c;

	(void)state;
	add_status(&x, 0x42);
	size_t n_status = x.n;
	add_info(&x, SIGSEGV, SEGV_MAPERR, 0x10);
	for (size_t n = 0; n <= x.n; n++) {
		uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read too far */
		assert_non_null(exact);
		memmove(exact, x.bytes, n);
		uint8_t *cut = realloc(exact, n > 0 ? n : 1);
		assert_non_null(cut);
		assert_int_equal(core_parse_notes(cut, n, &c), n >= n_status);
		free(cut);
	}
}

static void test_parse_any_bytes_is_safe(void **state)
{
	struct core c;
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct notes x = { .n = 0 };
		add_status(&x, 1);
		add_info(&x, SIGSEGV, SEGV_MAPERR, 1);
		for (int i = 0; i < 4; i++) {
			seed = seed * 1103515245 + 12345;
			x.bytes[(seed >> 8) % 420] = (uint8_t)(seed >> 24);
		}
		(void)core_parse_notes(x.bytes, x.n, &c); /* the sanitizers judge */
	}
	assert_false(
	    core_parse_notes((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\1\0\0\0", 12, &c));
}

/* A stream as the kernel writes it, cut after @n_sent bytes. */
static bool read_core(const Elf64_Ehdr *h, const Elf64_Phdr *p, const struct notes *x,
		      size_t n_sent, struct core *ret)
{
	uint8_t stream[sizeof(*h) + sizeof(*p) + sizeof(x->bytes)];
	int pipe_fds[2];

	memcpy(stream, h, sizeof(*h));
	memcpy(stream + sizeof(*h), p, sizeof(*p));
	memcpy(stream + sizeof(*h) + sizeof(*p), x->bytes, x->n);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(write(pipe_fds[1], stream, n_sent), n_sent);
	close(pipe_fds[1]);
	bool is_good = core_read(pipe_fds[0], ret);
	close(pipe_fds[0]);
	return is_good;
}

static void test_read_stream_takes_good_cores_only(void **state)
{
	struct notes x = { .n = 0 };
	struct core c;
	Elf64_Ehdr h = {
		.e_ident = ELFMAG,
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(h),
	};
	Elf64_Phdr p = { .p_type = PT_NOTE, .p_offset = sizeof(h) + sizeof(p) };

	(void)state;
	add_status(&x, 0x77);
	p.p_filesz = x.n;
	size_t n = sizeof(h) + sizeof(p) + x.n;
	assert_true(read_core(&h, &p, &x, n, &c));
	assert_int_equal(c.regs.ip, 0x77);
	p.p_filesz = UINT64_MAX; /* says more than comes */
	assert_true(read_core(&h, &p, &x, n, &c));
	assert_false(read_core(&h, &p, &x, n - 1, &c));
	assert_false(read_core(&h, &p, &x, 100, &c));
	p.p_offset = UINT64_MAX;
	assert_false(read_core(&h, &p, &x, n, &c));
	p.p_offset = 3;
	assert_false(read_core(&h, &p, &x, n, &c));
	h.e_type = ET_EXEC;
	p.p_offset = sizeof(h) + sizeof(p);
	assert_false(read_core(&h, &p, &x, n, &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_fault_gives_registers_and_address),
		cmocka_unit_test(test_parse_sent_signal_has_no_address),
		cmocka_unit_test(test_parse_cut_notes_need_the_status_only),
		cmocka_unit_test(test_parse_any_bytes_is_safe),
		cmocka_unit_test(test_read_stream_takes_good_cores_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
