// SPDX-License-Identifier: GPL-2.0
/*
 * A machine without an IOMMU (vm/run -u): refused unless an administrator has
 * asked for it twice; then devices work, memory that is in one piece has a bus
 * address, and stays the device's until it is unmapped.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <linux/capability.h>

#include "dma.h"
#include "monitor.h"
#include "test.h"

#define BYTES		EDU_BUFFER_SIZE
#define FOUR_GIB	0x100000000ULL
#define PARAM		"/sys/module/uvfio/parameters/enable_unsafe_noiommu"
#define TAINT_USER	64UL
/* The kernel has them off where memory is little. */
#define HUGE_PAGES	"/sys/kernel/mm/transparent_hugepage/enabled"

/* Half of the machine's memory is where the edu device reaches. */
#define CHUNK		(8 * MIB)
#define MAX_CHUNKS	56

static unsigned long taints(void)
{
	char text[32];

	if (read_file("/proc/sys/kernel/tainted", text, sizeof(text)))
		return 0;
	return strtoul(text, NULL, 0);
}

static int map_at_bus(int fd, void *address, size_t size, uint32_t flags,
		      uint64_t *iova)
{
	return uvfio_dma_map_anywhere(fd, address, size, RW | flags, iova);
}

static int domain_info(int fd)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

	return ioctl(fd, UVFIO_IOMMU_GET_INFO, &info) ? -errno : 0;
}

/* Who may have a device. */
FIXTURE(who)
{
	struct device dev;
	int kmsg;
};

FIXTURE_SETUP(who)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, write_file(PARAM, "1"));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(who)
{
	device_close(&self->dev);
}

/* The first to attach anything: the mark stays until the next boot. */
TEST_F(who, taints_the_kernel_once)
{
	ASSERT_EQ(0, device_open(&self->dev));
	EXPECT_EQ(0, taints() & TAINT_USER);
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_EQ(TAINT_USER, taints() & TAINT_USER);
	EXPECT_TRUE(kmsg_has(self->kmsg, self->dev.bdf, "taint"));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_FALSE(kmsg_has(self->kmsg, self->dev.bdf, "taint"));
}

static void expect_refusal(struct __test_metadata *_metadata,
			   struct device *dev, int domain)
{
	char byte;

	EXPECT_EQ(-EPERM, uvfio_attach(dev->fd, domain));
	EXPECT_EQ(-EUNATCH, domain_info(dev->fd));
	EXPECT_EQ(-EUNATCH, uvfio_region_read(dev->fd,
					      VFIO_PCI_CONFIG_REGION_INDEX, 0,
					      &byte, 1));
	EXPECT_FALSE(raw_bus_master(dev));
}

TEST_F(who, is_refused_without_the_parameter)
{
	int domain = uvfio_domain_open();

	ASSERT_LE(0, domain);
	ASSERT_EQ(0, write_file(PARAM, "0"));
	ASSERT_EQ(0, device_open(&self->dev));
	expect_refusal(_metadata, &self->dev, -1);
	EXPECT_TRUE(kmsg_has(self->kmsg, self->dev.bdf,
			     "enable_unsafe_noiommu"));
	expect_refusal(_metadata, &self->dev, domain);

	ASSERT_EQ(0, write_file(PARAM, "1"));
	EXPECT_EQ(0, uvfio_attach(self->dev.fd, domain));
	EXPECT_EQ(0, domain_info(self->dev.fd));
}

TEST_F(who, is_refused_without_the_capability)
{
	int other = uvfio_domain_open(), domain = uvfio_domain_open();

	ASSERT_LE(0, other);
	ASSERT_LE(0, domain);
	ASSERT_EQ(0, device_open(&self->dev));
	EXPECT_EQ(0, uvfio_attach(self->dev.fd, domain));
	EXPECT_EQ(0, uvfio_detach(self->dev.fd));

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	expect_refusal(_metadata, &self->dev, -1);
	EXPECT_TRUE(kmsg_has(self->kmsg, self->dev.bdf, "CAP_SYS_RAWIO"));
	expect_refusal(_metadata, &self->dev, other);
	/* Nor into a domain that someone with it has made unsafe. */
	expect_refusal(_metadata, &self->dev, domain);
}

