// SPDX-License-Identifier: GPL-2.0
/*
 * Every offset of config space, written with every width by an ordinary user. The
 * judge (judge.h) sees each time that nothing has changed but what the user may
 * change, and in the end, without a reset or a new open, the device works.
 *
 * What a write asks of the kernel, it does: the device goes to sleep and is reset
 * many times on the way. No bit is left out because hardware changes it by
 * itself: on these devices, with no DMA and no interrupt under way, there is none.
 *
 * With UVFIO_SWEEP=full in the environment all of config space is compared after
 * each write, and the random values are others each time.
 */
#include <errno.h>
#include <stdlib.h>

#include "edu.h"
#include "judge.h"
#include "nvme.h"
#include "test.h"

#define SWEEP_TIMEOUT	1800
#define MOST_COMPLAINTS	10

/*
 * A register of each device that tells it from one that is asleep, in reset or
 * gone, and one that keeps what is written.
 */
static const struct {
	unsigned int bar;
	unsigned int known;
	uint32_t known_value;
	unsigned int scratch;
	uint32_t scratch_value;
} registers[] = {
	[NVME] = {	/* Version; Admin Queue Attributes */
		VFIO_PCI_BAR0_REGION_INDEX, 0x08, 0x00010400,
		NVME_AQA, 0x001f001f,
	},
	[EDU] = {	/* the address of a DMA transfer */
		VFIO_PCI_BAR0_REGION_INDEX, EDU_ID, EDU_ID_VALUE,
		EDU_DMA_SOURCE, 0x12345678,
	},
	[E1000E] = {	/* MAC address; Flow Control Transmit Timer Value */
		VFIO_PCI_BAR0_REGION_INDEX, 0x5400, 0x12005452,
		0x170, 0x5678,
	},
	[VIRTIO_RNG] = {	/* no vector for config, 16 bits; feature select */
		VFIO_PCI_BAR4_REGION_INDEX, 0x10, 0x0000ffff,
		0x00, 1,
	},
	[XHCI] = {	/* version and length of its capabilities; DCBAAP */
		VFIO_PCI_BAR0_REGION_INDEX, 0x00, 0x01000040,
		0x70, 0x12345640,
	},
	[NVME_VF] = {	/* as NVME */
		VFIO_PCI_BAR0_REGION_INDEX, 0x08, 0x00010400,
		NVME_AQA, 0x001f001f,
	},
};

enum fill {
	ZEROS,
	ONES,
	RANDOM,
	FILLS,
};

FIXTURE(sweep)
{
	struct device dev;
	struct judge judge;
	uint64_t base;		/* of config space, on the descriptor */
	int permit;		/* config_permit, opened as root */
	uint32_t random;	/* never 0 */
	unsigned int complaints;
	unsigned int resets, sleeps;
};

FIXTURE_VARIANT(sweep)
{
	enum which which;
	size_t size;
	bool resets, sleeps;	/* what config space can do to it */
	bool permits;
};

FIXTURE_VARIANT_ADD(sweep, nvme)
{
	.which = NVME,
	.size = 4096,
	.resets = true,
	.sleeps = true,
};

FIXTURE_VARIANT_ADD(sweep, e1000e)
{
	.which = E1000E,
	.size = 4096,
	.sleeps = true,
};

FIXTURE_VARIANT_ADD(sweep, virtio_rng)
{
	.which = VIRTIO_RNG,
	.size = 4096,
	.resets = true,
	.sleeps = true,
};

FIXTURE_VARIANT_ADD(sweep, xhci)
{
	.which = XHCI,
	.size = 4096,
};

FIXTURE_VARIANT_ADD(sweep, nvme_vf)
{
	.which = NVME_VF,
	.size = 4096,
	.resets = true,
	.sleeps = true,
};

FIXTURE_VARIANT_ADD(sweep, edu)
{
	.which = EDU,
	.size = 256,
};

FIXTURE_VARIANT_ADD(sweep, edu_with_permits)
{
	.which = EDU,
	.size = 256,
	.permits = true,
};

/*
 * All of a dword, bits in the middle of bytes, unreadable ones, read-only ones,
 * and the last byte. Where edu has no capability, its config space is memory, so
 * a bit that is written too much shows.
 */
static const struct {
	unsigned int off;
	uint32_t read, write;
} permits[] = {
	{ 0x60, 0xffffffff, 0xffffffff },
	{ 0x70, 0x00ff00f0, 0x00ff00f0 },
	{ 0x74, 0x00000000, 0x80000001 },
	{ 0x78, 0xffffffff, 0x00000000 },
	{ 0xfc, 0xff000000, 0xff000000 },
};

FIXTURE_SETUP(sweep)
{
	const char *how = getenv("UVFIO_SWEEP");
	struct vfio_region_info info;
	unsigned int i;

	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	for (i = 0; variant->permits && i < ARRAY_SIZE(permits); i++) {
		ASSERT_EQ(0, permit_write(self->permit, permits[i].off,
					  permits[i].read, permits[i].write));
	}

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &info));
	ASSERT_EQ(variant->size, info.size);
	self->base = info.offset;

	ASSERT_EQ(0, judge_init(&self->judge, &self->dev));
	ASSERT_EQ(variant->size, self->judge.size);
	for (i = 0; variant->permits && i < ARRAY_SIZE(permits); i++)
		judge_grant(&self->judge, permits[i].off, permits[i].write);
	self->random = 0x2545f491;
	if (how && !strcmp(how, "full")) {
		self->judge.thorough = true;
		self->random = now_ms() | 1;
		TH_LOG("random values from %#x", self->random);
	}
}

