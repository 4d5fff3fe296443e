/*
 * op=test, op=halt: the virtual machines of `ktstr bench batch`. The first passes the test that "ktstr.run" names and
 * powers off; it has no driver, so it speaks over COM2, as PID 1 does without port 1. The second sleeps for ever.
 */
#include "cpu.h"
#include "ops.h"
#include "text.h"

#include "abi/guest_config.h"

enum { COM2 = 0x2f8 };

static void put(const char *from, size_t n)
{
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(COM2) : "memory");
}
#define PUT(literal) put(literal, sizeof(literal) - 1)

void op_test(const char *line)
{
	const char *name = text_word(line, "ktstr.run");
	size_t n = 0;

	if (!name)
		text_die("no ktstr.run");
	while (name[n] && name[n] != ' ')
		n++;
	PUT(GUEST_SENTINEL_START "\n{\"version\":1,\"depth\":0,\"name\":\"");
	put(name, n);
	PUT("\",\"outcome\":\"PASS\",\"message\":\"\",\"duration_ms\":0}\n" GUEST_SENTINEL_END
	    "\n" GUEST_SENTINEL_EXIT "0\n");
}

void op_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}
