#include "harness/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"

enum { SWEEP_WAIT_MS = 1000 };

static const char *proc_of(const char *proc)
{
	return proc ? proc : "/proc";
}

/* ---- files of a cgroup ---- */

static int write_text(const char *folder, const char *name, const char *text)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);
	CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	/* One write: the kernel takes each for a value of its own. */
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

static int read_set(const char *folder, const char *name, struct id_set *ret)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct error err;

	if (file_read(path, 65536, &text, &err) < 0)
		return err.code;
	return id_set_parse(buf_str(&text), ret);
}

/* "populated 0" of cgroup.events; a change of it is an event. */
static bool wait_empty(const char *folder, int wait_ms)
{
	CLEANUP(freep) char *path = xasprintf("%s/cgroup.events", folder);
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t end_ns = clock_now_ns() + (uint64_t)wait_ms * NS_PER_MS;
	char text[128];

	while (fd >= 0) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		uint64_t now_ns = clock_now_ns();
		text[n > 0 ? n : 0] = 0;
		if (n <= 0 || strstr(text, "populated 0"))
			return true; /* or it is gone */
		if (now_ns >= end_ns)
			return false;
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		(void)poll(&p, 1, (int)((end_ns - now_ns) / NS_PER_MS) + 1); /* the loop looks */
	}
	return true;
}

static bool kill_all(const char *folder)
{
	return write_text(folder, "cgroup.kill", "1") == 0;
}

static bool remove_folder(const char *folder, int wait_ms)
{
	if (rmdir(folder) == 0 || errno == ENOENT)
		return true;
	if (errno != EBUSY)
		return false;
	(void)kill_all(folder); /* else whoever is inside may end by itself */
	return wait_empty(folder, wait_ms) && (rmdir(folder) == 0 || errno == ENOENT);
}

/* ---- names ---- */

static bool read_stat(const char *proc, int32_t pid, uint64_t *ret_start)
{
	CLEANUP(freep) char *path = xasprintf("%s/%d/stat", proc, pid);
	char stat[1024];

	return file_read_line(path, stat, sizeof(stat)) == 0 && cgroup_parse_stat(stat, ret_start);
}

static bool read_pid_ns(const char *proc, uint64_t *ret)
{
	CLEANUP(freep) char *path = xasprintf("%s/self/ns/pid", proc);
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*ret = st.st_ino;
	return true;
}

static bool make_name(const char *proc, uint32_t seq, char ret[static CGROUP_NAME_MAX])
{
	struct cgroup_name n = { .pid = getpid(), .seq = seq };

	if (!read_stat(proc, n.pid, &n.start) || !read_pid_ns(proc, &n.pid_ns))
		return false;
	cgroup_name_format(&n, ret);
	return true;
}

/* ---- making one ---- */

/* Out of the way into a child: a cgroup with children that have controllers has no processes. */
static int step_aside(const char *proc, const char *parent, struct error *err)
{
	char name[CGROUP_NAME_MAX];

	if (!make_name(proc, CGROUP_SEQ_LEAF, name))
		return error_set_text(err, -ENOENT, "'%s' is not readable", proc);
	CLEANUP(freep) char *leaf = xasprintf("%s/%s", parent, name);
	if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
		return error_set(err, errno, "cannot make cgroup '%s'", leaf);
	int res = write_text(leaf, "cgroup.procs", "0");
	return res < 0 ? error_set(err, res, "cannot move to cgroup '%s'", leaf) : 0;
}

static int make_folder(struct cgroup *c, const char *proc, uint32_t seq, struct error *err)
{
	CLEANUP(cgroup_place_fini) struct cgroup_place place;
	char name[CGROUP_NAME_MAX];
	int res = 0;

	cgroup_place_find(proc, &place);
	if (place.verdict != CGROUP_USABLE)
		return error_set_text(err, -EOPNOTSUPP, "%s", cgroup_verdict_text(place.verdict));
	const char *parent = buf_str(&place.path);
	if (place.facts.is_own && !place.facts.is_root && step_aside(proc, parent, err) < 0)
		return err->code;
	if (!place.facts.gives_cpuset)
		res = write_text(parent, "cgroup.subtree_control", "+cpuset");
	if (res < 0)
		return error_set(err, res, "cannot give cgroups in '%s' a cpuset", parent);
	if (!make_name(proc, seq, name))
		return error_set_text(err, -ENOENT, "'%s' is not readable", proc);
	CLEANUP(freep) char *folder = xasprintf("%s/%s", parent, name);
	if (mkdir(folder, 0755) < 0)
		return error_set(err, errno, "cannot make cgroup '%s'", folder);
	c->folder = TAKE_PTR(folder);
	return 0;
}

enum part_result { PART_AS_ASKED, PART_DIFFERS /* with a text in @err */ };

