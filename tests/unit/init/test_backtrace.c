/* Mappings, symbols and the stack walk, on this very process and on bytes that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backtrace.h"
#include "maps.h"
#include "own_crash.h"
#include "regs.h"
#include "symbols.h"

static void read_maps(const char *text, struct maps *ret)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(in);
	maps_read(in, ret);
	(void)fclose(in);
}

static void test_maps_keep_executable_files(void **state)
{
	struct maps m;

	(void)state;
	read_maps("1000-2000 r--p 00000000 08:01 17 /bin/a\n"
		  "2000-3000 r-xp 00001000 08:01 17 /bin/a\n"
		  "3000-4000 rwxp 00000000 00:00 0 \n"
		  "5000-6000 r-xp 00000000 08:01 18 /lib/with space.so (deleted)\n"
		  "noise\n"
		  "7ff0-7fff r-xp 00000000 00:00 0 [vdso]\n",
		  &m);
	assert_int_equal(m.n, 3);
	assert_string_equal(maps_find(&m, 0x2000)->path, "/bin/a");
	assert_int_equal(maps_find(&m, 0x2fff)->file_offset, 0x1000);
	assert_null(maps_find(&m, 0x3000));
	assert_string_equal(maps_find(&m, 0x5000)->path, "/lib/with space.so (deleted)");
	assert_null(maps_find(&m, 0x1000));
}

static void test_maps_more_than_room_are_cut(void **state)
{
	struct maps m;
	char *text = calloc(1000, 64);
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		n += (size_t)snprintf(text + n, 64, "%x000-%x000 r-xp 0 8:1 1 /l\n", i + 1, i + 2);
	read_maps(text, &m);
	assert_int_equal(m.n, MAPS_MAX);
	free(text);
}

static void test_call_instructions_are_known(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool is_call;
	} cases[] = {
		{ "\x90\x90\xe8\1\2\3\4", 7, true },
		{ "\x90\x90\x90\x90\x90\xff\xd0", 7, true },
		{ "\x90\x90\x90\x90\x41\xff\xd4", 7, true },
		{ "\x90\x90\x90\x90\xff\x50\x08", 7, true },
		{ "\x90\xff\x15\1\2\3\4", 7, true },
		{ "\xff\x94\x24\1\2\3\4", 7, true },
		{ "\x90\x90\x90\x90\xff\x14\x24", 7, true },
		{ "\x90\x90\x90\x90\x90\xff\xe0", 7, false },
		{ "\x90\x90\x90\x90\x90\x90\x90", 7, false },
		{ "\x90\x90\x90\x90\x90\xff\x50", 7, false },
		{ "\xe8\1\2\3", 4, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(regs_is_after_call((const uint8_t *)cases[i].bytes, cases[i].n),
				 cases[i].is_call);
}

/* Its own frame, seen from outside. */
static __attribute__((noinline)) size_t walk_here(struct maps *maps,
						  struct backtrace_entry *entries)
{
	const struct core_regs regs = {
		.ip = (uintptr_t)walk_here,
		.sp = (uintptr_t)__builtin_frame_address(0),
		.fp = (uintptr_t)__builtin_frame_address(0),
	};
	FILE *in = fopen("/proc/self/maps", "re");
	int mem_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	assert_non_null(in);
	assert_true(mem_fd >= 0);
	maps_read(in, maps);
	(void)fclose(in);
	size_t n = backtrace_walk(&regs, mem_fd, maps, entries);
	close(mem_fd);
	return n;
}

static __attribute__((noinline)) size_t middle_function(struct maps *maps,
							struct backtrace_entry *entries)
{
	size_t n = walk_here(maps, entries);

	__asm__ volatile("" ::: "memory"); /* no tail call */
	return n;
}

