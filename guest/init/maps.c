/* Lines of "begin-end perms offset device inode   path". */
#include "maps.h"

#include <inttypes.h>
#include <string.h>

static bool parse_line(char *line, struct map *ret)
{
	char perms[5];
	int path_at = 0;

	line[strcspn(line, "\n")] = '\0';
	/* Numbers of the kernel's own making: no range errors to see. */
	// NOLINTNEXTLINE(cert-err34-c)
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &ret->begin,
		   &ret->end, perms, &ret->file_offset, &path_at) < 4)
		return false;
	if (perms[2] != 'x' || path_at == 0 || line[path_at] == '\0')
		return false;

	const char *path = line + path_at;
	size_t n = strlen(path);
	if (n >= sizeof(ret->path)) {
		path += n - sizeof(ret->path) + 1;
		n = sizeof(ret->path) - 1;
	}
	memcpy(ret->path, path, n + 1);
	return true;
}

void maps_read(FILE *in, struct maps *ret)
{
	char line[4096 + 128]; /* PATH_MAX and the columns */

	ret->n = 0;
	while (ret->n < MAPS_MAX && fgets(line, sizeof(line), in) != NULL) {
		if (parse_line(line, &ret->list[ret->n]))
			ret->n++;
	}
}

const struct map *maps_find(const struct maps *m, uint64_t addr)
{
	for (size_t i = 0; i < m->n; i++) {
		if (addr >= m->list[i].begin && addr < m->list[i].end)
			return &m->list[i];
	}
	return NULL;
}
