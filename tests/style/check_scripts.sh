#!/bin/bash
# Every shell script parses, and the manual page has no error.
# usage: check_scripts.sh [ROOT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"

status=0 n=0
while IFS= read -r file; do
	case $(head -n 1 "$file") in
	'#!/bin/bash'*) bash -n "$file" || status=1 ;;
	'#!'*sh) sh -n "$file" || status=1 ;;
	*) continue ;;
	esac
	n=$((n + 1))
done < <(find .ci tools tests bench -path tests/fuzz -prune -o -type f ! -name '*.[ch]' -print 2> /dev/null | sort)
((n)) || { echo 'no script found'; exit 1; }

if [[ -e docs/ktstr.1 ]] && command -v mandoc > /dev/null; then
	mandoc -T lint -W error docs/ktstr.1 || status=1
fi
exit $status
