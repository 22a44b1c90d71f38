// SPDX-License-Identifier: GPL-2.0
/*
 * Config space: what the user reads is what the hardware has or zero, and what
 * the user writes changes four bits of the command register and nothing else.
 * The judge is the real config space, as the administrator sees it in sysfs.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "edu.h"
#include "test.h"

#define MAX_CONFIG	4096

/* The bits a user has; INTx disable is kept for them, see below. */
#define COMMAND_DIRECT	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | \
			 PCI_COMMAND_MASTER)
#define COMMAND_USER	(COMMAND_DIRECT | PCI_COMMAND_INTX_DISABLE)

FIXTURE(config)
{
	struct device dev;
	uint64_t base;
	size_t size;
};

FIXTURE_VARIANT(config)
{
	enum which which;
	size_t size;
};

FIXTURE_VARIANT_ADD(config, nvme)
{
	.which = NVME,
	.size = 4096,
};

FIXTURE_VARIANT_ADD(config, edu)
{
	.which = EDU,
	.size = 256,
};

FIXTURE_VARIANT_ADD(config, testdev)
{
	.which = TESTDEV,
	.size = 256,
};

FIXTURE_VARIANT_ADD(config, e1000e)
{
	.which = E1000E,
	.size = 4096,
};

FIXTURE_SETUP(config)
{
	struct vfio_region_info info;

	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &info));
	ASSERT_EQ(variant->size, info.size);
	self->base = info.offset;
	self->size = info.size;
}

FIXTURE_TEARDOWN(config)
{
	device_close(&self->dev);
}

struct snapshot {
	uint8_t bytes[MAX_CONFIG];
};

static bool raw_snapshot(struct device *dev, struct snapshot *shot, size_t size)
{
	memset(shot, 0, sizeof(*shot));
	return pread(dev->raw, shot->bytes, size, 0) == (ssize_t)size;
}

static uint16_t read_command(int fd)
{
	uint16_t value;

	return uvfio_config_read16(fd, PCI_COMMAND, &value) ? 0xffff : value;
}

TEST_F(config, command_bits_are_writable_as_documented)
{
	uint16_t fixed = raw_read16(&self->dev, PCI_COMMAND) & ~COMMAND_USER;
	uint32_t value;
	int bit;

	for (bit = 0; bit < 16; bit++) {
		uint16_t one = 1u << bit;

		ASSERT_EQ(0, uvfio_config_write16(self->dev.fd, PCI_COMMAND,
						  one));
		EXPECT_EQ(fixed | (one & COMMAND_DIRECT),
			  raw_read16(&self->dev, PCI_COMMAND) &
			  ~PCI_COMMAND_INTX_DISABLE) {
			TH_LOG("bit %d", bit);
		}
		EXPECT_EQ(fixed | (one & COMMAND_USER),
			  read_command(self->dev.fd)) {
			TH_LOG("bit %d", bit);
		}
		ASSERT_EQ(0, uvfio_config_write16(self->dev.fd, PCI_COMMAND,
						  0));
		EXPECT_EQ(fixed, read_command(self->dev.fd));
		EXPECT_EQ(fixed, raw_read16(&self->dev, PCI_COMMAND) &
				 ~PCI_COMMAND_INTX_DISABLE);
	}

	/* By byte, and as a part of something longer. */
	value = PCI_COMMAND_MEMORY;
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1, self->base + PCI_COMMAND));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY, read_command(self->dev.fd));
	value = PCI_COMMAND_INTX_DISABLE >> 8;
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1,
			    self->base + PCI_COMMAND + 1));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE,
		  read_command(self->dev.fd));
	value = (uint32_t)PCI_COMMAND_IO << 16;
	ASSERT_EQ(4, pwrite(self->dev.fd, &value, 4,
			    self->base + PCI_COMMAND - 2));
	EXPECT_EQ(fixed | PCI_COMMAND_IO, read_command(self->dev.fd));
	value = 0xffff0000 | PCI_COMMAND_MEMORY;
	ASSERT_EQ(4, pwrite(self->dev.fd, &value, 4, self->base + PCI_COMMAND));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY, read_command(self->dev.fd));
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1,
			    self->base + PCI_COMMAND - 1));
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1,
			    self->base + PCI_COMMAND + 2));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY, read_command(self->dev.fd));
}

/*
 * Without a handler the line must stay quiet whatever the user says: the real
 * bit stays set, the user's own reads back as written.
 */
TEST_F(config, intx_stays_disabled_while_nobody_listens)
{
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, uvfio_command(self->dev.fd, 0,
					   PCI_COMMAND_INTX_DISABLE));
		EXPECT_EQ(PCI_COMMAND_INTX_DISABLE,
			  raw_read16(&self->dev, PCI_COMMAND) &
			  PCI_COMMAND_INTX_DISABLE);
		EXPECT_EQ(0, read_command(self->dev.fd) &
			     PCI_COMMAND_INTX_DISABLE);
		EXPECT_EQ(0, uvfio_command(self->dev.fd,
					   PCI_COMMAND_INTX_DISABLE, 0));
		EXPECT_EQ(PCI_COMMAND_INTX_DISABLE,
			  read_command(self->dev.fd) &
			  PCI_COMMAND_INTX_DISABLE);
	}
}

