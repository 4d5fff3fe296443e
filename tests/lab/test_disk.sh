#!/bin/bash
# --disk with stock Debian kernels: a file system survives writing, unmounting and the VM, also throttled; ro refuses; a
# snapshot leaves its file alone, by reflink and by copy; new disks come with ext4 and btrfs; the file is free after.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 600
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export KTSTR_KERNEL=6.12 PATH=$PATH:/sbin:/usr/sbin

# run NAME STATUS ARGS...: runs ktstr with a limit of its own; leaves $tmp/out and $tmp/err.
run() {
	local name=$1 want=$2
	shift 2
	guest 240 "$ktstr" "$@"
	equal "$name" "$guest_status" "$want"
	[[ $guest_status == "$want" ]] || tail -n 15 "$tmp/err" | sed 's/^/    /'
}
stat_of() { # KEY: a counter of the last run's JSON
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$tmp/json"
}

truncate -s 1G "$tmp/disk"
check image_is_made mke2fs -q -t ext4 "$tmp/disk"

run ext4_survives_a_remount 0 run --disk "$tmp/disk" --json "$tmp/json" -- sh -ec '
	test "$(cat /sys/block/vda/size)" = 2097152
	test "$(cat /sys/block/vda/serial)" = ktstr-disk
	mkdir -p /disk
	mount -t ext4 /dev/vda /disk
	dd if=/dev/urandom of=/disk/random bs=64k count=256 2> /dev/null
	for i in $(seq 200); do echo "$i" > "/disk/small$i"; done
	sum=$(sha256sum < /disk/random)
	sync
	umount /disk
	mount -t ext4 /dev/vda /disk
	test "$sum" = "$(sha256sum < /disk/random)"
	test "$(cat /disk/small*  | wc -l)" = 200
	rm /disk/small*
	fstrim /disk
	umount /disk
	echo "$sum"'
sum=$(cat "$tmp/out")
check file_system_is_clean e2fsck -fn "$tmp/disk"
equal file_is_whole_on_the_host "$(debugfs -R 'cat /random' "$tmp/disk" 2> /dev/null | sha256sum)" "$sum"
equal no_disk_errors "$(stat_of disk.errors)" 0
equal no_guest_faults "$(stat_of disk.guest_faults)" 0
equal no_kick_exits_to_user_space "$(stat_of disk.notify_exits)" 0
check counters_tell_writes test "$(stat_of disk.bytes_written)" -ge 16777216
check counters_tell_flushes test "$(stat_of disk.flushes)" -ge 2
check counters_tell_discards test "$(stat_of disk.discards)" -ge 1
echo "counters: $(grep '"disk\.' "$tmp/json" | tr -d '\n')"

before=$(sha256sum < "$tmp/disk")
run read_only_is_read_and_refuses_writes 0 run --disk "$tmp/disk,ro" -- sh -ec '
	test "$(cat /sys/block/vda/ro)" = 1
	mkdir -p /disk
	mount -t ext4 -o ro /dev/vda /disk
	sha256sum < /disk/random
	! dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=notrunc'
equal read_only_content "$(cat "$tmp/out")" "$sum"
check read_only_is_named grep -qi 'read-only\|not permitted' "$tmp/err"
equal read_only_left_no_trace "$(sha256sum < "$tmp/disk")" "$before"

# On an older kernel, which has virtio_blk as a module.
run snapshot_is_written 0 run --kernel 6.1 --disk "$tmp/disk,snapshot" --json "$tmp/json" -- sh -ec '
	mkdir -p /disk
	mount -t ext4 /dev/vda /disk
	sha256sum < /disk/random
	dd if=/dev/urandom of=/disk/random bs=64k count=256 conv=fsync 2> /dev/null
	umount /disk'
equal snapshot_has_the_content "$(cat "$tmp/out")" "$sum"
equal snapshot_left_its_file_alone "$(sha256sum < "$tmp/disk")" "$before"
check snapshot_says_how grep -Eq '"source": "(copy|reflink)"' "$tmp/json"
check snapshot_wrote_somewhere test "$(stat_of disk.bytes_written)" -ge 16777216
echo "snapshot: $(grep -A8 '"disk": {' "$tmp/json" | tr -d '\n')"

# A guest that is ended in the middle of its writing; then the file serves the next VM at once.
run killed_while_writing 113 run --timeout 30 --disk "$tmp/disk" -- sh -ec '
	mkdir -p /disk
	mount -t ext4 /dev/vda /disk
	while :; do dd if=/dev/zero of=/disk/zeros bs=64k count=64 conv=fsync 2> /dev/null; done'
