// SPDX-License-Identifier: GPL-2.0
/*
 * Memory as devices see it; see dma.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common.h"
#include "dma.h"
#include "monitor.h"

long vm_pin(void)
{
	return process_status("VmPin");
}

int64_t unmap_all(int fd, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
		.iova = iova,
		.size = size,
	};

	if (ioctl(fd, UVFIO_UNMAP_DMA, &unmap))
		return -errno;
	return unmap.size;
}

void *iommu_cap(int fd, unsigned long call, struct iommu_info *info,
		uint16_t id)
{
	uint32_t at;

	memset(info, 0, sizeof(*info));
	info->info.argsz = sizeof(*info);
	if (ioctl(fd, call, info))
		return NULL;
	for (at = info->info.cap_offset; at && at < sizeof(*info);) {
		struct vfio_info_cap_header *cap = (void *)info + at;

		if (cap->id == id)
			return cap;
		at = cap->next;
	}
	return NULL;
}

long maps_left(int fd)
{
	struct vfio_iommu_type1_info_dma_avail *cap;
	struct iommu_info info;

	cap = iommu_cap(fd, UVFIO_IOMMU_GET_INFO, &info,
			VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	return cap ? (long)cap->avail : -1;
}

bool in_windows(int fd, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_info info;
	unsigned int i;

	cap = iommu_cap(fd, UVFIO_IOMMU_GET_INFO, &info,
			VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	for (i = 0; cap && i < cap->nr_iovas; i++)
		if (iova >= cap->iova_ranges[i].start &&
		    iova + size - 1 >= iova &&
		    iova + size - 1 <= cap->iova_ranges[i].end)
			return true;
	return false;
}

int probe_prepare(struct probe *probe)
{
	int ret = device_prepare(EDU, &probe->edu_dev);

	return ret ? ret : device_prepare(NVME, &probe->disk_dev);
}

/* What nvme_close() takes for not open. */
static void disk_clear(struct nvme *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->device = -1;
	disk->admin.eventfd = -1;
	disk->io.eventfd = -1;
}

int probe_start(struct probe *probe, uint64_t iova)
{
	int ret;

	disk_clear(&probe->disk);
	probe->iova = iova;
	probe->domain = uvfio_domain_open();
	if (probe->domain < 0)
		return probe->domain;
	ret = device_open_attached(&probe->edu_dev, probe->domain);
	if (!ret)
		ret = edu_start(&probe->edu, probe->edu_dev.fd);
	if (!ret)
		ret = device_open_attached(&probe->disk_dev, probe->domain);
	if (!ret)
		ret = nvme_start(&probe->disk, probe->disk_dev.fd);
	if (ret)
		return ret;
	probe->page = dma_alloc(PAGE_SIZE);
	if (!probe->page)
		return -ENOMEM;
	return uvfio_dma_map(probe->domain, probe->page, PAGE_SIZE, iova, RW);
}

void probe_stop(struct probe *probe)
{
	edu_stop(&probe->edu);
	nvme_close(&probe->disk);
	device_close(&probe->edu_dev);
	close(probe->domain);
	dma_free(probe->page, PAGE_SIZE);
}

/* Bytes that the last ones were not, and that memory seldom is. */
static uint8_t new_byte(void)
{
	static uint8_t last;

	last = last % 100 + 1;
	return last;
}

/*
 * Whether @data is where there was @nothing before. What a device cannot read, it
 * may leave out or take for zeros or ones; all else is -EIO.
 */
static int arrived(const uint8_t *where, const uint8_t *data, uint8_t nothing,
		   size_t size)
{
	size_t i;

	if (!memcmp(where, data, size))
		return 1;
	for (i = 0; i < size; i++)
		if (where[i] != nothing && where[i] != 0 && where[i] != 0xff)
			return -EIO;
	return 0;
}

