// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts that no device sends: the error and the request index, by which the
 * kernel tells the user that the device has failed or is wanted back, and the
 * timer, for devices that have no interrupt of their own.
 */
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/nospec.h>
#include <linux/pci.h>
#include <linux/seq_file.h>

#include "uvfio.h"

/*
 * Ticks that are made up for at a time when the CPU was away: what is more has
 * been missed, so that a stalled machine does not have to wade through them.
 */
#define TIMER_CATCH_UP	1000

/*
 * To signal takes as long as there are waiters, and who has too many for this shall
 * not have the CPU for himself: he misses ticks for several times as long as it took.
 */
#define TIMER_BUDGET_NS	(5 * NSEC_PER_MSEC)
#define TIMER_REST	9

static const char * const event_name[UVFIO_NUM_EVENTS] = {
	[UVFIO_EVENT(VFIO_PCI_ERR_IRQ_INDEX)] = "err",
	[UVFIO_EVENT(VFIO_PCI_REQ_IRQ_INDEX)] = "req",
	[UVFIO_EVENT(UVFIO_TIMER_IRQ_INDEX)] = "timer",
};

/* The timer */

/*
 * How many periods are over at @now; then it is due at the end of the next one. From
 * when it was due, not from now: it does not drift. Not hrtimer_forward(), whose
 * periods are no shorter than the clock event device's.
 */
static u64 timer_pass(struct uvfio_timer *timer, ktime_t now)
{
	s64 late = ktime_to_ns(ktime_sub(now,
					 hrtimer_get_expires(&timer->hrtimer)));
	u64 ticks;

	if (late < 0)
		return 0;
	ticks = div64_u64(late, timer->period_ns) + 1;
	hrtimer_add_expires_ns(&timer->hrtimer, ticks * timer->period_ns);
	return ticks;
}

/* Runs only while there is an eventfd, which does not change meanwhile. */
static enum hrtimer_restart timer_tick(struct hrtimer *hrtimer)
{
	struct uvfio_timer *timer = container_of(hrtimer, struct uvfio_timer,
						 hrtimer);
	struct uvfio_event *event = timer->event;
	ktime_t began = ktime_get();
	s64 took = 0;
	u64 ticks;

	ticks = min_t(u64, timer_pass(timer, began), TIMER_CATCH_UP);
	for (; ticks && took < TIMER_BUDGET_NS; ticks--) {
		event->count++;
		eventfd_signal(event->trigger);
		took = ktime_to_ns(ktime_sub(ktime_get(), began));
	}
	if (took >= TIMER_BUDGET_NS)
		timer_pass(timer, ktime_add_ns(began, took + TIMER_REST * took));
	return HRTIMER_RESTART;
}

static void timer_start(struct uvfio_timer *timer)
{
	if (timer->period_ns && timer->event->trigger)
		hrtimer_start_expires(&timer->hrtimer, HRTIMER_MODE_ABS_SOFT);
}

/**
 * uvfio_timer_set - UVFIO_IRQ_TIMER
 * @udev: device_lock
 * @cmd: the arguments
 */
int uvfio_timer_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct uvfio_irq_timer *arg = &cmd->irq_timer;
	struct uvfio_timer *timer = &udev->timer;

	device_lock_assert(&udev->pdev->dev);

	if (arg->flags || (arg->period_ns &&
			   (arg->period_ns < UVFIO_TIMER_MIN_NS ||
			    arg->period_ns > UVFIO_TIMER_MAX_NS)))
		return -EINVAL;

	guard(rwsem_write)(&udev->mem_rwsem);
	hrtimer_cancel(&timer->hrtimer);
	timer->period_ns = arg->period_ns;
	hrtimer_set_expires(&timer->hrtimer,
			    ktime_add_ns(ktime_get(), timer->period_ns));
	timer_start(timer);
	return 0;
}

/* The tick that is due while an eventfd is exchanged comes late, but comes. */
static void timer_exchange(struct uvfio_timer *timer,
			   struct eventfd_ctx **trigger)
{
	struct eventfd_ctx *old = timer->event->trigger;

