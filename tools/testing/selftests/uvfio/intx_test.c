// SPDX-License-Identifier: GPL-2.0
/*
 * The INTx line of edu, a level that stays until the device is served: it masks
 * itself, and is masked and unmasked by calls and by eventfds.
 */
#include <pthread.h>
#include <unistd.h>

#include "irq.h"
#include "test.h"

FIXTURE(intx)
{
	struct device dev;
	struct edu edu;
	int event;
};

FIXTURE_SETUP(intx)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	self->event = event_new();
	ASSERT_LE(0, self->event);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_INTX_IRQ_INDEX,
					0, &self->event, 1));
}

FIXTURE_TEARDOWN(intx)
{
	edu_stop(&self->edu);
	device_close(&self->dev);
}

TEST_F(intx, masks_itself)
{
	int i;

	for (i = 0; i < 3; i++) {
		edu_write(&self->edu, EDU_IRQ_RAISE, 1);
		EXPECT_TRUE(event_wait(self->event, WAIT_MS));
		/* Still asserted, and silent. */
		EXPECT_FALSE(event_wait(self->event, QUIET_MS));
		edu_write(&self->edu, EDU_IRQ_RAISE, 2);
		EXPECT_FALSE(event_wait(self->event, QUIET_MS));
		/* Unmasked without being served, it fires at once. */
		EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
		EXPECT_TRUE(event_wait(self->event, WAIT_MS));
		/* Served without being unmasked, it waits. */
		edu_write(&self->edu, EDU_IRQ_ACK, 3);
		edu_write(&self->edu, EDU_IRQ_RAISE, 4);
		EXPECT_FALSE(event_wait(self->event, QUIET_MS));
		EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
		EXPECT_TRUE(event_wait(self->event, WAIT_MS));
		edu_write(&self->edu, EDU_IRQ_ACK, 4);
		EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
		EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	}
}

TEST_F(intx, can_be_masked)
{
	int i;

	for (i = 0; i < 2; i++) {
		/* Once or twice is the same. */
		EXPECT_EQ(0, uvfio_irq_mask(self->dev.fd,
					    VFIO_PCI_INTX_IRQ_INDEX, 0, 1));
		if (i)
			EXPECT_EQ(0, uvfio_irq_mask(self->dev.fd,
						    VFIO_PCI_INTX_IRQ_INDEX, 0,
						    1));
		edu_write(&self->edu, EDU_IRQ_RAISE, 1);
		EXPECT_FALSE(event_wait(self->event, QUIET_MS));
		EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
		EXPECT_TRUE(event_wait(self->event, WAIT_MS));
		edu_write(&self->edu, EDU_IRQ_ACK, 1);
		EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
		EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
		EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	}
	EXPECT_EQ(0, uvfio_irq_disable(self->dev.fd,
				       VFIO_PCI_INTX_IRQ_INDEX));
	EXPECT_EQ(-EINVAL, uvfio_intx_unmask(self->dev.fd));
}

/* The user's bit in the command register, which is not the kernel's own. */
TEST_F(intx, obeys_the_command_register)
{
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	EXPECT_TRUE(raw_read16(&self->dev, PCI_COMMAND) &
		    PCI_COMMAND_INTX_DISABLE);
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	/* Unmasking does not overrule it. */
	EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
	EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(event_wait(self->event, WAIT_MS));
	/* Nor does the register overrule the mask. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	EXPECT_TRUE(raw_read16(&self->dev, PCI_COMMAND) &
		    PCI_COMMAND_INTX_DISABLE);
	edu_write(&self->edu, EDU_IRQ_ACK, 1);
	EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
	EXPECT_FALSE(raw_read16(&self->dev, PCI_COMMAND) &
		     PCI_COMMAND_INTX_DISABLE);
}

/* An interrupt left pending by one user does not disturb the next. */
TEST_F(intx, pending_at_close_is_quiet)
{
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(event_wait(self->event, WAIT_MS));
	edu_stop(&self->edu);
	device_close(&self->dev);
	EXPECT_TRUE(raw_read16(&self->dev, PCI_COMMAND) &
		    PCI_COMMAND_INTX_DISABLE);
	EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	EXPECT_TRUE(raw_read16(&self->dev, PCI_COMMAND) &
		    PCI_COMMAND_INTX_DISABLE);
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_INTX_IRQ_INDEX,
					0, &self->event, 1));
	EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(event_wait(self->event, WAIT_MS));
	edu_write(&self->edu, EDU_IRQ_ACK, 1);
}

