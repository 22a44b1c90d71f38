// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts: INTx, MSI and MSI-X to eventfds, by software-triggered interrupts
 * of edu and e1000e, so that each is fired on purpose and its absence means
 * something. NVMe's come with real work, see nvme_test.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "irq.h"
#include "test.h"

FIXTURE(irq)
{
	struct device dev;
	struct interrupter source;
	int fd;
	int event[E1000E_VECTORS];
};

FIXTURE_VARIANT(irq)
{
	enum which which;
	unsigned int index;
	unsigned int count;
};

FIXTURE_VARIANT_ADD(irq, edu_intx)
{
	.which = EDU,
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.count = 1,
};

FIXTURE_VARIANT_ADD(irq, edu_msi)
{
	.which = EDU,
	.index = VFIO_PCI_MSI_IRQ_INDEX,
	.count = 1,
};

FIXTURE_VARIANT_ADD(irq, e1000e_intx)
{
	.which = E1000E,
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.count = 1,
};

FIXTURE_VARIANT_ADD(irq, e1000e_msix)
{
	.which = E1000E,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
	.count = E1000E_VECTORS,
};

#define START() \
	interrupter_start(&self->source, variant->which, &self->dev, \
			  variant->index)

FIXTURE_SETUP(irq)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, START());
	ASSERT_EQ(0, events_new(self->event, E1000E_VECTORS));
}

FIXTURE_TEARDOWN(irq)
{
	interrupter_stop(&self->source);
	device_close(&self->dev);
}

#define FIRE(vector)	irq_fire(&self->source, vector)
#define ACK()		irq_ack(&self->source)
#define FINISH()	irq_finish(&self->source)

/* Fires, arrives, once but for e1000e's repetitions, and can do so again. */
#define EXPECT_WORKS(vector, event) \
	do { \
		int __event = (event), __more; \
		FIRE(vector); \
		EXPECT_TRUE(event_wait(__event, WAIT_MS)); \
		EXPECT_EQ(0, FINISH()); \
		__more = event_drain(__event); \
		EXPECT_EQ(0, variant->which == E1000E ? 0 : __more); \
	} while (0)

TEST_F(irq, arrives)
{
	int i;

	/* Not before it is armed; what was pending then is the device's. */
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, 1));
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	for (i = 0; i < 5; i++)
		EXPECT_WORKS(0, self->event[0]);
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, variant->index));
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	/* And armed again. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, 1));
	EXPECT_WORKS(0, self->event[0]);
}

TEST_F(irq, vectors_are_apart)
{
	unsigned int i, j;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	for (i = 0; i < variant->count; i++) {
		EXPECT_WORKS(i, self->event[i]);
		for (j = 0; j < variant->count; j++)
			EXPECT_FALSE(event_wait(self->event[j], 0));
	}
}

TEST_F(irq, eventfd_can_be_replaced)
{
	unsigned int last = variant->count - 1;
	int other = event_new(), i;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(last, self->event[last]);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, last,
						&other, 1));
		EXPECT_WORKS(last, other);
		EXPECT_FALSE(event_wait(self->event[last], 0));
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, last,
						&self->event[last], 1));
		EXPECT_WORKS(last, self->event[last]);
		EXPECT_FALSE(event_wait(other, 0));
	}
	/* The descriptor can be closed: the interrupt keeps the eventfd. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, last, &other,
					1));
	i = dup(other);
	close(other);
	EXPECT_WORKS(last, i);
	close(i);
	FIRE(last);
	EXPECT_EQ(0, FINISH());
}

TEST_F(irq, eventfd_can_be_disconnected)
{
	unsigned int last = variant->count - 1, i;
	int none = -1;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(last, self->event[last]);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, last, &none,
					1));
	FIRE(last);
	EXPECT_FALSE(event_wait(self->event[last], QUIET_MS));
	ACK();
	for (i = 0; i < last; i++)
		EXPECT_WORKS(i, self->event[i]);
	/* Twice is no error, and the way back is open. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, last, &none,
					1));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, last,
					&self->event[last], 1));
	/* What fired meanwhile may come now: MSI-X keeps it pending. */
	event_drain(self->event[last]);
	EXPECT_WORKS(last, self->event[last]);
}

