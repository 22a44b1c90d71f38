// SPDX-License-Identifier: GPL-2.0
/*
 * NVMe controllers doing real work, by the driver of samples/nvme: identify,
 * read and write with MSI-X interrupts, and commands whose data pointer leads
 * where nothing is mapped.
 */
#include <errno.h>
#include <signal.h>

#include "dma.h"
#include "test.h"

/*
 * The driver computes the address of a data buffer from its number, and maps
 * numbers below NVME_BUFFERS. This one is far behind them: a page of our own
 * that is mapped there, or not. The controls show that the address is right.
 */
#define EXTRA_BUFFER	256
#define EXTRA_IOVA	(0x10000000 + (4 + EXTRA_BUFFER) * PAGE_SIZE)

/* What nvme_close() takes for not open. */
static void clear(struct nvme *nvme)
{
	memset(nvme, 0, sizeof(*nvme));
	nvme->device = -1;
	nvme->admin.eventfd = -1;
	nvme->io.eventfd = -1;
}

static void finish(struct nvme *nvme)
{
	nvme_close(nvme);
	clear(nvme);
}

FIXTURE(nvme)
{
	struct device dev;
	struct nvme nvme;
	uint8_t *page;
};

FIXTURE_VARIANT(nvme)
{
	enum which which;
};

FIXTURE_VARIANT_ADD(nvme, first)
{
	.which = NVME,
};

FIXTURE_VARIANT_ADD(nvme, second)
{
	.which = NVME2,
};

FIXTURE_VARIANT_ADD(nvme, vf)
{
	.which = NVME_VF,
};

FIXTURE_SETUP(nvme)
{
	clear(&self->nvme);
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, nvme_open(&self->nvme, self->dev.node));
	self->page = dma_alloc(PAGE_SIZE);
	ASSERT_NE(NULL, self->page);
}

FIXTURE_TEARDOWN(nvme)
{
	finish(&self->nvme);
	dma_free(self->page, PAGE_SIZE);
}

/*
 * Whether a read comes with an interrupt. The driver may see the completion
 * first and never wait, and an interrupt may be late, hence the pauses.
 */
static bool read_interrupts(struct nvme *nvme, uint64_t block)
{
	uint64_t before;

	while (event_wait(nvme->io.eventfd, QUIET_MS))
		;
	before = nvme->io.interrupts;
	if (nvme_read(nvme, block, 0))
		return false;
	return nvme->io.interrupts > before ||
	       event_wait(nvme->io.eventfd, WAIT_MS);
}

/* A block's contents that no other block and no other round has. */
static void make_block(uint8_t *data, size_t size, uint32_t seed)
{
	size_t i;

	for (i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = seed >> 24;
	}
}

TEST_F(nvme, identifies_itself)
{
	EXPECT_STREQ("QEMU NVMe Ctrl", self->nvme.model);
	EXPECT_LT(0, strlen(self->nvme.serial));
	EXPECT_EQ(512, self->nvme.block_size);
	EXPECT_LE(64, self->nvme.blocks);
}

TEST_F(nvme, interrupts_for_each_command)
{
	int i;

	for (i = 0; i < 5; i++)
		EXPECT_TRUE(read_interrupts(&self->nvme, i));
	/* And not without one. */
	EXPECT_FALSE(event_wait(self->nvme.io.eventfd, QUIET_MS));
}

TEST_F(nvme, keeps_what_is_written)
{
	uint64_t last = self->nvme.blocks - 1;
	uint64_t blocks[] = { 0, 1, 7, last / 2, last };
	uint8_t *data = nvme_buffer(&self->nvme, 0);
	uint8_t want[512];
	unsigned int round, i;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_SIZE(blocks); i++) {
			make_block(data, 512, round * 100 + i);
			ASSERT_EQ(0, nvme_write(&self->nvme, blocks[i], 0));
		}
		ASSERT_EQ(0, nvme_flush(&self->nvme));
		for (i = 0; i < ARRAY_SIZE(blocks); i++) {
			memset(data, 0, 512);
			ASSERT_EQ(0, nvme_read(&self->nvme, blocks[i], 0));
			make_block(want, 512, round * 100 + i);
			EXPECT_EQ(0, memcmp(want, data, 512));
		}
	}
	/* The control of the control: the device reports errors as such. */
	EXPECT_EQ(-EIO, nvme_read(&self->nvme, last + 1, 0));
	EXPECT_EQ(0, nvme_read(&self->nvme, last, 0));
}