run journal_is_replayed_by_the_next_vm 0 run --disk "$tmp/disk" -- sh -ec '
	mkdir -p /disk
	mount -t ext4 /dev/vda /disk
	sha256sum < /disk/random
	umount /disk'
equal flushed_file_survived "$(cat "$tmp/out")" "$sum"
check file_system_is_clean_after_the_kill e2fsck -fn "$tmp/disk"

# mkfs in the guest, and everything behind a limit: what comes of it is the same, later.
truncate -s 1G "$tmp/slow"
run throttled_disk_works 0 run --disk "$tmp/slow,iops=500,bps=20M,burst=50" --include /usr/sbin/mke2fs \
	--json "$tmp/json" -- sh -ec '
	/usr/sbin/mke2fs -q -t ext4 /dev/vda
	mkdir -p /disk
	mount -t ext4 /dev/vda /disk
	dd if=/dev/urandom of=/disk/random bs=64k count=512 2> /dev/null
	sync
	sum=$(sha256sum < /disk/random)
	umount /disk
	mount -t ext4 /dev/vda /disk
	test "$sum" = "$(sha256sum < /disk/random)"
	umount /disk
	echo "$sum"'
check throttled_file_system_is_clean e2fsck -fn "$tmp/slow"
equal throttled_file_is_whole "$(debugfs -R 'cat /random' "$tmp/slow" 2> /dev/null | sha256sum)" "$(cat "$tmp/out")"
check throttle_held_requests test "$(stat_of disk.throttled_bps)" -ge 1
equal throttle_made_no_errors "$(stat_of disk.errors)" 0
echo "throttled: $(grep '"disk\.' "$tmp/json" | tr -d '\n')"

# New disks, one of them by the other backend; with btrfs also where a snapshot can be a reflink.
new_disk() { # FS
	run "new_${1}_disk_works" 0 run --disk "new=1G,fs=$1" --json "$tmp/json" -- sh -ec "
		mkdir -p /disk
		mount -t $1 /dev/vda /disk
		dd if=/dev/urandom of=/disk/random bs=64k count=128 2> /dev/null
		sync
		sum=\$(sha256sum < /disk/random)
		umount /disk
		mount -t $1 /dev/vda /disk
		test \"\$sum\" = \"\$(sha256sum < /disk/random)\"
		df -k /disk | tail -n 1"
	echo "new $1: $(cat "$tmp/out"), $(grep -A8 '"disk": {' "$tmp/json" | tr -d '\n')"
	equal "new_${1}_disk_has_no_errors" "$(stat_of disk.errors)" 0
	check "new_${1}_disk_has_its_template" test -f "$cache"/disks/"$1"-1073741824-*.raw
}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ktstr
KTSTR_REACTOR=epoll new_disk ext4
check epoll_backend_has_many_in_flight test "$(stat_of disk.in_flight_max)" -ge 2
new_disk btrfs

truncate -s 512M "$tmp/fs"
mkdir "$tmp/mnt"
if modprobe loop && modprobe btrfs && mkfs.btrfs -q "$tmp/fs" > /dev/null && mount -o loop "$tmp/fs" "$tmp/mnt"; then
	cp "$tmp/slow" "$tmp/mnt/image"
	before=$(sha256sum < "$tmp/mnt/image")
	run reflink_is_written 0 run --disk "$tmp/mnt/image,snapshot" --json "$tmp/json" -- sh -ec '
		dd if=/dev/zero of=/dev/vda bs=64k count=256 conv=fsync 2> /dev/null'
	equal reflink_left_its_file_alone "$(sha256sum < "$tmp/mnt/image")" "$before"
	check reflink_is_told grep -q '"source": "reflink"' "$tmp/json"
	check reflink_is_quiet test ! -s "$tmp/err"
	check nothing_is_left_beside_it test "$(ls -A "$tmp/mnt")" = image
	umount "$tmp/mnt"
else
	skip reflink_is_written 'no btrfs on this host'
fi

# Two VMs, one file.
"$ktstr" run --disk "$tmp/disk" -- sh -c 'echo up; sleep 1000' > "$tmp/first" 2>&1 &
pid=$!
for ((i = 0; i < 600; i++)); do
	grep -q up "$tmp/first" && break
	sleep 0.1
done
run disk_in_use_is_refused 64 run --disk "$tmp/disk" -- true
check disk_in_use_is_named grep -q 'in use by another VM' "$tmp/err"
kill -INT "$pid"
wait "$pid"
check disk_is_free_again flock -n "$tmp/disk" true
finish
