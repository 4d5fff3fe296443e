#include "plan/proc_locks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies the line at *@text, cut to @n, and moves behind it; false at the end. */
static bool next_line(const char **text, char *ret, size_t n)
{
	size_t len = strcspn(*text, "\n");

	if (!**text)
		return false;
	size_t keep = len < n ? len : n - 1;
	memcpy(ret, *text, keep);
	ret[keep] = 0;
	*text += len + ((*text)[len] == '\n');
	return true;
}

/* "1: FLOCK  ADVISORY  WRITE 4853 fe:00:11108893 0 EOF"; a waiter has "->" behind the colon. */
static bool parse_lock(const char *line, struct proc_lock *ret)
{
	char type[16];
	char mode[16];
	unsigned major;
	unsigned minor;
	uint64_t ino;
	int pid;

	/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers; what does not parse is passed over */
	if (sscanf(line, "%*u: %15s %*15s %15s %d %x:%x:%" SCNu64, type, mode, &pid, &major, &minor,
		   &ino) != 6 ||
	    strcmp(type, "FLOCK") != 0)
		return false;
	*ret = (struct proc_lock){ .pid = pid,
				   .dev_major = major,
				   .dev_minor = minor,
				   .ino = ino,
				   .exclusive = strcmp(mode, "WRITE") == 0 };
	return true;
}

bool proc_locks_next(const char **text, struct proc_lock *ret)
{
	char line[256];

	while (next_line(text, line, sizeof(line)))
		if (parse_lock(line, ret))
			return true;
	return false;
}

/* "36 35 98:0 /root /point rw shared:1 - ext4 /dev/sda rw": optional fields end with a dash. */
static bool parse_mount(const char *line, uint64_t mnt_id, struct mount_info *ret)
{
	struct mount_info info = { 0 };
	uint64_t id;

	/* NOLINTNEXTLINE(cert-err34-c): as above */
	if (sscanf(line, "%" SCNu64 " %*u %u:%u", &id, &info.dev_major, &info.dev_minor) != 3 ||
	    id != mnt_id)
		return false;
	const char *dash = strstr(line, " - ");
	if (!dash || sscanf(dash + 3, "%63s", info.type) != 1)
		return false;
	*ret = info;
	return true;
}

int mountinfo_find(const char *mountinfo, uint64_t mnt_id, struct mount_info *ret)
{
	char line
	    [8192]; /* two paths and options; a longer line is cut, and looked up all the same if its type is left */

	while (next_line(&mountinfo, line, sizeof(line)))
		if (parse_mount(line, mnt_id, ret))
			return 0;
	return -ENOENT;
}

bool mount_type_is_remote(const char *type)
{
	static const char *const remote[] = {
		"9p",        "afs",   "beegfs", "ceph",  "cifs",   "coda",     "fuse",   "gfs2",
		"glusterfs", "gpfs",  "lustre", "ncpfs", "nfs",    "nfs4",     "ocfs2",  "orangefs",
		"prl_fs",    "pvfs2", "smb3",   "smbfs", "vboxsf", "virtiofs", "vmhgfs",
	};

	for (size_t i = 0; i < ARRAY_SIZE(remote); i++)
		if (strcmp(type, remote[i]) == 0)
			return true;
	return strncmp(type, "fuse.", 5) == 0;
}

static bool parse_field(const char *text, const char *key, uint64_t *ret)
{
	const char *p = text;

	while (p && strncmp(p, key, strlen(key)) != 0) {
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
	/* NOLINTNEXTLINE(cert-err34-c): as above */
	return p && sscanf(p + strlen(key), "%" SCNu64, ret) == 1;
}

int fdinfo_parse(const char *fdinfo, struct fd_info *ret)
{
	struct fd_info info;

	if (!parse_field(fdinfo, "mnt_id:", &info.mnt_id) ||
	    !parse_field(fdinfo, "ino:", &info.ino))
		return -ENOENT;
	*ret = info;
	return 0;
}