/* As many reads in flight as there are buffers, each in its own. */
TEST_F(nvme, reads_many_at_once)
{
	unsigned int done[NVME_BUFFERS], round, i;
	bool seen[NVME_BUFFERS];
	uint8_t want[512];
	int count, left, j;

	for (i = 0; i < NVME_BUFFERS; i++) {
		make_block(nvme_buffer(&self->nvme, i), 512, 1000 + i);
		ASSERT_EQ(0, nvme_write(&self->nvme, i, i));
	}
	for (round = 0; round < 8; round++) {
		memset(seen, 0, sizeof(seen));
		for (i = 0; i < NVME_BUFFERS; i++) {
			memset(nvme_buffer(&self->nvme, i), 0, 512);
			nvme_start_read(&self->nvme, (i + round) % NVME_BUFFERS,
					i);
		}
		for (left = NVME_BUFFERS; left; left -= count) {
			count = nvme_wait_reads(&self->nvme, done);
			ASSERT_LT(0, count);
			ASSERT_GE(left, count);
			for (j = 0; j < count; j++) {
				EXPECT_FALSE(seen[done[j]]);
				seen[done[j]] = true;
				make_block(want, 512, 1000 +
					   (done[j] + round) % NVME_BUFFERS);
				EXPECT_EQ(0, memcmp(want,
						    nvme_buffer(&self->nvme,
								done[j]),
						    512));
			}
		}
	}
}

TEST_F(nvme, does_not_reach_what_is_unmapped)
{
	uint8_t *data = nvme_buffer(&self->nvme, 0);
	int fd = self->nvme.device;
	uint8_t want[512];

	make_block(data, 512, 42);
	ASSERT_EQ(0, nvme_write(&self->nvme, 3, 0));
	make_block(want, 512, 42);

	/* Mapped: it is read and written. */
	ASSERT_EQ(0, uvfio_dma_map(fd, self->page, PAGE_SIZE, EXTRA_IOVA, RW));
	memset(self->page, 0, PAGE_SIZE);
	ASSERT_EQ(0, nvme_read(&self->nvme, 3, EXTRA_BUFFER));
	EXPECT_EQ(0, memcmp(want, self->page, 512));
	EXPECT_TRUE(is_filled(self->page + 512, 0, PAGE_SIZE - 512));
	memset(self->page, 0x5a, 512);
	ASSERT_EQ(0, nvme_write(&self->nvme, 4, EXTRA_BUFFER));
	ASSERT_EQ(0, nvme_read(&self->nvme, 4, 0));
	EXPECT_TRUE(is_filled(data, 0x5a, 512));

	/*
	 * Unmapped: neither, whatever the device says of it (QEMU's does not
	 * report it as an error).
	 */
	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, EXTRA_IOVA, PAGE_SIZE));
	memset(self->page, 0x77, PAGE_SIZE);
	nvme_read(&self->nvme, 3, EXTRA_BUFFER);
	EXPECT_TRUE(is_filled(self->page, 0x77, PAGE_SIZE));
	nvme_write(&self->nvme, 4, EXTRA_BUFFER);
	ASSERT_EQ(0, nvme_read(&self->nvme, 4, 0));
	EXPECT_EQ(NULL, memchr(data, 0x77, 512));

	/* For reading only: data leaves, none arrives. */
	ASSERT_EQ(0, uvfio_dma_map(fd, self->page, PAGE_SIZE, EXTRA_IOVA,
				   VFIO_DMA_MAP_FLAG_READ));
	nvme_read(&self->nvme, 3, EXTRA_BUFFER);
	EXPECT_TRUE(is_filled(self->page, 0x77, PAGE_SIZE));
	ASSERT_EQ(0, nvme_write(&self->nvme, 4, EXTRA_BUFFER));
	ASSERT_EQ(0, nvme_read(&self->nvme, 4, 0));
	EXPECT_TRUE(is_filled(data, 0x77, 512));
}

