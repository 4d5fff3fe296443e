/*
 * Guest memory as a sorted list of ranges, and slices of it that were checked once and cannot be
 * misused: a slice's pointer is GUEST (clang: noderef), so the only way to its bytes are the
 * accessors below.
 *
 * Frozen before the first vCPU runs; then any thread may read and write through slices. The guest
 * changes the bytes at any moment: copy once, decide on the copy.
 */
#pragma once

#include <sys/uio.h>

#include "base/error.h"

/*
 * A guest-physical address: a struct, so that it is neither added to nor swapped with a length by
 * accident.
 */
typedef struct {
	uint64_t addr;
} gpa_t;
#define GPA(a) ((gpa_t){ (a) })

/* False where it wraps. */
MUST_CHECK static inline bool gpa_add(gpa_t gpa, uint64_t n, gpa_t *ret)
{
	return !__builtin_add_overflow(gpa.addr, n, &ret->addr);
}

enum guest_backing { GUEST_ANONYMOUS, GUEST_MEMFD, GUEST_HUGETLB, GUEST_FILE_PRIVATE };

struct guest_range {
	gpa_t gpa;
	uint64_t len;
	uint8_t *hva;
	enum guest_backing backing;
	int fd; /* borrowed; -1 for anonymous */
	uint64_t fd_offset;
	bool mapped_here; /* guest_mem_fini unmaps it; guest_mem_add clears it */
};

enum { GUEST_MEM_MAX_RANGES = 64 };

struct guest_mem {
	struct guest_range ranges[GUEST_MEM_MAX_RANGES]; /* ascending, disjoint */
	size_t n_ranges;
};

struct guest_slice {
	GUEST uint8_t *p;
	size_t len;
};

/*
 * Adds one range of host memory that the caller owns and keeps mapped. -EINVAL: empty, wraps,
 * overlaps; -ENOSPC.
 */
MUST_CHECK int guest_mem_add(struct guest_mem *mem, const struct guest_range *range);
/*
 * Maps @len bytes of anonymous memory (MAP_NORESERVE) at @gpa and adds it; guest_mem_fini unmaps
 * what this mapped. -errno.
 */
MUST_CHECK int guest_mem_map_anonymous(struct guest_mem *mem, gpa_t gpa, uint64_t len);
/* Unmaps what guest_mem_map_anonymous mapped and forgets every range; idempotent. */
void guest_mem_fini(struct guest_mem *mem);

/* [gpa, gpa + len) inside one range, len may be 0. -EFAULT otherwise. */
MUST_CHECK int guest_mem_slice(const struct guest_mem *mem, gpa_t gpa, uint64_t len,
			       struct guest_slice *ret);
/*
 * For buffers that run on into the next range: the part of [gpa, gpa + len) that lies in the range
 * of @gpa. -EFAULT when @gpa is in none.
 */
MUST_CHECK int guest_mem_slice_prefix(const struct guest_mem *mem, gpa_t gpa, uint64_t len,
				      struct guest_slice *ret);
/* -EFAULT when [off, off + len) is not inside. */
MUST_CHECK int guest_slice_sub(struct guest_slice s, size_t off, size_t len,
			       struct guest_slice *ret);

/* Whole copies; the range must lie inside the slice: -EFAULT, nothing copied, otherwise. */
MUST_CHECK int guest_slice_read(struct guest_slice s, size_t off, void *buf, size_t n);
MUST_CHECK int guest_slice_write(struct guest_slice s, size_t off, const void *buf, size_t n);
/* From guest memory to guest memory: nothing in between, so there is nothing to judge. May overlap. */
MUST_CHECK int guest_slice_copy(struct guest_slice to, struct guest_slice from, size_t n);
MUST_CHECK int guest_slice_fill(struct guest_slice s, size_t off, uint8_t value, size_t n);

/*
 * Single little-endian loads and stores of naturally aligned fields. ASSERTs that offset and
 * alignment are inside: the caller checked the slice's size once. acquire/release as named; plain
 * is relaxed, single-copy atomic.
 */
uint16_t guest_slice_load16(struct guest_slice s, size_t off);
uint16_t guest_slice_load16_acquire(struct guest_slice s, size_t off);
uint32_t guest_slice_load32(struct guest_slice s, size_t off);
uint64_t guest_slice_load64(struct guest_slice s, size_t off);
void guest_slice_store8(struct guest_slice s, size_t off, uint8_t v);
void guest_slice_store16(struct guest_slice s, size_t off, uint16_t v);
void guest_slice_store16_release(struct guest_slice s, size_t off, uint16_t v);
void guest_slice_store32(struct guest_slice s, size_t off, uint32_t v);

/* The only way out, for readv and writev; callable from src/virtio only (tests/style). */
struct iovec guest_slice_iovec(struct guest_slice s);

/*
 * By guest address, for set-up code that loads images and tables: -EFAULT when not inside one
 * range.
 */
MUST_CHECK int guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *buf, uint64_t n);
MUST_CHECK int guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *buf, uint64_t n);
/* Bytes over all ranges. */
uint64_t guest_mem_size(const struct guest_mem *mem);
