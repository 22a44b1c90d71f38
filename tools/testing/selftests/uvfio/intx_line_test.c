// SPDX-License-Identifier: GPL-2.0
/*
 * INTx of a device that cannot mask it itself: its line is masked at the interrupt
 * controller, and so cannot be anybody else's. The device is an edu that a module
 * for tests has the kernel take for such a one; another edu has the same line.
 */
#include <err.h>
#include <pthread.h>

#include "irq.h"
#include "test.h"

#define TEST_MODULE	"no_intx_mask"

FIXTURE(line)
{
	struct device dev;
	struct device neighbour_dev;
	struct edu edu;
	struct edu neighbour;
	int event;
	int neighbour_event;
	int kmsg;
};

/* The neighbour cannot be told from the device, but for its own mask. */
FIXTURE_SETUP(line)
{
	self->neighbour_dev.fd = -1;
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, device_prepare(EDU_NEIGHBOUR, &self->neighbour_dev));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, device_open_attached(&self->neighbour_dev, -1));
	ASSERT_EQ(0, edu_start(&self->neighbour, self->neighbour_dev.fd));
	self->event = event_new();
	ASSERT_LE(0, self->event);
	self->neighbour_event = event_new();
	ASSERT_LE(0, self->neighbour_event);
}

FIXTURE_TEARDOWN(line)
{
	edu_stop(&self->edu);
	edu_stop(&self->neighbour);
	device_close(&self->dev);
	device_close(&self->neighbour_dev);
}

static int arm(const struct device *dev, int event)
{
	return irq_connect(dev->fd, VFIO_PCI_INTX_IRQ_INDEX, 0, event);
}

static int disarm(const struct device *dev)
{
	return uvfio_irq_disable(dev->fd, VFIO_PCI_INTX_IRQ_INDEX);
}

/*
 * An interrupt that is on its way to a CPU while its cause goes away cannot be told
 * from a new one, so it has time to get there before.
 */
static void ack(struct edu *edu)
{
	usleep(QUIET_MS * 1000);
	edu_write(edu, EDU_IRQ_ACK, 1);
}

#define ARM()		arm(&self->dev, self->event)
#define DISARM()	disarm(&self->dev)
#define RAISE()		edu_write(&self->edu, EDU_IRQ_RAISE, 1)
#define ACK()		ack(&self->edu)
#define MASK()		uvfio_irq_mask(self->dev.fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1)
#define UNMASK()	uvfio_intx_unmask(self->dev.fd)
#define FIRES()		event_wait(self->event, WAIT_MS)
#define IS_QUIET()	(!event_wait(self->event, QUIET_MS))

/* Fires for one interrupt once, and could for the next one. */
static bool works(const struct device *dev, struct edu *edu, int event)
{
	bool works;

	edu_write(edu, EDU_IRQ_RAISE, 1);
	works = event_wait(event, WAIT_MS) && !event_wait(event, QUIET_MS);
	ack(edu);
	return !uvfio_intx_unmask(dev->fd) && !event_wait(event, QUIET_MS) &&
	       works;
}

#define WORKS()		works(&self->dev, &self->edu, self->event)
#define NEIGHBOUR_WORKS() \
	works(&self->neighbour_dev, &self->neighbour, self->neighbour_event)

