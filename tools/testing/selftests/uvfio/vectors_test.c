// SPDX-License-Identifier: GPL-2.0
/*
 * Vectors of MSI and MSI-X as their owner sets them up: masks, loopback, which of
 * them there are, and what happens while the device decodes no memory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irq.h"
#include "test.h"

FIXTURE(vectors)
{
	struct device dev;
	struct interrupter source;
	int fd;
	int event[E1000E_VECTORS];
};

FIXTURE_VARIANT(vectors)
{
	enum which which;
	unsigned int index;
	unsigned int count;
};

FIXTURE_VARIANT_ADD(vectors, edu_msi)
{
	.which = EDU,
	.index = VFIO_PCI_MSI_IRQ_INDEX,
	.count = 1,
};

FIXTURE_VARIANT_ADD(vectors, e1000e_msix)
{
	.which = E1000E,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
	.count = E1000E_VECTORS,
};

FIXTURE_SETUP(vectors)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, interrupter_start(&self->source, variant->which,
				       &self->dev, variant->index));
	ASSERT_EQ(0, events_new(self->event, E1000E_VECTORS));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
}

FIXTURE_TEARDOWN(vectors)
{
	interrupter_stop(&self->source);
	device_close(&self->dev);
}

#define LAST		(variant->count - 1)
#define FIRE(vector)	irq_fire(&self->source, vector)
#define ACK()		irq_ack(&self->source)
#define MASK(start, count) \
	uvfio_irq_mask(self->fd, variant->index, start, count)
#define UNMASK(start, count) \
	uvfio_irq_unmask(self->fd, variant->index, start, count)
#define CONNECT(vector, event) \
	irq_connect(self->fd, variant->index, vector, event)
#define IS_QUIET(vector)	(!event_wait(self->event[vector], QUIET_MS))

/* It fires, and that arrives; e1000e repeats itself until it is served. */
#define EXPECT_WORKS(vector) \
	do { \
		unsigned int __vector = (vector); \
		FIRE(__vector); \
		EXPECT_TRUE(event_wait(self->event[__vector], WAIT_MS)); \
		ACK(); \
		event_drain(self->event[__vector]); \
	} while (0)

TEST_F(vectors, a_masked_one_keeps_one_pending)
{
	int round;

	for (round = 0; round < 3; round++) {
		EXPECT_WORKS(LAST);
		EXPECT_EQ(0, MASK(LAST, 1));
		FIRE(LAST);
		EXPECT_TRUE(IS_QUIET(LAST));
		FIRE(LAST);
		EXPECT_TRUE(IS_QUIET(LAST));
		EXPECT_EQ(0, UNMASK(LAST, 1));
		/* Twice is once. */
		EXPECT_TRUE(event_wait(self->event[LAST], WAIT_MS));
		ACK();
		if (variant->which == EDU)
			EXPECT_TRUE(IS_QUIET(LAST));
		event_drain(self->event[LAST]);
		/* Where nothing fired there is nothing to come. */
		EXPECT_EQ(0, MASK(LAST, 1));
		EXPECT_EQ(0, UNMASK(LAST, 1));
		EXPECT_TRUE(IS_QUIET(LAST));
	}
}

TEST_F(vectors, a_mask_is_on_or_off)
{
	EXPECT_EQ(0, UNMASK(LAST, 1));
	EXPECT_EQ(0, MASK(LAST, 1));
	EXPECT_EQ(0, MASK(LAST, 1));
	FIRE(LAST);
	EXPECT_TRUE(IS_QUIET(LAST));
	EXPECT_EQ(0, UNMASK(LAST, 1));
	EXPECT_TRUE(event_wait(self->event[LAST], WAIT_MS));
	EXPECT_EQ(0, UNMASK(LAST, 1));
	ACK();
	event_drain(self->event[LAST]);
	EXPECT_WORKS(LAST);
}