/* What was attached stays attached. */
TEST_F(who, is_not_taken_back)
{
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, write_file(PARAM, "0"));
	EXPECT_EQ(0, domain_info(self->dev.fd));
	EXPECT_EQ(0, uvfio_detach(self->dev.fd));
	EXPECT_EQ(-EPERM, uvfio_attach(self->dev.fd, -1));
}

/* A device that root has attached, in the hands of a user. */
FIXTURE(noiommu)
{
	struct device dev;
	struct edu edu;
	int fd;
	int pagemap;
	uint8_t *chunks[MAX_CHUNKS];
	uint8_t *low;		/* a page that the device reaches */
	long pinned;
};

/*
 * The kernel hands out memory above 4 GiB first, so what is below comes after a
 * lot of it; the first page of that which lies below EDU_IOVA_LIMIT.
 */
static uint8_t *low_page(int pagemap, uint8_t **chunks)
{
	uint64_t address;
	size_t off;
	int i;

	for (i = 0; i < MAX_CHUNKS; i++) {
		chunks[i] = dma_alloc(CHUNK);
		if (!chunks[i])
			return NULL;
		for (off = 0; off < CHUNK; off += PAGE_SIZE) {
			address = page_address(pagemap, chunks[i] + off);
			if (address && address < EDU_IOVA_LIMIT)
				return chunks[i] + off;
		}
	}
	return NULL;
}

FIXTURE_SETUP(noiommu)
{
	uint64_t iova;

	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, write_file(PARAM, "1"));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->fd = self->dev.fd;
	ASSERT_EQ(0, write_file(HUGE_PAGES, "madvise"));
	self->pagemap = pagemap_open();
	ASSERT_LE(0, self->pagemap);
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, edu_start(&self->edu, self->fd));
	self->pinned = vm_pin();

	self->low = low_page(self->pagemap, self->chunks);
	ASSERT_NE(NULL, self->low);
	ASSERT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE, 0, &iova));
	ASSERT_GT(EDU_IOVA_LIMIT, iova);
	ASSERT_EQ(0, edu_fill(&self->edu, iova, self->low, 0x5a));
	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, iova, PAGE_SIZE));
}

FIXTURE_TEARDOWN(noiommu)
{
	int i;

	edu_stop(&self->edu);
	device_close(&self->dev);
	EXPECT_EQ(self->pinned, vm_pin());
	for (i = 0; i < MAX_CHUNKS; i++)
		dma_free(self->chunks[i], CHUNK);
}

/* The device's buffer is full of 0x5a, see above. */
static bool reaches(struct edu *edu, uint64_t iova, uint8_t *page)
{
	memset(page, 0, BYTES);
	return !edu_store(edu, iova, 0, BYTES) && is_filled(page, 0x5a, BYTES);
}

TEST_F(noiommu, page_has_a_bus_address)
{
	uint64_t iova, again;

	ASSERT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE, 0, &iova));
	EXPECT_EQ(page_address(self->pagemap, self->low), iova);
	EXPECT_EQ(self->pinned + 4, vm_pin());
	EXPECT_EQ(1, fdinfo_number(self->fd, "mappings"));
	EXPECT_EQ(PAGE_SIZE, fdinfo_number(self->fd, "pinned"));
	EXPECT_TRUE(reaches(&self->edu, iova, self->low));

	/* It has one address, which is taken. */
	EXPECT_EQ(-EEXIST, map_at_bus(self->fd, self->low, PAGE_SIZE, 0,
				      &again));
	EXPECT_EQ(self->pinned + 4, vm_pin());

	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, iova, PAGE_SIZE));
	EXPECT_EQ(0, uvfio_dma_unmap(self->fd, iova, PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE, 0, &again));
	EXPECT_EQ(iova, again);
}

