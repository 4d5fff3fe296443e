#include "image/elf_closure.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "image/elf_file.h"

/* One loaded file of one program. */
struct object {
	char *name; /* as DT_NEEDED has it */
	char *host;
	char *guest;
	struct elf_file elf;
	const struct object *loader; /* who needed it first; NULL: the program, its interpreter */
};

struct program {
	struct elf_closure *closure;
	struct object **objects;
	size_t n_objects;
	bool is_musl;
};

struct machine {
	uint16_t machine;
	const char *platform;   /* $PLATFORM */
	const char *lib[3];     /* $LIB, as distributions set it */
	const char *folders[7]; /* built into loaders, their union */
};

static const struct machine machines[] = {
	{ EM_X86_64,
	  "x86_64",
	  { "lib/x86_64-linux-gnu", "lib64", "lib" },
	  { "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib",
	    "/usr/lib" } },
	{ EM_386,
	  "i686",
	  { "lib/i386-linux-gnu", "lib32", "lib" },
	  { "/lib/i386-linux-gnu", "/usr/lib/i386-linux-gnu", "/lib32", "/usr/lib32", "/lib",
	    "/usr/lib" } },
	{ EM_AARCH64,
	  "aarch64",
	  { "lib/aarch64-linux-gnu", "lib64", "lib" },
	  { "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib",
	    "/usr/lib" } },
};

static const struct machine *find_machine(uint16_t machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (machines[i].machine == machine)
			return &machines[i];
	}
	return NULL;
}

static void program_fini(struct program *p)
{
	for (size_t i = 0; i < p->n_objects; i++) {
		struct object *o = p->objects[i];
		elf_file_fini(&o->elf);
		freep(&o->name);
		freep(&o->host);
		freep(&o->guest);
		free(o);
	}
	freep(&p->objects);
	p->n_objects = 0;
}

/* Takes over @elf. */
static void add_object(struct program *p, const char *name, const char *host, const char *guest,
		       struct elf_file *elf, const struct object *loader)
{
	struct object *o = xcalloc(1, sizeof(*o));

	*o = (struct object){ .name = xstrdup(name),
			      .host = xstrdup(host),
			      .guest = xstrdup(guest),
			      .elf = *elf,
			      .loader = loader };
	*elf = (struct elf_file){ 0 };
	p->objects = xreallocarray(p->objects, p->n_objects + 1, sizeof(struct object *));
	p->objects[p->n_objects++] = o;
}

static bool is_loaded(const struct program *p, const char *name)
{
	/* musl's loader is its C library, under whatever name. */
	if (p->is_musl && (strcmp(name, "libc.so") == 0 || strncmp(name, "libc.musl-", 10) == 0))
		return true;
	for (size_t i = 0; i < p->n_objects; i++) {
		const struct object *o = p->objects[i];
		if (strcmp(o->name, name) == 0 ||
		    (o->elf.soname && strcmp(o->elf.soname, name) == 0))
			return true;
	}
	return false;
}

/* ---- one place ---- */

/* What is searched: @name, for @by. */
struct search {
	struct program *program;
	const struct object *by;
	const char *name;
};

/* 1: @path is a library of the machine that is asked for. A file that cannot be read is passed
 * over, as by a loader. */
static int read_candidate(const struct search *s, const char *path, struct elf_file *ret)
{
	struct error ignored;
	struct elf_file elf = { 0 };

	if (elf_file_read(path, &elf, &ignored) <= 0)
		return 0;
	if (elf.class == s->by->elf.class && elf.machine == s->by->elf.machine) {
		*ret = elf;
		return 1;
	}
	elf_file_fini(&elf);
	return 0;
}

/* 1: found and added; 0: not here. @guest is where the guest's loader will look, @host where we do.
 */
