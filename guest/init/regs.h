/* The few facts about this processor that a backtrace needs; one regs_<family>.c each. */
#pragma once

#include <sys/procfs.h>
#include <ucontext.h>

#include "core.h"

/* e_machine of its cores. */
extern const uint16_t regs_elf_machine;
#define REGS_ELF_MACHINE regs_elf_machine

enum {
	REGS_CALL_MAX = 7, /* longest call instruction */
};

struct core_regs regs_of_core(const struct elf_prstatus *status);
struct core_regs regs_of_signal(const ucontext_t *context);
/* Is there a call instruction in the @n bytes (at most REGS_CALL_MAX) just before a return address?
 */
bool regs_is_after_call(const uint8_t *before, size_t n);