TEST_F(noiommu, address_cannot_be_chosen)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = RW | UVFIO_DMA_MAP_ANYWHERE,
		.vaddr = (uintptr_t)self->low,
		.size = PAGE_SIZE,
		.iova = page_address(self->pagemap, self->low),
	};

	EXPECT_EQ(-EINVAL, uvfio_dma_map(self->fd, self->low, PAGE_SIZE,
					 map.iova, RW));
	EXPECT_EQ(-EINVAL, uvfio_dma_map(self->fd, self->low, PAGE_SIZE,
					 16 * MIB, RW));
	EXPECT_EQ(-1, ioctl(self->fd, UVFIO_MAP_DMA, &map));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(self->pinned, vm_pin());
	map.iova = 0;
	EXPECT_EQ(0, ioctl(self->fd, UVFIO_MAP_DMA, &map));
}

static uint8_t *small_pages(size_t size)
{
	uint8_t *memory = small_alloc(size);

	if (memory)
		memset(memory, 0, size);
	return memory;
}

/* Two pages of a huge one, side by side at a new address. */
static uint8_t *take_two(uint8_t *huge, unsigned int first, unsigned int second)
{
	uint8_t *two = small_pages(2 * PAGE_SIZE);

	if (!two ||
	    mremap(huge + first * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, two) == MAP_FAILED ||
	    mremap(huge + second * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, two + PAGE_SIZE) == MAP_FAILED)
		return NULL;
	return two;
}

TEST_F(noiommu, memory_has_to_be_in_one_piece)
{
	uint8_t *huge = huge_alloc(HUGE_SIZE), *apart, *together;
	uint64_t iova;

	ASSERT_NE(NULL, huge);
	apart = take_two(huge, 1, 3);
	together = take_two(huge, 5, 6);
	ASSERT_NE(NULL, apart);
	ASSERT_NE(NULL, together);
	ASSERT_EQ(page_address(self->pagemap, apart) + 2 * PAGE_SIZE,
		  page_address(self->pagemap, apart + PAGE_SIZE));

	EXPECT_EQ(-EINVAL, map_at_bus(self->fd, apart, 2 * PAGE_SIZE, 0, &iova));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(0, fdinfo_number(self->fd, "mappings"));

	ASSERT_EQ(0, map_at_bus(self->fd, together, 2 * PAGE_SIZE, 0, &iova));
	EXPECT_EQ(page_address(self->pagemap, together), iova);
	EXPECT_EQ(self->pinned + 8, vm_pin());
	EXPECT_EQ(2 * PAGE_SIZE, uvfio_dma_unmap(self->fd, iova,
						 2 * PAGE_SIZE));
	dma_free(huge, HUGE_SIZE);
	dma_free(apart, 2 * PAGE_SIZE);
	dma_free(together, 2 * PAGE_SIZE);
}

TEST_F(noiommu, huge_page_is_one_piece)
{
	uint8_t *huge = huge_alloc(HUGE_SIZE);
	uint64_t iova, again;

	ASSERT_NE(NULL, huge);
	ASSERT_EQ(0, map_at_bus(self->fd, huge, HUGE_SIZE, 0, &iova));
	EXPECT_EQ(0, iova % HUGE_SIZE);
	EXPECT_EQ(page_address(self->pagemap, huge), iova);
	EXPECT_EQ(self->pinned + 2048, vm_pin());

	/* A page from inside of it is given back, and can be mapped anew. */
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, iova + 5 * PAGE_SIZE,
					     PAGE_SIZE));
	EXPECT_EQ(self->pinned + 2044, vm_pin());
	EXPECT_EQ(2, fdinfo_number(self->fd, "mappings"));
	ASSERT_EQ(0, map_at_bus(self->fd, huge + 5 * PAGE_SIZE, PAGE_SIZE, 0,
				&again));
	EXPECT_EQ(iova + 5 * PAGE_SIZE, again);
	EXPECT_EQ((int64_t)HUGE_SIZE, uvfio_dma_unmap(self->fd, iova,
						      HUGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
	dma_free(huge, HUGE_SIZE);
}

TEST_F(noiommu, below_4g_is_a_matter_of_the_memory)
{
	uint8_t *high = NULL;
	uint64_t iova;
	int i;

	for (i = 0; i < MAX_CHUNKS && self->chunks[i] && !high; i++) {
		if (page_address(self->pagemap, self->chunks[i]) >= FOUR_GIB)
			high = self->chunks[i];
	}
	ASSERT_NE(NULL, high);
	EXPECT_EQ(-EINVAL, map_at_bus(self->fd, high, PAGE_SIZE,
				      UVFIO_DMA_MAP_BELOW_4G, &iova));
	EXPECT_EQ(self->pinned, vm_pin());
	ASSERT_EQ(0, map_at_bus(self->fd, high, PAGE_SIZE, 0, &iova));
	EXPECT_LE(FOUR_GIB, iova);
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, iova, PAGE_SIZE));

	ASSERT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE,
				UVFIO_DMA_MAP_BELOW_4G, &iova));
	EXPECT_TRUE(reaches(&self->edu, iova, self->low));
}

