/*
 * The network of `--net`.
 *
 *	root namespace      eth0, the virtio NIC: up, no address. Its host side reflects every frame
 *	namespace a         macvlan0 of it, vepa: 10.0.0.1/24, fd6b:7473:7472::1/64
 *	namespace b         macvlan0 of it, vepa: 10.0.0.2/24, fd6b:7473:7472::2/64
 *
 * In vepa mode the macvlan driver gives no frame to a sibling by itself, not even where it could: a
 * frame from a to b leaves through the NIC and comes in again by it, which is the point.
 *
 * A namespace is made by entering it: a netlink socket stays with the namespace it was opened in, so
 * one speaks to the root's and one to the new one's.
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "netlink.h"

#define NS_PATH "/proc/self/ns/net"

enum { MAC_LEN = 6 };

struct space {
	const char *name;
	const char *ip4, *ip6;
	uint8_t number; /* added to the NIC's MAC address */
};

static const struct space spaces[] = {
	{ "a", GUEST_NET_A_IP4, GUEST_NET_A_IP6, 1 },
	{ "b", GUEST_NET_B_IP4, GUEST_NET_B_IP6, 2 },
};

static int raise_link(int fd, const char *name)
{
	const struct ifinfomsg info = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct netlink_request r;

	netlink_begin(&r, RTM_NEWLINK, 0, &info, sizeof(info));
	netlink_put_text(&r, IFLA_IFNAME, name);
	return netlink_call(fd, &r);
}

static int add_address(int fd, int link, int family, const char *text, uint8_t prefix_len)
{
	/* No duplicate detection: a second of waiting for nobody. */
	const struct ifaddrmsg info = { .ifa_family = (uint8_t)family,
					.ifa_prefixlen = prefix_len,
					.ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
					.ifa_index = (uint32_t)link };
	size_t n = family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
	uint8_t address[sizeof(struct in6_addr)];
	struct netlink_request r;

	if (inet_pton(family, text, address) != 1)
		return -EINVAL;
	netlink_begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	netlink_put(&r, IFA_LOCAL, address, n);
	netlink_put(&r, IFA_ADDRESS, address, n);
	return netlink_call(fd, &r);
}

/* SIOCGIF*: of the socket's namespace. */
static int ask_link(int fd, unsigned long what, const char *name, struct ifreq *ret)
{
	*ret = (struct ifreq){ 0 };
	(void)snprintf(ret->ifr_name, sizeof(ret->ifr_name), "%s", name);
	return ioctl(fd, what, ret) < 0 ? -errno : 0;
}

/* A macvlan of the root's NIC in the namespace of @ns_fd. */
static int call_add_macvlan(int root_fd, int ns_fd, int link, const uint8_t mac[MAC_LEN])
{
	const struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	const uint32_t mode = MACVLAN_MODE_VEPA;
	struct netlink_request r;

	netlink_begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	/* Older kernels look for the name here, too: it must be one that no namespace has yet. */
	netlink_put_text(&r, IFLA_IFNAME, GUEST_NET_LINK);
	netlink_put(&r, IFLA_LINK, &link, sizeof(link));
	netlink_put(&r, IFLA_NET_NS_FD, &ns_fd, sizeof(ns_fd));
	netlink_put(&r, IFLA_ADDRESS, mac, MAC_LEN);
	size_t kind = netlink_nest(&r, IFLA_LINKINFO);
	netlink_put_text(&r, IFLA_INFO_KIND, "macvlan");
	size_t data = netlink_nest(&r, IFLA_INFO_DATA);
	netlink_put(&r, IFLA_MACVLAN_MODE, &mode, sizeof(mode));
	netlink_close(&r, data);
	netlink_close(&r, kind);
	return netlink_call(root_fd, &r);
}

