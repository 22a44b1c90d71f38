// SPDX-License-Identifier: GPL-2.0
/*
 * I/O queue pairs of an NVMe controller; see queues.h.
 */
#include <errno.h>
#include <string.h>

#include "common.h"
#include "queues.h"

/* What each has, in pages, where nothing of the sample's is */
enum {
	COMMANDS,
	COMPLETIONS,
	DATA,
	PAGES_EACH
};

#define MEMORY		(QUEUES_VECTORS * PAGES_EACH * PAGE_SIZE)
#define MEMORY_IOVA	0x20000000

static size_t offset_of(unsigned int id, unsigned int part)
{
	return (id * PAGES_EACH + part) * PAGE_SIZE;
}

static int queue_create(struct queues *self, unsigned int id)
{
	struct nvme_queue *queue = &self->queue[id];
	uint32_t size_and_id = (self->nvme.entries - 1) << 16 | id;
	const struct nvme_command completions = {
		.opcode = NVME_CREATE_CQ,
		.data = MEMORY_IOVA + offset_of(id, COMPLETIONS),
		.dword10 = size_and_id,
		.dword11 = id << 16 | NVME_QUEUE_INTERRUPTS |
			   NVME_QUEUE_CONTIGUOUS,
	};
	const struct nvme_command commands = {
		.opcode = NVME_CREATE_SQ,
		.data = MEMORY_IOVA + offset_of(id, COMMANDS),
		.dword10 = size_and_id,
		.dword11 = id << 16 | NVME_QUEUE_CONTIGUOUS,
	};
	int ret;

	queue->id = id;
	queue->commands = (void *)(self->memory + offset_of(id, COMMANDS));
	queue->completions = (void *)(self->memory +
				      offset_of(id, COMPLETIONS));
	queue->phase = 1;
	queue->eventfd = -1;
	self->data[id] = self->memory + offset_of(id, DATA);
	ret = nvme_run(&self->nvme, &self->nvme.admin, &completions,
		       "create a completion queue");
	return ret ?: nvme_run(&self->nvme, &self->nvme.admin, &commands,
			       "create a submission queue");
}

int queues_start(struct queues *self, int device, unsigned int last)
{
	unsigned int id;
	int ret;

	ret = nvme_start(&self->nvme, device);
	if (ret)
		return ret;
	self->memory = dma_alloc(MEMORY);
	if (!self->memory)
		return -ENOMEM;
	ret = uvfio_dma_map(device, self->memory, MEMORY, MEMORY_IOVA,
			    VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
	for (id = QUEUES_FIRST; !ret && id <= last; id++)
		ret = queue_create(self, id);
	return ret;
}

void queues_stop(struct queues *self)
{
	nvme_close(&self->nvme);
	if (self->memory)
		dma_free(self->memory, MEMORY);
	self->memory = NULL;
}

void queue_read(struct queues *self, unsigned int id, uint64_t block)
{
	const struct nvme_command command = {
		.opcode = NVME_READ,
		.namespace = 1,
		.data = MEMORY_IOVA + offset_of(id, DATA),
		.dword10 = block,
	};

	nvme_submit(&self->nvme, &self->queue[id], &command);
}

bool queue_done(struct queues *self, unsigned int id)
{
	struct nvme_completion done;

	return nvme_reap(&self->nvme, &self->queue[id], &done, 1);
}
