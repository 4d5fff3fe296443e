/* Ways to misuse guest memory: clang must refuse each (check_noderef.sh). Never linked. */
#include <string.h>

#include "bus/guest_mem.h"

int good(struct guest_slice s, void *buf);
uint8_t bad(struct guest_slice s, void *buf, gpa_t gpa);

int good(struct guest_slice s, void *buf)
{
	return guest_slice_read(s, 0, buf, s.len);
}

uint8_t bad(struct guest_slice s, void *buf, gpa_t gpa)
{
#ifdef CASE_DEREFERENCE
	return *s.p;
#endif
#ifdef CASE_INDEX
	return s.p[1];
#endif
#ifdef CASE_STORE
	*s.p = 1;
#endif
#ifdef CASE_MEMCPY_FROM
	memcpy(buf, s.p, s.len);
#endif
#ifdef CASE_MEMCPY_TO
	memcpy(s.p, buf, s.len);
#endif
#ifdef CASE_PLAIN_POINTER
	const uint8_t *p = s.p;
	return p != NULL;
#endif
#ifdef CASE_GPA_ARITHMETIC
	gpa = gpa + 1;
#endif
#ifdef CASE_GPA_AS_NUMBER
	uint64_t n = gpa;
	return (uint8_t)n;
#endif
	return buf != NULL && gpa.addr && s.len;
}
