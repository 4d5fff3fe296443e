#include "plan/tickets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"

enum { TEXT_MAX = 65536, NUMBER_DIGITS = 10, ATTEMPTS = 1000 };

/* Text */

static const char format_magic[] = "ktstr-ticket 1";

void ticket_format(const struct plan_request *r, uint64_t arrived_ns, struct buf *to)
{
	const struct plan_guest *g = &r->guest;

	buf_printf(to, "%s %" PRIu64 " %d %d %d %u %u %u %u", format_magic, arrived_ns,
		   (int)r->tier, (int)r->budget, r->spread, r->n_cpus, r->offset, g->cores_per_llc,
		   g->threads_per_core);
	for (uint32_t i = 0; i < g->n_nodes; i++)
		buf_printf(to, "%c%u", i ? ',' : ' ', g->node_llcs[i]);
	buf_append_str(to, " ");
	id_set_format(&r->allowed, to);
	buf_append_str(to, "\n");
}

static int parse_nodes(const char *text, struct plan_guest *g)
{
	char *end;

	for (;;) {
		unsigned long n = strtoul(text, &end, 10);
		if (end == text || n > ID_SET_MAX || g->n_nodes == PLAN_MAX_GUEST_NODES)
			return -EINVAL;
		g->node_llcs[g->n_nodes++] = (uint32_t)n;
		g->n_llcs += (uint32_t)n;
		if (*end == 0)
			return 0;
		if (*end != ',')
			return -EINVAL;
		text = end + 1;
	}
}

/* What a stranger wrote must not take the planner out of its bounds. */
static bool is_sane(const struct plan_request *r, int tier, int budget)
{
	const struct plan_guest *g = &r->guest;

	return tier >= PLAN_DEFAULT && tier <= PLAN_PERFORMANCE && budget >= PLAN_BUDGET_AUTO &&
	       budget <= PLAN_BUDGET_AUTHOR && g->n_llcs >= 1 && g->n_llcs <= ID_SET_MAX &&
	       g->cores_per_llc >= 1 && g->cores_per_llc <= ID_SET_MAX &&
	       g->threads_per_core >= 1 && g->threads_per_core <= ID_SET_MAX &&
	       (uint64_t)g->n_llcs * g->cores_per_llc * g->threads_per_core <= ID_SET_MAX;
}

int ticket_parse(const char *text, struct queue_entry *ret)
{
	CLEANUP(freep) char *allowed = xmalloc(TEXT_MAX);
	struct queue_entry e = { 0 };
	struct plan_request *r = &e.request;
	char nodes[1024];
	int tier;
	int budget;
	int spread;

	if (strlen(text) >= TEXT_MAX || strncmp(text, format_magic, sizeof(format_magic) - 1) != 0)
		return -EINVAL;
	/* NOLINTNEXTLINE(cert-err34-c): ranges are checked below */
	if (sscanf(text + sizeof(format_magic) - 1,
		   " %" SCNu64 " %d %d %d %u %u %u %u %1023s %65535s", &e.arrived_ns, &tier,
		   &budget, &spread, &r->n_cpus, &r->offset, &r->guest.cores_per_llc,
		   &r->guest.threads_per_core, nodes, allowed) != 10 ||
	    parse_nodes(nodes, &r->guest) < 0 || id_set_parse(allowed, &r->allowed) < 0 ||
	    !is_sane(r, tier, budget))
		return -EINVAL;
	r->tier = (enum plan_tier)tier;
	r->budget = (enum plan_budget)budget;
	r->spread = spread;
	*ret = e;
	return 0;
}

/* Others' tickets */

static bool parse_number(const char *name, uint64_t *ret)
{
	if (strlen(name) != NUMBER_DIGITS || strspn(name, "0123456789") != NUMBER_DIGITS)
		return false;
	*ret = strtoull(name, NULL, 10);
	return true;
}

