#!/bin/bash
# Runs inside the lab, started by tests/lab/run: each script given as SECONDS:PATH in turn, with its time limit. A script's
# output goes to /out/NAME.log and, as its last act, its status to /out/NAME.status: what has no status has not ended.
cd "$(dirname "$0")/../.." || exit 125
for item; do
	limit_s=${item%%:*} script=${item#*:}
	name=$(basename "$script" .sh)
	status=0
	timeout -k 5 "$limit_s" bash "$script" > "/out/$name.log" 2>&1 < /dev/null || status=$?
	echo "$status" > "/out/$name.status"
done
exit 0
