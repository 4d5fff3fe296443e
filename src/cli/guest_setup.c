#include "cli/guest_setup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "base/file.h"
#include "base/num.h"
#include "cli/guest_init.h"
#include "cli/memory_size.h"
#include "vmm/kvm_probe.h"

enum { MODULES_MAX = 8, RECORDS_MAX = 12 };

/* Kernel */

int guest_setup_kernel(const struct run_options *o, struct guest_setup *ret, struct error *err)
{
	if (file_cache_dir(&ret->cache_dir, err) < 0 ||
	    kernel_find(ret->cache_dir, o->kernel, &ret->entry, err) < 0)
		return err->code;
	const struct kernel_image_config c = { .path = ret->entry.image,
					       .cache_dir = ret->cache_dir,
					       .as_is = o->kaslr };
	return kernel_image_open(&c, &ret->kernel, err);
}

void guest_setup_fini(struct guest_setup *s)
{
	kernel_image_fini(&s->kernel);
	kernel_entry_fini(&s->entry);
	freep(&s->cache_dir);
}

int guest_setup_check_kvm(const struct run_options *o, const struct guest_setup *s,
			  struct error *err)
{
	if (!s->kernel.is_linux || o->force)
		return 0;
	return kvm_probe_check_linux(s->cache_dir, err);
}

int guest_setup_check_files(const struct run_options *o, const struct guest_setup *s,
			    struct error *err)
{
	if (s->kernel.is_linux || (!o->n_includes && !o->modules_dir))
		return 0;
	return error_set_usage(err, -EINVAL, "'%s' is not a Linux kernel: it cannot take %s",
			       s->entry.image, o->n_includes ? "an --include" : "--modules");
}

/* Initramfs */

static char *const shell_command[] = { (char[]){ "sh" }, NULL };

/*
 * Whether modules are to be looked for. A kernel of one's own often has everything built in and no
 * module tree at all: then the image itself tells.
 */
static bool needs_modules(const struct guest_setup *s, const struct run_options *o,
			  const char *const *modules)
{
	CLEANUP(freep) char *own = xasprintf("/lib/modules/%s", s->kernel.release);

	if (!s->kernel.release[0])
		return false;
	if (o->modules_dir || s->entry.modules_dir || access(own, F_OK) == 0)
		return true;
	for (size_t i = 0; modules[i]; i++)
		if (!kernel_image_has_driver(&s->kernel, modules[i]))
			return true;
	return false;
}

/* Of this VM's devices. */
static void list_modules(const struct run_options *o, const char *ret[MODULES_MAX])
{
	size_t n = 0;

	ret[n++] = "virtio_mmio";
	ret[n++] = "virtio_console";
	if (o->has_disk)
		ret[n++] = "virtio_blk";
	if (disk_fs_name(o->disk.fs))
		ret[n++] = disk_fs_name(o->disk.fs);
	if (o->net)
		ret[n++] = "virtio_net";
	if (run_options_has_net_pair(o))
		ret[n++] = "macvlan";
	ret[n] = NULL;
}

/* What PID 1 is told besides the command (abi/guest_config.h), on the heap. */
static void list_records(const struct run_options *o, char *ret[RECORDS_MAX])
{
	const char *term = getenv("TERM");
	const struct topology *t = &o->topology;
	size_t n = 0;

	ret[n++] = xstrdup("cwd=/");
	ret[n++] = xstrdup("kmsg=1");
	ret[n++] = xasprintf("env=TERM=%s", term ? term : "dumb");
	ret[n++] = xasprintf("env=" GUEST_ENV_TOPOLOGY "=%u,%u,%u,%u", t->n_nodes, t->n_llcs,
			     t->cores_per_llc, t->threads_per_core);
	if (o->relay_guest)
		ret[n++] = xasprintf("relay=%s", o->relay_guest);
	if (o->interactive)
		ret[n++] = xstrdup("tty=1");
	if (o->forward_stdin)
		ret[n++] = xstrdup("stdin=1");
	if (o->net)
		ret[n++] = xasprintf("net=%s", o->net);
	if (run_options_has_net_pair(o)) {
		ret[n++] = xstrdup("env=KTSTR_NETNS_A=" GUEST_NETNS_DIR "/a");
		ret[n++] = xstrdup("env=KTSTR_NETNS_B=" GUEST_NETNS_DIR "/b");
	}
	ret[n] = NULL;
}

