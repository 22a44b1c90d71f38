// SPDX-License-Identifier: GPL-2.0
/*
 * DMA: devices reach the memory that was mapped for them, in the direction it
 * was mapped for, and nothing else; who may share a domain; what mapping costs
 * and that everything is given back. The edu device's DMA engine is the probe:
 * what must not happen is always shown beside the same thing happening.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "dma.h"
#include "edu.h"
#include "test.h"

#define IOVA		0x100000ULL
#define IOVA2		0x300000ULL
#define PAGES		16
#define BYTES		EDU_BUFFER_SIZE

#define LIMIT_PARAM	"/sys/module/uvfio/parameters/dma_entry_limit"

FIXTURE(dma)
{
	struct device dev;
	struct edu edu;
	int fd;
	uint8_t *memory;	/* PAGES pages */
	long pinned;		/* kB, before the test */
	int kmsg;
};

FIXTURE_SETUP(dma)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, edu_start(&self->edu, self->fd));
	self->memory = dma_alloc(PAGES * PAGE_SIZE);
	ASSERT_NE(NULL, self->memory);
	self->pinned = vm_pin();
}

FIXTURE_TEARDOWN(dma)
{
	edu_stop(&self->edu);
	device_close(&self->dev);
	EXPECT_EQ(self->pinned, vm_pin());
	dma_free(self->memory, PAGES * PAGE_SIZE);
}

/* The device writes @byte to @iova; whether it arrived is for the caller. */
static int store_byte(struct edu *edu, uint64_t scratch_iova, void *scratch,
		      uint64_t iova, int byte)
{
	int ret;

	ret = edu_fill(edu, scratch_iova, scratch, byte);
	if (ret)
		return ret;
	return edu_store(edu, iova, 0, BYTES);
}

TEST_F(dma, goes_both_ways)
{
	uint8_t *page;
	int i;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGES * PAGE_SIZE,
				   IOVA, RW));
	EXPECT_EQ(self->pinned + PAGES * 4, vm_pin());

	/* From each page into the device, and from there to the next one. */
	memset(self->memory, 0xee, PAGES * PAGE_SIZE);
	for (i = 0; i < PAGES - 1; i++) {
		page = self->memory + i * PAGE_SIZE;
		memset(page, i, PAGE_SIZE);
		ASSERT_EQ(0, edu_load(&self->edu, IOVA + i * PAGE_SIZE, 0,
				      BYTES));
		ASSERT_EQ(0, edu_store(&self->edu, IOVA + (i + 1) * PAGE_SIZE,
				       0, BYTES));
		EXPECT_TRUE(is_filled(page + PAGE_SIZE, i, BYTES));
		EXPECT_TRUE(is_filled(page + PAGE_SIZE + BYTES, 0xee,
				      PAGE_SIZE - BYTES));
	}
	EXPECT_EQ(PAGES * PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA,
						     PAGES * PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* A transfer that crosses from one mapping into another. */
TEST_F(dma, crosses_mappings)
{
	uint8_t *a = self->memory, *b = self->memory + 8 * PAGE_SIZE;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, a, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, b, PAGE_SIZE, IOVA + PAGE_SIZE,
				   RW));
	ASSERT_EQ(0, edu_fill(&self->edu, IOVA, a, 0x42));
	memset(a, 0, PAGE_SIZE);
	memset(b, 0, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA + PAGE_SIZE - BYTES / 2, 0,
			       BYTES));
	EXPECT_TRUE(is_filled(a, 0, PAGE_SIZE - BYTES / 2));
	EXPECT_TRUE(is_filled(a + PAGE_SIZE - BYTES / 2, 0x42, BYTES / 2));
	EXPECT_TRUE(is_filled(b, 0x42, BYTES / 2));
	EXPECT_TRUE(is_filled(b + BYTES / 2, 0, PAGE_SIZE - BYTES / 2));
}

TEST_F(dma, does_not_reach_what_is_unmapped)
{
	uint8_t *kept = self->memory, *gone = self->memory + PAGE_SIZE;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, kept, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, gone, PAGE_SIZE, IOVA2, RW));
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, kept, IOVA2, 0x11));
	EXPECT_TRUE(is_filled(gone, 0x11, BYTES));

	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA2, PAGE_SIZE));
	memset(gone, 0x77, PAGE_SIZE);
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, kept, IOVA2, 0x22));
	/* The other page's transfer is done long after: it came to an end. */
	memset(kept, 0, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(kept, 0x22, BYTES));
	EXPECT_TRUE(is_filled(gone, 0x77, PAGE_SIZE));

	/* Nor can it be read: the device gets nothing of it. */
	ASSERT_EQ(0, edu_load(&self->edu, IOVA2, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_FALSE(is_filled(kept, 0x77, 1));
	EXPECT_EQ(NULL, memchr(kept, 0x77, BYTES));

	/* Mapped again, it is as before. */
	ASSERT_EQ(0, uvfio_dma_map(self->fd, gone, PAGE_SIZE, IOVA2, RW));
	ASSERT_EQ(0, edu_load(&self->edu, IOVA2, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(kept, 0x77, BYTES));
}

/* The pages beside a mapping, and where nothing ever was. */
TEST_F(dma, does_not_reach_beyond_a_mapping)
{
	uint8_t *page = self->memory + PAGE_SIZE;

	memset(self->memory, 0x33, 3 * PAGE_SIZE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, page, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, page, IOVA - PAGE_SIZE,
				0x44));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA + PAGE_SIZE, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, 0, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, EDU_IOVA_LIMIT - PAGE_SIZE, 0,
			       BYTES));
	memset(page, 0, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(page, 0x44, BYTES));
	EXPECT_TRUE(is_filled(self->memory, 0x33, PAGE_SIZE));
	EXPECT_TRUE(is_filled(page + PAGE_SIZE, 0x33, PAGE_SIZE));
}