/* In the namespace that we are in now; its MAC address is the NIC's and @number. */
static int add_macvlan(int root_fd, uint8_t number)
{
	struct ifreq index, address;
	uint8_t mac[MAC_LEN];

	int res = ask_link(root_fd, SIOCGIFINDEX, GUEST_NET_NIC, &index);
	if (res == 0)
		res = ask_link(root_fd, SIOCGIFHWADDR, GUEST_NET_NIC, &address);
	if (res < 0)
		return res;
	memcpy(mac, address.ifr_hwaddr.sa_data, MAC_LEN);
	mac[MAC_LEN - 1] = (uint8_t)(mac[MAC_LEN - 1] + number);
	int ns_fd = open(NS_PATH, O_RDONLY | O_CLOEXEC);
	if (ns_fd < 0)
		return -errno;
	res = call_add_macvlan(root_fd, ns_fd, index.ifr_ifindex, mac);
	close(ns_fd);
	return res;
}

/* What is inside of the namespace that we are in now. */
static int fill_space(const struct space *s, int root_fd, int fd, struct fault *f)
{
	struct ifreq link;

	int res = add_macvlan(root_fd, s->number);
	if (res == -EOPNOTSUPP)
		return fault_set(f, res, "network '%s': this kernel has no macvlan", s->name);
	if (res < 0)
		return fault_set(f, res, "network '%s': macvlan of %s", s->name, GUEST_NET_NIC);
	res = ask_link(fd, SIOCGIFINDEX, GUEST_NET_LINK, &link);
	if (res == 0)
		res = add_address(fd, link.ifr_ifindex, AF_INET, s->ip4, 24);
	if (res < 0)
		return fault_set(f, res, "network '%s': address %s", s->name, s->ip4);
	res = add_address(fd, link.ifr_ifindex, AF_INET6, s->ip6, 64);
	if (res < 0 && res != -EOPNOTSUPP) /* a kernel without IPv6 is one */
		return fault_set(f, res, "network '%s': address %s", s->name, s->ip6);
	res = raise_link(fd, "lo");
	if (res == 0)
		res = raise_link(fd, GUEST_NET_LINK);
	return res < 0 ? fault_set(f, res, "network '%s': raise lo and %s", s->name, GUEST_NET_LINK)
		       : 0;
}

/* A new namespace with us in it, pinned at @dir/NAME. */
static int enter_space(const struct space *s, const char *dir, struct fault *f)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, s->name);
	if (unshare(CLONE_NEWNET) < 0)
		return fault_set(f, -errno, "network '%s': namespace", s->name);
	int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (file < 0)
		return fault_set(f, -errno, "network '%s': '%s'", s->name, path);
	close(file);
	if (mount(NS_PATH, path, NULL, MS_BIND, NULL) < 0)
		return fault_set(f, -errno, "network '%s': mount on '%s'", s->name, path);
	return 0;
}

static int make_space(const struct space *s, const char *dir, int root_fd, struct fault *f)
{
	int res = enter_space(s, dir, f);
	if (res < 0)
		return res;
	int fd = netlink_open();
	if (fd < 0)
		return fault_set(f, fd, "network '%s': netlink", s->name);
	res = fill_space(s, root_fd, fd, f);
	close(fd);
	return res;
}

static int make_pair(const char *dir, int root_fd, struct fault *f)
{
	int home_fd = open(NS_PATH, O_RDONLY | O_CLOEXEC);
	if (home_fd < 0)
		return fault_set(f, -errno, "network: '%s'", NS_PATH);
	int res = mkdir(dir, 0755) < 0 && errno != EEXIST
		      ? fault_set(f, -errno, "network: folder '%s'", dir)
		      : 0;
	for (size_t i = 0; res == 0 && i < ARRAY_SIZE(spaces); i++)
		res = make_space(&spaces[i], dir, root_fd, f);
	if (setns(home_fd, CLONE_NEWNET) < 0 && res == 0)
		res = fault_set(f, -errno, "network: back to the first namespace");
	close(home_fd);
	return res;
}

int net_make(const char *layout, const char *dir, struct fault *f)
{
	int fd = netlink_open();
	if (fd < 0)
		return fault_set(f, fd, "network: netlink");
	int res = raise_link(fd, GUEST_NET_NIC);
	if (res < 0)
		(void)fault_set(f, res, "network: raise %s", GUEST_NET_NIC);
	else if (strcmp(layout, GUEST_NET_PAIR) == 0)
		res = make_pair(dir, fd, f);
	close(fd);
	return res;
}
