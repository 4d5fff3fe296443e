#include "harness/cgroup_place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/num.h"

enum { PROC_TEXT_MAX = 4 << 20 };

/* ---- texts ---- */

static size_t line_len(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	line += line_len(line);
	return *line ? line + 1 : line;
}

int cgroup_parse_own(const char *proc_cgroup, struct buf *ret)
{
	static const char deleted[] = " (deleted)";

	for (const char *line = proc_cgroup; *line; line = next_line(line)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		const char *path = line + 3;
		size_t n = line_len(path);
		/* "/../x" is outside of this cgroup namespace: nothing here shows it. */
		if ((n >= 3 && memcmp(path, "/..", 3) == 0) ||
		    (n >= sizeof(deleted) - 1 &&
		     memcmp(path + n - (sizeof(deleted) - 1), deleted, sizeof(deleted) - 1) == 0))
			return -ENOENT;
		buf_append(ret, path, n);
		return 0;
	}
	return -ENOENT;
}

static bool is_octal(const char *p)
{
	for (int i = 0; i < 3; i++)
		if (p[i] < '0' || p[i] > '7')
			return false;
	return true;
}

/* The field at *@p without its escapes ("\040"), to @ret; *@p moves behind it. */
static void take_field(const char **p, struct buf *ret)
{
	const char *c = *p;

	for (; *c && *c != ' ' && *c != '\n'; c++) {
		char byte = *c;
		if (*c == '\\' && is_octal(c + 1)) {
			byte = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
			c += 3;
		}
		buf_append(ret, &byte, 1);
	}
	while (*c == ' ')
		c++;
	*p = c;
}

static void skip_fields(const char **p, int n)
{
	for (int i = 0; i < n; i++) {
		CLEANUP(buf_fini) struct buf ignored = { 0 };
		take_field(p, &ignored);
	}
}

static bool is_cgroup2(const char *line)
{
	static const char type[] = " - cgroup2 ";
	const char *at = strstr(line, type);

	return at && at < line + line_len(line);
}

/* @path as seen below a mount of @root; NULL when it is not in there. */
static const char *below_root(const char *path, const char *root)
{
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strncmp(path, root, n) != 0 || (path[n] && path[n] != '/'))
		return NULL;
	return strcmp(path + n, "/") == 0 ? "" : path + n;
}

int cgroup_parse_mounts(const char *mountinfo, const char *path, struct buf *ret,
			size_t *ret_top_len)
{
	for (const char *line = mountinfo; *line; line = next_line(line)) {
		CLEANUP(buf_fini) struct buf root = { 0 };
		CLEANUP(buf_fini) struct buf mount = { 0 };
		const char *p = line;
		if (!is_cgroup2(line))
			continue;
		skip_fields(&p, 3); /* mount, parent, device */
		take_field(&p, &root);
		take_field(&p, &mount);
		const char *rest = below_root(path, buf_str(&root));
		if (!rest)
			continue;
		buf_append(ret, mount.data, mount.len);
		*ret_top_len = ret->len;
		buf_append_str(ret, rest);
		return 0;
	}
	return -ENOENT;
}

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += n)
		if ((p == text || p[-1] == ' ') && (!p[n] || p[n] == ' ' || p[n] == '\n'))
			return true;
	return false;
}

bool cgroup_parse_stat(const char *stat, uint64_t *ret_start)
{
	/* The name is in parentheses and may hold any, so the last one counts. */
	const char *p = strrchr(stat, ')');
	int n = 0;

	if (!p || p[1] != ' ' || !p[2] || strchr("ZXx", p[2]))
		return false;
	/* Field 3 is the state, 22 the start time. */
	for (p += 2; *p && n < 19; p++)
		n += *p == ' ';
	char *end;
	*ret_start = strtoull(p, &end, 10);
	return end != p;
}

/* ---- names ---- */

static bool take_number(const char **p, char end, uint64_t max, uint64_t *ret)
{
	struct error err;
	char digits[24];
	size_t n = strspn(*p, "0123456789");

	if (n == 0 || n >= sizeof(digits) || (*p)[n] != end)
		return false;
	memcpy(digits, *p, n);
	digits[n] = 0;
	*p += n + (end != 0);
	return num_parse_u64("", digits, 0, max, ret, &err) == 0;
}

bool cgroup_name_parse(const char *name, struct cgroup_name *ret)
{
	static const char prefix[] = "ktstr-";
	uint64_t ns, pid, start, seq;
	const char *p = name + sizeof(prefix) - 1;

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0 ||
	    !take_number(&p, '-', UINT64_MAX, &ns) || !take_number(&p, '-', INT32_MAX, &pid) ||
	    !take_number(&p, '-', UINT64_MAX, &start) || !take_number(&p, 0, UINT32_MAX, &seq) ||
	    pid == 0)
		return false;
	*ret = (struct cgroup_name){
		.pid_ns = ns, .start = start, .pid = (int32_t)pid, .seq = (uint32_t)seq
	};
	return true;
}

void cgroup_name_format(const struct cgroup_name *n, char ret[static CGROUP_NAME_MAX])
{
	(void)snprintf(ret, CGROUP_NAME_MAX, "ktstr-%" PRIu64 "-%d-%" PRIu64 "-%u", n->pid_ns,
		       n->pid, n->start, n->seq);
}

/* ---- the choice ---- */

enum cgroup_verdict cgroup_judge(const struct cgroup_facts *f)
{
	if (!f->has_cpuset)
		return CGROUP_NO_CPUSET;
	if (!f->is_domain)
		return CGROUP_THREADED;
	if (!f->is_writable)
		return CGROUP_NOT_WRITABLE;
	if (!f->is_own && !f->is_delegated)
		return CGROUP_NOT_DELEGATED;
	if (f->n_others && !f->is_root)
		return CGROUP_HAS_PROCESSES;
	return CGROUP_USABLE;
}

