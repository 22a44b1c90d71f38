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
 * each write, and the random values are others each time. With UVFIO_SWEEP=quick
 * most of what the table has no rows for is left out.
 */
#include <errno.h>
#include <stdlib.h>

#include "edu.h"
#include "judge.h"
#include "nvme.h"
#include "registers.h"
#include "test.h"

#define SWEEP_TIMEOUT	1800
#define MOST_COMPLAINTS	10
#define QUICK_STEP	64	/* a dword of so many bytes */

enum fill {
	ZEROS,
	ONES,
	RANDOM,
	FILLS,
};

struct sweep {
	struct device dev;
	struct judge judge;
	uint64_t base;		/* of config space, on the descriptor */
	uint32_t random;	/* never 0 */
	unsigned int complaints;
	unsigned int resets, sleeps;
	bool quick;
};

FIXTURE(sweep)
{
	struct sweep sweep;
	int permit;		/* config_permit, opened as root */
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
	struct sweep *sweep = &self->sweep;
	const char *how = getenv("UVFIO_SWEEP");
	struct vfio_region_info info;
	unsigned int i;

	ASSERT_EQ(0, device_prepare(variant->which, &sweep->dev));
	self->permit = permit_open(&sweep->dev);
	ASSERT_LE(0, self->permit);
	for (i = 0; variant->permits && i < ARRAY_SIZE(permits); i++) {
		ASSERT_EQ(0, permit_write(self->permit, permits[i].off,
					  permits[i].read, permits[i].write));
	}

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&sweep->dev, -1));
	ASSERT_EQ(0, uvfio_region(sweep->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &info));
	ASSERT_EQ(variant->size, info.size);
	sweep->base = info.offset;

	ASSERT_EQ(0, judge_init(&sweep->judge, &sweep->dev));
	ASSERT_EQ(variant->size, sweep->judge.size);
	for (i = 0; variant->permits && i < ARRAY_SIZE(permits); i++)
		judge_grant(&sweep->judge, permits[i].off, permits[i].write);
	sweep->random = 0x2545f491;
	sweep->quick = how && !strcmp(how, "quick");
	if (how && !strcmp(how, "full")) {
		sweep->judge.thorough = true;
		sweep->random = now_ms() | 1;
		TH_LOG("random values from %#x", sweep->random);
	}
}

FIXTURE_TEARDOWN(sweep)
{
	unsigned int i;

	device_close(&self->sweep.dev);
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
		sweep->complaints++; \
		EXPECT_TRUE(false) { \
			TH_LOG(__VA_ARGS__); \
		} \
	} while (0)

static void write_and_look(struct __test_metadata *_metadata,
			   struct sweep *sweep,
			   const struct write *write)
{
	size_t left = sweep->judge.size - write->off;
	size_t want = write->len < left ? write->len : left;
	struct change change;
	ssize_t done;

	done = pwrite(sweep->dev.fd, &write->value, write->len,
		      sweep->base + write->off);
	if (done != (ssize_t)want)
		COMPLAIN("%u bytes %#x at %#x: wrote %zd, errno %d", write->len,
			 write->value, write->off, done, errno);
	if (!judge_sees(&sweep->judge, write, &change))
		COMPLAIN("%u bytes %#x at %#x: %#x was %#x, is %#x, may change %#x",
			 write->len, write->value, write->off, change.at,
			 change.before, change.after, change.allowed);
}

/* The device answers, its own reset and sleep behind it. */
static void expect_awake(struct __test_metadata *_metadata,
			 struct sweep *sweep, enum which which)
{
	const struct write decode = {
		PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
	};

	write_and_look(_metadata, sweep, &decode);
	if (!device_answers(sweep->dev.fd, which))
		COMPLAIN("the device does not answer");
}

static void sweep_one(struct __test_metadata *_metadata,
		      struct sweep *sweep, enum which which,
		      const struct write *write)
{
	bool reset = judge_says_reset(&sweep->judge, write);

	write_and_look(_metadata, sweep, write);
	if (reset) {
		sweep->resets++;
		expect_awake(_metadata, sweep, which);
	}
	if (sweep->judge.pm &&
	    raw_read16(&sweep->dev, sweep->judge.pm + PCI_PM_CTRL) &
	    PCI_PM_CTRL_STATE_MASK) {
		const struct write wake = {
			sweep->judge.pm + PCI_PM_CTRL, 2, 0,
		};

		sweep->sleeps++;
		write_and_look(_metadata, sweep, &wake);
		expect_awake(_metadata, sweep, which);
	}
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
	    device_mark(fd, which) || !device_is_marked(fd, which))
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
	struct sweep *sweep = &self->sweep;
	struct write write;
	enum fill fill;

	expect_awake(_metadata, sweep, variant->which);
	for (write.off = 0; write.off < sweep->judge.size; write.off++) {
		if (sweep->quick && !sweep->judge.watched[write.off / 4] &&
		    write.off % QUICK_STEP >= 4)
			continue;
		for (write.len = 1; write.len <= 4; write.len *= 2) {
			for (fill = ZEROS; fill < FILLS; fill++) {
				write.value = fill_value(&sweep->random, fill);
				sweep_one(_metadata, sweep, variant->which,
					  &write);
				ASSERT_GE(MOST_COMPLAINTS, sweep->complaints);
			}
		}
	}

	/* Not for want of trying. */
	EXPECT_EQ(variant->resets, sweep->resets > 0);
	EXPECT_EQ(variant->sleeps, sweep->sleeps > 0);
	TH_LOG("%u resets, asleep %u times", sweep->resets, sweep->sleeps);
	EXPECT_TRUE(device_works(&sweep->dev, variant->which));
}

TEST_HARNESS_MAIN
