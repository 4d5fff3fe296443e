#!/bin/bash
# Every meson.build begins with a comment that says what its folder is for. Long files are named, not refused.
# usage: check_folders.sh [ROOT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
long_file_lines=600 # look for a seam beyond (STYLE.md, section 13)

folders=()
for dir in src abi guest tests bench examples; do
	[[ -d $dir ]] && folders+=("$dir")
done
mapfile -t builds < <(find "${folders[@]}" -name meson.build | sort)
((${#builds[@]})) || { echo 'no meson.build found'; exit 1; }

status=0
for file in "${builds[@]}"; do
	first=$(head -n 1 "$file")
	if [[ $first != '# '* ]] || ((${#first} < 24)); then
		echo "$file:1: does not begin with a comment on the folder's purpose (have: '$first')"
		status=1
	fi
done

find "${folders[@]}" -name '*.[ch]' -exec wc -l {} + | awk -v most=$long_file_lines '
	$2 != "total" && $1 > most { printf "note: %s has %d lines: is there a seam?\n", $2, $1 }'
exit $status
