/*
 * The network of --net in a network namespace of our own, with a TAP device in the NIC's place and a thread that reflects its
 * frames, as the virtio NIC's loopback does. Needs root and /dev/net/tun, or is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "net.h"

enum { PORT = 7777, CHUNK = 32 * 1024, N_CHUNKS = 32, LIMIT_S = 20 };

static const uint8_t nic_mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0xfe };
static char folder[] = "/tmp/ktstr-test-net-XXXXXX"; /* mkdtemp writes it */

struct relay {
	int tap_fd;
	int stop_fds[2];
	pthread_t thread;
	_Atomic uint64_t n_bytes;
};

static void *reflect(void *arg)
{
	struct relay *r = arg;
	static uint8_t frame[70000];

	for (;;) {
		struct pollfd fds[] = { { r->tap_fd, POLLIN, 0 }, { r->stop_fds[0], POLLIN, 0 } };
		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			return NULL;
		ssize_t n = read(r->tap_fd, frame, sizeof(frame));
		if (n > 0 && write(r->tap_fd, frame, (size_t)n) == n)
			atomic_fetch_add(&r->n_bytes, (uint64_t)n);
	}
}

static int new_tap(void)
{
	struct ifreq tap = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct ifreq mac = { .ifr_hwaddr.sa_family = 1 /* ARPHRD_ETHER */ };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	(void)snprintf(tap.ifr_name, sizeof(tap.ifr_name), "%s", GUEST_NET_NIC);
	assert_int_equal(ioctl(fd, TUNSETIFF, &tap), 0);
	memcpy(mac.ifr_hwaddr.sa_data, nic_mac, sizeof(nic_mac));
	memcpy(mac.ifr_name, tap.ifr_name, sizeof(mac.ifr_name));
	assert_int_equal(ioctl(fd, SIOCSIFHWADDR, &mac), 0);
	return fd;
}

/* Each test in fresh namespaces, with a folder of its own. */
static int set_up(void **state)
{
	static struct relay r;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(mount("tmpfs", folder, "tmpfs", 0, NULL), 0);
	r = (struct relay){ .tap_fd = new_tap() };
	assert_int_equal(pipe2(r.stop_fds, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&r.thread, NULL, reflect, &r), 0);
	*state = &r;
	return 0;
}

static int tear_down(void **state)
{
	struct relay *r = *state;

	close(r->stop_fds[1]);
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	close(r->stop_fds[0]);
	close(r->tap_fd);
	(void)umount2(folder, MNT_DETACH); /* what a failed test left pinned goes with it */
	return 0;
}

static ino_t current_space(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	return st.st_ino;
}

/* A socket that belongs to namespace @name. */
static int socket_in(const char *name, int family, int type)
{
	const struct timeval limit = { .tv_sec = LIMIT_S };
	char path[128];
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int space = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(space, CLONE_NEWNET), 0);
	int fd = socket(family, type | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(space);
	close(home);
	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return fd;
}

static bool is_up(int fd, const char *link)
{
	struct ifreq r = { 0 };

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", link);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &r), 0);
	return r.ifr_flags & IFF_UP;
}

static socklen_t make_address(int family, const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	void *to = family == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr;

	assert_int_equal(inet_pton(family, text, to), 1);
	if (family == AF_INET)
		memcpy(ret, &in, sizeof(in));
	else
		memcpy(ret, &in6, sizeof(in6));
	return family == AF_INET ? sizeof(in) : sizeof(in6);
}

static void transfer(int from, int to)
{
	static uint8_t sent[CHUNK], got[CHUNK];

	for (int i = 0; i < N_CHUNKS; i++) {
		for (size_t j = 0; j < CHUNK; j++)
			sent[j] = (uint8_t)((size_t)i + j * 7 + (j >> 8));
		assert_int_equal(send(from, sent, CHUNK, 0), CHUNK);
		assert_int_equal(recv(to, got, CHUNK, MSG_WAITALL), CHUNK);
		assert_memory_equal(got, sent, CHUNK);
	}
}

