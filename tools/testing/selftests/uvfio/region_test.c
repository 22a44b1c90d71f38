// SPDX-License-Identifier: GPL-2.0
/*
 * BARs: what GET_REGION_INFO says of them, and that read(), write() and mmap()
 * reach that and nothing else.
 *
 * pci-testdev is a memory for bytes: it takes accesses of every width, in
 * memory and I/O space alike. The edu device has registers that take one width
 * only. NVMe and e1000e have an MSI-X table to keep the user away from.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "edu.h"
#include "monitor.h"
#include "nvme.h"
#include "test.h"

#define KIB	1024
#define MIB	(1024UL * KIB)
#define ROM_SIZE	(256 * KIB)	/* of the e1000e */

/* QEMU's devices as they are, by region index; absent ones have no size. */
static const struct {
	uint32_t size;
	bool port;
	bool table;	/* nothing but the MSI-X table */
	bool prefetch;
} expected[][VFIO_PCI_NUM_REGIONS] = {
	[NVME] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 16 * KIB },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 4096 },
	},
	[EDU] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 1024 * KIB },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 256 },
	},
	[TESTDEV] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 4 * KIB },
		[VFIO_PCI_BAR1_REGION_INDEX] = { .size = 256, .port = true },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 256 },
	},
	[E1000E] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 128 * KIB },
		[VFIO_PCI_BAR1_REGION_INDEX] = { .size = 128 * KIB },
		[VFIO_PCI_BAR2_REGION_INDEX] = { .size = 32, .port = true },
		[VFIO_PCI_BAR3_REGION_INDEX] = { .size = 16 * KIB },
		[VFIO_PCI_ROM_REGION_INDEX] = { .size = ROM_SIZE },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 4096 },
	},
	[IVSHMEM] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 256 },
		[VFIO_PCI_BAR2_REGION_INDEX] = { .size = 64 * MIB, .prefetch = true },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 256 },
	},
	[VIRTIO_RNG] = {
		[VFIO_PCI_BAR1_REGION_INDEX] = { .size = 4 * KIB, .table = true },
		[VFIO_PCI_BAR4_REGION_INDEX] = { .size = 16 * KIB, .prefetch = true },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 4096 },
	},
	[XHCI] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 16 * KIB },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 4096 },
	},
	[NVME_VF] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = { .size = 16 * KIB },
		[VFIO_PCI_CONFIG_REGION_INDEX] = { .size = 4096 },
	},
};

/* GET_REGION_INFO with its capabilities. */
struct full_info {
	struct vfio_region_info info;
	uint8_t caps[256];
};

static int full_info(int fd, unsigned int index, struct full_info *full)
{
	memset(full, 0, sizeof(*full));
	full->info.argsz = sizeof(*full);
	full->info.index = index;
	return ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, full) ? -errno : 0;
}

static void *find_cap(struct full_info *full, uint16_t id)
{
	uint32_t at = full->info.cap_offset;

	while (at) {
		struct vfio_info_cap_header *cap = (void *)full + at;

		if (cap->id == id)
			return cap;
		at = cap->next;
	}
	return NULL;
}

/* NULL: all of the region can be mapped, if any. */
static struct vfio_region_info_cap_sparse_mmap *sparse(struct full_info *full)
{
	return find_cap(full, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
}

static uint64_t page_align(uint64_t size)
{
	return (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

static bool may_map(struct full_info *full, uint64_t start, uint64_t end)
{
	struct vfio_region_info_cap_sparse_mmap *areas = sparse(full);
	unsigned int i;

	if (!(full->info.flags & VFIO_REGION_INFO_FLAG_MMAP) ||
	    end > page_align(full->info.size))
		return false;
	for (i = 0; areas && i < areas->nr_areas; i++) {
		if (start >= areas->areas[i].offset &&
		    end <= areas->areas[i].offset + areas->areas[i].size)
			return true;
	}
	return !areas;
}

/* Where the region can be mapped write-combining; 0: not at all. */
static uint64_t wc_offset(struct full_info *full)
{
	struct uvfio_region_info_cap_wc *cap;

	cap = find_cap(full, UVFIO_REGION_INFO_CAP_WC);
	return cap ? cap->offset : 0;
}

static bool can_map(int fd, uint64_t offset, uint64_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 offset);

	if (map == MAP_FAILED)
		return false;
	munmap(map, size);
	return true;
}

FIXTURE(info)
{
	struct device dev;
};

FIXTURE_VARIANT(info)
{
	enum which which;
};

FIXTURE_VARIANT_ADD(info, nvme)
{
	.which = NVME,
};

FIXTURE_VARIANT_ADD(info, edu)
{
	.which = EDU,
};

FIXTURE_VARIANT_ADD(info, testdev)
{
	.which = TESTDEV,
};

FIXTURE_VARIANT_ADD(info, e1000e)
{
	.which = E1000E,
};

FIXTURE_VARIANT_ADD(info, ivshmem)
{
	.which = IVSHMEM,
};

FIXTURE_VARIANT_ADD(info, virtio_rng)
{
	.which = VIRTIO_RNG,
};

FIXTURE_VARIANT_ADD(info, xhci)
{
	.which = XHCI,
};

FIXTURE_VARIANT_ADD(info, nvme_vf)
{
	.which = NVME_VF,
};

FIXTURE_SETUP(info)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd,
				   PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 0));
}

FIXTURE_TEARDOWN(info)
{
	device_close(&self->dev);
}

TEST_F(info, is_true)
{
	struct vfio_region_info info, other;
	unsigned int i, j;
	bool mappable;

	for (i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		if (i == VFIO_PCI_VGA_REGION_INDEX)
			continue;
		ASSERT_EQ(0, uvfio_region(self->dev.fd, i, &info));
		EXPECT_EQ(i, info.index);
		EXPECT_EQ(expected[variant->which][i].size, info.size);
		EXPECT_EQ(info.size != 0,
			  !!(info.flags & VFIO_REGION_INFO_FLAG_READ));
		EXPECT_EQ(info.size && i != VFIO_PCI_ROM_REGION_INDEX,
			  !!(info.flags & VFIO_REGION_INFO_FLAG_WRITE));
		mappable = info.size && i <= VFIO_PCI_BAR5_REGION_INDEX &&
			   !expected[variant->which][i].port &&
			   !expected[variant->which][i].table;
		EXPECT_EQ(mappable,
			  !!(info.flags & VFIO_REGION_INFO_FLAG_MMAP));

		/* Each has a place of its own on the descriptor. */
		EXPECT_EQ(0, info.offset & (PAGE_SIZE - 1));
		for (j = 0; j < i; j++) {
			if (uvfio_region(self->dev.fd, j, &other))
				continue;
			EXPECT_TRUE(other.offset + other.size <= info.offset ||
				    info.offset + info.size <= other.offset);
		}
	}
}

TEST_F(info, absent_regions_are_refused)
{
	static const unsigned int absent[] = {
		VFIO_PCI_VGA_REGION_INDEX, VFIO_PCI_NUM_REGIONS, 255, 1u << 24,
		UINT32_MAX,
	};
	struct vfio_region_info info;
	uint64_t value = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(absent); i++)
		EXPECT_EQ(-EINVAL, uvfio_region(self->dev.fd, absent[i],
						&info));
	for (i = 0; i < VFIO_PCI_CONFIG_REGION_INDEX; i++) {
		ASSERT_EQ(0, uvfio_region(self->dev.fd, i, &info));
		if (info.size)
			continue;
		EXPECT_EQ(-1, pread(self->dev.fd, &value, 4, info.offset));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, pwrite(self->dev.fd, &value, 4, info.offset));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_FALSE(can_map(self->dev.fd, info.offset, PAGE_SIZE));
	}
	for (i = VFIO_PCI_NUM_REGIONS; i < 1 << 20; i = i * 2 + 1) {
		EXPECT_EQ(-1, pread(self->dev.fd, &value, 4,
				    (uint64_t)i << 40));
		EXPECT_EQ(EINVAL, errno);
	}
}

