/* SPDX-License-Identifier: GPL-2.0 */
/*
 * I/O queue pairs of an NVMe controller beside that of samples/nvme, each with the
 * MSI-X vector of its number, of which the test connects the eventfd.
 */
#ifndef UVFIO_TEST_QUEUES_H
#define UVFIO_TEST_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "nvme.h"

#define QUEUES_VECTORS	65	/* that of the admin queue among them */
#define QUEUES_FIRST	2	/* one is the sample's */

struct queues {
	struct nvme nvme;
	uint8_t *memory;
	struct nvme_queue queue[QUEUES_VECTORS];
	uint8_t *data[QUEUES_VECTORS];	/* a page each, that reads come to */
};

/*
 * A controller with queues QUEUES_FIRST .. @last; @device is attached, and closed by
 * queues_stop(). Its two vectors that are connected then are not the test's.
 */
int queues_start(struct queues *self, int device, unsigned int last);
void queues_stop(struct queues *self);

/* Start to read a block; each queue can have one under way. */
void queue_read(struct queues *self, unsigned int id, uint64_t block);

/* Whether that has ended. */
bool queue_done(struct queues *self, unsigned int id);

#endif /* UVFIO_TEST_QUEUES_H */
