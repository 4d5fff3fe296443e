/* Port 2 <-> a unix stream socket of the guest: bytes both ways, untouched. */
#pragma once

struct relay_buffer {
	uint8_t bytes[16 * 1024];
	size_t begin;
	size_t end;
};

struct relay {
	int port_fd;      /* owned; non-blocking; -1: no relay */
	int socket_fd;    /* owned; -1: not connected */
	const char *path; /* of the socket; borrowed */
	int64_t retry_ms; /* when to look again for what is missing; INT64_MAX: nothing is */
	int64_t backoff_ms;
	bool is_port_away; /* the host has closed its end, for now */
	struct relay_buffer to_socket;
	struct relay_buffer to_port;
};

/* Takes ownership of @port_fd (-1: an idle relay). @path must outlive the relay. */
void relay_init(struct relay *r, int port_fd, const char *path, int64_t now_ms);
void relay_fini(struct relay *r); /* idempotent */

/* What to poll each descriptor for; 0: leave it out of the poll, it may be hung up. */
short relay_port_events(const struct relay *r);
short relay_socket_events(const struct relay *r);
/* Moves what can be moved, connects when it is time. Call after poll (POLLHUP on the port:
 * @has_port_hangup). */
void relay_pump(struct relay *r, bool has_port_hangup, int64_t now_ms);
/* Nothing on the way from the guest to the host. */
bool relay_is_drained(const struct relay *r);
