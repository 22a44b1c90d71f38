// SPDX-License-Identifier: GPL-2.0
/* The benchmark's back end for the kernel's vfio-pci: container, group, type1. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

static int open_device(struct device *dev)
{
	dev->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (dev->container < 0)
		return -errno;
	dev->group = open(dev->node, O_RDWR | O_CLOEXEC);
	if (dev->group < 0 ||
	    ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &dev->container) ||
	    ioctl(dev->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
	return dev->fd < 0 ? -errno : 0;
}

static void close_device(struct device *dev)
{
	close(dev->fd);
	close(dev->group);
	close(dev->container);
}

static int dma_map(struct device *dev, void *memory, size_t len, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = len,
	};

	return ioctl(dev->container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int dma_unmap(struct device *dev, uint64_t iova, size_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = len,
	};

	return ioctl(dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : 0;
}

const struct driver vfio_pci_driver = {
	.name = "vfio-pci",
	.can = CAN_OPEN | CAN_PREAD_BAR | CAN_DMA | CAN_SET_IRQS,
	.open = open_device,
	.close = close_device,
	.locate = locate_on_fd,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
};
