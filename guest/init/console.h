/* COM2 as plain text: what is left when the frame port is not there. */
#pragma once

#define CONSOLE_COM2_PATH "/dev/ttyS1"

/*
 * Opens the serial port @path raw, blocking; makes its device node when there is no /dev yet.
 * Anything that is no terminal is taken as it is. Negative errno; -EIO: no such hardware.
 */
MUST_CHECK int console_open(const char *path);
/* All of it, or as much as the port takes: there is nobody left to tell about an error. */
void console_write(int fd, const void *data, size_t n);
/* Returns when the last byte has left. */
void console_drain(int fd);
