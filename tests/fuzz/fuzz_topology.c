/*
 * The text of a topology. Properties: what is refused has a reason; what is taken passes
 * topology_check, and its canonical text reads back as the same topology.
 */
#include "fuzz.h"

#include "base/topology_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = { 0 }, canonical = { 0 };
	struct topology t, again;
	struct error err = { 0 };

	buf_append(&text, data, size);
	int r = topology_parse(buf_str(&text), &t, &err);
	if (r < 0) {
		FUZZ_CHECK(r == err.code && err.text[0]);
		FUZZ_CHECK(err.class == ERROR_USAGE || err.class == ERROR_UNREPRESENTABLE);
	} else {
		FUZZ_CHECK(topology_check(&t, &err) == 0);
		topology_format(&t, &canonical);
		buf_consume(&text, text.len);
		FUZZ_CHECK(topology_parse(buf_str(&canonical), &again, &err) == 0);
		topology_format(&again, &text);
		FUZZ_CHECK(text.len == canonical.len &&
			   memcmp(text.data, canonical.data, text.len) == 0);
	}
	buf_fini(&text);
	buf_fini(&canonical);
	return 0;
}
