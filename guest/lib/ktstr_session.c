#include "ktstr_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "ktstr_declaration.h"

static bool init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	return pthread_mutexattr_init(&attr) == 0 &&
	       pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0 &&
	       pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0 &&
	       pthread_mutex_init(lock, &attr) == 0 && pthread_mutexattr_destroy(&attr) == 0;
}

/* NOLINTBEGIN(concurrency-mt-unsafe): the environment is read before the test can have threads */
static bool open_channel(struct ktstr_session *s)
{
	const char *text = getenv(GUEST_ENV_CHANNEL);
	char *end = NULL;
	int type = 0;
	socklen_t n = sizeof(type);

	s->channel_fd = -1;
	if (!text)
		return true;
	long fd = strtol(text, &end, 10);
	if (end == text || *end != '\0' || fd < 0 || fd > INT32_MAX ||
	    getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET) {
		fprintf(stderr, "ktstr: %s='%s' names no SOCK_SEQPACKET socket\n",
			GUEST_ENV_CHANNEL, text);
		return false;
	}
	/* Programs that the test starts would keep the channel open, and have nothing to say there. */
	(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	(void)unsetenv(GUEST_ENV_CHANNEL);
	s->channel_fd = (int)fd;
	return true;
}

static bool find_topology(const struct ktstr_test *test, struct ktstr_topology *ret)
{
	const char *text = getenv(GUEST_ENV_TOPOLOGY);

	*ret = (struct ktstr_topology){ 1, 1, 1, 1 };
	if (text && !ktstr_declaration_parse_topology(text, ret)) {
		fprintf(stderr, "ktstr: %s='%s' is no topology\n", GUEST_ENV_TOPOLOGY, text);
		return false;
	}
	if (!text && test->topology) /* of another form: nobody here knows its numbers */
		(void)ktstr_declaration_parse_topology(test->topology, ret);
	return true;
}

/* NOLINTEND(concurrency-mt-unsafe) */

struct ktstr_session *ktstr_session_new(const struct ktstr_test *test)
{
	struct ktstr_session *s =
	    mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED || !init_lock(&s->lock)) {
		fprintf(stderr, "ktstr: no memory for the test: %m\n");
		return NULL;
	}
	s->pid = getpid();
	for (uint32_t i = 0; i < TEST_DEPTH_MAX; i++) {
		s->levels[i].session = s;
		s->levels[i].depth = i;
	}
	return open_channel(s) && find_topology(test, &s->topology) ? s : NULL;
}

bool ktstr_session_is_vm(void)
{
	return access(GUEST_CONFIG_PATH, F_OK) == 0;
}

void ktstr_session_lock(struct ktstr_session *s)
{
	/* What a process that died in here was changing is at worst a line of text too few. */
	if (pthread_mutex_lock(&s->lock) == EOWNERDEAD)
		(void)pthread_mutex_consistent(&s->lock);
}

void ktstr_session_unlock(struct ktstr_session *s)
{
	(void)pthread_mutex_unlock(&s->lock);
}
