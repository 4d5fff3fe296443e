/*
 * Kernel files made of anything. The first byte chooses: the rest is a file for kernel_image_open_fd (as it is, so that
 * nothing touches a cache), or compressed data for decompress.
 *
 * Properties: an image that opens has segments inside the file and the address space, none overlapping, its entry in one
 * of them, and a release that is safe as a path component; decompression keeps to its limit.
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/decompress.h"
#include "image/kernel_image.h"

enum { LIMIT = 1 << 20 };

static void check_segment(const struct kernel_image *image, size_t i, uint64_t file_len)
{
	const struct kernel_segment *s = &image->segments[i];

	FUZZ_CHECK(s->file_len <= s->mem_len);
	FUZZ_CHECK(s->file_offset <= file_len && s->file_len <= file_len - s->file_offset);
	FUZZ_CHECK(s->gpa <= image->end && s->mem_len <= image->end - s->gpa);
	for (size_t k = 0; k < i; k++) {
		const struct kernel_segment *t = &image->segments[k];
		FUZZ_CHECK(s->gpa >= t->gpa + t->mem_len || t->gpa >= s->gpa + s->mem_len);
	}
}

static void check_image(const struct kernel_image *image, uint64_t file_len)
{
	bool has_entry = false;

	FUZZ_CHECK(image->fd >= 0);
	FUZZ_CHECK(image->n_segments > 0 && image->n_segments <= KERNEL_MAX_SEGMENTS);
	FUZZ_CHECK(image->setup_header_len <= sizeof(image->setup_header));
	FUZZ_CHECK(!strchr(image->release, '/') && image->release[0] != '.');
	FUZZ_CHECK(memchr(image->release, 0, sizeof(image->release)));
	for (size_t i = 0; i < image->n_segments; i++) {
		check_segment(image, i, file_len);
		has_entry |= image->entry >= image->segments[i].gpa &&
			     image->entry - image->segments[i].gpa < image->segments[i].file_len;
	}
	FUZZ_CHECK(has_entry);
}

static void open_image(const uint8_t *data, size_t size)
{
	const struct kernel_image_config config = {
		.path = "fuzz",
		.cache_dir = "/dev/null/cache", /* no folder: a compressed vmlinux ends here */
		.as_is = true,
	};
	struct kernel_image image = KERNEL_IMAGE_INIT;
	struct error err = { 0 };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && fd_write_all(fd, data, size) == 0);
	int r = kernel_image_open_fd(&config, fd, &image, &err);
	if (r == 0)
		check_image(&image, size);
	else
		FUZZ_CHECK(r == err.code && image.fd == -1 && err.text[0]);
	kernel_image_fini(&image);
}

static int count(struct decompress_out *out, const uint8_t *data, size_t n, struct error *err)
{
	FUZZ_CHECK(data && n > 0 && out->len <= out->limit);
	return 0;
}

static void unpack(const uint8_t *data, size_t size)
{
	struct decompress_out out = { .write = count, .limit = LIMIT };
	struct error err = { 0 };
	enum compression c = compression_detect(data, size);

	if (c == COMPRESSION_NONE)
		return;
	int r = decompress(c, data, size, &out, &err);
	FUZZ_CHECK(r == 0 || (r == err.code && err.text[0]));
	FUZZ_CHECK(out.len <= LIMIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] & 1)
		unpack(data + 1, size - 1);
	else
		open_image(data + 1, size - 1);
	return 0;
}
