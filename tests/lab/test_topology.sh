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

# topology KERNEL NAME TOPOLOGY [ARGS...]: boots it and compares. hwloc reads the same sysfs, so one kernel is enough.
topology() {
	local kernel=$1 name=$2 topology=$3 hwloc=()
	shift 3
	[[ $kernel != 6.12 || ! $lstopo ]] || hwloc=(--include "$lstopo")
	rm -f "$tmp"/*
	if ! "$ktstr" topo --json --topology "$topology" "$@" > "$tmp/json"; then
		not_ok "$name" 'ktstr topo failed'
		return
	fi
	local start=$SECONDS
	# tsc=unstable keeps the scheduler's clock from being switched, which every boot else does while all CPUs tick: the
	# most frequent of the races that guest() knows.
	guest 300 "$ktstr" run --kernel "$kernel" --topology "$topology" "$@" --append tsc=unstable \
		--dmesg "$tmp/dmesg" --timeout 280 --include tests/lab/guest_topology.sh:/bin/guest_topology \
		"${hwloc[@]}" -- sh /bin/guest_topology
	echo "    $name: $((SECONDS - start)) s"
	[[ ! ${KEEP:-} ]] || cp "$tmp"/* "$KEEP"
	if ((guest_status != 0)); then
		not_ok "$name" "ktstr run ended with status $guest_status: $(tail -n 3 "$tmp/err")"
		return
	fi
	python3 tests/lab/check_topology.py "$name" "$tmp/json" "$tmp/out" ${hwloc:+--hwloc} || test_failures=$((test_failures + 1))
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
