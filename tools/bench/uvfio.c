// SPDX-License-Identifier: GPL-2.0
/* The benchmark's back end for uvfio. */
#include <unistd.h>

#include <uvfio.h>

#include "bench.h"

static int open_device(struct device *dev)
{
	dev->fd = uvfio_open(dev->node);
	return dev->fd < 0 ? dev->fd : uvfio_attach(dev->fd, -1);
}

static void close_device(struct device *dev)
{
	close(dev->fd);
}

static int dma_map(struct device *dev, void *memory, size_t len, uint64_t iova)
{
	return uvfio_dma_map(dev->fd, memory, len, iova,
			     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
}

static int dma_unmap(struct device *dev, uint64_t iova, size_t len)
{
	int64_t ret = uvfio_dma_unmap(dev->fd, iova, len);

	return ret < 0 ? ret : 0;
}

int locate_on_fd(struct device *dev)
{
	struct vfio_region_info info;
	unsigned int i;
	int ret;

	for (i = 0; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) {
		ret = uvfio_region(dev->fd, i, &info);
		if (ret)
			return ret;
		dev->regions[i] = (struct place) {
			.fd = info.size ? dev->fd : -1,
			.offset = info.offset,
			.size = info.size,
		};
	}
	return 0;
}

const struct driver uvfio_driver = {
	.name = "uvfio",
	.can = CAN_OPEN | CAN_PREAD_BAR | CAN_DMA | CAN_SET_IRQS,
	.open = open_device,
	.close = close_device,
	.locate = locate_on_fd,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
};
