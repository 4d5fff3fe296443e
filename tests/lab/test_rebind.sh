#!/bin/bash
# A stock Debian kernel takes the driver of its disk away and back under load, with freed pages poisoned: no byte is lost, and
# the device writes to no page after the reset. KTSTR_REBINDS=1000 for the long run.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 1500
. tests/lab/lib.sh

times=${KTSTR_REBINDS:-100}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
truncate -s 64M "$tmp/disk"
begin=$SECONDS
guest 1400 build/src/cli/ktstr run --kernel 6.12 --topology 1,1,2,1 --timeout 1300 --disk "$tmp/disk" --json "$tmp/json" \
	--dmesg "$tmp/dmesg" --append 'page_poison=1 slub_debug=FZP tsc=unstable' -- build/tests/lab/guest_rebind "$times" vda
echo "$(cat "$tmp/out"); $((SECONDS - begin)) s"
echo "counters: $(grep '"disk\.' "$tmp/json" | tr -d '\n')"
equal nothing_is_corrupt "$guest_status" 0
((guest_status == 0)) || tail -n 15 "$tmp/err" "$tmp/out" | sed 's/^/    /'
check all_rebinds_were_made grep -q "^rebinds $times," "$tmp/out"
check io_was_interrupted_by_them grep -Eq 'interrupted [1-9]' "$tmp/out"
check poisoning_was_on grep -qi 'page_poison' "$tmp/dmesg"
complaints='BUG[: ]|WARNING:|Oops|pagealloc: .*(corruption|error)|overwritten|list_(add|del) corruption'
# From the disk's first line on: before it the kernel complains about the lab's processor.
equal guest_kernel_has_no_complaint "$(sed -n '/virtio_blk.*\[vda\]/,$p' "$tmp/dmesg" | grep -E "$complaints" | head -n 3)" ''
check guest_kernel_tells_of_the_disk test "$(grep -c 'virtio_blk.*\[vda\]' "$tmp/dmesg")" -gt "$times"
equal no_guest_faults "$(sed -n 's/.*"disk.guest_faults": \([0-9]*\).*/\1/p' "$tmp/json")" 0
finish
