/*
 * libkmod, loaded when an initramfs with modules is really made. It brings libcrypto, whose 4.7 MB
 * and thousands of relocations would otherwise be half the start-up time of every run
 * (docs/performance.md); nearly all runs find their initramfs in the cache and need no module
 * looked up.
 *
 * The members are libkmod's functions without their prefix.
 */
#pragma once

#include <libkmod.h>

#include "base/error.h"

struct kmod_lib {
	__typeof__(kmod_list_next) *list_next;
	__typeof__(kmod_load_resources) *load_resources;
	__typeof__(kmod_module_get_dependencies) *module_get_dependencies;
	__typeof__(kmod_module_get_module) *module_get_module;
	__typeof__(kmod_module_get_name) *module_get_name;
	__typeof__(kmod_module_get_path) *module_get_path;
	__typeof__(kmod_module_get_softdeps) *module_get_softdeps;
	__typeof__(kmod_module_new_from_lookup) *module_new_from_lookup;
	__typeof__(kmod_module_unref) *module_unref;
	__typeof__(kmod_module_unref_list) *module_unref_list;
	__typeof__(kmod_new) *new_ctx;
	__typeof__(kmod_set_log_priority) *set_log_priority;
	__typeof__(kmod_unref) *unref;
};

/* Loads it, for the life of the process. -ENOENT: not installed, or not one that we can use. */
MUST_CHECK int kmod_lib_load(struct kmod_lib *ret, struct error *err);
