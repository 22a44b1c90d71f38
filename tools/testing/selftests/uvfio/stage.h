/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The stage for tests of revocation: a device that does DMA in a domain with a
 * descriptor of its own, what it sees, and what the kernel accounts.
 */
#ifndef UVFIO_TEST_STAGE_H
#define UVFIO_TEST_STAGE_H

#include "common.h"
#include "dma.h"
#include "edu.h"
#include "memory.h"
#include "nvme.h"

#define BYTES		EDU_BUFFER_SIZE

/* Where the device sees what. IOVA is on a boundary of 2 MiB, as the memory is. */
#define SCRATCH_IOVA	0x100000ULL
#define IOVA		0x1000000ULL
#define IOVA2		0x3000000ULL

/* The same for an NVMe controller, with disk_reach(). */
#define NVME_IOVA	0x10200000ULL

#define PAGES(n)	((n) * PAGE_SIZE)
#define HUGES(n)	((n) * HUGE_SIZE)

/* What is in memory; edu_reach() has 1 to 100. */
#define OLD		0xee	/* before it is lost */
#define NEW		0x77	/* of the next owner */
#define DEVICE		0xd0	/* from the device */

/* The edu device. */
struct stage {
	struct device dev;
	int domain;
	struct edu edu;
	uint8_t *scratch;	/* a page at SCRATCH_IOVA */
	int pagemap;
};

/* From root to an ordinary user with a device that does DMA. */
int stage_start(struct stage *stage);
void stage_end(struct stage *stage);

/* Each transfer takes the device a tenth of a second. */
int device_write(struct stage *stage, uint64_t iova, int byte);
int device_read(struct stage *stage, uint64_t iova);	/* to stage->scratch */

/* Device and process see the same page, both ways. */
bool reaches(struct stage *stage, uint8_t *page, uint64_t iova);

/* The device gets nothing from there that was, or is, in memory. */
bool reads_nothing(struct stage *stage, uint64_t iova);

/* The device writes DEVICE at both ends of @size bytes. */
int device_write_ends(struct stage *stage, uint64_t iova, size_t size);

/*
 * Where those ends are in the machine's memory, from before they are lost: whoever
 * has it afterwards, or if nobody has, what the device writes shows there.
 */
struct witness {
	uint64_t first, last;
};

struct witness witness_of(int pagemap, const uint8_t *address, size_t size);

/* How many of the ends are as device_write_ends() leaves them, or -errno. */
int witness_sees(const struct witness *witness);

/* An NVMe controller: a witness that is fast. */
struct nvme_stage {
	struct device dev;	/* prepared by root */
	int domain;
	struct nvme nvme;
};

int nvme_stage_start(struct nvme_stage *stage);
void nvme_stage_end(struct nvme_stage *stage);

/* What the kernel says of a domain's mappings, and of this process. */
struct account {
	long vm_pin;		/* kB */
	long long pinned;	/* bytes, as the next one */
	long long revoked;
	long long mappings;
};

struct account account_of(int fd);
bool account_is(int fd, const struct account *want);

/* For some kinds of memory it takes a worker to decide. */
bool account_becomes(int fd, const struct account *want);

/* As it is when @bytes more have been revoked. */
struct account account_less(struct account account, size_t bytes);

/* Whether @bytes and no more have been revoked since @before. */
bool has_lost(int fd, const struct account *before, size_t bytes);

#endif /* UVFIO_TEST_STAGE_H */
