// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel tells of a device by eventfds, of its own accord: that it failed
 * (ERR), and that it is wanted back (REQ). Then what it tells of all interrupts, in
 * fdinfo, /proc/interrupts and by a tracepoint; and eventfds that take nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "irq.h"
#include "monitor.h"
#include "registers.h"
#include "root.h"
#include "test.h"

#define TRACE_IRQ	TRACING "/events/uvfio/uvfio_irq/enable"

/* Those two as indices, of devices of both kinds. */

FIXTURE(event)
{
	struct device dev;
	struct interrupter source;
	int fd;
	int event, other;
	int root;
};

FIXTURE_VARIANT(event)
{
	enum which which;
	unsigned int index;
	const char *name;
};

FIXTURE_VARIANT_ADD(event, err_e1000e)
{
	.which = E1000E,
	.index = VFIO_PCI_ERR_IRQ_INDEX,
	.name = "err",
};

FIXTURE_VARIANT_ADD(event, req_e1000e)
{
	.which = E1000E,
	.index = VFIO_PCI_REQ_IRQ_INDEX,
	.name = "req",
};

FIXTURE_VARIANT_ADD(event, req_edu)
{
	.which = EDU,
	.index = VFIO_PCI_REQ_IRQ_INDEX,
	.name = "req",
};

/* Conventional PCI, without any interrupt. */
FIXTURE_VARIANT_ADD(event, req_testdev)
{
	.which = TESTDEV,
	.index = VFIO_PCI_REQ_IRQ_INDEX,
	.name = "req",
};

FIXTURE_SETUP(event)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->root = root_start();
	ASSERT_LE(0, self->root);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	self->event = event_new();
	ASSERT_LE(0, self->event);
	self->other = event_new();
	ASSERT_LE(0, self->other);
}

FIXTURE_TEARDOWN(event)
{
	interrupter_stop(&self->source);
	device_close(&self->dev);
}

static int loop_back(int fd, unsigned int index, uint8_t meant)
{
	return set_irqs(fd, BOOL_TRIGGER, index, 0, 1, &meant, 1);
}

#define CONNECT(event)	irq_connect(self->fd, variant->index, 0, event)
#define TRIGGER()	uvfio_irq_trigger(self->fd, variant->index, 0, 1)
#define LOOP_BACK(meant) loop_back(self->fd, variant->index, meant)
#define DROP()		uvfio_irq_disable(self->fd, variant->index)
#define IS_SHOWN(text)	fdinfo_is(self->fd, variant->name, text)

static bool has_line(int fd, const char *name)
{
	char value[128];

	return fdinfo_find(fd, name, value, sizeof(value));
}

TEST_F(event, loopback)
{
	EXPECT_EQ(1, uvfio_irq_count(self->fd, variant->index));
	/* There is nobody to be told. */
	EXPECT_EQ(-EINVAL, TRIGGER());
	EXPECT_EQ(0, LOOP_BACK(1));
	EXPECT_EQ(0, LOOP_BACK(0));
	EXPECT_FALSE(has_line(self->fd, variant->name));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_EQ(0, event_take(self->event));
	EXPECT_EQ(0, TRIGGER());
	EXPECT_EQ(1, event_take(self->event));
	EXPECT_EQ(0, LOOP_BACK(0));
	EXPECT_EQ(0, event_take(self->event));
	EXPECT_EQ(0, LOOP_BACK(1));
	EXPECT_EQ(0, LOOP_BACK(2));
	EXPECT_EQ(0, TRIGGER());
	EXPECT_EQ(3, event_take(self->event));
	/* That is not what happened. */
	EXPECT_TRUE(IS_SHOWN("count=0"));
}