TEST_F(dma, respects_the_direction)
{
	uint8_t *rw = self->memory, *ro = rw + PAGE_SIZE;
	uint8_t *wo = ro + PAGE_SIZE;
	uint64_t ro_iova = IOVA2, wo_iova = IOVA2 + PAGE_SIZE;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, rw, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, ro, PAGE_SIZE, ro_iova,
				   VFIO_DMA_MAP_FLAG_READ));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, wo, PAGE_SIZE, wo_iova,
				   VFIO_DMA_MAP_FLAG_WRITE));

	memset(ro, 0x55, PAGE_SIZE);
	memset(wo, 0x66, PAGE_SIZE);
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, rw, ro_iova, 0x12));
	EXPECT_TRUE(is_filled(ro, 0x55, PAGE_SIZE));
	ASSERT_EQ(0, edu_load(&self->edu, ro_iova, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(rw, 0x55, BYTES));

	/* That it is not read from is more than Intel's IOMMU driver gives. */
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, rw, wo_iova, 0x13));
	EXPECT_TRUE(is_filled(wo, 0x13, BYTES));
	EXPECT_TRUE(is_filled(wo + BYTES, 0x66, PAGE_SIZE - BYTES));
}

/* Whether the device reads from @page what the process writes there. */
static bool device_sees(struct edu *edu, uint8_t *scratch,
			uint64_t scratch_iova, uint8_t *page, uint64_t iova,
			int byte)
{
	memset(page, byte, PAGE_SIZE);
	if (edu_load(edu, iova, 0, BYTES) ||
	    edu_store(edu, scratch_iova, 0, BYTES))
		return false;
	return is_filled(scratch, byte, BYTES);
}

/*
 * Memory that is not there yet, or not the process's own yet, must become so
 * when it is mapped for reading: else the device keeps the page that is left
 * behind by the first write.
 */
TEST_F(dma, sees_later_writes_to_fresh_memory)
{
	uint8_t *untouched, *zero, *private;
	int file;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, IOVA,
				   RW));

	untouched = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, untouched);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, untouched, PAGE_SIZE, IOVA2,
				   VFIO_DMA_MAP_FLAG_READ));
	EXPECT_TRUE(device_sees(&self->edu, self->memory, IOVA, untouched,
				IOVA2, 0x21));

	/* Only read so far: the zero page of all processes. */
	zero = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, zero);
	EXPECT_TRUE(is_filled(zero, 0, PAGE_SIZE));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, zero, PAGE_SIZE,
				   IOVA2 + PAGE_SIZE, VFIO_DMA_MAP_FLAG_READ));
	EXPECT_TRUE(device_sees(&self->edu, self->memory, IOVA, zero,
				IOVA2 + PAGE_SIZE, 0x22));

	/* Only read so far: a page of the file. */
	file = memfd_create("file", MFD_CLOEXEC);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, PAGE_SIZE));
	private = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		       file, 0);
	ASSERT_NE(MAP_FAILED, private);
	EXPECT_TRUE(is_filled(private, 0, PAGE_SIZE));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, private, PAGE_SIZE,
				   IOVA2 + 2 * PAGE_SIZE,
				   VFIO_DMA_MAP_FLAG_READ));
	EXPECT_TRUE(device_sees(&self->edu, self->memory, IOVA, private,
				IOVA2 + 2 * PAGE_SIZE, 0x23));
}

TEST_F(dma, reaches_shared_memory)
{
	int file = memfd_create("file", MFD_CLOEXEC);
	uint8_t *a, *b;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, PAGE_SIZE));
	a = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, a);
	b = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, b);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, IOVA,
				   RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, a, PAGE_SIZE, IOVA2, RW));
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, self->memory, IOVA2, 0x31));
	EXPECT_TRUE(is_filled(b, 0x31, BYTES));

	/* A view that can only be read can be mapped for that. */
	ASSERT_EQ(0, uvfio_dma_map(self->fd, b, PAGE_SIZE, IOVA2 + PAGE_SIZE,
				   VFIO_DMA_MAP_FLAG_READ));
	memset(a, 0x32, PAGE_SIZE);
	ASSERT_EQ(0, edu_load(&self->edu, IOVA2 + PAGE_SIZE, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(self->memory, 0x32, BYTES));
	close(file);
}

/* A pinned page stays the parent's; a child gets a copy of it. */
TEST_F(dma, survives_fork)
{
	uint8_t *page = self->memory + PAGE_SIZE;
	int go[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, IOVA,
				   RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, page, PAGE_SIZE, IOVA2, RW));
	memset(page, 0x41, PAGE_SIZE);
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) == 1 &&
		      is_filled(page, 0x41, PAGE_SIZE) ? 0 : 1);
	}
	EXPECT_TRUE(device_sees(&self->edu, self->memory, IOVA, page, IOVA2,
				0x42));
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, self->memory, IOVA2, 0x43));
	EXPECT_TRUE(is_filled(page, 0x43, BYTES));
	EXPECT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(dma, large_mappings_are_complete)
{
	const size_t size = 4 << 20;
	uint8_t *memory = dma_alloc(size + (2 << 20));
	uint64_t offset;
	uint8_t *start;

	/* So that it may come in pages of 2 MiB, too. */
	ASSERT_NE(NULL, memory);
	start = memory + (-(uintptr_t)memory & ((2 << 20) - 1));
	madvise(start, size, MADV_HUGEPAGE);
	memset(start, 0, size);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, IOVA,
				   RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, start, size, 0x1000000, RW));
	EXPECT_EQ(self->pinned + 4 + (4 << 10), vm_pin());
	for (offset = 0; offset < size; offset += size / 8 - PAGE_SIZE) {
		ASSERT_EQ(0, store_byte(&self->edu, IOVA, self->memory,
					0x1000000 + offset,
					1 + (int)(offset >> 12)));
		EXPECT_TRUE(is_filled(start + offset, 1 + (int)(offset >> 12),
				      BYTES));
	}
	EXPECT_EQ((int64_t)size, uvfio_dma_unmap(self->fd, 0x1000000, size));
	EXPECT_EQ(self->pinned + 4, vm_pin());
	dma_free(memory, size + (2 << 20));
}

/* Mapping: what is refused, and that a refusal leaves nothing behind. */

TEST_F(dma, overlap_is_refused)
{
	static const struct {
		int start;	/* in pages, from the mapping's */
		int pages;
	} bad[] = {
		{ 0, 4 }, { 0, 1 }, { 3, 1 }, { 1, 2 }, { -1, 2 }, { 3, 2 },
		{ -1, 6 }, { -1, 8 },
	}, good[] = {
		{ -1, 1 }, { 4, 1 },
	};
	unsigned int i;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, 4 * PAGE_SIZE, IOVA,
				   RW));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, self->memory,
						 bad[i].pages * PAGE_SIZE,
						 IOVA + bad[i].start *
						 (int)PAGE_SIZE, RW)) {
			TH_LOG("case %u", i);
		}
		EXPECT_EQ(self->pinned + 16, vm_pin());
	}
	/* It is none the worse for it. */
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, self->memory,
				IOVA + 3 * PAGE_SIZE, 0x51));
	EXPECT_TRUE(is_filled(self->memory + 3 * PAGE_SIZE, 0x51, BYTES));
	for (i = 0; i < ARRAY_SIZE(good); i++)
		EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory,
					   good[i].pages * PAGE_SIZE,
					   IOVA + good[i].start *
					   (int)PAGE_SIZE, RW));
	EXPECT_EQ(self->pinned + 24, vm_pin());
}

