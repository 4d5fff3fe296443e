/* The host's end of port 1, for tests: what came, frame by frame. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "abi/frame.h"

struct host {
	int fd; /* owned; non-blocking */
	struct frame_decoder decoder;
	uint64_t sequence;  /* of our own frames */
	bool is_silent;     /* never acknowledges */
	uint8_t *bytes[64]; /* owned; payloads by frame type, joined */
	size_t n_bytes[64];
	size_t n_frames[64];
	bool has_exit;
	struct frame_exit exit;
	uint16_t last_type;
};

void host_init(struct host *h, int fd);
void host_fini(struct host *h);
void host_send(struct host *h, uint16_t type, const void *payload, size_t n);
/* Takes what is there and acknowledges an exit. False at the end of the stream. */
bool host_pump(struct host *h);
/* The joined payloads of @type as a string. */
const char *host_text(const struct host *h, uint16_t type);