TEST_F(event, one_eventfd_after_the_other)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, CONNECT(self->event));
		ASSERT_EQ(0, CONNECT(self->event));
		EXPECT_EQ(0, TRIGGER());
		EXPECT_EQ(1, event_take(self->event));
		ASSERT_EQ(0, CONNECT(self->other));
		EXPECT_EQ(0, TRIGGER());
		EXPECT_EQ(0, event_take(self->event));
		EXPECT_EQ(1, event_take(self->other));
		EXPECT_TRUE(IS_SHOWN("count=0"));
		/* Two ways to have none. */
		ASSERT_EQ(0, i % 2 ? CONNECT(-1) : DROP());
		EXPECT_EQ(-EINVAL, TRIGGER());
		EXPECT_EQ(0, event_take(self->other));
		EXPECT_FALSE(has_line(self->fd, variant->name));
		ASSERT_EQ(0, CONNECT(-1));
		ASSERT_EQ(0, DROP());
	}
	/* The descriptor can be closed. */
	i = dup(self->other);
	ASSERT_EQ(0, CONNECT(i));
	close(i);
	EXPECT_EQ(0, TRIGGER());
	EXPECT_EQ(1, event_take(self->other));
}

TEST_F(event, bad_arguments_change_nothing)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), closed = dup(null);
	const int two[] = { self->other, self->other };
	const unsigned int index = variant->index;
	const uint8_t yes[] = { 1, 1 };
	int fd = self->fd;

	close(closed);
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_EQ(-EBADF, CONNECT(closed));
	EXPECT_EQ(-EBADF, CONNECT(-2));
	EXPECT_EQ(-EINVAL, CONNECT(null));
	EXPECT_EQ(-EINVAL, CONNECT(fd));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, index, 1, two, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(fd, index, 0, two, 2));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, 0, two, 4));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_TRIGGER, index, 0, 1, two, 3));
	EXPECT_EQ(-EINVAL, set_irqs(fd, NONE_TRIGGER, index, 1, 0, NULL, 0));
	EXPECT_EQ(-EINVAL, set_irqs(fd, NONE_TRIGGER, index, 0, 2, NULL, 0));
	EXPECT_EQ(-EINVAL, set_irqs(fd, BOOL_TRIGGER, index, 0, 2, yes, 2));
	EXPECT_EQ(-EINVAL, set_irqs(fd, BOOL_TRIGGER, index, 0, 0, yes, 1));
	/* There is nothing to be masked. */
	EXPECT_EQ(-EINVAL, uvfio_irq_mask(fd, index, 0, 1));
	EXPECT_EQ(-EINVAL, uvfio_irq_unmask(fd, index, 0, 1));
	EXPECT_EQ(-EINVAL, set_irqs(fd, BOOL_MASK, index, 0, 1, yes, 1));
	EXPECT_EQ(-EINVAL, set_irqs(fd, BOOL_UNMASK, index, 0, 1, yes, 1));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_MASK, index, 0, 1, two, 4));
	EXPECT_EQ(-EINVAL, set_irqs(fd, EVENTFD_UNMASK, index, 0, 1, two, 4));
	EXPECT_EQ(0, event_take(self->event));
	EXPECT_EQ(0, TRIGGER());
	EXPECT_EQ(1, event_take(self->event));
	EXPECT_EQ(0, event_take(self->other));
	close(null);
}

TEST_F(event, whatever_the_mode)
{
	static const unsigned int modes[] = {
		VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX,
		VFIO_PCI_MSIX_IRQ_INDEX,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		if (uvfio_irq_count(self->fd, modes[i]) < 1)
			continue;
		ASSERT_EQ(0, irq_connect(self->fd, modes[i], 0, self->other));
		ASSERT_EQ(0, CONNECT(self->event));
		EXPECT_EQ(0, TRIGGER());
		EXPECT_EQ(1, event_take(self->event));
		EXPECT_EQ(0, event_take(self->other));
		/* The end of one is not that of the other. */
		ASSERT_EQ(0, DROP());
		EXPECT_EQ(0, uvfio_irq_trigger(self->fd, modes[i], 0, 1));
		EXPECT_EQ(1, event_take(self->other));
		ASSERT_EQ(0, CONNECT(self->event));
		ASSERT_EQ(0, uvfio_irq_disable(self->fd, modes[i]));
		EXPECT_EQ(-EINVAL, uvfio_irq_trigger(self->fd, modes[i], 0, 1));
		EXPECT_EQ(0, TRIGGER());
		EXPECT_EQ(1, event_take(self->event));
	}
	/* And all three of this kind at a time. */
	ASSERT_EQ(0, irq_connect(self->fd, UVFIO_TIMER_IRQ_INDEX, 0,
				 self->other));
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, UVFIO_TIMER_IRQ_INDEX, 0, 1));
	EXPECT_EQ(1, event_take(self->other));
	ASSERT_EQ(0, CONNECT(self->event));
	EXPECT_EQ(0, TRIGGER());
	EXPECT_EQ(1, event_take(self->event));
}

