// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver asks of the kernel by writing to config space: to put the device
 * to sleep, to wake it up, to reset it. The judge is the device's real power state
 * and registers. On the way no access may reach a device that would not answer,
 * and whatever is asleep has to be ended, reset and taken away all the same.
 *
 * nvme comes back from D3hot with its state, as it says; of e1000e and virtio-rng
 * the kernel must believe that they lose it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>

#include "e1000e.h"
#include "judge.h"
#include "nvme.h"
#include "registers.h"
#include "test.h"

#define D0	0
#define D1	1
#define D2	2
#define D3HOT	3

#define RACE_MS	1000

FIXTURE(power)
{
	struct device dev;
	unsigned int control;	/* offset of PMCSR */
	int unbind, reset;	/* sysfs, opened as root */
	int suspend;		/* likewise */
	char *map;		/* of a page with registers */
	unsigned int known;	/* a register in it, and its value */
	uint32_t known_value;
};

FIXTURE_VARIANT(power)
{
	enum which which;
	bool keeps;		/* its state, in D3hot */
	bool resets;		/* by Function Level Reset */
};

FIXTURE_VARIANT_ADD(power, nvme)
{
	.which = NVME,
	.keeps = true,
	.resets = true,
};

FIXTURE_VARIANT_ADD(power, e1000e)
{
	.which = E1000E,
};

FIXTURE_VARIANT_ADD(power, virtio_rng)
{
	.which = VIRTIO_RNG,
	.resets = true,
};

FIXTURE_VARIANT_ADD(power, nvme_vf)
{
	.which = NVME_VF,
	.keeps = true,
	.resets = true,
};

static int reset_open(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", bdf);
	return open(path, O_WRONLY | O_CLOEXEC);
}

static int root_reset(int fd)
{
	return pwrite(fd, "1", 1, 0) == 1 ? 0 : -errno;
}

/*
 * Puts all devices of the machine to sleep and wakes them up again, which is the
 * part of a suspend that is ours.
 */
static int suspend_open(void)
{
	int ret;

	ret = write_file("/sys/power/pm_test", "devices");
	if (!ret)
		ret = write_file("/sys/module/suspend/parameters/pm_test_delay",
				 "0");
	return ret ? ret : open("/sys/power/state", O_WRONLY | O_CLOEXEC);
}

static int machine_suspend(int fd)
{
	return write(fd, "mem", 3) == 3 ? 0 : -errno;
}

#define READ(off, len)	config_read(self->dev.fd, off, len)
#define WRITE(off, len, value) \
	ASSERT_EQ(0, config_write(self->dev.fd, off, len, value))
#define RAW(off)	raw_read32(&self->dev, off)

#define RAW_STATE() \
	(raw_read16(&self->dev, self->control) & PCI_PM_CTRL_STATE_MASK)

/* The device, the register and this test agree. */
#define EXPECT_STATE(state) \
	do { \
		uint32_t __state = (state); \
		EXPECT_EQ(__state, RAW_STATE()); \
		EXPECT_EQ(__state, READ(self->control, 2) & \
				   PCI_PM_CTRL_STATE_MASK); \
	} while (0)

#define SET_STATE(state) \
	do { \
		uint32_t __set = (state); \
		WRITE(self->control, 2, __set); \
		EXPECT_STATE(__set); \
	} while (0)

#define EXPECT_WORKS() \
	do { \
		uint32_t __value = 0; \
		EXPECT_FALSE(read_faults(self->map + self->known, &__value)); \
		EXPECT_EQ(self->known_value, __value); \
		EXPECT_TRUE(device_answers(self->dev.fd, variant->which)); \
	} while (0)

/* Neither way to its registers leads to it. */
#define EXPECT_NO_WAY() \
	do { \
		EXPECT_TRUE(read_faults(self->map + self->known, NULL)); \
		EXPECT_TRUE(write_faults(self->map + self->known, 0)); \
		EXPECT_FALSE(device_answers(self->dev.fd, variant->which)); \
		EXPECT_EQ(-EIO, device_mark(self->dev.fd, variant->which)); \
	} while (0)

static int use(struct device *dev, enum which which, char **map)
{
	int ret;

	ret = device_open_attached(dev, -1);
	if (ret)
		return ret;
	ret = uvfio_command(dev->fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
			    0);
	if (ret)
		return ret;
	*map = registers_map(dev->fd, which);
	return *map == MAP_FAILED ? -errno : 0;
}

