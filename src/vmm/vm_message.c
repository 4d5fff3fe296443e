#include "vmm/vm_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"

enum {
	N_FDS = 5,
	FDS_MAX = VM_MESSAGE_LOCKS, /* the kernel's limit is 253 */
	LOCKS_MAX = 16384,
	HAS_KERNEL = 1,
	HAS_INITRD = 2,
	HAS_DISK = 4,
	HAS_RELAY = 8,
	HAS_CGROUP = 16
};

/* What of a session_config is no pointer and no descriptor, and what the pointers lead to. */
struct wire {
	uint32_t version;
	uint32_t size;
	uint32_t fds; /* HAS_*: which follow */
	int32_t runner;
	struct kernel_image kernel;
	struct topology topology;
	struct cpu_mask cpu_mask;
	struct blk_file disk_file;
	struct blk_limits disk_limits;
	struct virtio_net_config net;
	struct placement placement; /* its arrays follow the suffix */
	uint64_t initrd_len, memory_mib;
	uint64_t timeout_ns, boot_timeout_ns, command_timeout_ns;
	uint32_t suffix_len, cmdline_len, supported_len, n_lock_fds;
	enum vm_hugepages hugepages;
	enum reactor_backend backend;
	uint16_t rows, cols;
	bool share_memory, pit, has_init, confine, has_mask, has_net, disk_read_only;
	bool has_placement, hold;
	char disk_id[32];
};

/* Every byte of it leaves the process, padding included. */
static struct wire *make_wire(const struct session_config *c)
{
	const struct vm_config *vm = &c->vm;
	struct wire *w = xcalloc(1, sizeof(*w));

	w->version = VM_MESSAGE_VERSION;
	w->size = sizeof(*w);
	w->runner = getpid();
	w->kernel = *vm->kernel;
	w->topology = vm->topology;
	w->initrd_len = vm->initrd_len;
	w->memory_mib = vm->memory_mib;
	w->timeout_ns = c->timeout_ns;
	w->boot_timeout_ns = c->boot_timeout_ns;
	w->command_timeout_ns = c->command_timeout_ns;
	w->suffix_len = (uint32_t)vm->initrd_suffix_len;
	w->cmdline_len = (uint32_t)strlen(vm->cmdline);
	w->supported_len = vm->supported ? vm->supported->len : 0;
	w->n_lock_fds = (uint32_t)c->n_lock_fds;
	w->hugepages = vm->hugepages;
	w->backend = c->backend;
	w->rows = c->rows;
	w->cols = c->cols;
	w->share_memory = vm->share_memory;
	w->pit = vm->pit;
	w->has_init = c->has_init;
	w->confine = c->confine;
	w->has_mask = vm->cpu_mask != NULL;
	if (vm->cpu_mask)
		w->cpu_mask = *vm->cpu_mask;
	w->has_net = vm->net != NULL;
	if (vm->net)
		w->net = *vm->net;
	w->hold = vm->hold;
	w->has_placement = vm->placement != NULL;
	if (vm->placement)
		w->placement = *vm->placement;
	w->placement.vcpu_cpus = NULL;
	w->placement.node_mems = NULL;
	if (vm->disk) {
		w->disk_file = vm->disk->file;
		w->disk_file.why_buffered = NULL; /* the runner tells it */
		w->disk_limits = vm->disk->limits;
		w->disk_read_only = vm->disk->read_only;
		strncpy(w->disk_id, vm->disk->id, sizeof(w->disk_id) - 1);
	}
	return w;
}

/* The arrays of a placement, which only performance mode has. */
static size_t pins_size(const struct placement *p)
{
	return p->is_performance ? p->n_vcpus * sizeof(*p->vcpu_cpus) : 0;
}

static size_t node_mems_size(const struct placement *p)
{
	return p->is_performance ? p->n_nodes * sizeof(*p->node_mems) : 0;
}

static void add_placement(const struct placement *p, struct buf *to)
{
	if (!p)
		return;
	buf_append(to, p->vcpu_cpus, pins_size(p));
	buf_append(to, p->node_mems, node_mems_size(p));
}

/* One byte stream and one set of descriptors, which travel with its first byte. */
static int send_all(int fd, const uint8_t *data, size_t n, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = n_fds ? control.bytes : NULL,
			      .msg_controllen = n_fds ? CMSG_SPACE(n_fds * sizeof(int)) : 0 };
	ssize_t sent;

	if (n_fds) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (size_t)sent == n ? 0 : fd_write_all(fd, data + sent, n - (size_t)sent);
}

