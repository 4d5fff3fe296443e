#!/bin/bash
# A batch on a host of 2 nodes with 2 LLCs of 2 CPUs: a performance test, CPU budgets and plain tests side by side, each VM seen from
# outside in the cgroup and on the CPUs that it was promised; and what is left when the runner is killed: nothing that runs.
# Runs inside the lab.
# lab-options: -n 2 -l 2 -c 2 -H 300
# lab-timeout: 200
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# A program that lists tests; the guest plays them by their names.
cat > "$tmp/program" <<-'LIST'
	#!/bin/sh
	cat <<END
	{"ktstr_list": 1, "n_tests": 6}
	{"name": "idle/perf", "memory_mib": 16, "timeout_s": 60, "perf": true}
	{"name": "idle/half", "memory_mib": 16, "timeout_s": 60, "cpu_cap": 1, "topology": "1,1,2,1"}
	{"name": "idle/other", "memory_mib": 16, "timeout_s": 60, "cpu_cap": 1}
	{"name": "idle/plain", "memory_mib": 16, "timeout_s": 60}
	{"name": "pass/perf", "memory_mib": 16, "timeout_s": 60, "perf": true}
	{"name": "pass/budget", "memory_mib": 16, "timeout_s": 60, "cpu_cap": 1}
	END
LIST
chmod +x "$tmp/program"
start() { # ARGS...: a batch in the background; its runner's id in $runner
	"$ktstr" test --kernel build/tests/kvm/guests/guest_actor --jobs 32 --json "$tmp/json" "$@" "$tmp/program" > "$tmp/log" 2>&1 < /dev/null &
	runner=$!
}
vms() { pgrep -P "$runner" -x ktstr-vm; }
has_vms() { [[ $(vms | wc -l) == "$1" ]]; }
cgroups() { find /sys/fs/cgroup -name 'ktstr-*' -type d; }
# "CGROUP CPUS POLICY" of each VM: the folder's name or none, the CPUs of its vCPUs.
places() {
	local vm task
	for vm in $(vms); do
		for task in /proc/"$vm"/task/*; do
			[[ $(cat "$task/comm") != vcpu* ]] || echo "$(sed -n 's|^0::.*/\(ktstr-[^/]*\)$|\1|p' "/proc/$vm/cgroup" | grep . || echo none)" \
				"$(taskset -cp "${task##*/}" | sed 's/.*: //') $(chrt -p "${task##*/}" | sed -n 's/.*policy: //p')"
		done
	done
}
settled() { # all four run, the performance test's vCPU with its policy
	has_vms 4 && [[ $(places | wc -l) == 5 && $(places | grep -c SCHED_FIFO) == 1 ]]
}

# --- side by side ---
start --filter 'idle/*'
check four_run_at_once until_true 30 settled
places > "$tmp/places"
cat "$tmp/places"
equal three_have_a_cgroup_of_their_own "$(cut -d' ' -f1 "$tmp/places" | grep -v none | sort -u | wc -l)" 3
equal the_plain_one_has_none "$(grep -c ^none "$tmp/places")" 1
perf=$(grep SCHED_FIFO "$tmp/places")
check performance_has_one_cpu test "$(cut -d' ' -f2 <<< "$perf" | grep -c '[-,]')" = 0
for folder in $(cut -d' ' -f1 "$tmp/places" | grep -v none | sort -u); do
	cat "$(cgroups | grep "/$folder$")/cpuset.cpus.effective"
done > "$tmp/sets"
equal no_cpu_is_in_two_cpusets "$(python3 -c '
import sys
seen = []
for line in sys.stdin:
    for part in line.strip().split(","):
        first, _, last = part.partition("-")
        seen += range(int(first), int(last or first) + 1)
print(len(seen) - len(set(seen)))' < "$tmp/sets")" 0
# --- an interrupt, and another: all is killed, and its folders go ---
kill -INT $runner
sleep 0.5
kill -INT $runner
wait $runner
equal interrupted $? 130
equal no_cgroup_is_left "$(cgroups)" ''
equal no_process_is_left "$(pgrep -c ktstr)" 0

# --- the runner is killed: processes and locks go with it; folders with the next start, or by cleanup ---
start --filter 'idle/*'
check four_run_again until_true 30 settled
kill -9 $runner
wait $runner 2> /dev/null
check no_process_outlives_it until_true 15 bash -c '! pgrep ktstr'
equal no_lock_is_left "$("$ktstr" locks --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["locks"])')" '[]'
check cleanup_works "$ktstr" cleanup
equal cleanup_leaves_no_cgroup "$(cgroups)" ''
equal and_no_file_in_shared_memory "$(find /dev/shm -type f -name '*ktstr*')" ''

# --- to their ends ---
start --filter 'pass/*'
wait $runner
equal a_batch_of_both_passes $? 0
check they_have_no_note_on_cgroups bash -c "! grep -q 'not by a cgroup' '$tmp/log'"
equal nothing_is_left_of_them "$(cgroups)" ''
finish
