#!/bin/bash
# check_authoring.sh ROOT LIBRARY CC...: the example of docs/authoring.md is what it says: it compiles as strict C11 and as
# C++ with nothing but the header and the library, lists its tests and runs them. CC may come with flags (sanitizers).
set -uo pipefail
root=$1 library=$2
shift 2
. "$root/tests/style/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export KTSTR_TOPOLOGY
KTSTR_TOPOLOGY="1,1,$(getconf _NPROCESSORS_ONLN),1"
unset KTSTR_CHANNEL_FD

sed -n '/^```c$/,/^```$/p' "$root/docs/authoring.md" | sed '/^```/d' > "$tmp/first.c"
[[ -s $tmp/first.c ]]
tap $? the_guide_has_an_example
warnings=(-Wall -Wextra -Werror -pedantic -I "$root/include")
expect compiles_as_c11 0 '' "$@" -std=c11 "${warnings[@]}" -o "$tmp/first" "$tmp/first.c" "$library"
expect lists_its_tests 0 '{"ktstr_list":1,"n_tests":2}' "$tmp/first" --ktstr-list
expect counts_the_cpus 0 'PASS first/all_online' "$tmp/first" --ktstr-run first/all_online
expect has_a_subtest_and_a_metric 0 'metric yields: 1000' "$tmp/first" --ktstr-run first/yields
KTSTR_TOPOLOGY=1,64,64,1 expect fails_on_another_machine 1 'CPUs are online' "$tmp/first" --ktstr-run first/all_online
if command -v c++ > /dev/null; then
	expect header_compiles_as_cpp 0 '' c++ -std=c++20 "${warnings[@]}" -fsyntax-only -x c++ \
		-Wno-missing-field-initializers "$tmp/first.c"
else
	echo "ok $((++tap_n)) # SKIP header_compiles_as_cpp: no C++ compiler is installed"
fi
tap_end
