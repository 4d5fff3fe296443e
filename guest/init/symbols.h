/* Names for addresses, from an ELF file's own symbol table. */
#pragma once

struct symbol {
	char name[96];
	uint64_t offset; /* of the address into the function */
};

/* The function that covers @file_offset of the file; false when no table names it. Any file is
 * safe. */
bool symbols_find(int fd, uint64_t file_offset, struct symbol *ret);