TEST_F(event, ends_with_its_user)
{
	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, uvfio_detach(self->fd));
	EXPECT_EQ(-EUNATCH, TRIGGER());
	EXPECT_EQ(-EUNATCH, CONNECT(self->event));
	ASSERT_EQ(0, uvfio_attach(self->fd, -1));
	EXPECT_FALSE(has_line(self->fd, variant->name));
	EXPECT_EQ(-EINVAL, TRIGGER());
	ASSERT_EQ(0, CONNECT(self->event));
	device_close(&self->dev);
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	EXPECT_FALSE(has_line(self->fd, variant->name));
	EXPECT_EQ(-EINVAL, TRIGGER());
	/* Nor does going away tell anybody anything. */
	EXPECT_EQ(0, event_take(self->event));
}

/* Only REQ is about that, and it is told once; then the device is gone. */
TEST_F(event, unbind_is_a_request)
{
	bool is_request = variant->index == VFIO_PCI_REQ_IRQ_INDEX;

	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, root_unbind(self->root, self->dev.bdf));
	EXPECT_EQ(is_request, event_take(self->event));
	EXPECT_EQ(-ENODEV, TRIGGER());
	EXPECT_EQ(-ENODEV, CONNECT(self->event));
	EXPECT_EQ(0, event_take(self->event));
}

/* One that is not connected any more does not hear of it. */
TEST_F(event, unbind_without_a_listener)
{
	ASSERT_EQ(0, CONNECT(self->event));
	ASSERT_EQ(0, CONNECT(self->other));
	ASSERT_EQ(0, DROP());
	ASSERT_EQ(0, root_unbind(self->root, self->dev.bdf));
	EXPECT_EQ(0, event_take(self->event));
	EXPECT_EQ(0, event_take(self->other));
	EXPECT_EQ(-ENODEV, TRIGGER());
}

/* Conventional devices cannot report errors. */
TEST(no_errors_of_conventional_devices)
{
	static const enum which which[] = { TESTDEV, EDU };
	const unsigned int index = VFIO_PCI_ERR_IRQ_INDEX;
	struct device dev[ARRAY_SIZE(which)];
	int event = event_new(), fd;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(which); i++)
		ASSERT_EQ(0, device_prepare(which[i], &dev[i]));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	for (i = 0; i < ARRAY_SIZE(which); i++) {
		ASSERT_EQ(0, device_open_attached(&dev[i], -1));
		fd = dev[i].fd;
		EXPECT_EQ(-EINVAL, uvfio_irq_count(fd, index));
		EXPECT_EQ(-EINVAL, irq_connect(fd, index, 0, event));
		EXPECT_EQ(-EINVAL, irq_connect(fd, index, 0, -1));
		EXPECT_EQ(-EINVAL, uvfio_irq_disable(fd, index));
		EXPECT_EQ(-EINVAL, uvfio_irq_trigger(fd, index, 0, 1));
		EXPECT_EQ(-EINVAL, loop_back(fd, index, 1));
		EXPECT_FALSE(has_line(fd, "err"));
		device_close(&dev[i]);
	}
	close(event);
}

/*
 * Errors that the device reports, which the monitor makes it do. That it may is what
 * firmware and kernel have set, in the device and its port, and is to stay so.
 */

FIXTURE(error)
{
	struct device dev;
	int fd;
	int event, other;
	int kmsg;
};

FIXTURE_SETUP(error)
{
	ASSERT_EQ(0, device_prepare(VIRTIO_AER, &self->dev));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	self->event = event_new();
	ASSERT_LE(0, self->event);
	self->other = event_new();
	ASSERT_LE(0, self->other);
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
}

