#!/bin/bash
# Each style check is able to fail: it gets a small source tree that breaks its rule in one place and must name that place,
# and one that is right and must pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/tap.sh"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

put() { # PATH LINES...: (re)writes one file of the tree
	local path=$tree/$1
	shift
	mkdir -p "$(dirname "$path")"
	printf '%s\n' "$@" > "$path"
}
fresh() {
	rm -rf "${tree:?}"/*
	put src/base/error.h '#pragma once'
	put src/bus/mem.h '#include "base/error.h"'
	put src/image/cpio.c '#include "image/cpio.h"' '#include "abi/guest_config.h"' '#include "base/error.h"'
	put src/image/cpio.h '#pragma once'
	put src/vmm/vm.h '#include "bus/mem.h"' '#include <linux/kvm.h>'
	put abi/frame.h '#pragma once'
	put abi/guest_config.h '#pragma once'
	put guest/init/main.c '#include "mounts.h"' '#include "abi/frame.h"'
	put guest/init/mounts.h '#pragma once'
}
arrows() { # NAME STATUS TEXT
	expect "$@" "$here/check_arrows.sh" "$tree"
}
words() {
	expect "$@" "$here/check_words.sh" "$tree"
}

# --- arrows ---
fresh
arrows arrows_good_tree_passes 0 ''
put src/bus/mem.c '' '#include "vmm/vm.h"'
arrows arrows_against_the_order_fails 1 'src/bus/mem.c:2: bus -> vmm'
fresh
put src/arch/x86_64/acpi.c '#include "virtio/mmio.h"'
put src/virtio/mmio.h '#pragma once'
arrows arrows_from_a_subfolder_fails 1 'src/arch/x86_64/acpi.c:1: arch -> virtio'
fresh
put src/image/elf.c '#  include "abi/frame.h"'
arrows arrows_other_header_of_a_narrow_arrow_fails 1 'src/image/elf.c:1: image -> abi'
fresh
put guest/init/frames.c '#include "base/error.h"'
arrows arrows_guest_to_host_code_fails 1 'guest/init/frames.c:1: guest -> base'
fresh
put src/virtio/blk.c '#include <linux/kvm.h>'
arrows arrows_system_header_of_others_fails 1 'src/virtio/blk.c:1: virtio -> <linux/kvm.h>'
fresh
put src/new/thing.c '#include <stdio.h>'
arrows arrows_unknown_folder_fails 1 'src/new/thing.c:1: folder "new"'
fresh
put src/bus/mem.c '#include "bus/gone.h"'
arrows arrows_missing_header_fails 1 '"bus/gone.h" is found on no include path'
rm -rf "${tree:?}"/*
arrows arrows_empty_tree_fails 1 'no source'

# --- words ---
fresh
put src/bus/mem.c '/* printf("x") and' ' * exit(1) in prose */' 'log("call exit(1)"); // abort()' 'ops->exit(1);' \
	'my_printf(1);' 'on_exit_frame(x);'
put src/cli/main.c 'printf("x"); exit(1);'
words words_prose_strings_and_cli_pass 0 ''
put src/vmm/vm.c '/* one' ' two */ int x;' '	fprintf (stderr, "x");'
words words_print_in_a_library_fails 1 'src/vmm/vm.c:3: calls fprintf()'
put src/vmm/vm.c "	if (c == '\"') exit(1); // \""
words words_exit_after_a_quote_character_fails 1 'src/vmm/vm.c:1: calls exit()'
put src/vmm/vm.c 'return guest_slice_iovec(s);'
words words_iovec_outside_virtio_fails 1 'calls guest_slice_iovec()'
put src/vmm/vm.c 'int x;'
put src/virtio/virtq.c 'return guest_slice_iovec(s);' '/* TODO: batch when multiqueue exists */'
words words_iovec_in_virtio_and_conditional_todo_pass 0 ''
put src/virtio/virtq.c '/* TODO: batch */'
words words_bare_todo_fails 1 'src/virtio/virtq.c:1: TODO without'
put src/virtio/virtq.c '/*' ' * find   the plan' ' *modules lock   one builder' ' */'
words words_comment_run_together_fails 1 'src/virtio/virtq.c:3: comment line without'
put src/virtio/virtq.c 'char t[] = "/tmp/XXXXXX";'
words words_mkstemp_template_passes 0 ''
put src/virtio/virtq.c '/* FIX''ME later */'
words words_fixme_fails 1 'src/virtio/virtq.c:1: mark'

# --- mutable globals ---
library() { # SOURCE LINES...: libx.a from x.c in an empty build folder
	rm -rf "${tree:?}"/*
	put x.c "$@"
	mkdir -p "$tree/build/src"
	cc -fPIC -c -o "$tree/build/src/x.c.o" "$tree/x.c"
	ar rc "$tree/build/src/libx.a" "$tree/build/src/x.c.o"
}
globals() { # NAME STATUS TEXT
	expect "$@" "$here/check_globals.sh" "$tree/build"
}
library 'static const char *const names[] = { "a", "b" };' 'const char *name(int i) { return names[i]; }' \
	'const int table[3] = { 1, 2, 3 };'
globals globals_constant_tables_pass 0 ''
library 'int next(void) { static int counter; return ++counter; }'
globals globals_static_counter_fails 1 'libx.a(x.c): counter'
library 'static int level = 3;' 'int *at(void) { return &level; }'
globals globals_initialised_variable_fails 1 'level in .data is mutable'
library 'static const char *name = "x";' 'const char **at(void) { return &name; }'
globals globals_variable_pointer_to_constant_fails 1 'libx.a(x.c): name'
library 'static _Thread_local int depth;' 'int *at(void) { return &depth; }'
globals globals_thread_local_fails 1 'depth in .tbss'
echo 'libx.a x.c depth   for this test' > "$tree/allowed"
expect globals_listed_variable_passes 0 '' "$here/check_globals.sh" "$tree/build" "$tree/allowed"
rm -rf "${tree:?}"/*
mkdir "$tree/build"
globals globals_no_library_fails 1 'no libraries'

# --- folders, scripts ---
fresh
put src/base/meson.build '# base: errors, asserts, log, descriptors' "lib = static_library('base')"
expect folders_purpose_passes 0 '' "$here/check_folders.sh" "$tree"
put src/bus/meson.build "lib = static_library('bus')"
expect folders_without_purpose_fails 1 'src/bus/meson.build:1' "$here/check_folders.sh" "$tree"
put src/bus/meson.build '# bus'
expect folders_with_a_bare_name_fails 1 'src/bus/meson.build:1' "$here/check_folders.sh" "$tree"
rm "$tree/src/bus/meson.build"
mapfile -t long < <(seq 601)
put src/bus/long.c "${long[@]/#/\/\/ }"
expect folders_long_file_is_noted 0 'note: src/bus/long.c has 601 lines' "$here/check_folders.sh" "$tree"
put tools/good '#!/bin/bash' 'if true; then :; fi'
expect scripts_good_passes 0 '' "$here/check_scripts.sh" "$tree"
put tools/bad '#!/bin/bash' 'if true; then'
expect scripts_syntax_error_fails 1 'tools/bad' "$here/check_scripts.sh" "$tree"

# --- manual: of the real files, changed ---
manual() { # NAME STATUS TEXT FILE SED
	rm -rf "${tree:?}"/*
	(cd "$here/../.." && cp --parents docs/ktstr.1 docs/run-json.md src/cli/{bench_options,run_options,test_options,cmd_doctor,cmd_plan,placement_options,report}.c \
		src/vmm/session.c "$tree")
	sed -i "$5" "$tree/$4"
	(cd "$here/../.." && cp --parents src/cli/cmd_report.c "$tree")
	expect "$1" "$2" "$3" "$here/check_manual.sh" "$tree"
}
manual manual_of_the_tree_passes 0 '' docs/ktstr.1 ''
manual manual_without_an_option_fails 1 'docs/ktstr.1 differ in: kaslr' docs/ktstr.1 '/^\.It Fl -kaslr/d'
manual manual_plan_without_an_option_fails 1 'docs/ktstr.1 differ in: explain' docs/ktstr.1 '/^\.It Fl -explain/d'
manual manual_with_a_dead_option_fails 1 'docs/ktstr.1 differ in: pit' src/cli/run_options.c '/^\t{ "pit"/d'
manual manual_option_without_help_fails 1 '--help differ in: stdin' src/cli/run_options.c 's/"  --stdin /"  /'
manual manual_unknown_check_fails 1 'lacks `memlock2`' src/cli/cmd_doctor.c 's/"memlock"/"memlock2"/'
manual manual_unknown_key_fails 1 'lacks `result_kib`' src/cli/report.c 's/result_bytes"/result_kib"/'

tap_end