/*
 * An interrupt is a write to an address. One that goes nowhere must not go into
 * the user's memory instead, of which even IOVA 0 may be a part.
 */
TEST_F(irq, disconnected_interrupt_is_no_dma)
{
	uint8_t *page = dma_alloc(PAGE_SIZE);
	int none = -1;

	ASSERT_NE(NULL, page);
	memset(page, 0xa5, PAGE_SIZE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, page, PAGE_SIZE, 0,
				   VFIO_DMA_MAP_FLAG_READ |
				   VFIO_DMA_MAP_FLAG_WRITE));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(0, self->event[0]);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0, &none,
					1));
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	EXPECT_TRUE(is_filled(page, 0xa5, PAGE_SIZE));
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, variant->index));
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	EXPECT_TRUE(is_filled(page, 0xa5, PAGE_SIZE));
	/* A mode that is on, with no vector connected ever. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0, &none,
					1));
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	EXPECT_TRUE(is_filled(page, 0xa5, PAGE_SIZE));
	dma_free(page, PAGE_SIZE);
}

/* The number that the kernel gave an eventfd; it takes the lowest one free. */
static long event_id(int fd)
{
	char path[64], line[128];
	long id = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "eventfd-id: %ld", &id) == 1)
			break;
	}
	fclose(file);
	return id;
}

/* Whatever was done with it, the eventfd is let go in the end. */
TEST_F(irq, eventfds_are_given_back)
{
	static const int none = -1;
	int event = event_new(), other;
	long id = event_id(event);
	int i;

	ASSERT_LE(0, id);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&event, 1));
		/* The same one again: it is armed already. */
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&event, 1));
		EXPECT_WORKS(0, event);
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&self->event[0], 1));
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&event, 1));
		if (i & 1)
			ASSERT_EQ(0, uvfio_irq_eventfds(self->fd,
							variant->index, 0,
							&none, 1));
		/* Refused, with an eventfd that is good among others. */
		EXPECT_GT(0, uvfio_irq_eventfds(self->fd, variant->index,
						variant->count, &event, 1));
		ASSERT_EQ(0, uvfio_irq_disable(self->fd, variant->index));
	}
	/* While it lives its number is taken, then it is not. */
	other = event_new();
	EXPECT_NE(id, event_id(other));
	close(other);
	close(event);
	event = event_new();
	EXPECT_EQ(id, event_id(event));
	close(event);

	/* So do detaching and closing. */
	for (i = 0; i < 2; i++) {
		event = event_new();
		EXPECT_EQ(id, event_id(event));
		ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&event, 1));
		close(event);
		other = event_new();
		EXPECT_NE(id, event_id(other));
		close(other);
		interrupter_stop(&self->source);
		if (i) {
			device_close(&self->dev);
		} else {
			ASSERT_EQ(0, uvfio_detach(self->fd));
			ASSERT_EQ(0, START());
		}
	}
	event = event_new();
	EXPECT_EQ(id, event_id(event));
	close(event);
}

