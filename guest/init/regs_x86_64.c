/* x86_64. */
#include <assert.h>
#include <elf.h>
#include <string.h>
#include <sys/user.h>

#include "regs.h"

const uint16_t regs_elf_machine = EM_X86_64;

struct core_regs regs_of_core(const struct elf_prstatus *status)
{
	struct user_regs_struct r;

	static_assert(sizeof(r) == sizeof(status->pr_reg), "pr_reg is the user_regs_struct");
	memcpy(&r, status->pr_reg, sizeof(r));
	return (struct core_regs){ .ip = r.rip, .sp = r.rsp, .fp = r.rbp };
}

struct core_regs regs_of_signal(const ucontext_t *context)
{
	const greg_t *g = context->uc_mcontext.gregs;

	return (struct core_regs){
		.ip = (uint64_t)g[REG_RIP],
		.sp = (uint64_t)g[REG_RSP],
		.fp = (uint64_t)g[REG_RBP],
	};
}

/* e8 rel32, or ff /2 in its lengths 2 to 7 (a REX prefix only makes it longer). */
bool regs_is_after_call(const uint8_t *before, size_t n)
{
	if (n >= 5 && before[n - 5] == 0xe8)
		return true;
	for (size_t length = 2; length <= n && length <= REGS_CALL_MAX; length++) {
		const uint8_t *p = before + n - length;
		if (p[0] != 0xff || (p[1] >> 3 & 7) != 2)
			continue;
		uint8_t mod = p[1] >> 6;
		uint8_t rm = p[1] & 7;
		size_t expect = 2 + (mod != 3 && rm == 4);
		if (mod == 1)
			expect += 1;
		else if (mod == 2 || (mod == 0 && rm == 5))
			expect += 4;
		if (length == expect)
			return true;
	}
	return false;
}
