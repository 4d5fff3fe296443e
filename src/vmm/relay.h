/*
 * Port 2 joined to a host unix socket: bytes as they are, both ways, one client at a time. Bounded
 * by one chunk per direction: a slow client stalls the guest's port, a slow guest stalls the
 * client. I/O thread.
 */
#pragma once

#include "base/error.h"
#include "reactor/reactor.h"
#include "virtio/virtio_console.h"

struct relay;

/* Takes ownership of @listen_fd on success: a listening SOCK_STREAM socket. */
MUST_CHECK int relay_new(struct reactor *r, int listen_fd, struct relay **ret, struct error *err);
/* Before the first call of its port ops. Borrowed. */
void relay_set_console(struct relay *relay, struct virtio_console *console);
/* The guest's side: for virtio_console_config. ctx is the relay. */
extern const struct virtio_console_port_ops relay_port_ops;
/*
 * Stops: no callback touches the console after it. relay_is_idle tells when the reactor has let go;
 * then relay_free.
 */
void relay_stop(struct relay *relay);
bool relay_is_idle(const struct relay *relay);
struct relay *relay_free(struct relay *relay);
