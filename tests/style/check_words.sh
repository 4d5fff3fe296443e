#!/bin/bash
# No forbidden call (words.txt) in src/, abi/, guest/; no unfinished mark and no comment that a formatter ran together in
# any C file or meson.build.
# usage: check_words.sh [ROOT [WORDS]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/../..} words=${2:-$here/words.txt}
cd "$root"

existing() {
	local dir
	for dir; do
		[[ -d $dir ]] && printf '%s\n' "$dir"
	done
	return 0
}
mapfile -t code < <(existing src abi guest include)
mapfile -t all < <(existing src abi guest include tests bench examples)
((${#code[@]})) || { echo "no source folders in $root"; exit 1; }
status=0

# Calls. Strings and comments are cut away first, so that prose may name a function.
find "${code[@]}" -name '*.[ch]' | sort | xargs -r awk -v words="$words" '
	BEGIN {
		while ((getline line < words) > 0) {
			sub(/[ \t]*#.*/, "", line)
			if (line !~ /:/) continue
			n = split(substr(line, 1, index(line, ":") - 1), name, /[ \t]+/)
			for (i = 1; i <= n; i++)
				if (name[i] != "") allowed[name[i]] = substr(line, index(line, ":") + 1)
		}
	}
	function may(word,   prefix, n, i) {
		n = split(allowed[word], prefix, /[ \t]+/)
		for (i = 1; i <= n; i++)
			if (prefix[i] != "" && index(FILENAME, prefix[i]) == 1) return 1
		return 0
	}
	FNR == 1 { in_comment = 0 }
	{
		text = $0
		gsub(/\\\\|\\"|\047\\?"\047/, "", text)
		gsub(/"[^"]*"/, "\"\"", text)
		if (in_comment) {
			if (!sub(/^.*\*\//, "", text)) next
			in_comment = 0
		}
		gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, " ", text)
		sub(/\/\/.*/, "", text)
		if (sub(/\/\*.*/, "", text)) in_comment = 1
		while (match(text, /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
			word = substr(text, RSTART, RLENGTH - 1)
			sub(/[ \t]+$/, "", word)
			member = RSTART > 1 && substr(text, RSTART - 1, 1) ~ /[.>]/
			text = substr(text, RSTART + RLENGTH)
			if (word in allowed && !member && !may(word)) {
				printf "%s:%d: calls %s(), which words.txt allows elsewhere only\n", FILENAME, FNR, word
				n_bad++
			}
		}
	}
	END { exit n_bad > 0 }
' || status=1

# Marks of unfinished work, comments included. A plan for later names its condition: "... when multiqueue".
find "${all[@]}" \( -name '*.[ch]' -o -name meson.build \) | sort | xargs -r awk '
	function has(word) { return $0 ~ "(^|[^A-Za-z0-9_])" word "([^A-Za-z0-9_]|$)" }
	has("FIXME") || has("XXX") || has("HACK") {
		printf "%s:%d: mark of unfinished work\n", FILENAME, FNR
		n_bad++
	}
	/^ \*[A-Za-z>-]/ {
		printf "%s:%d: comment line without its blank: lines that a formatter ran together?\n", FILENAME, FNR
		n_bad++
	}
	has("TODO") && !/[Ww]hen / {
		printf "%s:%d: TODO without its condition (\"when ...\")\n", FILENAME, FNR
		n_bad++
	}
	END { exit n_bad > 0 }
' || status=1
exit $status