/* A transfer ends where the region does. */
TEST_F(info, nothing_is_behind_the_end)
{
	struct vfio_region_info info;
	uint8_t bytes[16];
	unsigned int i;
	uint64_t end;

	for (i = 0; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) {
		ASSERT_EQ(0, uvfio_region(self->dev.fd, i, &info));
		if (!info.size)
			continue;
		end = info.offset + info.size;
		memset(bytes, 0xa5, sizeof(bytes));
		EXPECT_EQ(4, pread(self->dev.fd, bytes, 16, end - 4));
		EXPECT_TRUE(is_filled(bytes + 4, 0xa5, 12));
		EXPECT_EQ(-1, pread(self->dev.fd, bytes, 4, end));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, pread(self->dev.fd, bytes, 1, end + 1000000));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, pread(self->dev.fd, bytes, 1,
				    info.offset + (1ULL << 40) - 1));
		EXPECT_EQ(EINVAL, errno);

		memset(bytes, 0, sizeof(bytes));
		EXPECT_EQ(i == VFIO_PCI_ROM_REGION_INDEX ? -1 : 4,
			  pwrite(self->dev.fd, bytes, 16, end - 4));
		EXPECT_EQ(-1, pwrite(self->dev.fd, bytes, 4, end));
		EXPECT_EQ(EINVAL, errno);
	}
}

TEST_F(info, bad_buffers_are_refused)
{
	uint8_t *page = dma_alloc(2 * PAGE_SIZE);
	struct vfio_region_info info;
	ssize_t done;

	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, mprotect(page + PAGE_SIZE, PAGE_SIZE, PROT_NONE));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &info));
	EXPECT_EQ(-1, pread(self->dev.fd, page + PAGE_SIZE, 4, info.offset));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(self->dev.fd, page + PAGE_SIZE, 4, info.offset));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(self->dev.fd, page + PAGE_SIZE - 2, 4,
			    info.offset));
	EXPECT_EQ(EFAULT, errno);
	/* What there is room for may be transferred, not more. */
	done = pread(self->dev.fd, page + PAGE_SIZE - 128, 256, info.offset);
	EXPECT_LE(done, 128);
	EXPECT_EQ(0, pread(self->dev.fd, page, 0, info.offset));
	dma_free(page, 2 * PAGE_SIZE);
}

/* The chain comes whole or not at all, and then one is told its size. */
TEST_F(info, capabilities_need_room)
{
	struct full_info full, small;
	unsigned int i;
	uint32_t need;

	for (i = 0; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
		ASSERT_EQ(0, full_info(self->dev.fd, i, &full));
		EXPECT_EQ(sizeof(full), full.info.argsz);
		EXPECT_EQ(!!full.info.cap_offset,
			  !!(full.info.flags & VFIO_REGION_INFO_FLAG_CAPS));
		if (!full.info.cap_offset)
			continue;

		memset(&small, 0, sizeof(small));
		small.info.argsz = sizeof(small.info);
		small.info.index = i;
		ASSERT_EQ(0, ioctl(self->dev.fd, VFIO_DEVICE_GET_REGION_INFO,
				   &small));
		need = small.info.argsz;
		EXPECT_LT(sizeof(small.info), need);
		EXPECT_EQ(0, small.info.cap_offset);
		EXPECT_TRUE(small.info.flags & VFIO_REGION_INFO_FLAG_CAPS);
		EXPECT_TRUE(is_filled(small.caps, 0, sizeof(small.caps)));

		small.info.argsz = need - 1;
		ASSERT_EQ(0, ioctl(self->dev.fd, VFIO_DEVICE_GET_REGION_INFO,
				   &small));
		EXPECT_EQ(need, small.info.argsz);
		EXPECT_EQ(0, small.info.cap_offset);

		small.info.argsz = need;
		ASSERT_EQ(0, ioctl(self->dev.fd, VFIO_DEVICE_GET_REGION_INFO,
				   &small));
		EXPECT_EQ(full.info.cap_offset, small.info.cap_offset);
		EXPECT_EQ(0, memcmp(full.caps, small.caps, sizeof(full.caps)));
	}
}

/* Every run of pages of every BAR, and one page more on each side. */
TEST_F(info, what_it_says_can_be_mapped_is_what_can)
{
	uint64_t start, end, pages;
	struct full_info full;
	unsigned int i, mapped = 0, refused = 0;
	bool may;

	for (i = 0; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
		ASSERT_EQ(0, full_info(self->dev.fd, i, &full));
		pages = page_align(full.info.size) / PAGE_SIZE;
		/* All pairs of the first and last pages of a large BAR. */
		for (start = 0; start <= pages; start++) {
			if (start > 8 && start + 8 < pages)
				continue;
			for (end = start + 1; end <= pages + 1; end++) {
				if (end > 8 && end + 8 < pages)
					continue;
				may = may_map(&full, start * PAGE_SIZE,
					      end * PAGE_SIZE);
				EXPECT_EQ(may, can_map(self->dev.fd,
						       full.info.offset +
						       start * PAGE_SIZE,
						       (end - start) *
						       PAGE_SIZE));
				mapped += may;
				refused += !may;
			}
		}
	}
	EXPECT_LT(0, mapped);
	EXPECT_LT(0, refused);
}

/* Prefetchable BARs have a second place, which is for mmap() alone. */
TEST_F(info, write_combining_is_for_prefetchable_bars)
{
	uint64_t size, at, value = 0;
	struct full_info full;
	unsigned int i;

	for (i = 0; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
		ASSERT_EQ(0, full_info(self->dev.fd, i, &full));
		at = wc_offset(&full);
		size = page_align(full.info.size);
		EXPECT_EQ(expected[variant->which][i].prefetch, at != 0);
		if (at) {
			EXPECT_LT(full.info.offset + full.info.size, at);
			EXPECT_TRUE(can_map(self->dev.fd, at, size));
			EXPECT_TRUE(can_map(self->dev.fd,
					    at + size - PAGE_SIZE, PAGE_SIZE));
			EXPECT_FALSE(can_map(self->dev.fd, at,
					     size + PAGE_SIZE));
			EXPECT_FALSE(can_map(self->dev.fd, at + size,
					     PAGE_SIZE));
			EXPECT_EQ(MAP_FAILED,
				  mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE,
				       self->dev.fd, at));
		} else {
			/* Where it would be. */
			at = (uint64_t)(VFIO_PCI_NUM_REGIONS + i) << 40;
			EXPECT_FALSE(can_map(self->dev.fd, at, PAGE_SIZE));
		}
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, pread(self->dev.fd, &value, 4, at));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, pwrite(self->dev.fd, &value, 4, at));
		EXPECT_EQ(EINVAL, errno);
	}
}

TEST_F(info, only_shared_mappings_of_bars)
{
	static const unsigned int never[] = {
		VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX,
	};
	struct vfio_region_info info = { 0 };
	unsigned int i;

	for (i = 0; !(info.flags & VFIO_REGION_INFO_FLAG_MMAP); i++)
		ASSERT_EQ(0, uvfio_region(self->dev.fd, i, &info));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE, self->dev.fd, info.offset));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE,
				   self->dev.fd, info.offset));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(can_map(self->dev.fd, info.offset, PAGE_SIZE));

	for (i = 0; i < ARRAY_SIZE(never); i++) {
		ASSERT_EQ(0, uvfio_region(self->dev.fd, never[i], &info));
		EXPECT_FALSE(can_map(self->dev.fd, info.offset, PAGE_SIZE));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_FALSE(can_map(self->dev.fd, (uint64_t)VFIO_PCI_NUM_REGIONS << 40,
			     PAGE_SIZE));
	EXPECT_EQ(EINVAL, errno);
}

