/*
 * An op's way through the pool. The lock guards the lists, and op->handed_over as long as the op is
 * on this way:
 *
 *	io_pool_submit --> waiting ------> one worker ------> done --> io_pool_collect
 *	                      |        (handed_over is set)
 *	                      v
 *	              io_pool_take_back
 *
 * A worker that has an op is the only one to touch it: a cancel sees handed_over and keeps off.
 */
#include "reactor/io_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

/* Keeps a disk's queue from running dry; more would crowd the vCPUs for little. */
enum { N_WORKERS_MAX = 4 };

struct io_pool {
	pthread_mutex_t lock;
	pthread_cond_t work; /* waiting is not empty, or stop */
	struct list waiting;
	struct list done;
	unsigned n_waiting;
	unsigned n_idle; /* workers in pthread_cond_wait */
	bool stop;

	unsigned n_workers; /* owner's thread only, as the array */
	pthread_t workers[N_WORKERS_MAX];
};

/* The system call itself; the result as io_uring would give it. */
static int perform(const struct reactor_op *op)
{
	ssize_t ret = -1;

	switch ((enum reactor_op_kind)op->kind) {
	case REACTOR_OP_READV:
		ret = preadv(op->fd, op->iov, (int)op->n_iov, (off_t)op->offset);
		break;
	case REACTOR_OP_WRITEV:
		ret = pwritev(op->fd, op->iov, (int)op->n_iov, (off_t)op->offset);
		break;
	case REACTOR_OP_FSYNC:
		ret = fdatasync(op->fd);
		break;
	case REACTOR_OP_FALLOCATE:
		ret = fallocate(op->fd, op->mode, (off_t)op->offset, (off_t)op->len);
		break;
	case REACTOR_OP_POLL:
	case REACTOR_OP_TIMER:
		ASSERT(op->kind != REACTOR_OP_POLL && op->kind != REACTOR_OP_TIMER);
		break;
	}
	return ret < 0 ? -errno : (int)ret;
}

/* The next op to run, or NULL when the pool stops. Called and returns with the lock held. */
static struct reactor_op *next_op(struct io_pool *p)
{
	while (list_is_empty(&p->waiting) && !p->stop) {
		p->n_idle++;
		pthread_cond_wait(&p->work, &p->lock);
		p->n_idle--;
	}
	struct list *node = list_pop(&p->waiting);
	if (!node)
		return NULL;
	p->n_waiting--;
	struct reactor_op *op = container_of(node, struct reactor_op, node);
	op->handed_over = true;
	return op;
}

static void *worker(void *arg)
{
	struct io_pool *p = arg;
	struct reactor_op *op;

	/* By itself: for another thread libc opens a file of /proc, which a VM process may not. */
	(void)pthread_setname_np(pthread_self(), "reactor-io"); /* only a name */
	pthread_mutex_lock(&p->lock);
	while ((op = next_op(p))) {
		struct reactor *r =
		    op->reactor; /* op may be gone as soon as it is on the done list */
		pthread_mutex_unlock(&p->lock);
		op->res = perform(op);
		pthread_mutex_lock(&p->lock);
		/* Not empty: another worker woke the owner, and it has not looked yet. */
		bool wake = list_is_empty(&p->done);
		list_add_tail(&p->done, &op->node);
		if (wake) {
			pthread_mutex_unlock(&p->lock);
			reactor_wake(r); /* r lives until io_pool_free has joined us */
			pthread_mutex_lock(&p->lock);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* A worker takes no signals: they are for the threads that install handlers (a vCPU's kick). */
static int start_worker(struct io_pool *p)
{
	sigset_t all, saved;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int ret = pthread_create(&p->workers[p->n_workers], NULL, worker, p);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (ret)
		return -ret;
	p->n_workers++;
	return 0;
}

struct io_pool *io_pool_new(void)
{
	struct io_pool *p = xcalloc(1, sizeof(*p));

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	list_init(&p->waiting);
	list_init(&p->done);
	return p;
}

struct io_pool *io_pool_free(struct io_pool *p)
{
	pthread_mutex_lock(&p->lock);
	ASSERT(list_is_empty(&p->waiting) && list_is_empty(&p->done));
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_workers; i++)
		pthread_join(p->workers[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

int io_pool_submit(struct io_pool *p, struct reactor_op *op)
{
	pthread_mutex_lock(&p->lock);
	bool short_of_workers = p->n_waiting >= p->n_idle;
	pthread_mutex_unlock(&p->lock);

	/* The workers there are will do where another cannot be had; without any, nobody would. */
	if (short_of_workers && p->n_workers < N_WORKERS_MAX) {
		int ret = start_worker(p);
		if (ret < 0 && p->n_workers == 0)
			return ret;
	}

	pthread_mutex_lock(&p->lock);
	list_add_tail(&p->waiting, &op->node);
	p->n_waiting++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

bool io_pool_take_back(struct io_pool *p, struct reactor_op *op)
{
	pthread_mutex_lock(&p->lock);
	bool ours = !op->handed_over;
	if (ours) {
		list_remove(&op->node);
		p->n_waiting--;
	}
	pthread_mutex_unlock(&p->lock);
	return ours;
}

void io_pool_collect(struct io_pool *p, struct list *ret_done)
{
	if (p->n_workers == 0)
		return;
	pthread_mutex_lock(&p->lock);
	list_move_all(ret_done, &p->done);
	pthread_mutex_unlock(&p->lock);
}
