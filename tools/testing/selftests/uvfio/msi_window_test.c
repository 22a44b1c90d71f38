// SPDX-License-Identifier: GPL-2.0
/*
 * The window of I/O addresses that interrupts are written to: on x86 what these
 * addresses mean, for an SMMU a part of each domain where the kernel maps the
 * interrupt controller's doorbell. It is no place for memory, memory on both
 * sides of it is memory, and interrupts pass whatever is mapped and unmapped.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dma.h"
#include "irq.h"
#include "monitor.h"
#include "test.h"

#define IOVA		0x100000ULL
#define FOUR_GIB	0x100000000ULL
#define SIDE		(16 * PAGE_SIZE)	/* of memory, on each side */
/* Enough to map all of the first 4 GiB, many times the same memory. */
#define LIMIT		(8ULL << 30)
#define BLOCK		(128 * MIB)
#define HUGE_ALIGN	(2 * MIB)

FIXTURE(window)
{
	struct probe probe;
	int event;
	char reserved[4096];	/* what the kernel says of the edu's group */
	uint8_t *memory;	/* two sides */
};

/* All lines of a file. */
static int read_lines(const char *path, char *text, size_t size)
{
	size_t len;
	FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	len = fread(text, 1, size - 1, file);
	text[len] = '\0';
	fclose(file);
	return 0;
}

FIXTURE_SETUP(window)
{
	char path[128];

	ASSERT_EQ(0, probe_prepare(&self->probe));
	ASSERT_EQ(0, monitor_open());
	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/iommu_group/reserved_regions",
		 self->probe.edu_dev.bdf);
	ASSERT_EQ(0, read_lines(path, self->reserved, sizeof(self->reserved)));
	ASSERT_EQ(0, drop_privileges_limited(TEST_UID, LIMIT));
	ASSERT_EQ(0, probe_start(&self->probe, IOVA));
	self->event = event_new();
	ASSERT_LE(0, self->event);
	self->memory = dma_alloc(2 * SIDE);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(window)
{
	probe_stop(&self->probe);
	dma_free(self->memory, 2 * SIDE);
}

static int arm_edu(struct probe *probe, int event)
{
	return irq_connect(probe->edu_dev.fd, VFIO_PCI_MSI_IRQ_INDEX, 0, event);
}

static bool edu_interrupts(struct probe *probe, int event)
{
	bool arrived;

	edu_write(&probe->edu, EDU_IRQ_RAISE, 1);
	arrived = event_wait(event, WAIT_MS);
	edu_write(&probe->edu, EDU_IRQ_ACK,
		  edu_read(&probe->edu, EDU_IRQ_STATUS));
	return arrived && !event_wait(event, 0);
}