#define RAISE()		edu_write(&self->edu, EDU_IRQ_RAISE, 1)
#define ACK()		edu_write(&self->edu, EDU_IRQ_ACK, 1)
#define FIRES()		event_wait(self->event, WAIT_MS)
#define IS_QUIET()	(!event_wait(self->event, QUIET_MS))

/* What a signal on @event does from now on; -1: none does. */
static int mask_by(int fd, int event)
{
	return set_irqs(fd, EVENTFD_MASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &event,
			sizeof(event));
}

static int unmask_by(int fd, int event)
{
	return set_irqs(fd, EVENTFD_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1,
			&event, sizeof(event));
}

static int arm(int fd, int event)
{
	return irq_connect(fd, VFIO_PCI_INTX_IRQ_INDEX, 0, event);
}

TEST_F(intx, is_unmasked_by_an_eventfd)
{
	int unmask = event_new(), other = event_new();

	ASSERT_EQ(0, unmask_by(self->dev.fd, unmask));
	RAISE();
	EXPECT_TRUE(FIRES());
	EXPECT_TRUE(IS_QUIET());
	/* Not served: it fires again. */
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(FIRES());
	ACK();
	/* Served: nothing is made up. */
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(IS_QUIET());
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();

	/* Another one in its place */
	ASSERT_EQ(0, unmask_by(self->dev.fd, other));
	RAISE();
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, event_signal(other));
	EXPECT_TRUE(FIRES());

	/* None; what was signalled before it was connected counts. */
	ASSERT_EQ(0, unmask_by(self->dev.fd, -1));
	ASSERT_EQ(0, unmask_by(self->dev.fd, -1));
	ASSERT_EQ(0, event_signal(other));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, unmask_by(self->dev.fd, other));
	EXPECT_TRUE(FIRES());
	ACK();
	close(unmask);
	close(other);
}

TEST_F(intx, is_masked_by_an_eventfd)
{
	int mask = event_new(), unmask = event_new();

	ASSERT_EQ(0, mask_by(self->dev.fd, mask));
	ASSERT_EQ(0, unmask_by(self->dev.fd, unmask));
	ASSERT_EQ(0, event_signal(mask));
	RAISE();
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(FIRES());
	ACK();
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(IS_QUIET());
	/* Calls and eventfds change the same mask. */
	ASSERT_EQ(0, event_signal(mask));
	RAISE();
	EXPECT_EQ(0, uvfio_intx_unmask(self->dev.fd));
	EXPECT_TRUE(FIRES());
	ACK();
	EXPECT_EQ(0, uvfio_irq_mask(self->dev.fd, VFIO_PCI_INTX_IRQ_INDEX, 0,
				    1));
	ASSERT_EQ(0, event_signal(unmask));
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();
	ASSERT_EQ(0, event_signal(unmask));
	ASSERT_EQ(0, mask_by(self->dev.fd, -1));
	ASSERT_EQ(0, event_signal(mask));
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();
	close(mask);
	close(unmask);
}

