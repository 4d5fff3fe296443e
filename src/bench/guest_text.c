/* See guest_text.h. */
#include "bench/guest_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const cost_names[N_GUEST_COSTS] = {
	[GUEST_COST_CLOCK] = "clock",   [GUEST_COST_KICK] = "kick",
	[GUEST_COST_STATUS] = "status", [GUEST_COST_ACK] = "ack",
	[GUEST_COST_LEVELS] = "levels", [GUEST_COST_INTERRUPT] = "interrupt",
};

/* The word at *@p is @word: moves behind it and a blank. */
static bool take_word(const char **p, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*p, word, n) != 0 || ((*p)[n] != ' ' && (*p)[n] != '\n'))
		return false;
	*p += n + ((*p)[n] == ' ');
	return true;
}

static bool take_number(const char **p, uint64_t *ret)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*ret = strtoull(*p, &end, 10);
	if (errno || (*end != ' ' && *end != '\n'))
		return false;
	*p = end + (*end == ' ');
	return true;
}

static struct hist *find_hist(struct guest_text *t, const char **p)
{
	if (take_word(p, "latency"))
		return &t->latency;
	for (size_t i = 0; i < N_GUEST_COSTS; i++)
		if (take_word(p, cost_names[i]))
			return &t->costs[i];
	return NULL;
}

static bool parse_hist(struct guest_text *t, const char **p)
{
	struct hist *h = find_hist(t, p);
	uint64_t index, count;

	return h && take_number(p, &index) && take_number(p, &count) && hist_add(h, index, count);
}

static bool parse_line(struct guest_text *t, const char *p)
{
	const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{ "ticks", &t->ticks },   { "requests", &t->n_requests },
		{ "bytes", &t->n_bytes }, { "errors", &t->n_errors },
		{ "kicks", &t->n_kicks }, { "interrupts", &t->n_interrupts },
	};
	bool is_good = false;

	if (take_word(&p, "begin") || take_word(&p, "end")) {
		is_good = true;
	} else if (take_word(&p, "hist")) {
		is_good = parse_hist(t, &p);
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			if (take_word(&p, numbers[i].name))
				is_good = take_number(&p, numbers[i].value);
	}
	return is_good && *p == '\n';
}

int guest_text_parse(const char *text, struct guest_text *ret, const char **ret_rest,
		     struct error *err)
{
	const char *end;

	*ret = (struct guest_text){ 0 };
	for (const char *p = text; (end = strchr(p, '\n')); p = end + 1) {
		int len = (int)(end - p);

		if (take_word(&p, "done")) {
			*ret_rest = end + 1;
			return 0;
		}
		if (take_word(&p, "error"))
			return error_set_text(err, -EPROTO, "the guest gave up: %.*s",
					      (int)(end - p), p);
		if (!parse_line(ret, p))
			return error_set_text(err, -EPROTO, "the guest's text has the line '%.*s'",
					      len, p);
	}
	return error_set_text(err, -EPROTO, "the guest's text ends before its last line");
}

bool guest_text_has(const char *text, const char *mark)
{
	size_t n = strlen(mark);

	for (const char *p = text; (p = strstr(p, mark)); p++)
		if ((p == text || p[-1] == '\n') && p[n] == '\n')
			return true;
	return false;
}
