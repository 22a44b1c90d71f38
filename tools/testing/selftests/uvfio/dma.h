/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory as devices see it: what a domain says of itself, and a device that
 * tells whether it reaches a page.
 *
 * Functions return 0 (or what they are asked for) on success, else -errno.
 */
#ifndef UVFIO_TEST_DMA_H
#define UVFIO_TEST_DMA_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/uvfio.h>

#include "common.h"
#include "edu.h"
#include "nvme.h"

#define READ		VFIO_DMA_MAP_FLAG_READ
#define WRITE		VFIO_DMA_MAP_FLAG_WRITE
#define RW		(READ | WRITE)

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)

/* What pinning costs the process, in kB. */
long vm_pin(void);

/* The bytes unmapped. */
int64_t unmap_all(int fd, uint64_t iova, uint64_t size);

struct iommu_info {
	struct vfio_iommu_type1_info info;
	uint8_t caps[1024];
};

/* A capability of what @call says; NULL: there is none. */
void *iommu_cap(int fd, unsigned long call, struct iommu_info *info,
		uint16_t id);

/* -1: not even a page table */
long maps_left(int fd);

/* Whether devices can use all of the range. */
bool in_windows(int fd, uint64_t iova, uint64_t size);

/*
 * Two devices of one domain that tell what a device reaches: an edu below its
 * limit of IOVA, an NVMe controller above.
 */
struct probe {
	int domain;
	struct device edu_dev, disk_dev;
	struct edu edu;
	struct nvme disk;
	uint64_t iova;		/* of a page that the edu can always reach */
	uint8_t *page;
};

/* As root; then as anyone, with a new domain, the page at @iova. */
int probe_prepare(struct probe *probe);
int probe_start(struct probe *probe, uint64_t iova);
void probe_stop(struct probe *probe);

/*
 * How a device reaches memory: READ, WRITE, both, or 0 for not at all, when it
 * tries so at @iova. @page is where the process sees what is at @iova if
 * something is; it has got other contents afterwards. -EIO: the device did half
 * of what it should.
 */
int probe_reach(struct probe *probe, uint64_t iova, uint8_t *page);

/* The same by an edu that has @own at @own_iova. */
int edu_reach(struct edu *edu, uint64_t own_iova, uint8_t *own, uint64_t iova,
	      uint8_t *page);

/* The same for memory that the process cannot write: READ or 0. */
int probe_reads(struct probe *probe, uint64_t iova, const uint8_t *page);

/*
 * Whether the entry of the IOMMU's table that a device of the probe needs for @iova
 * maps @size bytes; 0: there is none. With monitor_open(); where that does not see
 * tables, all may be so.
 */
bool probe_maps(struct probe *probe, uint64_t iova, uint64_t size);

/* As probe_reach(), by a started controller: at once, but not for low IOVAs. */
#define DISK_IOVA_START	0x10030000
int disk_reach(struct nvme *disk, uint64_t iova, uint8_t *page);

/* What reads and writes at @iova take for the number of a buffer. */
unsigned int disk_buffer(uint64_t iova);

#endif /* UVFIO_TEST_DMA_H */
