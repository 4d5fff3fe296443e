#include "cli/topology_option.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#include "arch/arch.h"
#include "base/file.h"
#include "base/num.h"
#include "base/topology_text.h"
#include "cli/memory_size.h"
#include "cli/topology_json.h"

enum { MAX_FILE = 1 << 20 };

static int parse_file(const char *path, struct topology *ret, struct error *err)
{
	CLEANUP(buf_fini) struct buf content = { 0 }, text = { 0 };
	json_error_t where;

	if (file_read(path, MAX_FILE, &content, err) < 0)
		return error_classify(err, ERROR_USAGE);
	json_t *doc =
	    json_loadb((const char *)content.data, content.len, JSON_REJECT_DUPLICATES, &where);
	if (!doc)
		return error_set_usage(err, -EINVAL, "'%s', line %d: %s", path, where.line,
				       where.text);
	int res = topology_json_text(doc, &text, err);
	json_decref(doc);
	if (res == 0)
		res = topology_parse(buf_str(&text), ret, err);
	return res < 0 ? error_prefix(err, "'%s'", path) : 0;
}

int topology_option_parse(const char *arg, struct topology *ret, struct error *err)
{
	int res = arg[0] == '@' ? parse_file(arg + 1, ret, err) : topology_parse(arg, ret, err);

	return res < 0 ? error_prefix(err, "--topology") : 0;
}

int topology_option_memory(const struct topology *t, uint64_t mib, uint64_t *ret_mib,
			   struct memory_layout *ret, struct error *err)
{
	uint64_t size = mib ? mib : memory_size_default_mib(t, 0);

	if (memory_size_check_unit(size, err) < 0)
		return err->code;
	if (memory_layout_make(t, size * MIB, &arch_memory_space, ret, err) < 0)
		return mib ? error_prefix(err, "--memory %" PRIu64, mib)
			   : error_prefix(err, "--topology");
	*ret_mib = size;
	return 0;
}