/* pci-testdev: bytes that are the same whatever the width of an access. */

#define TESTDEV_TEST	0	/* write: select a test; read: it */
#define TESTDEV_OFFSET	4	/* where that test takes writes, 32 bit */
#define TESTDEV_DATA	8	/* what has to be written there */
#define TESTDEV_COUNT	12	/* how often that was done, 32 bit */
#define TESTDEV_NAME	16
#define TESTDEV_HEADER	32

FIXTURE(bytes)
{
	struct device dev;
	uint64_t base;
	uint8_t header[TESTDEV_HEADER];
};

FIXTURE_VARIANT(bytes)
{
	unsigned int bar;
	const char *name;
	bool port;
};

FIXTURE_VARIANT_ADD(bytes, memory)
{
	.bar = VFIO_PCI_BAR0_REGION_INDEX,
	.name = "mmio-no-eventfd",
};

FIXTURE_VARIANT_ADD(bytes, io)
{
	.bar = VFIO_PCI_BAR1_REGION_INDEX,
	.name = "portio-no-eventfd",
	.port = true,
};

FIXTURE_SETUP(bytes)
{
	struct vfio_region_info info;
	uint8_t zero = 0;
	int i;

	ASSERT_EQ(0, device_prepare(TESTDEV, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd,
				   PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 0));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, variant->bar, &info));
	self->base = info.offset;
	ASSERT_EQ(1, pwrite(self->dev.fd, &zero, 1, self->base + TESTDEV_TEST));
	for (i = 0; i < TESTDEV_HEADER; i++)
		ASSERT_EQ(1, pread(self->dev.fd, self->header + i, 1,
				   self->base + i));
	ASSERT_EQ(0, strncmp((char *)self->header + TESTDEV_NAME, variant->name,
			     TESTDEV_HEADER - TESTDEV_NAME));
}

FIXTURE_TEARDOWN(bytes)
{
	device_close(&self->dev);
}

/* Each start and length: split, aligned, in order, all of it. */
TEST_F(bytes, every_width_and_alignment_reads_the_same)
{
	uint8_t bytes[TESTDEV_HEADER + 1];
	int start, len;

	for (start = 0; start < TESTDEV_HEADER; start++) {
		for (len = 1; len <= TESTDEV_HEADER - start; len++) {
			memset(bytes, 0xa5, sizeof(bytes));
			ASSERT_EQ(len, pread(self->dev.fd, bytes, len,
					     self->base + start));
			EXPECT_EQ(0, memcmp(bytes, self->header + start, len)) {
				TH_LOG("start %d length %d", start, len);
			}
			EXPECT_EQ(0xa5, bytes[len]);
		}
	}
}

static uint32_t testdev_count(int fd, uint64_t base)
{
	uint32_t count = ~0u;

	if (pread(fd, &count, sizeof(count), base + TESTDEV_COUNT) !=
	    sizeof(count))
		return ~0u;
	return count;
}

/* The device counts the bytes that arrive where it wants one. */
TEST_F(bytes, every_width_and_alignment_writes_once)
{
	uint8_t bytes[24];
	uint32_t target, count = 0;
	int before, len;

	memcpy(&target, self->header + TESTDEV_OFFSET, sizeof(target));
	ASSERT_LE(TESTDEV_HEADER, target);
	EXPECT_EQ(0, testdev_count(self->dev.fd, self->base));
	for (before = 0; before < 16; before++) {
		for (len = before + 1; len < (int)sizeof(bytes); len++) {
			memset(bytes, 0, sizeof(bytes));
			bytes[before] = self->header[TESTDEV_DATA];
			ASSERT_EQ(len, pwrite(self->dev.fd, bytes, len,
					      self->base + target - before));
			count++;
			EXPECT_EQ(count, testdev_count(self->dev.fd,
						       self->base)) {
				TH_LOG("before %d length %d", before, len);
			}
		}
	}
	/* The control: another value, and beside it. */
	bytes[0] = ~self->header[TESTDEV_DATA];
	ASSERT_EQ(1, pwrite(self->dev.fd, bytes, 1, self->base + target));
	bytes[0] = self->header[TESTDEV_DATA];
	ASSERT_EQ(1, pwrite(self->dev.fd, bytes, 1, self->base + target + 1));
	EXPECT_EQ(count, testdev_count(self->dev.fd, self->base));
}

TEST_F(bytes, long_transfers_are_complete)
{
	struct vfio_region_info info;
	uint8_t bytes[8192];

	ASSERT_EQ(0, uvfio_region(self->dev.fd, variant->bar, &info));
	memset(bytes, 0xa5, sizeof(bytes));
	ASSERT_EQ((ssize_t)info.size, pread(self->dev.fd, bytes, sizeof(bytes),
					    self->base));
	EXPECT_EQ(0, memcmp(bytes, self->header, TESTDEV_HEADER));
	EXPECT_TRUE(is_filled(bytes + info.size, 0xa5,
			      sizeof(bytes) - info.size));
}

TEST_F(bytes, decoding_off_is_an_error)
{
	uint16_t bit = variant->port ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint16_t other = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
	uint32_t value;

	other &= ~bit;
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, bit));
	EXPECT_EQ(-1, pread(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(EIO, errno);
	value = 0;
	EXPECT_EQ(-1, pwrite(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(EIO, errno);

	/* The other space is not concerned. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, bit, other));
	EXPECT_EQ(4, pread(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(0, memcmp(&value, self->header, 4));
}

/* edu: registers of 4 bytes, and some of 8 that must arrive in one piece. */

FIXTURE(registers)
{
	struct device dev;
	struct edu edu;
	uint64_t base;
};

FIXTURE_SETUP(registers)
{
	struct vfio_region_info info;

	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				  &info));
	self->base = info.offset;
}

FIXTURE_TEARDOWN(registers)
{
	edu_stop(&self->edu);
	device_close(&self->dev);
}

TEST_F(registers, read_write_and_mmap_see_the_same)
{
	uint32_t value, i;

	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base + EDU_ID));
	EXPECT_EQ(EDU_ID_VALUE, value);
	EXPECT_EQ(EDU_ID_VALUE, edu_read(&self->edu, EDU_ID));
	for (i = 1; i; i <<= 1) {
		value = i;
		ASSERT_EQ(4, pwrite(self->dev.fd, &value, 4,
				    self->base + EDU_LIVENESS));
		EXPECT_EQ(~i, edu_read(&self->edu, EDU_LIVENESS));
		edu_write(&self->edu, EDU_LIVENESS, ~i);
		ASSERT_EQ(4, pread(self->dev.fd, &value, 4,
				   self->base + EDU_LIVENESS));
		EXPECT_EQ(i, value);
	}
}

/* Split into two, the second half would hit a register that is not there. */
TEST_F(registers, eight_bytes_go_in_one_access)
{
	uint64_t value = 0x1122334455667788, seen = 0;

	ASSERT_EQ(8, pwrite(self->dev.fd, &value, 8,
			    self->base + EDU_DMA_SOURCE));
	ASSERT_EQ(8, pread(self->dev.fd, &seen, 8,
			   self->base + EDU_DMA_SOURCE));
	EXPECT_EQ(value, seen);
}

