/*
 * Messages as netlink(7) describes them: a header, a fixed part by type, attributes of length and
 * type, each aligned to 4 bytes and in the machine's byte order. Every request asks for an answer,
 * NLMSG_ERROR, whose code is 0 for success.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

int netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

static void append(struct netlink_request *r, const void *data, size_t n)
{
	if (r->is_full || NLMSG_ALIGN(n) > sizeof(r->bytes) - r->n) {
		r->is_full = true;
		return;
	}
	if (n > 0)
		memcpy(r->bytes + r->n, data, n);
	memset(r->bytes + r->n + n, 0, NLMSG_ALIGN(n) - n);
	r->n += NLMSG_ALIGN(n);
}

void netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, const void *fixed,
		   size_t n)
{
	const struct nlmsghdr header = { .nlmsg_type = type,
					 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags };

	r->n = 0;
	r->is_full = false;
	append(r, &header, sizeof(header));
	append(r, fixed, n);
}

void netlink_put(struct netlink_request *r, uint16_t type, const void *data, size_t n)
{
	const struct nlattr header = { .nla_len = (uint16_t)(sizeof(header) + n),
				       .nla_type = type };

	append(r, &header, sizeof(header));
	append(r, data, n);
}

void netlink_put_text(struct netlink_request *r, uint16_t type, const char *text)
{
	netlink_put(r, type, text, strlen(text) + 1);
}

size_t netlink_nest(struct netlink_request *r, uint16_t type)
{
	size_t nest = r->n;

	netlink_put(r, type, NULL, 0);
	return nest;
}

void netlink_close(struct netlink_request *r, size_t nest)
{
	uint16_t len = (uint16_t)(r->n - nest);

	if (!r->is_full)
		memcpy(r->bytes + nest + offsetof(struct nlattr, nla_len), &len, sizeof(len));
}

static int receive_answer(int fd)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} answer;
	ssize_t n;

	do {
		n = recv(fd, &answer, sizeof(answer), 0); /* the rest, our request, is cut off */
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(answer.header) + sizeof(answer.error.error) ||
	    answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.error.error;
}

int netlink_call(int fd, struct netlink_request *r)
{
	uint32_t len = (uint32_t)r->n;

	if (r->is_full)
		return -EMSGSIZE;
	memcpy(r->bytes + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
	if (send(fd, r->bytes, r->n, 0) < 0)
		return -errno;
	return receive_answer(fd);
}
