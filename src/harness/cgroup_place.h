/*
 * Where this process may make cgroups with a cpuset: pure decisions from the kernel's texts, and a thin reader of them.
 *
 * Candidates are the process's own cgroup (version 2) and those above it, nearest first. One will do if it has the cpuset
 * controller, may be written, and has no processes of its own, because the kernel lets none have both processes and children
 * with controllers ("no internal processes"). Two exceptions: the hierarchy's root, and a cgroup whose only process is this one,
 * which can move to a child of its own. One above the own is not ours to use unless it was delegated: by systemd's mark, or
 * because it belongs to this user, who is not root.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* Path in the hierarchy from /proc/PID/cgroup ("0::/a/b"). -ENOENT: no version 2, or the cgroup was deleted. */
MUST_CHECK int cgroup_parse_own(const char *proc_cgroup, struct buf *ret);
/*
 * The folder of cgroup @path, and in @ret_top_len how much of it is the mount point, from /proc/PID/mountinfo. -ENOENT: no
 * mount of cgroup version 2 shows @path.
 */
MUST_CHECK int cgroup_parse_mounts(const char *mountinfo, const char *path, struct buf *ret,
				   size_t *ret_top_len);

struct cgroup_facts {
	bool is_own;       /* this process is in it */
	bool is_root;      /* the root of the hierarchy, not only of a namespace */
	bool is_domain;    /* and no cgroup of threads */
	bool has_cpuset;   /* cgroup.controllers */
	bool gives_cpuset; /* cgroup.subtree_control */
	bool
	    is_writable; /* children, cgroup.procs, and cgroup.subtree_control if that lacks cpuset */
	bool is_delegated; /* to whom may not write what is above */
	uint32_t n_others; /* processes in it but this one */
};

/* In the order in which more of what is needed is there: of several, the last is the one to tell. */
enum cgroup_verdict {
	CGROUP_NO_HIERARCHY,
	CGROUP_NO_CPUSET,
	CGROUP_THREADED,
	CGROUP_NOT_WRITABLE,
	CGROUP_NOT_DELEGATED,
	CGROUP_HAS_PROCESSES,
	CGROUP_USABLE,
};
enum cgroup_verdict cgroup_judge(const struct cgroup_facts *f);
/* "the cpuset controller is not delegated to this process (...)": why not, and what to do. */
const char *cgroup_verdict_text(enum cgroup_verdict v);

struct cgroup_place {
	enum cgroup_verdict verdict;
	struct buf path; /* CGROUP_USABLE: the folder that takes our cgroups */
	struct cgroup_facts facts;
};

/* Looks; changes nothing. @proc is "/proc". What cannot be read is a reason, no error. */
void cgroup_place_find(const char *proc, struct cgroup_place *ret);
void cgroup_place_fini(struct cgroup_place *p);
/*
 * Calls @fn with the folder of the own cgroup and of each above it, as far as they are mounted. Where
 * cgroups of ours can be, whatever the choice was when they were made.
 */
void cgroup_each_folder(const char *proc, void (*fn)(void *ctx, const char *folder), void *ctx);

/*
 * Names of our cgroups: ktstr-PIDNS-PID-START-SEQ, of the process that made it: its pid namespace, its pid in there and its start
 * time tell whether it still runs, also when its pid was used again.
 */
struct cgroup_name {
	uint64_t pid_ns;
	uint64_t start; /* clock ticks since boot */
	int32_t pid;
	uint32_t seq;
};
enum { CGROUP_NAME_MAX = 96, CGROUP_SEQ_LEAF = 0 /* the maker itself stepped aside into it */ };
bool cgroup_name_parse(const char *name, struct cgroup_name *ret);
void cgroup_name_format(const struct cgroup_name *n, char ret[static CGROUP_NAME_MAX]);

/* From /proc/PID/stat; false when it is none, or of a process that has ended and only waits for its parent (a zombie). */
bool cgroup_parse_stat(const char *stat, uint64_t *ret_start);
