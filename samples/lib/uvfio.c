// SPDX-License-Identifier: GPL-2.0
/*
 * The helper library of uvfio.h: one or two system calls per function.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uvfio.h"

/* The most vectors that one function can have: the MSI-X limit. */
#define MAX_VECTORS	2048
#define MAX_CPU_WORDS	16	/* 1024 CPUs, as cpu_set_t */

static int result(int ret)
{
	return ret < 0 ? -errno : ret;
}

int uvfio_open(const char *path)
{
	return result(open(path, O_RDWR | O_CLOEXEC));
}

int uvfio_domain_open(void)
{
	return uvfio_open("/dev/uiommu");
}

int uvfio_attach(int device, int domain)
{
	struct uvfio_domain_set set = {
		.argsz = sizeof(set),
		.domain_fd = domain,
	};

	return result(ioctl(device, UVFIO_DOMAIN_SET, &set));
}

int uvfio_detach(int device)
{
	return result(ioctl(device, UVFIO_DOMAIN_UNSET));
}

int uvfio_region(int device, unsigned int index, struct vfio_region_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	info->index = index;
	return result(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info));
}

int uvfio_region_read(int device, unsigned int index, uint64_t offset,
		      void *buffer, size_t length)
{
	struct vfio_region_info info;
	ssize_t done;
	int ret;

	ret = uvfio_region(device, index, &info);
	if (ret < 0)
		return ret;
	done = pread(device, buffer, length, info.offset + offset);
	if (done < 0)
		return -errno;
	return (size_t)done == length ? 0 : -EIO;
}

int uvfio_region_write(int device, unsigned int index, uint64_t offset,
		       const void *buffer, size_t length)
{
	struct vfio_region_info info;
	ssize_t done;
	int ret;

	ret = uvfio_region(device, index, &info);
	if (ret < 0)
		return ret;
	done = pwrite(device, buffer, length, info.offset + offset);
	if (done < 0)
		return -errno;
	return (size_t)done == length ? 0 : -EIO;
}

int uvfio_config_read16(int device, unsigned int offset, uint16_t *value)
{
	uint16_t raw;
	int ret;

	ret = uvfio_region_read(device, VFIO_PCI_CONFIG_REGION_INDEX, offset,
				&raw, sizeof(raw));
	if (!ret)
		*value = le16toh(raw);
	return ret;
}

int uvfio_config_read32(int device, unsigned int offset, uint32_t *value)
{
	uint32_t raw;
	int ret;

	ret = uvfio_region_read(device, VFIO_PCI_CONFIG_REGION_INDEX, offset,
				&raw, sizeof(raw));
	if (!ret)
		*value = le32toh(raw);
	return ret;
}

int uvfio_config_write16(int device, unsigned int offset, uint16_t value)
{
	uint16_t raw = htole16(value);

	return uvfio_region_write(device, VFIO_PCI_CONFIG_REGION_INDEX, offset,
				  &raw, sizeof(raw));
}

int uvfio_command(int device, uint16_t set, uint16_t clear)
{
	uint16_t command;
	int ret;

	ret = uvfio_config_read16(device, PCI_COMMAND, &command);
	if (ret)
		return ret;
	return uvfio_config_write16(device, PCI_COMMAND,
				    (command & ~clear) | set);
}

static int map_at(int device, uint64_t offset, size_t length,
		  volatile void **address)
{
	void *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
			 device, offset);

	if (map == MAP_FAILED)
		return -errno;
	*address = map;
	return 0;
}

int uvfio_bar_map(int device, unsigned int index, uint64_t offset,
		  size_t length, volatile void **address)
{
	struct vfio_region_info info;
	int ret;

	ret = uvfio_region(device, index, &info);
	return ret ? ret : map_at(device, info.offset + offset, length, address);
}

/* Where write-combining mmap() of a BAR is; 0: nowhere. */
static uint64_t wc_offset(const struct vfio_region_info *info)
{
	const struct uvfio_region_info_cap_wc *cap;
	uint32_t at;

	for (at = info->cap_offset; at; at = cap->header.next) {
		cap = (const void *)((const char *)info + at);
		if (cap->header.id == UVFIO_REGION_INFO_CAP_WC)
			return cap->offset;
	}
	return 0;
}

int uvfio_bar_map_wc(int device, unsigned int index, uint64_t offset,
		     size_t length, volatile void **address)
{
	union {
		struct vfio_region_info info;
		uint64_t room[64];	/* for all capabilities that there are */
	} full = {
		.info.argsz = sizeof(full),
		.info.index = index,
	};
	uint64_t base;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &full) < 0)
		return -errno;
	base = wc_offset(&full.info);
	return base ? map_at(device, base + offset, length, address) : -EINVAL;
}

int uvfio_dma_map(int fd, void *address, size_t length, uint64_t iova,
		  uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)address,
		.iova = iova,
		.size = length,
	};

	return result(ioctl(fd, UVFIO_MAP_DMA, &map));
}

