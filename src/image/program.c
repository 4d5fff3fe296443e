#include "image/program.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum {
	SCRIPT_LINE_MAX = 256, /* what the kernel reads of a script's first line */
};

struct program_entry {
	char *host;
	char *guest;
	bool is_named;
};

void program_list_fini(struct program_list *l)
{
	for (size_t i = 0; i < l->n_entries; i++) {
		freep(&l->entries[i].host);
		freep(&l->entries[i].guest);
	}
	freep(&l->entries);
	l->n_entries = 0;
}

void program_list_add(struct program_list *l, const char *host, const char *guest, bool is_named)
{
	l->entries = xreallocarray(l->entries, l->n_entries + 1, sizeof(*l->entries));
	l->entries[l->n_entries++] = (struct program_entry){ .host = xstrdup(host),
							     .guest = xstrdup(guest),
							     .is_named = is_named };
}

char *program_find(struct stamps *stamps, const char *search, const char *name)
{
	CLEANUP(freep) char *copy = xstrdup(search);
	char *rest = copy;

	for (char *folder; (folder = strsep(&rest, ":"));) {
		struct stat st;
		if (folder[0] != '/') /* what a relative PATH means changes with every cd */
			continue;
		CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);
		stamps_add(stamps, path, true);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

/* The first bytes of @path, NUL-terminated. */
static int read_head(const char *path, char head[static SCRIPT_LINE_MAX + 1], struct error *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, head, SCRIPT_LINE_MAX);

	if (n < 0)
		return error_set_usage_errno(err, errno, "cannot read '%s'", path);
	head[n] = 0;
	return 0;
}

/* The program that "env ..." starts: the first word that is neither an option nor a variable; NULL:
 * none. */
static const char *find_env_program(char *words)
{
	for (char *word; (word = strsep(&words, " \t"));) {
		if (*word && *word != '-' && !strchr(word, '='))
			return word;
	}
	return NULL;
}

struct resolve {
	struct program_list *list;
	struct elf_closure *closure;
	const char *search;
};

/* Brings the host's @path, unless the guest has something there (an included file, an applet). */
static int add_interpreter(const struct resolve *r, const char *path, struct error *err)
{
	CLEANUP(freep) char *real = NULL;

	if (guest_tree_find(r->closure->tree, path))
		return 0;
	if (guest_tree_add_mirrored(r->closure->tree, path, GUEST_RANK_FOUND, &real, err) < 0)
		return err->code;
	program_list_add(r->list, real, real, true);
	return 0;
}

/* @name as a shell in the guest would find it, else as one on the host does. */
static int add_by_name(const struct resolve *r, const char *name, struct error *err)
{
	static const char *const folders[] = { "/usr/bin", "/bin", "/usr/sbin", "/sbin" };

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", folders[i], name);
		if (guest_tree_find(r->closure->tree, path))
			return 0;
	}
	CLEANUP(freep) char *path = program_find(&r->closure->tree->stamps, r->search, name);
	if (!path)
		return error_set_usage(err, -ENOENT, "'%s' was not found in PATH (%s)", name,
				       r->search);
	return add_interpreter(r, path, err);
}

/* @line: a script's first line behind "#!". */
static int add_script_needs(const struct resolve *r, char *line, struct error *err)
{
	line[strcspn(line, "\n")] = 0;
	line += strspn(line, " \t");
	char *path = strsep(&line, " \t");
	if (path[0] != '/')
		return error_set_usage(err, -ENOEXEC, "interpreter '%s': no absolute path", path);
	if (add_interpreter(r, path, err) < 0)
		return error_prefix(err, "interpreter '%s'", path);
	if (strcmp(strrchr(path, '/'), "/env") != 0)
		return 0;
	const char *name = line ? find_env_program(line) : NULL;
	if (!name)
		return 0;
	return strchr(name, '/') ? add_interpreter(r, name, err) : add_by_name(r, name, err);
}

static int resolve_one(const struct resolve *r, const struct program_entry *e, struct error *err)
{
	char head[SCRIPT_LINE_MAX + 1] = { 0 };

	if (read_head(e->host, head, err) < 0)
		return err->code;
	if (head[0] == '#' && head[1] == '!') {
		if (add_script_needs(r, head + 2, err) == 0)
			return 0;
		(void)error_prefix(err, "script '%s'", e->host);
		if (e->is_named)
			return err->code;
		log_debug("%s: taken as data", err->text);
		return 0;
	}
	if (memcmp(head, "\177ELF", 4) != 0)
		return 0;
	int code = elf_closure_add(r->closure, e->host, e->guest, err);
	if (code == -ENOEXEC && !e->is_named) {
		log_debug("%s: taken as data", err->text);
		return 0;
	}
	return code;
}

int program_list_resolve(struct program_list *l, struct elf_closure *c, const char *search,
			 struct error *err)
{
	struct resolve r = { .list = l, .closure = c, .search = search };

	/* An interpreter joins the list behind those noted before; each path once, for the tree has
	 * it then. */
	for (size_t i = 0; i < l->n_entries; i++) {
		/* The entries may move while one is worked on. */
		struct program_entry e = l->entries[i];
		if (resolve_one(&r, &e, err) < 0)
			return err->code;
	}
	return 0;
}
