#!/bin/bash
# Every #include of src/, abi/, guest/ and include/ follows the arrows of arrows.txt.
# usage: check_arrows.sh [ROOT [ARROWS]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/../..} arrows=${2:-$here/arrows.txt}
cd "$root"

folders=()
for dir in src abi guest include; do
	[[ -d $dir ]] && folders+=("$dir")
done
((${#folders[@]})) || { echo "no source folders in $root"; exit 1; }
mapfile -t files < <(find "${folders[@]}" -name '*.[ch]' | sort)
((${#files[@]})) || { echo "no source files in $root"; exit 1; }

awk -v arrows="$arrows" '
	# The folder that a path lies in, as arrows.txt names it.
	function folder_of(path,   part) {
		split(path, part, "/")
		return part[1] == "src" ? part[2] : part[1]
	}
	function exists(path,   line, got) {
		got = (getline line < path) >= 0
		close(path)
		return got
	}
	function bad(text) {
		printf "%s:%d: %s\n", FILENAME, FNR, text
		n_bad++
	}
	# Where a quoted include leads: beside the file, else by the include paths (., src, include). "" where nowhere.
	function target(name,   dir) {
		dir = FILENAME
		sub(/\/[^\/]*$/, "", dir)
		if (exists(dir "/" name)) return folder_of(dir "/" name)
		if (name !~ /^src\// && exists(name)) return folder_of(name)
		if (exists("src/" name)) return folder_of("src/" name)
		if (exists("include/" name)) return "include"
		return ""
	}
	BEGIN {
		while ((getline line < arrows) > 0) {
			sub(/[ \t]*#.*/, "", line)
			if (line !~ /:/) continue
			n = split(line, word, /[ \t:]+/)
			known[word[1]] = 1
			for (i = 2; i <= n; i++)
				if (word[i] != "") may[word[1], word[i]] = 1
		}
	}
	FNR == 1 { from = folder_of(FILENAME) }
	FNR == 1 && !(from in known) { bad("folder \"" from "\" has no line in arrows.txt") }
	match($0, /^[ \t]*#[ \t]*include[ \t]*"[^"]+"/) {
		name = substr($0, RSTART, RLENGTH)
		gsub(/^[^"]*"|"$/, "", name)
		to = target(name)
		if (to == "") bad("\"" name "\" is found on no include path")
		else if (to != from && !((from, to) in may) && !((from, name) in may) && !((from, "*") in may))
			bad(from " -> " to ": \"" name "\" is against the arrows")
	}
	match($0, /^[ \t]*#[ \t]*include[ \t]*<[^>]+>/) {
		name = substr($0, RSTART, RLENGTH)
		sub(/^[^<]*/, "", name)
		if (name in known && !((name, from) in may))
			bad(from " -> " name ": this header belongs to other folders")
	}
	END { exit n_bad > 0 }
' "${files[@]}"
