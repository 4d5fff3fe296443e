/*
 * ktstr's benchmark guest: drives a virtio device as fast as it can and counts. The same image under every VMM: nothing
 * here knows which one it is, devices are found by the command line's words "virtio_mmio.device=SIZE@ADDRESS:GSI".
 *
 *	op=blk|getid|costs|net|none	what to do (blk.c, net.c)
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
	cpu_init();
	text_init();
	meter_init(line);
	if (text_is(line, "op", "blk") || text_is(line, "op", "getid"))
		op_blk(line);
	else if (text_is(line, "op", "costs"))
		op_costs(line);
	else if (text_is(line, "op", "net"))
		op_net(line);
	else if (!text_is(line, "op", "none"))
		text_die("unknown op");
	text_put("done\n");
	cpu_power_off();
}
