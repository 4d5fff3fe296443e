/* Requests to rtnetlink, one at a time, each acknowledged by the kernel before the call returns. */
#pragma once

#include <stdalign.h>

enum { NETLINK_REQUEST_MAX = 512 };

struct netlink_request {
	alignas(4) uint8_t bytes[NETLINK_REQUEST_MAX];
	size_t n;
	bool is_full; /* something had no room: netlink_call refuses it */
};

/* A socket that speaks to the network namespace that we are in now, also from another; -errno. */
MUST_CHECK int netlink_open(void);

/*
 * Building: a message of @type (RTM_*) with its fixed part, then attributes. Those put between
 * netlink_nest and netlink_close lie inside an attribute.
 */
void netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, const void *fixed,
		   size_t n);
void netlink_put(struct netlink_request *r, uint16_t type, const void *data, size_t n);
void netlink_put_text(struct netlink_request *r, uint16_t type, const char *text);
MUST_CHECK size_t netlink_nest(struct netlink_request *r, uint16_t type);
void netlink_close(struct netlink_request *r, size_t nest);

/* 0, or what the kernel answered: a negative errno. */
MUST_CHECK int netlink_call(int fd, struct netlink_request *r);
