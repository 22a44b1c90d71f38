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
	CAN_SET_IRQS	= 1 << 3,	/* as VFIO has it, on the device's fd */
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
#define IOVA		0x40000000UL	/* where memory is mapped */

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

#define MAX_COSTS	4	/* of a row */
#define KERNELS		3	/* that have targets of their own */

struct bench {
	const struct driver *driver;
	struct device nvme, ivshmem, edu;
	struct place zero, null;
	char *memory[MEMORY_KINDS];	/* LARGE bytes of each */
	char *holding;			/* HOLDING bytes of one kind */
	uint64_t holding_iova;		/* where it was mapped the last time */
};

struct cost {
	const char *name;
	double target[KERNELS];	/* the ratio to reach, if any: to vfio-pci, */
	const char *base;	/* or to the driver's own cost of that name */
};

struct measurement {
	/* what a round yields */
	struct cost costs[MAX_COSTS];
	struct cost sum;	/* of the first two, if it has a name */
	unsigned int needs;	/* of the driver */
	/* before the first round, and after the last; none is no failure */
	int (*prepare)(struct bench *b, const struct measurement *m);
	int (*clean_up)(struct bench *b, const struct measurement *m);
	/* stores costs, each of all @ops, that it repeats or that make it up */
	int (*round)(struct bench *b, const struct measurement *m,
		     uint64_t *costs);
	unsigned int rounds;	/* 0: MAX_ROUNDS */
	unsigned int ops;
	/* for it to use */
	enum { CONFIG, REGISTERS, MEMORY, ZERO, NUL } place;
	uint64_t offset, iova;
	size_t len;
	enum memory memory;
	unsigned int vectors;
};

/* The time stamp counter: instructions executed, in a machine that counts. */
uint64_t now(void);

/*
 * Writes @value to @reg and then does nothing until an interrupt is over. Returns
 * for how many instructions it did nothing.
 */
uint64_t ring_and_spin(volatile uint32_t *reg, uint32_t value);

/* All instructions in between go to QEMU's log, see vm/run -l. */
void log_start(void);
void log_stop(void);

/* Rounds about interrupts, what comes before them and after. */
int make_events(struct bench *b, const struct measurement *m);
int arm(struct bench *b, const struct measurement *m);
int disarm(struct bench *b, const struct measurement *m);
int start_controller(struct bench *b, const struct measurement *m);
int stop_controller(struct bench *b, const struct measurement *m);
int start_edu(struct bench *b, const struct measurement *m);
int stop_edu(struct bench *b, const struct measurement *m);
int loopback_round(struct bench *b, const struct measurement *m,
		   uint64_t *costs);
int interrupt_round(struct bench *b, const struct measurement *m,
		    uint64_t *costs);
int arm_round(struct bench *b, const struct measurement *m, uint64_t *costs);
int intx_round(struct bench *b, const struct measurement *m, uint64_t *costs);

/* Prints lines as the benchmark does; one CPU is not enough. */
void measure_threads(const struct driver *driver, struct device *dev);

#endif /* UVFIO_BENCH_H */