FIXTURE_TEARDOWN(error)
{
	device_close(&self->dev);
}

static int inject(const char *error)
{
	char command[64], answer[256];
	int ret;

	snprintf(command, sizeof(command), "pcie_aer_inject_error aer %s",
		 error);
	ret = monitor_command(command, answer, sizeof(answer));
	return ret ? ret : strncmp("OK ", answer, 3) ? -EIO : 0;
}

/* The kernel has told the driver, whatever comes of it, and is done. */
static int recovery_wait(int kmsg)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (!kmsg_has(kmsg, "pcieport", "device recovery")) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return 0;
}

/* An error that the device cannot correct. */
static int fail(int kmsg)
{
	int ret = inject("POISON_TLP");

	return ret ? ret : recovery_wait(kmsg);
}

#define FAIL()	fail(self->kmsg)
#define ERR	VFIO_PCI_ERR_IRQ_INDEX

/* Its registers can be reached, and keep what is written. */
static bool works(int fd)
{
	return !uvfio_command(fd, PCI_COMMAND_MEMORY, 0) &&
	       device_answers(fd, VIRTIO_AER) && !device_mark(fd, VIRTIO_AER) &&
	       device_is_marked(fd, VIRTIO_AER);
}

#define WORKS()	works(self->fd)

TEST_F(error, is_reported)
{
	char text[16];
	int i;

	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->event));
	EXPECT_TRUE(fdinfo_is(self->fd, "err", "count=0"));
	EXPECT_EQ(0, event_take(self->event));
	for (i = 1; i <= 3; i++) {
		ASSERT_EQ(0, FAIL());
		EXPECT_EQ(1, event_take(self->event));
		snprintf(text, sizeof(text), "count=%d", i);
		EXPECT_TRUE(fdinfo_is(self->fd, "err", text));
		EXPECT_TRUE(WORKS());
	}
}

TEST_F(error, goes_to_who_listens)
{
	/* Nobody: then it is not kept. */
	ASSERT_EQ(0, FAIL());
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->event));
	EXPECT_EQ(0, event_take(self->event));
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->other));
	ASSERT_EQ(0, FAIL());
	EXPECT_EQ(1, event_take(self->other));
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, -1));
	ASSERT_EQ(0, FAIL());
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->other));
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, ERR));
	ASSERT_EQ(0, FAIL());
	EXPECT_EQ(0, event_take(self->event));
	EXPECT_EQ(0, event_take(self->other));
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->event));
	ASSERT_EQ(0, FAIL());
	EXPECT_EQ(1, event_take(self->event));
	EXPECT_TRUE(WORKS());
}

TEST_F(error, without_a_user)
{
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->event));
	ASSERT_EQ(0, FAIL());
	EXPECT_EQ(1, event_take(self->event));
	ASSERT_EQ(0, uvfio_detach(self->fd));
	ASSERT_EQ(0, FAIL());
	device_close(&self->dev);
	ASSERT_EQ(0, FAIL());
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->event));
	EXPECT_TRUE(WORKS());
	EXPECT_EQ(0, event_take(self->event));
}

/* The kernel resets what is behind the port; then it is for the user to do so. */
TEST_F(error, fatal)
{
	ASSERT_EQ(0, irq_connect(self->fd, ERR, 0, self->event));
	EXPECT_TRUE(WORKS());
	ASSERT_EQ(0, inject("DLP"));
	EXPECT_EQ(0, recovery_wait(self->kmsg));
	EXPECT_EQ(1, event_take(self->event));
	EXPECT_FALSE(device_is_marked(self->fd, VIRTIO_AER));
	ASSERT_EQ(0, uvfio_reset(self->fd));
	EXPECT_TRUE(WORKS());
	device_close(&self->dev);
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	EXPECT_TRUE(WORKS());
}

