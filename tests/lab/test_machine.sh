#!/bin/bash
# Machines of unusual sizes with stock Debian kernels: APIC ids above 254, memory across the gap, of exactly the size that is
# needed, from huge pages, on host nodes.
# lab-options: -n 2 -l 1 -c 2 -m 12288 -H 300
# lab-timeout: 1200
. tests/lab/lib.sh

ktstr=build/src/cli/ktstr
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# run NAME STATUS ARGS...: runs ktstr with a limit of its own; leaves $tmp/out and $tmp/err.
run() {
	local name=$1 want=$2
	shift 2
	guest 400 "$ktstr" run "$@"
	equal "$name" "$guest_status" "$want"
	[[ $guest_status == "$want" ]] || tail -n 15 "$tmp/err" | sed 's/^/    /'
}
said() { # NAME TEXT: stderr has it
	if grep -qF -- "$2" "$tmp/err"; then ok "$1"; else not_ok "$1" "no '$2' in: $(tail -n 3 "$tmp/err")"; fi
}
out_of() { # KEY: the value of its line "KEY VALUE" on stdout
	sed -n "s/^$1 //p" "$tmp/out"
}

# In the guest: brings CPU $1 online by hand, sends the interrupts of disk, console and COM1 there, and uses all three.
cat > "$tmp/wide.sh" <<'GUEST'
cpu=$1
cd /sys/devices/system/cpu
echo "possible $(cat possible)"
echo 1 > "cpu$cpu/online" || exit 9
echo "online $(cat online)"
for n in 0 1 "$cpu"; do
	echo "places_$n $(cat "cpu$n/topology/physical_package_id") $(cat "cpu$n/topology/core_id") \
		$(cat "cpu$n/cache/index3/shared_cpu_list") $(cat "cpu$n/topology/thread_siblings_list")"
done
exec 3> /dev/ttyS0
irq_of() { sed -n "s/^ *\([0-9]*\):.*$1.*/\1/p" /proc/interrupts | head -n 1; }
for name in virtio0 virtio1 ttyS0; do
	echo "$cpu" > "/proc/irq/$(irq_of "$name")/smp_affinity_list" || exit 8
done
count() { # NAME: its interrupts on that CPU
	awk -v cpu="CPU$cpu" -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == cpu) at = i + 1 } $0 ~ name { print $at; exit }' \
		/proc/interrupts
}
taskset -c "$cpu" dd if=/dev/vda of=/dev/null bs=4k count=64 iflag=direct 2> /dev/null || exit 7
for i in 1 2 3 4 5 6 7 8; do taskset -c "$cpu" echo "line $i"; echo "line $i" >&3; sleep 0.1; done
taskset -c "$cpu" sh -c 'i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done; echo "pinned $i"'
for name in virtio0 virtio1 ttyS0; do echo "$name $(count "$name")"; done
GUEST
truncate -s 16M "$tmp/disk"

places() { # CPU: its package, core, and who shares its LLC and its core
	out_of "places_$1" | tr -s '[:blank:]' ' '
}
wide() { # KERNEL TOPOLOGY LAST_CPU PLACES_OF_0 PLACES_OF_1 PLACES_OF_LAST
	local name=$3_$1
	run "wide_$name" 0 --kernel "$1" --topology "$2" --append maxcpus=2 --disk "$tmp/disk" --include "$tmp/wide.sh:/wide.sh" \
		--dmesg "$tmp/dmesg" -- sh /wide.sh "$3"
	equal "wide_possible_$name" "$(out_of possible)" "0-$3"
	equal "wide_online_$name" "$(out_of online)" "0-1,$3"
	# Package and core by number; of those that share with it, the ones that are online.
	equal "wide_first_$name" "$(places 0)" "$4"
	equal "wide_second_$name" "$(places 1)" "$5"
	equal "wide_last_$name" "$(places "$3")" "$6"
	equal "wide_pinned_$name" "$(out_of pinned)" 1000
	for device in virtio0 virtio1 ttyS0; do
		check "wide_interrupts_of_${device}_$name" test "$(out_of $device)" -ge 4
	done
	echo "dmesg: $(grep -i x2apic "$tmp/dmesg" | head -n 3 | tr '\n' '|')"
}
wide 6.12 1,5,5,5 124 '0 0 0-1 0-1' '0 0 0-1 0-1' '4 4 124 124'
wide 6.1 1,5,5,5 124 '0 0 0-1 0-1' '0 0 0-1 0-1' '4 4 124 124'
wide 6.12 1,17,16,1 271 '0 0 0-1 0' '0 1 0-1 1' '16 15 271 271'
check wide_eoi_exits timeout 120 "$ktstr" run --force --kernel build/tests/kvm/guests/guest_wide --topology 1,5,5,5 \
	--append 'cpus=125 eoi_exits'

# The size that is named is enough, and the default where files are many.
head -c 200M /dev/urandom > "$tmp/files"
for kernel in 6.1 6.12; do
	for include in "" "--include $tmp/files:/files"; do
		name=$kernel${include:+_with_200_mib}
		include_mib=${include:+200}
		# Enough for the files, or these alone are refused.
		run "too_small_$name" 64 --kernel "$kernel" $include --memory "$((include_mib + 32))" -- true
		mib=$(sed -n 's/.*needs \([0-9]*\) MiB.*/\1/p' "$tmp/err")
		echo "needed: $mib MiB with $name"
		run "exactly_$name" 0 --kernel "$kernel" $include --memory "$mib" -- sh -c 'ls -l /files 2> /dev/null; free -k'
		sed 's/^/    /' "$tmp/out"
		[[ -z $include ]] || check "whole_$name" grep -q ' 209715200 ' "$tmp/out"
	done
done
run default_is_what_is_needed 0 --kernel 6.12 --include "$tmp/files:/files" --json "$tmp/json" -- ls -l /files
check default_is_more_than_512 test "$(sed -n 's/.*"memory_mib": \([0-9]*\).*/\1/p' "$tmp/json")" -gt 512

# Across the gap.
run large 0 --kernel 6.12 --memory 8192 --disk "$tmp/disk" -- sh -ec '
	sed -n "s/^MemTotal: *\([0-9]*\) kB/total \1/p" /proc/meminfo
	grep "System RAM" /proc/iomem | tail -n 1
	dd if=/dev/vda of=/dev/null bs=1M count=16 2> /dev/null'
check large_has_its_memory test "$(out_of total)" -ge $((7900 * 1024))
check large_ends_above_the_gap grep -q '^100000000-23fffffff : System RAM' "$tmp/out"
run larger_than_the_host 116 --kernel 6.12 --memory 32768 -- true
said larger_than_the_host_is_named 'this host has'

# Huge pages: 300 are there.
run hugepages_required 0 --kernel 6.12 --hugepages require --memory 512 -- true
equal hugepages_are_given_back "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" 300
run hugepages_short 116 --kernel 6.12 --hugepages require --memory 1024 -- true
said hugepages_short_is_named '512 free pages of 2 MiB'
run hugepages_tried 0 --kernel 6.12 --hugepages try --memory 1024 -- true
said hugepages_tried_is_told 'runs on normal ones'

check memory_comes_from_its_host_nodes build/tests/unit/vmm/test_vmm_vm_memory
finish
