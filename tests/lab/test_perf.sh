#!/bin/bash
# Places on a host of 2 nodes with 2 LLCs of 2 CPUs: performance runs side by side and one that waits, budgets beside them, what is
# promised seen from outside, `ktstr locks` against /proc/locks at every step, runners that are killed. Runs inside the lab.
# lab-options: -n 2 -l 2 -c 2 -H 300
# lab-timeout: 300
. tests/lab/lib.sh

guests=build/tests/kvm/guests
run() { build/src/cli/ktstr run --memory 64 "$@"; }
locks() { build/src/cli/ktstr locks --json; }
agree() { check "locks_agree_$1" bash -c 'build/src/cli/ktstr locks --json | python3 tests/lab/locks_agree.py'; }
field() { # FILE EXPRESSION: of a JSON document d
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$@"
}
holds() { locks | grep -q "\"pid\": *$1[,}]"; }
# A guest that halts until it is told to end: its runner's id in $pid, what it said in /tmp/NAME.
hold() { # NAME OPTIONS...
	local name=$1
	shift
	build/src/cli/ktstr run --memory 64 --kernel $guests/guest_ends --append hang_hlt --json "/tmp/$name.json" "$@" > "/tmp/$name" 2>&1 &
	pid=$!
}
hold_now() { # NAME OPTIONS...
	hold "$@"
	check "$1_starts_at_once" until_true 15 holds "$pid"
	until_true 15 vm_of "$pid" > /dev/null
}
end() { # NAME PID
	kill -INT "$2"
	wait "$2"
	equal "$1_ends_when_told" $? 130
}
vm_of() { pgrep -P "$1" -x ktstr-vm; }
cgroup_of() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(vm_of "$1")/cgroup")"; }
llcs_of() { locks | python3 -c 'import json, sys
print(*sorted(l["id"] for l in json.load(sys.stdin)["locks"] if l["pid"] == int(sys.argv[1]) and l["kind"] == "llc"))' "$1"; }
cpus_of() { locks | python3 -c 'import json, sys
print(*sorted(l["id"] for l in json.load(sys.stdin)["locks"] if l["pid"] == int(sys.argv[1]) and l["kind"] == "cpu"))' "$1"; }
# "NAME CPUS POLICY" of each thread of a VM.
threads() { # RUNNER
	local vm task
	vm=$(vm_of "$1")
	for task in /proc/"$vm"/task/*; do
		echo "$(cat "$task/comm") $(taskset -cp "${task##*/}" | sed 's/.*: //') $(chrt -p "${task##*/}" | sed 's/.*: //' | tr '\n' ' ')"
	done
}

# --- performance mode, alone ---
run --perf --topology 1,1,1,1 --kernel $guests/guest_hello --json /tmp/one.json > /tmp/one 2>&1
equal perf_run_passes "$(field /tmp/one.json 'd["outcome"]')" PASS
equal perf_run_is_verified "$(field /tmp/one.json '[d["placement"]["verified"][k] for k in ("vcpus", "locks")]')" '[1, 1]'
equal perf_run_has_all_of_it "$(field /tmp/one.json 'sorted(k for k, v in d["placement"]["applied"].items() if not v and k != "clock_stable")')" '[]'
equal pages_are_where_they_belong "$(field /tmp/one.json 'd["placement"]["verified"]["pages"] > 0')" True
equal interference_is_recorded "$(field /tmp/one.json 'all("vcpu0." + k in d["stats"] for k in ("run_us", "run_delay_us", "involuntary_switches"))')" True
run --perf --topology 1,1,1,1 --memory 1024 --kernel $guests/guest_hello --json /tmp/small.json > /tmp/small 2>&1
equal without_hugepages_it_runs_too "$(field /tmp/small.json '(d["outcome"], d["placement"]["applied"]["hugepages"])')" "('PASS', False)"
check and_says_so grep -q 'not enough free pages of 2 MiB' /tmp/small
run --perf --topology 1,4,2,1 --kernel $guests/guest_flat > /tmp/large 2>&1
equal what_this_host_cannot_is_a_skip $? 116
check need_and_have_are_named grep -q 'needs 9 CPUs .* use 8' /tmp/large

# --- two at once, a third waits ---
hold_now first --perf --topology 1,2,1,1
first=$pid
agree with_one
hold_now second --perf --topology 1,2,1,1
second=$pid
agree with_two
equal their_llcs_are_all_four "$(echo "$(llcs_of $first) $(llcs_of $second)" | tr ' ' '\n' | sort | tr '\n' ' ')" '0 1 2 3 '
threads $first > /tmp/threads
cat /tmp/threads
equal vcpus_are_fifo_1 "$(grep -c '^vcpu[01] [0-9]* SCHED_FIFO 1' /tmp/threads)" 2
equal io_thread_is_fifo_2 "$(grep -c '^ktstr-vm [0-9]* SCHED_FIFO 2' /tmp/threads)" 1
threads $second >> /tmp/threads
equal no_cpu_has_two_threads "$(grep -E '^(vcpu|ktstr-vm)' /tmp/threads | cut -d' ' -f2 | sort | uniq -d)" ''
nodes=$(for p in $first $second; do grep -h ' bind:' "/proc/$(vm_of $p)/numa_maps" | sed 's/.*bind:\([0-9]\).*/\1/' | sort -u; done | sort | tr '\n' ' ')
equal memory_is_bound_to_a_node_each "$nodes" '0 1 '
# Entering a cpuset with other nodes waits for work on every CPU, the FIFO vCPUs' too.
equal cpuset_has_cpus_only "$(cat "$(cgroup_of $first)/cpuset.mems")" ''
equal cpuset_has_the_cpus "$(cat "$(cgroup_of $first)/cpuset.cpus" | wc -w)" 1
check memory_is_huge grep -q 'bind:.*huge.*kernelpagesize_kB=2048' "/proc/$(vm_of $first)/numa_maps"
hold third --perf --topology 1,1,1,1 --wait 120s
third=$pid
check third_says_whom_it_waits_for until_true 15 grep -q "waiting for CPUs.*$first" /tmp/third
equal third_has_nothing_yet "$(llcs_of $third)" ''
check third_is_in_line bash -c 'build/src/cli/ktstr locks --json | grep -q "\"tier\": *\"performance\""'
agree with_one_waiting
run --perf --topology 1,1,1,1 --wait 1s --kernel $guests/guest_flat > /tmp/vain 2>&1
equal wait_in_vain_is_infra $? 115
check holders_are_named grep -Eq "in use: .*($first|$second).*ktstr locks --json" /tmp/vain
end first $first
check third_runs_then until_true 15 holds $third
agree with_the_third
# --- the runner dies: the VM goes with it, and the locks with the VM ---
vm=$(vm_of $third)
kill -9 $third
wait $third 2> /dev/null
check vm_dies_with_its_runner until_true 15 is_gone "$vm"
check its_locks_are_free until_true 15 bash -c "! build/src/cli/ktstr locks --json | grep -q '\"pid\": *$third[,}]'"
agree after_the_kill
end second $second
agree with_nobody

# --- budgets ---
hold_now perf --perf --topology 1,1,1,1
perf=$pid
hold_now budget --cpu-cap 2 --topology 1,1,2,1
budget=$pid
agree with_perf_and_budget
check budget_is_on_a_free_llc test "$(llcs_of $perf)" != "$(llcs_of $budget)"
equal budget_has_its_cpus "$(cpus_of $budget | wc -w)" 2
equal budget_threads_are_on_them "$(threads $budget | cut -d' ' -f2 | sort -u)" "$(cpus_of $budget | tr ' ' ',')"
equal budget_threads_have_no_policy "$(threads $budget | grep -vc SCHED_OTHER)" 0
equal budget_has_a_cpuset "$(sed -n s/^Cpus_allowed_list:.//p "/proc/$(vm_of $budget)/status")" "$(cpus_of $budget | tr ' ' '-')"
check in_a_cgroup grep -q '/ktstr-' "/proc/$(vm_of $budget)/cgroup"
end budget $budget
hold_now half --cpu-cap 1
half=$pid
hold_now other --cpu-cap 1
other=$pid
equal they_share_an_llc "$(llcs_of $half)" "$(llcs_of $other)"
check and_no_cpu test "$(cpus_of $half)" != "$(cpus_of $other)"
agree with_two_budgets
end half $half
end other $other
end perf $perf
run --cpu-cap 1 --topology 1,1,2,1 --kernel $guests/guest_smp --append cpus=2 --json /tmp/over.json > /tmp/over 2>&1
equal overcommit_is_recorded "$(field /tmp/over.json '(d["outcome"], d["placement"]["overcommit"])')" "('PASS', 2.0)"
check and_said grep -q '2 vCPUs share 1 CPUs (2.0 to 1), as the CPU budget says' /tmp/over
equal no_cgroup_is_left "$(find /sys/fs/cgroup -name 'ktstr-*' -type d)" ''

# --- a stock kernel ---
run --memory 256 --perf --topology 2,2,1,1 --json /tmp/linux.json \
	-- sh -c 'cat /sys/devices/system/node/online; exit 7' > /tmp/linux 2> /tmp/linux.err
equal stock_kernel_s_command_says_how_it_ends $? 7
equal stock_kernel_runs_in_performance_mode "$(cat /tmp/linux)" 0-1
equal and_is_verified "$(field /tmp/linux.json '[d["placement"]["verified"][k] for k in ("vcpus", "locks")]')" '[2, 2]'
finish