/* Asks for @want and reads back what it got: enum part_result, or negative errno. */
static int set_part(const struct cgroup *c, const char *part, const struct id_set *want,
		    struct id_set *ret_got, struct error *err)
{
	CLEANUP(freep) char *file = xasprintf("cpuset.%s", part);
	CLEANUP(freep) char *effective = xasprintf("cpuset.%s.effective", part);
	CLEANUP(buf_fini) struct buf text = { 0 };
	CLEANUP(buf_fini) struct buf got = { 0 };
	bool limits = want && !id_set_is_empty(want);

	if (limits) {
		id_set_format(want, &text);
		int res = write_text(c->folder, file, buf_str(&text));
		if (res < 0)
			return error_set(err, res, "%s refuses '%.200s'", file, buf_str(&text));
	}
	int res = read_set(c->folder, effective, ret_got);
	if (res < 0)
		return error_set(err, res, "cannot read %s", effective);
	if (!limits || id_set_is_equal(want, ret_got))
		return PART_AS_ASKED;
	id_set_format(ret_got, &got);
	(void)error_set_text(err, -ERANGE, "%s: asked for %.200s, the host gives %.200s", file,
			     buf_str(&text), buf_str(&got));
	return PART_DIFFERS;
}

static void add_note(struct cgroup *c, const char *text)
{
	size_t n = strlen(c->note);

	(void)snprintf(c->note + n, sizeof(c->note) - n, "%s%s", n ? "; " : "", text);
}

/* What is another set than asked for is kept and noted, unless nothing less will do. */
static int fill(struct cgroup *c, const struct cgroup_request *r, struct error *err)
{
	const struct {
		const char *part;
		const struct id_set *want;
		struct id_set *got;
	} parts[] = { { "cpus", r->cpus, &c->cpus }, { "mems", r->mems, &c->mems } };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int res = set_part(c, parts[i].part, parts[i].want, parts[i].got, err);
		if (res < 0 || (res == PART_DIFFERS && r->is_required))
			return err->code;
		if (res == PART_DIFFERS)
			add_note(c, err->text);
	}
	CLEANUP(freep) char *path = xasprintf("%s/cgroup.procs", c->folder);
	c->procs_fd = open(path, O_WRONLY | O_CLOEXEC);
	return c->procs_fd < 0 ? error_set(err, errno, "cannot open '%s'", path) : 0;
}

int cgroup_open(struct cgroup *ret, const struct cgroup_request *request, uint32_t seq,
		struct error *err)
{
	struct cgroup *c = ret;

	*c = CGROUP_INIT;
	if (seq == 1) {
		CLEANUP(cgroup_sweep_fini) struct cgroup_sweep swept;
		cgroup_sweep(request->proc, &swept);
	}
	int res = make_folder(c, proc_of(request->proc), seq, err);
	if (res == 0)
		res = fill(c, request, err);
	c->is_active = res == 0;
	if (c->is_active)
		return 0;
	(void)cgroup_close(
	    c, 0); /* empty, and only a host that changes right now keeps it: the next sweep's */
	if (request->is_required) {
		(void)error_prefix(err, "no cgroup with the CPUs and nodes of the plan");
		return error_classify(err, ERROR_SKIP);
	}
	add_note(c, err->text);
	return 0;
}

int cgroup_enter(const struct cgroup *c)
{
	if (!c->is_active)
		return 0;
	return write(c->procs_fd, "0", 1) < 0 ? -errno : 0;
}

bool cgroup_kill(const struct cgroup *c)
{
	return c->is_active && kill_all(c->folder);
}

bool cgroup_close(struct cgroup *c, int wait_ms)
{
	bool gone = !c->folder || remove_folder(c->folder, wait_ms);

	fd_closep(&c->procs_fd);
	freep(&c->folder);
	c->is_active = false;
	return gone;
}

/* ---- sweeping ---- */

struct sweep {
	struct cgroup_sweep *result;
	const char *proc;
	uint64_t pid_ns;
};

static void sweep_one(struct sweep *s, const char *folder, const char *name)
{
	struct cgroup_sweep *result = s->result;
	struct cgroup_name n;
	uint64_t start;

	if (!cgroup_name_parse(name, &n))
		return;
	if (n.pid_ns != s->pid_ns) {
		result->n_refused++; /* whether its owner lives cannot be seen from here */
		return;
	}
	if (read_stat(s->proc, n.pid, &start) && start == n.start) {
		result->n_in_use++;
		return;
	}
	CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);
	if (!remove_folder(path, SWEEP_WAIT_MS)) {
		result->n_refused++;
		return;
	}
	result->n_removed++;
	buf_printf(&result->removed, "%s\n", path);
}

static void sweep_folder(void *ctx, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	if (!dir)
		return;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own */
	while ((e = readdir(dir)))
		sweep_one(ctx, folder, e->d_name);
	(void)closedir(dir);
}

void cgroup_sweep(const char *proc, struct cgroup_sweep *ret)
{
	struct sweep s = { .result = ret, .proc = proc_of(proc) };

	*ret = (struct cgroup_sweep){ 0 };
	if (read_pid_ns(s.proc, &s.pid_ns))
		cgroup_each_folder(s.proc, sweep_folder, &s);
}

void cgroup_sweep_fini(struct cgroup_sweep *s)
{
	buf_fini(&s->removed);
}