TEST_F(vectors, a_mask_outlasts_its_eventfd)
{
	EXPECT_EQ(0, MASK(LAST, 1));
	/* Another one, the same one, none and again. */
	EXPECT_EQ(0, CONNECT(LAST, self->event[1]));
	EXPECT_EQ(0, CONNECT(LAST, self->event[LAST]));
	EXPECT_EQ(0, CONNECT(LAST, -1));
	EXPECT_EQ(0, CONNECT(LAST, self->event[LAST]));
	FIRE(LAST);
	EXPECT_TRUE(IS_QUIET(LAST));
	EXPECT_EQ(0, UNMASK(LAST, 1));
	EXPECT_TRUE(event_wait(self->event[LAST], WAIT_MS));
	ACK();
	event_drain(self->event[LAST]);

	/* And one put on where there is none. */
	EXPECT_EQ(0, CONNECT(LAST, -1));
	EXPECT_EQ(0, MASK(LAST, 1));
	EXPECT_EQ(0, CONNECT(LAST, self->event[LAST]));
	FIRE(LAST);
	EXPECT_TRUE(IS_QUIET(LAST));
	EXPECT_EQ(0, CONNECT(LAST, -1));
	EXPECT_EQ(0, UNMASK(LAST, 1));
	EXPECT_EQ(0, CONNECT(LAST, self->event[LAST]));
	ACK();
	event_drain(self->event[LAST]);
	EXPECT_WORKS(LAST);
}

TEST_F(vectors, a_mask_ends_with_the_mode)
{
	EXPECT_EQ(0, MASK(0, variant->count));
	EXPECT_EQ(0, uvfio_irq_disable(self->fd, variant->index));
	EXPECT_EQ(-EINVAL, UNMASK(0, 1));
	EXPECT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, variant->count));
	EXPECT_WORKS(0);
	EXPECT_WORKS(LAST);
}

TEST_F(vectors, each_has_its_own_mask)
{
	const uint8_t some[E1000E_VECTORS] = { 1, 0, 255, 0, 1 };
	unsigned int i;

	ASSERT_EQ(0, set_irqs(self->fd, BOOL_MASK, variant->index, 0,
			      variant->count, some, variant->count));
	for (i = 0; i < variant->count; i++) {
		FIRE(i);
		EXPECT_EQ(!some[i], event_wait(self->event[i], some[i] ?
					       QUIET_MS : WAIT_MS));
	}
	/* Those that are not meant stay as they are. */
	ASSERT_EQ(0, set_irqs(self->fd, BOOL_UNMASK, variant->index, 0,
			      variant->count, some, variant->count));
	for (i = 0; i < variant->count; i++)
		if (some[i])
			EXPECT_TRUE(event_wait(self->event[i], WAIT_MS));
	ACK();
	for (i = 0; i < variant->count; i++)
		event_drain(self->event[i]);
	for (i = 0; i < variant->count; i++)
		EXPECT_WORKS(i);
}

/* When the call has returned, the handler is not still about to signal. */
TEST_F(vectors, nothing_comes_after_masking)
{
	struct firing firing = { .source = &self->source, .vector = LAST };
	int i, arrived = 0;

	ASSERT_EQ(0, firing_start(&firing));
	for (i = 0; i < 300; i++) {
		usleep(1000);
		ASSERT_EQ(0, MASK(LAST, 1));
		arrived += !!event_take(self->event[LAST]);
		usleep(1000);
		EXPECT_EQ(0, event_take(self->event[LAST]));
		ASSERT_EQ(0, UNMASK(LAST, 1));
		/* At least what was pending comes. */
		EXPECT_TRUE(event_wait(self->event[LAST], WAIT_MS));
	}
	ASSERT_EQ(0, firing_stop(&firing));
	ACK();
	event_drain(self->event[LAST]);
	EXPECT_WORKS(LAST);
	/* It was under fire indeed. */
	EXPECT_LT(30, arrived);
}

