/*
 * File I/O for the epoll backend: blocking system calls on a few worker threads, made when first
 * needed. All functions are the owner's thread's; the workers touch only what io_pool.c says.
 */
#pragma once

#include "reactor/reactor_backend.h"

struct io_pool;

/* Takes no thread yet. */
struct io_pool *io_pool_new(void);
/* Nothing is waiting or running. Joins the workers. Returns NULL. */
struct io_pool *io_pool_free(struct io_pool *p);
/* Queues @op; op->res is set later and op->reactor woken. -errno: no thread could be started. */
MUST_CHECK int io_pool_submit(struct io_pool *p, struct reactor_op *op);
/* Takes @op out of the queue; false if a worker has it already, or had it: its result comes. */
bool io_pool_take_back(struct io_pool *p, struct reactor_op *op);
/* Appends the ops that are done since the last call to @ret_done, in the order they became so. */
void io_pool_collect(struct io_pool *p, struct list *ret_done);
