/*
 * --output DIR: a folder for each test, with its consoles, logs and frames, and replay.sh, which runs this one test again
 * with the same kernel and options.
 *
 *	DIR/PROGRAM,NAME/console.log com2.log hvc0.log dmesg.log output.log frames.bin replay.sh
 *	DIR/PROGRAM,NAME.attempt1/...	before it was tried again
 *
 * A '/' of a name is a ',' in the folder's, which no name has: tests cannot take each other's folder.
 */
#pragma once

#include "cli/batch_vm.h"
#include "harness/batch_result.h"

/* Makes the folder; it must be empty if it is there. Class usage. */
MUST_CHECK int batch_output_init(const char *dir, struct error *err);
/* The folder of @entry below @dir, as it is: entry->output is only its printable name. To be freed. */
char *batch_output_folder(const char *dir, const struct batch_test *entry);
/* Makes that folder and the files of @vm's sinks in it; an earlier attempt's folder is moved aside. */
MUST_CHECK int batch_output_open(const char *dir, const struct test_options *o,
				 struct batch_test *entry, struct batch_vm *vm, struct error *err);