/* Pulled out of the running machine by its owner, and put back. */
TEST(unplugging_is_a_request)
{
	struct device dev;
	uint64_t end = now_ms() + WAIT_MS;
	char answer[256], path[64];
	int event = event_new();

	ASSERT_EQ(0, device_prepare(E1000E, &dev));
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", dev.bdf);
	ASSERT_EQ(0, device_open_attached(&dev, -1));
	ASSERT_EQ(0, irq_connect(dev.fd, VFIO_PCI_REQ_IRQ_INDEX, 0, event));
	ASSERT_EQ(0, monitor_command("device_del e1000e", answer,
				     sizeof(answer)));
	EXPECT_STREQ("", answer);
	EXPECT_TRUE(event_wait(event, WAIT_MS));
	EXPECT_FALSE(event_wait(event, QUIET_MS));
	while (file_exists(path) && now_ms() < end)
		usleep(10000);
	EXPECT_FALSE(file_exists(path));
	EXPECT_EQ(-ENODEV, uvfio_irq_trigger(dev.fd, VFIO_PCI_REQ_IRQ_INDEX, 0,
					     1));
	device_close(&dev);

	/* QEMU may still have it for a moment. */
	do {
		ASSERT_EQ(0, monitor_command("device_add e1000e,id=e1000e,bus=port3,netdev=net3",
					     answer, sizeof(answer)));
		usleep(100000);
	} while (*answer && now_ms() < end);
	EXPECT_STREQ("", answer);
	while (!file_exists(path) && now_ms() < end)
		usleep(10000);
	EXPECT_TRUE(file_exists(path));
	close(event);
}

/* What is shown of interrupts. */

FIXTURE(shown)
{
	struct device dev;
	struct interrupter source;
	int fd;
	int root;
	int trace;
	int event[E1000E_VECTORS];
	uint64_t signals[E1000E_VECTORS];
};

FIXTURE_VARIANT(shown)
{
	enum which which;
	unsigned int index;
	const char *mode;
	unsigned int count;
};

FIXTURE_VARIANT_ADD(shown, edu_intx)
{
	.which = EDU,
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.mode = "intx",
	.count = 1,
};

FIXTURE_VARIANT_ADD(shown, edu_msi)
{
	.which = EDU,
	.index = VFIO_PCI_MSI_IRQ_INDEX,
	.mode = "msi",
	.count = 1,
};

FIXTURE_VARIANT_ADD(shown, e1000e_intx)
{
	.which = E1000E,
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.mode = "intx",
	.count = 1,
};

FIXTURE_VARIANT_ADD(shown, e1000e_msi)
{
	.which = E1000E,
	.index = VFIO_PCI_MSI_IRQ_INDEX,
	.mode = "msi",
	.count = 1,
};

FIXTURE_VARIANT_ADD(shown, e1000e_msix)
{
	.which = E1000E,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
	.mode = "msix",
	.count = E1000E_VECTORS,
};

FIXTURE_SETUP(shown)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->root = root_start();
	ASSERT_LE(0, self->root);
	self->trace = trace_open();
	ASSERT_LE(0, self->trace);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, interrupter_start(&self->source, variant->which,
				       &self->dev, variant->index));
	ASSERT_EQ(0, events_new(self->event, variant->count));
}

FIXTURE_TEARDOWN(shown)
{
	root_write(self->root, TRACE_IRQ, "0");
	if (self->source.e1000e)
		irq_ack(&self->source);
	interrupter_stop(&self->source);
	device_close(&self->dev);
	close(self->trace);
}

/* Fires once, and adds to @signals what that was: e1000e repeats some. */
static bool fire(struct interrupter *source, unsigned int vector, int event,
		 uint64_t *signals)
{
	struct pollfd pollfd = { .fd = event, .events = POLLIN };
	uint64_t before = *signals;

	irq_fire(source, vector);
	if (poll(&pollfd, 1, WAIT_MS) != 1 || irq_finish(source))
		return false;
	do {
		*signals += event_take(event);
	} while (poll(&pollfd, 1, QUIET_MS) == 1);
	return source->e1000e || *signals == before + 1;
}

static bool fire_counted(struct interrupter *source, unsigned int vector,
			 const int *events, uint64_t *signals)
{
	return fire(source, vector, events[vector], &signals[vector]);
}

