/*
 * ktstr's benchmark guest: drives a virtio device as fast as it can and counts. The same image under every VMM: nothing
 * here knows which one it is, devices are found by the command line's words "virtio_mmio.device=SIZE@ADDRESS:GSI".
 *
 *	op=blk|getid|costs|net|none	what to do (blk.c, net.c)
 *	op=test|halt			be a virtual machine of a batch (test.c); no other words then
 *	wait=poll|irq		how it learns of completions
 *	cpl=0|3			the privilege level of the loop. Where the host's KVM interprets kernel mode, only
 *				user mode computes at full speed; exits are dearer from there
 *
 * Its results are lines on COM1, NAME VALUE each; "done" is the last. The host reads them (src/bench/guest_text.c).
 */
#include "cpu.h"
#include "ops.h"
#include "text.h"

NORETURN void bench_main(const char *line); /* from start.S */

void ops_run_loop(const char *line, void (*loop)(void))
{
	if (text_number(line, "cpl", 0) == 3)
		cpu_run_user(loop);
	else
		loop();
}

void bench_main(const char *line)
{
	const char *op = text_word(line, "op");

	/* A batch counts a machine's whole life: it does nothing that it does not need. */
	if (text_is_value(op, "test")) {
		op_test(line);
		cpu_power_off();
	}
	if (text_is_value(op, "halt"))
		op_halt();
	cpu_init();
	text_init();
	meter_init(line);
	if (text_is_value(op, "blk") || text_is_value(op, "getid"))
		op_blk(line);
	else if (text_is_value(op, "costs"))
		op_costs(line);
	else if (text_is_value(op, "net"))
		op_net(line);
	else if (!text_is_value(op, "none"))
		text_die("unknown op");
	text_put("done\n");
	cpu_power_off();
}
