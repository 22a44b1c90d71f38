// SPDX-License-Identifier: GPL-2.0
/*
 * The timer of a device that has no interrupt: its ticks are counted against the
 * clock, none more and none less, however late somebody looks.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "irq.h"
#include "root.h"
#include "test.h"

#define MS		1000000ULL
/* The kernel makes up for a thousand of them: a machine may stall for 5 s. */
#define PERIOD		(5 * MS)
#define DAY		UVFIO_TIMER_MAX_NS
#define FULL		0xfffffffffffffffeULL	/* as far as write() goes */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 * MS + ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	usleep(ns / 1000);
}

/* What there has been of ticks, and what tells how many there have to be. */
struct clock {
	uint64_t period;
	uint64_t from, until;	/* between these it was started */
	uint64_t ticks;
	uint64_t least_missed, most_missed;	/* while nobody listened */
};

static int clock_start(struct clock *clock, int fd, uint64_t period)
{
	int ret;

	memset(clock, 0, sizeof(*clock));
	clock->period = period;
	clock->from = now_ns();
	ret = uvfio_irq_timer(fd, period);
	clock->until = now_ns();
	return ret;
}

static int connect(int fd, int event)
{
	return irq_connect(fd, UVFIO_TIMER_IRQ_INDEX, 0, event);
}

/* All ticks before this one have been taken; those since have gone by. */
static int clock_connect(struct clock *clock, int fd, int event)
{
	uint64_t gone = clock->ticks;
	int ret;

	clock->least_missed = (now_ns() - clock->until) / clock->period - gone;
	ret = connect(fd, event);
	clock->most_missed = (now_ns() - clock->from) / clock->period - gone;
	return ret;
}

/* Also of a semaphore, which gives one at a time. */
static uint64_t take_all(int event)
{
	uint64_t count, sum = 0;

	while ((count = event_take(event)))
		sum += count;
	return sum;
}

/*
 * There is never a tick too many, and once, at least, none too few: the one that is
 * due may come late, but one that is lost is always missing.
 */
static bool clock_is_right(struct clock *clock, const int *events,
			   unsigned int count)
{
	uint64_t end = now_ms() + WAIT_MS, least, most, before;
	unsigned int i;

	do {
		before = now_ns();
		for (i = 0; i < count; i++)
			clock->ticks += take_all(events[i]);
		most = (now_ns() - clock->from) / clock->period -
		       clock->least_missed;
		least = (before - clock->until) / clock->period;
		least -= least < clock->most_missed ? least :
						       clock->most_missed;
		if (clock->ticks > most)
			break;
		if (clock->ticks >= least)
			return true;
		sleep_ns(clock->period / 3);
	} while (now_ms() < end);
	printf("# %llu ticks, not %llu to %llu\n",
	       (unsigned long long)clock->ticks, (unsigned long long)least,
	       (unsigned long long)most);
	return false;
}

FIXTURE(timer)
{
	struct device dev;
	int fd;
	int event;
	int root;
	struct clock clock;
};

FIXTURE_VARIANT(timer)
{
	enum which which;
};

/* Has no interrupt, and no reset. */
FIXTURE_VARIANT_ADD(timer, testdev)
{
	.which = TESTDEV,
};

FIXTURE_VARIANT_ADD(timer, nvme)
{
	.which = NVME,
};

FIXTURE_SETUP(timer)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->root = root_start();
	ASSERT_LE(0, self->root);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	self->event = event_new();
	ASSERT_LE(0, self->event);
}

FIXTURE_TEARDOWN(timer)
{
	device_close(&self->dev);
}

#define START(period)	clock_start(&self->clock, self->fd, period)
#define CONNECT(event)	connect(self->fd, event)
#define IS_RIGHT()	clock_is_right(&self->clock, &self->event, 1)
#define TICKS()		event_wait(self->event, WAIT_MS)
#define IS_QUIET()	(!event_wait(self->event, QUIET_MS))

TEST_F(timer, keeps_time)
{
	static const uint64_t periods[] = { MS, PERIOD, 30 * MS, 400 * MS };
	unsigned int i, j;

	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(IS_QUIET());
	for (i = 0; i < ARRAY_SIZE(periods); i++) {
		EXPECT_EQ(0, uvfio_irq_timer(self->fd, 0));
		take_all(self->event);
		ASSERT_EQ(0, START(periods[i]));
		for (j = 0; j < 4; j++) {
			sleep_ns(500 * MS);
			EXPECT_TRUE(IS_RIGHT());
		}
		EXPECT_LE(2000 * MS / periods[i], self->clock.ticks);
	}
}