#define USE()	use(&self->dev, variant->which, &self->map)

FIXTURE_SETUP(power)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->unbind = open("/sys/bus/pci/drivers/uvfio/unbind",
			    O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, self->unbind);
	self->reset = reset_open(self->dev.bdf);
	ASSERT_LE(0, self->reset);
	self->suspend = suspend_open();
	self->control = raw_cap(&self->dev, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	ASSERT_LT(PCI_PM_CTRL, self->control);
	EXPECT_EQ(variant->keeps, raw_read16(&self->dev, self->control) >> 3 & 1);
	self->known = register_known(variant->which, &self->known_value);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, USE());
}

FIXTURE_TEARDOWN(power)
{
	if (self->map != MAP_FAILED)
		munmap(self->map, PAGE_SIZE);
	device_close(&self->dev);
}

TEST_F(power, state_is_that_of_the_device)
{
	uint16_t before = raw_read16(&self->dev, self->control);

	EXPECT_STATE(D0);
	SET_STATE(D3HOT);
	SET_STATE(D3HOT);
	SET_STATE(D0);
	WRITE(self->control, 1, D3HOT);
	EXPECT_STATE(D3HOT);
	/* The other byte, and the capability before, say nothing of it. */
	WRITE(self->control + 1, 1, 0);
	WRITE(self->control - PCI_PM_CTRL, 4, 0);
	EXPECT_STATE(D3HOT);
	WRITE(self->control, 4, D0);
	EXPECT_STATE(D0);

	/* Waking the machine is not the user's. */
	WRITE(self->control, 2, 0xfffc);
	EXPECT_STATE(D0);
	EXPECT_EQ(before, raw_read16(&self->dev, self->control));
}

/* A state that the device does not have is none to change to. */
TEST_F(power, states_that_are_missing_change_nothing)
{
	static const unsigned int missing[] = { D1, D2 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(missing); i++) {
		WRITE(self->control, 2, missing[i]);
		EXPECT_STATE(D0);
		EXPECT_WORKS();
		SET_STATE(D3HOT);
		WRITE(self->control, 2, missing[i]);
		EXPECT_STATE(D3HOT);
		EXPECT_NO_WAY();
		SET_STATE(D0);
		EXPECT_WORKS();
	}
}

TEST_F(power, asleep_it_is_not_reached)
{
	uint32_t ids = READ(PCI_VENDOR_ID, 4), line;
	unsigned int i;

	EXPECT_WORKS();
	for (i = 0; i < 2; i++) {
		SET_STATE(D3HOT);
		EXPECT_NO_WAY();

		/* Config space answers, and takes notes. */
		EXPECT_EQ(ids, READ(PCI_VENDOR_ID, 4));
		line = READ(PCI_INTERRUPT_LINE, 1);
		WRITE(PCI_INTERRUPT_LINE, 1, line ^ 0x55);
		EXPECT_EQ(line ^ 0x55, READ(PCI_INTERRUPT_LINE, 1));
		/* Decoding does not wake it. */
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY,
					   0));
		EXPECT_STATE(D3HOT);
		EXPECT_NO_WAY();

		SET_STATE(D0);
		EXPECT_WORKS();
	}
}

/* The kernel restores what the device may have lost, and nothing else. */
TEST_F(power, config_space_is_kept)
{
	static const uint16_t commands[] = {
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY,
		PCI_COMMAND_MASTER, 0,
	};
	uint8_t before[4096], after[4096];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		ASSERT_EQ(0, uvfio_command(self->dev.fd, commands[i],
					   PCI_COMMAND_MEMORY |
					   PCI_COMMAND_MASTER));
		ASSERT_EQ(4096, pread(self->dev.raw, before, 4096, 0));
		SET_STATE(D3HOT);
		EXPECT_EQ(commands[i], READ(PCI_COMMAND, 2) &
				       (PCI_COMMAND_MEMORY |
					PCI_COMMAND_MASTER));
		SET_STATE(D0);
		ASSERT_EQ(4096, pread(self->dev.raw, after, 4096, 0));
		EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
		if (commands[i] & PCI_COMMAND_MEMORY)
			EXPECT_WORKS();
		else
			EXPECT_NO_WAY();
	}
}