TEST_F(vectors, loopback)
{
	const uint8_t some[E1000E_VECTORS] = { 1, 0, 1 };
	unsigned int i;

	ASSERT_EQ(0, uvfio_irq_trigger(self->fd, variant->index, 0,
				       variant->count));
	for (i = 0; i < variant->count; i++)
		EXPECT_EQ(1, event_take(self->event[i]));
	ASSERT_EQ(0, set_irqs(self->fd, BOOL_TRIGGER, variant->index, 0,
			      variant->count, some, variant->count));
	for (i = 0; i < variant->count; i++)
		EXPECT_EQ(some[i], event_take(self->event[i]));

	/* Two vectors with one eventfd are two signals; without one, none. */
	if (variant->count > 2) {
		ASSERT_EQ(0, CONNECT(1, self->event[0]));
		ASSERT_EQ(0, CONNECT(2, -1));
		ASSERT_EQ(0, uvfio_irq_trigger(self->fd, variant->index, 0,
					       variant->count));
		EXPECT_EQ(2, event_take(self->event[0]));
		EXPECT_EQ(0, event_take(self->event[2]));
		EXPECT_EQ(1, event_take(self->event[3]));
	}
	/* It is the eventfd that is tried, not the mask. */
	ASSERT_EQ(0, MASK(0, 1));
	ASSERT_EQ(0, uvfio_irq_trigger(self->fd, variant->index, 0, 1));
	EXPECT_EQ(1, event_take(self->event[0]));
	ASSERT_EQ(0, UNMASK(0, 1));
	EXPECT_WORKS(0);
}

/* MSI-X alone */

FIXTURE(msix)
{
	struct device dev;
	struct interrupter source;
	int fd;
	int event[E1000E_VECTORS];
	bool fixed;		/* NORESIZE: none can be added */
};

FIXTURE_SETUP(msix)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
	};

	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, interrupter_start(&self->source, E1000E, &self->dev,
				       VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, ioctl(self->fd, VFIO_DEVICE_GET_IRQ_INFO, &info));
	self->fixed = info.flags & VFIO_IRQ_INFO_NORESIZE;
	ASSERT_EQ(0, events_new(self->event, E1000E_VECTORS));
}

FIXTURE_TEARDOWN(msix)
{
	interrupter_stop(&self->source);
	device_close(&self->dev);
}