/* Nobody is promised more of so short a period than that it goes on. */
TEST_F(timer, shortest_period)
{
	uint64_t ticks, passed;

	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(UVFIO_TIMER_MIN_NS));
	sleep_ns(1000 * MS);
	ticks = take_all(self->event);
	passed = now_ns() - self->clock.from;
	EXPECT_LE(100, ticks);
	EXPECT_GE(passed / UVFIO_TIMER_MIN_NS, ticks);
	EXPECT_TRUE(TICKS());
}

TEST_F(timer, whoever_listens)
{
	const int events[] = { self->event, event_new() };
	int i;

	ASSERT_LE(0, events[1]);
	ASSERT_EQ(0, CONNECT(events[0]));
	ASSERT_EQ(0, START(PERIOD));
	/* Nobody reads for a while. */
	sleep_ns(700 * MS);
	EXPECT_TRUE(IS_RIGHT());
	/* One takes over from the other: each tick is somebody's. */
	for (i = 0; i < 400; i++) {
		ASSERT_EQ(0, CONNECT(events[i % 2]));
		sleep_ns(PERIOD / 3 + i * 10000);
	}
	EXPECT_TRUE(clock_is_right(&self->clock, events, 2));
	ASSERT_EQ(0, CONNECT(events[0]));
	take_all(events[1]);
	EXPECT_TRUE(TICKS());
	EXPECT_FALSE(event_wait(events[1], 0));
	close(events[1]);
}

TEST_F(timer, periods_out_of_range_change_nothing)
{
	static const uint64_t bad[] = {
		1, UVFIO_TIMER_MIN_NS - 1, UVFIO_TIMER_MAX_NS + 1, INT64_MAX,
		1ULL << 63, UINT64_MAX,
	};
	unsigned int i;

	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(PERIOD));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, uvfio_irq_timer(self->fd, bad[i]));
		sleep_ns(5 * PERIOD);
		EXPECT_TRUE(IS_RIGHT());
	}
	EXPECT_EQ(0, uvfio_irq_timer(self->fd, UVFIO_TIMER_MAX_NS));
	take_all(self->event);
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(0, uvfio_irq_timer(self->fd, UVFIO_TIMER_MIN_NS));
	EXPECT_TRUE(TICKS());
}

TEST_F(timer, malformed_is_refused)
{
	struct {
		struct uvfio_irq_timer timer;
		uint64_t tail;
	} arg = {
		.timer.argsz = sizeof(arg.timer),
		.timer.period_ns = DAY,
		.tail = UINT64_MAX,
	};
	static const uint32_t short_sizes[] = { 0, 4, 8, 15 };
	unsigned int i;

	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(PERIOD));
	for (i = 0; i < ARRAY_SIZE(short_sizes); i++) {
		arg.timer.argsz = short_sizes[i];
		EXPECT_EQ(-1, ioctl(self->fd, UVFIO_IRQ_TIMER, &arg));
		EXPECT_EQ(EINVAL, errno);
	}
	arg.timer.argsz = sizeof(arg.timer);
	for (i = 0; i < 32; i++) {
		arg.timer.flags = 1U << i;
		EXPECT_EQ(-1, ioctl(self->fd, UVFIO_IRQ_TIMER, &arg));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(-1, ioctl(self->fd, UVFIO_IRQ_TIMER, NULL));
	EXPECT_EQ(EFAULT, errno);
	sleep_ns(10 * PERIOD);
	EXPECT_TRUE(IS_RIGHT());
	arg.timer.flags = 0;
	arg.timer.argsz = sizeof(arg);
	EXPECT_EQ(0, ioctl(self->fd, UVFIO_IRQ_TIMER, &arg));
	take_all(self->event);
	EXPECT_TRUE(IS_QUIET());
}

