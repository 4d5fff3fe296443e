# Runs in a guest: prints what Linux shows of its topology. Files of sysfs as PATH:LINE, all by one grep, because the
# guest's processors may be emulated (and a shell's own `read`, byte by byte, gets nothing from some of them); names of
# links as PATH:NAMES. Then /proc/cpuinfo, the nodes of /proc/zoneinfo, and hwloc's view where it was taken along.
cd /sys/devices/system || exit 1
echo '== sysfs'
grep -asH '' cpu/online node/online node/has_cpu node/has_memory \
	cpu/cpu[0-9]*/topology/*_id cpu/cpu[0-9]*/topology/*_list cpu/cpu[0-9]*/cache/index*/level \
	cpu/cpu[0-9]*/cache/index*/type cpu/cpu[0-9]*/cache/index*/size cpu/cpu[0-9]*/cache/index*/shared_cpu_list \
	node/node[0-9]*/cpulist node/node[0-9]*/distance node/node[0-9]*/access*/initiators/*_* \
	node/node[0-9]*/memory_side_cache/index*/*
for access in node/node[0-9]*/access*/initiators; do
	names=
	for name in "$access"/node*; do
		[ ! -e "$name" ] || names="$names ${name##*/}"
	done
	[ ! -e "$access" ] || echo "$access:${names# }"
done
echo '== cpuinfo'
cat /proc/cpuinfo
echo '== zoneinfo'
grep -E '^Node|^ +present' /proc/zoneinfo
echo '== hwloc'
! command -v lstopo-no-graphics > /dev/null || lstopo-no-graphics --no-io --of xml -
echo '== end'
