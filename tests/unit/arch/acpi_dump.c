/* acpi_dump TOPOLOGY DIR: writes every table but the RSDP (no table to iasl) as
 * DIR/<signature>.dat, for acpi_iasl.sh. */
#include <stdio.h>
#include <string.h>

#include "arch/x86_64/acpi.h"
#include "base/num.h"
#include "base/topology_text.h"

static int dump(const char *dir, const char *name, const uint8_t *data, size_t n)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	FILE *f = fopen(path, "we");
	if (!f) {
		perror(path);
		return 1;
	}
	bool written = fwrite(data, 1, n, f) == n;
	return fclose(f) != 0 || !written;
}

/* Tables follow each other at multiples of 16. */
int main(int argc, char **argv)
{
	CLEANUP(buf_fini) struct buf image = { 0 };
	struct memory_layout memory;
	struct topology t;
	struct error err;
	bool all;

	if (argc != 3 || topology_parse(argv[1], &t, &err) < 0)
		return 64;
	uint64_t declared = memory_layout_declared(&t, &all);
	if (memory_layout_make(&t, all ? declared : declared + 6 * GIB, &arch_memory_space, &memory,
			       &err) < 0)
		return 64;
	struct arch_boot boot = {
		.topology = &t, .memory = &memory, .console = true, .blk = true, .net = true
	};
	acpi_build(&boot, 0xE0000, &image);
	int res = 0;
	for (size_t off = (36 + 15) & ~15u; res == 0 && off < image.len;) {
		char name[5] = { 0 };
		uint32_t len;

		memcpy(name, image.data + off, 4);
		memcpy(&len, image.data + off + 4, 4);
		res = dump(argv[2], name, image.data + off, len);
		off = (off + len + 15) & ~(size_t)15;
	}
	return res;
}