/* Of one timer there is not a second; it cannot be masked; eventfds are such. */
TEST_F(timer, connecting_is_refused_as_ever)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), closed = dup(null);
	const int two[] = { self->event, self->event };
	const uint32_t index = UVFIO_TIMER_IRQ_INDEX;

	close(closed);
	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(PERIOD));
	EXPECT_EQ(-EBADF, CONNECT(closed));
	EXPECT_EQ(-EBADF, CONNECT(-2));
	EXPECT_EQ(-EINVAL, CONNECT(null));
	EXPECT_EQ(-EINVAL, CONNECT(self->fd));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(self->fd, index, 1, two, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(self->fd, index, 0, two, 2));
	EXPECT_EQ(-EINVAL, uvfio_irq_mask(self->fd, index, 0, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_unmask(self->fd, index, 0, 1));
	EXPECT_EQ(-EINVAL, set_irqs(self->fd, EVENTFD_MASK, index, 0, 1, two,
				    sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(self->fd, EVENTFD_UNMASK, index, 0, 1, two,
				    sizeof(int)));
	sleep_ns(10 * PERIOD);
	EXPECT_TRUE(IS_RIGHT());
	close(null);
}

TEST_F(timer, can_be_stopped)
{
	int i;

	ASSERT_EQ(0, CONNECT(self->event));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, START(PERIOD));
		EXPECT_TRUE(TICKS());
		EXPECT_EQ(0, uvfio_irq_timer(self->fd, 0));
		take_all(self->event);
		EXPECT_TRUE(IS_QUIET());
		/* Twice is no error; what has passed is not made up for. */
		EXPECT_EQ(0, uvfio_irq_timer(self->fd, 0));
		ASSERT_EQ(0, START(PERIOD));
		EXPECT_TRUE(IS_RIGHT());
		/* From one period to another, without a stop. */
		EXPECT_EQ(0, uvfio_irq_timer(self->fd, DAY));
		take_all(self->event);
		EXPECT_TRUE(IS_QUIET());
		ASSERT_EQ(0, START(3 * PERIOD));
		sleep_ns(20 * PERIOD);
		EXPECT_TRUE(IS_RIGHT());
		EXPECT_EQ(0, uvfio_irq_timer(self->fd, 0));
		take_all(self->event);
	}
}

/* The period is counted from when it was set, ticks from when somebody listens. */
TEST_F(timer, can_be_set_before_it_is_connected)
{
	ASSERT_EQ(0, START(PERIOD));
	sleep_ns(50 * PERIOD);
	ASSERT_EQ(0, clock_connect(&self->clock, self->fd, self->event));
	EXPECT_TRUE(IS_RIGHT());
	sleep_ns(50 * PERIOD);
	EXPECT_TRUE(IS_RIGHT());
	EXPECT_LE(50, self->clock.ticks);
}

/* The ticks by fdinfo, -1: nobody listens. */
static long long counted(int fd)
{
	unsigned long long count, period;
	char value[128];

	if (!fdinfo_find(fd, "timer", value, sizeof(value)) ||
	    sscanf(value, "count=%llu period_ns=%llu", &count, &period) != 2)
		return -1;
	return count;
}

TEST_F(timer, disconnected_is_not_made_up_for)
{
	int i;

	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(PERIOD));
	for (i = 0; i < 4; i++) {
		sleep_ns(30 * PERIOD);
		EXPECT_TRUE(IS_RIGHT());
		ASSERT_EQ(0, i % 2 ? uvfio_irq_disable(self->fd,
						       UVFIO_TIMER_IRQ_INDEX) :
				     CONNECT(-1));
		self->clock.ticks += take_all(self->event);
		EXPECT_TRUE(IS_QUIET());
		EXPECT_EQ(-1, counted(self->fd));
		ASSERT_EQ(0, clock_connect(&self->clock, self->fd,
					   self->event));
		EXPECT_TRUE(IS_RIGHT());
	}
	/* Of one that is not there, no error. */
	ASSERT_EQ(0, CONNECT(-1));
	ASSERT_EQ(0, CONNECT(-1));
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, UVFIO_TIMER_IRQ_INDEX));
}

static int loop_back(int fd, uint8_t meant)
{
	return set_irqs(fd, BOOL_TRIGGER, UVFIO_TIMER_IRQ_INDEX, 0, 1, &meant,
			1);
}

TEST_F(timer, loopback)
{
	const uint32_t index = UVFIO_TIMER_IRQ_INDEX;
	int i;

	/* There is nobody to be told. */
	EXPECT_EQ(-EINVAL, uvfio_irq_trigger(self->fd, index, 0, 1));
	EXPECT_EQ(0, loop_back(self->fd, 1));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(IS_QUIET());
	/* Whether it ticks or not. */
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, uvfio_irq_trigger(self->fd, index, 0, 1));
		EXPECT_EQ(1, event_take(self->event));
		EXPECT_EQ(0, loop_back(self->fd, 1));
		EXPECT_EQ(0, loop_back(self->fd, 255));
		EXPECT_EQ(0, loop_back(self->fd, 0));
		EXPECT_EQ(2, event_take(self->event));
		ASSERT_EQ(0, uvfio_irq_timer(self->fd, DAY));
	}
	EXPECT_EQ(-EINVAL, uvfio_irq_trigger(self->fd, index, 1, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_trigger(self->fd, index, 0, 2));
	EXPECT_FALSE(event_wait(self->event, 0));
	/* It is no tick. */
	ASSERT_EQ(0, START(PERIOD));
	for (i = 0; i < 20; i++) {
		sleep_ns(PERIOD / 2);
		EXPECT_EQ(0, uvfio_irq_trigger(self->fd, index, 0, 1));
	}
	self->clock.ticks = -20;
	self->clock.ticks += take_all(self->event);
	EXPECT_TRUE(IS_RIGHT());
}