TEST_F(noiommu, memory_is_charged)
{
	uint8_t *huge = huge_alloc(2 * MEMLOCK_BYTES);
	uint64_t iova[5], total = 0;
	int i;

	ASSERT_NE(NULL, huge);
	ASSERT_EQ(0, self->pinned);
	for (i = 0; i < 3; i++, total += HUGE_SIZE)
		ASSERT_EQ(0, map_at_bus(self->fd, huge + total, HUGE_SIZE, 0,
					&iova[i]));
	/* Short of the limit by a huge page, of which one page is mapped. */
	ASSERT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE, 0, &iova[3]));
	EXPECT_EQ(-ENOMEM, map_at_bus(self->fd, huge + total, HUGE_SIZE, 0,
				      &iova[4]));
	EXPECT_EQ((long)(total + PAGE_SIZE) / 1024, vm_pin());
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, iova[3], PAGE_SIZE));
	EXPECT_EQ(0, map_at_bus(self->fd, huge + total, HUGE_SIZE, 0,
				&iova[4]));
	EXPECT_EQ((long)MEMLOCK_BYTES / 1024, vm_pin());
	device_close(&self->dev);
	/* The mapped registers keep it open. */
	edu_stop(&self->edu);
	EXPECT_EQ(0, vm_pin());
	dma_free(huge, 2 * MEMLOCK_BYTES);
}

static bool is_in(int pagemap, uint64_t address, uint8_t *memory, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += PAGE_SIZE) {
		if (page_address(pagemap, memory + off) == address)
			return true;
	}
	return false;
}

/* Whether someone who asks for memory gets the page at @address. */
static bool is_handed_out(int pagemap, uint64_t address, uint8_t **chunks)
{
	int i;

	for (i = 0; i < MAX_CHUNKS && chunks[i]; i++) {
		uint8_t *memory = small_pages(MIB);
		bool found;

		if (!memory)
			return false;
		found = is_in(pagemap, address, memory, MIB);
		/* One page stays, so that the next round gets others. */
		munmap(memory + PAGE_SIZE, MIB - PAGE_SIZE);
		if (found)
			return true;
	}
	return false;
}

/* There is nothing to take it from: the page has to stay the device's. */
TEST_F(noiommu, page_outlives_the_memory)
{
	uint64_t iova;

	ASSERT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE, 0, &iova));
	memset(self->low, 0, PAGE_SIZE);
	ASSERT_EQ(0, munmap(self->low, PAGE_SIZE));
	EXPECT_EQ(self->pinned + 4, vm_pin());
	EXPECT_FALSE(is_handed_out(self->pagemap, iova, self->chunks));

	/* What the device writes is there, and nobody's. */
	EXPECT_EQ(1, monitor_has(iova, 0));
	ASSERT_EQ(0, edu_store(&self->edu, iova, 0, BYTES));
	EXPECT_EQ(1, monitor_has(iova, 0x5a));
	EXPECT_EQ(self->pinned + 4, vm_pin());
	EXPECT_EQ(0, fdinfo_number(self->fd, "revoked"));

	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, iova, PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_TRUE(is_handed_out(self->pagemap, iova, self->chunks));
}

/* A transfer that is under way when the device is given up. */
static void start_store(struct edu *edu, uint64_t iova)
{
	edu_write(edu, EDU_DMA_SOURCE, EDU_BUFFER);
	edu_write(edu, EDU_DMA_TARGET, iova);
	edu_write(edu, EDU_DMA_COUNT, BYTES);
	edu_write(edu, EDU_DMA_COMMAND, 1 | 2);
}