TEST_F(registers, mapping_follows_memory_decoding)
{
	uint32_t *id = self->edu.regs, value;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, uvfio_command(self->dev.fd, 0,
					   PCI_COMMAND_MEMORY));
		EXPECT_TRUE(read_faults(id, NULL));
		EXPECT_TRUE(write_faults(id + 1, 0));
		EXPECT_EQ(-1, pread(self->dev.fd, &value, 4, self->base));
		EXPECT_EQ(EIO, errno);
		/* Pages that nobody touched before, too. */
		EXPECT_TRUE(read_faults(id + 5 * PAGE_SIZE / 4, NULL));

		ASSERT_EQ(0, uvfio_command(self->dev.fd,
					   PCI_COMMAND_MEMORY, 0));
		ASSERT_FALSE(read_faults(id, &value));
		EXPECT_EQ(EDU_ID_VALUE, value);
		EXPECT_EQ(4, pread(self->dev.fd, &value, 4, self->base));
	}
}

/* A mapping does not grow over what was not asked for when it was made. */
TEST_F(registers, mapping_does_not_grow)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  self->dev.fd, self->base);

	ASSERT_NE(MAP_FAILED, page);
	EXPECT_EQ(MAP_FAILED, mremap(page, PAGE_SIZE, 2 * PAGE_SIZE,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, mremap(page, 0, PAGE_SIZE, MREMAP_MAYMOVE));
	EXPECT_FALSE(read_faults(page, NULL));
	munmap(page, PAGE_SIZE);
}

/* Revocation reaches the mappings of every process. */
TEST_F(registers, mapping_is_inherited_and_revoked)
{
	int go[2], done[2], status;
	uint32_t value;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(go[1]);
		if (read_faults(self->edu.regs, &value) ||
		    value != EDU_ID_VALUE)
			_exit(1);
		if (write(done[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(2);
		_exit(read_faults(self->edu.regs, NULL) ? 0 : 3);
	}
	close(done[1]);
	EXPECT_EQ(1, read(done[0], &byte, 1));
	EXPECT_EQ(0, uvfio_detach(self->dev.fd));
	EXPECT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* The descriptor can go, what it mapped stays, and keeps the device open. */
TEST_F(registers, mapping_outlives_the_descriptor)
{
	device_close(&self->dev);
	EXPECT_EQ(EDU_ID_VALUE, edu_read(&self->edu, EDU_ID));
	EXPECT_EQ(-EBUSY, device_open(&self->dev));
	edu_stop(&self->edu);
	EXPECT_EQ(0, device_open(&self->dev));
}

/*
 * Two pci-testdevs, each with a BAR of 256 bytes, which the kernel places as close
 * to each other as it may when they are found anew.
 */

#define SMALL_BAR	VFIO_PCI_BAR2_REGION_INDEX
#define SMALL_SIZE	256

FIXTURE(page)
{
	struct device dev[2];
};

/* As root; 0 where it is unknown. */
static uint64_t bar_address(const struct device *dev, unsigned int bar)
{
	char path[PATH_MAX], line[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
		 dev->bdf);
	file = fopen(path, "re");
	if (!file)
		return 0;
	do {
		if (!fgets(line, sizeof(line), file))
			line[0] = '\0';
	} while (bar--);
	fclose(file);
	return strtoull(line, NULL, 16);
}

static uint64_t page_of(const struct device *dev)
{
	return bar_address(dev, SMALL_BAR) / PAGE_SIZE;
}

static int pci_write(const struct device *dev, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", dev->bdf,
		 name);
	return write_file(path, "1");
}

static int found_anew(struct device *dev)
{
	char driver[32];
	int ret = 0;

	if (!device_driver(dev->bdf, driver, sizeof(driver)))
		ret = device_unbind(dev->bdf);
	if (!ret)
		ret = pci_write(dev, "remove");
	return ret ?: write_file("/sys/bus/pci/rescan", "1");
}

static int bound_anew(enum which which, struct device *dev)
{
	char driver[32];

	if (!device_driver(dev->bdf, driver, sizeof(driver)))
		device_unbind(dev->bdf);
	return device_prepare(which, dev);
}

static bool small_bar_mappable(struct device *dev)
{
	struct vfio_region_info info;
	bool may, can;

	if (device_open_attached(dev, -1) ||
	    uvfio_region(dev->fd, SMALL_BAR, &info))
		return false;
	may = info.flags & VFIO_REGION_INFO_FLAG_MMAP;
	can = can_map(dev->fd, info.offset, PAGE_SIZE);
	device_close(dev);
	return may && can;
}

/* No MMAP flag, no mmap(), and all the rest of it. */
static bool small_bar_not_mappable(struct device *dev)
{
	uint8_t bytes[2 * SMALL_SIZE];
	struct vfio_region_info info;
	bool ok;

	if (device_open_attached(dev, -1) ||
	    uvfio_region(dev->fd, SMALL_BAR, &info))
		return false;
	ok = info.flags == (VFIO_REGION_INFO_FLAG_READ |
			    VFIO_REGION_INFO_FLAG_WRITE) &&
	     info.size == SMALL_SIZE &&
	     !can_map(dev->fd, info.offset, PAGE_SIZE) && errno == EINVAL &&
	     pread(dev->fd, bytes, sizeof(bytes), info.offset) == SMALL_SIZE &&
	     pwrite(dev->fd, bytes, 4, info.offset + 16) == 4;
	device_close(dev);
	return ok;
}

/* They share a page, which is what Linux makes of them when nobody minds. */
FIXTURE_SETUP(page)
{
	ASSERT_EQ(0, bound_anew(SMALL1, &self->dev[0]));
	ASSERT_EQ(0, bound_anew(SMALL2, &self->dev[1]));
	ASSERT_EQ(0, device_unbind(self->dev[0].bdf));
	ASSERT_EQ(0, found_anew(&self->dev[1]));
	ASSERT_NE(0, page_of(&self->dev[0]));
	ASSERT_EQ(page_of(&self->dev[0]), page_of(&self->dev[1]));
}

FIXTURE_TEARDOWN(page)
{
	/* Apart again: with the first one bound, the page is taken. */
	device_close(&self->dev[0]);
	device_close(&self->dev[1]);
	device_unbind(self->dev[1].bdf);
	pci_write(&self->dev[1], "remove");
	EXPECT_EQ(0, bound_anew(SMALL1, &self->dev[0]));
	EXPECT_EQ(0, write_file("/sys/bus/pci/rescan", "1"));
	EXPECT_NE(page_of(&self->dev[0]), page_of(&self->dev[1]));
}

TEST_F(page, is_not_mapped_with_another_device_on_it)
{
	ASSERT_EQ(0, bound_anew(SMALL1, &self->dev[0]));
	ASSERT_EQ(0, bound_anew(SMALL2, &self->dev[1]));
	EXPECT_TRUE(small_bar_not_mappable(&self->dev[0]));
	EXPECT_TRUE(small_bar_not_mappable(&self->dev[1]));
}

/* One is at the start of the page, the other one is not. */
TEST_F(page, is_not_mapped_for_what_begins_inside)
{
	int lower = bar_address(&self->dev[0], SMALL_BAR) % PAGE_SIZE != 0;
	struct device *dev = &self->dev[!lower];

	ASSERT_NE(0, bar_address(dev, SMALL_BAR) % PAGE_SIZE);
	ASSERT_EQ(0, pci_write(&self->dev[lower], "remove"));
	/* By now it is the only one of its kind. */
	ASSERT_EQ(0, bound_anew(SMALL1, dev));
	EXPECT_TRUE(small_bar_not_mappable(dev));
	ASSERT_EQ(0, write_file("/sys/bus/pci/rescan", "1"));
}

TEST_F(page, stays_as_it_is_for_one_device)
{
	/* Bound while the other one is there; that it goes changes nothing. */
	ASSERT_EQ(0, bound_anew(SMALL1, &self->dev[0]));
	ASSERT_EQ(0, pci_write(&self->dev[1], "remove"));
	EXPECT_TRUE(small_bar_not_mappable(&self->dev[0]));

	/* Bound alone it is mapped, and nothing comes beside it. */
	ASSERT_EQ(0, bound_anew(SMALL1, &self->dev[0]));
	EXPECT_TRUE(small_bar_mappable(&self->dev[0]));
	ASSERT_EQ(0, write_file("/sys/bus/pci/rescan", "1"));
	EXPECT_NE(0, page_of(&self->dev[1]));
	EXPECT_NE(page_of(&self->dev[0]), page_of(&self->dev[1]));
	EXPECT_TRUE(small_bar_mappable(&self->dev[0]));

	/* Until it is unbound. */
	ASSERT_EQ(0, device_unbind(self->dev[0].bdf));
	ASSERT_EQ(0, found_anew(&self->dev[1]));
	EXPECT_EQ(page_of(&self->dev[0]), page_of(&self->dev[1]));
}

/* ivshmem: a BAR of 64 MiB that is nothing but memory. */

#define LARGE_SIZE	(64 * MIB)
/* What one page table of the last level maps, and one fault. */
#define WINDOW		(2 * MIB)
/* Of the program itself: stack and data that were not touched before. */
#define FAULT_SLACK	8

FIXTURE(large)
{
	struct device dev;
	uint64_t base;
};

FIXTURE_SETUP(large)
{
	struct vfio_region_info info;

	ASSERT_EQ(0, device_prepare(IVSHMEM, &self->dev));
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_BAR2_REGION_INDEX,
				  &info));
	ASSERT_EQ(LARGE_SIZE, info.size);
	self->base = info.offset;
}