/* What is read may be there before its interrupt is. */
static bool disk_interrupts(struct probe *probe)
{
	unsigned long long before = nvme_interrupts(&probe->disk);
	uint64_t end = now_ms() + WAIT_MS;

	if (nvme_read(&probe->disk, 0, 0))
		return false;
	while (nvme_interrupts(&probe->disk) == before) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

#define EXPECT_INTERRUPTS() \
	do { \
		EXPECT_TRUE(edu_interrupts(&self->probe, self->event)); \
		EXPECT_TRUE(disk_interrupts(&self->probe)); \
	} while (0)

static int map_sides(struct probe *probe, uint8_t *memory)
{
	int ret;

	ret = uvfio_dma_map(probe->domain, memory, SIDE, MSI_START - SIDE, RW);
	return ret ? ret : uvfio_dma_map(probe->domain, memory + SIDE, SIDE,
					 MSI_END, RW);
}

TEST_F(window, is_the_one_that_the_kernel_reserves)
{
	char line[64];

	snprintf(line, sizeof(line), "0x%016" PRIx64 " 0x%016" PRIx64 " msi\n",
		 (uint64_t)MSI_START, (uint64_t)MSI_END - 1);
	EXPECT_NE(NULL, strstr(self->reserved, line)) {
		TH_LOG("%s", self->reserved);
	}
}

TEST_F(window, is_in_none_of_the_domain)
{
	int fd = self->probe.domain;
	uint64_t at;

	EXPECT_TRUE(in_windows(fd, MSI_START - SIDE, SIDE));
	EXPECT_TRUE(in_windows(fd, MSI_END, SIDE));
	EXPECT_FALSE(in_windows(fd, MSI_START - PAGE_SIZE, 2 * PAGE_SIZE));
	EXPECT_FALSE(in_windows(fd, MSI_END - PAGE_SIZE, 2 * PAGE_SIZE));
	for (at = MSI_START; at < MSI_END; at += PAGE_SIZE)
		EXPECT_FALSE(in_windows(fd, at, PAGE_SIZE));
}

/* Every page of it, mapped or not mapped before an interrupt was set up. */
TEST_F(window, cannot_be_mapped)
{
	uint8_t *memory = self->memory;
	int fd = self->probe.domain, i;
	long pinned = vm_pin();
	uint64_t at;

	for (i = 0; i < 2; i++) {
		for (at = MSI_START; at < MSI_END; at += PAGE_SIZE)
			EXPECT_EQ(-EINVAL, uvfio_dma_map(fd, memory, PAGE_SIZE,
							 at, RW));
		EXPECT_EQ(-EINVAL, uvfio_dma_map(fd, memory, SIDE,
						 MSI_START - SIDE + PAGE_SIZE,
						 RW));
		EXPECT_EQ(-EINVAL, uvfio_dma_map(fd, memory, SIDE,
						 MSI_END - PAGE_SIZE, RW));
		EXPECT_EQ(pinned, vm_pin());
		ASSERT_EQ(0, arm_edu(&self->probe, self->event));
		EXPECT_INTERRUPTS();
	}
}

TEST_F(window, has_memory_on_both_sides)
{
	struct probe *probe = &self->probe;
	uint64_t off;

	EXPECT_EQ(0, probe_reach(probe, MSI_START - PAGE_SIZE, self->memory));
	EXPECT_EQ(0, probe_reach(probe, MSI_END, self->memory));
	ASSERT_EQ(0, map_sides(probe, self->memory));
	for (off = 0; off < SIDE; off += SIDE - PAGE_SIZE) {
		EXPECT_EQ(RW, probe_reach(probe, MSI_START - SIDE + off,
					  self->memory + off));
		EXPECT_EQ(RW, probe_reach(probe, MSI_END + off,
					  self->memory + SIDE + off));
	}
}

static unsigned int capability(struct device *dev, unsigned int id)
{
	unsigned int at = raw_read16(dev, PCI_CAPABILITY_LIST) & 0xfc;

	while (at && (raw_read16(dev, at) & 0xff) != id)
		at = raw_read16(dev, at) >> 8 & 0xfc;
	return at;
}

TEST_F(window, takes_the_messages)
{
	struct device *dev = &self->probe.edu_dev;
	unsigned int cap = capability(dev, PCI_CAP_ID_MSI);
	uint64_t address;

	ASSERT_NE(0, cap);
	ASSERT_EQ(0, arm_edu(&self->probe, self->event));
	address = raw_read32(dev, cap + PCI_MSI_ADDRESS_LO) |
		  (uint64_t)raw_read32(dev, cap + PCI_MSI_ADDRESS_HI) << 32;
	EXPECT_LE(MSI_START, address);
	EXPECT_GT(MSI_END, address);
	EXPECT_INTERRUPTS();
}

TEST_F(window, interrupts_are_no_dma)
{
	int i;

	memset(self->memory, 0xa5, 2 * SIDE);
	ASSERT_EQ(0, map_sides(&self->probe, self->memory));
	ASSERT_EQ(0, arm_edu(&self->probe, self->event));
	for (i = 0; i < 10; i++)
		EXPECT_INTERRUPTS();
	EXPECT_TRUE(is_filled(self->memory, 0xa5, 2 * SIDE));
	/* The control: in that memory a DMA would have been seen. */
	EXPECT_EQ(RW, probe_reach(&self->probe, MSI_END, self->memory + SIDE));
}

/* To the kernel the doorbell is a mapping; to the user it is not there. */
TEST_F(window, stays_when_everything_is_unmapped)
{
	struct probe *probe = &self->probe;

	ASSERT_EQ(0, arm_edu(probe, self->event));
	EXPECT_INTERRUPTS();
	ASSERT_EQ(0, map_sides(probe, self->memory));
	EXPECT_EQ((int64_t)(2 * SIDE),
		  uvfio_dma_unmap(probe->domain, MSI_START - SIDE,
				  MSI_END - MSI_START + 2 * SIDE));
	EXPECT_INTERRUPTS();
	EXPECT_EQ(0, uvfio_dma_unmap(probe->domain, MSI_START,
				     MSI_END - MSI_START));
	EXPECT_INTERRUPTS();
	/* The controller's queues go with it, so its interrupts do, too. */
	EXPECT_LT(0, unmap_all(probe->domain, 0, 0));
	EXPECT_TRUE(edu_interrupts(probe, self->event));
}

/* Each domain has its own, from the first attach on. */
TEST_F(window, is_there_in_every_domain)
{
	struct probe *probe = &self->probe;
	int i, domain;

	for (i = 0; i < 4; i++) {
		edu_stop(&probe->edu);
		ASSERT_EQ(0, uvfio_detach(probe->edu_dev.fd));
		domain = i % 2 ? probe->domain : uvfio_domain_open();
		ASSERT_EQ(0, uvfio_attach(probe->edu_dev.fd, domain));
		ASSERT_EQ(0, edu_start(&probe->edu, probe->edu_dev.fd));
		EXPECT_EQ(-EINVAL, uvfio_dma_map(domain, self->memory,
						 PAGE_SIZE, MSI_START, RW));
		ASSERT_EQ(0, arm_edu(probe, self->event));
		EXPECT_INTERRUPTS();
		EXPECT_EQ(-EINVAL, uvfio_dma_map(domain, self->memory,
						 PAGE_SIZE, MSI_START, RW));
		if (domain != probe->domain)
			close(domain);
	}
}

/* What devices can use of the first 4 GiB. */
static uint64_t usable_below_4g(int fd)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_info info;
	uint64_t sum = 0, end;
	unsigned int i;

	cap = iommu_cap(fd, UVFIO_IOMMU_GET_INFO, &info,
			VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	for (i = 0; cap && i < cap->nr_iovas; i++) {
		end = cap->iova_ranges[i].end;
		if (end >= FOUR_GIB)
			end = FOUR_GIB - 1;
		if (cap->iova_ranges[i].start < end)
			sum += end - cap->iova_ranges[i].start + 1;
	}
	return sum;
}

/* Until there is no page left below 4 GiB, but for the first, which is none. */
TEST_F(window, is_never_picked)
{
	uint8_t *room = mmap(NULL, BLOCK + HUGE_ALIGN, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *memory = (void *)(((uintptr_t)room + HUGE_ALIGN - 1) &
				   -HUGE_ALIGN);
	uint64_t used = vm_pin() * 1024ULL, picked = 0, iova;
	int fd = self->probe.domain, ret;
	size_t size;

	ASSERT_NE(MAP_FAILED, (void *)room);
	madvise(memory, BLOCK, MADV_HUGEPAGE);
	for (size = BLOCK; size >= PAGE_SIZE; size /= 2) {
		while (!(ret = uvfio_dma_map_anywhere(fd, memory, size,
						      RW | UVFIO_DMA_MAP_BELOW_4G,
						      &iova))) {
			picked += size;
			EXPECT_NE(0, iova);
			EXPECT_GE(FOUR_GIB, iova + size);
			EXPECT_TRUE(iova >= MSI_END || iova + size <= MSI_START);
		}
		ASSERT_EQ(-ENOSPC, ret);
	}
	EXPECT_EQ(usable_below_4g(fd), used + picked + PAGE_SIZE);
	ASSERT_EQ(0, arm_edu(&self->probe, self->event));
	EXPECT_INTERRUPTS();
	unmap_all(fd, 0, 0);
	munmap(room, BLOCK + HUGE_ALIGN);
}

TEST_HARNESS_MAIN