TEST_F(intx, is_masked_by_booleans)
{
	const uint8_t no = 0, yes = 2;
	int fd = self->dev.fd;

	EXPECT_EQ(0, set_irqs(fd, BOOL_MASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &no,
			      1));
	RAISE();
	EXPECT_TRUE(FIRES());
	EXPECT_EQ(0, set_irqs(fd, BOOL_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1,
			      &no, 1));
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(0, set_irqs(fd, BOOL_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1,
			      &yes, 1));
	EXPECT_TRUE(FIRES());
	ACK();
	EXPECT_EQ(0, uvfio_intx_unmask(fd));
	EXPECT_EQ(0, set_irqs(fd, BOOL_MASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1,
			      &yes, 1));
	RAISE();
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(0, uvfio_intx_unmask(fd));
	EXPECT_TRUE(FIRES());
	ACK();
}

/* Masks last when eventfds come and go, and end with the mode; so do these. */
TEST_F(intx, a_mask_outlasts_the_eventfd)
{
	int mask = event_new(), unmask = event_new(), fd = self->dev.fd;

	ASSERT_EQ(0, mask_by(fd, mask));
	ASSERT_EQ(0, unmask_by(fd, unmask));
	RAISE();
	EXPECT_TRUE(FIRES());
	ASSERT_EQ(0, arm(fd, -1));
	ASSERT_EQ(0, arm(fd, self->event));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, arm(fd, -1));
	/* Unmasked with nobody to tell: told when there is somebody. */
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, arm(fd, self->event));
	EXPECT_TRUE(FIRES());

	ASSERT_EQ(0, uvfio_irq_disable(fd, VFIO_PCI_INTX_IRQ_INDEX));
	EXPECT_EQ(-EINVAL, unmask_by(fd, unmask));
	ASSERT_EQ(0, arm(fd, self->event));
	EXPECT_TRUE(FIRES());
	/* The eventfds went with the mode. */
	ASSERT_EQ(0, event_signal(unmask));
	EXPECT_TRUE(IS_QUIET());
	EXPECT_TRUE(event_wait(unmask, 0));
	ACK();
	EXPECT_EQ(0, uvfio_intx_unmask(fd));
	ASSERT_EQ(0, event_signal(mask));
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();
	close(mask);
	close(unmask);
}