int vm_message_send(int fd, const struct session_config *config, struct error *err)
{
	const struct vm_config *vm = &config->vm;
	const struct {
		int fd;
		uint32_t bit;
	} files[N_FDS] = { { vm->kernel->fd, HAS_KERNEL },
			   { vm->initrd_fd, HAS_INITRD },
			   { vm->disk ? vm->disk->fd : -1, HAS_DISK },
			   { config->relay_fd, HAS_RELAY },
			   { config->cgroup_fd ? *config->cgroup_fd : -1, HAS_CGROUP } };
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf message = { 0 };
	CLEANUP(freep) struct wire *w = make_wire(config);
	int fds[N_FDS];
	size_t n_fds = 0;

	for (size_t i = 0; i < N_FDS; i++) {
		if (files[i].fd < 0)
			continue;
		fds[n_fds++] = files[i].fd;
		w->fds |= files[i].bit;
	}
	buf_append(&payload, w, sizeof(*w));
	buf_append_str(&payload, vm->cmdline);
	buf_append(&payload, vm->initrd_suffix, vm->initrd_suffix_len);
	buf_append(&payload, vm->supported ? vm->supported->bytes : NULL, w->supported_len);
	add_placement(vm->placement, &payload);
	if (payload.len > VM_MESSAGE_MAX)
		return error_set_usage(err, -E2BIG,
				       "the arguments and options of the guest take %zu bytes, "
				       "more than %d",
				       payload.len, VM_MESSAGE_MAX);
	bool fits = frame_encode_header_for(FRAME_VM_CONFIG, 0, payload.data, payload.len,
					    buf_reserve(&message, FRAME_HEADER_SIZE));
	message.len = fits ? FRAME_HEADER_SIZE : 0;
	buf_append(&message, payload.data, payload.len);
	int res = send_all(fd, message.data, message.len, fds, n_fds);
	for (size_t i = 0; i < config->n_lock_fds && res == 0; i += FDS_MAX)
		res = send_all(fd, (const uint8_t *)"L", 1, config->lock_fds + i,
			       num_min(config->n_lock_fds - i, FDS_MAX));
	return res < 0 ? error_set(err, res, "the configuration of the VM process") : 0;
}

/* The other end */

/* Some bytes of @data, at most @n, and the descriptors that came with them, at most @max. Returns how many bytes. */
static ssize_t receive_some(int fd, void *data, size_t n, int *fds, size_t max, size_t *ret_n_fds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = CMSG_SPACE(max * sizeof(int)) };
	ssize_t got;

	*ret_n_fds = 0;
	do
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got < 0 ? -errno : -EPIPE;
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*ret_n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *ret_n_fds * sizeof(int));
	}
	return got;
}

static int receive_header(int fd, struct frame_header *ret, int fds[N_FDS], size_t *ret_n_fds)
{
	uint8_t header[FRAME_HEADER_SIZE];
	ssize_t n = receive_some(fd, header, sizeof(header), fds, N_FDS, ret_n_fds);

	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof(header) &&
	    fd_read_exact(fd, header + n, sizeof(header) - (size_t)n) < 0)
		return -EPIPE;
	return frame_header_decode(header, ret) ? 0 : -EBADMSG;
}

static int receive_locks(int fd, struct vm_message *m, size_t n)
{
	struct session_config *c = &m->config;
	uint8_t byte;

	m->lock_fds = xcalloc(n + FDS_MAX, sizeof(int));
	c->lock_fds = m->lock_fds;
	while (c->n_lock_fds < n) {
		size_t got;
		ssize_t res =
		    receive_some(fd, &byte, 1, m->lock_fds + c->n_lock_fds, FDS_MAX, &got);
		if (res < 0 || got == 0)
			return res < 0 ? (int)res : -EBADMSG;
		c->n_lock_fds += got;
	}
	return 0;
}

static void unpack(const struct wire *w, const uint8_t *rest, struct vm_message *m)
{
	struct session_config *c = &m->config;

	m->runner = w->runner;
	m->kernel = w->kernel;
	m->cpu_mask = w->cpu_mask;
	m->net = w->net;
	m->disk = (struct virtio_blk_config){ .fd = -1,
					      .read_only = w->disk_read_only,
					      .file = w->disk_file,
					      .limits = w->disk_limits,
					      .id = ((const struct wire *)m->payload)->disk_id };
	m->supported.len = w->supported_len;
	memcpy(m->supported.bytes, rest + w->cmdline_len + w->suffix_len, w->supported_len);
	m->cmdline = xasprintf("%.*s", (int)w->cmdline_len, (const char *)rest);
	*c = (struct session_config){
		.vm = { .kernel = &m->kernel,
			.initrd_fd = -1,
			.initrd_len = w->initrd_len,
			.initrd_suffix = rest + w->cmdline_len,
			.initrd_suffix_len = w->suffix_len,
			.cmdline = m->cmdline,
			.topology = w->topology,
			.memory_mib = w->memory_mib,
			.hugepages = w->hugepages,
			.share_memory = w->share_memory,
			.placement = w->has_placement ? &m->placement : NULL,
			.hold = w->hold,
			.cpu_mask = w->has_mask ? &m->cpu_mask : NULL,
			.supported = w->supported_len ? &m->supported : NULL,
			.pit = w->pit,
			.disk = w->fds & HAS_DISK ? &m->disk : NULL,
			.net = w->has_net ? &m->net : NULL },
		.backend = w->backend,
		.link_fd = -1,
		.relay_fd = -1,
		.rows = w->rows,
		.cols = w->cols,
		.timeout_ns = w->timeout_ns,
		.boot_timeout_ns = w->boot_timeout_ns,
		.command_timeout_ns = w->command_timeout_ns,
		.has_init = w->has_init,
		.cgroup_fd = w->fds & HAS_CGROUP ? &m->cgroup_fd : NULL,
		.confine = w->confine,
	};
}