TEST_F(power, asleep_it_can_be_closed)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		SET_STATE(D3HOT);
		munmap(self->map, PAGE_SIZE);
		device_close(&self->dev);
		EXPECT_EQ(D0, RAW_STATE());
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, USE());
		EXPECT_STATE(D0);
		EXPECT_WORKS();
	}
}

TEST_F(power, asleep_it_can_be_detached)
{
	SET_STATE(D3HOT);
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	EXPECT_EQ(D0, RAW_STATE());
	EXPECT_FALSE(raw_bus_master(&self->dev));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_STATE(D0);
	EXPECT_WORKS();
}

TEST_F(power, asleep_it_can_be_unbound)
{
	SET_STATE(D3HOT);
	ASSERT_LT(0, write(self->unbind, self->dev.bdf, strlen(self->dev.bdf)));
	EXPECT_EQ(D0, RAW_STATE());
	EXPECT_FALSE(raw_bus_master(&self->dev));
	EXPECT_EQ(-ENODEV, config_write(self->dev.fd, self->control, 2, D3HOT));
	EXPECT_EQ(D0, RAW_STATE());
	EXPECT_TRUE(read_faults(self->map + self->known, NULL));
}

/* As a user, and as the administrator. */
TEST_F(power, asleep_it_can_be_reset)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY |
					   PCI_COMMAND_MASTER, 0));
		ASSERT_EQ(0, device_mark(self->dev.fd, variant->which));
		SET_STATE(D3HOT);
		ASSERT_EQ(0, i ? root_reset(self->reset) :
				 uvfio_reset(self->dev.fd));
		EXPECT_STATE(D0);
		EXPECT_WORKS();
		/* e1000e is reset by its sleep, which QEMU does not play. */
		EXPECT_EQ(!variant->resets, device_is_marked(self->dev.fd,
							     variant->which));
		EXPECT_FALSE(raw_bus_master(&self->dev));
	}
}

/* Awake and asleep. No interrupt that nobody handles, no DMA, comes of it. */
TEST_F(power, suspend_of_the_machine_is_like_a_reset)
{
	unsigned int i;

	if (self->suspend == -ENOENT)
		SKIP(return, "this kernel has no pm_test");
	ASSERT_LE(0, self->suspend);

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY |
					   PCI_COMMAND_MASTER, 0));
		EXPECT_TRUE(raw_bus_master(&self->dev));
		if (i)
			SET_STATE(D3HOT);
		ASSERT_EQ(0, machine_suspend(self->suspend));
		EXPECT_STATE(D0);
		EXPECT_FALSE(raw_bus_master(&self->dev));
		/* A VF has no INTx, and its PF, asleep too, took it offline. */
		if (variant->which == NVME_VF)
			continue;
		EXPECT_WORKS();
		EXPECT_EQ(PCI_COMMAND_INTX_DISABLE,
			  raw_read16(&self->dev, PCI_COMMAND) &
			  PCI_COMMAND_INTX_DISABLE);
	}
}

/* Each access finds the device awake, or is refused. */

struct sleeper {
	int fd;
	unsigned int control;
	uint64_t end;
	unsigned int rounds, failures;
};

static void *sleep_and_wake(void *data)
{
	struct sleeper *sleeper = data;

	while (now_ms() < sleeper->end) {
		if (config_write(sleeper->fd, sleeper->control, 2, D3HOT) ||
		    config_write(sleeper->fd, sleeper->control, 2, D0))
			sleeper->failures++;
		sleeper->rounds++;
	}
	return NULL;
}

TEST_F(power, falling_asleep_races_with_access)
{
	struct sleeper sleeper = {
		.fd = self->dev.fd,
		.control = self->control,
		.end = now_ms() + RACE_MS,
	};
	unsigned int reached = 0, refused = 0;
	pthread_t thread;
	uint32_t value;

	ASSERT_EQ(0, pthread_create(&thread, NULL, sleep_and_wake, &sleeper));
	while (now_ms() < sleeper.end) {
		if (read_faults(self->map + self->known, &value)) {
			refused++;
			continue;
		}
		ASSERT_EQ(self->known_value, value);
		reached++;
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, sleeper.failures);
	EXPECT_LT(0, sleeper.rounds);
	EXPECT_LT(0, reached);
	EXPECT_LT(0, refused);
	EXPECT_STATE(D0);
	EXPECT_WORKS();
}