static int try_file(const struct search *s, const char *host, const char *guest, struct error *err)
{
	struct guest_tree *tree = s->program->closure->tree;
	const struct guest_node *node = guest_tree_find(tree, guest);
	struct elf_file elf;
	struct stat st;

	if (node && node->host && read_candidate(s, node->host, &elf)) {
		add_object(s->program, s->name, node->host, node->path, &elf, s->by);
		return 1;
	}
	stamps_add(&tree->stamps, host, true);
	if (stat(host, &st) < 0 || !S_ISREG(st.st_mode) || !read_candidate(s, host, &elf))
		return 0;
	add_object(s->program, s->name, host, guest, &elf, s->by);
	int r = strcmp(host, guest) == 0
		    ? guest_tree_add_mirrored(tree, host, GUEST_RANK_FOUND, NULL, err)
		    : guest_tree_add_file(tree, guest, host, &st, GUEST_RANK_FOUND, err);
	return r < 0 ? r : 1;
}

static char *folder_of(const char *path)
{
	char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');

	ASSERT(slash);
	*slash = 0;
	return folder;
}

/* Puts @value for every "$@token" and "${@token}" of @text. */
static char *substitute(const char *text, const char *token, const char *value)
{
	struct buf out = { 0 };
	size_t n = strlen(token);

	while (*text) {
		bool braced = text[0] == '$' && text[1] == '{';
		const char *name = text + 1 + braced;
		if (text[0] == '$' && strncmp(name, token, n) == 0 && (!braced || name[n] == '}')) {
			buf_append_str(&out, value);
			text = name + n + braced;
		} else {
			buf_append(&out, text++, 1);
		}
	}
	(void)buf_str(&out); /* for the NUL */
	return (char *)out.data;
}

/* @text with its tokens as they are for @o, whose file is @path; $LIB takes the @lib-th of its
 * values. */
static char *expand(const char *text, const struct object *o, const char *path, size_t lib)
{
	const struct machine *m = find_machine(o->elf.machine);
	CLEANUP(freep) char *folder = folder_of(path);
	CLEANUP(freep) char *with_origin = substitute(text, "ORIGIN", folder);
	CLEANUP(freep) char *with_lib = substitute(with_origin, "LIB", m ? m->lib[lib] : "lib");

	return substitute(with_lib, "PLATFORM", m ? m->platform : "");
}

static size_t n_spellings(const char *text)
{
	return strstr(text, "$LIB") || strstr(text, "${LIB}") ? ARRAY_SIZE(machines[0].lib) : 1;
}

/* ---- the places, in the loader's order ---- */

/* The folders of @list, an RPATH or RUNPATH of @owner. Relative ones mean nothing in a guest. */
static int try_list(const struct search *s, const struct object *owner, const char *list,
		    struct error *err)
{
	CLEANUP(freep) char *copy = xstrdup(list);
	char *rest = copy;

	for (char *folder; (folder = strsep(&rest, ":"));) {
		for (size_t lib = 0; lib < n_spellings(folder); lib++) {
			CLEANUP(freep) char *on_host = expand(folder, owner, owner->host, lib);
			CLEANUP(freep) char *in_guest = expand(folder, owner, owner->guest, lib);
			if (on_host[0] != '/' || in_guest[0] != '/')
				continue;
			CLEANUP(freep) char *host = xasprintf("%s/%s", on_host, s->name);
			CLEANUP(freep) char *guest = xasprintf("%s/%s", in_guest, s->name);
			int r = try_file(s, host, guest, err);
			if (r)
				return r;
		}
	}
	return 0;
}

static int try_own_paths(const struct search *s, struct error *err)
{
	if (s->by->elf.runpath)
		return try_list(s, s->by, s->by->elf.runpath, err);
	for (const struct object *o = s->by; o; o = o->loader) {
		if (o->elf.runpath || !o->elf.rpath)
			continue;
		int r = try_list(s, o, o->elf.rpath, err);
		if (r)
			return r;
	}
	return 0;
}

static int try_cache(const struct search *s, struct error *err)
{
	struct elf_closure *c = s->program->closure;
	const char *path;

	if (s->program->is_musl)
		return 0;
	for (unsigned i = 0; (path = ld_cache_find(c->cache, s->name, i)); i++) {
		int r = try_file(s, path, path, err);
		if (r > 0)
			c->used_cache = true;
		if (r)
			return r;
	}
	return 0;
}

