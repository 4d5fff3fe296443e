#!/bin/bash
# Batches of example programs with a stock kernel, each test in a machine of its own: crowded, every outcome that a real kernel
# can give; and with CPUs of its own for each, seen from outside. By hand: KTSTR_REPEAT=4 makes it 36 VMs (see README.md).
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 900
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export KTSTR_KERNEL=6.12
repeat=${KTSTR_REPEAT:-1}

json() { # EXPRESSION: of d, the document; `of` has the tests by name, each a list
	python3 -c 'import collections, json, sys
d = json.load(open(sys.argv[1]))
of = collections.defaultdict(list)
for t in d["tests"]: of[t["name"]].append(t)
print(eval(sys.argv[2]))' "$tmp/json" "$1"
}
outcome() { # TEST WANTED: each time
	equal "outcome_of_$1" "$(json "len(of['$1']), set(t['outcome'] for t in of['$1'])")" "($repeat, {'$2'})"
}

# --- crowded: all that must not pass, at once, eight vCPUs for each CPU ---
start=$SECONDS
batch "${KTSTR_LIMIT:-420}" "$ktstr" test --jobs 32 --overcommit 8 --repeat "$repeat" --json "$tmp/json" build/examples/must
sed 's/^/    /' "$tmp/log" | tail -n 60
echo "    crowded: $((SECONDS - start)) s"
equal exit_status "$batch_status" 1
outcome fail FAIL
outcome skip SKIP
outcome be_inconclusive INCONCLUSIVE
outcome do_something INCONCLUSIVE
outcome crash FAIL
outcome not_leave FAIL
outcome panic PANIC
outcome hang TIMEOUT
outcome vanish PANIC
equal crash_is_explained "$(json "of['crash'][0]['why']")" 'the test gave no result: its program died by signal 11 (SIGSEGV)'
equal panic_has_its_backtrace "$(json "'sysrq' in of['panic'][0]['evidence']['panic'].lower()")" True
equal vanishing_is_no_triple_fault "$(json "of['vanish'][0]['why']")" 'the guest powered off without reporting an exit'
equal hang_names_its_frame "$(json "'command' in of['hang'][0]['evidence']['deadline_by']")" True
equal each_shows_the_crowd "$(json "all(1 < t['resources']['overcommit'] <= 8 for t in d['tests'])")" True
equal each_shows_its_run_delay "$(json "all(t['resources']['vcpus'][0]['run_delay_us'] > 0 for t in d['tests'])")" True
equal nothing_is_left "$(pgrep -c ktstr)" 0

# --- CPUs of its own for each: as many at a time as there are CPUs for ---
repeat=1
start=$SECONDS
rm -f "$tmp/json"
watched() { # COMMAND...
	"$@" &
	tests/lab/watch_cpus.py $! > "$tmp/watched"
	wait $!
}
export -f watched
export tmp
batch 400 bash -c 'rm -rf "$tmp/kept"; watched "$@"' watched "$ktstr" test --jobs 32 --json "$tmp/json" --output "$tmp/kept" \
	--filter 'machine/*' --filter where/cpuset --filter 'io/*' build/examples/machine build/examples/where build/examples/io
sed 's/^/    /' "$tmp/log" "$tmp/watched" | tail -n 40
echo "    with CPUs of their own: $((SECONDS - start)) s"
equal good_batch_passes "$batch_status" 0
for name in cpu_count topology cpuset disk tcp; do
	outcome "$name" PASS
done
check several_ran_at_once grep -Eq 'at most [2-4] VMs at once' "$tmp/watched"
check no_two_share_a_cpu grep -q ' 0 clashes$' "$tmp/watched"
equal none_is_crowded "$(json "max(t['resources']['overcommit'] for t in d['tests']) <= 1")" True
check kernel_log_is_kept grep -q 'Linux version' "$tmp/kept/machine,cpu_count/dmesg.log"

# --- one of them again, as its folder says ---
guest 240 sh "$tmp/kept/machine,cpu_count/replay.sh"
equal replay_gives_the_same "$guest_status" 0
check replay_ran_the_test grep -q 'PASS.*machine/cpu_count' "$tmp/out"
finish
