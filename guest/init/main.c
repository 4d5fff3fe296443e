/*
 * ktstr-init: the guest's PID 1. From the kernel's hands to the host's: mounts, modules, ports, the
 * command, its end, power off. Every step that can fail says which it was, as FRAME_INIT_ERROR or on
 * COM2.
 *
 *	main.c		the order of the steps
 *	config.c	the host's orders
 *	mounts.c	file systems, host name, loopback
 *	modules.c	kernel modules
 *	net.c		the network of --net, by netlink.c
 *	ports.c		the virtio-console ports by name
 *	command.c	starting the command
 *	supervise.c	the poll loop while it runs, and its end
 *	  outlet.c	where news go: channel.c (frames on port 1) or console.c (text on COM2)
 *	  kmsg.c	the kernel log
 *	  messages.c	the command's own frames
 *	  input.c	its standard input
 *	  relay.c	port 2
 *	crash.c		reports of programs that die; core_handler.c and below it core.c, maps.c,
 *			backtrace.c, symbols.c, regs_*.c run in a process of their own ("/init --core")
 *	own_crash.c	PID 1's own death
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "clock.h"
#include "console.h"
#include "core_handler.h"
#include "crash.h"
#include "fault.h"
#include "modules.h"
#include "mounts.h"
#include "net.h"
#include "own_crash.h"
#include "ports.h"
#include "supervise.h"

/* The phases before there is anybody to tell. */
struct phase_times {
	uint64_t init_ns;
	uint64_t modules_ns;
	uint64_t ports_ns;
};

/* Everything up to the loaded modules and what they are for. */
static int prepare(struct config *config, struct phase_times *times, struct fault *f)
{
	int res = mounts_make(f);
	if (res < 0)
		return res;
	res = mounts_name_host(f);
	if (res < 0)
		return res;
	res = config_read(GUEST_CONFIG_PATH, config, f);
	if (res < 0)
		return res;
	res = modules_load(config->modules, f);
	times->modules_ns = clock_boot_ns();
	if (res == 0 && config->net != NULL)
		res = net_make(config->net, GUEST_NETNS_DIR, f);
	return res;
}

/*
 * How long a port may take to appear: a second, and twice what this machine took to get here, which
 * is the best measure of its speed that there is.
 */
static int64_t port_limit_ms(const struct phase_times *times)
{
	return 1000 + (int64_t)(times->init_ns / NS_PER_MS) * 2;
}

static void tell_phases(struct outlet *o, const struct phase_times *times)
{
	outlet_phase(o, PHASE_INIT, times->init_ns);
	if (times->modules_ns != 0)
		outlet_phase(o, PHASE_MODULES, times->modules_ns);
	if (times->ports_ns != 0)
		outlet_phase(o, PHASE_PORTS, times->ports_ns);
}

static int open_port(const char *name, const struct phase_times *times, struct outlet *o)
{
	struct fault f;
	int fd = -1;

	if (ports_open(name, port_limit_ms(times), &fd, &f) < 0)
		outlet_say(o, "%s", f.text);
	return fd;
}

static void open_outlet(struct outlet *o, struct phase_times *times)
{
	struct fault f;
	int fd = -1;
	int res = ports_open(GUEST_PORT_FRAMES, port_limit_ms(times), &fd, &f);

	times->ports_ns = clock_boot_ns();
	outlet_init(o, fd, CONSOLE_COM2_PATH);
	if (res < 0)
		outlet_say(o, "%s", f.text);
	tell_phases(o, times);
}

/* Starts the command under @s, or leaves it with the reason of its not starting. */
static void start_command(struct supervisor *s, const struct config *config, struct outlet *o)
{
	struct command command = COMMAND_INIT;
	struct fault f;

	if (command_start(config, &command, &s->exit, &f) == 0) {
		outlet_phase(o, PHASE_COMMAND, clock_boot_ns());
		supervisor_watch(s, &command, config->exec);
	} else if (s->exit.kind == EXIT_INIT) {
		outlet_send(o, FRAME_INIT_ERROR, f.text, strlen(f.text));
	} else {
		outlet_say(o, "%s", f.text); /* the user's mistake, told where a shell would */
	}
}

static struct supervisor_fds open_sources(const struct config *config, struct outlet *o,
					  const struct phase_times *times)
{
	struct supervisor_fds fds = {
		.kmsg_fd = -1,
		.crash_fd = crash_listen(),
		.relay_port_fd = -1,
		.relay_path = config->relay,
	};

	if (config->kmsg)
		fds.kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (config->kmsg && fds.kmsg_fd < 0)
		outlet_say(o, "no kernel log: /dev/kmsg cannot be opened");
	if (config->relay != NULL)
		fds.relay_port_fd = open_port(GUEST_PORT_RELAY, times, o);
	return fds;
}

static void run(struct outlet *o, const struct config *config, const struct phase_times *times,
		const struct fault *failed)
{
	const struct frame_exit not_started = { .kind = EXIT_INIT };
	const struct supervisor_fds fds = open_sources(config, o, times);
	struct supervisor s;

	int res = supervisor_init(&s, o, &fds, &not_started);
	if (failed != NULL) {
		s.exit.value = -failed->code;
		outlet_send(o, FRAME_INIT_ERROR, failed->text, strlen(failed->text));
	} else if (res == 0) {
		start_command(&s, config, o);
	}
	supervisor_run(&s);
	supervisor_fini(&s);
}

/* No sync: nothing of this machine outlives it. */
static NORETURN void power_off(void)
{
	(void)reboot(RB_POWER_OFF);
	(void)reboot(RB_AUTOBOOT); /* a machine that cannot power off */
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--core") == 0)
		return core_handler_main(argc, argv);
	if (getpid() != 1) {
		(void)fprintf(stderr, "ktstr-init: this is the first process of a ktstr guest, "
				      "not a program to run by hand\n");
		return 1;
	}

	char crash_stack[OWN_CRASH_STACK_SIZE]; /* main never returns */
	struct phase_times times = { .init_ns = clock_boot_ns() };
	struct config config = { 0 };
	struct outlet outlet;
	struct fault f = { 0 };

	own_crash_install(crash_stack);
	(void)signal(SIGPIPE, SIG_IGN); /* a closed port is an errno */
	int res = prepare(&config, &times, &f);
	open_outlet(&outlet, &times);
	run(&outlet, &config, &times, res < 0 ? &f : NULL);
	outlet_fini(&outlet);
	power_off();
}
