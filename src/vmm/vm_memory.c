#include "vmm/vm_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "image/kernel_image.h"
#include "vmm/kvm.h"

enum { PAGE = 4096 };
#define HUGE_PAGE ((size_t)(2 * MIB))

/* Addresses without memory; aligned, so that huge pages of host and guest coincide. */
static int reserve(struct vm_memory *m, uint64_t bytes, struct error *err)
{
	size_t len = (size_t)bytes + HUGE_PAGE;
	uint8_t *p = bytes < SIZE_MAX / 2 ? mmap(NULL, len, PROT_NONE,
						 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
					  : MAP_FAILED;

	if (p == MAP_FAILED)
		return kvm_error(err, ENOMEM,
				 "cannot reserve addresses for %" PRIu64 " MiB of guest memory",
				 bytes / MIB);
	size_t before = -(uintptr_t)p % HUGE_PAGE;
	/* Parts of our own mapping: neither can fail. */
	if (before)
		(void)munmap(p, before);
	(void)munmap(p + before + bytes, HUGE_PAGE - before);
	m->base = p + before;
	m->len = (size_t)bytes;
	return 0;
}

static int open_shared(struct vm_memory *m, bool huge)
{
	m->fd = memfd_create("guest-memory", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	return m->fd < 0 || ftruncate(m->fd, (off_t)m->len) < 0 ? -errno : 0;
}

static int map_ranges(struct vm_memory *m, const struct vm_memory_config *config, bool huge)
{
	int flags = MAP_FIXED | (config->share ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS) |
		    (huge ? MAP_HUGETLB | MAP_HUGE_2MB : MAP_NORESERVE);
	uint64_t off = 0;

	int res = config->share ? open_shared(m, huge) : 0;
	for (size_t i = 0; res == 0 && i < config->layout->n_ranges; i++) {
		uint64_t len = config->layout->ranges[i].len;
		if (mmap(m->base + off, len, PROT_READ | PROT_WRITE, flags, m->fd,
			 config->share ? (off_t)off : 0) == MAP_FAILED)
			res = -errno;
		off += len;
	}
	return res;
}

static bool is_bound(const struct vm_host_nodes *nodes)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes->bits); i++)
		if (nodes->bits[i])
			return true;
	return false;
}

/* Before the first touch: what has a page already stays where it is. */
static int bind_ranges(struct vm_memory *m, const struct vm_memory_config *config,
		       struct error *err)
{
	uint64_t off = 0;

	for (size_t i = 0; config->host_nodes && i < config->layout->n_ranges; i++) {
		const struct memory_range *r = &config->layout->ranges[i];
		const struct vm_host_nodes *nodes = &config->host_nodes[r->node];

		/* One more than there are bits: the kernel ignores the last. */
		if (is_bound(nodes)) {
			m->overlay = false;
			if (syscall(SYS_mbind, m->base + off, r->len, MPOL_BIND, nodes->bits,
				    VM_HOST_NODES_MAX + 1, 0) < 0 &&
			    errno != ENOSYS) /* a kernel without NUMA has one node */
				return error_set(
				    err, errno,
				    "cannot bind the memory of node %u to its host nodes", r->node);
		}
		off += r->len;
	}
	return 0;
}

static int map_normal(struct vm_memory *m, const struct vm_memory_config *config, struct error *err)
{
	m->overlay = !config->share;
	int res = map_ranges(m, config, false);

	if (res < 0)
		return kvm_error(err, res, "cannot map %zu MiB of guest memory", m->len / MIB);
	return bind_ranges(m, config, err);
}