/* Capabilities that drivers look for, each by its own list. */
TEST_F(config, capabilities_can_be_found)
{
	struct snapshot raw;
	unsigned int at, found = 0;
	uint16_t word;

	ASSERT_TRUE(raw_snapshot(&self->dev, &raw, self->size));
	if (!(raw.bytes[PCI_STATUS] & PCI_STATUS_CAP_LIST)) {
		EXPECT_EQ(TESTDEV, variant->which);
		return;
	}
	ASSERT_EQ(0, uvfio_config_read16(self->dev.fd, PCI_CAPABILITY_LIST,
					 &word));
	for (at = word & 0xfc; at; at = word >> 8 & 0xfc) {
		ASSERT_EQ(0, uvfio_config_read16(self->dev.fd, at, &word));
		EXPECT_EQ(raw.bytes[at] | raw.bytes[at + 1] << 8, word);
		found++;
		ASSERT_GE(48, found);
	}
	EXPECT_LT(0, found);
}

TEST_F(config, every_width_and_alignment_reads_the_same)
{
	struct snapshot whole;
	uint8_t bytes[16];
	size_t at, len;

	ASSERT_EQ((ssize_t)self->size, pread(self->dev.fd, whole.bytes,
					     self->size, self->base));
	for (at = 0; at < 0x50; at++) {
		for (len = 1; len <= sizeof(bytes); len++) {
			ASSERT_EQ((ssize_t)len, pread(self->dev.fd, bytes, len,
						      self->base + at));
			EXPECT_EQ(0, memcmp(bytes, whole.bytes + at, len)) {
				TH_LOG("at 0x%zx length %zu", at, len);
			}
		}
	}
}

/* Where bus mastering must be off: as long as no domain confines it. */

FIXTURE(master)
{
	struct device dev;
};

FIXTURE_VARIANT(master)
{
	enum which which;
};

FIXTURE_VARIANT_ADD(master, nvme)
{
	.which = NVME,
};

FIXTURE_VARIANT_ADD(master, edu)
{
	.which = EDU,
};

FIXTURE_VARIANT_ADD(master, e1000e)
{
	.which = E1000E,
};

FIXTURE_SETUP(master)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(master)
{
	device_close(&self->dev);
}

TEST_F(master, is_off_without_a_domain)
{
	int i;

	EXPECT_FALSE(raw_bus_master(&self->dev));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, device_open(&self->dev));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
		/* It is the driver's to turn on, when it is set up. */
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MASTER |
					   PCI_COMMAND_MEMORY, 0));
		EXPECT_TRUE(raw_bus_master(&self->dev));

		ASSERT_EQ(0, uvfio_detach(self->dev.fd));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MASTER,
					   0));
		EXPECT_TRUE(raw_bus_master(&self->dev));

		device_close(&self->dev);
		EXPECT_FALSE(raw_bus_master(&self->dev));
	}
}

TEST_F(master, is_off_after_reset)
{
	uint16_t memory;
	int ret, i;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	for (i = 0; i < 2; i++) {
		memory = i ? PCI_COMMAND_MEMORY : 0;
		ASSERT_EQ(0, uvfio_command(self->dev.fd,
					   PCI_COMMAND_MASTER | memory,
					   PCI_COMMAND_MEMORY & ~memory));
		ASSERT_TRUE(raw_bus_master(&self->dev));
		ret = uvfio_reset(self->dev.fd);
		if (variant->which == EDU) {
			/* It has no reset: refused, and nothing changed. */
			EXPECT_EQ(-EINVAL, ret);
			EXPECT_TRUE(raw_bus_master(&self->dev));
			continue;
		}
		EXPECT_EQ(0, ret);
		EXPECT_FALSE(raw_bus_master(&self->dev));
		EXPECT_EQ(0, read_command(self->dev.fd) & PCI_COMMAND_MASTER);
		EXPECT_EQ(memory, read_command(self->dev.fd) &
				  PCI_COMMAND_MEMORY);
	}
}

/* What one user sets up is not there for the next. */
TEST_F(master, command_is_as_before_for_the_next_user)
{
	uint16_t first, second;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	first = read_command(self->dev.fd);
	ASSERT_EQ(0, uvfio_command(self->dev.fd, COMMAND_USER, 0));
	ASSERT_NE(first, read_command(self->dev.fd));
	device_close(&self->dev);
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	second = read_command(self->dev.fd);
	EXPECT_EQ(first, second);
}

/* A device says that it can be reset exactly when it can. */

static const enum which resettable[] = {
	NVME, NVME2, EDU, EDU2, TESTDEV, E1000E,
};

FIXTURE(reset)
{
	struct device dev[ARRAY_SIZE(resettable)];
};

FIXTURE_SETUP(reset)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(resettable); i++)
		ASSERT_EQ(0, device_prepare(resettable[i], &self->dev[i]));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(reset)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(resettable); i++)
		device_close(&self->dev[i]);
}

TEST_F(reset, is_as_announced)
{
	unsigned int i, with = 0, without = 0;

	for (i = 0; i < ARRAY_SIZE(resettable); i++) {
		struct vfio_device_info info = { .argsz = sizeof(info) };
		bool can;

		ASSERT_EQ(0, device_open_attached(&self->dev[i], -1));
		ASSERT_EQ(0, ioctl(self->dev[i].fd, VFIO_DEVICE_GET_INFO,
				   &info));
		can = info.flags & VFIO_DEVICE_FLAGS_RESET;
		EXPECT_EQ(can ? 0 : -EINVAL, uvfio_reset(self->dev[i].fd)) {
			TH_LOG("%s", self->dev[i].bdf);
		}
		with += can;
		without += !can;
		/* Other devices of its group are to come yet. */
		device_close(&self->dev[i]);
	}
	EXPECT_LE(3, with);	/* both NVMe controllers, e1000e */
	EXPECT_LE(1, without);	/* edu on the root bus */
}

TEST_HARNESS_MAIN