FIXTURE_TEARDOWN(large)
{
	device_close(&self->dev);
}

static void *large_map(int fd, uint64_t offset, void *at)
{
	void *map = mmap(at, LARGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset);

	return map == MAP_FAILED ? NULL : map;
}

/* Writes a number of its own to each page; returns how often that faulted. */
static long number_pages(uint32_t *map, uint32_t first)
{
	struct rusage before, after;
	size_t i;

	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < LARGE_SIZE / PAGE_SIZE; i++)
		__atomic_store_n(map + i * PAGE_SIZE / 4, first + i,
				 __ATOMIC_RELAXED);
	getrusage(RUSAGE_SELF, &after);
	return after.ru_minflt - before.ru_minflt;
}

/* Whether the BAR has these numbers, each where it belongs. */
static bool pages_numbered(int fd, uint64_t base, uint32_t first)
{
	uint32_t value;
	size_t i;

	for (i = 0; i < LARGE_SIZE / PAGE_SIZE; i++) {
		if (pread(fd, &value, 4, base + i * PAGE_SIZE) != 4 ||
		    value != first + i)
			return false;
	}
	return true;
}

TEST_F(large, one_fault_maps_many_pages)
{
	uint32_t *map = large_map(self->dev.fd, self->base, NULL);
	long faults;

	ASSERT_NE(NULL, map);
	/* As in the BAR, or large pages would not fit; 32 bit has no room. */
	if (sizeof(void *) == 8)
		EXPECT_EQ(0, (uintptr_t)map % WINDOW);
	faults = number_pages(map, 1000000);
	EXPECT_LT(0, faults);
	EXPECT_GE(LARGE_SIZE / WINDOW + FAULT_SLACK, faults);
	EXPECT_TRUE(pages_numbered(self->dev.fd, self->base, 1000000));
	munmap(map, LARGE_SIZE);
}

/* At an address that fits no large page; beside it is other memory. */
TEST_F(large, unaligned_mapping_is_the_same)
{
	size_t size = LARGE_SIZE + 2 * WINDOW;
	uint8_t *around = dma_alloc(size), *at;
	long faults;

	ASSERT_NE(NULL, around);
	memset(around, 0xa5, size);
	at = (uint8_t *)(((uintptr_t)around + WINDOW) & ~(WINDOW - 1));
	at += PAGE_SIZE;
	ASSERT_EQ(at, large_map(self->dev.fd, self->base, at));

	faults = number_pages((uint32_t *)at, 2000000);
	EXPECT_GE(LARGE_SIZE / WINDOW + 1 + FAULT_SLACK, faults);
	EXPECT_TRUE(pages_numbered(self->dev.fd, self->base, 2000000));
	EXPECT_TRUE(is_filled(around, 0xa5, at - around));
	EXPECT_TRUE(is_filled(at + LARGE_SIZE, 0xa5,
			      around + size - at - LARGE_SIZE));
	dma_free(around, size);
}

/* Taken apart, a mapping is what is left of it. */
TEST_F(large, pieces_of_a_mapping)
{
	uint8_t *map = large_map(self->dev.fd, self->base, NULL);
	uint8_t *moved, *hole = map + 5 * WINDOW + 3 * PAGE_SIZE;
	uint32_t value;

	ASSERT_NE(NULL, map);
	number_pages((uint32_t *)map, 3000000);
	ASSERT_EQ(0, munmap(hole, PAGE_SIZE));
	ASSERT_EQ(hole, mmap(hole, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, mprotect(map + 6 * WINDOW, WINDOW, PROT_READ));
	moved = mremap(map + 8 * WINDOW, WINDOW, WINDOW,
		       MREMAP_MAYMOVE | MREMAP_FIXED, map + 20 * WINDOW);
	ASSERT_EQ(map + 20 * WINDOW, moved);

	/* All of it faults anew. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	EXPECT_TRUE(read_faults(map, NULL));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));

	ASSERT_FALSE(read_faults(hole + PAGE_SIZE, &value));
	EXPECT_EQ(3000000 + 5 * 512 + 4, value);
	ASSERT_FALSE(read_faults(hole - PAGE_SIZE, &value));
	EXPECT_EQ(3000000 + 5 * 512 + 2, value);
	ASSERT_FALSE(read_faults(hole, &value));
	EXPECT_EQ(0, value);
	ASSERT_FALSE(read_faults(map + 6 * WINDOW + PAGE_SIZE, &value));
	EXPECT_EQ(3000000 + 6 * 512 + 1, value);
	ASSERT_FALSE(read_faults(moved + 7 * PAGE_SIZE, &value));
	EXPECT_EQ(3000000 + 8 * 512 + 7, value);

	/* What was read-only can be written when it may be. */
	ASSERT_EQ(0, mprotect(map + 6 * WINDOW, WINDOW,
			      PROT_READ | PROT_WRITE));
	ASSERT_FALSE(write_faults(map + 6 * WINDOW, 77));
	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base + 6 * WINDOW));
	EXPECT_EQ(77, value);
	munmap(map, LARGE_SIZE);
}