	hrtimer_cancel(&timer->hrtimer);
	swap(timer->event->trigger, *trigger);
	/* Nobody waited for what was due before. */
	if (!old && timer->period_ns)
		timer_pass(timer, ktime_get());
	timer_start(timer);
}

/* Events */

static struct uvfio_event *event_of(struct uvfio_dev *udev, u32 index)
{
	return &udev->events[array_index_nospec(UVFIO_EVENT(index),
						UVFIO_NUM_EVENTS)];
}

void uvfio_events_init(struct uvfio_dev *udev)
{
	udev->timer.event = event_of(udev, UVFIO_TIMER_IRQ_INDEX);
	hrtimer_setup(&udev->timer.hrtimer, timer_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_ABS_SOFT);
}

/* How many there are with an index: 0 or 1. */
unsigned int uvfio_event_count(struct uvfio_dev *udev, u32 index)
{
	return index != VFIO_PCI_ERR_IRQ_INDEX || pci_is_pcie(udev->pdev);
}

/**
 * uvfio_event_trigger - set the eventfd of an index
 * @udev: device_lock, mem_rwsem for write
 * @index: VFIO_PCI_ERR_IRQ_INDEX or later
 * @trigger: a reference that is taken over; NULL: none
 */
void uvfio_event_trigger(struct uvfio_dev *udev, u32 index,
			 struct eventfd_ctx *trigger)
{
	lockdep_assert_held_write(&udev->mem_rwsem);

	if (index == UVFIO_TIMER_IRQ_INDEX)
		timer_exchange(&udev->timer, &trigger);
	else
		swap(event_of(udev, index)->trigger, trigger);
	if (trigger)
		eventfd_ctx_put(trigger);
}

/**
 * uvfio_event_loopback - signal the user's eventfd as if it had happened
 * @udev: mem_rwsem
 * @index: VFIO_PCI_ERR_IRQ_INDEX or later
 *
 * False: there is no eventfd.
 */
bool uvfio_event_loopback(struct uvfio_dev *udev, u32 index)
{
	struct eventfd_ctx *trigger = event_of(udev, index)->trigger;

	lockdep_assert_held(&udev->mem_rwsem);

	if (!trigger)
		return false;
	eventfd_signal(trigger);
	return true;
}

/**
 * uvfio_event_signal - tell the user that something happened, if he listens
 * @udev: device_lock
 * @index: VFIO_PCI_ERR_IRQ_INDEX or VFIO_PCI_REQ_IRQ_INDEX
 */
void uvfio_event_signal(struct uvfio_dev *udev, u32 index)
{
	struct uvfio_event *event = event_of(udev, index);

	device_lock_assert(&udev->pdev->dev);

	if (!event->trigger)
		return;
	event->count++;
	eventfd_signal(event->trigger);
}

/* The user has to go, or is gone: mem_rwsem for write. */
void uvfio_events_release(struct uvfio_dev *udev)
{
	u32 index;

	lockdep_assert_held_write(&udev->mem_rwsem);

	for (index = VFIO_PCI_ERR_IRQ_INDEX; index < UVFIO_NUM_IRQS; index++) {
		uvfio_event_trigger(udev, index, NULL);
		event_of(udev, index)->count = 0;
	}
	udev->timer.period_ns = 0;
}

/* Lines of fdinfo; mem_rwsem. */
void uvfio_events_show(struct seq_file *m, struct uvfio_dev *udev)
{
	unsigned int i;

	lockdep_assert_held(&udev->mem_rwsem);

	for (i = 0; i < UVFIO_NUM_EVENTS; i++) {
		if (!udev->events[i].trigger)
			continue;
		seq_printf(m, "%s:\tcount=%lu", event_name[i],
			   READ_ONCE(udev->events[i].count));
		if (udev->timer.event == &udev->events[i])
			seq_printf(m, " period_ns=%llu",
				   udev->timer.period_ns);
		seq_putc(m, '\n');
	}
}