/* All of them -EINVAL; the struct itself, for sizes beyond a size_t. */
TEST_F(dma, malformed_mapping_is_refused)
{
	const uint64_t vaddr = (uintptr_t)self->memory, page = PAGE_SIZE;
	const struct {
		uint64_t vaddr;
		uint64_t iova;
		uint64_t size;
		uint32_t flags;
	} bad[] = {
		{ vaddr, IOVA, PAGE_SIZE, 0 },
		{ vaddr, IOVA, 0, RW },
		{ vaddr + 1, IOVA, PAGE_SIZE, RW },
		{ vaddr + 512, IOVA, PAGE_SIZE, RW },
		{ vaddr, IOVA + 1, PAGE_SIZE, RW },
		{ vaddr, IOVA + 2048, PAGE_SIZE, RW },
		{ vaddr, IOVA, PAGE_SIZE - 1, RW },
		{ vaddr, IOVA, PAGE_SIZE + 1, RW },
		{ vaddr, IOVA, 1, RW },
		/* wraps */
		{ vaddr, -page, 2 * page, RW },
		{ vaddr, page, -page, RW },
		{ -page, IOVA, 2 * page, RW },
		{ vaddr, IOVA, -page, RW },
		/* more address bits than there are */
		{ vaddr, 1ULL << 60, PAGE_SIZE, RW },
		{ vaddr, -page, page, RW },
		/* the doorbell of interrupts: in it, around it, across */
		{ vaddr, MSI_START, PAGE_SIZE, RW },
		{ vaddr, MSI_START, PAGE_SIZE, VFIO_DMA_MAP_FLAG_READ },
		{ vaddr, MSI_END - PAGE_SIZE, PAGE_SIZE, RW },
		{ vaddr, MSI_START + 0x80000, PAGE_SIZE, RW },
		{ vaddr, MSI_START - PAGE_SIZE, 2 * PAGE_SIZE, RW },
		{ vaddr, MSI_END - PAGE_SIZE, 2 * PAGE_SIZE, RW },
		{ vaddr, MSI_START - PAGE_SIZE,
		  MSI_END - MSI_START + 2 * PAGE_SIZE, RW },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vfio_iommu_type1_dma_map map = {
			.argsz = sizeof(map),
			.flags = bad[i].flags,
			.vaddr = bad[i].vaddr,
			.iova = bad[i].iova,
			.size = bad[i].size,
		};

		errno = 0;
		EXPECT_EQ(-1, ioctl(self->fd, UVFIO_MAP_DMA, &map)) {
			TH_LOG("case %u", i);
		}
		EXPECT_EQ(EINVAL, errno) {
			TH_LOG("case %u", i);
		}
		EXPECT_EQ(self->pinned, vm_pin());
	}
	/* The controls: right beside what was refused. */
	EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
				   MSI_START - PAGE_SIZE, RW));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, MSI_END,
				   RW));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, 0, RW));
	/* Above 4 GiB: nothing is cut off on the way. */
	EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
				   0x100000000ULL, RW));
	EXPECT_EQ(self->pinned + 16, vm_pin());
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, 0x100000000ULL,
					     PAGE_SIZE));
}

TEST_F(dma, bad_memory_is_refused)
{
	uint8_t *hole = dma_alloc(8 * PAGE_SIZE);
	uint8_t *ro = dma_alloc(PAGE_SIZE);

	ASSERT_NE(NULL, hole);
	ASSERT_NE(NULL, ro);
	ASSERT_EQ(0, munmap(hole + 7 * PAGE_SIZE, PAGE_SIZE));
	ASSERT_EQ(0, mprotect(hole + 6 * PAGE_SIZE, PAGE_SIZE, PROT_NONE));
	ASSERT_EQ(0, mprotect(ro, PAGE_SIZE, PROT_READ));

	/* Pages before the bad one were pinned: they are not any more. */
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, hole, 8 * PAGE_SIZE, IOVA,
					 RW));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, hole, 7 * PAGE_SIZE, IOVA,
					 VFIO_DMA_MAP_FLAG_READ));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, hole + 7 * PAGE_SIZE,
					 PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, NULL, PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, ro, PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, ro, PAGE_SIZE, IOVA,
					 VFIO_DMA_MAP_FLAG_WRITE));
	/* Memory of the kernel. */
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, (void *)-PAGE_SIZE,
					 PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(self->pinned, vm_pin());

	/* The IOVA is free again, and what may be read can be mapped so. */
	EXPECT_EQ(0, uvfio_dma_map(self->fd, hole, 6 * PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, ro, PAGE_SIZE, IOVA2,
				   VFIO_DMA_MAP_FLAG_READ));
}

/* Unmapping. */

TEST_F(dma, unmap_takes_all_in_a_range)
{
	int i;

	/* Every other page, sixteen mappings. */
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory +
					   i * PAGE_SIZE, PAGE_SIZE,
					   IOVA + 2 * i * PAGE_SIZE, RW));
	/* Nothing there: no error, and nothing done. */
	EXPECT_EQ(0, uvfio_dma_unmap(self->fd, IOVA + PAGE_SIZE, PAGE_SIZE));
	EXPECT_EQ(0, uvfio_dma_unmap(self->fd, IOVA2, 16 << 20));
	EXPECT_EQ(self->pinned + 64, vm_pin());

	/* From hole to hole: mappings 2 to 5. */
	EXPECT_EQ(4 * PAGE_SIZE, uvfio_dma_unmap(self->fd,
						 IOVA + 3 * PAGE_SIZE,
						 8 * PAGE_SIZE));
	EXPECT_EQ(self->pinned + 48, vm_pin());
	EXPECT_EQ(0, uvfio_dma_unmap(self->fd, IOVA + 3 * PAGE_SIZE,
				     8 * PAGE_SIZE));

	/* 0, 1 and 6 are still there, 5 is not. */
	memset(self->memory, 0x71, PAGES * PAGE_SIZE);
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, self->memory,
				IOVA + 12 * PAGE_SIZE, 0x72));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA + 2 * PAGE_SIZE, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA + 10 * PAGE_SIZE, 0, BYTES));
	EXPECT_TRUE(is_filled(self->memory + 6 * PAGE_SIZE, 0x72, BYTES));
	EXPECT_TRUE(is_filled(self->memory + PAGE_SIZE, 0x72, BYTES));
	EXPECT_TRUE(is_filled(self->memory + 5 * PAGE_SIZE, 0x71, PAGE_SIZE));
}