/* Two mappings of one memory: what one writes the other one reads. */
TEST_F(large, write_combining_mapping_is_the_same)
{
	volatile void *wc;
	uint32_t *map, value;
	size_t i;

	ASSERT_EQ(0, uvfio_bar_map_wc(self->dev.fd, VFIO_PCI_BAR2_REGION_INDEX,
				      0, LARGE_SIZE, &wc));
	map = large_map(self->dev.fd, self->base, NULL);
	ASSERT_NE(NULL, map);

	EXPECT_GE(LARGE_SIZE / WINDOW + 1 + FAULT_SLACK,
		  number_pages((void *)wc, 4000000));
	uvfio_wc_flush();
	for (i = 0; i < LARGE_SIZE; i += PAGE_SIZE)
		ASSERT_EQ(4000000 + i / PAGE_SIZE, map[i / 4]);
	number_pages(map, 5000000);
	for (i = 0; i < LARGE_SIZE; i += PAGE_SIZE)
		ASSERT_EQ(5000000 + i / PAGE_SIZE, uvfio_read32(wc, i));

	/* Both follow the state of the device. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	EXPECT_TRUE(read_faults((void *)wc, NULL));
	EXPECT_TRUE(write_faults(map, 0));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_FALSE(read_faults((void *)wc, &value));
	EXPECT_EQ(5000000, value);

	ASSERT_EQ(0, munmap((void *)wc, LARGE_SIZE));
	EXPECT_FALSE(read_faults(map, NULL));
	munmap(map, LARGE_SIZE);
	EXPECT_EQ(-EINVAL, uvfio_bar_map_wc(self->dev.fd,
					    VFIO_PCI_BAR0_REGION_INDEX, 0,
					    PAGE_SIZE, &wc));
}

/* Whether the kernel has large pages for devices: it is what walks them. */
static bool kernel_has_large_pages(void)
{
	char line[256];
	bool found = false;
	FILE *file;

	file = fopen("/proc/kallsyms", "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, " follow_pfnmap_start");
	fclose(file);
	return found;
}

/* Maps at @at, touches, and looks at what the hardware has for it then. */
static bool mapped_as(int fd, uint64_t offset, void *at, uint64_t type,
		      uint64_t size)
{
	uint8_t *map = large_map(fd, offset, at);
	uint64_t pte, pte_size;
	bool same;

	if (!map || read_faults(map + WINDOW + PAGE_SIZE, NULL) ||
	    monitor_pte(map + WINDOW + PAGE_SIZE, &pte, &pte_size))
		return false;
	same = (pte & PTE_TYPE) == type && pte_size == size;

	/* It is the mapping's, and stays that when the protection changes. */
	if (mprotect(map, LARGE_SIZE, PROT_READ) ||
	    mprotect(map, LARGE_SIZE, PROT_READ | PROT_WRITE) ||
	    write_faults(map + WINDOW + PAGE_SIZE, 1) ||
	    monitor_pte(map + WINDOW + PAGE_SIZE, &pte, &pte_size))
		return false;
	munmap(map, LARGE_SIZE);
	return same && (pte & PTE_TYPE) == type && pte_size == size;
}

TEST_F(large, memory_type_and_page_size)
{
	uint64_t huge = kernel_has_large_pages() ? WINDOW : PAGE_SIZE;
	uint8_t *room = mmap(NULL, 3 * LARGE_SIZE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct full_info full;
	uint64_t wc;

	ASSERT_NE(MAP_FAILED, room);
	room = (uint8_t *)(((uintptr_t)room + LARGE_SIZE) & ~(LARGE_SIZE - 1));
	ASSERT_EQ(0, full_info(self->dev.fd, VFIO_PCI_BAR2_REGION_INDEX,
			       &full));
	wc = wc_offset(&full);
	ASSERT_NE(0, wc);
	if (!MONITOR_SEES_TABLES)
		SKIP(return, NO_TABLES);

	EXPECT_TRUE(mapped_as(self->dev.fd, self->base, room,
			      PTE_UNCACHED_MINUS, huge));
	EXPECT_TRUE(mapped_as(self->dev.fd, self->base, room + PAGE_SIZE,
			      PTE_UNCACHED_MINUS, PAGE_SIZE));
	EXPECT_TRUE(mapped_as(self->dev.fd, wc, room, PTE_WRITE_COMBINING,
			      PAGE_SIZE));
	/* Wherever the kernel likes it; with 64 bit that suits large pages. */
	if (sizeof(void *) == 8)
		EXPECT_TRUE(mapped_as(self->dev.fd, self->base, NULL,
				      PTE_UNCACHED_MINUS, huge));
	munmap(room, 2 * LARGE_SIZE);
}

/*
 * Who counts dirty pages has the kernel map read-only first: the write that
 * follows must not wait for ever for a large page to become writable.
 */
TEST_F(large, write_protected_pages_become_writable)
{
	uint32_t *map = large_map(self->dev.fd, self->base, NULL), value;

	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "4"));
	EXPECT_FALSE(read_faults(map, NULL));
	EXPECT_FALSE(write_faults(map, 0x1234));
	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(0x1234, value);
	EXPECT_GE(LARGE_SIZE / WINDOW * 2 + FAULT_SLACK,
		  number_pages(map, 6000000) / 512);
	EXPECT_TRUE(pages_numbered(self->dev.fd, self->base, 6000000));
	munmap(map, LARGE_SIZE);
}

/* The other BAR, of 256 bytes, on a page of its own; its first register keeps. */
TEST_F(large, small_bar_is_a_page_in_a_mapping)
{
	struct vfio_region_info info;
	uint32_t *map, value;

	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				  &info));
	map = bar_map(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX, 0, PAGE_SIZE);
	ASSERT_NE(MAP_FAILED, map);
	value = 0x12345678;
	ASSERT_EQ(4, pwrite(self->dev.fd, &value, 4, info.offset));
	EXPECT_EQ(value, __atomic_load_n(map, __ATOMIC_RELAXED));
	__atomic_store_n(map, ~value, __ATOMIC_RELAXED);
	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, info.offset));
	EXPECT_EQ(~0x12345678u, value);
	/* Behind it is nothing, but nothing that faults. */
	EXPECT_FALSE(read_faults(map + PAGE_SIZE / 4 - 1, NULL));
	munmap(map, PAGE_SIZE);
}

#ifdef __LP64__
/*
 * A BAR of 1 GiB, which one entry of a page table can map. Where the core has no
 * idea of that, it must not meet one. 32 bit has no room for it.
 */

#define GIB		(1024 * MIB)

FIXTURE(gigabyte)
{
	struct device dev;
	uint64_t base;
	uint8_t *room;
	uint8_t *map;		/* all of the BAR, at a multiple of its size */
};

/* Parts of it that are looked at, each with a number of its own. */
static const uint64_t marks[] = {
	0, PAGE_SIZE, WINDOW, WINDOW + 3 * PAGE_SIZE, GIB / 2 - PAGE_SIZE,
	GIB / 2, GIB - WINDOW, GIB - PAGE_SIZE,
};

FIXTURE_SETUP(gigabyte)
{
	struct vfio_region_info info;
	uint32_t i;

	ASSERT_EQ(0, device_prepare(HUGE_IVSHMEM, &self->dev));
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_BAR2_REGION_INDEX,
				  &info));
	ASSERT_EQ(GIB, info.size);
	self->base = info.offset;
	for (i = 0; i < ARRAY_SIZE(marks); i++)
		ASSERT_EQ(4, pwrite(self->dev.fd, &i, 4, self->base + marks[i]));

	self->room = mmap(NULL, 4 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, self->room);
	self->map = (uint8_t *)(((uintptr_t)self->room + GIB) & ~(GIB - 1));
	ASSERT_EQ(self->map, mmap(self->map, GIB, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, self->dev.fd,
				  self->base));
	ASSERT_FALSE(read_faults(self->map, NULL));
}

FIXTURE_TEARDOWN(gigabyte)
{
	munmap(self->room, 4 * GIB);
	device_close(&self->dev);
}

/* Whether the marks from @first on are seen at @map + their places. */
static bool marks_are_at(const uint8_t *map, uint32_t first)
{
	uint32_t i, value;

	for (i = first; i < ARRAY_SIZE(marks); i++) {
		if (read_faults(map + marks[i], &value) || value != i)
			return false;
	}
	return true;
}