static void test_walk_own_stack_names_callers(void **state)
{
	struct maps maps;
	struct backtrace_entry entries[BACKTRACE_MAX];
	char text[4096] = "";
	size_t used = 0;

	(void)state;
	size_t n = middle_function(&maps, entries);
	assert_true(n >= 3 && n <= BACKTRACE_MAX);
	for (size_t i = 0; i < n; i++)
		used += backtrace_format(&entries[i], i, &maps, text + used, sizeof(text) - used);
	assert_memory_equal(text, "  #0 walk_here+0x0 (", strlen("  #0 walk_here+0x0 ("));
	const char *middle = strstr(text, "middle_function+0x");
	assert_non_null(middle);
	assert_non_null(strstr(middle, "test_walk_own_stack_names_callers+0x"));
}

static void test_walk_unreadable_memory_gives_ip_alone(void **state)
{
	const struct core_regs regs = { .ip = 0x1234, .sp = UINT64_MAX - 3, .fp = UINT64_MAX };
	static const struct maps maps;
	struct backtrace_entry entries[BACKTRACE_MAX];
	char text[64];

	(void)state;
	assert_int_equal(backtrace_walk(&regs, -1, &maps, entries), 1);
	assert_int_equal(backtrace_format(&entries[0], 0, &maps, text, sizeof(text)),
			 strlen("  #0 0x1234\n"));
	assert_string_equal(text, "  #0 0x1234\n");
	assert_int_equal(backtrace_format(&entries[0], 0, &maps, text, 5), 4);
}

static void test_symbols_of_damaged_files_are_safe(void **state)
{
	uint8_t bytes[64 * 1024];
	struct symbol symbol;
	unsigned seed = 7;
	int exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(exe_fd, bytes, sizeof(bytes));
	int fd = memfd_create("elf", MFD_CLOEXEC);

	(void)state;
	assert_true(n > (ssize_t)sizeof(Elf64_Ehdr) && fd >= 0);
	close(exe_fd);
	for (int round = 0; round < 300; round++) {
		for (int i = 0; i < 6; i++) {
			seed = seed * 1103515245 + 12345;
			bytes[16 + (seed >> 8) % 900] = (uint8_t)(seed >> 24);
		}
		assert_int_equal(pwrite(fd, bytes, (size_t)n, 0), n);
		(void)symbols_find(fd, 0x1100, &symbol); /* the sanitizers judge */
	}
	assert_int_equal(ftruncate(fd, 10), 0);
	assert_false(symbols_find(fd, 0x1100, &symbol));
	close(fd);
}

static void test_own_crash_text_has_signal_address_and_ip(void **state)
{
	char text[1024];
	ucontext_t context = { 0 };
	siginfo_t info = { .si_signo = 11, .si_code = SEGV_MAPERR };

	(void)state;
	info.si_addr = (void *)(uintptr_t)0xbad0;
	context.uc_mcontext.gregs[REG_RIP] = 0x401234;
	context.uc_mcontext.gregs[REG_RSP] = 0x7000;
	context.uc_mcontext.gregs[REG_RBP] = 1; /* nothing to walk */
	size_t n = own_crash_format(&info, &context, text, sizeof(text));
	text[n] = '\0';
	assert_string_equal(text,
			    "\nPANIC: ktstr-init died by SIGSEGV at address 0xbad0\n  0x401234\n");
	assert_int_equal(own_crash_format(&info, &context, text, 10), 10);
	info.si_code = SI_USER; /* a pid in the address's place */
	n = own_crash_format(&info, &context, text, sizeof(text));
	text[n] = '\0';
	assert_null(strstr(text, "at address"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps_keep_executable_files),
		cmocka_unit_test(test_maps_more_than_room_are_cut),
		cmocka_unit_test(test_call_instructions_are_known),
		cmocka_unit_test(test_walk_own_stack_names_callers),
		cmocka_unit_test(test_walk_unreadable_memory_gives_ip_alone),
		cmocka_unit_test(test_symbols_of_damaged_files_are_safe),
		cmocka_unit_test(test_own_crash_text_has_signal_address_and_ip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