TEST_F(intx, loopback)
{
	int fd = self->dev.fd;

	EXPECT_EQ(0, uvfio_irq_trigger(fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1));
	EXPECT_TRUE(event_wait(self->event, 0));
	/* It is not masked by that. */
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();
	/* Nor stopped by being masked, but by the user's own disable bit. */
	EXPECT_EQ(0, uvfio_irq_trigger(fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1));
	EXPECT_TRUE(event_wait(self->event, 0));
	ASSERT_EQ(0, uvfio_command(fd, PCI_COMMAND_INTX_DISABLE, 0));
	EXPECT_EQ(0, uvfio_irq_trigger(fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1));
	EXPECT_FALSE(event_wait(self->event, 0));
	ASSERT_EQ(0, uvfio_command(fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_EQ(0, uvfio_intx_unmask(fd));
	/* Connected to nothing: nothing to do. */
	ASSERT_EQ(0, arm(fd, -1));
	EXPECT_EQ(0, uvfio_irq_trigger(fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1));
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, arm(fd, self->event));
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();
}

/* How often it has fired, by fdinfo. */
static unsigned long intx_count(int fd)
{
	struct irq_state state;

	return irq_state(fd, "intx", 0, &state) ? state.count : 0;
}

static bool count_passes(int fd, unsigned long least)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (intx_count(fd) < least) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

/*
 * Its own interrupt unmasks it, while the device is not served: a storm that its
 * user alone pays for, and that ends with the level.
 */
TEST_F(intx, can_unmask_itself)
{
	int fd = self->dev.fd, loop = event_new(), i;
	unsigned long before;

	ASSERT_EQ(0, arm(fd, loop));
	ASSERT_EQ(0, unmask_by(fd, loop));
	for (i = 0; i < 3; i++) {
		before = intx_count(fd);
		RAISE();
		EXPECT_TRUE(count_passes(fd, before + 10));
		ACK();
		usleep(QUIET_MS * 1000);
		before = intx_count(fd);
		usleep(QUIET_MS * 1000);
		EXPECT_EQ(before, intx_count(fd));
	}
	/* And while it goes on it can be ended. */
	RAISE();
	ASSERT_EQ(0, uvfio_irq_disable(fd, VFIO_PCI_INTX_IRQ_INDEX));
	ACK();
	ASSERT_EQ(0, arm(fd, self->event));
	RAISE();
	EXPECT_TRUE(FIRES());
	ACK();
	close(loop);
}

/* Threads that do one thing over and over while the test does another */
struct busy {
	pthread_t thread;
	int fd, event;
	struct edu *edu;
	bool *end;
};

static bool goes_on(const struct busy *busy)
{
	return !__atomic_load_n(busy->end, __ATOMIC_ACQUIRE);
}

static void *raise_and_serve(void *data)
{
	struct busy *busy = data;

	while (goes_on(busy)) {
		edu_write(busy->edu, EDU_IRQ_RAISE, 1);
		edu_write(busy->edu, EDU_IRQ_ACK, 1);
	}
	return NULL;
}

static void *signal_all_the_time(void *data)
{
	struct busy *busy = data;

	while (goes_on(busy))
		event_signal(busy->event);
	return NULL;
}

static void *unmask_all_the_time(void *data)
{
	struct busy *busy = data;

	while (goes_on(busy))
		uvfio_intx_unmask(busy->fd);
	return NULL;
}

/*
 * Unmasking against firing against teardown: whatever they make of each other, in
 * the end the line is as it was set, and nothing is lost that is pending then.
 */
TEST_F(intx, masks_while_it_fires_and_goes)
{
	int mask = event_new(), unmask = event_new(), fd = self->dev.fd, i;
	bool end = false;
	struct busy busy[] = {
		{ .edu = &self->edu, .end = &end },
		{ .event = mask, .end = &end },
		{ .event = unmask, .end = &end },
		{ .fd = fd, .end = &end },
	};
	void *(*const what[])(void *) = {
		raise_and_serve, signal_all_the_time, signal_all_the_time,
		unmask_all_the_time,
	};
	unsigned int fired = 0;

	for (i = 0; i < (int)ARRAY_SIZE(busy); i++)
		ASSERT_EQ(0, pthread_create(&busy[i].thread, NULL, what[i],
					    &busy[i]));
	for (i = 0; i < 300; i++) {
		EXPECT_EQ(0, unmask_by(fd, unmask));
		EXPECT_EQ(0, mask_by(fd, mask));
		fired += event_wait(self->event, 10);
		if (i % 3 == 0)
			EXPECT_EQ(0, arm(fd, -1));
		if (i % 5 == 0)
			EXPECT_EQ(0, uvfio_irq_disable(fd,
						       VFIO_PCI_INTX_IRQ_INDEX));
		EXPECT_EQ(0, arm(fd, self->event));
	}
	__atomic_store_n(&end, true, __ATOMIC_RELEASE);
	for (i = 0; i < (int)ARRAY_SIZE(busy); i++)
		ASSERT_EQ(0, pthread_join(busy[i].thread, NULL));
	EXPECT_LT(30, fired);

	ACK();
	EXPECT_EQ(0, mask_by(fd, -1));
	EXPECT_EQ(0, unmask_by(fd, -1));
	EXPECT_EQ(0, uvfio_irq_mask(fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1));
	event_drain(self->event);
	RAISE();
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(0, uvfio_intx_unmask(fd));
	EXPECT_TRUE(FIRES());
	ACK();
	EXPECT_EQ(0, uvfio_intx_unmask(fd));
	EXPECT_TRUE(IS_QUIET());
	close(mask);
	close(unmask);
}

TEST_HARNESS_MAIN
