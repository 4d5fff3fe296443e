/*
 * Distribution programs have no frame pointers, and unwinding their tables is a program of its own.
 * So the stack is read upwards and each word that points right behind a call instruction is taken
 * for a return address: complete, though with stale ones among them. Those that the chain of frame
 * pointers confirms are sure; the others are marked with '?', as in the kernel's own oops. Bounded
 * by STACK_MAX and BACKTRACE_MAX.
 */
#include "backtrace.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "regs.h"
#include "symbols.h"

enum {
	STACK_MAX = 32 * 1024,
};

static bool is_return_address(uint64_t addr, int mem_fd, const struct maps *maps)
{
	uint8_t before[REGS_CALL_MAX];
	const struct map *m = maps_find(maps, addr);

	if (m == NULL || addr - m->begin < sizeof(before))
		return false;
	return pread(mem_fd, before, sizeof(before), (off_t)(addr - sizeof(before))) ==
		   (ssize_t)sizeof(before) &&
	       regs_is_after_call(before, sizeof(before));
}

size_t backtrace_walk(const struct core_regs *regs, int mem_fd, const struct maps *maps,
		      struct backtrace_entry ret[BACKTRACE_MAX])
{
	uint64_t stack[STACK_MAX / sizeof(uint64_t)];
	size_t count = 1;
	uint64_t base = regs->sp & ~(uint64_t)7;
	uint64_t fp = regs->fp;

	ret[0] = (struct backtrace_entry){ .addr = regs->ip };
	/* A read ends at the top of the stack by itself. */
	ssize_t got = base <= INT64_MAX ? pread(mem_fd, stack, sizeof(stack), (off_t)base) : -1;
	size_t n_words = got > 0 ? (size_t)got / sizeof(stack[0]) : 0;

	for (size_t i = 0; i < n_words && count < BACKTRACE_MAX; i++) {
		/* A frame: the caller's frame pointer, then the return address. */
		bool is_sure = i > 0 && base + (i - 1) * sizeof(stack[0]) == fp;
		if (is_sure && stack[i - 1] > fp)
			fp = stack[i - 1];
		if (is_return_address(stack[i], mem_fd, maps))
			ret[count++] = (struct backtrace_entry){ stack[i], !is_sure };
	}
	return count;
}

size_t backtrace_format(const struct backtrace_entry *e, size_t idx, const struct maps *maps,
			char *out, size_t n)
{
	/* A return address may be the first byte of the next function: look up the call. */
	uint64_t addr = idx > 0 ? e->addr - 1 : e->addr;
	const struct map *m = maps_find(maps, addr);
	struct symbol symbol;
	bool is_named = false;
	int used;

	if (m != NULL) {
		int fd = open(m->path, O_RDONLY | O_CLOEXEC);
		is_named = fd >= 0 && symbols_find(fd, addr - m->begin + m->file_offset, &symbol);
		if (fd >= 0)
			close(fd);
	}
	const char *mark = e->is_guess ? "? " : "";
	unsigned long long offset = m != NULL ? e->addr - m->begin + m->file_offset : e->addr;
	if (is_named)
		used = snprintf(out, n, "  #%zu %s%s+0x%llx (%s+0x%llx)\n", idx, mark, symbol.name,
				(unsigned long long)symbol.offset + (idx > 0), m->path, offset);
	else if (m != NULL)
		used = snprintf(out, n, "  #%zu %s%s+0x%llx\n", idx, mark, m->path, offset);
	else
		used = snprintf(out, n, "  #%zu %s0x%llx\n", idx, mark, offset);
	if (used < 0)
		return 0;
	return (size_t)used < n ? (size_t)used : n - 1;
}
