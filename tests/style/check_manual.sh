#!/bin/bash
# What the program takes and tells is what its documents say: each option of run and shell has its entry in docs/ktstr.1 and
# its line in --help, and neither has one more; the same goes for plan and report and the manual's sections PLACES and REPORTS; each check of doctor and each counter of a run is in docs/run-json.md.
# usage: check_manual.sh [ROOT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
status=0

same() { # WHAT LIST ELSEWHERE LIST
	local only
	only=$(comm -3 <(sort -u <<< "$2") <(sort -u <<< "$4") | tr -d '\t' | tr '\n' ' ')
	[[ -z $only ]] && return
	echo "$1 and $3 differ in: $only"
	status=1
}
documented() { # NAMES: each in backquotes in run-json.md
	local name
	for name in $1; do
		grep -qF "\`$name\`" docs/run-json.md && continue
		echo "docs/run-json.md lacks \`$name\`"
		status=1
	done
}

entries() { # SECTION of the manual: its options
	sed -n "/^\.Sh $1/,/^\.Sh /s/^\.It Fl -\([a-z-]*\).*/\1/p" docs/ktstr.1
}

options=$(sed -n 's/^\t{ "\([a-z-]*\)", [a-z]*_argument.*/\1/p' src/cli/run_options.c | grep -v '^help$')
[[ $options ]] || { echo 'no option in src/cli/run_options.c'; exit 1; }
same src/cli/run_options.c "$options" docs/ktstr.1 "$(entries OPTIONS)"
same src/cli/run_options.c "$options" --help "$(cat src/cli/run_options.c src/cli/placement_options.c |
	sed -n 's/^[[:space:]]*\(fputs(\)*"  --\([a-z-]*\) .*/\2/p')"

options=$(sed -n 's/^\t\t{ "\([a-z-]*\)", [a-z]*_argument.*/\1/p' src/cli/cmd_plan.c | grep -v '^help$')
same src/cli/cmd_plan.c "$options" docs/ktstr.1 "$(entries PLACES)"

options=$(sed -n 's/^\t{ "\([a-z-]*\)", [a-z]*_argument.*/\1/p' src/cli/test_options.c | grep -v '^help$')
same src/cli/test_options.c "$options" docs/ktstr.1 "$(entries TESTS)"
same src/cli/test_options.c "$options" --help "$(sed -n 's/^[[:space:]]*"  --\([a-z-]*\) .*/\1/p' src/cli/test_options.c)"

options=$(sed -n 's/^\t\t{ "\([a-z-]*\)", [a-z]*_argument.*/\1/p' src/cli/cmd_report.c | grep -v '^help$')
same src/cli/cmd_report.c "$options" docs/ktstr.1 "$(entries REPORTS)"

options=$(sed -n 's/^\t{ "\([a-z-]*\)", [a-z]*_argument.*/\1/p' src/cli/bench_options.c | grep -v '^help$')
same src/cli/bench_options.c "$options" docs/ktstr.1 "$(entries BENCHMARKS)"
same src/cli/bench_options.c "$options" --help "$(sed -n 's/^[[:space:]]*"  --\([a-z-]*\) .*/\1/p' src/cli/bench_options.c)"

documented "$(grep -oE 'add\(d, "[a-z0-9_]+"' src/cli/cmd_doctor.c | sed 's/.*"\(.*\)"/\1/')"
documented "$(grep -oE 'check_limit\(&d, "[a-z0-9_]+"' src/cli/cmd_doctor.c | sed 's/.*"\(.*\)"/\1/')"
documented "$(grep -oE '(exits|console|frames)\.[a-z_]+ %' src/vmm/session.c | sed 's/ %//')"
documented "$(grep -oE '"(version|[a-z_]+)"' <(sed -n '/^static json_t \*json_document/,/^}/p' src/cli/report.c) | tr -d '"')"
exit $status
