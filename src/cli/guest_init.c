#include "cli/guest_init.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"

extern const uint8_t guest_init_begin[], guest_init_end[];

int guest_init_path(const char *cache_dir, char **ret, struct error *err)
{
	size_t size = (size_t)(guest_init_end - guest_init_begin);
	char key[HASH_TEXT_MAX];
	struct hash *h = hash_new();
	struct stat st;

	hash_update(h, guest_init_begin, size);
	hash_format(h, key);
	(void)hash_free(h);
	CLEANUP(freep) char *dir = xasprintf("%s/init", cache_dir);
	CLEANUP(freep) char *path = xasprintf("%s/ktstr-init-%s", dir, key);
	if (stat(path, &st) < 0 || st.st_size != (off_t)size)
		if (file_make_dirs(dir, 0755, err) < 0 ||
		    file_replace(path, 0555, guest_init_begin, size, err) < 0)
			return err->code;
	*ret = TAKE_PTR(path);
	return 0;
}
