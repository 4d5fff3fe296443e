#!/bin/bash
# --net with stock Debian kernels: ordinary programs in two namespaces speak over the virtio NIC, TCP, UDP, jumbo frames.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 600
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tool=build/tests/lab/guest_tool
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export KTSTR_KERNEL=6.12

# run NAME STATUS ARGS...: runs ktstr with a limit of its own; leaves $tmp/out, $tmp/err, $tmp/json and $tmp/dmesg.
run() {
	local name=$1 want=$2
	shift 2
	guest 240 "$ktstr" run --json "$tmp/json" --dmesg "$tmp/dmesg" "$@"
	equal "$name" "$guest_status" "$want"
	[[ $guest_status == "$want" ]] || tail -n 25 "$tmp/err" | sed 's/^/    /'
}
stat_of() { # KEY: a counter of the last run's JSON
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$tmp/json"
}
nothing_was_lost() { # PREFIX: of the last run
	local drops
	drops=$(($(stat_of net.dropped_header) + $(stat_of net.dropped_size) + $(stat_of net.dropped_no_fit) + $(stat_of net.dropped_no_buffer)))
	equal "$1_drops_nothing" "$drops" 0
	equal "$1_breaks_no_rule" "$(stat_of net.guest_faults)" 0
	equal "$1_kicks_without_exits" "$(stat_of net.notify_exits)" 0
	check "$1_leaves_a_clean_log" bash -c "! grep -iE 'netdev watchdog|partial csum|duplicate address|eth0.*(error|timeout|unexpected)' '$tmp/dmesg'"
	echo "counters: $(grep '"net\.' "$tmp/json" | tr -d '\n')"
}

sum=$("$tool" pattern 4 | sha256sum)
pair() { # PREFIX [ARGS...]: pings, then 4 MiB by TCP over both protocols
	local prefix=$1
	shift
	run "${prefix}_pair_talks" 0 "$@" --net pair --include "$tool:/tool" -- sh -ec '
		a="nsenter --net=$KTSTR_NETNS_A" b="nsenter --net=$KTSTR_NETNS_B"
		$a ping -c 2 -w 20 10.0.0.2 > /dev/null
		$b ping -c 2 -w 20 10.0.0.1 > /dev/null
		$a ping -c 2 -w 20 fd6b:7473:7472::2 > /dev/null
		mkdir /www
		/tool pattern 4 > /www/file
		$b httpd -h /www
		$a wget -q -O - http://10.0.0.2/file | sha256sum
		$a wget -q -O - "http://[fd6b:7473:7472::2]/file" | sha256sum
		/tool udp "$KTSTR_NETNS_A" "$KTSTR_NETNS_B" 10.0.0.2 1400 200
		/tool udp "$KTSTR_NETNS_B" "$KTSTR_NETNS_A" 10.0.0.1 30000 20
		cat /sys/class/net/eth0/address'
	equal "${prefix}_files_are_whole" "$(head -n 2 "$tmp/out")" "$sum"$'\n'"$sum"
	check "${prefix}_bytes_crossed_the_nic" test "$(stat_of net.bytes)" -ge $((2 * 4 * 1024 * 1024 + 200 * 1400 + 20 * 30000))
	check "${prefix}_segmentation_was_left_to_the_nic" test "$(stat_of net.gso_frames)" -ge 100
	nothing_was_lost "$prefix"
	tail -n 1 "$tmp/out" > "$tmp/mac.$prefix"
}

pair new_kernel
pair old_kernel --kernel 6.1
KTSTR_REACTOR=epoll pair epoll
equal mac_is_the_same_in_every_run "$(cat "$tmp/mac.new_kernel")" "$(cat "$tmp/mac.old_kernel")"

run jumbo_frames_pass 0 --net pair --include "$tool:/tool" -- sh -ec '
	ip link set eth0 mtu 65535
	for ns in "$KTSTR_NETNS_A" "$KTSTR_NETNS_B"; do nsenter --net=$ns ip link set macvlan0 mtu 65535; done
	/tool udp "$KTSTR_NETNS_A" "$KTSTR_NETNS_B" 10.0.0.2 65507 100'
check jumbo_frames_are_single test "$(stat_of net.frames)" -lt 250
nothing_was_lost jumbo

# The card goes down and up, and its driver leaves and comes back.
run card_survives_down_and_unbind 0 --topology 1,1,2,1 --net pair -- sh -ec '
	a="nsenter --net=$KTSTR_NETNS_A"
	$a ping -c 1000 -A 10.0.0.2 > /dev/null 2>&1 &
	pid=$!
	for i in 1 2 3 4 5; do ip link set eth0 down; ip link set eth0 up; done
	kill $pid
	$a ping -c 1 -w 20 10.0.0.2 > /dev/null
	device=$(basename "$(readlink /sys/class/net/eth0/device)")
	echo "$device" > /sys/bus/virtio/drivers/virtio_net/unbind
	test ! -e /sys/class/net/eth0
	echo "$device" > /sys/bus/virtio/drivers/virtio_net/bind
	ip link set eth0 up'
equal unbind_breaks_no_rule "$(stat_of net.guest_faults)" 0

run plain_is_a_card_without_an_address 0 --net plain -- sh -ec '
	ip link show eth0 | grep -q ,UP
	test -z "$(ip -4 address show eth0 | grep inet)"
	test ! -e /run/netns
	test -z "$KTSTR_NETNS_A"'

# PID 1 says at which step it failed.
run refused_module_is_infra 115 --net pair --append module_blacklist=macvlan -- true
check refused_module_is_named grep -q 'macvlan' "$tmp/err"
finish