TEST_F(timer, outlives_reset)
{
	int i;

	if (variant->which == TESTDEV)
		SKIP(return, "pci-testdev has no reset");
	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(PERIOD));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, uvfio_reset(self->fd));
		EXPECT_TRUE(IS_RIGHT());
	}
}

static bool is_unset(int fd)
{
	return fdinfo_is(fd, "timer", "count=0 period_ns=0");
}

TEST_F(timer, ends_with_its_user)
{
	int way;

	EXPECT_EQ(0, CONNECT(self->event));
	for (way = 0; way < 2; way++) {
		ASSERT_EQ(0, START(PERIOD));
		EXPECT_TRUE(TICKS());
		if (way) {
			device_close(&self->dev);
			take_all(self->event);
			EXPECT_TRUE(IS_QUIET());
			ASSERT_EQ(0, device_open(&self->dev));
			self->fd = self->dev.fd;
		} else {
			ASSERT_EQ(0, uvfio_detach(self->fd));
			take_all(self->event);
		}
		EXPECT_TRUE(IS_QUIET());
		EXPECT_EQ(-EUNATCH, uvfio_irq_timer(self->fd, PERIOD));
		EXPECT_EQ(-EUNATCH, CONNECT(self->event));
		ASSERT_EQ(0, uvfio_attach(self->fd, -1));
		EXPECT_TRUE(IS_QUIET());
		ASSERT_EQ(0, CONNECT(self->event));
		EXPECT_TRUE(is_unset(self->fd));
		EXPECT_TRUE(IS_QUIET());
	}
	/* A period alone is forgotten, too. */
	ASSERT_EQ(0, CONNECT(-1));
	ASSERT_EQ(0, START(PERIOD));
	ASSERT_EQ(0, uvfio_detach(self->fd));
	ASSERT_EQ(0, uvfio_attach(self->fd, -1));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(is_unset(self->fd));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, START(PERIOD));
	sleep_ns(10 * PERIOD);
	EXPECT_TRUE(IS_RIGHT());
}

TEST_F(timer, ends_with_the_device)
{
	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, START(UVFIO_TIMER_MIN_NS));
	EXPECT_TRUE(TICKS());
	ASSERT_EQ(0, root_unbind(self->root, self->dev.bdf));
	take_all(self->event);
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(-ENODEV, uvfio_irq_timer(self->fd, PERIOD));
	EXPECT_EQ(-ENODEV, CONNECT(self->event));
}

TEST_F(timer, semaphores)
{
	int semaphore = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);

	ASSERT_LE(0, semaphore);
	ASSERT_EQ(0, CONNECT(semaphore));
	ASSERT_EQ(0, START(PERIOD));
	sleep_ns(100 * PERIOD);
	EXPECT_EQ(1, event_take(semaphore));
	self->clock.ticks++;
	EXPECT_TRUE(clock_is_right(&self->clock, &semaphore, 1));
	close(semaphore);
}

TEST_F(timer, counts_its_ticks)
{
	int i;

	EXPECT_EQ(-1, counted(self->fd));
	ASSERT_EQ(0, uvfio_irq_timer(self->fd, DAY));
	EXPECT_EQ(-1, counted(self->fd));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(fdinfo_is(self->fd, "timer",
			      "count=0 period_ns=86400000000000"));
	ASSERT_EQ(0, START(PERIOD));
	for (i = 0; i < 5; i++) {
		sleep_ns(10 * PERIOD);
		EXPECT_TRUE(IS_RIGHT());
	}
	/* All of them, and no loopback; it goes on when it is set anew. */
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, UVFIO_TIMER_IRQ_INDEX, 0, 1));
	ASSERT_EQ(0, uvfio_irq_timer(self->fd, 0));
	self->clock.ticks += take_all(self->event) - 1;
	EXPECT_EQ((long long)self->clock.ticks, counted(self->fd));
	ASSERT_EQ(0, uvfio_irq_timer(self->fd, MS));
	EXPECT_TRUE(event_wait(self->event, WAIT_MS));
	EXPECT_LT((long long)self->clock.ticks, counted(self->fd));
}

