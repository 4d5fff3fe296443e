#!/bin/bash
# No mutable object with static storage in any library of the build: what objdump finds in .data, .bss, their
# thread-local twins and among common symbols is in globals.txt. Constant tables lie in .rodata or .data.rel.ro.
# usage: check_globals.sh BUILD [ALLOWED]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: check_globals.sh BUILD [ALLOWED]} allowed=${2:-$here/globals.txt}

command -v objdump > /dev/null || { echo 'objdump is not installed'; exit 77; }
mapfile -t libraries < <(find "$build" -path '*/tests' -prune -o -name 'lib*.a' -print | sort)
((${#libraries[@]})) || { echo "no libraries in $build: build first"; exit 1; }

symbols=$(for library in "${libraries[@]}"; do
	echo "library $(basename "$library")"
	objdump -t "$library"
done)
# The markers of sanitizers are objects themselves: there is nothing to see in such a build.
if grep -qE '__(asan|tsan)_init' <<< "$symbols"; then
	echo 'a sanitizer build'
	exit 77
fi
awk -v allowed="$allowed" '
	BEGIN {
		while ((getline line < allowed) > 0)
			if (line !~ /^#/ && split(line, word, /[ \t]+/) >= 3) may[word[1], word[2], word[3]] = 1
	}
	/^library / { library = $2 }
	/file format/ {
		file = $1
		sub(/:$/, "", file)
		sub(/^.*\//, "", file) # a thin archive names members by their path
		sub(/\.o$/, "", file)
	}
	# VALUE FLAGS SECTION<tab>SIZE NAME; an object has a size (sections and labels have none, thread-local ones no O flag)
	split($0, half, "\t") == 2 && half[2] !~ /^0+ / {
		section = half[1]
		sub(/^.* /, "", section)
		name = half[2]
		sub(/^[0-9a-f]+ +(\.hidden +)?/, "", name)
		sub(/\.[0-9]+$/, "", name)
		mutable = section ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && section !~ /^\.data\.rel\.ro/ || section == "*COM*"
		if (mutable && !((library, file, name) in may)) {
			printf "%s(%s): %s in %s is mutable and not in globals.txt\n", library, file, name, section
			n_bad++
		}
	}
	END { exit n_bad > 0 }
' <<< "$symbols"