FIXTURE_TEARDOWN(sweep)
{
	unsigned int i;

	device_close(&self->dev);
	for (i = 0; variant->permits && i < ARRAY_SIZE(permits); i++)
		EXPECT_EQ(0, permit_write(self->permit, permits[i].off, 0, 0));
}

static uint32_t fill_value(uint32_t *random, enum fill fill)
{
	*random ^= *random << 13;
	*random ^= *random >> 17;
	*random ^= *random << 5;
	return fill == ZEROS ? 0 : fill == ONES ? ~0U : *random;
}

/* What the test is called for; a few failures tell as much as ten thousand. */
#define COMPLAIN(...) \
	do { \
		self->complaints++; \
		EXPECT_TRUE(false) { \
			TH_LOG(__VA_ARGS__); \
		} \
	} while (0)

static void write_and_look(struct __test_metadata *_metadata,
			   FIXTURE_DATA(sweep) *self,
			   const struct write *write)
{
	size_t left = self->judge.size - write->off;
	size_t want = write->len < left ? write->len : left;
	struct change change;
	ssize_t done;

	done = pwrite(self->dev.fd, &write->value, write->len,
		      self->base + write->off);
	if (done != (ssize_t)want)
		COMPLAIN("%u bytes %#x at %#x: wrote %zd, errno %d", write->len,
			 write->value, write->off, done, errno);
	if (!judge_sees(&self->judge, write, &change))
		COMPLAIN("%u bytes %#x at %#x: %#x was %#x, is %#x, may change %#x",
			 write->len, write->value, write->off, change.at,
			 change.before, change.after, change.allowed);
}

/* The device answers, its own reset and sleep behind it. */
static void expect_awake(struct __test_metadata *_metadata,
			 FIXTURE_DATA(sweep) *self, enum which which)
{
	const struct write decode = {
		PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
	};
	uint32_t value = 0;
	int ret;

	write_and_look(_metadata, self, &decode);
	ret = uvfio_region_read(self->dev.fd, registers[which].bar,
				registers[which].known, &value, sizeof(value));
	if (ret || value != registers[which].known_value)
		COMPLAIN("the device reads %#x, error %d", value, -ret);
}

static void sweep_one(struct __test_metadata *_metadata,
		      FIXTURE_DATA(sweep) *self, enum which which,
		      const struct write *write)
{
	bool reset = judge_says_reset(&self->judge, write);

	write_and_look(_metadata, self, write);
	if (reset) {
		self->resets++;
		expect_awake(_metadata, self, which);
	}
	if (self->judge.pm &&
	    raw_read16(&self->dev, self->judge.pm + PCI_PM_CTRL) &
	    PCI_PM_CTRL_STATE_MASK) {
		const struct write wake = {
			self->judge.pm + PCI_PM_CTRL, 2, 0,
		};

		self->sleeps++;
		write_and_look(_metadata, self, &wake);
		expect_awake(_metadata, self, which);
	}
}

static bool keeps_what_is_written(int fd, enum which which)
{
	uint32_t value = 0;

	return !uvfio_region_write(fd, registers[which].bar,
				   registers[which].scratch,
				   &registers[which].scratch_value,
				   sizeof(value)) &&
	       !uvfio_region_read(fd, registers[which].bar,
				  registers[which].scratch, &value,
				  sizeof(value)) &&
	       value == registers[which].scratch_value;
}

/* What it is made for: it computes. */
static bool edu_works(int fd)
{
	uint64_t end = now_ms() + WAIT_MS;
	uint32_t result;
	struct edu edu;

	if (edu_start(&edu, fd))
		return false;
	edu_write(&edu, EDU_FACTORIAL, 10);
	while (edu_read(&edu, EDU_STATUS) & 1 && now_ms() < end)
		usleep(1000);
	result = edu_read(&edu, EDU_FACTORIAL);
	edu_stop(&edu);
	return result == 3628800;
}

/* Takes @fd over. */
static bool nvme_works(int fd)
{
	struct nvme nvme;
	bool works;

	works = !nvme_start(&nvme, fd);
	if (works) {
		memset(nvme_buffer(&nvme, 0), 0x5a, nvme.block_size);
		memset(nvme_buffer(&nvme, 1), 0, nvme.block_size);
		works = !nvme_write(&nvme, 5, 0) && !nvme_read(&nvme, 5, 1) &&
			is_filled(nvme_buffer(&nvme, 1), 0x5a, nvme.block_size);
	}
	nvme_close(&nvme);
	return works;
}

static bool device_works(struct device *dev, enum which which)
{
	int fd = dev->fd;

	if (uvfio_command(fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0) ||
	    !keeps_what_is_written(fd, which))
		return false;
	switch (which) {
	case NVME:
	case NVME_VF:
		dev->fd = -1;
		return nvme_works(fd);
	case EDU:
		return edu_works(fd);
	default:
		return true;
	}
}

TEST_F_TIMEOUT(sweep, changes_only_what_is_granted, SWEEP_TIMEOUT)
{
	struct write write;
	enum fill fill;

	expect_awake(_metadata, self, variant->which);
	for (write.off = 0; write.off < self->judge.size; write.off++) {
		for (write.len = 1; write.len <= 4; write.len *= 2) {
			for (fill = ZEROS; fill < FILLS; fill++) {
				write.value = fill_value(&self->random, fill);
				sweep_one(_metadata, self, variant->which,
					  &write);
				ASSERT_GE(MOST_COMPLAINTS, self->complaints);
			}
		}
	}

	/* Not for want of trying. */
	EXPECT_EQ(variant->resets, self->resets > 0);
	EXPECT_EQ(variant->sleeps, self->sleeps > 0);
	TH_LOG("%u resets, asleep %u times", self->resets, self->sleeps);
	EXPECT_TRUE(device_works(&self->dev, variant->which));
}

TEST_HARNESS_MAIN
