#!/bin/bash
# Cgroups for VMs on a host with cgroup version 2: cpusets hold, what is narrower is said, nothing is left, the dead are swept and the
# living are not; delegation to a user, and the kernel's rule against processes beside children. Runs inside the lab.
# lab-options: -n 2 -l 1 -c 2
# lab-timeout: 90
. tests/lab/lib.sh

top=/sys/fs/cgroup
try=build/tests/lab/cgroup_try
show='grep -E ^Cpus_allowed_list\|^Mems_allowed_list /proc/self/status | cut -f2 | tr "\n" " "; sed -n s/^0:://p /proc/self/cgroup'
ours() { find "$top" -name 'ktstr-*' -type d; }

# --- as root at the top of the hierarchy ---
build/src/cli/ktstr doctor > /tmp/doctor
check doctor_names_the_folder grep -q "a cgroup with a cpuset for each VM: in $top" /tmp/doctor
read -r cpus mems path <<< "$($try 2-3 1 -- sh -c "$show" 2> /tmp/err)"
equal cpus_and_nodes_hold "$cpus $mems" '2-3 1'
equal nothing_to_say "$(cat /tmp/err)" ''
check it_ran_in_our_cgroup grep -q '^/ktstr-[0-9]*-[0-9]*-[0-9]*-1$' <<< "$path"
equal nothing_is_left "$(ours)" ''
equal without_limits_all_is_allowed "$($try - - -- sh -c "$show" 2>&1 | cut -d' ' -f1,2)" '0-3 0-1'
equal status_comes_back "$($try 0 0 -- sh -c 'exit 7'; echo $?)" 7
$try 3-9 1 -- sh -c "$show" > /tmp/out 2> /tmp/err
check cpus_that_no_kernel_could_have_are_said grep -q "cpuset.cpus refuses '3-9'" /tmp/err
equal it_runs_without_a_cpuset "$(cut -d' ' -f1,3 /tmp/out)" '0-3 /'
$try 3-9 1 required -- true 2> /tmp/err
equal and_are_an_error_if_demanded $? 116
equal errors_leave_nothing "$(ours)" ''
$try 1 5 -- true 2> /tmp/err
check node_that_is_not_there_is_said grep -Eq 'cpuset.mems.*(refuses|asked for) .?5' /tmp/err
# What is left inside is killed.
$try 1 0 -- sh -c 'sleep 1000 > /dev/null 2>&1 & echo $!' > /tmp/left
check rest_is_killed until_true 10 is_gone "$(cat /tmp/left)"
equal rest_leaves_nothing "$(ours)" ''

# --- sweeping ---
$try 0 0 -- sh -c 'echo > /tmp/living; sleep 1000' &
living=$!
sleep 1000 | $try 1 1 abandon -- sh -c 'echo $$ > /tmp/orphan; exec sleep 1000' &
until_true 10 test -s /tmp/living
until_true 10 test -s /tmp/orphan
mkdir "$top/ktstr-other"
build/src/cli/ktstr cleanup > /tmp/cleanup
check living_owners_are_kept grep -q '^cgroups: removed 0, kept 2 in use' /tmp/cleanup
kill -9 "$(pgrep -of "$try 1 1 abandon")"
build/src/cli/ktstr cleanup > /tmp/cleanup
check the_dead_ones_is_named grep -q "^removed cgroup $top/ktstr-" /tmp/cleanup
check the_living_ones_is_kept grep -q '^cgroups: removed 1, kept 1 in use' /tmp/cleanup
check its_process_was_killed until_true 10 is_gone "$(cat /tmp/orphan)"
check others_names_are_kept test -d "$top/ktstr-other"
rmdir "$top/ktstr-other"
# The next one's start sweeps, too.
kill -9 "$living"
until_true 10 is_gone "$living"
$try 0 0 -- true
equal start_sweeps "$(ours)" ''

# --- delegated to a user, as a service manager does it ---
echo +cpuset > $top/cgroup.subtree_control
mkdir $top/job
chown nobody $top/job $top/job/cgroup.{procs,threads,subtree_control}
in_job() { # COMMAND...: as nobody, alone in $top/job
	bash -c 'echo $BASHPID > '$top'/job/cgroup.procs && exec setpriv --reuid=nobody --clear-groups "$@"' _ "$@"
}
read -r cpus mems path <<< "$(in_job $try 1 0 -- sh -c "$show" 2> /tmp/err)"
equal delegated_cpuset_holds "$cpus $mems" '1 0'
check it_is_inside_of_the_delegation grep -q '^/job/ktstr-' <<< "$path"
cat /tmp/err
# Its own leaf is empty with its end.
build/src/cli/ktstr cleanup > /dev/null
check delegation_can_be_taken_back until_true 10 rmdir $top/job/ktstr-* $top/job
mkdir $top/job $top/job/lower
chown -R nobody $top/job
echo 0-1 > $top/job/cpuset.cpus
sleep 1000 &
beside=$!
echo $beside > $top/job/cgroup.procs
in_job $try 1 0 -- sh -c "$show" > /tmp/out 2> /tmp/err
check processes_in_the_way_are_said grep -q 'holds other processes' /tmp/err
equal it_runs_all_the_same "$(cut -d' ' -f3 /tmp/out)" /job
echo $beside > $top/job/lower/cgroup.procs
in_job $try 1-2 0 -- sh -c "$show" > /tmp/out 2> /tmp/err
check narrower_delegation_is_said grep -q 'asked for 1-2, the host gives 1' /tmp/err
echo -cpuset > $top/job/cgroup.subtree_control
in_job $try 1-2 0 required -- true 2> /tmp/err
equal and_is_an_error_if_demanded $? 116
kill $beside
setpriv --reuid=nobody --clear-groups $try 1 0 -- sh -c "$show" > /tmp/out 2> /tmp/err
check user_without_delegation_is_told grep -q 'may not make cgroups' /tmp/err
equal it_runs_without "$(cut -d' ' -f1 /tmp/out)" 0-3
setpriv --reuid=nobody --clear-groups $try 1 0 required -- true 2> /tmp/err
equal and_fails_if_demanded $? 116
finish
