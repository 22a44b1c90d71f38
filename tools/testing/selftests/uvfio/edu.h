/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A user driver for QEMU's "edu" device: a liveness register, an interrupt that
 * software can raise, and a DMA engine that copies between the device's buffer
 * and memory.
 */
#ifndef UVFIO_TEST_EDU_H
#define UVFIO_TEST_EDU_H

#include <stddef.h>
#include <stdint.h>

#define EDU_ID			0x00
#define EDU_LIVENESS		0x04
#define EDU_FACTORIAL		0x08
#define EDU_STATUS		0x20
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_RAISE		0x60
#define EDU_IRQ_ACK		0x64
#define EDU_DMA_SOURCE		0x80	/* 64 bits, as the next two */
#define EDU_DMA_TARGET		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98

#define EDU_ID_VALUE		0x010000ed
#define EDU_BAR_SIZE		0x100000
#define EDU_BUFFER		0x40000
/* Of 4096: QEMU calls it an error, its last, when a transfer ends there. */
#define EDU_BUFFER_SIZE		2048
/* The DMA engine has 28 address bits. */
#define EDU_IOVA_LIMIT		0x10000000

#define EDU_DMA_IRQ		0x100	/* in EDU_IRQ_STATUS: DMA is done */

struct edu {
	int fd;
	void *regs;
};

int edu_start(struct edu *edu, int fd);
void edu_stop(struct edu *edu);
uint32_t edu_read(struct edu *edu, unsigned int reg);
void edu_write(struct edu *edu, unsigned int reg, uint32_t value);

/* @offset is in the device's buffer; it has EDU_BUFFER_SIZE bytes. */
int edu_load(struct edu *edu, uint64_t iova, unsigned int offset, size_t size);
int edu_store(struct edu *edu, uint64_t iova, unsigned int offset, size_t size);
int edu_store_irq(struct edu *edu, uint64_t iova, unsigned int offset,
		  size_t size);
int edu_fill(struct edu *edu, uint64_t iova, void *address, int byte);

#endif /* UVFIO_TEST_EDU_H */