static int msix_connect(int fd, unsigned int start, const int *events,
			unsigned int count)
{
	return uvfio_irq_eventfds(fd, VFIO_PCI_MSIX_IRQ_INDEX, start, events,
				  count);
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

/* How many interrupts the kernel has allocated for the device. */
static int irqs_allocated(const struct device *dev)
{
	char path[64];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/msi_irqs",
		 dev->bdf);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/*
 * Any vector at any time, or those of the first call: whichever GET_IRQ_INFO says.
 * Those that are there already work before, after and meanwhile.
 */
TEST_F(msix, vectors_can_be_added)
{
	struct firing firing = { .source = &self->source, .vector = 2 };
	int expected = self->fixed ? -EINVAL : 0;
	unsigned int i;

	ASSERT_EQ(0, msix_connect(self->fd, 2, &self->event[2], 1));
	EXPECT_EQ(self->fixed ? 3 : 2, irqs_allocated(&self->dev));
	EXPECT_TRUE(vector_works(&self->source, 2, self->event[2], WAIT_MS));

	ASSERT_EQ(0, firing_start(&firing));
	EXPECT_EQ(expected, msix_connect(self->fd, 4, &self->event[4], 1));
	EXPECT_TRUE(event_wait(self->event[2], WAIT_MS));
	EXPECT_EQ(expected, msix_connect(self->fd, 1, &self->event[1], 4));
	EXPECT_EQ(0, msix_connect(self->fd, 0, self->event, 2));
	EXPECT_TRUE(event_wait(self->event[2], WAIT_MS));
	ASSERT_EQ(0, firing_stop(&firing));
	irq_ack(&self->source);
	event_drain(self->event[2]);

	EXPECT_EQ(self->fixed ? 3 : 5, irqs_allocated(&self->dev));
	for (i = 0; i < E1000E_VECTORS; i++)
		EXPECT_EQ(i < 3 || !self->fixed,
			  vector_works(&self->source, i, self->event[i],
				       i < 3 || !self->fixed ? WAIT_MS :
							       QUIET_MS));
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_EQ(0, irqs_allocated(&self->dev));
}

/* What comes while a vector is without an eventfd waits for one. */
TEST_F(msix, added_vectors_find_what_was_pending)
{
	const int none[] = { -1, -1 };

	/* On kernels that cannot add any: reserved by the first call. */
	ASSERT_EQ(0, msix_connect(self->fd, 0, self->event, 1));
	if (self->fixed) {
		ASSERT_EQ(0, uvfio_irq_disable(self->fd,
					       VFIO_PCI_MSIX_IRQ_INDEX));
		ASSERT_EQ(0, msix_connect(self->fd, 1, none, 2));
		ASSERT_EQ(0, msix_connect(self->fd, 0, self->event, 1));
	}
	irq_fire(&self->source, 2);
	EXPECT_FALSE(event_wait(self->event[2], QUIET_MS));
	ASSERT_EQ(0, msix_connect(self->fd, 2, &self->event[2], 1));
	EXPECT_TRUE(event_wait(self->event[2], WAIT_MS));
	irq_ack(&self->source);
	event_drain(self->event[2]);
	EXPECT_TRUE(vector_works(&self->source, 0, self->event[0], WAIT_MS));
}

/* I/O BAR of e1000e: the address of a register, then its value */
#define IO_ADDRESS	0
#define IO_DATA		4

static int fire_by_port(int fd, unsigned int vector)
{
	uint32_t reg = E1000E_ICS, cause = E1000E_CAUSE(vector);
	int ret;

	ret = uvfio_region_write(fd, VFIO_PCI_BAR2_REGION_INDEX, IO_ADDRESS,
				 &reg, sizeof(reg));
	return ret ?: uvfio_region_write(fd, VFIO_PCI_BAR2_REGION_INDEX,
					 IO_DATA, &cause, sizeof(cause));
}

static bool all_masked(const struct device *dev)
{
	unsigned int cap = raw_read16(dev, PCI_CAPABILITY_LIST) & 0xff;

	while (cap && (raw_read16(dev, cap) & 0xff) != PCI_CAP_ID_MSIX)
		cap = raw_read16(dev, cap) >> 8;
	return cap && raw_read16(dev, cap + PCI_MSIX_FLAGS) &
		      PCI_MSIX_FLAGS_MASKALL;
}

/* The kernel might want to write the table then, which nobody would answer. */
TEST_F(msix, is_quiet_without_memory_decoding)
{
	ASSERT_EQ(0, uvfio_command(self->fd, PCI_COMMAND_IO, 0));
	ASSERT_EQ(0, msix_connect(self->fd, 0, self->event, E1000E_VECTORS));
	EXPECT_FALSE(all_masked(&self->dev));
	ASSERT_EQ(0, fire_by_port(self->fd, 3));
	EXPECT_TRUE(event_wait(self->event[3], WAIT_MS));
	irq_ack(&self->source);
	event_drain(self->event[3]);

	ASSERT_EQ(0, uvfio_command(self->fd, 0, PCI_COMMAND_MEMORY));
	EXPECT_TRUE(all_masked(&self->dev));
	ASSERT_EQ(0, fire_by_port(self->fd, 3));
	EXPECT_FALSE(event_wait(self->event[3], QUIET_MS));
	/* Whatever is done to it meanwhile. */
	ASSERT_EQ(0, msix_connect(self->fd, 3, &self->event[3], 1));
	ASSERT_EQ(0, uvfio_irq_mask(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 2, 2));
	ASSERT_EQ(0, uvfio_irq_unmask(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 2,
				      2));
	EXPECT_TRUE(all_masked(&self->dev));
	EXPECT_FALSE(event_wait(self->event[3], QUIET_MS));

	ASSERT_EQ(0, uvfio_command(self->fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_FALSE(all_masked(&self->dev));
	EXPECT_TRUE(event_wait(self->event[3], WAIT_MS));
	irq_ack(&self->source);
	event_drain(self->event[3]);

	/* Armed without it, the same. */
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, uvfio_command(self->fd, 0, PCI_COMMAND_MEMORY));
	ASSERT_EQ(0, msix_connect(self->fd, 0, self->event, E1000E_VECTORS));
	EXPECT_TRUE(all_masked(&self->dev));
	ASSERT_EQ(0, fire_by_port(self->fd, 1));
	EXPECT_FALSE(event_wait(self->event[1], QUIET_MS));
	ASSERT_EQ(0, uvfio_command(self->fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_TRUE(event_wait(self->event[1], WAIT_MS));
}

/* As many vectors as there can be, of a device that never interrupts here */

#define MOST		2048
#define SOME		16

FIXTURE(many)
{
	struct device dev;
	int fd;
	int event[2];
	bool fixed;
};

FIXTURE_SETUP(many)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
	};

	ASSERT_EQ(0, device_prepare(VIRTIO_SERIAL, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, ioctl(self->fd, VFIO_DEVICE_GET_IRQ_INFO, &info));
	ASSERT_EQ(MOST, info.count);
	self->fixed = info.flags & VFIO_IRQ_INFO_NORESIZE;
	ASSERT_EQ(0, events_new(self->event, 2));
}

FIXTURE_TEARDOWN(many)
{
	device_close(&self->dev);
}

/* Vector n of @count on eventfd n % 2 */
static int connect_row(int fd, const int *event, unsigned int start,
		       unsigned int count)
{
	int fds[MOST];
	unsigned int i;

	for (i = 0; i < count; i++)
		fds[i] = event[i % 2];
	return msix_connect(fd, start, fds, count);
}

static int trigger(int fd, unsigned int start, unsigned int count)
{
	return uvfio_irq_trigger(fd, VFIO_PCI_MSIX_IRQ_INDEX, start, count);
}

/* The last of them, and what that costs: itself and vector 0, or all. */
TEST_F(many, the_last_can_be_used_alone)
{
	ASSERT_EQ(0, msix_connect(self->fd, MOST - 1, self->event, 1));
	EXPECT_EQ(self->fixed ? MOST : 2, irqs_allocated(&self->dev));
	EXPECT_EQ(0, trigger(self->fd, MOST - 1, 1));
	EXPECT_EQ(1, event_take(self->event[0]));
	EXPECT_EQ(-EINVAL, msix_connect(self->fd, MOST, self->event, 1));
	ASSERT_EQ(0, msix_connect(self->fd, 1000, self->event, 1));
	EXPECT_EQ(self->fixed ? MOST : 3, irqs_allocated(&self->dev));
	EXPECT_EQ(0, trigger(self->fd, 0, MOST));
	EXPECT_EQ(2, event_take(self->event[0]));
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_EQ(0, irqs_allocated(&self->dev));
}

/* The machine may have fewer: then those that are there stay as they are. */
TEST_F(many, all_or_none)
{
	unsigned int all = SOME;
	int ret;

	ASSERT_EQ(0, connect_row(self->fd, self->event, 0, SOME));
	if (self->fixed) {
		EXPECT_EQ(-EINVAL, connect_row(self->fd, self->event, 0, MOST));
		ASSERT_EQ(0, uvfio_irq_disable(self->fd,
					       VFIO_PCI_MSIX_IRQ_INDEX));
		all = 0;
	}
	ret = connect_row(self->fd, self->event, 0, MOST);
	if (!ret)
		all = MOST;
	else
		EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(all ? 0 : -EINVAL, trigger(self->fd, 0, all ?: 1));
	EXPECT_EQ(all / 2, event_take(self->event[0]));
	EXPECT_EQ(all / 2, event_take(self->event[1]));

	ASSERT_EQ(0, uvfio_irq_disable(self->fd, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_EQ(0, irqs_allocated(&self->dev));
	ASSERT_EQ(0, connect_row(self->fd, self->event, 0, SOME));
	EXPECT_EQ(0, trigger(self->fd, 0, SOME));
	EXPECT_EQ(SOME / 2, event_take(self->event[1]));
	TH_LOG("all %d vectors: %s", MOST, ret ? "no room" : "armed");
}

TEST_HARNESS_MAIN