/* Bytes from a to b by TCP: all of them pass the NIC. */
static void check_tcp(struct relay *r, int family, const char *address)
{
	struct sockaddr_storage b;
	socklen_t n = make_address(family, address, &b);
	int server = socket_in("b", family, SOCK_STREAM);
	int client = socket_in("a", family, SOCK_STREAM);
	uint64_t before = atomic_load(&r->n_bytes);

	assert_int_equal(bind(server, (struct sockaddr *)&b, n), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&b, n), 0);
	int peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	transfer(client, peer);
	assert_true(atomic_load(&r->n_bytes) - before >= CHUNK * N_CHUNKS);
	close(peer);
	close(client);
	close(server);
}

static void test_plain_raises_the_nic_and_nothing_else(void **state)
{
	char path[128];
	struct fault f;

	(void)state;
	assert_int_equal(net_make(GUEST_NET_PLAIN, folder, &f), 0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(is_up(fd, GUEST_NET_NIC));
	close(fd);
	(void)snprintf(path, sizeof(path), "%s/a", folder);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_pair_gives_each_namespace_its_link(void **state)
{
	ino_t home = current_space();
	struct fault f;

	(void)state;
	assert_int_equal(net_make(GUEST_NET_PAIR, folder, &f), 0);
	assert_int_equal(current_space(), home);
	for (int i = 0; i < 2; i++) {
		struct ifreq mac = { .ifr_name = GUEST_NET_LINK };
		uint8_t want[6];
		int fd = socket_in(i == 0 ? "a" : "b", AF_INET, SOCK_DGRAM);

		memcpy(want, nic_mac, sizeof(want));
		want[5] = (uint8_t)(want[5] + i + 1); /* 0xff, and 0: no carry */
		assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &mac), 0);
		assert_memory_equal(mac.ifr_hwaddr.sa_data, want, sizeof(want));
		assert_true(is_up(fd, "lo"));
		assert_true(is_up(fd, GUEST_NET_LINK));
		close(fd);
	}
}

static void test_tcp_between_the_pair_crosses_the_nic(void **state)
{
	struct fault f;

	assert_int_equal(net_make(GUEST_NET_PAIR, folder, &f), 0);
	check_tcp(*state, AF_INET, GUEST_NET_B_IP4);
	if (access("/proc/net/if_inet6", F_OK) == 0)
		check_tcp(*state, AF_INET6, GUEST_NET_B_IP6);
}

static void test_no_nic_is_named(void **state)
{
	struct relay *r = *state;
	struct fault f = { 0 };

	(void)r;
	assert_int_equal(unshare(CLONE_NEWNET), 0); /* away from it */
	assert_int_equal(net_make(GUEST_NET_PAIR, folder, &f), -ENODEV);
	assert_non_null(strstr(f.text, "network: raise eth0: "));
}

static void test_failed_step_is_named_and_leaves_us_at_home(void **state)
{
	ino_t home = current_space();
	struct fault f = { 0 };
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/b", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(net_make(GUEST_NET_PAIR, folder, &f), -EEXIST);
	assert_non_null(strstr(f.text, "network 'b': "));
	assert_non_null(strstr(f.text, path));
	assert_int_equal(current_space(), home);
}

/* True: this machine can; else why not. */
static bool is_possible(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		(void)fprintf(stderr, "skipped: /dev/net/tun: %m\n");
		return false;
	}
	close(fd);
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		(void)fprintf(stderr, "skipped: new namespaces: %m\n");
		return false;
	}
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain_raises_the_nic_and_nothing_else, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_pair_gives_each_namespace_its_link, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_tcp_between_the_pair_crosses_the_nic, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_no_nic_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failed_step_is_named_and_leaves_us_at_home,
						set_up, tear_down),
	};

	if (!is_possible())
		return 77;
	if (!mkdtemp(folder))
		return 1;
	int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(folder);
	return n_failed;
}