/* The same in a whole page, of which @size bytes were written. */
static int overwritten(const uint8_t *page, uint8_t before, uint8_t after,
		       size_t size)
{
	if (is_filled(page, before, PAGE_SIZE))
		return 0;
	if (is_filled(page, after, size) &&
	    is_filled(page + size, before, PAGE_SIZE - size))
		return 1;
	return -EIO;
}

static int reach(int reads, int writes)
{
	if (reads < 0 || writes < 0)
		return -EIO;
	return (reads ? READ : 0) | (writes ? WRITE : 0);
}

/* Of the edu's buffer one half is for what it reads, one for what it writes. */
#define HALF	(EDU_BUFFER_SIZE / 2)

static int edu_prepare(struct edu *edu, uint64_t own_iova, uint8_t *own,
		       uint8_t read, uint8_t write)
{
	memset(own, read, HALF);
	memset(own + HALF, write, HALF);
	return edu_load(edu, own_iova, 0, 2 * HALF);
}

int edu_reach(struct edu *edu, uint64_t own_iova, uint8_t *own, uint64_t iova,
	      uint8_t *page)
{
	uint8_t nothing = new_byte(), before = new_byte(), after = new_byte();
	uint8_t data[HALF];
	int ret;

	/* Reads first, else it reads what it has written. */
	memset(page, before, PAGE_SIZE);
	memset(data, before, HALF);
	ret = edu_prepare(edu, own_iova, own, nothing, after);
	if (!ret)
		ret = edu_load(edu, iova, 0, HALF);
	if (!ret)
		ret = edu_store(edu, iova, HALF, HALF);
	if (!ret)
		ret = edu_store(edu, own_iova, 0, HALF);
	if (ret)
		return ret;
	return reach(arrived(own, data, nothing, HALF),
		     overwritten(page, before, after, HALF));
}

int probe_reads(struct probe *probe, uint64_t iova, const uint8_t *page)
{
	uint8_t nothing = new_byte();
	int ret;

	ret = edu_prepare(&probe->edu, probe->iova, probe->page, nothing, 0);
	if (!ret)
		ret = edu_load(&probe->edu, iova, 0, HALF);
	if (!ret)
		ret = edu_store(&probe->edu, probe->iova, 0, HALF);
	if (ret)
		return ret;
	return reach(arrived(probe->page, page, nothing, HALF), 0);
}

/* The driver computes addresses from numbers of buffers; see samples/nvme. */
unsigned int disk_buffer(uint64_t iova)
{
	return (iova - 0x10000000) / PAGE_SIZE - 4;
}

int disk_reach(struct nvme *disk, uint64_t iova, uint8_t *page)
{
	uint8_t *own = nvme_buffer(disk, 0), data[512];
	size_t size = disk->block_size;
	int ret;

	if (size != sizeof(data))
		return -EINVAL;
	memset(own, 0x5a, size);
	memset(data, 0xa6, size);
	memset(page, 0xa6, PAGE_SIZE);
	ret = nvme_write(disk, 0, 0);
	if (ret)
		return ret;
	/* A controller may or may not report that it could not. */
	nvme_write(disk, 0, disk_buffer(iova));
	ret = nvme_read(disk, 0, 0);
	if (ret)
		return ret;
	ret = arrived(own, data, 0x5a, size);

	memset(own, 0x3c, size);
	if (nvme_write(disk, 0, 0))
		return -EIO;
	nvme_read(disk, 0, disk_buffer(iova));
	return reach(ret, overwritten(page, 0xa6, 0x3c, size));
}

int probe_reach(struct probe *probe, uint64_t iova, uint8_t *page)
{
	if (iova >= EDU_IOVA_LIMIT)
		return disk_reach(&probe->disk, iova, page);
	return edu_reach(&probe->edu, probe->iova, probe->page, iova, page);
}

bool probe_maps(struct probe *probe, uint64_t iova, uint64_t size)
{
	uint64_t pte, seen;
	int ret;

	if (!MONITOR_SEES_TABLES)
		return true;
	ret = monitor_iova(probe->disk_dev.bdf, iova, &pte, &seen);
	return size ? !ret && seen == size : ret == -EFAULT;
}
