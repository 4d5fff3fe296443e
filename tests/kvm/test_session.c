/*
 * A VM process as its runner sees it (vmm/session.h): the test is the runner, reads the link when it likes, and looks at
 * what the process sent, what it cost and how it ended. The guests here are hostile or in a hurry.
 */
#include "guest_vm.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/frame.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "vmm/vm_process.h"

enum { LIMIT_MS = 30 * 1000, FLOOD_MS = 2500, FLOOD_RSS_MAX_KIB = 64 * 1024, N_HASTY = 15 };

struct runner {
	struct kernel_image kernel;
	struct vm_process process;
	struct frame_decoder decoder;
	struct frame_outcome outcome;
	bool has_outcome;
	uint64_t n_stdout; /* payload bytes */
	struct buf notes;
};

static uint8_t *grow(void *ctx UNUSED, uint8_t *storage, size_t need)
{
	return realloc(storage, need);
}

static int memfd_of(const struct buf *b)
{
	int fd = memfd_create("initrd", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b->data, b->len), (ssize_t)b->len);
	return fd;
}

static void start(struct runner *r, const char *cmdline, const struct buf *initrd, int relay_fd,
		  uint64_t timeout_ms)
{
	struct error err = { 0 };
	*r = (struct runner){ .kernel = KERNEL_IMAGE_INIT, .process = VM_PROCESS_INIT };
	if (kernel_image_open(&(struct kernel_image_config){ .path = GUEST_DIR "/guest_console",
							     .cache_dir = "/nonexistent" },
			      &r->kernel, &err) < 0)
		fail_msg("%s", err.text);
	int initrd_fd = initrd ? memfd_of(initrd) : -1;
	struct session_config c = {
		.vm = { .kernel = &r->kernel,
			.initrd_fd = initrd_fd,
			.initrd_len = initrd ? initrd->len : 0,
			.cmdline = cmdline,
			.topology = topology_uniform(1, 1, 1, 1),
			.memory_mib = 64 },
		.relay_fd = relay_fd,
		.confine = true,
		.timeout_ns = timeout_ms * NS_PER_MS,
	};
	if (vm_process_spawn(&c, &r->process, &err) < 0)
		fail_msg("%s", err.text);
	fd_closep(&initrd_fd);
	frame_decoder_init(&r->decoder, xmalloc(FRAME_DECODER_STORAGE_MIN),
			   FRAME_DECODER_STORAGE_MIN, grow, NULL);
}

static void on_frame(struct runner *r, const struct frame *f)
{
	if (f->header.type == FRAME_STDOUT)
		r->n_stdout += f->header.length;
	if (f->header.type == FRAME_VM_NOTE)
		buf_append(&r->notes, f->payload, f->header.length);
	if (f->header.type != FRAME_VM_OUTCOME)
		return;
	assert_true(f->header.length >= sizeof(r->outcome));
	memcpy(&r->outcome, f->payload, sizeof(r->outcome));
	r->has_outcome = true;
}

/* Reads to the outcome, at most for LIMIT_MS. */
static void read_all(struct runner *r)
{
	static uint8_t chunk[256 * 1024];
	uint64_t limit_ns = clock_now_ns() + LIMIT_MS * NS_PER_MS;
	while (!r->has_outcome) {
		struct pollfd p = { .fd = r->process.link_fd, .events = POLLIN };
		assert_true(clock_now_ns() < limit_ns);
		if (poll(&p, 1, LIMIT_MS) <= 0)
			continue;
		ssize_t n = read(r->process.link_fd, chunk, sizeof(chunk));
		assert_true(n > 0); /* an end before the outcome: the VM process died */
		for (size_t at = 0; at < (size_t)n;) {
			struct frame f;
			at += frame_decoder_feed(&r->decoder, chunk + at, (size_t)n - at);
			while (frame_decoder_next(&r->decoder, &f))
				on_frame(r, &f);
		}
	}
}

/* Closes the link, as a runner with a verdict does; the process ends by itself, and well. */
static void finish(struct runner *r)
{
	vm_process_fini(&r->process);
	int status = vm_process_wait(&r->process);
	if (status != 0)
		print_error("the VM process's wait status is %#x\n", (unsigned)status);
	assert_int_equal(status, 0);
	kernel_image_fini(&r->kernel);
	free(r->decoder.storage);
	buf_fini(&r->notes);
}

static void add_frame(struct buf *b, enum frame_type type, uint64_t sequence, const void *payload,
		      size_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];
	assert_true(frame_encode_header_for((uint16_t)type, sequence, payload, n, header));
	buf_append(b, header, sizeof(header));
	buf_append(b, payload, n);
}

static void add_exit(struct buf *b, uint64_t sequence, int32_t status)
{
	add_frame(b, FRAME_EXIT, sequence,
		  &(struct frame_exit){ .kind = EXIT_STATUS, .value = status },
		  sizeof(struct frame_exit));
}

