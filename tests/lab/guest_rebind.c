/*
 * Unbinds and rebinds the driver of a virtio block device under load, and looks for a byte that is not where it was put.
 * Runs inside a guest, as root; static, so that it needs no library there.
 *
 *	guest_rebind TIMES DISK		DISK is "vda"; its contents are lost
 *
 * Three workers write and read blocks of a part of the disk each, by O_DIRECT, so that requests are in flight when the
 * driver goes. A block that was written must read back as it is for ever; one whose write failed (the disk was taken away)
 * is unknown until it is written again. A part that nobody writes after the beginning is read from time to time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	N_WORKERS = 3,
	BLOCK = 16 * 1024,
	BLOCKS = 128, /* of each worker; and of the part at rest, which is the first */
	ALIGNMENT = 4096,
	UNKNOWN = 0, /* generation of a block */
	REST_EVERY = 50,
	OPEN_TRIES = 20000, /* of a millisecond */
};

struct worker {
	unsigned number;
	uint32_t random;
	uint32_t generation;
	uint32_t blocks[BLOCKS]; /* the generation in each */
	unsigned long n_writes, n_reads, n_errors;
	uint8_t *buf;
	pthread_t thread;
};

static char disk_path[64];
static _Atomic bool is_over;

static void die(const char *what, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *what, ...)
{
	va_list args;

	va_start(args, what);
	vfprintf(stderr, what, args);
	va_end(args);
	fprintf(stderr, " (%s)\n",
		strerror(errno)); /* NOLINT(concurrency-mt-unsafe): the last words */
	exit(1);                  /* NOLINT(concurrency-mt-unsafe) */
}

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000 * 1000 }, NULL);
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Every word of every block of every generation is another. */
static void fill(uint8_t *buf, unsigned part, uint32_t block, uint32_t generation)
{
	uint32_t state = (part + 1) << 28 ^ (block + 1) << 20 ^ generation;

	for (size_t i = 0; i < BLOCK; i += sizeof(state)) {
		next_random(&state);
		memcpy(buf + i, &state, sizeof(state));
	}
}

static void check(const uint8_t *got, unsigned part, uint32_t block, uint32_t generation)
{
	uint8_t wanted[BLOCK];

	fill(wanted, part, block, generation);
	for (size_t i = 0; i < BLOCK; i++)
		if (got[i] != wanted[i])
			die("CORRUPT: part %u block %u generation %u: byte %zu is %02x, not %02x",
			    part, block, generation, i, got[i], wanted[i]);
}

static off_t offset_of(unsigned part, uint32_t block)
{
	return ((off_t)part * BLOCKS + block) * BLOCK;
}

/* The device's node comes and goes with its driver. */
static int open_disk(void)
{
	for (int i = 0; i < OPEN_TRIES; i++) {
		int fd = open(disk_path, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		nap_ms(1);
	}
	die("%s does not come back", disk_path);
}

static uint8_t *new_buffer(void)
{
	void *buf;

	if (posix_memalign(&buf, ALIGNMENT, BLOCK))
		die("memory");
	return buf;
}

/* One write or read; false when the disk has gone. */
static bool work_once(struct worker *w, int fd)
{
	uint32_t block = next_random(&w->random) % BLOCKS;
	off_t at = offset_of(w->number, block);

	if (w->blocks[block] != UNKNOWN && next_random(&w->random) % 2) {
		if (pread(fd, w->buf, BLOCK, at) != BLOCK)
			return false;
		check(w->buf, w->number, block, w->blocks[block]);
		w->n_reads++;
		return true;
	}
	fill(w->buf, w->number, block, ++w->generation);
	w->blocks[block] = UNKNOWN;
	if (pwrite(fd, w->buf, BLOCK, at) != BLOCK)
		return false;
	w->blocks[block] = w->generation;
	w->n_writes++;
	return true;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->buf = new_buffer();
	while (!is_over) {
		int fd = open_disk();
		while (!is_over && work_once(w, fd))
			;
		w->n_errors += !is_over;
		close(fd);
	}
	return NULL;
}

/* The part at rest. */
static void rest(bool does_write)
{
	static uint8_t *buf;
	int fd = open_disk();

	if (!buf)
		buf = new_buffer();
	for (uint32_t block = 0; block < BLOCKS; block++) {
		fill(buf, 0, block, 1);
		if (does_write && pwrite(fd, buf, BLOCK, offset_of(0, block)) != BLOCK)
			die("write");
		if (pread(fd, buf, BLOCK, offset_of(0, block)) != BLOCK)
			die("read");
		check(buf, 0, block, 1);
	}
	close(fd);
}

static void tell_driver(const char *file, const char *device)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/virtio_blk/%s", file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, device, strlen(device)) < 0)
		die("%s", path);
	close(fd);
}

/* "virtio1", of which the disk is now. */
static void find_device(const char *disk, char *ret, size_t n)
{
	char path[128], link[256];

	snprintf(path, sizeof(path), "/sys/block/%s/device", disk);
	ssize_t len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		die("%s", path);
	link[len] = '\0';
	snprintf(ret, n, "%s", strrchr(link, '/') ? strrchr(link, '/') + 1 : link);
}

int main(int argc, char **argv)
{
	static struct worker workers[N_WORKERS];
	unsigned long n_writes = 0, n_reads = 0, n_errors = 0;
	uint32_t random = 12345;
	char device[256];

	if (argc != 3) {
		fputs("usage: guest_rebind TIMES DISK\n", stderr);
		return 64;
	}
	long times = strtol(argv[1], NULL, 10);
	snprintf(disk_path, sizeof(disk_path), "/dev/%s", argv[2]);
	find_device(argv[2], device, sizeof(device));
	rest(true);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		workers[i].number = i + 1;
		workers[i].random = i + 1;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("thread");
	}
	for (long i = 0; i < times; i++) {
		nap_ms(next_random(&random) % 16); /* any phase of the load */
		tell_driver("unbind", device);
		tell_driver("bind", device);
		if (i % REST_EVERY == 0)
			rest(false);
	}
	is_over = true;
	for (unsigned i = 0; i < N_WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		n_writes += workers[i].n_writes;
		n_reads += workers[i].n_reads;
		n_errors += workers[i].n_errors;
	}
	rest(false);
	printf("rebinds %ld, writes %lu, reads %lu, interrupted %lu\n", times, n_writes, n_reads,
	       n_errors);
	return 0;
}
