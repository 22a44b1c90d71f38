/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of the NVM Express specification that this sample uses, and the
 * interface of its driver. Section names are those of the NVM Express Base
 * Specification; fields that the sample leaves 0 are not split up.
 */
#ifndef NVME_H
#define NVME_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* "Controller Registers": offsets in BAR 0 */
#define NVME_CAP	0x00	/* Controller Capabilities, 64 bit */
#define NVME_CC		0x14	/* Controller Configuration */
#define NVME_CSTS	0x1c	/* Controller Status */
#define NVME_AQA	0x24	/* Admin Queue Attributes */
#define NVME_ASQ	0x28	/* Admin Submission Queue Base Address, 64 bit */
#define NVME_ACQ	0x30	/* Admin Completion Queue Base Address, 64 bit */
#define NVME_DOORBELLS	0x1000	/* queue 0 tail, 0 head, 1 tail, 1 head, ... */
#define NVME_DOORBELLS_MAPPED 0x1000

#define NVME_CAP_MQES(cap)	((cap) & 0xffff)	/* queue entries - 1 */
#define NVME_CAP_TO(cap)	((cap) >> 24 & 0xff)	/* in 500 ms */
#define NVME_CAP_DSTRD(cap)	((cap) >> 32 & 0xf)	/* 4 << this */
#define NVME_CAP_MPSMIN(cap)	((cap) >> 48 & 0xf)	/* 4096 << this */

#define NVME_CC_EN		0x1u
#define NVME_CC_MPS(shift)	((shift) << 7)	/* 4096 << shift */
#define NVME_CC_SHN_MASK	0xc000u
#define NVME_CC_SHN_NORMAL	0x4000u
#define NVME_CC_IOSQES		0x60000u	/* 64 bytes */
#define NVME_CC_IOCQES		0x400000u	/* 16 bytes */

#define NVME_CSTS_RDY		0x1u
#define NVME_CSTS_CFS		0x2u		/* fatal error */
#define NVME_CSTS_SHST_MASK	0xcu
#define NVME_CSTS_SHST_DONE	0x8u
#define NVME_CSTS_GONE		0xffffffffu	/* what a missing device reads */

/* "Submission Queue Entry" */
struct nvme_command {
	uint8_t		opcode;
	uint8_t		flags;
	uint16_t	id;		/* comes back in the completion */
	uint32_t	namespace;
	uint32_t	dword2[2];
	uint64_t	metadata;
	uint64_t	data;		/* PRP entry 1: the first or only page */
	uint64_t	data2;
	uint32_t	dword10;
	uint32_t	dword11;
	uint32_t	dword12;
	uint32_t	dword13[3];
};

static_assert(sizeof(struct nvme_command) == 64, "");

/* "Completion Queue Entry" */
struct nvme_completion {
	uint32_t	result;
	uint32_t	reserved;
	uint16_t	sq_head;
	uint16_t	sq_id;
	uint16_t	id;
	uint16_t	status;		/* bit 0 is the phase tag, 0 above it is success */
};

static_assert(sizeof(struct nvme_completion) == 16, "");

/* "Admin Command Set" */
#define NVME_CREATE_SQ		0x01
#define NVME_CREATE_CQ		0x05
#define NVME_IDENTIFY		0x06
#define NVME_SET_FEATURES	0x09

#define NVME_QUEUE_CONTIGUOUS	0x1u	/* dword 11 of CREATE_SQ, _CQ */
#define NVME_QUEUE_INTERRUPTS	0x2u	/* dword 11 of CREATE_CQ */
#define NVME_FEATURE_QUEUES	0x07		/* Number of Queues */
#define NVME_IDENTIFY_NAMESPACE	0		/* CNS, dword 10 of IDENTIFY */
#define NVME_IDENTIFY_CONTROLLER 1

/* "Identify Controller Data Structure": byte offsets, space padded text */
#define NVME_ID_SERIAL		4
#define NVME_ID_MODEL		24
#define NVME_ID_FIRMWARE	64
#define NVME_ID_SERIAL_LENGTH	20
#define NVME_ID_MODEL_LENGTH	40
#define NVME_ID_FIRMWARE_LENGTH	8