TEST_F(dma, unmap_all_takes_all)
{
	/* None: as with any empty range. */
	EXPECT_EQ(0, unmap_all(self->fd, 0, 0));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, 0, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, 8 * PAGE_SIZE, IOVA,
				   RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
				   1ULL << 35, RW));
	EXPECT_EQ(-EINVAL, unmap_all(self->fd, IOVA, 0));
	EXPECT_EQ(-EINVAL, unmap_all(self->fd, 0, PAGE_SIZE));
	EXPECT_EQ(self->pinned + 40, vm_pin());
	EXPECT_EQ(10 * PAGE_SIZE, unmap_all(self->fd, 0, 0));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(0, unmap_all(self->fd, 0, 0));

	memset(self->memory, 0x81, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(self->memory, 0x81, PAGE_SIZE));
}

TEST_F(dma, malformed_unmap_is_refused)
{
	static const struct {
		uint64_t iova;
		uint64_t size;
	} bad[] = {
		{ IOVA, 0 }, { IOVA + 1, PAGE_SIZE }, { IOVA, PAGE_SIZE - 1 },
		{ IOVA, PAGE_SIZE + 1 }, { 0, 1 },
		{ -(uint64_t)PAGE_SIZE, 2 * PAGE_SIZE },
		{ PAGE_SIZE, -(uint64_t)PAGE_SIZE + 1 },
		{ 2 * PAGE_SIZE, -(uint64_t)PAGE_SIZE },
	};
	unsigned int i;

	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, IOVA,
				   RW));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vfio_iommu_type1_dma_unmap unmap = {
			.argsz = sizeof(unmap),
			.iova = bad[i].iova,
			.size = bad[i].size,
		};

		errno = 0;
		EXPECT_EQ(-1, ioctl(self->fd, UVFIO_UNMAP_DMA, &unmap)) {
			TH_LOG("case %u", i);
		}
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(bad[i].size, unmap.size);
	}
	EXPECT_EQ(self->pinned + 4, vm_pin());
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA, PAGE_SIZE));
}

/* What it costs. */

TEST_F(dma, memlock_limits_what_is_pinned)
{
	struct rlimit limit = { 16 * PAGE_SIZE, MEMLOCK_BYTES };
	uint8_t *memory = dma_alloc(17 * PAGE_SIZE);

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_EQ(0, self->pinned);

	EXPECT_EQ(-ENOMEM, uvfio_dma_map(self->fd, memory, 17 * PAGE_SIZE,
					 IOVA, RW));
	EXPECT_EQ(0, vm_pin());
	EXPECT_TRUE(kmsg_has(self->kmsg, "uvfio", "RLIMIT_MEMLOCK"));
	/* To the last page, and the IOVA range is not taken. */
	EXPECT_EQ(0, uvfio_dma_map(self->fd, memory, 16 * PAGE_SIZE, IOVA,
				   RW));
	EXPECT_EQ(64, vm_pin());
	EXPECT_EQ(-ENOMEM, uvfio_dma_map(self->fd, memory, PAGE_SIZE, IOVA2,
					 RW));
	EXPECT_EQ(64, vm_pin());
	/* The same page again is pinned again, so it counts again. */
	EXPECT_EQ(16 * PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA,
						  16 * PAGE_SIZE));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, memory, 8 * PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, memory, 8 * PAGE_SIZE, IOVA2,
				   RW));
	EXPECT_EQ(-ENOMEM, uvfio_dma_map(self->fd, memory, PAGE_SIZE, 0, RW));

	/* What is locked in memory counts against the same limit. */
	EXPECT_EQ(8 * PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA2,
						 8 * PAGE_SIZE));
	ASSERT_EQ(0, mlock(memory, 4 * PAGE_SIZE));
	EXPECT_EQ(-ENOMEM, uvfio_dma_map(self->fd, memory, 8 * PAGE_SIZE,
					 IOVA2, RW));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, memory, 4 * PAGE_SIZE, IOVA2,
				   RW));
	EXPECT_EQ(48, vm_pin());
	munlock(memory, 4 * PAGE_SIZE);
	unmap_all(self->fd, 0, 0);
	dma_free(memory, 17 * PAGE_SIZE);
}

/* Map and unmap a page at ever new places; how many until -ENOMEM. */
static int use_up_tables(int fd, void *page, uint64_t first)
{
	int i, ret;

	for (i = 0; i < 1000; i++) {
		ret = uvfio_dma_map(fd, page, PAGE_SIZE,
				    first + i * (2ULL << 20), RW);
		if (ret == -ENOMEM)
			return i;
		if (ret || uvfio_dma_unmap(fd, first + i * (2ULL << 20),
					   PAGE_SIZE) != PAGE_SIZE)
			break;
	}
	return -1;
}

/*
 * Page tables stay when their mappings go, so they are paid for on their own: a
 * page for 2 MiB of IOVA, once, and one for the root of each domain that has or
 * had a device, until the domain ends.
 */
TEST_F(dma, memlock_limits_page_tables)
{
	struct rlimit limit = { 16 * PAGE_SIZE, MEMLOCK_BYTES };
	const uint64_t far = 1ULL << 32;
	int i;

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(15, use_up_tables(self->fd, self->memory, far));
		EXPECT_EQ(self->pinned, vm_pin());
		/* Where there has been a mapping there can be one again. */
		EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					   far + 5 * (2 << 20) + PAGE_SIZE,
					   RW));
		EXPECT_EQ(0, use_up_tables(self->fd, self->memory, 2 * far));
		/* A new domain starts with none. */
		ASSERT_EQ(0, uvfio_detach(self->fd));
		ASSERT_EQ(0, uvfio_attach(self->fd, -1));
	}

	/* Without a page for the root there is no domain. */
	ASSERT_EQ(0, uvfio_detach(self->fd));
	limit.rlim_cur = PAGE_SIZE - 1;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	EXPECT_EQ(-ENOMEM, uvfio_attach(self->fd, -1));
	EXPECT_EQ(-EUNATCH, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					  IOVA, RW));
	limit.rlim_cur = PAGE_SIZE;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	EXPECT_EQ(0, uvfio_attach(self->fd, -1));
	EXPECT_EQ(0, use_up_tables(self->fd, self->memory, IOVA));
}