TEST_F(noiommu, device_does_nothing_after_its_user)
{
	uint64_t iova;

	memset(self->low, 0, PAGE_SIZE);
	ASSERT_EQ(0, map_at_bus(self->fd, self->low, PAGE_SIZE, 0, &iova));
	start_store(&self->edu, iova);
	usleep(1000 * (QUIET_MS + 200));
	EXPECT_TRUE(is_filled(self->low, 0x5a, BYTES));

	memset(self->low, 0, PAGE_SIZE);
	start_store(&self->edu, iova);
	edu_stop(&self->edu);
	device_close(&self->dev);
	EXPECT_FALSE(raw_bus_master(&self->dev));
	usleep(1000 * (QUIET_MS + 200));
	EXPECT_TRUE(is_filled(self->low, 0, PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
}

TEST_F(noiommu, interrupts_arrive)
{
	int event = event_new();

	ASSERT_LE(0, event);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, VFIO_PCI_MSI_IRQ_INDEX, 0,
					&event, 1));
	EXPECT_FALSE(event_wait(event, QUIET_MS));
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(event_wait(event, WAIT_MS));
}

TEST_F(noiommu, domain_says_what_it_is)
{
	int domain = uvfio_domain_open();

	ASSERT_LE(0, domain);
	EXPECT_EQ(0, ioctl(domain, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU));
	EXPECT_TRUE(fdinfo_is(domain, "iommu", "none"));
	EXPECT_TRUE(fdinfo_is(self->fd, "iommu", "noiommu"));
	EXPECT_EQ(0, domain_info(self->fd));
	close(domain);
}

/* One domain for a pair of devices, and what they have in it. */
FIXTURE(shared)
{
	struct device edu_dev;
	struct device disk_dev;
	struct nvme disk;
	int domain;
};

FIXTURE_SETUP(shared)
{
	self->disk.device = -1;
	ASSERT_EQ(0, device_prepare(EDU, &self->edu_dev));
	ASSERT_EQ(0, device_prepare(NVME, &self->disk_dev));
	ASSERT_EQ(0, write_file(PARAM, "1"));
	ASSERT_EQ(0, write_file(HUGE_PAGES, "madvise"));
	self->domain = uvfio_domain_open();
	ASSERT_LE(0, self->domain);
	ASSERT_EQ(0, device_open_attached(&self->edu_dev, self->domain));
	ASSERT_EQ(0, device_open_attached(&self->disk_dev, self->domain));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(shared)
{
	nvme_close(&self->disk);
	device_close(&self->edu_dev);
}

/* With all that a driver needs: queues, data, MSI-X. */
TEST_F(shared, disk_works)
{
	struct nvme *disk = &self->disk;
	uint8_t want[512];
	int i;

	EXPECT_EQ(1, ioctl(self->domain, VFIO_CHECK_EXTENSION,
			   VFIO_NOIOMMU_IOMMU));
	ASSERT_EQ(0, nvme_start(disk, self->disk_dev.fd));
	for (i = 0; i < 8; i++) {
		memset(nvme_buffer(disk, i), 0x30 + i, sizeof(want));
		ASSERT_EQ(0, nvme_write(disk, i, i));
	}
	for (i = 0; i < 8; i++) {
		memset(want, 0x30 + i, sizeof(want));
		ASSERT_EQ(0, nvme_read(disk, i, 31));
		EXPECT_EQ(0, memcmp(want, nvme_buffer(disk, 31), sizeof(want)));
	}
	EXPECT_LT(0, nvme_interrupts(disk));
}

/* Mappings are the domain's: they outlive the device that they were made by. */
TEST_F(shared, mappings_stay)
{
	uint8_t *page = dma_alloc(PAGE_SIZE);
	uint64_t iova, again;

	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, map_at_bus(self->edu_dev.fd, page, PAGE_SIZE, 0, &iova));
	device_close(&self->edu_dev);
	device_close(&self->disk_dev);
	EXPECT_EQ(4, vm_pin());
	EXPECT_EQ(-EEXIST, map_at_bus(self->domain, page, PAGE_SIZE, 0,
				      &again));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->domain, iova, PAGE_SIZE));
	EXPECT_EQ(0, vm_pin());
	dma_free(page, PAGE_SIZE);
}

TEST_HARNESS_MAIN
