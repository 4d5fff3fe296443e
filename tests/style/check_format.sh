#!/bin/bash
# The C files that this branch changed look as clang-format would have them.
# usage: check_format.sh [--fix | --all]
#
# "Changed" is: in the commits since the main branch, in the working tree, or new. On the main branch itself it is the
# last commit. clang-format 14 (Debian 12) decides: other versions differ in detail, so with them this is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
mode=${1:-}

skip() {
	echo "$*"
	exit 77
}
command -v clang-format > /dev/null || skip 'clang-format is not installed'
version=$(clang-format --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
[[ $version == 14 ]] || skip "clang-format $version, not 14"
git rev-parse --is-inside-work-tree > /dev/null 2>&1 || skip 'not a git working tree'

base() {
	local ref fork
	for ref in origin/HEAD origin/main origin/master main master; do
		fork=$(git merge-base HEAD "$ref" 2> /dev/null) || continue
		[[ $fork == "$(git rev-parse HEAD)" ]] && continue
		echo "$fork"
		return
	done
	git rev-parse -q --verify HEAD~1 || git hash-object -t tree /dev/null # the empty tree
}

patterns=('*.c' '*.h')
if [[ $mode == --all ]]; then
	mapfile -t files < <(git ls-files -- "${patterns[@]}")
else
	mapfile -t files < <({
		git diff --name-only --diff-filter=d "$(base)" -- "${patterns[@]}"
		git ls-files --others --exclude-standard -- "${patterns[@]}"
	} | sort -u)
fi
((${#files[@]})) || { echo 'no C file has changed'; exit 0; }
if [[ $mode == --fix ]]; then
	exec clang-format -i "${files[@]}"
fi
# One process for all of them takes a second; one each, to show what is wrong, half a minute.
clang-format --dry-run -Werror "${files[@]}" > /dev/null 2>&1 && exit 0
bad=0
for file in "${files[@]}"; do
	if ! clang-format --dry-run -Werror "$file" > /dev/null 2>&1; then
		clang-format "$file" | diff -u --label "$file" --label 'as clang-format has it' "$file" - | head -n 12 || true
		bad=$((bad + 1))
	fi
done
((bad == 0)) || echo "$bad of ${#files[@]} files: run 'make format'"
exit $((bad != 0))
