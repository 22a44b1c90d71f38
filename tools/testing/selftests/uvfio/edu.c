// SPDX-License-Identifier: GPL-2.0
/*
 * A user driver for QEMU's "edu" device; see edu.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"
#include "edu.h"

#define DMA_START	1
#define DMA_TO_MEMORY	2	/* else from memory to the device */
#define DMA_RAISE_IRQ	4

/* @fd is attached; turns memory decoding and bus mastering on. */
int edu_start(struct edu *edu, int fd)
{
	int ret;

	edu->fd = fd;
	edu->regs = NULL;
	ret = uvfio_command(fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	if (ret)
		return ret;
	edu->regs = bar_map(fd, VFIO_PCI_BAR0_REGION_INDEX, 0, EDU_BAR_SIZE);
	if (edu->regs == MAP_FAILED) {
		edu->regs = NULL;
		return -errno;
	}
	if (edu_read(edu, EDU_ID) != EDU_ID_VALUE)
		return -ENXIO;
	/* It has no reset: an earlier user's interrupt may still be pending. */
	edu_write(edu, EDU_IRQ_ACK, edu_read(edu, EDU_IRQ_STATUS));
	return 0;
}

void edu_stop(struct edu *edu)
{
	if (edu->regs)
		munmap(edu->regs, EDU_BAR_SIZE);
	edu->regs = NULL;
}

uint32_t edu_read(struct edu *edu, unsigned int reg)
{
	return __atomic_load_n((uint32_t *)((char *)edu->regs + reg),
			       __ATOMIC_ACQUIRE);
}

void edu_write(struct edu *edu, unsigned int reg, uint32_t value)
{
	__atomic_store_n((uint32_t *)((char *)edu->regs + reg), value,
			 __ATOMIC_RELEASE);
}

static int edu_dma(struct edu *edu, uint64_t source, uint64_t target,
		   size_t size, uint32_t command)
{
	uint64_t end = now_ms() + WAIT_MS;

	/* IOVAs are below 4 GiB, so that 32-bit writes do (upper half: 0). */
	edu_write(edu, EDU_DMA_SOURCE, source);
	edu_write(edu, EDU_DMA_TARGET, target);
	edu_write(edu, EDU_DMA_COUNT, size);
	edu_write(edu, EDU_DMA_COMMAND, command | DMA_START);
	while (edu_read(edu, EDU_DMA_COMMAND) & DMA_START) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return 0;
}

/* From memory into the device's buffer. */
int edu_load(struct edu *edu, uint64_t iova, unsigned int offset, size_t size)
{
	return edu_dma(edu, iova, EDU_BUFFER + offset, size, 0);
}

/* From the device's buffer to memory. */
int edu_store(struct edu *edu, uint64_t iova, unsigned int offset, size_t size)
{
	return edu_dma(edu, EDU_BUFFER + offset, iova, size, DMA_TO_MEMORY);
}

int edu_store_irq(struct edu *edu, uint64_t iova, unsigned int offset,
		  size_t size)
{
	return edu_dma(edu, EDU_BUFFER + offset, iova, size,
		       DMA_TO_MEMORY | DMA_RAISE_IRQ);
}

/* Fill the device's buffer with @byte by way of the page mapped at @iova. */
int edu_fill(struct edu *edu, uint64_t iova, void *address, int byte)
{
	memset(address, byte, EDU_BUFFER_SIZE);
	return edu_load(edu, iova, 0, EDU_BUFFER_SIZE);
}