/* With what a login has, 8 MiB, to the byte; no more than once over. */
TEST_F(dma, memlock_default_is_usable)
{
	uint8_t *memory = dma_alloc(MEMLOCK_BYTES);
	int i;

	ASSERT_NE(NULL, memory);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, uvfio_dma_map(self->fd, memory, MEMLOCK_BYTES,
					   IOVA, RW));
		EXPECT_EQ((long)(MEMLOCK_BYTES >> 10), vm_pin());
		EXPECT_EQ(-ENOMEM, uvfio_dma_map(self->fd, memory, PAGE_SIZE,
						 0, RW));
		ASSERT_EQ((int64_t)MEMLOCK_BYTES,
			  uvfio_dma_unmap(self->fd, IOVA, MEMLOCK_BYTES));
		EXPECT_EQ(0, vm_pin());
	}
	dma_free(memory, MEMLOCK_BYTES);
}

TEST_F(dma, detach_and_close_give_everything_back)
{
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGES * PAGE_SIZE,
				   IOVA, RW));
	EXPECT_EQ(self->pinned + 64, vm_pin());
	ASSERT_EQ(0, uvfio_detach(self->fd));
	EXPECT_EQ(self->pinned, vm_pin());

	ASSERT_EQ(0, uvfio_attach(self->fd, -1));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGES * PAGE_SIZE,
				   IOVA, RW));
	EXPECT_EQ(self->pinned + 64, vm_pin());
	edu_stop(&self->edu);
	device_close(&self->dev);
	EXPECT_EQ(self->pinned, vm_pin());
}

/* Who mapped it may be gone when it is unmapped. */
TEST_F(dma, mapping_of_a_dead_process_can_be_unmapped)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(4 * PAGE_SIZE);

		_exit(uvfio_dma_map(self->fd, memory, 4 * PAGE_SIZE, IOVA, RW) ?
		      1 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(4 * PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA,
						 4 * PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, IOVA,
				   RW));
}

/* What GET_INFO says. */

/* The last byte of the last window, 0 if there is none. */
static uint64_t top_of_windows(int fd)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_info info;

	cap = iommu_cap(fd, UVFIO_IOMMU_GET_INFO, &info,
			VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	return cap ? cap->iova_ranges[cap->nr_iovas - 1].end : 0;
}

/*
 * Some kernels only tell how wide an IOMMU translates when it has refused a
 * mapping; the top is lower then, and that is what is told from then on.
 */
TEST_F(dma, top_of_the_windows_is_found)
{
	uint64_t top = top_of_windows(self->fd), page;
	int tries, ret;

	/* 39 bits at least: less would be no use with a 64-bit device. */
	for (tries = 0; tries < 5; tries++) {
		ASSERT_LT(1ULL << 38, top);
		page = top - PAGE_SIZE + 1;
		ret = uvfio_dma_map(self->fd, self->memory, PAGE_SIZE, page,
				    RW);
		if (!ret)
			break;
		ASSERT_EQ(-EINVAL, ret);
		EXPECT_EQ(self->pinned, vm_pin());
		ASSERT_GT(top, top_of_windows(self->fd));
		top = top_of_windows(self->fd);
	}
	EXPECT_EQ(0, ret);
	EXPECT_EQ(-EINVAL, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					 top + 1, RW));
	EXPECT_EQ(top, top_of_windows(self->fd));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, page, PAGE_SIZE));
}

TEST_F(dma, windows_are_what_can_be_mapped)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_info info;
	bool hole = false;
	uint64_t start, end;
	unsigned int i;

	cap = iommu_cap(self->fd, UVFIO_IOMMU_GET_INFO, &info,
			VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	ASSERT_LT(0, cap->nr_iovas);
	for (i = 0; i < cap->nr_iovas; i++) {
		/* Both inclusive. */
		start = cap->iova_ranges[i].start;
		end = cap->iova_ranges[i].end;
		EXPECT_LT(start, end);
		EXPECT_EQ(0, start % PAGE_SIZE);
		EXPECT_EQ(PAGE_SIZE - 1, end % PAGE_SIZE);
		EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					   start, RW));
		EXPECT_EQ(-EINVAL, uvfio_dma_map(self->fd, self->memory,
						 PAGE_SIZE, end + 1, RW));
		/* For the top, see above. */
		if (i < cap->nr_iovas - 1)
			EXPECT_EQ(0, uvfio_dma_map(self->fd, self->memory,
						   PAGE_SIZE,
						   end - PAGE_SIZE + 1, RW));
		if (i) {
			EXPECT_LT(cap->iova_ranges[i - 1].end, start);
			EXPECT_EQ(-EINVAL, uvfio_dma_map(self->fd,
							 self->memory,
							 PAGE_SIZE,
							 start - PAGE_SIZE,
							 RW));
		}
		if (start == MSI_END)
			hole = true;
	}
	EXPECT_TRUE(hole);
}

TEST_F(dma, mappings_left_are_counted)
{
	long left = maps_left(self->fd);
	int i;

	EXPECT_EQ(65535, left);
	for (i = 0; i < PAGES; i++) {
		ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					   IOVA + i * PAGE_SIZE, RW));
		EXPECT_EQ(left - i - 1, maps_left(self->fd));
	}
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					 IOVA, RW));
	EXPECT_EQ(left - PAGES, maps_left(self->fd));
	EXPECT_EQ(4 * PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA,
						 4 * PAGE_SIZE));
	EXPECT_EQ(left - PAGES + 4, maps_left(self->fd));
	unmap_all(self->fd, 0, 0);
	EXPECT_EQ(left, maps_left(self->fd));
}