int uvfio_dma_map_anywhere(int fd, void *address, size_t length, uint32_t flags,
			   uint64_t *iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags | UVFIO_DMA_MAP_ANYWHERE,
		.vaddr = (uintptr_t)address,
		.size = length,
	};
	int ret = result(ioctl(fd, UVFIO_MAP_DMA, &map));

	*iova = map.iova;
	return ret;
}

int64_t uvfio_dma_unmap(int fd, uint64_t iova, size_t length)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = length,
	};

	if (ioctl(fd, UVFIO_UNMAP_DMA, &unmap) < 0)
		return -errno;
	return unmap.size;
}

int uvfio_irq_count(int device, unsigned int index)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0)
		return -errno;
	return info.count;
}

int uvfio_irq_eventfds(int device, unsigned int index, unsigned int start,
		       const int *fds, unsigned int count)
{
	union {
		struct vfio_irq_set set;
		char bytes[sizeof(struct vfio_irq_set) +
			   MAX_VECTORS * sizeof(*fds)];
	} request;

	if (count > MAX_VECTORS)
		return -EINVAL;
	request.set.argsz = sizeof(request.set) + count * sizeof(*fds);
	request.set.flags = VFIO_IRQ_SET_DATA_EVENTFD |
			    VFIO_IRQ_SET_ACTION_TRIGGER;
	request.set.index = index;
	request.set.start = start;
	request.set.count = count;
	memcpy(request.bytes + sizeof(request.set), fds, count * sizeof(*fds));
	return result(ioctl(device, VFIO_DEVICE_SET_IRQS, &request));
}

static int irq_action(int device, unsigned int index, unsigned int start,
		      unsigned int count, uint32_t action)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | action,
		.index = index,
		.start = start,
		.count = count,
	};

	return result(ioctl(device, VFIO_DEVICE_SET_IRQS, &set));
}

int uvfio_irq_disable(int device, unsigned int index)
{
	return irq_action(device, index, 0, 0, VFIO_IRQ_SET_ACTION_TRIGGER);
}

int uvfio_irq_mask(int device, unsigned int index, unsigned int start,
		   unsigned int count)
{
	return irq_action(device, index, start, count,
			  VFIO_IRQ_SET_ACTION_MASK);
}

int uvfio_irq_unmask(int device, unsigned int index, unsigned int start,
		     unsigned int count)
{
	return irq_action(device, index, start, count,
			  VFIO_IRQ_SET_ACTION_UNMASK);
}

int uvfio_intx_unmask(int device)
{
	return uvfio_irq_unmask(device, VFIO_PCI_INTX_IRQ_INDEX, 0, 1);
}

/* With a count of 0 the call would tear the mode down. */
int uvfio_irq_trigger(int device, unsigned int index, unsigned int start,
		      unsigned int count)
{
	return count ? irq_action(device, index, start, count,
				  VFIO_IRQ_SET_ACTION_TRIGGER) : 0;
}

int uvfio_irq_affinity(int device, unsigned int index, unsigned int start,
		       unsigned int count, const uint64_t *cpus,
		       unsigned int words)
{
	union {
		struct uvfio_irq_affinity affinity;
		char bytes[sizeof(struct uvfio_irq_affinity) +
			   MAX_CPU_WORDS * sizeof(*cpus)];
	} request = { 0 };
	size_t size = words * sizeof(*cpus);

	if (words > MAX_CPU_WORDS)
		return -EINVAL;
	request.affinity.argsz = sizeof(request.affinity) + size;
	request.affinity.index = index;
	request.affinity.start = start;
	request.affinity.count = count;
	request.affinity.size = size;
	memcpy(request.bytes + sizeof(request.affinity), cpus, size);
	return result(ioctl(device, UVFIO_IRQ_SET_AFFINITY, &request));
}

int uvfio_irq_timer(int device, uint64_t period_ns)
{
	struct uvfio_irq_timer timer = {
		.argsz = sizeof(timer),
		.period_ns = period_ns,
	};

	return result(ioctl(device, UVFIO_IRQ_TIMER, &timer));
}

int uvfio_ioeventfd(int device, unsigned int index, uint64_t offset,
		    uint64_t value, unsigned int size, int fd)
{
	struct vfio_device_ioeventfd ioeventfd = {
		.argsz = sizeof(ioeventfd),
		.flags = size,	/* VFIO_DEVICE_IOEVENTFD_8 is 1, and so on */
		.data = value,
		.fd = fd,
	};
	struct vfio_region_info info;
	int ret;

	ret = uvfio_region(device, index, &info);
	if (ret < 0)
		return ret;
	ioeventfd.offset = info.offset + offset;
	return result(ioctl(device, VFIO_DEVICE_IOEVENTFD, &ioeventfd));
}

int uvfio_reset(int device)
{
	return result(ioctl(device, VFIO_DEVICE_RESET));
}