/* The disk's data outlives its user, all else of the user does not. */
TEST_F(nvme, starts_anew_for_the_next_user)
{
	uint8_t *data = nvme_buffer(&self->nvme, 0);
	uint8_t want[512];

	make_block(data, 512, 77);
	ASSERT_EQ(0, nvme_write(&self->nvme, 5, 0));
	ASSERT_EQ(0, nvme_flush(&self->nvme));
	finish(&self->nvme);
	ASSERT_EQ(0, nvme_open(&self->nvme, self->dev.node));
	ASSERT_EQ(0, nvme_read(&self->nvme, 5, 0));
	make_block(want, 512, 77);
	EXPECT_EQ(0, memcmp(want, nvme_buffer(&self->nvme, 0), 512));
}

/*
 * Killed with the controller running and reads in flight: these must not land
 * in memory that has got another owner, and the next user starts clean.
 */
TEST_F(nvme, can_be_killed_with_commands_in_flight)
{
	uint32_t config;
	int ready[2], i;
	uint8_t *data;
	char byte;
	pid_t pid;

	finish(&self->nvme);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			unsigned int done[NVME_BUFFERS], j;
			int count = NVME_BUFFERS;

			if (nvme_open(&self->nvme, self->dev.node))
				_exit(1);
			for (j = 0; j < NVME_BUFFERS; j++)
				done[j] = j;
			while (count > 0) {
				while (count--)
					nvme_start_read(&self->nvme, 0,
							done[count]);
				if (write(ready[1], "", 1) != 1)
					_exit(2);
				count = nvme_wait_reads(&self->nvme, done);
			}
			_exit(3);
		}
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		EXPECT_TRUE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		close(ready[0]);

		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, device_open_attached(&self->dev, -1));
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY,
					   0));
		ASSERT_EQ(0, uvfio_region_read(self->dev.fd,
					       VFIO_PCI_BAR0_REGION_INDEX,
					       NVME_CC, &config, 4));
		EXPECT_EQ(0, config & NVME_CC_EN);
		device_close(&self->dev);
	}

	ASSERT_EQ(0, nvme_open(&self->nvme, self->dev.node));
	data = nvme_buffer(&self->nvme, 0);
	make_block(data, 512, 78);
	ASSERT_EQ(0, nvme_write(&self->nvme, 6, 0));
	EXPECT_EQ(0, nvme_read(&self->nvme, 6, 0));
}

/* Two at a time, each with its own domain at the same addresses. */
FIXTURE(two)
{
	struct device dev[2];
	struct nvme nvme[2];
};

FIXTURE_SETUP(two)
{
	int i;

	clear(&self->nvme[0]);
	clear(&self->nvme[1]);
	ASSERT_EQ(0, device_prepare(NVME, &self->dev[0]));
	ASSERT_EQ(0, device_prepare(NVME2, &self->dev[1]));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, nvme_open(&self->nvme[i], self->dev[i].node));
}

FIXTURE_TEARDOWN(two)
{
	finish(&self->nvme[0]);
	finish(&self->nvme[1]);
}

TEST_F(two, controllers_do_not_mix)
{
	uint8_t *a = nvme_buffer(&self->nvme[0], 0);
	uint8_t *b = nvme_buffer(&self->nvme[1], 0);
	uint8_t want[512];
	int i;

	EXPECT_STRNE(self->nvme[0].serial, self->nvme[1].serial);
	for (i = 0; i < 8; i++) {
		make_block(a, 512, 2000 + i);
		make_block(b, 512, 3000 + i);
		ASSERT_EQ(0, nvme_write(&self->nvme[0], i, 0));
		ASSERT_EQ(0, nvme_write(&self->nvme[1], i, 0));
	}
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, nvme_read(&self->nvme[1], i, 0));
		make_block(want, 512, 3000 + i);
		EXPECT_EQ(0, memcmp(want, b, 512));
		ASSERT_EQ(0, nvme_read(&self->nvme[0], i, 0));
		make_block(want, 512, 2000 + i);
		EXPECT_EQ(0, memcmp(want, a, 512));
	}
	/* One stops, the other does not notice. */
	finish(&self->nvme[0]);
	EXPECT_EQ(0, nvme_read(&self->nvme[1], 0, 0));
	ASSERT_EQ(0, nvme_open(&self->nvme[0], self->dev[0].node));
	EXPECT_EQ(0, nvme_read(&self->nvme[0], 0, 0));
}

TEST_HARNESS_MAIN