/* Back to bare addresses. */
static int unmap_ranges(struct vm_memory *m, struct error *err)
{
	fd_closep(&m->fd);
	return mmap(m->base, m->len, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED
		   ? kvm_error(err, errno, "cannot give huge pages back")
		   : 0;
}

static int refuse_without_huge_pages(const struct vm_memory *m, struct error *err)
{
	(void)error_set_text(err, -ENOMEM,
			     "--hugepages require: the host has no %zu free pages of 2 MiB for "
			     "this VM: `sysctl vm.nr_hugepages`, or `--hugepages try`",
			     m->len / HUGE_PAGE);
	return error_classify(err, ERROR_SKIP);
}

/* Takes every page now. A shortage shows when they are mapped or touched, depending on whose it is. */
static int map_huge(struct vm_memory *m, const struct vm_memory_config *config, struct error *err)
{
	m->overlay = false;
	if (map_ranges(m, config, true) < 0)
		return refuse_without_huge_pages(m, err);
	if (bind_ranges(m, config, err) < 0)
		return err->code;
	return madvise(m->base, m->len, MADV_POPULATE_WRITE) < 0 ? refuse_without_huge_pages(m, err)
								 : 0;
}

static int map_as_wanted(struct vm_memory *m, const struct vm_memory_config *config,
			 enum guest_backing *ret_backing, struct error *err)
{
	*ret_backing = GUEST_HUGETLB;
	if (config->hugepages != VM_HUGEPAGES_OFF) {
		if (map_huge(m, config, err) == 0)
			return 0;
		if (config->hugepages == VM_HUGEPAGES_REQUIRE)
			return err->code;
		if (unmap_ranges(m, err) < 0)
			return err->code;
		m->fell_back = true;
	}
	*ret_backing = config->share ? GUEST_MEMFD : GUEST_ANONYMOUS;
	if (map_normal(m, config, err) < 0)
		return err->code;
	/* The next best; a kernel without them says EINVAL. */
	if (m->fell_back)
		(void)madvise(m->base, m->len, MADV_HUGEPAGE);
	return 0;
}

/* Neighbours in guest addresses are neighbours here, so they are one range. */
static int add_ranges(struct vm_memory *m, const struct memory_layout *layout,
		      enum guest_backing backing, struct error *err)
{
	uint64_t off = 0;

	for (size_t i = 0; i < layout->n_ranges;) {
		struct guest_range range = { .gpa = GPA(layout->ranges[i].gpa),
					     .hva = m->base + off,
					     .backing = backing,
					     .fd = m->fd,
					     .fd_offset = off };
		do
			range.len += layout->ranges[i++].len;
		while (i < layout->n_ranges && layout->ranges[i].gpa == range.gpa.addr + range.len);
		off += range.len;
		int res = guest_mem_add(&m->mem, &range);
		if (res < 0)
			return error_set(err, res, "memory layout");
	}
	return 0;
}

int vm_memory_init(struct vm_memory *m, const struct vm_memory_config *config, struct error *err)
{
	enum guest_backing backing;
	uint64_t bytes = 0;

	*m = VM_MEMORY_INIT;
	for (size_t i = 0; i < config->layout->n_ranges; i++)
		bytes += config->layout->ranges[i].len;
	if (reserve(m, bytes, err) < 0 || map_as_wanted(m, config, &backing, err) < 0)
		return err->code;
	return add_ranges(m, config->layout, backing, err);
}

int vm_memory_lock(const struct vm_memory *m)
{
	return mlock2(m->base, m->len, MLOCK_ONFAULT) < 0 ? -errno : 0;
}

void vm_memory_fini(struct vm_memory *m)
{
	guest_mem_fini(&m->mem);
	if (m->base)
		(void)munmap(m->base, m->len); /* our own mapping: cannot fail */
	fd_closep(&m->fd);
	*m = VM_MEMORY_INIT;
}

int vm_memory_set_slots(const struct guest_mem *mem, int vm_fd, struct error *err)
{
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct guest_range *r = &mem->ranges[i];
		struct kvm_userspace_memory_region slot = {
			.slot = (uint32_t)i,
			.guest_phys_addr = r->gpa.addr,
			.memory_size = r->len,
			.userspace_addr = (uintptr_t)r->hva,
		};
		int res = kvm_ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot);
		if (res < 0)
			return kvm_error(err, res,
					 "KVM_SET_USER_MEMORY_REGION %#" PRIx64 "+%#" PRIx64,
					 r->gpa.addr, r->len);
	}
	return 0;
}

/* Host address of [gpa, gpa + len); NULL when not inside one range. */
static uint8_t *host_address(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct guest_range *r = &mem->ranges[i];
		if (gpa.addr < r->gpa.addr)
			continue;
		uint64_t off = gpa.addr - r->gpa.addr;
		if (len <= r->len && off <= r->len - len)
			return r->hva + off;
	}
	return NULL;
}

int vm_memory_load_file(const struct vm_memory *m, gpa_t gpa, int fd, uint64_t offset, uint64_t len,
			struct error *err)
{
	uint8_t *hva = host_address(&m->mem, gpa, len);

	if (!hva)
		return error_set_usage(err, -ENOMEM,
				       "an image of %" PRIu64 " KiB at %#" PRIx64
				       " does not fit guest memory: give more with --memory",
				       len / KIB, gpa.addr);
	/*
	 * Whole pages are mapped, the tail is copied: a mapped tail page would show what follows in
	 * the file.
	 */
	uint64_t mapped = 0;
	if (m->overlay && (uintptr_t)hva % PAGE == 0 && offset % PAGE == 0) {
		mapped = num_align_down(len, PAGE);
		if (mapped &&
		    mmap(hva, mapped, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset) == MAP_FAILED)
			return kvm_error(err, errno, "cannot map an image into guest memory");
	}
	int res = fd_pread_exact(fd, hva + mapped, len - mapped, offset + mapped);
	return res < 0 ? error_set(err, res, "cannot read an image into guest memory") : 0;
}

int vm_memory_load_kernel(const struct vm_memory *m, const struct kernel_image *kernel,
			  struct error *err)
{
	for (size_t i = 0; i < kernel->n_segments; i++) {
		const struct kernel_segment *s = &kernel->segments[i];
		/* The bytes beyond file_len are RAM nobody wrote yet, so zero already. */
		if (!host_address(&m->mem, GPA(s->gpa), s->mem_len))
			return error_set_usage(
			    err, -ENOMEM,
			    "kernel segment %#" PRIx64 "+%" PRIu64
			    " KiB lies outside guest memory: give more with --memory",
			    s->gpa, s->mem_len / KIB);
		if (vm_memory_load_file(m, GPA(s->gpa), kernel->fd, s->file_offset, s->file_len,
					err) < 0)
			return error_prefix(err, "kernel");
	}
	return 0;
}