TEST_F(gigabyte, is_one_page)
{
	uint64_t pte, size;

	EXPECT_TRUE(marks_are_at(self->map, 0));
	if (MONITOR_SEES_TABLES) {
		ASSERT_EQ(0, monitor_pte(self->map + GIB / 2, &pte, &size));
		EXPECT_EQ(kernel_has_large_pages() ? GIB : PAGE_SIZE, size);
		EXPECT_EQ(PTE_UNCACHED_MINUS, pte & PTE_TYPE);
	}

	/* Away and back again. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	EXPECT_TRUE(read_faults(self->map + GIB / 2, NULL));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_TRUE(marks_are_at(self->map, 0));
}

TEST_F(gigabyte, becomes_writable)
{
	uint64_t pte, size;
	uint32_t value;

	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "4"));
	ASSERT_FALSE(read_faults(self->map, NULL));
	ASSERT_FALSE(write_faults(self->map + GIB / 2, 77));
	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base + GIB / 2));
	EXPECT_EQ(77, value);
	if (!MONITOR_SEES_TABLES)
		return;
	ASSERT_EQ(0, monitor_pte(self->map + GIB / 2, &pte, &size));
	EXPECT_TRUE(pte & PTE_WRITE);
	EXPECT_EQ(kernel_has_large_pages() ? GIB : PAGE_SIZE, size);
}

TEST_F(gigabyte, is_cut)
{
	ASSERT_EQ(0, munmap(self->map, PAGE_SIZE));
	EXPECT_TRUE(marks_are_at(self->map, 1));
	ASSERT_EQ(0, mprotect(self->map + WINDOW, PAGE_SIZE, PROT_READ));
	EXPECT_TRUE(marks_are_at(self->map, 1));
	ASSERT_EQ(0, munmap(self->map + PAGE_SIZE, GIB / 2 - PAGE_SIZE));
	EXPECT_TRUE(marks_are_at(self->map, 5));
}

TEST_F(gigabyte, is_moved)
{
	uint8_t *to = self->map + GIB + 5 * PAGE_SIZE;

	ASSERT_EQ(to, mremap(self->map, GIB, GIB, MREMAP_MAYMOVE | MREMAP_FIXED,
			     to));
	EXPECT_TRUE(marks_are_at(to, 0));
	/* Back to where it fits, and a part of it. */
	ASSERT_EQ(self->map, mremap(to, GIB, GIB, MREMAP_MAYMOVE | MREMAP_FIXED,
				    self->map));
	EXPECT_TRUE(marks_are_at(self->map, 0));
	ASSERT_EQ(to, mremap(self->map + GIB / 2, GIB / 2, GIB / 2,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_TRUE(marks_are_at(to - GIB / 2, 5));
}

TEST_F(gigabyte, is_inherited)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!marks_are_at(self->map, 0) ||
		    munmap(self->map, PAGE_SIZE))
			_exit(1);
		_exit(marks_are_at(self->map, 1) ? 0 : 2);
	}
	EXPECT_TRUE(marks_are_at(self->map, 0));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_TRUE(marks_are_at(self->map, 0));
}
#endif /* __LP64__ */

/* The expansion ROM, as the e1000e has one. */

FIXTURE(rom)
{
	struct device dev;
	uint64_t base;
	uint8_t *seen;
	uint8_t *known;		/* as root sees it */
	size_t known_size;	/* the image in it, not all of it */
};

static size_t read_sysfs_rom(const char *bdf, uint8_t *rom)
{
	char path[PATH_MAX];
	size_t size = 0;
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/rom", bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1 || lseek(fd, 0, SEEK_SET))
		return 0;
	do {
		size += n;
		n = read(fd, rom + size, ROM_SIZE - size);
	} while (n > 0);
	close(fd);
	return n ? 0 : size;
}

FIXTURE_SETUP(rom)
{
	struct vfio_region_info info;

	self->seen = dma_alloc(ROM_SIZE);
	self->known = dma_alloc(ROM_SIZE);
	ASSERT_NE(NULL, self->seen);
	ASSERT_NE(NULL, self->known);
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	self->known_size = read_sysfs_rom(self->dev.bdf, self->known);
	ASSERT_LT(1024, self->known_size);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_ROM_REGION_INDEX,
				  &info));
	self->base = info.offset;
}

FIXTURE_TEARDOWN(rom)
{
	device_close(&self->dev);
	dma_free(self->seen, ROM_SIZE);
	dma_free(self->known, ROM_SIZE);
}

static bool rom_decodes(const struct device *dev)
{
	return raw_read32(dev, PCI_ROM_ADDRESS) & PCI_ROM_ADDRESS_ENABLE;
}

TEST_F(rom, is_the_devices)
{
	uint8_t bytes[300];
	size_t start, len;

	ASSERT_EQ((ssize_t)ROM_SIZE, pread(self->dev.fd, self->seen, ROM_SIZE,
					   self->base));
	EXPECT_EQ(0x55, self->seen[0]);
	EXPECT_EQ(0xaa, self->seen[1]);
	EXPECT_EQ(0, memcmp(self->seen, self->known, self->known_size));
	EXPECT_FALSE(rom_decodes(&self->dev));

	for (start = 0; start < 16; start++) {
		for (len = 1; len <= sizeof(bytes); len += 7) {
			ASSERT_EQ((ssize_t)len, pread(self->dev.fd, bytes, len,
						      self->base + start));
			EXPECT_EQ(0, memcmp(bytes, self->known + start, len));
		}
	}
	EXPECT_FALSE(rom_decodes(&self->dev));
}

TEST_F(rom, is_read_only)
{
	uint32_t value = 0, before;

	ASSERT_EQ(4, pread(self->dev.fd, &before, 4, self->base));
	EXPECT_EQ(-1, pwrite(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, pwrite(self->dev.fd, self->known, 512, self->base));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(before, value);
	EXPECT_FALSE(rom_decodes(&self->dev));
}

TEST_F(rom, needs_memory_decoding)
{
	uint32_t value;

	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_IO,
				   PCI_COMMAND_MEMORY));
	EXPECT_EQ(-1, pread(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(EIO, errno);
	EXPECT_FALSE(rom_decodes(&self->dev));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_EQ(4, pread(self->dev.fd, &value, 4, self->base));
	ASSERT_EQ(0, uvfio_reset(self->dev.fd));
	EXPECT_EQ(4, pread(self->dev.fd, &value, 4, self->base));
	EXPECT_EQ(0xaa55, value & 0xffff);
}

/* The MSI-X table. */

FIXTURE(table)
{
	struct device dev;
	uint64_t base;
	uint64_t bar_size;
	uint32_t start;		/* of the table in its BAR, in bytes */
	uint32_t end;
};

FIXTURE_VARIANT(table)
{
	enum which which;
	unsigned int bar;
	uint32_t start;
	unsigned int vectors;
	uint32_t pending;	/* the bits of those that wait, in the same BAR */
};

FIXTURE_VARIANT_ADD(table, nvme)
{
	.which = NVME,
	.bar = VFIO_PCI_BAR0_REGION_INDEX,
	.start = 0x2000,
	.vectors = 65,
	.pending = 0x3000,
};

FIXTURE_VARIANT_ADD(table, e1000e)
{
	.which = E1000E,
	.bar = VFIO_PCI_BAR3_REGION_INDEX,
	.start = 0,
	.vectors = 5,
	.pending = 0x2000,
};

FIXTURE_SETUP(table)
{
	struct vfio_region_info info;

	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, variant->bar, &info));
	self->base = info.offset;
	self->bar_size = info.size;
	self->start = variant->start;
	self->end = variant->start + variant->vectors * PCI_MSIX_ENTRY_SIZE;
}

