#!/bin/sh
# check_noderef.sh ROOT SNIPPETS: every "#ifdef CASE_n" of SNIPPETS must be refused by clang, and the file without any
# of them must compile. The misuses are those that guest memory's pointers exist to prevent.
set -u
root=$1
file=$2

command -v clang >/dev/null || exit 77
compile()
{
	clang -std=gnu17 -Wall -Werror=noderef -fsyntax-only -include "$root/src/base/prelude.h" -I"$root/src" \
		"$@" "$file"
}

if ! compile; then
	echo "$file: does not compile without a misuse, so refusals prove nothing"
	exit 1
fi
cases=$(sed -n 's/^#ifdef \(CASE_[A-Z_]*\)$/\1/p' "$file")
[ -n "$cases" ] || { echo "$file: no cases"; exit 1; }
status=0
for case in $cases; do
	if compile -D"$case" 2>/dev/null; then
		echo "$case compiles: a guest pointer can be misused"
		status=1
	fi
done
exit $status
