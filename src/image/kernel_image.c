/*
 * What a kernel file is, told by its content alone:
 *
 *	ELF			boots as it is
 *	"HdrS" boot sector	payload decompressed through the cache and booted as ELF; as it is where
 *				that cannot be
 *	gzip, xz, ... magic	decompressed through the cache, must be ELF
 *	anything else		refused, by name where it is a known kind for another machine
 */
#include "image/kernel_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "image/bzimage.h"
#include "image/decompress.h"
#include "image/elf_kernel.h"
#include "image/payload_cache.h"

enum {
	HEAD_LEN = 0x210, /* reaches over every magic that is looked for */
	SIZE_WORD_LEN = 4,
};

struct source {
	const struct kernel_image_config *config;
	int fd; /* owned */
	uint64_t len;
	uint8_t head[HEAD_LEN];
	size_t head_len;
};

/* Kinds of kernel that are not for us but deserve their name. */
static int refuse(const uint8_t *head, size_t n, struct error *err)
{
	uint8_t h[0x40] = { 0 };

	memcpy(h, head, num_min(n, sizeof(h)));
	if (memcmp(h + 0x38, "ARM\x64", 4) == 0)
		return error_set_usage(err, -ENOEXEC,
				       "an Image for aarch64, this build boots x86_64");
	if (memcmp(h + 0x30, "RISCV", 5) == 0)
		return error_set_usage(err, -ENOEXEC,
				       "an Image for riscv, this build boots x86_64");
	if (memcmp(h, "MZ", 2) == 0 && memcmp(h + 4, "zimg", 4) == 0)
		return error_set_usage(
		    err, -ENOEXEC,
		    "an EFI zboot image, as aarch64 has them; this build boots x86_64");
	if (memcmp(h, "\x27\x05\x19\x56", 4) == 0)
		return error_set_usage(err, -ENOEXEC, "a U-Boot image, not a bzImage or vmlinux");
	return error_set_usage(
	    err, -ENOEXEC,
	    "not a kernel (no bzImage, vmlinux or compressed vmlinux; starts with "
	    "%02x %02x %02x %02x)",
	    h[0], h[1], h[2], h[3]);
}

static int open_elf(int fd, struct kernel_image *ret, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "cannot stat it");
	ret->kind = KERNEL_ELF;
	return elf_kernel_parse(fd, (uint64_t)st.st_size, ret, err);
}

/* A vmlinux.gz and its like. */
static int open_compressed(struct source *src, enum compression c, struct kernel_image *ret,
			   struct error *err)
{
	const struct payload p = { .fd = src->fd, .len = src->len, .compression = c };
	uint8_t head[PAYLOAD_HEAD_MAX];
	CLEANUP(fd_closep) int fd = -1;

	int r = payload_cache_open(src->config->cache_dir, &p, &fd, head, err);
	if (r < 0)
		return r;
	if (r == PAYLOAD_OTHER) {
		(void)refuse(head, sizeof(head), err); /* sets err */
		return error_prefix(err, "%s of", compression_name(c));
	}
	ret->fd = TAKE_FD(fd);
	return open_elf(ret->fd, ret, err);
}

/* Where the compressed bytes are. gzip ends in the unpacked length itself, behind all others Linux'
 * build appends it. */
static int find_payload(const struct source *src, const struct bzimage *bz, struct payload *ret,
			struct error *err)
{
	uint8_t magic[COMPRESSION_MAGIC_LEN];

	*ret =
	    (struct payload){ .fd = src->fd, .offset = bz->payload_offset, .len = bz->payload_len };
	if (bz->payload_len < sizeof(magic) + SIZE_WORD_LEN)
		return 0;
	int r = fd_pread_exact(src->fd, magic, sizeof(magic), bz->payload_offset);
	if (r == 0)
		r = fd_pread_exact(src->fd, &ret->unpacked_len, SIZE_WORD_LEN,
				   bz->payload_offset + bz->payload_len - SIZE_WORD_LEN);
	if (r < 0)
		return error_set(err, r, "cannot read its payload");
	ret->compression = compression_detect(magic, sizeof(magic));
	if (ret->compression != COMPRESSION_GZIP)
		ret->len -= SIZE_WORD_LEN;
	return 0;
}

/* 1: @ret is the decompressed kernel; 0: it cannot be had, the bzImage is to boot as it is. */
static int open_payload(const struct source *src, const struct bzimage *bz,
			struct kernel_image *ret, struct error *err)
{
	struct payload p;
	uint8_t head[PAYLOAD_HEAD_MAX];
	struct error why;
	CLEANUP(fd_closep) int fd = -1;