/* @n frames of 60 kB and an exit status of 7. */
static void make_output(struct buf *b, size_t n)
{
	uint8_t *payload = xcalloc(1, 60000);
	for (size_t i = 0; i < n; i++)
		add_frame(b, FRAME_STDOUT, i, payload, 60000);
	add_exit(b, n, 7);
	free(payload);
}

/* A number of /proc/PID/status, in KiB. */
static uint64_t status_kib(pid_t pid, const char *key)
{
	char path[64], line[256];
	uint64_t kib = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			kib = strtoull(line + strlen(key) + 1, NULL, 10);
	fclose(f);
	return kib;
}

/* Each EXIT wants an answer, and this guest never takes one. */
static void test_exit_flood_without_receive_buffers_memory_stays_bounded(void **state UNUSED)
{
	struct buf initrd = { 0 };
	struct runner r;
	for (uint64_t i = 0; i < 20000; i++)
		add_exit(&initrd, i, 7);
	start(&r, "flood", &initrd, -1, FLOOD_MS);
	read_all(&r);
	assert_true(status_kib(r.process.pid, "VmRSS") < FLOOD_RSS_MAX_KIB);
	assert_true(r.outcome.has_exit);
	finish(&r);
	buf_fini(&initrd);
}

/* The runner was away while the guest ended; what the guest had queued is all there, EXIT too. */
static void test_power_off_with_output_queued_runner_away_nothing_is_lost(void **state UNUSED)
{
	enum { N_FRAMES = 200 };
	struct buf initrd = { 0 };
	make_output(&initrd, N_FRAMES);
	for (int i = 0; i < N_HASTY; i++) {
		struct runner r;
		start(&r, "abandon", &initrd, -1, LIMIT_MS);
		usleep(100 * 1000);
		read_all(&r);
		assert_true(r.outcome.has_exit);
		assert_int_equal(r.outcome.exit.value, 7);
		assert_int_equal(r.n_stdout, N_FRAMES * 60000);
		finish(&r);
	}
	buf_fini(&initrd);
}

/* As a stock kernel's power-off does. The runner is away for longer than a sink has that may lose bytes. */
static void test_reset_with_output_queued_runner_away_nothing_is_lost(void **state UNUSED)
{
	enum { N_FRAMES = 200 };
	struct buf initrd = { 0 };
	struct runner r;
	make_output(&initrd, N_FRAMES);
	start(&r, "abandon reset", &initrd, -1, LIMIT_MS);
	usleep(1500 * 1000);
	read_all(&r);
	assert_true(r.outcome.has_exit);
	assert_int_equal(r.n_stdout, N_FRAMES * 60000);
	assert_int_equal(r.outcome.outcome, OUTCOME_FAIL);
	finish(&r);
	buf_fini(&initrd);
}

/* The vCPU that waits in the reset is let go by the limit, and what is lost is said. */
static void test_reset_with_output_queued_runner_away_past_the_limit_ends(void **state UNUSED)
{
	enum { N_FRAMES = 200 };
	struct buf initrd = { 0 };
	struct runner r;
	make_output(&initrd, N_FRAMES);
	start(&r, "abandon reset", &initrd, -1, 500);
	usleep(1500 * 1000);
	read_all(&r);
	assert_int_equal(r.outcome.outcome, OUTCOME_TIMEOUT);
	assert_non_null(strstr(buf_str(&r.notes), "bytes lost"));
	finish(&r);
	buf_fini(&initrd);
}

/* A listening socket in the abstract namespace. */
static int listen_at(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n =
	    snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "%s-%d", name, (int)getpid());
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, *ret_len), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* From the verdict to the end of the process. */
static uint64_t teardown_ns(int relay_fd)
{
	struct runner r;
	start(&r, "whisper", NULL, relay_fd, LIMIT_MS);
	read_all(&r);
	uint64_t begin_ns = clock_now_ns();
	finish(&r);
	return clock_now_ns() - begin_ns;
}

/* Output on port 2 that nobody came for does not hold up the end of the process. */
static void test_relay_without_a_client_ends_at_once(void **state UNUSED)
{
	struct sockaddr_un addr;
	socklen_t len;
	uint64_t without_ns = teardown_ns(-1);
	uint64_t with_ns = teardown_ns(listen_at("ktstr-test-relay", &addr, &len));
	assert_true(with_ns < without_ns + 700 * NS_PER_MS);
}

static void test_power_off_with_endless_output_queued_ends_well(void **state UNUSED)
{
	struct runner r;
	start(&r, "endless", NULL, -1, LIMIT_MS);
	read_all(&r);
	assert_int_equal(r.outcome.outcome, OUTCOME_PASS);
	finish(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_flood_without_receive_buffers_memory_stays_bounded),
		cmocka_unit_test(test_power_off_with_output_queued_runner_away_nothing_is_lost),
		cmocka_unit_test(test_reset_with_output_queued_runner_away_nothing_is_lost),
		cmocka_unit_test(test_reset_with_output_queued_runner_away_past_the_limit_ends),
		cmocka_unit_test(test_relay_without_a_client_ends_at_once),
		cmocka_unit_test(test_power_off_with_endless_output_queued_ends_well),
	};
	guest_vm_skip_without_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
