/*
 * Runs a fuzz target without libFuzzer: every file of its corpus, then random mutations of them. The
 * same numbers give the same inputs on every machine: run I depends on seed + I alone, so that a
 * failure of run I repeats as the first run of that seed.
 *
 *	fuzz_x CORPUS [RUNS [SEED]]	a folder, or one file to replay alone
 */
#include "fuzz.h"

#include <dirent.h>
#include <err.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 16, CORPUS_MAX = 1024, DEFAULT_RUNS = 4000, DEFAULT_SEED = 1 };

struct input {
	char path[512];
	uint8_t *data;
	size_t n;
};

struct corpus {
	struct input input[CORPUS_MAX];
	size_t n;
};

/* Where we are, for whoever reads the log of a crash: written before each run, printed by on_abort.
 */
static char where[1024];

static void on_abort(int signal_number)
{
	(void)!write(STDERR_FILENO, where, strlen(where)); /* nothing left to do about an error */
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* splitmix64 (public domain, Vigna): one multiplication chain per number, good from any seed. */
static uint64_t random64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n)
{
	return n ? (size_t)(random64(state) % n) : 0;
}

static void load_input(struct corpus *c, const char *path)
{
	if (c->n == CORPUS_MAX)
		errx(1, "%s: more than %d files", path, CORPUS_MAX);
	struct input *in = &c->input[c->n++];
	snprintf(in->path, sizeof(in->path), "%s", path);
	in->data = malloc(INPUT_MAX);
	FILE *f = fopen(path, "rb");
	if (!in->data || !f)
		err(1, "%s", path);
	in->n = fread(in->data, 1, INPUT_MAX, f);
	if (ferror(f))
		err(1, "%s", path);
	if (fgetc(f) != EOF)
		errx(1, "%s: larger than %d bytes", path, INPUT_MAX);
	fclose(f);
}

static int is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void load_folder(struct corpus *c, const char *path)
{
	struct dirent **entries;
	int n =
	    scandir(path, &entries, is_visible, alphasort); /* sorted: the same order everywhere */
	if (n < 0)
		err(1, "%s", path);
	for (int i = 0; i < n; i++) {
		char file[4096];
		snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
		load_input(c, file);
		free(entries[i]);
	}
	free(entries);
}

/* A copy of exactly the input's size, so that the address sanitizer sees reads behind it. */
static void run(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	if (!copy)
		err(1, "malloc");
	memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static void flip_bit(uint8_t *data, size_t n, uint64_t *rng)
{
	if (n)
		data[below(rng, n)] ^= (uint8_t)(1u << below(rng, 8));
}

/* Numbers at the edges of lengths, indexes and ring sizes, in each width. */
static void set_number(uint8_t *data, size_t n, uint64_t *rng)
{
	static const uint64_t edge[] = {
		0,          1,          2,           3,         7,          8,         15,
		16,         31,         32,          64,        127,        128,       255,
		256,        257,        1024,        4095,      4096,       4097,      0x7fff,
		0x8000,     0xffff,     0x10000,     0xffffff,  0x1000000,  0x1000001, 0x7fffffff,
		0x80000000, 0xffffffff, 0x100000000, INT64_MAX, UINT64_MAX,
	};
	size_t width = (size_t)1 << below(rng, 4);
	if (n < width)
		return;
	uint64_t v =
	    below(rng, 4) ? edge[below(rng, sizeof(edge) / sizeof(edge[0]))] : random64(rng);
	memcpy(data + below(rng, n - width + 1), &v, width);
}

static size_t insert(uint8_t *data, size_t n, const struct input *from, uint64_t *rng)
{
	size_t at = below(rng, n + 1), start = below(rng, from->n);
	size_t len = 1 + below(rng, below(rng, 8) ? 16 : 2048);
	if (len > from->n - start)
		len = from->n - start;
	if (len > INPUT_MAX - n)
		len = INPUT_MAX - n;
	memmove(data + at + len, data + at, n - at);
	memcpy(data + at, from->data + start, len);
	return n + len;
}

static size_t cut(uint8_t *data, size_t n, uint64_t *rng)
{
	size_t at = below(rng, n), len = 1 + below(rng, below(rng, 8) ? 8 : n);
	if (len > n - at)
		len = n - at;
	memmove(data + at, data + at + len, n - at - len);
	return n - len;
}

static size_t mutate(uint8_t *data, size_t n, const struct corpus *c, uint64_t *rng)
{
	for (size_t steps = 1 + below(rng, 8); steps; steps--) {
		switch (below(rng, 5)) {
		case 0:
			flip_bit(data, n, rng);
			break;
		case 1:
			set_number(data, n, rng);
			break;
		case 2:
			n = cut(data, n, rng);
			break;
		case 3:
			n = insert(data, n, &c->input[below(rng, c->n)], rng);
			break;
		default:
			if (n)
				data[below(rng, n)] = (uint8_t)random64(rng);
		}
	}
	return n;
}

static void run_mutations(const struct corpus *c, unsigned long runs, unsigned long seed)
{
	static uint8_t data[INPUT_MAX];
	for (unsigned long i = 0; i < runs; i++) {
		uint64_t rng = seed + i;
		const struct input *in = &c->input[below(&rng, c->n)];
		snprintf(where, sizeof(where),
			 "failed in mutation run %lu: repeat with runs 1, seed %lu\n", i, seed + i);
		memcpy(data, in->data, in->n);
		run(data, mutate(data, in->n, c, &rng));
	}
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 4) {
		fprintf(stderr, "usage: %s CORPUS [RUNS [SEED]]\n", argv[0]);
		return 64;
	}
	unsigned long runs = argc > 2 ? strtoul(argv[2], NULL, 0) : DEFAULT_RUNS;
	unsigned long seed = argc > 3 ? strtoul(argv[3], NULL, 0) : DEFAULT_SEED;
	signal(SIGABRT, on_abort);
	signal(SIGILL, on_abort); /* __builtin_trap */

	static struct corpus c;
	struct stat st;
	if (stat(argv[1], &st))
		err(1, "%s", argv[1]);
	if (S_ISDIR(st.st_mode)) {
		load_folder(&c, argv[1]);
	} else {
		load_input(&c, argv[1]);
		runs = argc > 2 ? runs : 0;
	}
	if (c.n == 0)
		errx(1, "%s: empty corpus", argv[1]);
	for (size_t i = 0; i < c.n; i++) {
		snprintf(where, sizeof(where), "failed in corpus file %s\n", c.input[i].path);
		run(c.input[i].data, c.input[i].n);
	}
	printf("corpus %zu files, %lu mutation runs from seed %lu\n", c.n, runs, seed);
	fflush(stdout);
	run_mutations(&c, runs, seed);
	for (size_t i = 0; i < c.n; i++)
		free(c.input[i].data);
	return 0;
}
