// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's monitor as tests use it, so that it tells the truth when they do; and
 * by it, how memory is mapped into a process.
 */
#include <errno.h>
#include <sys/mman.h>

#include "dma.h"
#include "monitor.h"
#include "test.h"

#define IOVA	0x100000

FIXTURE(monitor)
{
	struct device dev;
};

FIXTURE_SETUP(monitor)
{
	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(monitor)
{
	device_close(&self->dev);
}

TEST_F(monitor, answers)
{
	char answer[256];

	ASSERT_EQ(0, monitor_command("info version", answer, sizeof(answer)));
	EXPECT_LE(7, strtol(answer, NULL, 10)) {
		TH_LOG("%s", answer);
	}
	ASSERT_EQ(0, monitor_command("nonsense", answer, sizeof(answer)));
	EXPECT_STREQ("unknown command: 'nonsense'\r\n", answer);
	ASSERT_EQ(0, monitor_command("cpu 0", answer, sizeof(answer)));
	EXPECT_STREQ("", answer);
}

/* What does not fit is not taken for the answer to what comes next. */
TEST_F(monitor, long_answers_are_cut)
{
	char whole[65536], answer[64] = { 0 };

	ASSERT_EQ(0, monitor_command("help", whole, sizeof(whole)));
	ASSERT_LT(sizeof(answer), strlen(whole));
	EXPECT_EQ(0, strcmp(whole + strlen(whole) - 2, "\r\n"));

	ASSERT_EQ(0, monitor_command("help", answer, sizeof(answer)));
	EXPECT_EQ(sizeof(answer) - 1, strlen(answer));
	EXPECT_EQ(0, strncmp(whole, answer, sizeof(answer) - 1));
	ASSERT_EQ(0, monitor_command("nonsense", answer, sizeof(answer)));
	EXPECT_STREQ("unknown command: 'nonsense'\r\n", answer);
}

TEST_F(monitor, is_not_for_users)
{
	EXPECT_EQ(-EACCES, monitor_open());
}

TEST_F(monitor, sees_memory_of_the_process)
{
	uint64_t pte, size;
	uint8_t *memory;

	if (!MONITOR_SEES_TABLES)
		SKIP(return, NO_TABLES);

	memory = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(-EFAULT, monitor_pte(memory, &pte, &size));

	memory[0] = 1;
	ASSERT_EQ(0, monitor_pte(memory, &pte, &size));
	EXPECT_EQ(PAGE_SIZE, size);
	EXPECT_EQ(PTE_WRITE_BACK, pte & PTE_TYPE);
	EXPECT_EQ(PTE_USER | PTE_WRITE, pte & (PTE_USER | PTE_WRITE));

	ASSERT_EQ(0, mprotect(memory, PAGE_SIZE, PROT_READ));
	ASSERT_EQ(0, monitor_pte(memory, &pte, &size));
	EXPECT_EQ(PTE_USER, pte & (PTE_USER | PTE_WRITE));
	munmap(memory, PAGE_SIZE);
}

TEST_F(monitor, sees_huge_pages)
{
	uint8_t *memory = dma_alloc(4 * MIB), *huge;
	uint64_t pte, size;

	if (!MONITOR_SEES_TABLES)
		SKIP(return, NO_TABLES);

	ASSERT_NE(NULL, memory);
	huge = (void *)(((uintptr_t)memory + 2 * MIB - 1) & -(2 * MIB));
	ASSERT_EQ(0, madvise(memory, 4 * MIB, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(huge, 2 * MIB, MADV_HUGEPAGE));
	huge[MIB] = 1;
	ASSERT_EQ(0, monitor_pte(huge, &pte, &size));
	EXPECT_EQ(2 * MIB, size);
	dma_free(memory, 4 * MIB);
}

TEST_F(monitor, sees_what_a_device_reaches)
{
	uint64_t pte, size, iova_pte;
	uint8_t *memory = dma_alloc(2 * PAGE_SIZE);

	if (!MONITOR_SEES_TABLES)
		SKIP(return, NO_TABLES);

	ASSERT_NE(NULL, memory);
	EXPECT_EQ(-EFAULT, monitor_iova(self->dev.bdf, IOVA, &iova_pte, &size));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	EXPECT_EQ(-EFAULT, monitor_iova(self->dev.bdf, IOVA, &iova_pte, &size));

	ASSERT_EQ(0, uvfio_dma_map(self->dev.fd, memory, PAGE_SIZE, IOVA,
				   READ));
	ASSERT_EQ(0, uvfio_dma_map(self->dev.fd, memory + PAGE_SIZE, PAGE_SIZE,
				   1ULL << 34, RW));
	ASSERT_EQ(0, monitor_iova(self->dev.bdf, IOVA, &iova_pte, &size));
	EXPECT_EQ(PAGE_SIZE, size);
	EXPECT_EQ(IOVA_READ, iova_pte & (IOVA_READ | IOVA_WRITE));
	if (MONITOR_SEES_TABLES) {
		ASSERT_EQ(0, monitor_pte(memory, &pte, &size));
		EXPECT_EQ(pte & PTE_ADDRESS, iova_pte & IOVA_ADDRESS);
	}
	ASSERT_EQ(0, monitor_iova(self->dev.bdf, 1ULL << 34, &iova_pte, &size));
	if (MONITOR_SEES_TABLES) {
		ASSERT_EQ(0, monitor_pte(memory + PAGE_SIZE, &pte, &size));
		EXPECT_EQ(pte & PTE_ADDRESS, iova_pte & IOVA_ADDRESS);
	}
	EXPECT_EQ(IOVA_READ | IOVA_WRITE, iova_pte & (IOVA_READ | IOVA_WRITE));

	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->dev.fd, IOVA, PAGE_SIZE));
	EXPECT_EQ(-EFAULT, monitor_iova(self->dev.bdf, IOVA, &iova_pte, &size));
	EXPECT_EQ(-EFAULT, monitor_iova(self->dev.bdf, 1ULL << 60, &iova_pte,
					&size));
	dma_free(memory, 2 * PAGE_SIZE);
}

TEST_F(monitor, sees_registers_uncached)
{
	struct vfio_region_info info;
	uint64_t pte, size, start;
	char path[64], text[64];
	unsigned int i;
	char *bar;

	if (!MONITOR_SEES_TABLES)
		SKIP(return, NO_TABLES);

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
		 self->dev.bdf);
	ASSERT_EQ(0, read_file(path, text, sizeof(text)));
	start = strtoull(text, NULL, 16);
	ASSERT_NE(0, start);

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				  &info));
	/* The page behind these two is that of the MSI-X table. */
	bar = bar_map(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
		      2 * PAGE_SIZE);
	ASSERT_NE(MAP_FAILED, (void *)bar);
	for (i = 0; i < 2; i++) {
		ASSERT_FALSE(read_faults(bar + i * PAGE_SIZE, NULL));
		ASSERT_EQ(0, monitor_pte(bar + i * PAGE_SIZE, &pte, &size));
		EXPECT_EQ(start + i * PAGE_SIZE, pte & PTE_ADDRESS);
		EXPECT_EQ(PAGE_SIZE, size);
		EXPECT_EQ(PTE_UNCACHED_MINUS, pte & PTE_TYPE);
		EXPECT_EQ(PTE_USER | PTE_WRITE, pte & (PTE_USER | PTE_WRITE));
	}
	munmap(bar, 2 * PAGE_SIZE);
}

TEST_HARNESS_MAIN
