# Sourced by every tests/lab/test_*.sh, which runs on the lab's host: how a test reports, and small helpers.
# Results are lines on stdout; everything else a script prints there is its log. See README.md.

test_failures=0

ok() { # NAME
	echo "ok $1"
}
not_ok() { # NAME WHY...
	local name=$1
	shift
	echo "not ok $name: $*"
	test_failures=$((test_failures + 1))
}
skip() { # NAME WHY...
	local name=$1
	shift
	echo "skip $name: $*"
}

# check NAME COMMAND...: ok when the command succeeds; its output is only shown when it does not.
check() {
	local name=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	if ((status == 0)); then
		ok "$name"
	else
		printf '%s\n' "$output" | tail -n 20 | sed 's/^/    /'
		not_ok "$name" "'$*' ended with status $status"
	fi
}

# equal NAME GOT WANTED
equal() {
	if [[ $2 == "$3" ]]; then
		ok "$1"
	else
		not_ok "$1" "got '$2', wanted '$3'"
	fi
}

# guest LIMIT_S COMMAND...: runs a command that boots a guest, with its output in $tmp/out and $tmp/err; sets $guest_status.
# QEMU's software CPU races with a kernel that patches its code (README.md): an int3 that nobody set, or a triple fault, which
# no test here wants. That is the lab's failure and no verdict on ktstr: it is said, and there are three tries at most.
guest() {
	local limit_s=$1 try
	shift
	for try in 1 2 3; do
		guest_status=0
		timeout "$limit_s" "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null || guest_status=$?
		emulator_race || return 0
		echo "INFRA: try $try: the emulator raced with the guest's code patching: $(grep -Em1 "$race_signs" "$tmp/err")"
	done
}
race_signs='Oops: int3|(BOOT|PANIC): .*triple fault'
emulator_race() {
	((guest_status == 111 || guest_status == 114)) && grep -Eq "$race_signs" "$tmp/err"
}

# The same for a batch: COMMAND is `ktstr test`, and writes $tmp/json; sets $batch_status.
batch() { # LIMIT_S COMMAND...
	local limit_s=$1 try
	shift
	for try in 1 2 3; do
		batch_status=0
		timeout "$limit_s" "$@" > "$tmp/log" 2>&1 < /dev/null || batch_status=$?
		grep -Eq '"why": "[^"]*(Oops: int3|triple fault)' "$tmp/json" || return 0
		echo "INFRA: try $try: the emulator raced with a guest's code patching: $(grep -Em1 'Oops: int3|triple fault' "$tmp/log")"
	done
}

# until_true SECONDS COMMAND...: for what others end by themselves; false when it did not come true in time.
until_true() {
	local i n=$((10 * $1))
	shift
	for ((i = 0; i < n; i++)); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}
is_gone() { ! kill -0 "$1" 2> /dev/null; } # PID

# The last line of a script: its exit status says what its lines said.
finish() {
	exit $((test_failures != 0))
}
