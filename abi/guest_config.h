/*
 * What the host tells PID 1: the file GUEST_CONFIG_PATH of the initramfs, a sequence of
 * NUL-terminated "key=value" records. Keys may repeat; order is kept within a key.
 *
 *	exec=/bin/sh         the program, an absolute path in the guest
 *	arg=sh               argv, in order
 *	env=PATH=/bin        environment, in order
 *	cwd=/                working folder
 *	module=/lib/m/a.ko   modules, in load order (uncompressed)
 *	net=pair             the layout of the network: plain or pair (GUEST_NET_*, below)
 *	relay=/run/x.sock    join port 2 to this unix stream socket
 *	tty=1                run the command on /dev/hvc0 as its controlling terminal (ktstr shell)
 *	stdin=1              FRAME_STDIN frames feed the command's standard input (else /dev/null)
 *	kmsg=1               stream the kernel log as FRAME_KERNEL_LOG
 *
 * Ports are found by name in /sys/class/virtio-ports.
 */
#pragma once

#define GUEST_CONFIG_PATH "/ktstr/config"
#define GUEST_INIT_PATH   "/init"
#define GUEST_MODULE_DIR  "/ktstr/modules"

/*
 * The virtio NIC is GUEST_NET_NIC. In both layouts PID 1 raises it, without an address. "pair" adds
 * two network namespaces, GUEST_NETNS_DIR/a and /b, in each GUEST_NET_LINK, a macvlan of the NIC in
 * vepa mode, with these addresses (/24, /64) and the NIC's MAC address plus 1 and plus 2 in its last
 * byte.
 */
#define GUEST_NET_PLAIN "plain"
#define GUEST_NET_PAIR  "pair"
#define GUEST_NET_NIC   "eth0"
#define GUEST_NET_LINK  "macvlan0"
#define GUEST_NETNS_DIR "/run/netns"
#define GUEST_NET_A_IP4 "10.0.0.1"
#define GUEST_NET_A_IP6 "fd6b:7473:7472::1"
#define GUEST_NET_B_IP4 "10.0.0.2"
#define GUEST_NET_B_IP6 "fd6b:7473:7472::2"

#define GUEST_PORT_FRAMES "ktstr.frames" /* port 1 */
#define GUEST_PORT_RELAY  "ktstr.relay"  /* port 2 */

/* COM2 fallback when port 1 is not there: stdout and stderr as they are, then these lines. */
#define GUEST_SENTINEL_START "===KTSTR_TEST_RESULT_START==="
#define GUEST_SENTINEL_END   "===KTSTR_TEST_RESULT_END==="
#define GUEST_SENTINEL_EXIT  "KTSTR_EXIT=" /* then the status in decimal: 128 + N for signal N */
#define GUEST_SENTINEL_PANIC "PANIC: "
#define GUEST_SENTINEL_INIT  "KTSTR_INIT_ERROR: "
/* How lines of PID 1 itself begin, among the command's: there and in FRAME_STDERR. */
#define GUEST_INIT_SAYS "ktstr-init: "

/*
 * The program's own channel for frames: PID 1 leaves a SOCK_SEQPACKET socket open in the command
 * and names its descriptor in this environment variable. One message is a 4-byte little-endian enum
 * frame_type and the payload (up to 64 KiB); larger payloads travel as one memfd in SCM_RIGHTS with
 * an otherwise empty payload. PID 1 frames them. A descriptor beside a payload is a receipt: PID 1
 * closes it when it has passed the frame on to the port, so that whoever holds the other end of that
 * pipe knows that the frame outlives this kernel.
 */
#define GUEST_ENV_CHANNEL "KTSTR_CHANNEL_FD"
/*
 * The machine's "nodes,llcs,cores_per_llc,threads_per_core", set by the host (an env= record). Only
 * these numbers: nodes and LLCs are totals, however they were declared.
 */
#define GUEST_ENV_TOPOLOGY "KTSTR_TOPOLOGY"