/* Refused calls, each leaving the armed vectors as they are. */
TEST_F(irq, bad_arguments_change_nothing)
{
	unsigned int index = variant->index, count = variant->count;
	int closed = dup(0), null = open("/dev/null", O_RDWR);
	unsigned int other_mode = index == VFIO_PCI_MSI_IRQ_INDEX ?
				  VFIO_PCI_INTX_IRQ_INDEX :
				  VFIO_PCI_MSI_IRQ_INDEX;
	int two[2] = { event_new(), -2 };
	int fd = self->fd;
	unsigned int i;
	uint8_t yes = 1;

	close(closed);
	ASSERT_EQ(0, uvfio_irq_eventfds(fd, index, 0, self->event, count));
	EXPECT_WORKS(0, self->event[0]);

	/* The range */
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, UVFIO_TIMER_IRQ_INDEX + 1, 0,
					      two, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, UINT32_MAX, 0, two, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, index, count, two, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, index, UINT32_MAX, two, 1));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, count + 1,
				    self->event, (count + 1) * sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 1, UINT32_MAX,
				    two, sizeof(two)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, UINT32_MAX,
				    two, sizeof(two)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, 0x40000001,
				    two, sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, NONE_TRIGGER, index, count, 0, NULL,
				    0));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, 0, two,
				    sizeof(int)));

	/* The data: none, half of it */
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, 1, NULL,
				    0));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, 1, two, 3));

	/* The eventfds */
	EXPECT_EQ(-EBADF, uvfio_irq_eventfds(fd, index, 0, &closed, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, index, 0, &null, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, index, 0, &fd, 1));
	EXPECT_EQ(-EBADF, uvfio_irq_eventfds(fd, index, 0, two + 1, 1));
	if (count > 1)
		EXPECT_EQ(-EBADF, uvfio_irq_eventfds(fd, index, 0, two, 2));

	/* The flags: one kind of data, one action */
	EXPECT_EQ(-EINVAL, set_irqs(fd, 0, index, 0, 1, two, sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, VFIO_IRQ_SET_DATA_EVENTFD, index, 0, 1,
				    two, sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER, index, 0,
				    1, two, sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER |
				    VFIO_IRQ_SET_DATA_NONE, index, 0, 1, two,
				    sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER |
				    VFIO_IRQ_SET_ACTION_MASK, index, 0, 1, two,
				    sizeof(int)));
	EXPECT_EQ(-EINVAL, set_irqs(fd, VFIO_IRQ_SET_DATA_BOOL |
				    VFIO_IRQ_SET_DATA_EVENTFD |
				    VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 1,
				    &yes, 1));

	/* Masks: of what is there, and by eventfd only the line's */
	EXPECT_EQ(-EINVAL, uvfio_irq_mask(fd, index, 0, 0));
	EXPECT_EQ(-EINVAL, uvfio_irq_mask(fd, index, count, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_mask(fd, index, 0, count + 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_mask(fd, other_mode, 0, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_unmask(fd, other_mode, 0, 1));
	EXPECT_EQ(-EINVAL, set_irqs(fd, VFIO_IRQ_SET_DATA_BOOL |
				    VFIO_IRQ_SET_ACTION_MASK, index, 0, 1,
				    NULL, 0));
	if (index == VFIO_PCI_INTX_IRQ_INDEX) {
		EXPECT_EQ(-EBADF, set_irqs(fd, EVENTFD_MASK, index, 0, 1,
					   &closed, sizeof(int)));
		EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_MASK, index, 0, 1,
					    &null, sizeof(int)));
		EXPECT_EQ(-EBADF, set_irqs(fd, EVENTFD_MASK, index, 0, 1,
					   two + 1, sizeof(int)));
	} else {
		EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_MASK, index, 0, 1,
					    two, sizeof(int)));
	}

	/* Loopback: of a mode that is in use */
	EXPECT_EQ(-EINVAL, uvfio_irq_trigger(fd, index, 0, count + 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_trigger(fd, other_mode, 0, 1));
	EXPECT_EQ(-EINVAL, set_irqs(fd, BOOL_TRIGGER, index, 0, 1, NULL, 0));
	EXPECT_EQ(-EINVAL, set_irqs(fd, BOOL_TRIGGER, index, 0, 0, &yes, 1));

	/* One mode at a time; what is not in use can be torn down, though. */
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, other_mode, 0, two, 1));
	EXPECT_EQ(0, uvfio_irq_disable(fd, other_mode));

	EXPECT_FALSE(event_wait(two[0], QUIET_MS));
	for (i = 0; i < count; i++)
		EXPECT_WORKS(i, self->event[i]);
	EXPECT_FALSE(event_wait(two[0], 0));
	close(two[0]);
	close(null);
}