FIXTURE_TEARDOWN(table)
{
	device_close(&self->dev);
}

/* What the device says about the table is what the other tests go by. */
TEST_F(table, is_where_the_test_thinks)
{
	unsigned int cap = 0;
	uint16_t word;
	uint32_t dword;

	ASSERT_EQ(0, uvfio_config_read16(self->dev.fd, PCI_CAPABILITY_LIST,
					 &word));
	for (cap = word & 0xfc; cap; cap = word >> 8 & 0xfc) {
		ASSERT_EQ(0, uvfio_config_read16(self->dev.fd, cap, &word));
		if ((word & 0xff) == PCI_CAP_ID_MSIX)
			break;
	}
	ASSERT_NE(0, cap);
	ASSERT_EQ(0, uvfio_config_read16(self->dev.fd, cap + PCI_MSIX_FLAGS,
					 &word));
	EXPECT_EQ(variant->vectors - 1, word & PCI_MSIX_FLAGS_QSIZE);
	ASSERT_EQ(0, uvfio_config_read32(self->dev.fd, cap + PCI_MSIX_TABLE,
					 &dword));
	EXPECT_EQ(variant->bar, dword & PCI_MSIX_TABLE_BIR);
	EXPECT_EQ(variant->start, dword & PCI_MSIX_TABLE_OFFSET);
	ASSERT_EQ(0, uvfio_config_read32(self->dev.fd, cap + PCI_MSIX_PBA,
					 &dword));
	EXPECT_EQ(variant->bar, dword & PCI_MSIX_PBA_BIR);
	EXPECT_EQ(variant->pending, dword & PCI_MSIX_PBA_OFFSET);
}

TEST_F(table, pages_cannot_be_mapped)
{
	uint64_t first = self->start & ~(PAGE_SIZE - 1);
	uint64_t last = (self->end - 1) & ~(PAGE_SIZE - 1);
	struct full_info full;
	uint64_t page;

	ASSERT_EQ(0, full_info(self->dev.fd, variant->bar, &full));
	ASSERT_NE(NULL, sparse(&full));
	for (page = 0; page < self->bar_size; page += PAGE_SIZE) {
		EXPECT_EQ(page < first || page > last,
			  can_map(self->dev.fd, self->base + page, PAGE_SIZE));
		EXPECT_EQ(page < first || page > last,
			  may_map(&full, page, page + PAGE_SIZE));
	}
	EXPECT_FALSE(can_map(self->dev.fd, self->base, self->bar_size));
}

TEST_F(table, bytes_cannot_be_read)
{
	uint8_t bytes[4096];
	uint32_t at, value;
	size_t size = self->end - self->start;

	ASSERT_GE(sizeof(bytes), size);
	memset(bytes, 0, sizeof(bytes));
	ASSERT_EQ((ssize_t)size, pread(self->dev.fd, bytes, size,
				       self->base + self->start));
	EXPECT_TRUE(is_filled(bytes, 0xff, size));
	for (at = self->start; at < self->end; at += 4) {
		value = 0;
		ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base + at));
		EXPECT_EQ(~0u, value);
	}
	/* The control: behind the table is something else; none is pending. */
	ASSERT_EQ(4, pread(self->dev.fd, &value, 4, self->base +
			   variant->pending));
	EXPECT_EQ(0, value);
}

/* Reads across either end: the table's part hidden, the rest as it is. */
TEST_F(table, straddling_reads_hide_only_the_table)
{
	uint8_t beside[32], bytes[32];
	uint32_t start;
	int i;

	/* QEMU's PCI host of other machines has zeros where no register is. */
	if (IS_AARCH64)
		SKIP(return, "what is beside the table reads as ones, too");

	for (i = 0; i < (int)sizeof(beside); i++)
		ASSERT_EQ(1, pread(self->dev.fd, beside + i, 1,
				   self->base + self->end - 16 + i));
	EXPECT_TRUE(is_filled(beside, 0xff, 16));
	EXPECT_FALSE(is_filled(beside + 16, 0xff, 16));
	for (start = 0; start < 16; start++) {
		ASSERT_EQ(16, pread(self->dev.fd, bytes, 16, self->base +
				    self->end - 16 + start));
		EXPECT_EQ(0, memcmp(bytes, beside + start, 16));
	}

	if (!self->start)
		return;
	for (i = 0; i < (int)sizeof(beside); i++)
		ASSERT_EQ(1, pread(self->dev.fd, beside + i, 1,
				   self->base + self->start - 16 + i));
	EXPECT_FALSE(is_filled(beside, 0xff, 16));
	EXPECT_TRUE(is_filled(beside + 16, 0xff, 16));
	for (start = 0; start < 16; start++) {
		ASSERT_EQ(16, pread(self->dev.fd, bytes, 16, self->base +
				    self->start - 16 + start));
		EXPECT_EQ(0, memcmp(bytes, beside + start, 16));
	}
}

/* The table in use: what is written to it must not stop its interrupts. */

FIXTURE(working_table)
{
	struct device dev;
	struct nvme nvme;
	uint64_t base;
};

#define NVME_TABLE	0x2000
#define NVME_TABLE_SIZE	(65 * PCI_MSIX_ENTRY_SIZE)

FIXTURE_SETUP(working_table)
{
	struct vfio_region_info info;

	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, nvme_open(&self->nvme, self->dev.node));
	ASSERT_EQ(0, uvfio_region(self->nvme.device,
				  VFIO_PCI_BAR0_REGION_INDEX, &info));
	self->base = info.offset;
}

FIXTURE_TEARDOWN(working_table)
{
	nvme_close(&self->nvme);
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

TEST_F(working_table, cannot_be_written)
{
	static const uint8_t fills[] = { 0x00, 0xff, 0x5a };
	int fd = self->nvme.device, width;
	uint8_t bytes[NVME_TABLE_SIZE + 16];
	uint64_t at;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fills); i++) {
		memset(bytes, fills[i], sizeof(bytes));

		ASSERT_EQ(NVME_TABLE_SIZE, pwrite(fd, bytes, NVME_TABLE_SIZE,
						  self->base + NVME_TABLE));
		EXPECT_TRUE(read_interrupts(&self->nvme, 0));

		for (width = 1; width <= 8; width *= 2) {
			for (at = 0; at < 4 * PCI_MSIX_ENTRY_SIZE; at += width)
				ASSERT_EQ(width, pwrite(fd, bytes, width,
							self->base +
							NVME_TABLE + at));
		}
		EXPECT_TRUE(read_interrupts(&self->nvme, 0));

		/* Across the start, at every distance; below is reserved. */
		for (at = 1; at < 16; at++)
			ASSERT_EQ(32, pwrite(fd, bytes, 32, self->base +
					     NVME_TABLE - at));
		EXPECT_TRUE(read_interrupts(&self->nvme, 0));
		ASSERT_EQ(1, pread(fd, bytes, 1, self->base + NVME_TABLE));
		EXPECT_EQ(0xff, bytes[0]);
	}
}

/* A reset takes the mapping away and gives it back. */
TEST_F(working_table, mapping_survives_reset)
{
	uint32_t value = 0;
	char *cap = (void *)self->nvme.bar;

	ASSERT_EQ(0, uvfio_reset(self->nvme.device));
	ASSERT_FALSE(read_faults(cap + NVME_CC, &value));
	/* The reset did happen: the controller is disabled. */
	EXPECT_EQ(0, value & NVME_CC_EN);
}

TEST_HARNESS_MAIN