static void format_number(uint64_t number, char name[static NUMBER_DIGITS + 1])
{
	for (int i = NUMBER_DIGITS; i-- > 0; number /= 10)
		name[i] = (char)('0' + number % 10);
	name[NUMBER_DIGITS] = 0;
}

/* Its owner holds an exclusive lock; the kernel gives ours only when that has ended. */
static bool is_alive(int fd)
{
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	(void)flock(fd, LOCK_UN); /* ours */
	return false;
}

static struct ticket *ticket_free(struct ticket *k)
{
	fd_closep(&k->fd);
	free(k);
	return NULL;
}

/* NULL: gone, dead, or not to be understood. */
static struct ticket *ticket_open(const struct tickets *t, const char *name, uint64_t number)
{
	CLEANUP(fd_closep)
	int fd = openat(t->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	CLEANUP(freep) char *text = xmalloc(TEXT_MAX);
	struct queue_entry entry;

	if (fd < 0)
		return NULL;
	if (!is_alive(fd)) {
		(void)unlinkat(t->dir_fd, name, 0); /* another's, in a sticky folder: stays */
		return NULL;
	}
	ssize_t n = pread(fd, text, TEXT_MAX - 1, 0);
	if (n < 0)
		return NULL;
	text[n] = 0;
	if (ticket_parse(text, &entry) < 0)
		return NULL;
	struct ticket *k = xcalloc(1, sizeof(*k));
	*k = (struct ticket){ .entry = entry, .number = number, .fd = TAKE_FD(fd) };
	return k;
}

static struct ticket *find(const struct tickets *t, uint64_t number)
{
	for (size_t i = 0; i < t->n_all; i++)
		if (t->all[i]->number == number)
			return t->all[i];
	return NULL;
}

static void list_ticket(struct tickets *t, const char *name, uint64_t number)
{
	struct ticket *k = find(t, number);

	if (k) {
		k->is_listed = true;
		return;
	}
	if (t->n_all == TICKETS_MAX_EARLIER)
		return;
	k = ticket_open(t, name, number);
	if (!k)
		return;
	k->is_listed = true;
	t->all = xreallocarray(t->all, t->n_all + 1, sizeof(void *));
	t->all[t->n_all++] = k;
}

static int compare_tickets(const void *a, const void *b)
{
	const struct ticket *x = *(struct ticket *const *)a;
	const struct ticket *y = *(struct ticket *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

static void drop_dead(struct tickets *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_all; i++) {
		struct ticket *k = t->all[i];
		if (k->is_listed && is_alive(k->fd)) {
			t->all[n++] = k;
			continue;
		}
		if (k->is_listed) {
			char name[NUMBER_DIGITS + 1];
			format_number(k->number, name);
			(void)unlinkat(t->dir_fd, name, 0); /* as above */
		}
		(void)ticket_free(k);
	}
	t->n_all = n;
}

/* -ENOENT: there is none, without @create. */
static int open_folder(struct tickets *t, const struct lock_dir *dir, bool create,
		       struct error *err)
{
	if (t->dir_fd >= 0)
		return 0;
	int fd = lock_dir_open_folder(dir->fd, LOCK_WAIT_FOLDER, create);
	if (fd < 0)
		return error_set(err, fd, "lock folder '%s/wait'", dir->path);
	t->dir_fd = fd;
	return 0;
}

/* Calls @fn for each ticket's name. */
static int for_each_name(struct tickets *t, void (*fn)(struct tickets *, const char *, uint64_t),
			 struct error *err)
{
	int fd = openat(t->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	uint64_t number;

	if (!dir) {
		int code = errno;
		(void)fd_close(fd);
		return error_set(err, code, "lock folder's 'wait'");
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own */
	while ((e = readdir(dir)))
		if (parse_number(e->d_name, &number))
			fn(t, e->d_name, number);
	(void)closedir(dir);
	return 0;
}

static void list_if_earlier(struct tickets *t, const char *name, uint64_t number)
{
	if (t->own_fd < 0 || number < t->own_number)
		list_ticket(t, name, number);
}

int tickets_read(struct tickets *t, const struct lock_dir *dir, struct error *err)
{
	int res = open_folder(t, dir, false, err);
	if (res < 0) {
		t->n_earlier = 0;
		return res == -ENOENT ? 0 : res; /* nobody ever waited here */
	}
	for (size_t i = 0; i < t->n_all; i++)
		t->all[i]->is_listed = false;
	if (for_each_name(t, list_if_earlier, err) < 0)
		return err->code;
	drop_dead(t);
	t->n_earlier = t->n_all;
	if (t->n_all == 0)
		return 0;
	qsort(t->all, t->n_all, sizeof(void *), compare_tickets);
	t->earlier = xreallocarray(t->earlier, t->n_all, sizeof(void *));
	for (size_t i = 0; i < t->n_all; i++)
		t->earlier[i] = &t->all[i]->entry;
	return 0;
}

/* One's own */

static void note_largest(struct tickets *t, const char *name UNUSED, uint64_t number)
{
	if (number > t->own_number)
		t->own_number = number;
}

/* A file with the text, locked before anybody can see it under a number. */
static int make_file(struct tickets *t, const struct buf *text, char *temp, size_t n_temp)
{
	CLEANUP(fd_closep) int fd = -1;

	for (unsigned i = 0; fd < 0; i++) {
		(void)snprintf(temp, n_temp, "new.%d.%u", (int)getpid(), i);
		fd = openat(t->dir_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 && (errno != EEXIST || i == ATTEMPTS))
			return -errno;
	}
	int res = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (res == 0)
		res = fchmod(fd, 0644) < 0 ? -errno
					   : 0; /* whatever the umask: others have to read it */
	if (res == 0)
		res = fd_write_all(fd, text->data, text->len);
	if (res < 0) {
		(void)unlinkat(t->dir_fd, temp, 0); /* res tells */
		return res;
	}
	return TAKE_FD(fd);
}

static int give_number(struct tickets *t, const char *temp, struct error *err)
{
	char name[NUMBER_DIGITS + 1];

	t->own_number = 0;
	if (for_each_name(t, note_largest, err) < 0)
		return err->code;
	for (int i = 0; i < ATTEMPTS; i++) {
		format_number(++t->own_number, name);
		if (renameat2(t->dir_fd, temp, t->dir_fd, name, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return error_set(err, errno, "lock folder's 'wait/%s'", name);
}

int tickets_take(struct tickets *t, const struct lock_dir *dir, const struct plan_request *request,
		 uint64_t now_ns, struct error *err)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	CLEANUP(fd_closep) int fd = -1;
	char temp[64];

	ASSERT(t->own_fd < 0);
	if (open_folder(t, dir, true, err) < 0)
		return err->code;
	ticket_format(request, now_ns, &text);
	fd = make_file(t, &text, temp, sizeof(temp));
	if (fd < 0)
		return error_set(err, fd, "cannot write to '%s/wait'", dir->path);
	if (give_number(t, temp, err) < 0) {
		(void)unlinkat(t->dir_fd, temp, 0); /* err tells */
		return err->code;
	}
	t->own_fd = TAKE_FD(fd);
	return 0;
}

void tickets_leave(struct tickets *t)
{
	char name[NUMBER_DIGITS + 1];

	if (t->own_fd < 0)
		return;
	format_number(t->own_number, name);
	(void)unlinkat(t->dir_fd, name, 0); /* or the next who sees it does */
	fd_closep(&t->own_fd);
}

void tickets_fini(struct tickets *t)
{
	tickets_leave(t);
	for (size_t i = 0; i < t->n_all; i++)
		(void)ticket_free(t->all[i]);
	freep(&t->all);
	freep(&t->earlier);
	t->n_all = 0;
	t->n_earlier = 0;
	fd_closep(&t->dir_fd);
}