/* An unset domain takes the interrupts away; with the next one, none is armed. */
TEST_F(irq, detach_disarms)
{
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(0, self->event[0]);
	interrupter_stop(&self->source);
	ASSERT_EQ(0, uvfio_detach(self->fd));
	EXPECT_EQ(-EUNATCH, uvfio_irq_eventfds(self->fd, variant->index, 0,
					       self->event, 1));
	ASSERT_EQ(0, START());
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(0, self->event[0]);
}

/* Nor does the next user get any of the last one's. */
TEST_F(irq, close_disarms)
{
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(0, self->event[0]);
	interrupter_stop(&self->source);
	device_close(&self->dev);
	ASSERT_EQ(0, device_open(&self->dev));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, START());
	FIRE(0);
	EXPECT_FALSE(event_wait(self->event[0], QUIET_MS));
	ACK();
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(0, self->event[0]);
}

TEST_F(irq, counts_are_those_of_the_device)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info),
		.index = variant->index,
	};

	ASSERT_EQ(0, ioctl(self->fd, VFIO_DEVICE_GET_IRQ_INFO, &info));
	EXPECT_EQ(variant->count, info.count);
	EXPECT_EQ(variant->index, info.index);
	/* Of MSI-X vectors some kernels can add more: see vectors_test. */
	if (variant->index == VFIO_PCI_MSIX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_NORESIZE;
	EXPECT_EQ(VFIO_IRQ_INFO_EVENTFD |
		  (variant->index == VFIO_PCI_INTX_IRQ_INDEX ?
		   VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED :
		   VFIO_IRQ_INFO_NORESIZE), info.flags);
}

/* All the modes that the device has, one after the other. */
TEST_F(irq, modes_can_follow_each_other)
{
	unsigned int modes[] = {
		VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX,
		VFIO_PCI_MSIX_IRQ_INDEX,
	};
	unsigned int round, i, tried = 0;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(modes); i++) {
			if (uvfio_irq_count(self->fd, modes[i]) < 1)
				continue;
			tried++;
			ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, modes[i], 0,
							self->event, 1));
			FIRE(0);
			EXPECT_TRUE(event_wait(self->event[0], WAIT_MS));
			self->source.index = modes[i];
			EXPECT_EQ(0, FINISH());
			event_drain(self->event[0]);
			ASSERT_EQ(0, uvfio_irq_disable(self->fd, modes[i]));
		}
	}
	EXPECT_LE(6, tried);
}

/*
 * Under fire, eventfds and whole modes come and go; and none of the messages
 * ends up in memory while they do.
 */
TEST_F(irq, rearming_while_it_fires)
{
	uint8_t *page = dma_alloc(PAGE_SIZE);
	struct firing firing = { .source = &self->source, .finish = true };
	int i, none = -1;
	bool changes;

	ASSERT_NE(NULL, page);
	memset(page, 0xa5, PAGE_SIZE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, page, PAGE_SIZE, 0,
				   VFIO_DMA_MAP_FLAG_READ |
				   VFIO_DMA_MAP_FLAG_WRITE));
	/* Before it fires: e1000e throttles the line otherwise, see above. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					&self->event[0], 1));
	ASSERT_EQ(0, firing_start(&firing));
	for (i = 0; i < 100; i++) {
		EXPECT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&self->event[0], 1));
		EXPECT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&self->event[1], 1));
		if (i % 3 == 0)
			EXPECT_EQ(0, uvfio_irq_eventfds(self->fd,
							variant->index, 0,
							&none, 1));
	}
	/*
	 * No change of mode for e1000e while it fires, see above. Nor with the ITS:
	 * a message that a CPU takes just when its vector goes is one that Linux
	 * warns of, whoever had it.
	 */
	changes = variant->which == EDU &&
		  !(IS_AARCH64 && variant->index != VFIO_PCI_INTX_IRQ_INDEX);
	for (i = 0; i < 500 && changes; i++) {
		EXPECT_EQ(0, uvfio_irq_disable(self->fd, variant->index));
		EXPECT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
						&self->event[i % 2], 1));
	}
	EXPECT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					&self->event[0], 1));
	EXPECT_TRUE(event_wait(self->event[0], WAIT_MS));
	ASSERT_EQ(0, firing_stop(&firing));
	EXPECT_EQ(0, FINISH());
	event_drain(self->event[0]);
	EXPECT_WORKS(0, self->event[0]);
	EXPECT_TRUE(is_filled(page, 0xa5, PAGE_SIZE));
	dma_free(page, PAGE_SIZE);
}

