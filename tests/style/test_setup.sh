#!/bin/bash
# tools/setup with made-up package managers: what it asks them, in which order, and what it tells when it cannot.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/tap.sh"
setup=$here/../../tools/setup
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/bin"
for tool in bash awk cat sed tail mktemp rm env sort grep; do
	ln -s "$(command -v $tool)" "$tree/bin/$tool"
done

fake() { # NAME LINES...
	local name=$1
	shift
	printf '%s\n' '#!/bin/bash' "echo $name \"\$*\" >> $tree/calls" "$@" > "$tree/bin/$name"
	chmod +x "$tree/bin/$name"
}
# dpkg-query knows everything but the packages named.
dpkg_lacks() {
	fake dpkg-query 'for p; do case $p in -*) ;;' "${1:-none}) ;;" '*) echo "installed $p" ;; esac; done'
	rm -f "$tree/calls"
}
run() { # NAME STATUS TEXT [ARGS...]
	local name=$1 wanted=$2 text=$3
	shift 3
	expect "$name" "$wanted" "$text" env -i PATH="$tree/bin" bash "$setup" "$@"
}
calls() { # NAME PATTERN COUNT: so many calls match
	local n
	n=$(grep -cE -- "$2" "$tree/calls" || true)
	tap $((n != $3)) "$1" "$(cat "$tree/calls")"
}
fake sudo 'while [[ $1 == -* ]]; do shift; done' 'exec "$@"'

fake apt-get 'exit 0'
dpkg_lacks
run nothing_missing_installs_nothing 0 ''
calls nothing_missing_asks_apt_nothing '^apt-get' 0
dpkg_lacks 'meson|lz4'
run missing_packages_are_installed 0 'installing meson lz4' check
calls missing_packages_only '^apt-get install .*--no-install-recommends .* meson lz4$' 1
calls no_update_when_the_lists_do '^apt-get update' 0
dpkg_lacks 'lz4|clang'
run build_group_leaves_the_rest_alone 0 '' build
calls build_group_asks_apt_nothing '^apt-get' 0

fake apt-get "[[ \$1 == update ]] && : > $tree/updated" "[[ -e $tree/updated ]]"
dpkg_lacks meson
run failed_install_is_repeated_after_an_update 0 'fetching new ones'
calls one_update '^apt-get update' 1
calls two_installs '^apt-get install' 2
fake apt-get 'echo "E: no network"' 'exit 100'
run failed_update_shows_apts_words 1 'E: no network'

dpkg_lacks meson
if ((EUID != 0)); then
	rm "$tree/bin/sudo"
	run no_root_and_no_sudo_says_what_to_run 1 'apt-get install --no-install-recommends meson'
fi
rm "$tree/bin/apt-get"
run other_system_lists_what_each_package_is_for 1 'the reactor'
for tool in cc make meson ninja pkg-config objdump depmod busybox; do
	fake $tool 'exit 0'
done
run other_system_with_everything_passes 0 ''
run unknown_group_is_refused 1 "unknown argument 'everything'" everything

tap_end
