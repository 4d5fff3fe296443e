/*
 * Parses the configuration in place: strings are not copied, arrays point into the text. Host and
 * guest are one build, so an unknown key is an error and not a key of the future.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/guest_config.h"

enum {
	CONFIG_SIZE_MAX = 4 * 1024 * 1024, /* arguments and environment: the kernel takes no more */
};

/* The value when @record is "@key=value". */
static char *value_of(char *record, const char *key)
{
	size_t n = strlen(key);

	return strncmp(record, key, n) == 0 && record[n] == '=' ? record + n + 1 : NULL;
}

/* All values of @key in order, with room for one more; NULL when out of memory. */
static char **collect(char *text, size_t n, const char *key)
{
	size_t count = 0;
	for (char *r = text; r < text + n; r += strlen(r) + 1)
		count += value_of(r, key) != NULL;

	char **list = calloc(count + 2, sizeof(*list));
	if (list == NULL)
		return NULL;
	size_t i = 0;
	for (char *r = text; r < text + n; r += strlen(r) + 1) {
		char *value = value_of(r, key);
		if (value != NULL)
			list[i++] = value;
	}
	return list;
}

static int parse_flag(const char *record, const char *value, bool *ret, struct fault *f)
{
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return fault_set(f, -EINVAL, "configuration: '%s' (0 or 1 expected)", record);
	*ret = value[0] == '1';
	return 0;
}

static int parse_record(char *record, struct config *c, struct fault *f)
{
	static const char *const lists[] = { "arg", "env", "module" }; /* collected afterwards */
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (value_of(record, lists[i]) != NULL)
			return 0;
	}

	const struct {
		const char *key;
		char **text;
		bool *flag;
	} keys[] = {
		{ "exec", &c->exec, NULL },        { "cwd", &c->cwd, NULL },
		{ "relay", &c->relay, NULL },      { "tty", NULL, &c->tty },
		{ "stdin", NULL, &c->feed_stdin }, { "kmsg", NULL, &c->kmsg },
		{ "net", &c->net, NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char *value = value_of(record, keys[i].key);
		if (value == NULL)
			continue;
		if (keys[i].flag != NULL)
			return parse_flag(record, value, keys[i].flag, f);
		*keys[i].text = value;
		return 0;
	}
	return fault_set(f, -EINVAL, "configuration: unknown record '%.64s'", record);
}

static int check(const struct config *c, struct fault *f)
{
	if (c->exec == NULL)
		return fault_set(f, -EINVAL, "configuration: no exec= record");
	if (c->exec[0] != '/')
		return fault_set(f, -EINVAL, "configuration: exec=%.64s is not absolute", c->exec);
	if (c->net != NULL && strcmp(c->net, GUEST_NET_PLAIN) != 0 &&
	    strcmp(c->net, GUEST_NET_PAIR) != 0)
		return fault_set(f, -EINVAL, "configuration: net=%.64s is no layout", c->net);
	return 0;
}

int config_parse(char *text, size_t n, struct config *ret, struct fault *f)
{
	struct config c = { .cwd = NULL };

	if (n == 0 || text[n - 1] != '\0')
		return fault_set(f, -EINVAL,
				 "configuration: empty, or its last record is not ended");
	for (char *r = text; r < text + n; r += strlen(r) + 1) {
		int res = parse_record(r, &c, f);
		if (res < 0)
			return res;
	}
	int res = check(&c, f);
	if (res < 0)
		return res;

	c.argv = collect(text, n, "arg");
	c.envp = collect(text, n, "env");
	c.modules = collect(text, n, "module");
	if (c.argv == NULL || c.envp == NULL || c.modules == NULL) {
		config_fini(&c);
		return fault_set(f, -ENOMEM, "configuration");
	}
	if (c.argv[0] == NULL)
		c.argv[0] = c.exec;
	c.text = text;
	*ret = c;
	return 0;
}

/* The whole file in fresh memory. */
static int read_file(const char *path, char **ret, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	struct stat st;
	int res = fstat(fd, &st) < 0 ? -errno : 0;
	if (res == 0 && (st.st_size < 0 || st.st_size > CONFIG_SIZE_MAX))
		res = -EFBIG;
	size_t n = res == 0 ? (size_t)st.st_size : 0;
	char *text = malloc(n + 1);
	if (res == 0 && text == NULL)
		res = -ENOMEM;
	if (res == 0) {
		ssize_t got = read(fd, text, n); /* a file of the initramfs: one read gives all */
		if (got < 0)
			res = -errno;
		else if ((size_t)got != n)
			res = -EIO;
	}
	close(fd);
	if (res != 0) {
		free(text);
		return res;
	}
	*ret = text;
	*ret_n = n;
	return 0;
}

int config_read(const char *path, struct config *ret, struct fault *f)
{
	char *text = NULL;
	size_t n = 0;
	int res = read_file(path, &text, &n);
	if (res != 0)
		return fault_set(f, res, "configuration '%s'", path);
	res = config_parse(text, n, ret, f);
	if (res != 0)
		free(text);
	return res;
}

void config_fini(struct config *c)
{
	free(c->argv);
	free(c->envp);
	free(c->modules);
	free(c->text);
	*c = (struct config){ 0 };
}
