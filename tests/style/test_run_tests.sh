#!/bin/bash
# tools/run-tests counts right: a small project whose tests pass, fail, skip, crash, hang or vanish in the middle.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/tap.sh"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/tools" "$tree/tests/lab"
cp "$here/../../tools/run-tests" "$tree/tools/"
cat > "$tree/case.sh" <<'CASE'
#!/bin/sh
case $1 in
pass) printf '1..2\nok 1 - a\nok 2 - b\n' ;;
fail) printf '1..2\nok 1 - a\nnot ok 2 - b\n# the reason\n'; exit 1 ;;
skip) echo 'no such device here'; exit 77 ;;
skip_case) printf '1..2\nok 1 - a\nnot ok 2 # SKIP b\n' ;;
crash) printf '1..2\nok 1 - a\n'; kill -SEGV $$ ;;
hang) printf '1..2\nok 1 - a\n'; sleep 60 ;;
vanish) printf '1..2\nok 1 - a\n'; exit 0 ;;
empty) echo 1..0 ;;
lying) printf '1..1\nnot ok 1 - a\n'; exit 0 ;;
twice) printf '1..2\nok 1 - a\n1..2\nok 1 - a\nok 2 - b\n' ;;
plain) echo fine ;;
esac
CASE
chmod +x "$tree/case.sh"

# project TEST...: a fresh project with these tests (of case.sh) in suite unit
project() {
	rm -rf "$tree/build"
	{
		echo "project('t', 'c')"
		echo "case = find_program('case.sh')"
		for name; do
			echo "test('base/$name', case, args: '$name', suite: 'unit', timeout: 1)"
		done
	} > "$tree/meson.build"
}
quick() { # NAME STATUS TEXT
	expect "$@" env -u CI "$tree/tools/run-tests" --quick
}
last_line_is() { # NAME WANTED
	local last
	last=$(env -u CI "$tree/tools/run-tests" --quick 2>&1 | tail -n 1)
	tap $((1 - ($( [[ $last == "$2" ]] && echo 1 || echo 0)))) "$1" "$last"
}

project pass plain twice
quick cases_and_plain_tests_are_counted 0 '5 passed, 0 failed, 0 skipped'
project fail pass
quick failed_case_fails_the_run 1 '3 passed, 1 failed, 0 skipped'
quick failed_case_shows_its_log 1 'the reason'
project skip skip_case pass
quick skips_count_one_each_with_their_reason 0 'default: base/skip: no such device here'
last_line_is count_is_the_last_line '3 passed, 0 failed, 2 skipped'
project crash
quick crash_is_a_failure 1 '1 passed, 1 failed, 0 skipped'
project hang
quick hang_is_a_failure 1 '1 passed, 1 failed, 0 skipped'
project vanish
quick early_exit_with_status_0_is_a_failure 1 'after 1 of 2 cases'
project lying
quick failed_case_with_status_0_is_a_failure 1 '0 passed, 1 failed, 0 skipped'
project empty
quick executable_without_cases_is_a_failure 1 'ran no case'
project skip
quick only_skips_are_no_success 1 'nothing passed'
project
quick no_tests_are_no_success 1 '0 passed, 0 failed, 0 skipped'
project pass
echo "executable('broken', 'broken.c')" >> "$tree/meson.build"
echo 'int main(void) { return missing; }' > "$tree/broken.c"
quick broken_build_counts_no_test 1 '0 passed, 1 failed, 0 skipped'

project pass skip_case
expect thread_sanitizer_runs_are_counted 0 '6 passed, 0 failed, 2 skipped' \
	env -u CI "$tree/tools/run-tests" --only default,tsan
expect no_lab_leaves_the_lab_out 0 'tsan' env -u CI "$tree/tools/run-tests" --only default,tsan,lab --no-lab

# --- the lab's lines ---
project pass # the lab runs what this builds
lab_run() { # LINES: what a fake tests/lab/run does
	printf '%s\n' '#!/bin/bash' "$@" > "$tree/tests/lab/run"
	chmod +x "$tree/tests/lab/run"
}
lab() { # NAME STATUS TEXT
	expect "$@" "$tree/tools/run-tests" --only lab
}
lab_run 'echo "ok t/a"' 'echo noise' 'echo "skip t/b: no reason at all"'
lab lab_lines_are_counted 0 '1 passed, 0 failed, 1 skipped'
lab_run 'echo "ok t/a"' 'echo "the log"' 'echo "not ok t/b: broken"' 'exit 1'
lab lab_failure_shows_its_log 1 'the log'
lab_run 'echo "ok t/a"' 'exit 3'
lab lab_unexplained_status_is_a_failure 1 '1 passed, 1 failed, 0 skipped'
lab_run 'exit 0'
lab lab_that_ran_nothing_is_a_failure 1 '0 passed, 1 failed, 0 skipped'

# --- the fuzzer's ---
fuzz_run() { # LINES: what a fake tools/fuzz does
	printf '%s\n' '#!/bin/bash' "$@" > "$tree/tools/fuzz"
	chmod +x "$tree/tools/fuzz"
}
fuzz() { # NAME STATUS TEXT
	mkdir -p "$tree/bin" && ln -sf /bin/true "$tree/bin/clang"
	expect "$@" env PATH="$tree/bin:$PATH" "$tree/tools/run-tests" --only fuzz
}
fuzz_run 'echo "ok a: 5 inputs"' 'echo "ok b: 7 inputs"' 'echo "fuzz: 2 targets, 12 inputs, 0 min 3 s of CPU, 0 failed"'
fuzz fuzz_targets_are_counted 0 '2 passed, 0 failed, 0 skipped'
fuzz fuzz_inputs_are_printed 0 '12 inputs, 0 min 3 s of CPU'
fuzz_run 'echo "==1==ERROR: overflow"' 'echo "not ok a: status 1"' 'exit 1'
fuzz fuzz_crash_shows_its_log 1 'ERROR: overflow'

tap_end
