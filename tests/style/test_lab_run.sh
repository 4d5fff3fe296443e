#!/bin/bash
# tests/lab/run with a fake lab: scripts really run (here, not inside), deaths and time-outs of the host are made up.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/tap.sh"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

# A lab that runs its command with OUT for /out; while $tree/deaths counts down it dies (125) instead, after the scripts
# named in $tree/finished have ended.
cat > "$tree/lab" <<'LAB'
#!/bin/bash
tree=$(dirname "$0")
while [[ $1 != -- ]]; do
	[[ $1 == -o ]] && out=$2
	shift
done
shift
echo "$*" >> "$tree/sessions"
deaths=$(cat "$tree/deaths" 2> /dev/null || echo 0)
if ((deaths > 0)); then
	echo $((deaths - 1)) > "$tree/deaths"
	for name in $(cat "$tree/finished" 2> /dev/null); do
		echo "ok early" > "$out/$name.log"
		echo 0 > "$out/$name.status"
	done
	[[ ! -e $tree/finished.next ]] || mv "$tree/finished.next" "$tree/finished"
	echo 'kernel: Oops: int3' >&2
	exit 125
fi
sed "s|/out/|$out/|g" tests/lab/session.sh > "$tree/session.sh"
sed -i "s|^cd .*|cd $PWD|" "$tree/session.sh"
shift 2
exec bash "$tree/session.sh" "$@"
LAB
chmod +x "$tree/lab"

script() { # NAME LINES...
	local name=$1
	shift
	printf '%s\n' '#!/bin/bash' "$@" > "$tree/$name.sh"
}
run() { # NAME STATUS TEXT SCRIPT...
	local args=("$1" "$2" "$3") paths=() script
	shift 3
	for script; do
		paths+=("$tree/$script.sh")
	done
	rm -f "$tree/sessions"
	expect "${args[@]}" env KTSTR_LAB="$tree/lab" "$here/../lab/run" "${paths[@]}"
}

script good '. tests/lab/lib.sh' 'ok a' 'skip b no need' 'equal c 1 1' 'check d true' 'finish'
script bad '. tests/lab/lib.sh' 'ok a' 'echo the log' 'equal b 1 2' 'check c false' 'finish'
script skips '. tests/lab/lib.sh' 'ok late' 'finish'
script silent 'echo nothing to say'
script dies 'echo "ok a"' 'kill -SEGV $$'
script hangs '# lab-timeout: 1' 'echo "ok a"' 'sleep 30'
script other '# lab-options: -n 4' '. tests/lab/lib.sh' 'ok shape' 'finish'

run good_script_passes 0 'ok good/c' good
run skip_carries_its_reason 0 'skip good/b: no need' good
run failure_names_both_values 1 "not ok bad/b: got '1', wanted '2'" bad
run failure_shows_the_log 1 'bad| the log' bad
run silent_script_fails 1 'not ok silent: reported nothing' silent
run crashed_script_fails 1 'not ok dies: ended with status 139' dies
run hung_script_fails_alone 1 'ok good/a' hangs good
run hung_script_is_named 1 'not ok hangs: no end after 1 s' hangs good
run missing_script_fails 1 'no such script' absent
run same_shape_shares_a_session 0 'ok other/shape' good other
tap $(($(wc -l < "$tree/sessions") != 2)) one_session_per_shape "$(cat "$tree/sessions")"

echo 1 > "$tree/deaths"
run dead_host_is_announced_and_retried 0 'INFRA: the lab' good
echo 1 > "$tree/deaths"
echo good > "$tree/finished"
run retry_leaves_out_what_had_ended 0 'ok good/early' good other
echo 2 > "$tree/deaths"
rm "$tree/finished"
run second_death_fails 1 'not ok good: did not end' good

echo 2 > "$tree/deaths"
echo good > "$tree/finished.next"
run deaths_in_two_scripts_fail_neither 0 'ok skips/late' good skips
echo 3 > "$tree/deaths"
rm -f "$tree/finished"
run script_that_kills_twice_does_not_take_the_next_along 1 'ok skips/late' good skips

tap_end
