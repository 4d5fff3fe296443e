# Thin on purpose: every target is one program of tools/ or one meson call. `make help` lists them.
# B is the build folder; CC is honoured when the folder is made.
B ?= build
SHELL := /bin/bash

help:	## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:	## install what is missing, build, boot a stock kernel, show a command's output and its exit status
	@tools/demo

check:	## install what is missing, then every test: all configurations, sanitizers, the lab (about 40 minutes)
	@tools/setup check
	@tools/run-tests

check-quick:	## default build; unit, style, fuzz corpus and kvm tests (below a minute after a build)
	@tools/run-tests --quick

build: $(B)/build.ninja	## build everything into ./build
	@ninja -C $(B)

$(B)/build.ninja:
	@meson setup $(B)

bench: build	## measurements against QEMU (not tests; see bench/)
	@meson test -C $(B) --benchmark --verbose

fuzz:	## libFuzzer on every target, SECONDS_PER_TARGET=60 each; counts inputs and CPU time (clang)
	@tools/fuzz

tidy: build	## clang-tidy over every source file
	@tools/tidy $(B)

format:	## clang-format the C files that differ from the main branch
	@tests/style/check_format.sh --fix

native-kernel:	## a small kernel that also boots on software KVMs (4 minutes, cached; see tests/lab/native-kernel)
	@tools/setup native-kernel
	@tests/lab/native-kernel/build

clean:	## remove the build folders (the user's cache folder stays)
	rm -rf build build-clang build-asan build-tsan build-fuzz

.PHONY: help demo check check-quick build bench fuzz tidy format native-kernel clean