static bool bit_is_set(const struct device *dev)
{
	return raw_read16(dev, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
}

/* It takes nothing of the line before it has it: here it has just been bound. */
TEST(line_is_left_to_others)
{
	struct device dev, neighbour_dev;
	struct edu edu, neighbour;
	int event;

	ASSERT_EQ(0, device_prepare(EDU, &dev));
	ASSERT_EQ(0, device_prepare(EDU_NEIGHBOUR, &neighbour_dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	event = event_new();
	ASSERT_LE(0, event);
	ASSERT_EQ(0, device_open_attached(&neighbour_dev, -1));
	ASSERT_EQ(0, edu_start(&neighbour, neighbour_dev.fd));
	ASSERT_EQ(0, arm(&neighbour_dev, event));
	ASSERT_EQ(0, device_open_attached(&dev, -1));
	ASSERT_EQ(0, edu_start(&edu, dev.fd));
	ASSERT_EQ(0, uvfio_command(dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	edu_write(&neighbour, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(event_wait(event, WAIT_MS));
	edu_write(&neighbour, EDU_IRQ_ACK, 1);
	edu_stop(&edu);
	edu_stop(&neighbour);
	device_close(&dev);
	device_close(&neighbour_dev);
}

TEST_F(line, masks_itself)
{
	int i;

	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(IS_QUIET());
	for (i = 0; i < 3; i++) {
		RAISE();
		EXPECT_TRUE(FIRES());
		/* Still asserted, and silent, but not by the device's own means. */
		EXPECT_TRUE(IS_QUIET());
		EXPECT_FALSE(bit_is_set(&self->dev));
		/* Unmasked without being served, it fires at once. */
		EXPECT_EQ(0, UNMASK());
		EXPECT_TRUE(FIRES());
		/* Served without being unmasked, it waits. */
		ACK();
		RAISE();
		EXPECT_TRUE(IS_QUIET());
		EXPECT_EQ(0, UNMASK());
		EXPECT_TRUE(FIRES());
		ACK();
		EXPECT_EQ(0, UNMASK());
		EXPECT_TRUE(IS_QUIET());
	}
	/* As it does with a device that can. */
	ASSERT_EQ(0, DISARM());
	ASSERT_EQ(0, arm(&self->neighbour_dev, self->neighbour_event));
	edu_write(&self->neighbour, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(event_wait(self->neighbour_event, WAIT_MS));
	EXPECT_TRUE(bit_is_set(&self->neighbour_dev));
	edu_write(&self->neighbour, EDU_IRQ_ACK, 1);
}

TEST_F(line, can_be_masked)
{
	int times, i;

	ASSERT_EQ(0, ARM());
	/* Twice is the same as once, and so is unmasking. */
	for (times = 1; times <= 2; times++) {
		for (i = 0; i < times; i++)
			EXPECT_EQ(0, MASK());
		RAISE();
		EXPECT_TRUE(IS_QUIET());
		EXPECT_EQ(0, UNMASK());
		EXPECT_TRUE(FIRES());
		/* Masked by itself and by the user: one unmasking does. */
		EXPECT_EQ(0, MASK());
		ACK();
		for (i = 0; i < times; i++)
			EXPECT_EQ(0, UNMASK());
		EXPECT_TRUE(IS_QUIET());
		EXPECT_TRUE(WORKS());
	}
	/* What has gone before it is unmasked never comes. */
	EXPECT_EQ(0, MASK());
	RAISE();
	ACK();
	EXPECT_EQ(0, UNMASK());
	EXPECT_TRUE(IS_QUIET());
	EXPECT_TRUE(WORKS());
}

/* Its handler gone, the line forgets who masked it. */
TEST_F(line, masked_or_not_it_can_be_taken_down)
{
	int none = -1, i;

	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(WORKS());
		/* By itself and pending, by the user, or both. */
		if (i & 1) {
			RAISE();
			EXPECT_TRUE(FIRES());
		}
		if (i & 2)
			EXPECT_EQ(0, MASK());
		if (i & 4)
			ASSERT_EQ(0, arm(&self->dev, none));
		ASSERT_EQ(0, DISARM());
		EXPECT_TRUE(IS_QUIET());

		/* Still pending, it fires as soon as it is armed. */
		ASSERT_EQ(0, ARM());
		EXPECT_EQ(i & 1, event_wait(self->event,
					    i & 1 ? WAIT_MS : QUIET_MS));
		ACK();
		EXPECT_EQ(0, UNMASK());
		EXPECT_TRUE(IS_QUIET());
		EXPECT_TRUE(WORKS());
		ASSERT_EQ(0, DISARM());
	}
	EXPECT_EQ(-EINVAL, UNMASK());
}

/* Nor does the next user find it masked, or gets an interrupt of this one. */
TEST_F(line, is_left_to_the_next_user_as_it_was)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(WORKS());
		RAISE();
		EXPECT_TRUE(FIRES());
		if (i == 1)
			EXPECT_EQ(0, MASK());
		if (i == 2)
			ASSERT_EQ(0, uvfio_command(self->dev.fd,
						   PCI_COMMAND_INTX_DISABLE,
						   0));
		edu_stop(&self->edu);
		device_close(&self->dev);
		EXPECT_TRUE(IS_QUIET());
		ASSERT_EQ(0, device_open_attached(&self->dev, -1));
		ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
		ACK();
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_QUIET());
		EXPECT_TRUE(WORKS());
		ASSERT_EQ(0, DISARM());
	}
}

/* The user's own bit, which goes into neither what masks nor what unmasks. */
TEST_F(line, obeys_the_command_register)
{
	ASSERT_EQ(0, ARM());
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	RAISE();
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(0, UNMASK());
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(FIRES());
	/* Now it is masked: the bit does not change that. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(IS_QUIET());
	EXPECT_EQ(0, UNMASK());
	EXPECT_TRUE(FIRES());
	/* Unmasked while the bit is set, it is unmasked when that is cleared. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	EXPECT_EQ(0, UNMASK());
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(FIRES());
	ACK();
	EXPECT_EQ(0, UNMASK());
	EXPECT_TRUE(IS_QUIET());

	/* Set before it is armed, and while it is taken down. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	ASSERT_EQ(0, DISARM());
	RAISE();
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(IS_QUIET());
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(FIRES());
	ACK();
	EXPECT_EQ(0, UNMASK());
	EXPECT_TRUE(WORKS());
}

/* Who masks a line masks it for all, so a line that has another user is no use. */
TEST_F(line, is_refused_while_another_has_it)
{
	int msi = event_new(), i;

	ASSERT_LE(0, msi);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, arm(&self->neighbour_dev, self->neighbour_event));
		EXPECT_EQ(-EBUSY, ARM());
		EXPECT_TRUE(kmsg_has(self->kmsg, self->dev.bdf, "INTx"));
		/* Nothing is armed by it, and nothing held. */
		RAISE();
		EXPECT_TRUE(IS_QUIET());
		ACK();
		EXPECT_EQ(-EINVAL, UNMASK());
		ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd,
						VFIO_PCI_MSI_IRQ_INDEX, 0,
						&msi, 1));
		RAISE();
		EXPECT_TRUE(event_wait(msi, WAIT_MS));
		ACK();
		ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd,
					       VFIO_PCI_MSI_IRQ_INDEX));
		/* The other one has not noticed. */
		EXPECT_TRUE(NEIGHBOUR_WORKS());
		ASSERT_EQ(0, disarm(&self->neighbour_dev));
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(WORKS());
		EXPECT_TRUE(IS_QUIET());
		ASSERT_EQ(0, DISARM());
	}
}