/* Function Level Reset by a write to config space. */

#define MSIX_FLAGS	(raw_cap(&self->dev, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS)

TEST_F(power, flr_bit_resets)
{
	unsigned int exp = raw_cap(&self->dev, PCI_CAP_ID_EXP);
	unsigned int control = exp + PCI_EXP_DEVCTL;
	uint8_t before[4096], after[4096];
	uint32_t value;
	int event = event_new();
	unsigned int i;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, &event, 1));
	EXPECT_EQ(variant->resets, RAW(exp + PCI_EXP_DEVCAP) >> 28 & 1);
	WRITE(PCI_INTERRUPT_LINE, 1, 0x5a);
	for (i = 0; i < 3; i++) {
		/* With memory off first, then on, then asleep. */
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY |
					   PCI_COMMAND_MASTER, 0));
		ASSERT_EQ(0, device_mark(self->dev.fd, variant->which));
		ASSERT_TRUE(device_is_marked(self->dev.fd, variant->which));
		if (i == 0)
			ASSERT_EQ(0, uvfio_command(self->dev.fd, 0,
						   PCI_COMMAND_MEMORY));
		ASSERT_EQ(4096, pread(self->dev.raw, before, 4096, 0));
		if (i == 2)
			SET_STATE(D3HOT);

		value = READ(control, 2) | PCI_EXP_DEVCTL_BCR_FLR;
		WRITE(control, 2, value);
		EXPECT_EQ(value & ~PCI_EXP_DEVCTL_BCR_FLR, READ(control, 2));
		if (!variant->resets) {
			SET_STATE(D0);
			EXPECT_TRUE(raw_bus_master(&self->dev));
		} else {
			EXPECT_STATE(D0);
			EXPECT_FALSE(raw_bus_master(&self->dev));
			before[PCI_COMMAND] &= ~PCI_COMMAND_MASTER;
		}
		ASSERT_EQ(4096, pread(self->dev.raw, after, 4096, 0));
		EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
		EXPECT_EQ(0x5a, READ(PCI_INTERRUPT_LINE, 1));
		if (i == 0) {
			EXPECT_NO_WAY();
			ASSERT_EQ(0, uvfio_command(self->dev.fd,
						   PCI_COMMAND_MEMORY, 0));
		}
		EXPECT_WORKS();
		EXPECT_EQ(!variant->resets, device_is_marked(self->dev.fd,
							     variant->which));
	}
	/* The vectors stayed. */
	EXPECT_TRUE(raw_read16(&self->dev, MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE);
}

/* The same bit in a longer write, whose rest is written, too. */
TEST_F(power, flr_bit_resets_in_the_middle)
{
	unsigned int exp = raw_cap(&self->dev, PCI_CAP_ID_EXP), i;
	uint8_t bytes[256];
	struct vfio_region_info info;

	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &info));
	ASSERT_EQ(0, device_mark(self->dev.fd, variant->which));
	/* From the interrupt line on up to the end. */
	ASSERT_EQ(256, pread(self->dev.fd, bytes, 256, info.offset));
	bytes[PCI_CACHE_LINE_SIZE] ^= 0x11;
	bytes[exp + PCI_EXP_DEVCTL] ^= PCI_EXP_DEVCTL_PAYLOAD;
	bytes[exp + PCI_EXP_DEVCTL + 1] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
	ASSERT_EQ(256, pwrite(self->dev.fd, bytes, 256, info.offset));
	bytes[exp + PCI_EXP_DEVCTL + 1] &= ~(PCI_EXP_DEVCTL_BCR_FLR >> 8);
	if (variant->resets)
		bytes[PCI_COMMAND] &= ~PCI_COMMAND_MASTER;
	for (i = 0; i < 256; i++) {
		EXPECT_EQ(bytes[i], READ(i, 1)) {
			TH_LOG("at %#x", i);
		}
	}
	EXPECT_EQ(!variant->resets, device_is_marked(self->dev.fd,
						     variant->which));
}

/* Interrupts are set up and torn down asleep as awake. */

FIXTURE(vectors)
{
	struct device dev;
	struct nvme nvme;
	unsigned int control;
};