static void free_records(char *records[RECORDS_MAX])
{
	for (size_t i = 0; records[i]; i++)
		free(records[i]);
}

int guest_setup_initramfs(const struct guest_setup *s, const struct run_options *o,
			  struct initramfs *ret, struct error *err)
{
	CLEANUP(freep) char *init_path = NULL;
	const char *modules[MODULES_MAX];
	char *records[RECORDS_MAX];

	if (guest_init_path(s->cache_dir, &init_path, err) < 0)
		return err->code;
	list_modules(o, modules);
	list_records(o, records);
	const struct initramfs_config c = {
		.init_path = init_path,
		.busybox_path = access(KTSTR_BUSYBOX, R_OK) == 0 ? KTSTR_BUSYBOX : NULL,
		.cache_dir = s->cache_dir,
		.includes = o->includes,
		.n_includes = o->n_includes,
		.command = o->command[0] ? o->command : shell_command,
		.kernel_release = s->kernel.release,
		.modules_dir = o->modules_dir ? o->modules_dir : s->entry.modules_dir,
		.modules = modules,
		.config = (const char *const *)records,
		.unpacked_max = o->memory_mib ? o->memory_mib * MIB : memory_size_of_host().ram,
		.need_modules = needs_modules(s, o, modules),
	};
	int res = initramfs_build(&c, ret, err);
	free_records(records);
	return res;
}

int guest_setup_suffix(const struct initramfs *base, const struct run_options *o, uint8_t **ret,
		       size_t *ret_len, struct error *err)
{
	char *records[RECORDS_MAX];

	list_records(o, records);
	int res = initramfs_make_suffix(base, o->command, (const char *const *)records, ret,
					ret_len, err);
	free_records(records);
	return res;
}

bool guest_setup_shares_base(const struct run_options *a, const struct run_options *b)
{
	const char *of_a[MODULES_MAX], *of_b[MODULES_MAX];
	size_t i = 0;

	list_modules(a, of_a);
	list_modules(b, of_b);
	while (of_a[i] && of_b[i] && strcmp(of_a[i], of_b[i]) == 0)
		i++;
	return !of_a[i] && !of_b[i] && strcmp(a->command[0], b->command[0]) == 0;
}

/* Memory */

/* What needs no KVM to tell. */
static int check_memory(const struct topology *t, uint64_t mib, struct error *err)
{
	const struct host_memory host = memory_size_of_host();
	struct memory_layout layout;
	struct arch_limits limits;

	if (memory_layout_make(t, mib * MIB, &arch_memory_space, &layout, err) < 0)
		return err->code;
	arch_limits_read(-1, NULL, &limits);
	if (arch_limits_check(&limits, t, memory_layout_end(&layout), err) < 0)
		return err->code;
	return memory_size_check_host(mib, &host, err);
}

/* Without --memory the least that it will be: the nodes' own and the default. */
int guest_setup_check_memory(const struct run_options *o, struct error *err)
{
	if (!o->memory_mib)
		return check_memory(&o->topology, memory_size_default_mib(&o->topology, 0), err);
	if (check_memory(&o->topology, o->memory_mib, err) == 0)
		return 0;
	return error_prefix(err, "--memory %" PRIu64, o->memory_mib);
}

int guest_setup_memory(const struct guest_setup *s, const struct initramfs *initramfs,
		       struct run_options *o, struct error *err)
{
	const struct memory_need need = {
		.kernel_end = s->kernel.end,
		.packed = initramfs->base_len + initramfs->suffix_len,
		.unpacked = initramfs->unpacked_len,
		.n_cpus = topology_n_cpus(&o->topology),
	};
	uint64_t asked_mib = o->memory_mib;

	if (memory_size_choose(asked_mib, s->kernel.is_linux ? &need : NULL, &o->topology,
			       &o->memory_mib, err) < 0)
		return err->code;
	return asked_mib ? 0 : check_memory(&o->topology, o->memory_mib, err);
}

/* Command line */

void guest_setup_cmdline(const struct run_options *o, struct buf *ret)
{
	buf_append_str(ret, arch_default_cmdline());
	for (size_t i = 0; i < o->n_append; i++)
		buf_printf(ret, " %s", o->append[i]);
	(void)buf_str(ret);
}