/* Blocked is the process that would signal it, and that is not the timer. */
TEST_F(timer, full_eventfds)
{
	uint64_t full = FULL;
	int blocking = eventfd(0, EFD_CLOEXEC);
	long long before;

	ASSERT_LE(0, blocking);
	ASSERT_EQ(8, write(blocking, &full, sizeof(full)));
	ASSERT_EQ(0, CONNECT(blocking));
	ASSERT_EQ(0, START(PERIOD));
	before = counted(self->fd);
	sleep_ns(20 * PERIOD);
	EXPECT_LT(before, counted(self->fd));
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, UVFIO_TIMER_IRQ_INDEX, 0, 1));
	/* It has what it could take. */
	EXPECT_EQ(UINT64_MAX, event_take(blocking));
	EXPECT_TRUE(event_wait(blocking, WAIT_MS));
	ASSERT_EQ(8, write(blocking, &full, sizeof(full)));
	sleep_ns(5 * PERIOD);
	/* The next one is as good as if nothing had been. */
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(TICKS());
	close(blocking);
}

TEST_F(timer, outlives_the_descriptor)
{
	int other = event_new(), copy = dup(other);
	long long before;

	ASSERT_EQ(0, CONNECT(other));
	ASSERT_EQ(0, START(PERIOD));
	close(other);
	sleep_ns(20 * PERIOD);
	EXPECT_TRUE(clock_is_right(&self->clock, &copy, 1));
	close(copy);
	before = counted(self->fd);
	sleep_ns(20 * PERIOD);
	EXPECT_LT(before, counted(self->fd));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(TICKS());
}

struct meddler {
	int fd;
	int event;
	bool end;
};

static void *meddle(void *data)
{
	struct meddler *meddler = data;
	uint64_t period = UVFIO_TIMER_MIN_NS;

	while (!__atomic_load_n(&meddler->end, __ATOMIC_ACQUIRE)) {
		uvfio_irq_timer(meddler->fd, period);
		connect(meddler->fd, -1);
		connect(meddler->fd, meddler->event);
		period = period ? 0 : UVFIO_TIMER_MIN_NS;
	}
	return NULL;
}

TEST_F(timer, changed_by_everyone)
{
	struct meddler meddler[2];
	uint64_t end = now_ms() + stress_ms(1, 20);
	pthread_t thread[2];
	int i;

	for (i = 0; i < 2; i++) {
		meddler[i] = (struct meddler){
			.fd = self->fd,
			.event = event_new(),
		};
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, meddle,
					    &meddler[i]));
	}
	while (now_ms() < end) {
		counted(self->fd);
		EXPECT_EQ(0, loop_back(self->fd, 1));
	}
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&meddler[i].end, true, __ATOMIC_RELEASE);
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		close(meddler[i].event);
	}
	ASSERT_EQ(0, CONNECT(-1));
	ASSERT_EQ(0, uvfio_irq_timer(self->fd, 0));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, START(PERIOD));
	sleep_ns(20 * PERIOD);
	EXPECT_TRUE(IS_RIGHT());
}

/* Each device has its own. */
TEST(timers_are_apart)
{
	static const enum which which[] = { TESTDEV, NVME, EDU };
	struct device dev[ARRAY_SIZE(which)];
	struct clock clock[ARRAY_SIZE(which)];
	int event[ARRAY_SIZE(which)];
	unsigned int i, round;

	for (i = 0; i < ARRAY_SIZE(which); i++)
		ASSERT_EQ(0, device_prepare(which[i], &dev[i]));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	for (i = 0; i < ARRAY_SIZE(which); i++) {
		event[i] = event_new();
		ASSERT_LE(0, event[i]);
		ASSERT_EQ(0, device_open_attached(&dev[i], -1));
		ASSERT_EQ(0, connect(dev[i].fd, event[i]));
		ASSERT_EQ(0, clock_start(&clock[i], dev[i].fd,
					 (i + 1) * PERIOD));
	}
	for (round = 0; round < 5; round++) {
		sleep_ns(200 * MS);
		for (i = 0; i < ARRAY_SIZE(which); i++)
			EXPECT_TRUE(clock_is_right(&clock[i], &event[i], 1));
	}
	ASSERT_EQ(0, uvfio_irq_timer(dev[0].fd, 0));
	take_all(event[0]);
	EXPECT_FALSE(event_wait(event[0], QUIET_MS));
	EXPECT_TRUE(clock_is_right(&clock[1], &event[1], 1));
	for (i = 0; i < ARRAY_SIZE(which); i++)
		device_close(&dev[i]);
}

TEST_HARNESS_MAIN