FIXTURE_SETUP(vectors)
{
	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
	self->control = raw_cap(&self->dev, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, nvme_open(&self->nvme, self->dev.node));
	self->dev.fd = self->nvme.device;
}

FIXTURE_TEARDOWN(vectors)
{
	nvme_close(&self->nvme);
}

/* As in nvme_test: a read that comes with an interrupt. */
static bool read_interrupts(struct nvme *nvme)
{
	uint64_t before;

	while (event_wait(nvme->io.eventfd, QUIET_MS))
		;
	before = nvme->io.interrupts;
	return !nvme_read(nvme, 0, 0) && (nvme->io.interrupts > before ||
					  event_wait(nvme->io.eventfd, WAIT_MS));
}

TEST_F(vectors, deliver_after_sleep)
{
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(read_interrupts(&self->nvme));
		SET_STATE(D3HOT);
		EXPECT_FALSE(event_wait(self->nvme.io.eventfd, QUIET_MS));
		SET_STATE(D0);
	}
	EXPECT_TRUE(read_interrupts(&self->nvme));
}

TEST_F(vectors, are_set_up_asleep)
{
	int eventfds[2] = { self->nvme.admin.eventfd, self->nvme.io.eventfd };

	SET_STATE(D3HOT);
	ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_STATE(D3HOT);
	EXPECT_FALSE(raw_read16(&self->dev, MSIX_FLAGS) &
		     PCI_MSIX_FLAGS_ENABLE);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, eventfds, 2));
	EXPECT_STATE(D3HOT);
	EXPECT_TRUE(raw_read16(&self->dev, MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE);
	/* A bad call does not wake it, either. */
	EXPECT_EQ(-EINVAL, uvfio_irq_eventfds(self->dev.fd,
					      VFIO_PCI_MSIX_IRQ_INDEX, 4096,
					      eventfds, 1));
	EXPECT_STATE(D3HOT);

	SET_STATE(D0);
	EXPECT_TRUE(read_interrupts(&self->nvme));
}

/* The vectors' addresses are what this device may lose. */

FIXTURE(restored)
{
	struct device dev;
	unsigned int control;
	void *bar;
	int event[E1000E_VECTORS];
};

FIXTURE_SETUP(restored)
{
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	self->control = raw_cap(&self->dev, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY |
				   PCI_COMMAND_MASTER, 0));
	self->bar = bar_map(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
			    E1000E_BAR_SIZE);
	ASSERT_NE(MAP_FAILED, self->bar);
	ASSERT_EQ(0, events_new(self->event, E1000E_VECTORS));
}

FIXTURE_TEARDOWN(restored)
{
	munmap(self->bar, E1000E_BAR_SIZE);
	device_close(&self->dev);
}

#define EXPECT_FIRES() \
	do { \
		e1000e_setup(self->bar); \
		usleep(E1000E_SETTLE_US); \
		for (i = 0; i < E1000E_VECTORS; i++) { \
			e1000e_write(self->bar, E1000E_ICS, E1000E_CAUSE(i)); \
			EXPECT_TRUE(event_wait(self->event[i], WAIT_MS)); \
		} \
		e1000e_setup(self->bar); \
		usleep(E1000E_SETTLE_US); \
		for (i = 0; i < E1000E_VECTORS; i++) \
			event_wait(self->event[i], 0); \
	} while (0)

TEST_F(restored, vectors_deliver_after_sleep)
{
	const unsigned int msix = VFIO_PCI_MSIX_IRQ_INDEX;
	unsigned int i, round;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, msix, 0, self->event,
					E1000E_VECTORS));
	for (round = 0; round < 3; round++) {
		EXPECT_FIRES();
		SET_STATE(D3HOT);
		if (round == 1) {
			ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd, msix));
			ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, msix, 0,
							self->event,
							E1000E_VECTORS));
		}
		EXPECT_STATE(D3HOT);
		SET_STATE(D0);
	}
	EXPECT_FIRES();
}

/* Memory is off for its user, the vectors are none the worse for it. */
TEST_F(restored, vectors_deliver_after_sleep_without_memory)
{
	unsigned int i;

	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, self->event, E1000E_VECTORS));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	SET_STATE(D3HOT);
	SET_STATE(D0);
	EXPECT_EQ(0, raw_read16(&self->dev, PCI_COMMAND) & PCI_COMMAND_MEMORY);
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_FIRES();
}

TEST_HARNESS_MAIN