static int try_defaults(const struct search *s, struct error *err)
{
	const struct machine *m = find_machine(s->by->elf.machine);

	for (size_t i = 0; m && m->folders[i]; i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", m->folders[i], s->name);
		int r = try_file(s, path, path, err);
		if (r)
			return r;
	}
	return 0;
}

/* 1: found and added. */
static int try_everywhere(const struct search *s, struct error *err)
{
	if (strchr(s->name, '/')) {
		CLEANUP(freep) char *host = expand(s->name, s->by, s->by->host, 0);
		CLEANUP(freep) char *guest = expand(s->name, s->by, s->by->guest, 0);
		return host[0] == '/' && guest[0] == '/' ? try_file(s, host, guest, err) : 0;
	}
	int r = try_own_paths(s, err);
	if (r == 0)
		r = try_cache(s, err);
	if (r == 0)
		r = try_defaults(s, err);
	return r;
}

static int add_needed(struct program *p, const struct object *by, struct error *err)
{
	for (size_t i = 0; i < by->elf.n_needed; i++) {
		struct search s = { .program = p, .by = by, .name = by->elf.needed[i] };
		if (is_loaded(p, s.name))
			continue;
		int r = try_everywhere(&s, err);
		if (r < 0)
			return r;
		if (r == 0)
			return error_set_usage(
			    err, -ENOENT,
			    "library '%s', needed by '%s', was not found: install it "
			    "or give it with --include",
			    s.name, by->host);
	}
	return 0;
}

/* The GNU C library loads this one by itself, to end threads and to print backtraces. Where it is
 * missing, so be it. */
static int add_unwinder(struct program *p, struct error *err)
{
	struct search s = { .program = p, .by = p->objects[0], .name = "libgcc_s.so.1" };

	if (!is_loaded(p, "libc.so.6") || is_loaded(p, s.name))
		return 0;
	int r = try_everywhere(&s, err);
	return r < 0 ? r : 0;
}

static int add_interpreter(struct program *p, struct error *err)
{
	const struct object *main = p->objects[0];
	struct guest_tree *tree = p->closure->tree;
	const char *path = main->elf.interp;
	struct elf_file elf;

	if (!path)
		return 0;
	const char *slash = strrchr(path, '/');
	if (path[0] != '/')
		return error_set_usage(err, -ENOEXEC,
				       "'%s' asks for the interpreter '%s': no absolute path",
				       main->host, path);
	p->is_musl = strncmp(slash + 1, "ld-musl-", 8) == 0;
	if (!guest_tree_find(tree, path) &&
	    guest_tree_add_mirrored(tree, path, GUEST_RANK_FOUND, NULL, err) < 0)
		return error_prefix(err, "interpreter of '%s'", main->host);
	const struct guest_node *node = guest_tree_find(tree, path);
	const char *host = node && node->host ? node->host : path;
	int r = elf_file_read(host, &elf, err);
	if (r < 0)
		return error_prefix(err, "interpreter of '%s'", main->host);
	if (r > 0)
		add_object(p, slash + 1, host, path, &elf, NULL);
	return 0;
}

int elf_closure_add(struct elf_closure *c, const char *host, const char *guest, struct error *err)
{
	CLEANUP(program_fini) struct program p = { .closure = c };
	struct elf_file elf;
	int r = elf_file_read(host, &elf, err);

	if (r <= 0)
		return r;
	const char *slash = strrchr(host, '/');
	add_object(&p, slash ? slash + 1 : host, host, guest, &elf, NULL);
	if (add_interpreter(&p, err) < 0)
		return err->code;
	for (size_t i = 0; i < p.n_objects; i++) {
		if (add_needed(&p, p.objects[i], err) < 0)
			return err->code;
		if (i + 1 == p.n_objects && add_unwinder(&p, err) < 0)
			return err->code;
	}
	return 0;
}
