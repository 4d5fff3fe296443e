#!/bin/sh
# Disassembles every table and compiles the result again: no complaint in either direction, and the same bytes come back
# (but for the header's creator fields and checksum, where the compiler signs). Argument: the acpi_dump program.
set -eu
dump=$1
command -v iasl > /dev/null || { echo "no iasl (acpica-tools)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail()
{
	echo "FAIL: $1"
	cat "$dir/log"
	exit 1
}

# "0 Errors, 0 Warnings, 0 Remarks" is the compiler's summary of a clean file.
clean()
{
	! sed 's/0 Errors, 0 Warnings, 0 Remarks//' "$dir/log" | grep -Eiq 'error|warning|remark|invalid|unknown|incorrect'
}

check() { # TOPOLOGY TABLES
	topology=$1
	rm -rf "$dir/t" "$dir/again" && mkdir "$dir/t" "$dir/again"
	"$dump" "$topology" "$dir/t"
	[ "$(cd "$dir/t" && echo *.dat)" = "$2" ] || fail "$topology: other tables: $(ls "$dir/t")"
	for table in "$dir"/t/*.dat; do
		name=$topology/$(basename "$table" .dat)
		iasl -d "$table" > "$dir/log" 2>&1 || fail "$name: iasl -d"
		clean || fail "$name: disassembler complains"
		grep -Eiq 'incorrect checksum|unknown' "${table%.dat}.dsl" && fail "$name: complaint in the listing"
		again=$dir/again/$(basename "$table" .dat)
		iasl -p "$again" "${table%.dat}.dsl" > "$dir/log" 2>&1 || fail "$name: iasl"
		clean || fail "$name: compiler complains"
		tail -c +37 "$table" > "$dir/a"
		tail -c +37 "$again.aml" > "$dir/b"
		cmp "$dir/a" "$dir/b" > "$dir/log" 2>&1 || fail "$name: other bytes after recompiling"
	done
}

plain='APIC.dat DSDT.dat FACP.dat XSDT.dat'
numa='APIC.dat DSDT.dat FACP.dat HMAT.dat SLIT.dat SRAT.dat XSDT.dat'
# 1, 4 and 255 CPUs; ids with gaps (3 cores, 3 threads); ids above 254 (x2APIC entries).
for t in 1,1,1,1 1,1,4,1 1,1,255,1 1,3,3,1 max-cpu; do
	check "$t" "$plain"
done
# Nodes: uniform, ids above 254 among them; memory only, with everything that can be said of it; one node with attributes.
for t in 2,4,5,3 numa4-12llc 3,14,9,2 'node=llcs:1,latency_ns:90' \
	'cores=2;node=llcs:2,memory:4G,latency_ns:80,bandwidth_mbs:200000;node=llcs:1;node=memory:1G,latency_ns:300,bandwidth_mbs:20000,cache:64M,cache_line:128,cache_indexing:complex,cache_policy:through;distances=10,21,30/21,10,17/30,17,10'; do
	check "$t" "$numa"
done
echo "10 topologies: clean"