/* MSI-X alone: a range of vectors. */

FIXTURE(msix)
{
	struct device dev;
	struct interrupter source;
	int event[E1000E_VECTORS];
};

FIXTURE_SETUP(msix)
{
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, interrupter_start(&self->source, E1000E, &self->dev,
				       VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, events_new(self->event, E1000E_VECTORS));
}

FIXTURE_TEARDOWN(msix)
{
	interrupter_stop(&self->source);
	device_close(&self->dev);
}

static bool vector_works(struct interrupter *source, unsigned int vector,
			 int event, int timeout_ms)
{
	bool works;

	irq_fire(source, vector);
	works = event_wait(event, timeout_ms);
	irq_ack(source);
	event_drain(event);
	return works;
}

/* The first call enables vectors 0 to 2; 1 without an eventfd. */
TEST_F(msix, vectors_are_enabled_by_the_first_call)
{
	int fds[] = { self->event[0], -1, self->event[2] };
	unsigned int i;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, fds, 3));
	EXPECT_TRUE(vector_works(&self->source, 0, self->event[0], WAIT_MS));
	EXPECT_FALSE(vector_works(&self->source, 1, self->event[1], QUIET_MS));
	EXPECT_TRUE(vector_works(&self->source, 2, self->event[2], WAIT_MS));

	/* Within those, if not beyond them, later calls may do as they like. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					1, &self->event[1], 1));
	/* What fired in vain is pending in MSI-X. */
	event_drain(self->event[1]);
	for (i = 0; i < 3; i++)
		EXPECT_TRUE(vector_works(&self->source, i, self->event[i],
					 WAIT_MS));

	/* After a teardown, the first call is the first again. */
	ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					4, &self->event[4], 1));
	EXPECT_TRUE(vector_works(&self->source, 4, self->event[4], WAIT_MS));
	EXPECT_FALSE(vector_works(&self->source, 3, self->event[3], QUIET_MS));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, self->event, E1000E_VECTORS));
	/* What fired in vain is pending in MSI-X. */
	event_drain(self->event[3]);
	for (i = 0; i < E1000E_VECTORS; i++)
		EXPECT_TRUE(vector_works(&self->source, i, self->event[i],
					 WAIT_MS));
}

/* One eventfd may serve several vectors. */
TEST_F(msix, vectors_can_share_an_eventfd)
{
	int fds[] = { self->event[0], self->event[0], self->event[0] };
	unsigned int i;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, fds, 3));
	for (i = 0; i < 3; i++)
		EXPECT_TRUE(vector_works(&self->source, i, self->event[0],
					 WAIT_MS));
	fds[1] = -1;
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, fds, 3));
	EXPECT_TRUE(vector_works(&self->source, 0, self->event[0], WAIT_MS));
	EXPECT_FALSE(vector_works(&self->source, 1, self->event[0], QUIET_MS));
	EXPECT_TRUE(vector_works(&self->source, 2, self->event[0], WAIT_MS));
}

