/*
 * Guest memory: the range table and the accessors of slices. The one file that turns a GUEST
 * pointer into one that can be dereferenced.
 *
 * The guest's vCPUs write the same bytes while we read them. So every accessor either copies once
 * (and the compiler barrier after the copy keeps it from looking at the source again) or is one
 * atomic load or store.
 */
#include "bus/guest_mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"

/* Through an integer: clang takes the attribute's loss for a mistake anywhere else. */
static uint8_t *host_ptr(struct guest_slice s, size_t off)
{
	return (uint8_t *)(uintptr_t)s.p + off;
}

static struct guest_slice slice_of(const struct guest_range *r, uint64_t off, uint64_t len)
{
	return (struct guest_slice){ (GUEST uint8_t *)(uintptr_t)(r->hva + off), (size_t)len };
}

static bool is_inside(size_t len, size_t off, size_t n)
{
	return n <= len && off <= len - n;
}

/* The range that holds @gpa. */
static const struct guest_range *range_find(const struct guest_mem *mem, gpa_t gpa)
{
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct guest_range *r = &mem->ranges[i];

		if (gpa.addr >= r->gpa.addr && gpa.addr - r->gpa.addr < r->len)
			return r;
	}
	return NULL;
}

int guest_mem_add(struct guest_mem *mem, const struct guest_range *range)
{
	uint64_t last;
	size_t at = 0;

	if (range->len == 0 || range->hva == NULL ||
	    __builtin_add_overflow(range->gpa.addr, range->len - 1, &last))
		return -EINVAL;
	if (mem->n_ranges == GUEST_MEM_MAX_RANGES)
		return -ENOSPC;
	while (at < mem->n_ranges && mem->ranges[at].gpa.addr < range->gpa.addr)
		at++;
	if (at < mem->n_ranges && mem->ranges[at].gpa.addr <= last)
		return -EINVAL;
	if (at > 0 && range->gpa.addr - mem->ranges[at - 1].gpa.addr < mem->ranges[at - 1].len)
		return -EINVAL;
	memmove(&mem->ranges[at + 1], &mem->ranges[at],
		(mem->n_ranges - at) * sizeof(mem->ranges[0]));
	mem->ranges[at] = *range;
	mem->ranges[at].mapped_here = false;
	mem->n_ranges++;
	return 0;
}

int guest_mem_map_anonymous(struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	struct guest_range range = { .gpa = gpa, .len = len, .backing = GUEST_ANONYMOUS, .fd = -1 };

	if (len == 0 || len > SIZE_MAX / 2)
		return -EINVAL;
	void *p = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	range.hva = p;
	int res = guest_mem_add(mem, &range);
	if (res < 0) {
		(void)munmap(p, (size_t)len); /* just mapped: cannot fail */
		return res;
	}
	for (size_t i = 0; i < mem->n_ranges; i++)
		if (mem->ranges[i].hva == range.hva)
			mem->ranges[i].mapped_here = true;
	return 0;
}

void guest_mem_fini(struct guest_mem *mem)
{
	for (size_t i = 0; i < mem->n_ranges; i++)
		if (mem->ranges[i].mapped_here)
			(void)munmap(mem->ranges[i].hva, (size_t)mem->ranges[i].len); /* ours */
	*mem = (struct guest_mem){ 0 };
}

uint64_t guest_mem_size(const struct guest_mem *mem)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < mem->n_ranges; i++)
		sum += mem->ranges[i].len;
	return sum;
}

int guest_mem_slice(const struct guest_mem *mem, gpa_t gpa, uint64_t len, struct guest_slice *ret)
{
	const struct guest_range *r = range_find(mem, gpa);

	if (!r || len > r->len - (gpa.addr - r->gpa.addr))
		return -EFAULT;
	*ret = slice_of(r, gpa.addr - r->gpa.addr, len);
	return 0;
}

int guest_mem_slice_prefix(const struct guest_mem *mem, gpa_t gpa, uint64_t len,
			   struct guest_slice *ret)
{
	const struct guest_range *r = range_find(mem, gpa);