TEST_F(dma, information_needs_room_for_capabilities)
{
	struct iommu_info info;
	uint32_t need;

	memset(&info, 0, sizeof(info));
	info.info.argsz = 20;
	ASSERT_EQ(0, ioctl(self->fd, UVFIO_IOMMU_GET_INFO, &info));
	EXPECT_TRUE(info.info.flags & VFIO_IOMMU_INFO_CAPS);
	EXPECT_EQ(0, info.info.cap_offset);
	need = info.info.argsz;
	EXPECT_LT(20, need);
	EXPECT_GE(sizeof(info), need);

	info.info.argsz = need - 1;
	ASSERT_EQ(0, ioctl(self->fd, UVFIO_IOMMU_GET_INFO, &info));
	EXPECT_EQ(need, info.info.argsz);
	EXPECT_EQ(0, info.info.cap_offset);
	EXPECT_TRUE(is_filled(info.caps, 0, sizeof(info.caps)));

	info.info.argsz = need;
	ASSERT_EQ(0, ioctl(self->fd, UVFIO_IOMMU_GET_INFO, &info));
	EXPECT_EQ(need, info.info.argsz);
	EXPECT_LE(20, info.info.cap_offset);
}

/* The mapping limit, which only root can change: a root parent looks on. */
FIXTURE(limit)
{
	struct device dev;
	char before[32];
};

FIXTURE_SETUP(limit)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, read_file(LIMIT_PARAM, self->before,
			       sizeof(self->before)));
}

FIXTURE_TEARDOWN(limit)
{
	write_file(LIMIT_PARAM, self->before);
}

TEST_F(limit, of_mappings_is_kept)
{
	int kmsg = kmsg_open(), status, i;
	pid_t pid;

	ASSERT_EQ(0, write_file(LIMIT_PARAM, "8"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *page = dma_alloc(PAGE_SIZE);
		int fd;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, device_open_attached(&self->dev, -1));
		fd = self->dev.fd;
		for (i = 0; i < 8; i++) {
			EXPECT_EQ(8 - i, maps_left(fd));
			EXPECT_EQ(0, uvfio_dma_map(fd, page, PAGE_SIZE,
						   IOVA + i * PAGE_SIZE, RW));
		}
		EXPECT_EQ(0, maps_left(fd));
		EXPECT_EQ(-ENOSPC, uvfio_dma_map(fd, page, PAGE_SIZE, IOVA2,
						 RW));
		EXPECT_EQ(32, vm_pin());
		EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, IOVA, PAGE_SIZE));
		EXPECT_EQ(1, maps_left(fd));
		EXPECT_EQ(0, uvfio_dma_map(fd, page, PAGE_SIZE, IOVA2, RW));
		_exit(_metadata->passed ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(kmsg_has(kmsg, "uvfio", "dma_entry_limit"));
}

/* Several devices. */

FIXTURE(share)
{
	struct device dev, dev2;
	struct edu edu, edu2;
	int domain;
	uint8_t *memory;
	long pinned;
	int kmsg;
};

FIXTURE_SETUP(share)
{
	self->domain = -1;
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, device_prepare(EDU2, &self->dev2));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, device_open(&self->dev2));
	self->domain = uvfio_domain_open();
	ASSERT_LE(0, self->domain);
	self->memory = dma_alloc(PAGES * PAGE_SIZE);
	ASSERT_NE(NULL, self->memory);
	self->pinned = vm_pin();
}

FIXTURE_TEARDOWN(share)
{
	edu_stop(&self->edu);
	edu_stop(&self->edu2);
	device_close(&self->dev);
	device_close(&self->dev2);
	close(self->domain);
	EXPECT_EQ(self->pinned, vm_pin());
	dma_free(self->memory, PAGES * PAGE_SIZE);
}

static bool same_group(const struct device *a, const struct device *b)
{
	const struct device *devs[] = { a, b };
	char path[128], group[2][128];
	ssize_t len;
	int i;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/iommu_group", devs[i]->bdf);
		len = readlink(path, group[i], sizeof(group[i]) - 1);
		if (len < 0)
			return false;
		group[i][len] = '\0';
	}
	return !strcmp(group[0], group[1]);
}

TEST_F(share, devices_of_two_groups_share_a_domain)
{
	uint8_t *page = self->memory;

	ASSERT_FALSE(same_group(&self->dev, &self->dev2));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	/* One mapping made before the second device comes, one after. */
	ASSERT_EQ(0, uvfio_dma_map(self->domain, page, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu2, self->dev2.fd));
	ASSERT_EQ(0, uvfio_dma_map(self->dev2.fd, page + PAGE_SIZE, PAGE_SIZE,
				   IOVA2, RW));
	/* They pay for one mapping each, not for one by each device. */
	EXPECT_EQ(self->pinned + 8, vm_pin());

	ASSERT_EQ(0, edu_fill(&self->edu, IOVA, page, 0x91));
	ASSERT_EQ(0, edu_fill(&self->edu2, IOVA, page, 0x92));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA2, 0, BYTES));
	EXPECT_TRUE(is_filled(page + PAGE_SIZE, 0x91, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu2, IOVA2, 0, BYTES));
	EXPECT_TRUE(is_filled(page + PAGE_SIZE, 0x92, BYTES));

	/* One leaves: its DMA ends, the other's goes on. */
	ASSERT_EQ(0, uvfio_detach(self->dev2.fd));
	EXPECT_FALSE(raw_bus_master(&self->dev2));
	ASSERT_EQ(0, edu_store(&self->edu, IOVA2, 0, BYTES));
	EXPECT_TRUE(is_filled(page + PAGE_SIZE, 0x91, BYTES));

	/* An unmap holds for both: the device that returns, too. */
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, self->domain));
	edu_stop(&self->edu2);
	ASSERT_EQ(0, edu_start(&self->edu2, self->dev2.fd));
	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->dev.fd, IOVA2, PAGE_SIZE));
	memset(page + PAGE_SIZE, 0x93, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA2, 0, BYTES));
	ASSERT_EQ(0, edu_store(&self->edu2, IOVA2, 0, BYTES));
	EXPECT_TRUE(is_filled(page + PAGE_SIZE, 0x93, PAGE_SIZE));
}

/* Each in its own domain: the same IOVA is different memory to each. */
TEST_F(share, domains_are_apart)
{
	uint8_t *mine = self->memory, *theirs = self->memory + PAGE_SIZE;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, -1));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, edu_start(&self->edu2, self->dev2.fd));
	ASSERT_EQ(0, uvfio_dma_map(self->dev.fd, mine, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->dev2.fd, theirs, PAGE_SIZE, IOVA,
				   RW));
	ASSERT_EQ(0, edu_fill(&self->edu, IOVA, mine, 0xa1));
	ASSERT_EQ(0, edu_fill(&self->edu2, IOVA, theirs, 0xa2));
	memset(mine, 0, PAGE_SIZE);
	memset(theirs, 0, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(mine, 0xa1, BYTES));
	EXPECT_TRUE(is_filled(theirs, 0, PAGE_SIZE));
	ASSERT_EQ(0, edu_store(&self->edu2, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(mine, 0xa1, BYTES));
	EXPECT_TRUE(is_filled(theirs, 0xa2, BYTES));
}

