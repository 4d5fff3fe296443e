/*
 * All of the machine's RAM, sparsely: every 2 MiB of every range holds a pattern made from its own
 * address, written everywhere before anything is read, so that two addresses that share memory show;
 * then the pages on both sides of each seam, word by word with several patterns, memtester's way.
 * And the devices in the gap between. Tells on COM1 what it saw. Words: disk, net (there is one).
 */
#include "guest.h"

enum {
	PAGE = 4096,
	PRESENT_WRITE = 3,
	LARGE = 1 << 7,
	E820_RAM = 1,
	PML4 = 0x9000, /* the host's page tables, which end at 4 GiB */
	ENTRIES = 512,
	MAX_GIB = 64,
	CONSOLE = 0xc0000000u,
	DISK = 0xc0001000u,
	NET = 0xc0002000u,
	NOTHING = 0xc0100000u,
	IOAPIC_SELECT = 0xfec00000u,
	IOAPIC_WINDOW = 0xfec00010u,
	VIRTIO_MAGIC = 0x74726976,
};
#define MIB       ((uint64_t)1 << 20)
#define GIB       ((uint64_t)1 << 30)
#define OWN_END   (16 * MIB) /* this program, its stack and the boot parameters are below */
#define STEP      (2 * MIB)
#define MAP_BEGIN (4 * GIB)

static uint64_t tables[MAX_GIB - 4][ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t n_words;

static volatile uint64_t *word(uint64_t address)
{
	return (volatile uint64_t *)address;
}

/* Beyond 4 GiB, in pages of 2 MiB. */
static void map(uint64_t end)
{
	uint64_t *directory_pointers = (uint64_t *)(*word(PML4) & ~(uint64_t)(PAGE - 1));

	if (end > MAX_GIB * GIB)
		guest_die("more memory than this guest can map");
	for (uint64_t gib = 4; gib * GIB < end; gib++) {
		uint64_t *directory = tables[gib - 4];

		for (uint64_t i = 0; i < ENTRIES; i++)
			directory[i] = (gib * GIB + i * STEP) | PRESENT_WRITE | LARGE;
		directory_pointers[gib] = (uint64_t)directory | PRESENT_WRITE;
	}
}

static uint64_t pattern(uint64_t address)
{
	return address * 0x9e3779b97f4a7c15u ^ ~address;
}

static void fail_at(const char *what, uint64_t address)
{
	serial_put(what);
	serial_put_hex(address);
	serial_put("\n");
	guest_die("memory");
}

/* The first and the last word of each step's first page and of its last one. */
static void for_each_step(uint64_t begin, uint64_t end, void (*fn)(uint64_t address))
{
	for (uint64_t at = begin; at < end; at += STEP) {
		uint64_t last = end - at < STEP ? end : at + STEP;

		fn(at);
		fn(at + PAGE - 8);
		fn(last - PAGE);
		fn(last - 8);
	}
}

static void fill(uint64_t address)
{
	*word(address) = pattern(address);
}

static void check(uint64_t address)
{
	n_words++;
	if (*word(address) != pattern(address))
		fail_at("wrong at ", address);
}

static void check_word(uint64_t address)
{
	static const uint64_t patterns[] = { 0, ~(uint64_t)0, 0x5555555555555555,
					     0xaaaaaaaaaaaaaaaa };

	for (unsigned i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		*word(address) = patterns[i];
		if (*word(address) != patterns[i])
			fail_at("seam, wrong at ", address);
	}
	for (unsigned bit = 0; bit < 64; bit += 9) {
		*word(address) = (uint64_t)1 << bit;
		if (*word(address) != (uint64_t)1 << bit)
			fail_at("seam, wrong at ", address);
	}
	*word(address) = pattern(address);
}

/* A page on each side that is RAM. */
static void check_seam(uint64_t begin, uint64_t end, uint64_t seam)
{
	uint64_t from = seam - begin < PAGE ? begin : seam - PAGE;
	uint64_t to = end - seam < PAGE ? end : seam + PAGE;

	for (uint64_t at = from; at < to; at += 8)
		check_word(at);
	for (uint64_t at = from; at < to; at += 8)
		check(at);
}

/* Ends of ranges, and each GiB: where nodes, page directories and slots may meet. */
static void check_seams(uint64_t begin, uint64_t end)
{
	check_seam(begin, end, begin);
	check_seam(begin, end, end);
	for (uint64_t at = (begin / GIB + 1) * GIB; at < end; at += GIB)
		check_seam(begin, end, at);
}

static uint64_t for_each_range(const struct boot_params *boot,
			       void (*fn)(uint64_t begin, uint64_t end))
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < boot->e820_entries; i++) {
		const struct boot_e820_entry *e = &boot->e820_table[i];
		uint64_t begin = e->addr < OWN_END ? OWN_END : e->addr;

		if (e->type != E820_RAM)
			continue;
		sum += e->size;
		if (begin < e->addr + e->size)
			fn(begin, e->addr + e->size);
	}
	return sum;
}

static void fill_range(uint64_t begin, uint64_t end)
{
	map(end);
	for_each_step(begin, end, fill);
}

static void check_range(uint64_t begin, uint64_t end)
{
	for_each_step(begin, end, check);
}

static bool is_virtio(uintptr_t address)
{
	return mmio_read32(address) == VIRTIO_MAGIC;
}

static void check_devices(const struct boot_params *boot)
{
	if (!is_virtio(CONSOLE) || is_virtio(DISK) != boot_word(boot, "disk", NULL) ||
	    is_virtio(NET) != boot_word(boot, "net", NULL))
		guest_die("virtio devices");
	if (mmio_read32(NOTHING) != UINT32_MAX)
		guest_die("memory in the gap");
	mmio_write32(IOAPIC_SELECT, 1);
	if ((mmio_read32(IOAPIC_WINDOW) >> 16 & 0xff) != 23)
		guest_die("I/O APIC");
}

void guest_main(const struct boot_params *boot)
{
	uint64_t sum = for_each_range(boot, fill_range);

	check_devices(boot);
	(void)for_each_range(boot, check_range);
	(void)for_each_range(boot, check_seams);
	(void)for_each_range(boot, check_range);
	check_devices(boot);
	serial_put("RAM ");
	serial_put_number(sum / 1024);
	serial_put(" KiB, words ");
	serial_put_number(n_words);
	serial_put("\n");
}
