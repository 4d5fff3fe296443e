#!/bin/bash
# Stock kernels see the topology that was declared: guest sysfs, /proc/cpuinfo and hwloc, field by field, for presets with
# odd counts and SMT, for NUMA nodes, and for a memory-only node with attributes. By hand: arguments choose by name, KTSTR
# is another program, KEEP a folder for what the last guest showed.
# lab-options: -n 1 -l 2 -c 2 -m 6144
# lab-timeout: 1500
. tests/lab/lib.sh

ktstr=${KTSTR:-build/src/cli/ktstr}
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-/tmp/cache}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
lstopo=$(command -v lstopo-no-graphics) || skip hwloc 'no lstopo-no-graphics (package hwloc-nox)'

# QEMU's software CPU races with a guest that patches its code (README.md): an int3 that nobody set. tsc=unstable keeps
# the scheduler's clock from being switched, which every boot else does while all CPUs tick.
emulator_race() { # STATUS
	(($1 == 111)) && grep -q 'Oops: int3' "$tmp/err"
}

# topology KERNEL NAME TOPOLOGY [ARGS...]: boots it and compares. hwloc reads the same sysfs, so one kernel is enough.
topology() {
	local kernel=$1 name=$2 topology=$3 status try hwloc=()
	shift 3
	[[ $kernel != 6.12 || ! $lstopo ]] || hwloc=(--include "$lstopo")
	rm -f "$tmp"/*
	if ! "$ktstr" topo --json --topology "$topology" "$@" > "$tmp/json"; then
		not_ok "$name" 'ktstr topo failed'
		return
	fi
	local start=$SECONDS
	# At most three times: see emulator_race.
	for try in 1 2 3; do
		status=0
		timeout 300 "$ktstr" run --kernel "$kernel" --topology "$topology" "$@" --append tsc=unstable \
			--dmesg "$tmp/dmesg" --timeout 280 --include tests/lab/guest_topology.sh:/bin/guest_topology \
			"${hwloc[@]}" -- sh /bin/guest_topology > "$tmp/dump" 2> "$tmp/err" || status=$?
		emulator_race "$status" || break
		echo "INFRA: $name, try $try: the emulator raced with the guest's code patching"
	done
	echo "    $name: $((SECONDS - start)) s"
	[[ ! ${KEEP:-} ]] || cp "$tmp"/* "$KEEP"
	if ((status != 0)); then
		not_ok "$name" "ktstr run ended with status $status: $(tail -n 3 "$tmp/err")"
		return
	fi
	python3 tests/lab/check_topology.py "$name" "$tmp/json" "$tmp/dump" ${hwloc:+--hwloc} || test_failures=$((test_failures + 1))
	# What the kernel complains about when tables and processors do not agree.
	if grep -E 'Firmware Bug|sched: CPU.*different|APIC ID mismatch|SRAT: SRAT not used|SLIT table looks invalid' "$tmp/dmesg"; then
		not_ok "${name}_kernel_has_no_complaint" 'above'
	else
		ok "${name}_kernel_has_no_complaint"
	fi
}

cxl='cores=2;node=llcs:1,memory:512M,latency_ns:80,bandwidth_mbs:200000;node=llcs:0,memory:256M,latency_ns:300'
cxl+=',bandwidth_mbs:20000,cache:64M,cache_line:128,cache_indexing:complex,cache_policy:through;distances=10,40/40,10'

while read -r name kernel topology args; do
	[[ -z ${1:-} || " $* " == *" $name "* ]] || continue
	# shellcheck disable=SC2086
	topology "$kernel" "$name" "${topology/CXL/$cxl}" $args
done <<-LIST
	tiny_1llc       6.12  tiny-1llc
	cxl             6.12  CXL
	smt_2llc        6.12  smt-2llc
	smt_2llc_6.1    6.1   smt-2llc
	four_nodes      6.12  4,5,1,1 --memory 1024
	four_nodes_6.1  6.1   4,5,1,1 --memory 1024
	cxl_6.1         6.1   CXL
	odd_3llc_6.1    6.1   odd-3llc
	tiny_2llc       6.12  tiny-2llc
	odd_3llc        6.12  odd-3llc
	smt_3llc        6.12  smt-3llc
	odd_7llc        6.12  odd-7llc
	odd_5llc        6.12  odd-5llc
	numa2_4llc      6.12  numa2-4llc
LIST
finish
