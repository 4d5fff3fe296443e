# Sourced by the self-tests here: results as TAP lines, the plan last. `expect` runs a program under test.

tap_n=0 tap_failed=0

tap() { # STATUS NAME [DETAIL]
	tap_n=$((tap_n + 1))
	if (($1 == 0)); then
		echo "ok $tap_n - $2"
	else
		echo "not ok $tap_n - $2"
		printf '%s\n' "${3:-}" | sed 's/^/# /'
		tap_failed=1
	fi
}

# expect NAME STATUS TEXT COMMAND...: the command ends with STATUS and prints TEXT (a fixed string, "" for anything).
expect() {
	local name=$1 wanted=$2 text=$3 output status=0
	shift 3
	output=$("$@" 2>&1) || status=$?
	if [[ $status == "$wanted" && $output == *"$text"* ]]; then
		tap 0 "$name"
	else
		tap 1 "$name" "status $status, wanted $wanted; wanted in the output: $text"$'\n'"$output"
	fi
}

tap_end() {
	echo "1..$tap_n"
	exit "$tap_failed"
}