/* All that has fired so far, in fdinfo and by the kernel's own count. */
static bool is_counted(const struct device *dev, const char *mode,
		       unsigned int vector, const uint64_t *fired)
{
	uint64_t signals = fired[vector];
	long taken[IRQ_CPUS];
	struct irq_state state;

	if (!irq_state(dev->fd, mode, vector, &state) ||
	    !irq_taken(dev->bdf, mode, vector, taken))
		return false;
	if (state.count == signals && !state.masked &&
	    (uint64_t)(taken[0] + taken[1]) >= signals)
		return true;
	printf("# fired %llu times, in fdinfo %lu, masked=%d, taken %ld and %ld\n",
	       (unsigned long long)signals, state.count, state.masked, taken[0],
	       taken[1]);
	return false;
}

#define FIRE(vector) \
	fire_counted(&self->source, vector, self->event, self->signals)
#define IS_COUNTED(vector) \
	is_counted(&self->dev, variant->mode, vector, self->signals)
#define ARM()	uvfio_irq_eventfds(self->fd, variant->index, 0, self->event, \
				   variant->count)

TEST_F(shown, counts_and_names)
{
	static const int none = -1;
	struct irq_state state;
	long taken[IRQ_CPUS];
	unsigned int i, j;

	EXPECT_FALSE(irq_state(self->fd, variant->mode, 0, &state));
	EXPECT_FALSE(irq_taken(self->dev.bdf, variant->mode, 0, taken));
	ASSERT_EQ(0, ARM());
	for (i = 0; i < variant->count; i++) {
		EXPECT_TRUE(IS_COUNTED(i));
		for (j = 0; j < 3; j++)
			EXPECT_TRUE(FIRE(i));
	}
	/* Each its own. */
	for (i = 0; i < variant->count; i++)
		EXPECT_TRUE(IS_COUNTED(i));
	EXPECT_FALSE(irq_state(self->fd, variant->mode, variant->count,
			       &state));

	/* Loopback is not an interrupt. */
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, variant->index, 0, 1));
	EXPECT_EQ(1, event_take(self->event[0]));
	EXPECT_TRUE(IS_COUNTED(0));
	/* A mask is shown. */
	EXPECT_EQ(0, uvfio_irq_mask(self->fd, variant->index, 0, 1));
	EXPECT_TRUE(irq_state(self->fd, variant->mode, 0, &state));
	EXPECT_EQ(1, state.masked);
	EXPECT_EQ(0, uvfio_irq_unmask(self->fd, variant->index, 0, 1));
	EXPECT_TRUE(IS_COUNTED(0));

	/* What is not armed is not shown, and counts on when it is again. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0, &none, 1));
	EXPECT_FALSE(irq_state(self->fd, variant->mode, 0, &state));
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(FIRE(0));
	EXPECT_TRUE(irq_state(self->fd, variant->mode, 0, &state));
	EXPECT_EQ(self->signals[0], state.count);

	if (self->source.e1000e)
		irq_ack(&self->source);
	ASSERT_EQ(0, uvfio_irq_disable(self->fd, variant->index));
	for (i = 0; i < variant->count; i++) {
		EXPECT_FALSE(irq_state(self->fd, variant->mode, i, &state));
		EXPECT_FALSE(irq_taken(self->dev.bdf, variant->mode, i, taken));
	}
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(FIRE(0));
	EXPECT_TRUE(irq_state(self->fd, variant->mode, 0, &state));
	EXPECT_EQ(self->signals[0], state.count);

	/* The next one begins with nothing. */
	if (self->source.e1000e)
		irq_ack(&self->source);
	interrupter_stop(&self->source);
	ASSERT_EQ(0, uvfio_detach(self->fd));
	EXPECT_FALSE(irq_taken(self->dev.bdf, variant->mode, 0, taken));
	ASSERT_EQ(0, interrupter_start(&self->source, variant->which,
				       &self->dev, variant->index));
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(irq_state(self->fd, variant->mode, 0, &state));
	EXPECT_EQ(0, state.count);
	self->signals[0] = 0;
	EXPECT_TRUE(FIRE(0));
	EXPECT_TRUE(IS_COUNTED(0));
}

