/*
 * ELF core, as the kernel's fs/binfmt_elf.c streams it: header, program headers (the first is
 * PT_NOTE), the notes (the dying thread's NT_PRSTATUS first, then NT_SIGINFO), memory. Memory is
 * not read from here: the program is still there.
 */
#include "core.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "regs.h"

static void take_siginfo(const uint8_t *desc, size_t n, struct core *c)
{
	siginfo_t info;

	if (n < sizeof(info))
		return;
	memcpy(&info, desc, sizeof(info));
	c->signal = info.si_signo;
	c->signal_code = info.si_code;
	c->has_fault_addr =
	    info.si_code > 0 && (info.si_signo == SIGSEGV || info.si_signo == SIGBUS ||
				 info.si_signo == SIGILL || info.si_signo == SIGFPE);
	if (c->has_fault_addr)
		c->fault_addr = (uintptr_t)info.si_addr;
}

static bool take_status(const uint8_t *desc, size_t n, struct core *c)
{
	struct elf_prstatus status;

	if (n < sizeof(status))
		return false;
	memcpy(&status, desc, sizeof(status));
	c->signal = status.pr_cursig;
	c->regs = regs_of_core(&status);
	return true;
}

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

bool core_parse_notes(const uint8_t *notes, size_t n, struct core *ret)
{
	struct core c = { 0 };
	bool has_status = false;
	bool has_info = false;

	while (n >= sizeof(Elf64_Nhdr) && !(has_status && has_info)) {
		Elf64_Nhdr h;
		memcpy(&h, notes, sizeof(h));
		notes += sizeof(h);
		n -= sizeof(h);
		if (align4(h.n_namesz) > n)
			break;
		notes += align4(h.n_namesz);
		n -= align4(h.n_namesz);
		if (h.n_descsz > n)
			break;
		if (h.n_type == NT_PRSTATUS && !has_status) {
			has_status = take_status(notes, h.n_descsz, &c);
		} else if (h.n_type == NT_SIGINFO && !has_info) {
			take_siginfo(notes, h.n_descsz, &c);
			has_info = true;
		}
		size_t step = align4(h.n_descsz) < n ? align4(h.n_descsz) : n;
		notes += step;
		n -= step;
	}
	if (has_status)
		*ret = c;
	return has_status;
}

/* Up to @n bytes; fewer at the end of the stream. */
static size_t read_some(int fd, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read(fd, (uint8_t *)buf + done, n - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

static bool skip(int fd, uint64_t n)
{
	uint8_t bytes[4096];

	if (n > 16ull * 1024 * 1024) /* 65535 program headers are 3.5 MiB */
		return false;
	while (n > 0) {
		size_t part = n < sizeof(bytes) ? (size_t)n : sizeof(bytes);
		if (read_some(fd, bytes, part) != part)
			return false;
		n -= part;
	}
	return true;
}

bool core_read(int fd, struct core *ret)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr first;
	} head;

	if (read_some(fd, &head, sizeof(head)) != sizeof(head))
		return false;
	if (memcmp(head.header.e_ident, ELFMAG, SELFMAG) != 0 || head.header.e_type != ET_CORE ||
	    head.header.e_machine != REGS_ELF_MACHINE ||
	    head.header.e_phoff != sizeof(Elf64_Ehdr) || head.first.p_type != PT_NOTE ||
	    head.first.p_offset < sizeof(head))
		return false;
	if (!skip(fd, head.first.p_offset - sizeof(head)))
		return false;

	size_t n =
	    head.first.p_filesz < CORE_NOTES_MAX ? (size_t)head.first.p_filesz : CORE_NOTES_MAX;
	uint8_t *notes = malloc(n);
	if (notes == NULL)
		return false;
	bool is_good = core_parse_notes(notes, read_some(fd, notes, n), ret);
	free(notes);
	return is_good;
}
