/* Where RAM is: from 0 to the MMIO gap at 3 GiB, the rest from 4 GiB on. */
#include "arch/arch.h"

#include <errno.h>
#include <inttypes.h>

#include "arch/x86_64/layout.h"
#include "base/num.h"

enum { GUEST_PAGE_SIZE = 4096 };

size_t arch_ram_ranges(uint64_t bytes, struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES])
{
	uint64_t low = num_min(bytes, MMIO_GAP_ADDR);

	ranges[0] = (struct arch_ram_range){ .gpa = GPA(0), .len = low };
	if (low == bytes)
		return 1;
	ranges[1] = (struct arch_ram_range){ .gpa = GPA(MMIO_GAP_END), .len = bytes - low };
	return 2;
}

/*
 * Below the gap where that has room: the decompressor and the early microcode loader of old kernels
 * expect it there. Above 4 GiB otherwise (ext_ramdisk_image).
 */
int arch_initrd_place(uint64_t ram_bytes, uint64_t kernel_end, uint64_t len, gpa_t *ret,
		      struct error *err)
{
	struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES];
	size_t n = arch_ram_ranges(ram_bytes, ranges);
	uint64_t floor = num_align_up(num_min(kernel_end, MMIO_GAP_END), GUEST_PAGE_SIZE);

	for (size_t i = 0; i < n; i++) {
		uint64_t start = num_max(ranges[i].gpa.addr, floor);
		uint64_t end = ranges[i].gpa.addr + ranges[i].len;

		if (start <= end && len <= end - start) {
			*ret = GPA(num_align_down(end - len, GUEST_PAGE_SIZE));
			return 0;
		}
	}
	/* Linux needs room to unpack as well, so the true need is larger; this much is certain. */
	return error_set_usage(err, -ENOMEM,
			       "memory of %" PRIu64 " MiB is too small: the kernel ends at %" PRIu64
			       " KiB and the initramfs has %" PRIu64 " KiB; give at least %" PRIu64
			       " MiB",
			       ram_bytes / MIB, kernel_end / KIB, num_align_up(len, KIB) / KIB,
			       num_align_up(floor + num_min(len, UINT64_MAX / 2), MIB) / MIB);
}
