/*
 * Force-included before every file of the project (meson.build). Only what must be seen first or is
 * used everywhere: feature-test macros, the few basic types, attributes, ownership helpers.
 */
#pragma once

#ifndef __ASSEMBLER__ /* assembly files are force-fed this as well */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#ifndef __ASSEMBLER__ /* micro-guests have .S files */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define CLEANUP(fn)       __attribute__((cleanup(fn)))
#define UNUSED            __attribute__((unused))
#define NORETURN          __attribute__((noreturn))

/*
 * A pointer into guest memory. clang refuses to dereference, index or implicitly convert it, so a
 * device cannot touch guest memory but through bus/guest_mem.h; gcc sees a plain pointer.
 */
#if defined(__clang__)
#define GUEST __attribute__((noderef, address_space(1)))
#else
#define GUEST
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds @member, from a pointer to the member. */
#define container_of(ptr, type, member)                                                            \
	((type *)(void *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))

/* Hand an owned descriptor or pointer over: the variable gives up what it held. */
#define TAKE_FD(fd)                                                                                \
	__extension__({                                                                            \
		int *take_fd_ = &(fd);                                                             \
		int take_fd_value_ = *take_fd_;                                                    \
		*take_fd_ = -1;                                                                    \
		take_fd_value_;                                                                    \
	})
#define TAKE_PTR(p)                                                                                \
	__extension__({                                                                            \
		__auto_type take_p_ = &(p);                                                        \
		__auto_type take_p_value_ = *take_p_;                                              \
		*take_p_ = NULL;                                                                   \
		take_p_value_;                                                                     \
	})

#endif