/* The VM indexes by these numbers: a placement is for this topology, or it is none. */
static bool fits(const struct placement *p, const struct topology *t)
{
	if (p->n_vcpus != topology_n_cpus(t) || p->n_vcpu_cpus > ID_SET_MAX)
		return false;
	return !p->is_performance || (p->n_nodes == t->n_nodes && p->service_cpu < ID_SET_MAX);
}

/* @rest: pins, then nodes; their sizes are right. */
static int unpack_placement(const struct wire *w, const uint8_t *rest, struct vm_message *m)
{
	struct placement *p = &m->placement;
	size_t n_pins = pins_size(&w->placement), n_mems = node_mems_size(&w->placement);

	if (!w->has_placement)
		return 0;
	if (!fits(&w->placement, &w->topology))
		return -EBADMSG;
	*p = w->placement;
	p->vcpu_cpus = NULL;
	p->node_mems = NULL;
	if (!p->is_performance)
		return 0;
	p->vcpu_cpus = xmalloc(n_pins);
	memcpy(p->vcpu_cpus, rest, n_pins);
	p->node_mems = xmalloc(n_mems);
	memcpy(p->node_mems, rest + n_pins, n_mems);
	for (uint32_t i = 0; i < p->n_vcpus; i++)
		if (p->vcpu_cpus[i] >= ID_SET_MAX)
			return -EBADMSG;
	return 0;
}

static int place_fds(struct vm_message *m, uint32_t which, const int *fds, size_t n_fds)
{
	int *const places[N_FDS] = { &m->kernel.fd, &m->config.vm.initrd_fd, &m->disk.fd,
				     &m->config.relay_fd, &m->cgroup_fd };
	size_t n = 0;

	m->kernel.fd = -1;
	for (size_t i = 0; i < N_FDS; i++)
		if (which & 1u << i)
			*places[i] = n < n_fds ? fds[n++] : -1;
	return n == n_fds && (size_t)__builtin_popcount(which) == n ? 0 : -EBADMSG;
}

/* What comes before the arrays of the placement. */
static uint64_t before_placement(const struct wire *w)
{
	return (uint64_t)sizeof(*w) + w->cmdline_len + w->suffix_len + w->supported_len;
}

static int receive(int fd, struct vm_message *m)
{
	struct frame_header h = { 0 };
	struct wire w;
	int fds[N_FDS];
	size_t n_fds = 0;

	int res = receive_header(fd, &h, fds, &n_fds);
	if (res < 0)
		return res;
	if (h.type != FRAME_VM_CONFIG || h.length < sizeof(w) || h.length > VM_MESSAGE_MAX)
		return -EBADMSG;
	m->payload = xmalloc(h.length);
	if (fd_read_exact(fd, m->payload, h.length) < 0)
		return -EPIPE;
	memcpy(&w, m->payload, sizeof(w));
	if (frame_crc32(0, m->payload, h.length) != h.payload_crc ||
	    w.version != VM_MESSAGE_VERSION || w.size != sizeof(w) || w.n_lock_fds > LOCKS_MAX ||
	    w.supported_len > ARCH_SUPPORTED_MAX ||
	    before_placement(&w) + pins_size(&w.placement) + node_mems_size(&w.placement) !=
		h.length)
		return -EBADMSG;
	unpack(&w, m->payload + sizeof(w), m);
	res = place_fds(m, w.fds, fds, n_fds);
	if (res == 0)
		res = unpack_placement(&w, m->payload + before_placement(&w), m);
	return res < 0 ? res : receive_locks(fd, m, w.n_lock_fds);
}

int vm_message_receive(int fd, struct vm_message *ret, struct error *err)
{
	*ret = (struct vm_message){ .kernel = KERNEL_IMAGE_INIT, .cgroup_fd = -1 };
	int res = receive(fd, ret);

	return res < 0 ? error_set(err, res, "no configuration of a VM on descriptor %d", fd) : 0;
}

void vm_message_fini(struct vm_message *m)
{
	kernel_image_fini(&m->kernel);
	fd_closep(&m->config.vm.initrd_fd);
	fd_closep(&m->disk.fd);
	fd_closep(&m->cgroup_fd);
	placement_fini(&m->placement);
	for (size_t i = 0; i < m->config.n_lock_fds; i++)
		fd_closep(&m->lock_fds[i]);
	freep(&m->lock_fds);
	freep(&m->payload);
	freep(&m->cmdline);
}