	int r = find_payload(src, bz, &p, err);
	if (r < 0)
		return r;
	if (p.compression == COMPRESSION_NONE) {
		log_debug("kernel '%s': payload of unknown compression, boots as it is",
			  src->config->path);
		return 0;
	}
	r = payload_cache_open(src->config->cache_dir, &p, &fd, head, err);
	if (r < 0)
		return r;
	struct kernel_image elf = KERNEL_IMAGE_INIT;
	if (r == PAYLOAD_OTHER || open_elf(fd, &elf, &why) < 0) {
		log_debug("kernel '%s': payload is no x86_64 ELF file, boots as it is",
			  src->config->path);
		return 0;
	}
	elf.fd = TAKE_FD(fd);
	elf.is_linux = true;
	memcpy(elf.release, bz->release, sizeof(elf.release));
	*ret = elf;
	return 1;
}

static int open_bzimage(struct source *src, struct kernel_image *ret, struct error *err)
{
	struct bzimage bz;

	int r = bzimage_parse(src->fd, src->len, &bz, err);
	if (r < 0)
		return r;
	r = src->config->as_is ? 0 : open_payload(src, &bz, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	bzimage_place(&bz, ret);
	memcpy(ret->release, bz.release, sizeof(ret->release));
	ret->fd = TAKE_FD(src->fd);
	return 0;
}

static int check_file_type(const struct stat *st, struct error *err)
{
	if (S_ISDIR(st->st_mode))
		return error_set_usage(err, -EISDIR, "a directory, not a kernel file");
	if (!S_ISREG(st->st_mode))
		return error_set_usage(err, -EINVAL, "a %s, not a kernel file",
				       S_ISFIFO(st->st_mode)   ? "FIFO"
				       : S_ISSOCK(st->st_mode) ? "socket"
							       : "device");
	if (st->st_size == 0)
		return error_set_usage(err, -ENOEXEC, "empty");
	return 0;
}

static int open_source(struct source *src, struct kernel_image *ret, struct error *err)
{
	struct stat st;

	if (fstat(src->fd, &st) < 0)
		return error_set(err, errno, "cannot stat it");
	int r = check_file_type(&st, err);
	if (r < 0)
		return r;
	src->len = (uint64_t)st.st_size;
	src->head_len = (size_t)num_min(src->len, sizeof(src->head));
	r = fd_pread_exact(src->fd, src->head, src->head_len, 0);
	if (r < 0)
		return error_set(err, r, "cannot read it");
	if (elf_kernel_is(src->head, src->head_len)) {
		ret->fd = TAKE_FD(src->fd);
		return open_elf(ret->fd, ret, err);
	}
	if (bzimage_is(src->head, src->head_len))
		return open_bzimage(src, ret, err);
	enum compression c = compression_detect(src->head, src->head_len);
	if (c != COMPRESSION_NONE)
		return open_compressed(src, c, ret, err);
	return refuse(src->head, src->head_len, err);
}

int kernel_image_open_fd(const struct kernel_image_config *config, int fd, struct kernel_image *ret,
			 struct error *err)
{
	struct source src = { .config = config, .fd = fd };
	struct kernel_image image = KERNEL_IMAGE_INIT;

	int r = open_source(&src, &image, err);
	src.fd = fd_close(src.fd);
	if (r < 0) {
		kernel_image_fini(&image);
		return error_prefix(err, "kernel '%s'", config->path);
	}
	*ret = image;
	return 0;
}

int kernel_image_open(const struct kernel_image_config *config, struct kernel_image *ret,
		      struct error *err)
{
	struct stat st;
	int r;

	/* Looked at before it is opened: opening a device or a FIFO has effects of its own. */
	if (stat(config->path, &st) < 0)
		r = error_set(err, errno, "cannot open it");
	else
		r = check_file_type(&st, err);
	int fd = r < 0 ? -1 : open(config->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (r == 0 && fd < 0)
		r = error_set(err, errno, "cannot open it");
	if (r < 0) {
		(void)error_classify(err, ERROR_USAGE);
		return error_prefix(err, "kernel '%s'", config->path);
	}
	return kernel_image_open_fd(config, fd, ret, err);
}

bool kernel_image_has_driver(const struct kernel_image *image, const char *name)
{
	struct stat st;
	bool found = false;

	if (image->kind != KERNEL_ELF || fstat(image->fd, &st) < 0 || st.st_size <= 0)
		return false;
	void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, image->fd, 0);
	if (bytes == MAP_FAILED)
		return false;
	CLEANUP(freep) char *dashed = xstrdup(name);
	for (char *p = dashed; *p; p++)
		*p = *p == '_' ? '-' : *p;
	found = memmem(bytes, (size_t)st.st_size, name, strlen(name)) ||
		memmem(bytes, (size_t)st.st_size, dashed, strlen(dashed));
	(void)munmap(bytes, (size_t)st.st_size); /* a whole mapping of ours: cannot fail */
	return found;
}