const char *cgroup_verdict_text(enum cgroup_verdict v)
{
	static const char *const texts[] = {
		[CGROUP_NO_HIERARCHY] = "this process is in no mounted cgroup of version 2",
		[CGROUP_NO_CPUSET] = "the cpuset controller is not available to this process's "
				     "cgroup (`systemd-run --scope -p Delegate=yes` gives it one "
				     "where the host uses cgroup v2)",
		[CGROUP_THREADED] = "this process's cgroup is one of threads",
		[CGROUP_NOT_WRITABLE] = "this user may not make cgroups with a cpuset here "
					"(`systemd-run --user --scope "
					"-p Delegate=yes` may, where cpuset is delegated to users)",
		[CGROUP_NOT_DELEGATED] =
		    "no cgroup around this process was delegated (`systemd-run "
		    "--scope -p Delegate=yes` starts it in one)",
		[CGROUP_HAS_PROCESSES] =
		    "this process's cgroup holds other processes, too (`systemd-run --scope "
		    "-p Delegate=yes` starts it in one of its own)",
		[CGROUP_USABLE] = "yes",
	};

	return texts[v];
}

/* ---- this host ---- */

/* The text of FOLDER/NAME; "" where it cannot be read. */
static const char *read_text(const char *folder, const char *name, struct buf *to)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);
	struct error err;

	to->len = 0;
	return file_read(path, PROC_TEXT_MAX, to, &err) < 0 ? "" : buf_str(to);
}

static bool may(const char *folder, const char *name, int mode)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);

	return access(path, mode) == 0;
}

static bool was_delegated(const char *folder)
{
	static const char *const marks[] = { "trusted.delegate", "user.delegate" };
	struct stat st;
	char value[4];

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (getxattr(folder, marks[i], value, sizeof(value)) == 1 && value[0] == '1')
			return true;
	return geteuid() != 0 && stat(folder, &st) == 0 && st.st_uid == geteuid();
}

static uint32_t count_lines(const char *text)
{
	uint32_t n = 0;

	for (; *text; text = next_line(text))
		n++;
	return n;
}

static void read_facts(const char *folder, bool is_own, struct cgroup_facts *ret)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	*ret = (struct cgroup_facts){ .is_own = is_own };
	ret->is_root = !may(folder, "cgroup.type", F_OK);
	ret->is_domain =
	    ret->is_root || strcmp(read_text(folder, "cgroup.type", &text), "domain\n") == 0;
	ret->has_cpuset = has_word(read_text(folder, "cgroup.controllers", &text), "cpuset");
	ret->gives_cpuset = has_word(read_text(folder, "cgroup.subtree_control", &text), "cpuset");
	ret->is_writable = may(folder, ".", W_OK | X_OK) && may(folder, "cgroup.procs", W_OK) &&
			   (ret->gives_cpuset || may(folder, "cgroup.subtree_control", W_OK));
	ret->is_delegated = was_delegated(folder);
	uint32_t n = count_lines(read_text(folder, "cgroup.procs", &text));
	ret->n_others = is_own && n ? n - 1 : n;
}

/* The own cgroup's folder; how long that of the mount is. */
static int find_own(const char *proc, struct buf *ret, size_t *ret_top_len)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	CLEANUP(buf_fini) struct buf own = { 0 };
	int res = cgroup_parse_own(read_text(proc, "self/cgroup", &text), &own);

	if (res < 0)
		return res;
	return cgroup_parse_mounts(read_text(proc, "self/mountinfo", &text), buf_str(&own), ret,
				   ret_top_len);
}

/* Cuts the last name off; false at the mount point. */
static bool go_up(struct buf *folder, size_t top_len)
{
	if (folder->len <= top_len)
		return false;
	while (folder->len > top_len && folder->data[folder->len - 1] != '/')
		folder->len--;
	if (folder->len > top_len)
		folder->len--;
	return true;
}

void cgroup_each_folder(const char *proc, void (*fn)(void *ctx, const char *folder), void *ctx)
{
	CLEANUP(buf_fini) struct buf folder = { 0 };
	size_t top_len = 0;

	if (find_own(proc, &folder, &top_len) < 0)
		return;
	do
		fn(ctx, buf_str(&folder));
	while (go_up(&folder, top_len));
}

/* Where a process of ours stepped aside: its own cgroup is the one above, then as before. */
static bool is_leaf_of_ours(const char *folder)
{
	const char *slash = strrchr(folder, '/');
	struct cgroup_name name;

	return slash && cgroup_name_parse(slash + 1, &name) && name.seq == CGROUP_SEQ_LEAF;
}

static void consider(void *ctx, const char *folder)
{
	struct cgroup_place *best = ctx;
	bool is_own = best->path.len == 0;
	struct cgroup_facts facts;

	if (best->verdict == CGROUP_USABLE || (is_own && is_leaf_of_ours(folder)))
		return;
	read_facts(folder, is_own, &facts);
	enum cgroup_verdict v = cgroup_judge(&facts);
	if (v > best->verdict) {
		best->verdict = v;
		best->facts = facts;
	}
	best->path.len = 0;
	buf_append_str(&best->path, folder);
}

void cgroup_place_find(const char *proc, struct cgroup_place *ret)
{
	*ret = (struct cgroup_place){ .verdict = CGROUP_NO_HIERARCHY };
	cgroup_each_folder(proc, consider, ret);
}

void cgroup_place_fini(struct cgroup_place *p)
{
	buf_fini(&p->path);
}
