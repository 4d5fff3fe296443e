#!/bin/bash
# The lab's host is what the other tests build on: its KVM, its shape, its facilities. Runs inside the lab.
# lab-options: -n 2 -l 1 -c 2
# lab-timeout: 60
. tests/lab/lib.sh

equal runs_in_the_lab "${LAB:-}" 1

# --- the promised shape: 2 nodes, 1 LLC each, 2 cores per LLC ---
equal cpus_are_as_asked "$(nproc)" 4
equal node0_has_its_cpus "$(cat /sys/devices/system/node/node0/cpulist)" 0-1
equal node1_has_its_cpus "$(cat /sys/devices/system/node/node1/cpulist)" 2-3
equal node_distances_differ "$(cat /sys/devices/system/node/node0/distance)" '10 20'
equal llc_is_shared_in_a_node_only \
	"$(cat /sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list)" 0-1

# --- KVM ---
check kvm_is_there test -c /dev/kvm
check kvm_has_nested_paging grep -qx '[Y1]' /sys/module/kvm_amd/parameters/npt
kvm_lacks() { # prints the capabilities of the argument list that KVM denies; needs python3 for the ioctl
	python3 - "$@" <<-'PYTHON'
		import fcntl, os, re, sys
		header = open('/usr/include/linux/kvm.h').read()
		kvm = os.open('/dev/kvm', os.O_RDWR)
		for name in sys.argv[1:]:
		    number = int(re.search(r'#define KVM_CAP_%s\s+(\d+)' % name, header).group(1))
		    if fcntl.ioctl(kvm, 0xAE03, number) <= 0:  # KVM_CHECK_EXTENSION
		        print(name)
	PYTHON
}
equal kvm_has_every_required_capability "$(kvm_lacks IRQCHIP IOEVENTFD IRQFD USER_MEMORY SET_TSS_ADDR PIT2 PIT_STATE2 \
	ADJUST_CLOCK DEBUGREGS MP_STATE VCPU_EVENTS XCRS XSAVE EXT_CPUID 2>&1)" ''
check kvmpin_holds_a_vm pidof kvmpin
check module_tree_matches_the_kernel test -e "/lib/modules/$(uname -r)/modules.dep.bin"

# --- what performance mode and the planner need ---
check cgroup_v2_has_cpuset grep -qw cpuset /sys/fs/cgroup/cgroup.controllers
check cgroup_cpuset_can_be_enabled sh -c 'echo +cpuset > /sys/fs/cgroup/cgroup.subtree_control'
check fifo_policy_is_permitted chrt -f 10 true
check affinity_reaches_the_last_cpu taskset -c 3 true
check memory_may_be_locked test "$(ulimit -l)" = unlimited
equal clock_is_the_tsc "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" tsc

# --- files ---
check root_is_writable_in_memory sh -c 'echo x > /var/tmp/ktstr-lab-probe'
check flock_works_in_tmp sh -c 'flock -n /tmp/ktstr-lab-lock true'
check out_is_writable sh -c 'echo probe > /out/test_host.probe && grep -q probe /out/test_host.probe'

finish
