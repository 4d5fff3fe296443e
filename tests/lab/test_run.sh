#!/bin/bash
# ktstr run with stock Debian kernels: commands, verdicts, panics, damage-free streams, bad input.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 1200
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tool=build/tests/lab/guest_tool
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# run NAME STATUS ARGS...: runs ktstr with a limit of its own; leaves $tmp/out and $tmp/err.
run() {
	local name=$1 want=$2
	shift 2
	guest 240 "$ktstr" "$@"
	equal "$name" "$guest_status" "$want"
	[[ $guest_status == "$want" ]] || tail -n 15 "$tmp/err" | sed 's/^/    /'
}
said() { # NAME TEXT: stderr has it
	if grep -qF -- "$2" "$tmp/err"; then ok "$1"; else not_ok "$1" "no '$2' in: $(tail -n 3 "$tmp/err")"; fi
}
processes() { pgrep -c ktstr || true; }

check doctor_finds_the_kvm_complete "$ktstr" doctor

for series in 6.1 6.12; do
	run "exit_status_comes_back_$series" 7 run --kernel "$series" --topology 1,1,4,1 -- sh -c 'nproc; uname -r; exit 7'
	equal "cpu_count_and_release_$series" "$(head -n 1 "$tmp/out") $(sed -n 2p "$tmp/out" | cut -d. -f1,2)" "4 $series"
done

# From here on the kernel that starts faster.
export KTSTR_KERNEL=6.12

run panic_ends_by_itself 111 run -- sh -c 'echo c > /proc/sysrq-trigger; sleep 60'
said panic_is_named 'PANIC'
said panic_text_is_shown 'Kernel panic - not syncing: sysrq triggered crash'

run stdout_and_stderr_stay_apart 0 run --dmesg "$tmp/dmesg" --json "$tmp/json" -- sh -c 'echo out; echo err >&2'
equal stdout_has_only_its_own "$(cat "$tmp/out")" out
said stderr_has_its_own err
check dmesg_is_the_kernel_log grep -q 'Linux version 6.12' "$tmp/dmesg"
check json_names_the_outcome grep -q '"outcome": "PASS"' "$tmp/json"
equal no_kick_exits_to_user_space "$(sed -n 's/.*"console.notify_exits": \([0-9]*\).*/\1/p' "$tmp/json")" 0

run stream_of_20_mib 0 run -- "$tool" pattern 20
equal stream_lost_no_byte "$(sha256sum < "$tmp/out")" "$("$tool" pattern 20 | sha256sum)"

run segv_status 139 run -- "$tool" segv
said segv_is_reported SIGSEGV
said segv_has_a_backtrace guest_tool+
run assert_status 134 run -- "$tool" assert
said assert_message_is_shown 'this assertion fails on purpose'
run orphans_are_reaped 0 run -- "$tool" orphans 20

run kaslr_boots_the_bzimage_itself 0 run --kaslr --kernel 6.1 -- uname -r
equal kaslr_release "$(cut -d. -f1,2 "$tmp/out")" 6.1
mkdir "$tmp/empty"
run modules_missing 64 run --kernel 6.1 --modules "$tmp/empty" -- true
said modules_missing_are_named "$tmp/empty"

# No virtio-console in the guest: everything comes over COM2.
run fallback_exit_status 3 run --append initcall_blacklist=virtio_console_init -- sh -c 'echo over com2; exit 3'
equal fallback_output "$(tr -d '\r' < "$tmp/out")" 'over com2'

mkdir "$tmp/tree"
echo one > "$tmp/tree/a"
run include_keeps_the_path 0 run --include "$tmp/tree" --include "$tmp/tree/a:/etc/b" -- cat "$tmp/tree/a" /etc/b
equal include_content "$(tr '\n' ' ' < "$tmp/out")" 'one one '
run host_program_with_libraries 0 run -- /usr/bin/env true
run command_not_found 64 run -- no-such-command-here
said command_not_found_is_named no-such-command-here
run memory_too_small 64 run --memory 32 -- true
run timeout_is_named 113 run --timeout 60 -- sleep 1000
said timeout_tells_the_phase command

# Port 2: a client here, a server in the guest.
"$ktstr" run --relay /run/s:"$tmp/relay" -- "$tool" relay /run/s > /dev/null 2> "$tmp/err" &
pid=$!
for ((i = 0; i < 100; i++)); do [[ -S $tmp/relay ]] && break; sleep 0.1; done
answer=$(python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
text = (b"relay " * 20000) + b"."
import threading
t = threading.Thread(target=s.sendall, args=(text,)); t.start()
got = b""
while len(got) < len(text):
    more = s.recv(65536)
    if not more: break
    got += more
t.join()
print(got == text.upper())' "$tmp/relay")
status=0
wait "$pid" || status=$?
equal relay_echoes_byte_exact "$answer" True
equal relay_server_ends "$status" 0

# The terminal: a command typed at hvc0's shell.
printf 'echo typed-$((40+2)); exit 5\n' | timeout 240 "$ktstr" shell > "$tmp/out" 2> "$tmp/err"
equal shell_exit_status "$?" 5
check shell_echoes_on_hvc0 grep -q typed-42 "$tmp/out"

# The last act of 20 guests is a 1 MiB result.
lost=0
for ((i = 0; i < 20; i++)); do
	status=0
	timeout 240 "$ktstr" run --json "$tmp/json" -- "$tool" result 1024 > /dev/null 2> "$tmp/err" || status=$?
	got=$(sed -n 's/.*"result_bytes": \([0-9]*\).*/\1/p' "$tmp/json")
	((status == 0 && got == 1048576)) || lost=$((lost + 1))
done
equal last_results_of_20_boots_lost "$lost" 0

for ((i = 0; i < 50 && $(processes) > 0; i++)); do sleep 0.1; done
equal no_process_left "$(processes)" 0
finish