	if (!r)
		return -EFAULT;
	uint64_t room = r->len - (gpa.addr - r->gpa.addr);
	*ret = slice_of(r, gpa.addr - r->gpa.addr, len < room ? len : room);
	return 0;
}

int guest_slice_sub(struct guest_slice s, size_t off, size_t len, struct guest_slice *ret)
{
	if (!is_inside(s.len, off, len))
		return -EFAULT;
	*ret = (struct guest_slice){ (GUEST uint8_t *)(uintptr_t)host_ptr(s, off), len };
	return 0;
}

int guest_slice_read(struct guest_slice s, size_t off, void *buf, size_t n)
{
	if (!is_inside(s.len, off, n))
		return -EFAULT;
	if (n > 0)
		memcpy(buf, host_ptr(s, off), n);
	/* Single fetch: without this an inlined copy may be undone and the guest's bytes read
	 * again. */
	__asm__ volatile("" ::: "memory");
	return 0;
}

int guest_slice_write(struct guest_slice s, size_t off, const void *buf, size_t n)
{
	if (!is_inside(s.len, off, n))
		return -EFAULT;
	if (n > 0)
		memcpy(host_ptr(s, off), buf, n);
	return 0;
}

int guest_slice_copy(struct guest_slice to, struct guest_slice from, size_t n)
{
	if (n > to.len || n > from.len)
		return -EFAULT;
	if (n > 0)
		memmove(host_ptr(to, 0), host_ptr(from, 0), n);
	return 0;
}

int guest_slice_fill(struct guest_slice s, size_t off, uint8_t value, size_t n)
{
	if (!is_inside(s.len, off, n))
		return -EFAULT;
	if (n > 0)
		memset(host_ptr(s, off), value, n);
	return 0;
}

/* The field at @off: inside and naturally aligned, or it is our bug. */
static void *field(struct guest_slice s, size_t off, size_t size)
{
	uint8_t *p = host_ptr(s, off);

	ASSERT(is_inside(s.len, off, size));
	ASSERT((uintptr_t)p % size == 0);
	return p;
}

uint16_t guest_slice_load16(struct guest_slice s, size_t off)
{
	return __atomic_load_n((uint16_t *)field(s, off, 2), __ATOMIC_RELAXED);
}

uint16_t guest_slice_load16_acquire(struct guest_slice s, size_t off)
{
	return __atomic_load_n((uint16_t *)field(s, off, 2), __ATOMIC_ACQUIRE);
}

uint32_t guest_slice_load32(struct guest_slice s, size_t off)
{
	return __atomic_load_n((uint32_t *)field(s, off, 4), __ATOMIC_RELAXED);
}

uint64_t guest_slice_load64(struct guest_slice s, size_t off)
{
	return __atomic_load_n((uint64_t *)field(s, off, 8), __ATOMIC_RELAXED);
}

void guest_slice_store8(struct guest_slice s, size_t off, uint8_t v)
{
	__atomic_store_n((uint8_t *)field(s, off, 1), v, __ATOMIC_RELAXED);
}

void guest_slice_store16(struct guest_slice s, size_t off, uint16_t v)
{
	__atomic_store_n((uint16_t *)field(s, off, 2), v, __ATOMIC_RELAXED);
}

void guest_slice_store16_release(struct guest_slice s, size_t off, uint16_t v)
{
	__atomic_store_n((uint16_t *)field(s, off, 2), v, __ATOMIC_RELEASE);
}

void guest_slice_store32(struct guest_slice s, size_t off, uint32_t v)
{
	__atomic_store_n((uint32_t *)field(s, off, 4), v, __ATOMIC_RELAXED);
}

struct iovec guest_slice_iovec(struct guest_slice s)
{
	return (struct iovec){ host_ptr(s, 0), s.len };
}

int guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *buf, uint64_t n)
{
	struct guest_slice s;
	int res = guest_mem_slice(mem, gpa, n, &s);

	return res < 0 ? res : guest_slice_write(s, 0, buf, s.len);
}

int guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *buf, uint64_t n)
{
	struct guest_slice s;
	int res = guest_mem_slice(mem, gpa, n, &s);

	return res < 0 ? res : guest_slice_read(s, 0, buf, s.len);
}
