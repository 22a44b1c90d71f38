// SPDX-License-Identifier: GPL-2.0
/*
 * Listening to an eventfd: a user, or KVM for a guest, signals it, and the kernel
 * does something at once, without a thread that reads it.
 *
 * A listener is an entry in the eventfd's wait queue. Whoever signals runs it, with
 * the queue's lock held and interrupts off, so what is to be done is tried there
 * without waiting; where that cannot be, a work item does it. In an interrupt it is
 * always the work item: a device whose interrupt signals the eventfd, which writes
 * to the device, which interrupts, would have the CPU for itself. The worker is one
 * of no CPU, so that the scheduler can be fair to others.
 *
 * The signal is consumed: the eventfd counts no further and never blocks a writer,
 * unless it is a semaphore, of which one signal takes one.
 * A listener has a reference to the eventfd, not to the file: it hears in-kernel
 * signals also when no descriptor is left.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/preempt.h>

#include "uvfio.h"

struct listener_poll {
	poll_table table;
	struct uvfio_listener *listener;
};

static u64 listener_consume(struct uvfio_listener *listener)
{
	u64 count;

	lockdep_assert_held(&listener->queue->lock);
	eventfd_ctx_do_read(listener->eventfd, &count);
	return count;
}

static void listener_act(struct uvfio_listener *listener)
{
	/* A thread of the kernel may be an interrupt's. */
	if (!in_task() || current->flags & PF_KTHREAD ||
	    !listener->signalled(listener, false))
		queue_work(system_unbound_wq, &listener->work);
}

/* Another listener may have been here first and have left no count to consume. */
static int listener_wake(wait_queue_entry_t *wait, unsigned int mode, int sync,
			 void *key)
{
	struct uvfio_listener *listener =
		container_of(wait, struct uvfio_listener, wait);

	if (key_to_poll(key) & EPOLLIN) {
		listener_consume(listener);
		listener_act(listener);
	}
	return 0;
}

/* The function of a listener's work, see uvfio_listener_start(). */
void uvfio_listener_work(struct work_struct *work)
{
	struct uvfio_listener *listener =
		container_of(work, struct uvfio_listener, work);

	listener->signalled(listener, true);
}

static void listener_queue(struct file *file, wait_queue_head_t *queue,
			   poll_table *table)
{
	struct uvfio_listener *listener =
		container_of(table, struct listener_poll, table)->listener;

	listener->queue = queue;
	add_wait_queue(queue, &listener->wait);
}

/* What was signalled before counts as one signal, and makes room for writers. */
static void listener_catch_up(struct uvfio_listener *listener)
{
	spin_lock_irq(&listener->queue->lock);
	if (listener_consume(listener))
		listener_act(listener);
	/* As in eventfd_read(): whoever is woken is not to signal it right here. */
	current->in_eventfd = 1;
	wake_up_locked_poll(listener->queue, EPOLLOUT);
	current->in_eventfd = 0;
	spin_unlock_irq(&listener->queue->lock);
}

/**
 * uvfio_listener_start - have a function called when an eventfd is signalled
 * @listener: not in use; INIT_WORK() with uvfio_listener_work() is the caller's, whose
 *	work so has a lock class of its own: it depends on what his function takes
 * @fd: the eventfd
 * @signalled: the function: not to sleep, or false if it would have to, unless
 *	@may_sleep
 *
 * Calls do not overlap, but for one that may sleep with one that may not. From
 * several signals while one is waiting to be served can come one call.
 *
 * Return: -EBADF, @fd is not open; -EINVAL, it is no eventfd.
 */
int uvfio_listener_start(struct uvfio_listener *listener, int fd,
			 bool (*signalled)(struct uvfio_listener *listener,
					   bool may_sleep))
{
	struct listener_poll poll = { .listener = listener };
	struct file *file = fget(fd);
	int ret = 0;

	if (!file)
		return -EBADF;

	listener->eventfd = eventfd_ctx_fileget(file);
	if (IS_ERR(listener->eventfd)) {
		ret = PTR_ERR(listener->eventfd);
		goto put_file;
	}

	listener->signalled = signalled;
	init_waitqueue_func_entry(&listener->wait, listener_wake);
	init_poll_funcptr(&poll.table, listener_queue);
	if (vfs_poll(file, &poll.table) & EPOLLIN)
		listener_catch_up(listener);
put_file:
	fput(file);
	return ret;
}

/**
 * uvfio_listener_stop - undo uvfio_listener_start()
 * @listener: its function needs no lock that the caller has
 *
 * The function is not running and not called any more when this returns.
 */
void uvfio_listener_stop(struct uvfio_listener *listener)
{
	remove_wait_queue(listener->queue, &listener->wait);
	cancel_work_sync(&listener->work);
	eventfd_ctx_put(listener->eventfd);
}