/* With memory decoding off the table is still set up right. */
TEST_F(msix, can_be_armed_with_decoding_off)
{
	uint32_t value;

	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, self->event, E1000E_VECTORS));
	/* It is off still. */
	EXPECT_FALSE(raw_read16(&self->dev, PCI_COMMAND) & PCI_COMMAND_MEMORY);
	EXPECT_TRUE(read_faults(self->source.e1000e, &value));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_TRUE(vector_works(&self->source, 3, self->event[3], WAIT_MS));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_FALSE(raw_read16(&self->dev, PCI_COMMAND) & PCI_COMMAND_MEMORY);
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_FALSE(vector_works(&self->source, 3, self->event[3], QUIET_MS));
}

/* A reset does not disarm: the kernel sets the vectors up again. */
TEST_F(msix, survives_reset)
{
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, self->event, E1000E_VECTORS));
	EXPECT_TRUE(vector_works(&self->source, 1, self->event[1], WAIT_MS));
	ASSERT_EQ(0, uvfio_reset(self->dev.fd));
	/* The rest of the device is for its driver to set up. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY |
				   PCI_COMMAND_MASTER, 0));
	e1000e_write(self->source.e1000e, E1000E_IVAR, E1000E_IVAR_ALL);
	e1000e_write(self->source.e1000e, E1000E_IMS, E1000E_CAUSES);
	EXPECT_TRUE(vector_works(&self->source, 1, self->event[1], WAIT_MS));
}

/* What the devices say they have, for the modes they lack, too. */

static const struct {
	enum which which;
	unsigned int intx, msi, msix;
	bool pcie;
} counts[] = {
	{ NVME, 1, 0, 65, true },
	{ EDU, 1, 1, 0, false },
	{ E1000E, 1, 1, 5, true },
	{ TESTDEV, 0, 0, 0, false },
};

FIXTURE(info)
{
	struct device dev[ARRAY_SIZE(counts)];
};

FIXTURE_SETUP(info)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++)
		ASSERT_EQ(0, device_prepare(counts[i].which, &self->dev[i]));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(info)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++)
		device_close(&self->dev[i]);
}

TEST_F(info, tells_modes_and_counts)
{
	int event = event_new(), fd;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		ASSERT_EQ(0, device_open_attached(&self->dev[i], -1));
		fd = self->dev[i].fd;
		EXPECT_EQ((int)counts[i].intx,
			  uvfio_irq_count(fd, VFIO_PCI_INTX_IRQ_INDEX));
		EXPECT_EQ((int)counts[i].msi,
			  uvfio_irq_count(fd, VFIO_PCI_MSI_IRQ_INDEX));
		EXPECT_EQ((int)counts[i].msix,
			  uvfio_irq_count(fd, VFIO_PCI_MSIX_IRQ_INDEX));
		EXPECT_EQ(counts[i].pcie ? 1 : -EINVAL,
			  uvfio_irq_count(fd, VFIO_PCI_ERR_IRQ_INDEX));
		EXPECT_EQ(1, uvfio_irq_count(fd, VFIO_PCI_REQ_IRQ_INDEX));
		EXPECT_EQ(1, uvfio_irq_count(fd, UVFIO_TIMER_IRQ_INDEX));
		EXPECT_EQ(-EINVAL,
			  uvfio_irq_count(fd, UVFIO_TIMER_IRQ_INDEX + 1));
		EXPECT_EQ(-EINVAL, uvfio_irq_count(fd, UINT32_MAX));
		/* A mode that is not there cannot be armed. */
		if (!counts[i].intx)
			EXPECT_EQ(-EINVAL,
				  uvfio_irq_eventfds(fd,
						     VFIO_PCI_INTX_IRQ_INDEX,
						     0, &event, 1));
		if (!counts[i].msi)
			EXPECT_EQ(-EINVAL,
				  uvfio_irq_eventfds(fd,
						     VFIO_PCI_MSI_IRQ_INDEX,
						     0, &event, 1));
		if (!counts[i].msix)
			EXPECT_EQ(-EINVAL,
				  uvfio_irq_eventfds(fd,
						     VFIO_PCI_MSIX_IRQ_INDEX,
						     0, &event, 1));
	}
	close(event);
}

TEST_HARNESS_MAIN