/* The other way round it is the other one who has to wait. */
TEST_F(line, keeps_others_away)
{
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ARM());
		EXPECT_EQ(-EBUSY, arm(&self->neighbour_dev,
				      self->neighbour_event));
		edu_write(&self->neighbour, EDU_IRQ_RAISE, 1);
		EXPECT_FALSE(event_wait(self->neighbour_event, QUIET_MS));
		edu_write(&self->neighbour, EDU_IRQ_ACK, 1);
		EXPECT_TRUE(WORKS());
		ASSERT_EQ(0, DISARM());
		ASSERT_EQ(0, arm(&self->neighbour_dev, self->neighbour_event));
		EXPECT_TRUE(NEIGHBOUR_WORKS());
		ASSERT_EQ(0, disarm(&self->neighbour_dev));
	}
}

struct masking {
	pthread_t thread;
	int fd;
	bool end;
};

static void *mask_on(void *data)
{
	struct masking *masking = data;

	/* Not armed in between: refused, and no matter. */
	while (!__atomic_load_n(&masking->end, __ATOMIC_ACQUIRE)) {
		uvfio_irq_mask(masking->fd, VFIO_PCI_INTX_IRQ_INDEX, 0, 1);
		uvfio_intx_unmask(masking->fd);
	}
	return NULL;
}

/*
 * The mask of the controller is a count, of which nobody may lose track: not a
 * firing, nor a user who masks and unmasks, nor a teardown in between.
 */
TEST_F(line, masks_are_counted_under_fire)
{
	struct masking masking = { .fd = self->dev.fd };
	int fired = 0, i;

	ASSERT_EQ(0, pthread_create(&masking.thread, NULL, mask_on, &masking));
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(0, ARM());
		RAISE();
		if (i % 3)
			fired += event_wait(self->event, WAIT_MS);
		if (i % 2)
			edu_write(&self->edu, EDU_IRQ_ACK, 1);
		ASSERT_EQ(0, DISARM());
		edu_write(&self->edu, EDU_IRQ_ACK, 1);
		event_wait(self->event, 0);
	}
	__atomic_store_n(&masking.end, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(masking.thread, NULL));
	EXPECT_EQ(200, fired);
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(IS_QUIET());
	for (i = 0; i < 3; i++)
		EXPECT_TRUE(WORKS());
}

/* The device is such a one from before uvfio has it to after. */
int main(int argc, char **argv)
{
	char bdf[16], parameter[32];
	int ret;

	if (device_find(EDU, bdf))
		errx(2, "no edu");
	device_unbind(bdf);
	snprintf(parameter, sizeof(parameter), "device=%s", bdf);
	ret = module_load("/lib/" TEST_MODULE ".ko", parameter);
	if (ret)
		errx(2, "/lib/" TEST_MODULE ".ko: %s", strerror(-ret));

	ret = run_tests(argc, argv);
	if (device_unbind(bdf) || module_unload(TEST_MODULE))
		errx(2, "cannot unload " TEST_MODULE);
	return ret;
}