/* The domain lives as long as a device is in it. */
TEST_F(share, domain_outlives_its_descriptor)
{
	uint8_t *page = self->memory;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_dma_map(self->domain, page, PAGE_SIZE, IOVA, RW));
	close(self->domain);
	self->domain = -1;
	EXPECT_EQ(self->pinned + 4, vm_pin());
	ASSERT_EQ(0, edu_fill(&self->edu, IOVA, page, 0xb1));
	memset(page, 0, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(page, 0xb1, BYTES));
	/* It can still be worked on, through the device. */
	EXPECT_EQ(0, uvfio_dma_map(self->dev.fd, page, PAGE_SIZE, IOVA2, RW));
	EXPECT_EQ(self->pinned + 8, vm_pin());
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* And as long as its descriptor: mappings wait there for the next device. */
TEST_F(share, mappings_outlive_a_device)
{
	uint8_t *page = self->memory;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_dma_map(self->dev.fd, page, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, edu_fill(&self->edu, IOVA, page, 0xc1));
	edu_stop(&self->edu);
	device_close(&self->dev);
	EXPECT_EQ(self->pinned + 4, vm_pin());

	/* Without any device mappings can be made and unmade. */
	EXPECT_EQ(0, uvfio_dma_map(self->domain, page + PAGE_SIZE, PAGE_SIZE,
				   IOVA2, RW));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->domain, page, PAGE_SIZE, IOVA,
					 RW));

	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu2, self->dev2.fd));
	ASSERT_EQ(0, edu_fill(&self->edu2, IOVA, page, 0xc2));
	ASSERT_EQ(0, edu_store(&self->edu2, IOVA2, 0, BYTES));
	EXPECT_TRUE(is_filled(page + PAGE_SIZE, 0xc2, BYTES));
	edu_stop(&self->edu2);
	device_close(&self->dev2);
	EXPECT_EQ(self->pinned + 8, vm_pin());
	close(self->domain);
	self->domain = -1;
	EXPECT_EQ(self->pinned, vm_pin());
}

TEST_F(share, new_domain_has_no_page_table)
{
	EXPECT_EQ(-EUNATCH, uvfio_dma_map(self->domain, self->memory,
					  PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(-EUNATCH, uvfio_dma_unmap(self->domain, IOVA, PAGE_SIZE));
	EXPECT_EQ(-EUNATCH, unmap_all(self->domain, 0, 0));
	EXPECT_EQ(-1, maps_left(self->domain));
	EXPECT_EQ(self->pinned, vm_pin());
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	EXPECT_EQ(0, uvfio_dma_map(self->domain, self->memory, PAGE_SIZE, IOVA,
				   RW));
}

/* It is the user who pays for page tables, over all domains. */
TEST_F(share, page_tables_are_charged_to_the_user)
{
	struct rlimit limit = { 16 * PAGE_SIZE, MEMLOCK_BYTES };

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, -1));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	EXPECT_EQ(14, use_up_tables(self->domain, self->memory, IOVA));
	EXPECT_EQ(0, use_up_tables(self->dev2.fd, self->memory, IOVA));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	EXPECT_EQ(0, use_up_tables(self->dev2.fd, self->memory, IOVA));
	close(self->domain);
	self->domain = -1;
	EXPECT_EQ(15, use_up_tables(self->dev2.fd, self->memory, IOVA));
}

/* Returns the bytes unmapped or -errno. */
static int64_t type1_unmap(int fd, uint64_t iova, size_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	return ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno :
							 (int64_t)unmap.size;
}