/* How often @line comes, of all that is in the trace; those are gone then. */
static unsigned int traced(int trace, const char *line, unsigned int *all)
{
	unsigned int count = 0;
	char text[16384], *at;
	ssize_t len;

	*all = 0;
	/* A read gives whole lines, as many as fit a page. */
	while ((len = read(trace, text, sizeof(text) - 1)) > 0) {
		text[len] = '\0';
		for (at = text; (at = strstr(at, "uvfio_irq: ")); at++)
			*all += 1;
		for (at = text; (at = strstr(at, line)); at++)
			count++;
	}
	return count;
}

TEST_F(shown, traced)
{
	unsigned int last = variant->count - 1, all;
	struct irq_state state;
	char line[128];

	ASSERT_EQ(0, ARM());
	ASSERT_TRUE(irq_state(self->fd, variant->mode, last, &state));
	snprintf(line, sizeof(line),
		 "uvfio_irq: device=%s index=%u vector=%u irq=%d\n",
		 self->dev.bdf, variant->index, last, state.irq);
	EXPECT_EQ(-EACCES, write_file(TRACE_IRQ, "1"));
	/* Only while somebody wants to know. */
	EXPECT_TRUE(FIRE(last));
	EXPECT_EQ(0, traced(self->trace, line, &all));
	EXPECT_EQ(0, all);
	self->signals[last] = 0;

	ASSERT_EQ(0, root_write(self->root, TRACE_IRQ, "1"));
	EXPECT_TRUE(FIRE(last));
	EXPECT_TRUE(FIRE(last));
	EXPECT_EQ(self->signals[last], traced(self->trace, line, &all));
	EXPECT_EQ(self->signals[last], all);
	/* The others are another line. */
	if (last) {
		EXPECT_TRUE(FIRE(0));
		EXPECT_EQ(0, traced(self->trace, line, &all));
		EXPECT_EQ(self->signals[0], all);
	}
	/* Loopback is not an interrupt. */
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, variant->index, last, 1));
	EXPECT_EQ(0, traced(self->trace, line, &all));
	EXPECT_EQ(0, all);

	ASSERT_EQ(0, root_write(self->root, TRACE_IRQ, "0"));
	event_drain(self->event[last]);
	EXPECT_TRUE(FIRE(last));
	EXPECT_EQ(0, traced(self->trace, line, &all));
	EXPECT_EQ(0, all);
}

/* An eventfd that takes nothing is its user's affair. */

#define FULL		0xfffffffffffffffeULL	/* as far as write() goes */

FIXTURE(sink)
{
	struct device dev, dev2;
	struct interrupter source, source2;
	int fd;
	int event[E1000E_VECTORS];
	int full;
};

FIXTURE_SETUP(sink)
{
	uint64_t full = FULL;

	self->dev2.fd = -1;
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	ASSERT_EQ(0, device_prepare(EDU, &self->dev2));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, device_open(&self->dev2));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, interrupter_start(&self->source, E1000E, &self->dev,
				       VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, interrupter_start(&self->source2, EDU, &self->dev2,
				       VFIO_PCI_MSI_IRQ_INDEX));
	ASSERT_EQ(0, events_new(self->event, E1000E_VECTORS));
	/* Who would signal this one by write() would wait. */
	self->full = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, self->full);
	ASSERT_EQ(8, write(self->full, &full, sizeof(full)));
}

FIXTURE_TEARDOWN(sink)
{
	irq_ack(&self->source);
	interrupter_stop(&self->source);
	interrupter_stop(&self->source2);
	device_close(&self->dev);
	device_close(&self->dev2);
}

static bool counts(int fd, const char *mode, unsigned int nr,
		   unsigned long count)
{
	uint64_t end = now_ms() + WAIT_MS;
	struct irq_state state;

	do {
		if (!irq_state(fd, mode, nr, &state))
			return false;
		if (state.count >= count)
			return true;
		usleep(1000);
	} while (now_ms() < end);
	return false;
}

static bool fires(struct interrupter *source, unsigned int vector, int event)
{
	uint64_t signals = 0;

	return fire(source, vector, event, &signals);
}

