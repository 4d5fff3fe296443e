#!/bin/bash
# A batch of example programs with a stock kernel: each test in a machine of its own, as declared, several at a time, every
# outcome that a real kernel can give.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 560
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export KTSTR_KERNEL=6.12

status=0
# The host emulates its CPUs: guests are slow, and many at a time are no faster.
timeout 520 "$ktstr" test --jobs 4 --overcommit 4 --timeout 30 --json "$tmp/json" --output "$tmp/out" \
	--filter 'must/*' --filter 'machine/*' --filter 'where/cpuset' --filter 'io/*' \
	build/examples/must build/examples/machine build/examples/where build/examples/io > "$tmp/log" 2>&1 || status=$?
sed 's/^/    /' "$tmp/log" | head -n 60
equal exit_status "$status" 1

json() { # EXPRESSION: of d, the document
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); o = {t["name"]: t for t in d["tests"]}; print(eval(sys.argv[2]))' \
		"$tmp/json" "$1"
}
outcome() { # TEST WANTED
	equal "outcome_of_${1/\//_}" "$(json "o['$1']['outcome']")" "$2"
}
for name in machine/cpu_count machine/topology where/cpuset io/disk io/tcp; do
	outcome "$name" PASS
done
outcome must/fail FAIL
outcome must/skip SKIP
outcome must/be_inconclusive INCONCLUSIVE
outcome must/do_something INCONCLUSIVE
outcome must/crash FAIL
outcome must/not_leave FAIL
outcome must/panic PANIC
outcome must/hang TIMEOUT
outcome must/vanish PANIC
equal crash_is_explained "$(json "o['must/crash']['why']")" \
	'the test gave no result: its program died by signal 11 (SIGSEGV)'
check panic_has_its_backtrace test "$(json "'sysrq' in o['must/panic']['evidence']['panic'].lower()")" = True
check hang_names_its_frame test "$(json "'command' in o['must/hang']['evidence']['deadline_by']")" = True
check kernel_log_is_kept grep -q 'Linux version' "$tmp/out/machine,machine,cpu_count/dmesg.log"
equal nothing_is_left "$(pgrep -c ktstr)" 0
finish
