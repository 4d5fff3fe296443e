#include "image/bzimage.h"

#include <asm/bootparam.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fd.h"
#include "base/num.h"
#include "image/kernel_release.h"

enum {
	HEADER_OFFSET = 0x1f1,
	MAGIC_OFFSET = 0x202,
	JUMP_LENGTH_OFFSET =
	    0x201, /* second byte of the jump over the header: its length from 0x202 */
	SECTOR = 512,
	SETUP_SECTORS_DEFAULT = 4,
	PROTOCOL_MIN = 0x20c, /* the first with xloadflags */
	LOAD_ADDR = 0x100000,
	ENTRY_64_OFFSET = 0x200,
};

static_assert(offsetof(struct boot_params, hdr) == HEADER_OFFSET,
	      "boot.rst, the real-mode kernel header");
static_assert(sizeof(struct setup_header) <= sizeof(((struct bzimage *)0)->setup_header),
	      "setup_header fits");

bool bzimage_is(const uint8_t *head, size_t n)
{
	return n >= MAGIC_OFFSET + 4 && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa &&
	       memcmp(head + MAGIC_OFFSET, "HdrS", 4) == 0;
}

static int truncated(uint64_t have, uint64_t need, struct error *err)
{
	return error_set_usage(err, -ENOEXEC, "truncated: has %" PRIu64 " bytes, needs %" PRIu64,
			       have, need);
}

static int check_bootable(const struct setup_header *h, struct error *err)
{
	if (h->version < PROTOCOL_MIN)
		return error_set_usage(
		    err, -ENOEXEC,
		    "speaks boot protocol %u.%02u, needs 2.12 (Linux 3.8 or newer for x86_64)",
		    h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return error_set_usage(err, -ENOEXEC, "a zImage that loads low, not a bzImage");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return error_set_usage(err, -ENOEXEC,
				       "for i386 (no 64-bit entry), this build boots x86_64");
	return 0;
}

static int take_sizes(const struct setup_header *h, uint64_t file_len, struct bzimage *bz,
		      struct error *err)
{
	uint64_t sectors = h->setup_sects ? h->setup_sects : SETUP_SECTORS_DEFAULT;

	bz->protected_offset = (sectors + 1) * SECTOR;
	bz->protected_len = (uint64_t)h->syssize * 16;
	uint64_t need = bz->protected_offset + bz->protected_len;
	if (file_len < need)
		return truncated(file_len, need, err);
	if (bz->protected_len <= ENTRY_64_OFFSET)
		return error_set_usage(err, -ENOEXEC,
				       "its protected-mode part has only %" PRIu64 " bytes",
				       bz->protected_len);
	if ((uint64_t)h->payload_offset + h->payload_length > bz->protected_len)
		return error_set_usage(
		    err, -ENOEXEC,
		    "bad header: a payload of %u bytes at %u in a part of %" PRIu64 " bytes",
		    h->payload_length, h->payload_offset, bz->protected_len);
	bz->payload_offset = bz->protected_offset + h->payload_offset;
	bz->payload_len = h->payload_length;
	/* Loaded below its preferred address it moves up there before it unpacks itself. */
	uint64_t unpacks_at = num_max(LOAD_ADDR, h->pref_address);
	if (!num_add_u64(unpacks_at, h->init_size, &bz->end))
		return error_set_usage(err, -ENOEXEC, "bad header: preferred address 0x%llx",
				       h->pref_address);
	bz->end = num_max(bz->end, LOAD_ADDR + bz->protected_len);
	return 0;
}

/* The version string lies in the real-mode part, at an offset from 0x200; a bad offset only loses
 * the name. */
static int read_release(int fd, const struct setup_header *h, struct bzimage *bz, struct error *err)
{
	char text[KERNEL_RELEASE_MAX];
	uint64_t at = (uint64_t)h->kernel_version + 0x200;

	if (h->kernel_version == 0 || at >= bz->protected_offset)
		return 0;
	size_t n = (size_t)num_min(sizeof(text), bz->protected_offset - at);
	int r = fd_pread_exact(fd, text, n, at);
	if (r < 0)
		return error_set(err, r, "cannot read its version");
	kernel_release_parse(text, n, bz->release);
	return 0;
}

int bzimage_parse(int fd, uint64_t file_len, struct bzimage *ret, struct error *err)
{
	struct setup_header h = { 0 };
	uint8_t head[HEADER_OFFSET + sizeof(ret->setup_header)];

	if (file_len < sizeof(head))
		return truncated(file_len, sizeof(head), err);
	int r = fd_pread_exact(fd, head, sizeof(head), 0);
	if (r < 0)
		return error_set(err, r, "cannot read its header");
	*ret = (struct bzimage){ 0 };
	size_t len = (size_t)MAGIC_OFFSET - HEADER_OFFSET + head[JUMP_LENGTH_OFFSET];
	ret->setup_header_len = (size_t)num_min(len, sizeof(ret->setup_header));
	memcpy(ret->setup_header, head + HEADER_OFFSET, ret->setup_header_len);
	memcpy(&h, ret->setup_header, num_min(ret->setup_header_len, sizeof(h)));
	r = check_bootable(&h, err);
	if (r < 0)
		return r;
	r = take_sizes(&h, file_len, ret, err);
	if (r < 0)
		return r;
	return read_release(fd, &h, ret, err);
}

void bzimage_place(const struct bzimage *bz, struct kernel_image *image)
{
	image->kind = KERNEL_BZIMAGE;
	image->segments[0] = (struct kernel_segment){
		.gpa = LOAD_ADDR,
		.file_offset = bz->protected_offset,
		.file_len = bz->protected_len,
		.mem_len = bz->protected_len,
	};
	image->n_segments = 1;
	image->entry = LOAD_ADDR + ENTRY_64_OFFSET;
	image->end = bz->end;
	image->is_linux = true;
	memcpy(image->setup_header, bz->setup_header, sizeof(image->setup_header));
	image->setup_header_len = bz->setup_header_len;
}
