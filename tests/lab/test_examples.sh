#!/bin/bash
# The example test programs in guests with a stock kernel: results of good tests in one machine, and every way of not passing.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 500
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export KTSTR_KERNEL=6.12

# run NAME STATUS ARGS...: runs ktstr with a limit of its own; leaves $tmp/out, $tmp/err and $tmp/json.
run() {
	local name=$1 want=$2
	shift 2
	rm -f "$tmp/json"
	guest 240 "$ktstr" run --json "$tmp/json" "$@"
	equal "$name" "$guest_status" "$want"
	[[ $guest_status == "$want" ]] || tail -n 15 "$tmp/err" "$tmp/out" | sed 's/^/    /'
}
json() { # EXPRESSION: of d, the last run's document
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$tmp/json" "$1"
}
outcome_of() { # TEST
	json "[t['outcome'] for t in d['tests'] if t['name'] == '$1']"
}

# One machine for all that should pass: programs speak for themselves, one after the other.
good='machine/cpu_count machine/topology where/affinity where/cpuset wakeups/pipes wakeups/futexes wakeups/timers
	storm/forks storm/yields io/disk io/tcp'
truncate -s 16M "$tmp/disk"
includes=()
for program in machine where wakeups storm io fairness; do
	includes+=(--include "build/examples/$program:/examples/$program")
done
run good_tests_in_one_machine 0 --topology 1,2,1,1 --disk "$tmp/disk" "${includes[@]}" -- sh -c "
	status=0
	for test in $(echo $good); do /examples/\${test%/*} --ktstr-run \${test#*/} || status=1; done
	/examples/fairness --ktstr-run two_spinners
	[ \$? = 1 ] && status=1
	exit \$status"
for test in $good; do
	equal "passes_${test/\//_}" "$(outcome_of "${test#*/}")" "['PASS']"
done
equal fairness_passes_or_measures_nothing "$(json "[t['outcome'] for t in d['tests']][-1] in ('PASS', 'INCONCLUSIVE')")" True
equal subtests_are_in_the_document "$(json "[s['name'] for s in d['tests'][1]['subtests']]")" "['threads', 'caches', 'nodes']"
equal metric_is_in_the_document "$(json "d['tests'][4]['metrics'][0]['name'], d['tests'][4]['metrics'][0]['value'] > 0")" \
	"('round_trip', True)"
equal no_record_was_ignored "$(json "[n for n in d['notes'] if 'records' in n]")" '[]'
check disk_was_written test "$(head -c 65536 "$tmp/disk" | tr -d '\0' | wc -c)" -gt 60000

# One machine each for the rest.
run fail_is_the_exit_status 1 -- build/examples/must --ktstr-run fail
equal fail_has_its_message "$(json "d['tests'][0]['outcome'], 'fails on purpose' in d['tests'][0]['message']")" "('FAIL', True)"
run crash_is_a_signal 139 -- build/examples/must --ktstr-run crash
equal crash_has_no_outcome "$(json "d['outcome'], d['tests'][0]['outcome'], 'SIGSEGV' in d['crash']")" "('FAIL', None, True)"
check crash_is_noted grep -q "test 'crash' came to no result" "$tmp/err"
run panic_is_a_panic 111 -- build/examples/must --ktstr-run panic
equal panic_has_no_outcome "$(json "d['outcome'], d['tests'][0]['outcome']")" "('PANIC', None)"
run vanishing_is_a_panic 111 -- build/examples/must --ktstr-run vanish
equal vanishing_has_no_outcome "$(json "d['outcome'], d['tests'][0]['outcome']")" "('PANIC', None)"
run hang_is_a_timeout 113 --timeout 40 -- build/examples/must --ktstr-run hang
equal hang_has_no_outcome "$(json "d['outcome'], d['tests'][0]['outcome']")" "('TIMEOUT', None)"

# No virtio-console: the result comes over COM2.
run skip_over_com2 77 --append initcall_blacklist=virtio_console_init -- build/examples/must --ktstr-run skip
equal skip_over_com2_has_its_outcome "$(outcome_of skip)" "['SKIP']"
check com2_shows_no_record grep -q 'SKIP skip' "$tmp/out"
equal com2_hides_the_record "$(grep -c '"outcome"' "$tmp/out")" 0
finish
