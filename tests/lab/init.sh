#!/bin/busybox sh
# PID 1 of the lab's host: modules, then the outer machine's root file system, read-only, under an overlay in memory.
# /lab is a folder of tests/lab/lab: it holds the script `start` that goes on from here and takes the results.
box=/bin/busybox
fatal() {
	echo "lab init: $*"
	echo b > /proc/sysrq-trigger
	$box sleep 60
}
mount9p() { # TAG FOLDER OPTIONS
	$box mount -t 9p -o "trans=virtio,version=9p2000.L,msize=524288,$3" "$1" "$2" || fatal "cannot mount 9p '$1'"
}

$box mount -t proc proc /proc
$box mount -t sysfs sysfs /sys
$box mount -t devtmpfs devtmpfs /dev
for module in $($box cat /modules/order); do
	$box insmod "/modules/$module.ko" || echo "lab init: module $module refused"
done
/bin/kvmpin || echo 'lab init: kvmpin failed, code patching is not held back'
# One cpuset for as long as the host lives: with the first and after the last one the kernel patches its page allocator.
$box mount -t cgroup2 cgroup2 /sys/fs/cgroup
if echo +cpuset > /sys/fs/cgroup/cgroup.subtree_control; then
	$box mkdir /sys/fs/cgroup/pin
else
	echo 'lab init: no cpuset, code patching is not held back'
fi
# The machine starts with one CPU (maxcpus=1): whatever the kernel and its modules patch while they start, no other CPU can
# be executing (see kvmpin.c). Now that this is over, the others come.
for online in /sys/devices/system/cpu/cpu[0-9]*/online; do
	echo 1 > "$online" || echo "lab init: $online refused"
done

mount9p root /lower ro,cache=loose
$box mount -t tmpfs tmpfs /upper
$box mkdir /upper/files /upper/work
$box mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root || fatal 'no overlay'
$box mkdir -p /root/lab
mount9p lab /root/lab rw

for dir in proc sys dev; do
	$box mount --move /$dir /root/$dir
done
$box mkdir -p /root/dev/shm /root/dev/pts
$box mount -t tmpfs tmpfs /root/dev/shm
$box mount -t devpts devpts /root/dev/pts
$box mount -t tmpfs tmpfs /root/run
$box mount -t debugfs debugfs /root/sys/kernel/debug
# CPUs that come late have no share for ordinary threads beside FIFO ones (Linux 6.12: all zero), so that one spinning vCPU
# starves the kernel's workers there for good. What every CPU of a real host has: 50 ms of each second.
for server in /root/sys/kernel/debug/sched/fair_server/cpu[0-9]*; do
	echo 1000000000 > "$server/period" && echo 50000000 > "$server/runtime" || echo "lab init: $server refused"
done
exec $box switch_root /root /lab/start