TEST_F(sink, full)
{
	struct pollfd pollfd = { .fd = self->full, .events = POLLOUT };
	const uint64_t one = 1;
	int i;

	close(self->event[0]);
	self->event[0] = self->full;
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					self->event, E1000E_VECTORS));
	ASSERT_EQ(0, irq_connect(self->dev2.fd, VFIO_PCI_MSI_IRQ_INDEX, 0,
				 self->full));
	ASSERT_EQ(0, poll(&pollfd, 1, 0));
	for (i = 1; i <= 3; i++) {
		irq_fire(&self->source, 0);
		EXPECT_TRUE(counts(self->fd, "msix", 0, i));
		irq_fire(&self->source2, 0);
		EXPECT_TRUE(counts(self->dev2.fd, "msi", 0, i));
		irq_ack(&self->source);
		irq_ack(&self->source2);
		EXPECT_EQ(0, uvfio_irq_trigger(self->fd,
					       VFIO_PCI_MSIX_IRQ_INDEX, 0, 1));
		EXPECT_TRUE(fires(&self->source, 1, self->event[1]));
		EXPECT_TRUE(fires(&self->source, 4, self->event[4]));
	}
	/* It is as full as can be, and when it is read it is as any other. */
	EXPECT_EQ(UINT64_MAX, event_take(self->full));
	ASSERT_EQ(8, write(self->full, &one, sizeof(one)));
	EXPECT_EQ(1, event_take(self->full));
	irq_fire(&self->source2, 0);
	EXPECT_TRUE(event_wait(self->full, WAIT_MS));
	irq_ack(&self->source2);
}

TEST_F(sink, closed_by_its_user)
{
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					self->event, E1000E_VECTORS));
	close(self->event[0]);
	irq_fire(&self->source, 0);
	EXPECT_TRUE(counts(self->fd, "msix", 0, 1));
	irq_ack(&self->source);
	EXPECT_TRUE(fires(&self->source, 1, self->event[1]));
	irq_fire(&self->source, 0);
	EXPECT_TRUE(counts(self->fd, "msix", 0, 2));
	irq_ack(&self->source);
	EXPECT_TRUE(fires(&self->source, 4, self->event[4]));
	self->event[0] = event_new();
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					self->event, 1));
	EXPECT_TRUE(fires(&self->source, 0, self->event[0]));
}

/* By several vectors, and two devices: each adds its own. */
TEST_F(sink, shared)
{
	int shared = self->event[0];
	const int fds[] = { shared, shared, self->event[2], shared, -1 };
	uint64_t before, signals = 0;
	struct irq_state state;
	unsigned int i;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					fds, E1000E_VECTORS));
	ASSERT_EQ(0, irq_connect(self->dev2.fd, VFIO_PCI_MSI_IRQ_INDEX, 0,
				 shared));
	for (i = 0; i < 4; i++) {
		before = signals;
		if (i == 2)
			continue;
		EXPECT_TRUE(fire(&self->source, i, shared, &signals));
		EXPECT_TRUE(irq_state(self->fd, "msix", i, &state));
		EXPECT_EQ(signals - before, state.count);
	}
	EXPECT_TRUE(fires(&self->source, 2, self->event[2]));
	EXPECT_FALSE(event_wait(shared, 0));
	for (i = 1; i <= 3; i++) {
		EXPECT_TRUE(fires(&self->source2, 0, shared));
		EXPECT_TRUE(irq_state(self->dev2.fd, "msi", 0, &state));
		EXPECT_EQ(i, state.count);
	}
	/* When one device is gone, the eventfd is still the other's. */
	irq_ack(&self->source);
	interrupter_stop(&self->source);
	device_close(&self->dev);
	EXPECT_TRUE(fires(&self->source2, 0, shared));
	ASSERT_EQ(0, device_open(&self->dev));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, interrupter_start(&self->source, E1000E, &self->dev,
				       VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					fds, E1000E_VECTORS));
	EXPECT_TRUE(fires(&self->source, 1, shared));
	EXPECT_TRUE(fires(&self->source2, 0, shared));
}

TEST_HARNESS_MAIN
