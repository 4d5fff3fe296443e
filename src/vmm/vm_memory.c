#include "vmm/vm_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "image/kernel_image.h"
#include "vmm/kvm.h"

enum { PAGE = 4096 };

int vm_memory_map(struct guest_mem *mem, uint64_t bytes, struct error *err)
{
	struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES];
	size_t n = arch_ram_ranges(bytes, ranges);

	for (size_t i = 0; i < n; i++) {
		int res = guest_mem_map_anonymous(mem, ranges[i].gpa, ranges[i].len);
		if (res < 0)
			return kvm_error(err, res, "cannot map %" PRIu64 " MiB of guest memory",
					 ranges[i].len / MIB);
	}
	return 0;
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

int vm_memory_load_file(const struct guest_mem *mem, gpa_t gpa, int fd, uint64_t offset,
			uint64_t len, struct error *err)
{
	uint8_t *hva = host_address(mem, gpa, len);

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
	if ((uintptr_t)hva % PAGE == 0 && offset % PAGE == 0) {
		mapped = num_align_down(len, PAGE);
		if (mapped &&
		    mmap(hva, mapped, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset) == MAP_FAILED)
			return kvm_error(err, errno, "cannot map an image into guest memory");
	}
	int res = fd_pread_exact(fd, hva + mapped, len - mapped, offset + mapped);
	return res < 0 ? error_set(err, res, "cannot read an image into guest memory") : 0;
}

int vm_memory_load_kernel(const struct guest_mem *mem, const struct kernel_image *kernel,
			  struct error *err)
{
	for (size_t i = 0; i < kernel->n_segments; i++) {
		const struct kernel_segment *s = &kernel->segments[i];
		/* The bytes beyond file_len are RAM nobody wrote yet, so zero already. */
		if (!host_address(mem, GPA(s->gpa), s->mem_len))
			return error_set_usage(
			    err, -ENOMEM,
			    "kernel segment %#" PRIx64 "+%" PRIu64
			    " KiB lies outside guest memory: give more with --memory",
			    s->gpa, s->mem_len / KIB);
		if (vm_memory_load_file(mem, GPA(s->gpa), kernel->fd, s->file_offset, s->file_len,
					err) < 0)
			return error_prefix(err, "kernel");
	}
	return 0;
}