/* The container calls work on the same mappings as our own. */
TEST_F(share, container_calls_do_the_same)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = RW,
		.vaddr = (uintptr_t)self->memory,
		.iova = IOVA,
		.size = PAGE_SIZE,
	};
	struct vfio_iommu_type1_info_dma_avail *cap;
	struct iommu_info info;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, ioctl(self->domain, VFIO_IOMMU_MAP_DMA, &map));
	EXPECT_EQ(self->pinned + 4, vm_pin());
	ASSERT_EQ(0, edu_fill(&self->edu, IOVA, self->memory, 0xd1));
	memset(self->memory, 0, PAGE_SIZE);
	ASSERT_EQ(0, edu_store(&self->edu, IOVA, 0, BYTES));
	EXPECT_TRUE(is_filled(self->memory, 0xd1, BYTES));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->dev.fd, self->memory, PAGE_SIZE,
					 IOVA, RW));
	cap = iommu_cap(self->domain, VFIO_IOMMU_GET_INFO, &info,
			VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	ASSERT_NE(NULL, cap);
	EXPECT_EQ(maps_left(self->dev.fd), (long)cap->avail);
	EXPECT_EQ(PAGE_SIZE, type1_unmap(self->domain, IOVA, PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
}

TEST_F(share, container_unmap_does_not_cut)
{
	static const struct {
		int start;
		int pages;
	} cuts[] = {
		{ 0, 1 }, { 0, 3 }, { 1, 3 }, { 1, 1 }, { 3, 1 }, { -1, 2 },
		{ -1, 4 }, { 3, 3 }, { 1, 8 },
	};
	unsigned int i;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_dma_map(self->domain, self->memory, 4 * PAGE_SIZE,
				   IOVA, RW));
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		EXPECT_EQ(-EINVAL, type1_unmap(self->domain, IOVA +
					       cuts[i].start * (int)PAGE_SIZE,
					       cuts[i].pages * PAGE_SIZE)) {
			TH_LOG("case %u", i);
		}
		EXPECT_EQ(self->pinned + 16, vm_pin());
	}
	ASSERT_EQ(0, store_byte(&self->edu, IOVA, self->memory,
				IOVA + 3 * PAGE_SIZE, 0x61));
	EXPECT_TRUE(is_filled(self->memory + 3 * PAGE_SIZE, 0x61, BYTES));

	/* A cut at one end of a range spares what lies whole in it, too. */
	ASSERT_EQ(0, uvfio_dma_map(self->domain, self->memory, PAGE_SIZE,
				   IOVA - PAGE_SIZE, RW));
	EXPECT_EQ(-EINVAL, type1_unmap(self->domain, IOVA - PAGE_SIZE,
				       2 * PAGE_SIZE));
	EXPECT_EQ(self->pinned + 20, vm_pin());
	EXPECT_EQ(5 * PAGE_SIZE, type1_unmap(self->domain, IOVA - PAGE_SIZE,
					     5 * PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* Two devices of one group. */

FIXTURE(group)
{
	struct device one, other;
	int domain;
	int kmsg;
};

FIXTURE_VARIANT(group)
{
	enum which one, other;
};

FIXTURE_VARIANT_ADD(group, bridge)
{
	.one = EDU2,
	.other = TESTDEV,
};

FIXTURE_VARIANT_ADD(group, functions)
{
	.one = SMALL1,
	.other = SMALL2,
};

FIXTURE_SETUP(group)
{
	self->domain = -1;
	ASSERT_EQ(0, device_prepare(variant->one, &self->one));
	ASSERT_EQ(0, device_prepare(variant->other, &self->other));
	ASSERT_TRUE(same_group(&self->one, &self->other) ||
		    (IS_AARCH64 && variant->one == EDU2));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->one));
	ASSERT_EQ(0, device_open(&self->other));
	self->domain = uvfio_domain_open();
	ASSERT_LE(0, self->domain);
}

FIXTURE_TEARDOWN(group)
{
	device_close(&self->one);
	device_close(&self->other);
	close(self->domain);
}

TEST_F(group, devices_of_one_group_share_a_domain_or_are_refused)
{
	int other = uvfio_domain_open();
	uint16_t word;

	if (!same_group(&self->one, &self->other))
		SKIP(return, "they are not behind a bridge in this machine");
	ASSERT_LE(0, other);
	ASSERT_EQ(0, uvfio_attach(self->one.fd, self->domain));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->other.fd, other));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->other.fd, -1));
	EXPECT_TRUE(kmsg_has(self->kmsg, self->other.bdf, "group"));
	EXPECT_EQ(-EUNATCH, uvfio_config_read16(self->other.fd, 0, &word));
	EXPECT_EQ(0, uvfio_attach(self->other.fd, self->domain));
	EXPECT_EQ(0, uvfio_config_read16(self->other.fd, 0, &word));

	/* The group stays where it is until its last member has left. */
	ASSERT_EQ(0, uvfio_detach(self->one.fd));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->one.fd, other));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->one.fd, -1));
	EXPECT_EQ(0, uvfio_attach(self->one.fd, self->domain));
	ASSERT_EQ(0, uvfio_detach(self->one.fd));
	ASSERT_EQ(0, uvfio_detach(self->other.fd));
	EXPECT_EQ(0, uvfio_attach(self->one.fd, other));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->other.fd, self->domain));
	EXPECT_EQ(0, uvfio_attach(self->other.fd, other));
	close(other);
}

/* Nobody can join a private domain, not even from the same group. */
TEST_F(group, private_domain_keeps_the_group)
{
	if (!same_group(&self->one, &self->other))
		SKIP(return, "they are not behind a bridge in this machine");
	ASSERT_EQ(0, uvfio_attach(self->one.fd, -1));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->other.fd, -1));
	EXPECT_EQ(-EBUSY, uvfio_attach(self->other.fd, self->domain));
	/* Closing is leaving. */
	device_close(&self->one);
	EXPECT_EQ(0, uvfio_attach(self->other.fd, self->domain));
}

/* Many at once. */

#define THREADS		4
#define ROUNDS		200

struct worker {
	pthread_t thread;
	int fd;
	uint8_t *memory;
	uint64_t iova;
	size_t size;
	unsigned int done;	/* rounds that went as they should */
	unsigned int refused;	/* by the state or another thread */
	unsigned int wrong;
};

static void *map_and_unmap(void *data)
{
	struct worker *worker = data;
	int64_t ret;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ret = uvfio_dma_map(worker->fd, worker->memory, worker->size,
				    worker->iova, RW);
		if (ret == -EEXIST || ret == -EUNATCH) {
			worker->refused++;
			continue;
		}
		if (!ret)
			ret = uvfio_dma_unmap(worker->fd, worker->iova,
					      worker->size);
		if (ret == (int64_t)worker->size)
			worker->done++;
		else if (ret == 0 || ret == -EUNATCH)
			worker->refused++;	/* taken with the domain */
		else
			worker->wrong++;
	}
	return NULL;
}

/* Each of the threads has @size bytes of its own, or all of them have all. */
static void workers_start(struct __test_metadata *_metadata,
			  struct _test_data_dma *self, struct worker *workers,
			  size_t size)
{
	size_t apart = size < PAGES * PAGE_SIZE ? size : 0;
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker) {
			.fd = self->fd,
			.memory = self->memory + i * apart,
			.iova = IOVA + i * apart,
			.size = size,
		};
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL,
					    map_and_unmap, &workers[i]));
	}
}

/* How many rounds of theirs went as they should. */
static unsigned int workers_end(struct __test_metadata *_metadata,
				struct worker *workers)
{
	unsigned int done = 0;
	int i;

	for (i = 0; i < THREADS; i++) {
		ASSERT_EQ(0, pthread_join(workers[i].thread, NULL));
		EXPECT_EQ(0, workers[i].wrong);
		done += workers[i].done;
	}
	return done;
}

TEST_F(dma, threads_map_in_parallel)
{
	struct worker workers[THREADS];

	workers_start(_metadata, self, workers, 2 * PAGE_SIZE);
	EXPECT_EQ(THREADS * ROUNDS, workers_end(_metadata, workers));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(65535, maps_left(self->fd));
}

/* For the same range: one at a time has it. */
TEST_F(dma, threads_do_not_share_a_range)
{
	struct worker workers[THREADS];

	workers_start(_metadata, self, workers, PAGES * PAGE_SIZE);
	EXPECT_LT(0, workers_end(_metadata, workers));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* While the device comes and goes under the threads. */
TEST_F(dma, threads_map_while_the_device_detaches)
{
	struct worker workers[THREADS];
	int i;

	workers_start(_metadata, self, workers, 2 * PAGE_SIZE);
	for (i = 0; i < 50; i++) {
		EXPECT_EQ(0, uvfio_detach(self->fd));
		EXPECT_EQ(0, uvfio_attach(self->fd, -1));
	}
	workers_end(_metadata, workers);
	ASSERT_EQ(0, uvfio_detach(self->fd));
	EXPECT_EQ(self->pinned, vm_pin());
}

TEST_HARNESS_MAIN
