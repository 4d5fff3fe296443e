#include "image/kernel_entry.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

void kernel_entry_fini(struct kernel_entry *e)
{
	freep(&e->name);
	freep(&e->image);
	freep(&e->modules_dir);
	freep(&e->source);
}

static char *find_image(const char *root, const char *name)
{
	static const char *const files[] = { "vmlinuz", "vmlinux" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s/%s", root, name, files[i]);
		struct stat st;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			return TAKE_PTR(path);
	}
	return NULL;
}

/* The one folder in lib/modules. */
static char *find_modules(const char *root, const char *name)
{
	CLEANUP(freep) char *parent = xasprintf("%s/%s/lib/modules", root, name);
	DIR *d = opendir(parent);
	char *ret = NULL;

	if (!d)
		return NULL;
	for (struct dirent *de; !ret && (de = readdir(d));) /* NOLINT(concurrency-mt-unsafe) */
		if (de->d_name[0] != '.')
			ret = xasprintf("%s/%s", parent, de->d_name);
	(void)closedir(d);
	return ret;
}

static char *read_source(const char *root, const char *name)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s/source", root, name);
	char line[512];

	return file_read_line(path, line, sizeof(line)) < 0 ? NULL : xstrdup(line);
}

bool kernel_entry_load(const char *root, const char *name, struct kernel_entry *ret)
{
	char *image = find_image(root, name);

	if (!image)
		return false;
	*ret = (struct kernel_entry){
		.name = xstrdup(name),
		.image = image,
		.modules_dir = find_modules(root, name),
		.source = read_source(root, name),
	};
	return true;
}
