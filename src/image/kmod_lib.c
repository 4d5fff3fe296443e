#include "image/kmod_lib.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* The ABI of the header that we were compiled with. */
#define KMOD_SONAME "libkmod.so.2"

static_assert(sizeof(void *) == sizeof(void (*)(void)), "POSIX: dlsym gives functions, too");

static const struct {
	const char *name;
	size_t offset;
} symbols[] = {
	{ "kmod_list_next", offsetof(struct kmod_lib, list_next) },
	{ "kmod_load_resources", offsetof(struct kmod_lib, load_resources) },
	{ "kmod_module_get_dependencies", offsetof(struct kmod_lib, module_get_dependencies) },
	{ "kmod_module_get_module", offsetof(struct kmod_lib, module_get_module) },
	{ "kmod_module_get_name", offsetof(struct kmod_lib, module_get_name) },
	{ "kmod_module_get_path", offsetof(struct kmod_lib, module_get_path) },
	{ "kmod_module_get_softdeps", offsetof(struct kmod_lib, module_get_softdeps) },
	{ "kmod_module_new_from_lookup", offsetof(struct kmod_lib, module_new_from_lookup) },
	{ "kmod_module_unref", offsetof(struct kmod_lib, module_unref) },
	{ "kmod_module_unref_list", offsetof(struct kmod_lib, module_unref_list) },
	{ "kmod_new", offsetof(struct kmod_lib, new_ctx) },
	{ "kmod_set_log_priority", offsetof(struct kmod_lib, set_log_priority) },
	{ "kmod_unref", offsetof(struct kmod_lib, unref) },
};
static_assert(ARRAY_SIZE(symbols) * sizeof(void *) == sizeof(struct kmod_lib), "each has its line");

/* NOLINTBEGIN(concurrency-mt-unsafe): glibc's dlerror is per thread */
int kmod_lib_load(struct kmod_lib *ret, struct error *err)
{
	struct kmod_lib lib;
	/* NODELETE: its own handlers at exit must find it. */
	void *handle = dlopen(KMOD_SONAME, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);

	if (!handle)
		return error_set_text(err, -ENOENT, "kernel modules need libkmod: %s", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *symbol = dlsym(handle, symbols[i].name);
		if (!symbol) {
			(void)error_set_text(err, -ENOENT, "kernel modules need libkmod: %s",
					     dlerror());
			(void)dlclose(handle);
			return err->code;
		}
		memcpy((char *)&lib + symbols[i].offset, &symbol, sizeof(symbol));
	}
	(void)dlclose(handle); /* NODELETE keeps it */
	*ret = lib;
	return 0;
}
/* NOLINTEND(concurrency-mt-unsafe) */