/* "Identify Namespace Data Structure": byte offsets */
#define NVME_ID_NSZE		0	/* 64 bit, in blocks */
#define NVME_ID_FLBAS		26	/* low 4 bits: the format in use */
#define NVME_ID_LBAF		128	/* 32 bit for each format */

#define NVME_LBAF_METADATA(f)	((f) & 0xffff)
#define NVME_LBAF_SHIFT(f)	((f) >> 16 & 0xff)

/* "NVM Command Set" */
#define NVME_FLUSH		0x00
#define NVME_WRITE		0x01
#define NVME_READ		0x02

/* The driver. */

#define NVME_ENTRIES	64	/* most entries of a queue; each fits a page */
#define NVME_BUFFERS	32	/* data pages: as many commands in flight */

/* A submission queue, its completion queue and the vector of that. */
struct nvme_queue {
	unsigned int id;
	struct nvme_command *commands;
	volatile struct nvme_completion *completions;
	unsigned int tail;	/* of the submission queue */
	unsigned int head;	/* of the completion queue */
	unsigned int phase;	/* tag of the completions of this round */
	int eventfd;
	uint64_t interrupts;	/* taken so far */
};

struct nvme {
	int device;
	volatile void *bar;
	size_t bar_length;
	char *room;		/* that was allocated */
	size_t room_length;
	char *memory;		/* of it: all that the device may reach */
	size_t memory_length;
	uint64_t iova;		/* where the device does so */
	struct nvme_queue admin;
	struct nvme_queue io;

	/* from the capabilities register */
	unsigned int entries;
	unsigned int timeout_ms;
	unsigned int stride;	/* bytes from doorbell to doorbell */
	unsigned int page_shift;
	unsigned int page_size;

	/* from IDENTIFY */
	char model[NVME_ID_MODEL_LENGTH + 1];
	char serial[NVME_ID_SERIAL_LENGTH + 1];
	char firmware[NVME_ID_FIRMWARE_LENGTH + 1];
	unsigned long long blocks;
	unsigned int block_size;
};

/*
 * All return 0 or -errno, and have said on stderr what failed. nvme_close() may
 * follow a failed nvme_open() and a failed command alike.
 */
int nvme_open(struct nvme *nvme, const char *path);

/*
 * The same for a device that was opened and attached by someone else; from now
 * on nvme_close() closes it.
 */
int nvme_start(struct nvme *nvme, int device);
void nvme_close(struct nvme *nvme);

/* The memory of data buffer 0 .. NVME_BUFFERS - 1: a page, holds a block. */
void *nvme_buffer(struct nvme *nvme, unsigned int buffer);

/* Run one command on one block, or one flush, to its end. */
int nvme_read(struct nvme *nvme, uint64_t block, unsigned int buffer);
int nvme_write(struct nvme *nvme, uint64_t block, unsigned int buffer);
int nvme_flush(struct nvme *nvme);

/*
 * The same in two steps, for many reads at once, one for each buffer: start
 * them, then wait for some. nvme_wait_reads() stores which buffers are done, at
 * most NVME_BUFFERS, and returns how many (at least one) or -errno.
 */
void nvme_start_read(struct nvme *nvme, uint64_t block, unsigned int buffer);
int nvme_wait_reads(struct nvme *nvme, unsigned int *buffers);

/*
 * What these are made of, for whoever adds queues. A command goes into the
 * submission queue, which must have room; completions that are there come out of
 * the other one, at most @max; or one command is run to its end, with nothing else
 * in flight on the queue, and @what is for the message if it fails.
 */
void nvme_submit(struct nvme *nvme, struct nvme_queue *queue,
		 const struct nvme_command *command);
unsigned int nvme_reap(struct nvme *nvme, struct nvme_queue *queue,
		       struct nvme_completion *done, unsigned int max);
int nvme_run(struct nvme *nvme, struct nvme_queue *queue,
	     const struct nvme_command *command, const char *what);

/* How often the vector of the I/O queue has fired so far. */
unsigned long long nvme_interrupts(struct nvme *nvme);

#endif /* NVME_H */
