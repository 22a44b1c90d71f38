/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmark needs of a driver, and no more: each back end is the few
 * calls that a program on that driver would make.
 */
#ifndef UVFIO_BENCH_H
#define UVFIO_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <linux/vfio.h>

/* Where pread(), pwrite() and mmap() find something; fd -1: nowhere. */
struct place {
	int fd;
	uint64_t offset;
	uint64_t size;
};

struct device {
	const char *bdf;
	const char *node;	/* what is opened: /dev/vfio0, /dev/vfio/13 */
	int fd, group, container;	/* the latter two with vfio-pci only */
	struct place regions[VFIO_PCI_NUM_REGIONS];
};

/* What a driver can do; all can do config space and mmap() of BARs. */
enum {
	CAN_OPEN	= 1 << 0,	/* open and close the device as a whole */
	CAN_PREAD_BAR	= 1 << 1,
	CAN_DMA		= 1 << 2,
};

/* What can fail returns -errno. */
struct driver {
	const char *name;
	unsigned int can;
	/* all that comes before the first access, DMA included */
	int (*open)(struct device *dev);
	void (*close)(struct device *dev);
	/* fills in the regions of an open device, is not counted */
	int (*locate)(struct device *dev);
	/* for the device to read and write; NULL without CAN_DMA */
	int (*dma_map)(struct device *dev, void *memory, size_t len,
		       uint64_t iova);
	int (*dma_unmap)(struct device *dev, uint64_t iova, size_t len);
};

extern const struct driver uvfio_driver;
extern const struct driver vfio_pci_driver;
extern const struct driver uio_driver;

/* The locate() of those that describe regions on dev->fd. */
int locate_on_fd(struct device *dev);

#define PAGE		0x1000UL

/* In which pages, and where these are in physical memory. */
enum memory {
	ADJACENT,	/* 4 KiB, next to one another in blocks of 2 MiB */
	SCATTERED,	/* 4 KiB, hardly any two next to one another */
	THP,
	HUGETLB,
	MEMORY_KINDS
};

/* Present in all pages, and with nothing behind it that is mapped. */
char *allocate(enum memory kind, size_t size);

/* How many pages of memory nobody uses, not even caches of the kernel's. */
uint64_t free_pages(void);

/* The time stamp counter: instructions executed, in a machine that counts. */
uint64_t now(void);

/* All instructions in between go to QEMU's log, see vm/run -l. */
void log_start(void);
void log_stop(void);

/* Prints lines as the benchmark does; one CPU is not enough. */
void measure_threads(const struct driver *driver, struct device *dev);

#endif /* UVFIO_BENCH_H */
