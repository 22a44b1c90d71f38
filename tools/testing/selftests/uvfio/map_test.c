// SPDX-License-Identifier: GPL-2.0
/*
 * Mapping: every kind of memory that a process can have, places that the kernel
 * picks, and taking away parts of what was mapped. Devices tell what they reach;
 * QEMU's monitor, how large the pages in the IOMMU's table are.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/memfd.h>

#include "dma.h"
#include "monitor.h"
#include "test.h"

#define PROBE_IOVA	0x100000ULL
#define IOVA		0x2000000ULL	/* 2 MiB aligned, an edu's */
#define HIGH_IOVA	0x80000000ULL	/* 1 GiB aligned, a disk's */
#define FOUR_GIB	0x100000000ULL

#define MEMLOCK		(1100 * MIB)
#define PAGES		16

#define HUGE_POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define GIGANTIC_POOL	\
	"/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"
#define NO_GIGANTIC_PAGE "no page of 1 GiB: see -g of vm/run"

/* That of the machine's memory, in which there are ROMs, and Linux never is. */
#define FIRMWARE	(IS_AARCH64 ? 0 : 0xff000)

#define LIMIT_PARAM	"/sys/module/uvfio/parameters/dma_entry_limit"

/* Memory of each kind, of a size that suits it; NULL: there is none. */

static uint8_t *mapped(void *address)
{
	return address == MAP_FAILED ? NULL : address;
}

static uint8_t *anonymous(size_t size, int flags)
{
	return mapped(mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_ANONYMOUS | flags, -1, 0));
}

/* Where pages of @align bytes have room; what is around stays empty. */
static uint8_t *aligned(size_t size, size_t align)
{
	uint8_t *start = anonymous(size + align, MAP_PRIVATE);

	return start ? start + (-(uintptr_t)start & (align - 1)) : NULL;
}

/* @file is closed: the memory stays. */
static uint8_t *of_file(int file, size_t size, int prot, int flags)
{
	uint8_t *start = NULL;

	if (file >= 0 && !ftruncate(file, size))
		start = mapped(mmap(NULL, size, prot, flags, file, 0));
	close(file);
	return start;
}

static int tmpfs_file(void)
{
	char path[] = "/dev/shm/map_test.XXXXXX";
	int file = mkstemp(path);

	unlink(path);
	return file;
}

static uint8_t *make_anonymous(size_t size)
{
	return anonymous(size, MAP_PRIVATE);
}

static uint8_t *make_shared(size_t size)
{
	return anonymous(size, MAP_SHARED);
}

static uint8_t *make_static(size_t size)
{
	static _Alignas(PAGE_SIZE) uint8_t memory[PAGES * PAGE_SIZE];

	return size <= sizeof(memory) ? memory : NULL;
}

static uint8_t *make_memfd(size_t size)
{
	return of_file(memfd_create("memory", MFD_CLOEXEC), size,
		       PROT_READ | PROT_WRITE, MAP_SHARED);
}

static uint8_t *make_tmpfs(size_t size)
{
	return of_file(tmpfs_file(), size, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static uint8_t *make_private_tmpfs(size_t size)
{
	return of_file(tmpfs_file(), size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static uint8_t *make_thp(size_t size)
{
	uint8_t *start = aligned(size, 2 * MIB);

	if (!start || madvise(start, size, MADV_HUGEPAGE))
		return NULL;
	memset(start, 0, size);
	return start;
}

static uint8_t *make_hugetlb(size_t size)
{
	return anonymous(size, MAP_PRIVATE | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT);
}

static uint8_t *make_shared_hugetlb(size_t size)
{
	return of_file(memfd_create("memory", MFD_CLOEXEC | MFD_HUGETLB |
				    MFD_HUGE_2MB), size,
		       PROT_READ | PROT_WRITE, MAP_SHARED);
}

static uint8_t *make_gigantic(size_t size)
{
	return anonymous(size, MAP_PRIVATE | MAP_HUGETLB | 30 << MAP_HUGE_SHIFT);
}

/* As root: room for those above. */
static int huge_pages_prepare(void)
{
	char count[32];

	if (write_file(HUGE_POOL, "16") ||
	    read_file(HUGE_POOL, count, sizeof(count)))
		return -ENOMEM;
	return atoi(count) < 16 ? -ENOMEM : 0;
}

static bool has_gigantic_page(void)
{
	char count[32];

	return !read_file(GIGANTIC_POOL, count, sizeof(count)) &&
	       atoi(count) > 0;
}

FIXTURE(map)
{
	struct probe probe;
	int fd;			/* the domain, with the probe's devices */
	long pinned;		/* kB, with nothing mapped for the test */
	uint8_t *memory;	/* PAGES of it */
	int physical;		/* /dev/mem; -1: this kernel has none */
};

/* As root, and it ends as the user. */
static int begin(struct probe *probe)
{
	int ret;

	ret = probe_prepare(probe);
	if (!ret)
		ret = monitor_open();
	if (!ret)
		ret = huge_pages_prepare();
	if (!ret)
		ret = drop_privileges_limited(TEST_UID, MEMLOCK);
	return ret ? ret : probe_start(probe, PROBE_IOVA);
}

FIXTURE_SETUP(map)
{
	self->physical = open("/dev/mem", O_RDWR | O_CLOEXEC);
	ASSERT_EQ(0, begin(&self->probe));
	self->fd = self->probe.domain;
	self->pinned = vm_pin();
	self->memory = dma_alloc(PAGES * PAGE_SIZE);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(map)
{
	EXPECT_LE(0, unmap_all(self->fd, 0, 0));
	EXPECT_EQ(0, vm_pin());
	probe_stop(&self->probe);
	dma_free(self->memory, PAGES * PAGE_SIZE);
}

/* Kinds of memory */

FIXTURE(kind)
{
	struct probe probe;
	int fd;
	uint8_t *start;		/* NULL: this machine has no such memory */
	long pinned;
};

FIXTURE_VARIANT(kind)
{
	uint8_t *(*make)(size_t size);
	size_t size;
	uint64_t iova;
	uint64_t page;		/* what the IOMMU needs one entry for */
};

#define IN_PAGES	.size = PAGES * PAGE_SIZE, .iova = IOVA

FIXTURE_VARIANT_ADD(kind, anonymous) { IN_PAGES, .make = make_anonymous };

FIXTURE_VARIANT_ADD(kind, shared) { IN_PAGES, .make = make_shared };

FIXTURE_VARIANT_ADD(kind, static_data) { IN_PAGES, .make = make_static };

FIXTURE_VARIANT_ADD(kind, memfd) { IN_PAGES, .make = make_memfd };

FIXTURE_VARIANT_ADD(kind, tmpfs) { IN_PAGES, .make = make_tmpfs };

FIXTURE_VARIANT_ADD(kind, private_tmpfs) { IN_PAGES, .make = make_private_tmpfs };

FIXTURE_VARIANT_ADD(kind, thp)
{
	.make = make_thp,
	.size = 4 * MIB,
	.iova = IOVA,
	.page = 2 * MIB,
};

FIXTURE_VARIANT_ADD(kind, hugetlb)
{
	.make = make_hugetlb,
	.size = 4 * MIB,
	.iova = IOVA,
	.page = 2 * MIB,
};

FIXTURE_VARIANT_ADD(kind, shared_hugetlb)
{
	.make = make_shared_hugetlb,
	.size = 4 * MIB,
	.iova = IOVA,
	.page = 2 * MIB,
};

FIXTURE_VARIANT_ADD(kind, gigantic)
{
	.make = make_gigantic,
	.size = GIB,
	.iova = HIGH_IOVA,
	.page = GIB,
};

FIXTURE_SETUP(kind)
{
	ASSERT_EQ(0, begin(&self->probe));
	self->fd = self->probe.domain;
	self->pinned = vm_pin();
	if (variant->page == GIB && !has_gigantic_page())
		return;
	self->start = variant->make(variant->size);
	ASSERT_NE(NULL, self->start);
}

FIXTURE_TEARDOWN(kind)
{
	EXPECT_EQ(self->pinned, vm_pin());
	probe_stop(&self->probe);
}

TEST_F(kind, goes_both_ways)
{
	const size_t size = variant->size;
	const uint64_t iova = variant->iova;
	uint8_t *start = self->start, *last = start + size - PAGE_SIZE;

	if (!start)
		SKIP(return, NO_GIGANTIC_PAGE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, start, size, iova, RW));
	EXPECT_EQ(self->pinned + (long)(size / KIB), vm_pin());
	EXPECT_EQ(RW, probe_reach(&self->probe, iova, start));
	EXPECT_EQ(RW, probe_reach(&self->probe, iova + size / 2,
				  start + size / 2));
	EXPECT_EQ(RW, probe_reach(&self->probe, iova + size - PAGE_SIZE, last));
	EXPECT_TRUE(probe_maps(&self->probe, iova, variant->page ?: PAGE_SIZE));
	EXPECT_EQ((int64_t)size, uvfio_dma_unmap(self->fd, iova, size));
	EXPECT_EQ(self->pinned, vm_pin());
	EXPECT_EQ(0, probe_reach(&self->probe, iova, start));
	EXPECT_EQ(0, probe_reach(&self->probe, iova + size - PAGE_SIZE, last));
}

TEST_F(kind, goes_one_way)
{
	uint64_t iova = variant->iova;
	uint8_t *start = self->start;
	int ways;

	if (!start)
		SKIP(return, NO_GIGANTIC_PAGE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, start, variant->size, iova, READ));
	EXPECT_EQ(READ, probe_reach(&self->probe, iova, start));
	ASSERT_EQ((int64_t)variant->size,
		  uvfio_dma_unmap(self->fd, iova, variant->size));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, start, PAGE_SIZE, iova, WRITE));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, start + PAGE_SIZE, PAGE_SIZE,
				   iova + PAGE_SIZE, READ));
	/* That it is not read from is more than every IOMMU gives. */
	ways = probe_reach(&self->probe, iova, start);
	EXPECT_TRUE(ways == WRITE || ways == RW);
	EXPECT_EQ(READ, probe_reach(&self->probe, iova + PAGE_SIZE,
				    start + PAGE_SIZE));
	EXPECT_EQ(2 * PAGE_SIZE, uvfio_dma_unmap(self->fd, iova,
						 2 * PAGE_SIZE));
}

/* Pieces of large pages: they begin and end anywhere. */
TEST_F(kind, goes_in_pieces)
{
	const uint64_t iova = variant->iova + PAGE_SIZE;
	const size_t size = variant->size == GIB ? 5 * MIB :
						   variant->size - 2 * PAGE_SIZE;
	uint8_t *start = self->start;

	if (!start)
		SKIP(return, NO_GIGANTIC_PAGE);
	memset(start, 0x77, PAGE_SIZE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, start + PAGE_SIZE, size, iova,
				   RW));
	EXPECT_EQ(self->pinned + (long)(size / KIB), vm_pin());
	EXPECT_EQ(RW, probe_reach(&self->probe, iova, start + PAGE_SIZE));
	EXPECT_EQ(RW, probe_reach(&self->probe, iova + size - PAGE_SIZE,
				  start + size));
	EXPECT_EQ(0, probe_reach(&self->probe, iova - PAGE_SIZE, start));
	EXPECT_TRUE(probe_maps(&self->probe, iova - PAGE_SIZE, 0));
	EXPECT_TRUE(probe_maps(&self->probe, iova + size, 0));
	EXPECT_EQ((int64_t)size, uvfio_dma_unmap(self->fd, iova, size));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* One mapping of several kinds side by side, of which one end is refused. */
TEST_F(map, crosses_kinds)
{
	const size_t each = 4 * PAGE_SIZE, hole = 2 * MIB;
	uint8_t *start = aligned(4 * MIB, 2 * MIB);
	unsigned int i;
	int file;

	ASSERT_NE(NULL, start);
	/* Anonymous, then two of a file, then a huge page, then read-only. */
	file = memfd_create("memory", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(file, 2 * each));
	ASSERT_NE(MAP_FAILED, mmap(start + hole - 2 * each, each,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, file, 0));
	ASSERT_NE(MAP_FAILED, mmap(start + hole - each, each,
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_FIXED, file, each));
	ASSERT_NE(MAP_FAILED, mmap(start + hole, 2 * MIB,
				   PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS |
				   MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, -1, 0));
	ASSERT_NE(MAP_FAILED, mmap(start + 4 * MIB, PAGE_SIZE, PROT_READ,
				   MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
				   -1, 0));

	ASSERT_EQ(0, uvfio_dma_map(self->fd, start + hole - 3 * each, 4 * each,
				   IOVA, RW));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + i * each,
					  start + hole - 3 * each + i * each)) {
			TH_LOG("kind %u", i);
		}
	EXPECT_EQ(self->pinned + (long)(4 * each / KIB), vm_pin());
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, start + hole - 3 * each,
					 3 * each + 2 * MIB + PAGE_SIZE,
					 2 * IOVA, RW));
	EXPECT_EQ(self->pinned + (long)(4 * each / KIB), vm_pin());
	EXPECT_TRUE(probe_maps(&self->probe, 2 * IOVA, 0));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, start + hole - 3 * each,
				   3 * each + 2 * MIB + PAGE_SIZE, 2 * IOVA,
				   READ));
	close(file);
}

/* A view of a file that cannot be written is for reading only. */
TEST_F(map, reads_files)
{
	uint8_t *view, *writable;
	char path[] = "/dev/shm/map_test.XXXXXX";
	int file = mkstemp(path), read_only;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, 2 * PAGE_SIZE));
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, read_only);
	unlink(path);
	writable = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			file, 0);
	ASSERT_NE(MAP_FAILED, (void *)writable);
	view = mmap(NULL, 2 * PAGE_SIZE, PROT_READ, MAP_SHARED, read_only, 0);
	ASSERT_NE(MAP_FAILED, (void *)view);

	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, view, PAGE_SIZE, IOVA,
					 WRITE));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, view, PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(self->pinned, vm_pin());
	ASSERT_EQ(0, uvfio_dma_map(self->fd, view, 2 * PAGE_SIZE, IOVA, READ));
	memset(writable, 0x5e, PAGE_SIZE);
	EXPECT_EQ(READ, probe_reads(&self->probe, IOVA, view));
	memset(writable, 0x5f, PAGE_SIZE);
	EXPECT_EQ(READ, probe_reads(&self->probe, IOVA, view));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA, writable));
	/* Through the view that can be written, it is written. */
	ASSERT_EQ(0, uvfio_dma_map(self->fd, writable, PAGE_SIZE,
				   IOVA + 2 * PAGE_SIZE, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + 2 * PAGE_SIZE,
				  writable));
	close(file);
	close(read_only);
}

/* A program's own code; private, so that a debugger's writes are seen, too. */
TEST_F(map, reads_code)
{
	uint8_t *code = (void *)((uintptr_t)probe_reads & -PAGE_SIZE);

	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, code, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, code, PAGE_SIZE, IOVA, READ));
	EXPECT_EQ(READ, probe_reads(&self->probe, IOVA, code));
}

/* The block device of the controller at @bdf, once the kernel has found it. */
static int block_device_open(const char *bdf)
{
	uint64_t end = now_ms() + WAIT_MS;
	char pattern[96], path[64];
	glob_t found;
	int file = -ENODEV;

	snprintf(pattern, sizeof(pattern),
		 "/sys/bus/pci/devices/%s/nvme/nvme*/nvme*n*", bdf);
	while (file < 0 && now_ms() < end) {
		if (!glob(pattern, 0, NULL, &found)) {
			snprintf(path, sizeof(path), "/dev%s",
				 strrchr(found.gl_pathv[0], '/'));
			file = open(path, O_RDWR | O_CLOEXEC);
		}
		globfree(&found);
		usleep(10000);
	}
	return file;
}

/* The page cache of a disk that the kernel has. */

FIXTURE(disk)
{
	struct probe probe;
	int file;
	int direct;		/* the same, past the page cache */
};

FIXTURE_SETUP(disk)
{
	char bdf[16], path[32];

	self->file = -1;
	ASSERT_EQ(0, device_find(NVME2, bdf));
	if (!driver_available("nvme", "nvme"))
		SKIP(return, "no nvme driver");
	ASSERT_EQ(0, device_bind(bdf, "nvme"));
	self->file = block_device_open(bdf);
	ASSERT_LE(0, self->file);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->file);
	self->direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->direct);
	ASSERT_EQ(0, begin(&self->probe));
}

FIXTURE_TEARDOWN(disk)
{
	if (self->file < 0)
		return;
	probe_stop(&self->probe);
	close(self->direct);
	close(self->file);
}

/*
 * What tracks which pages are dirty, to write them back, does not bear a device's
 * writes at any time. The page cache of a disk is the nearest such thing.
 */
TEST_F(disk, dirty_tracking_is_respected)
{
	int fd = self->probe.domain;
	uint8_t *shared, *private;
	long pinned = vm_pin();

	shared = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      self->file, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	private = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		       self->file, PAGE_SIZE);
	ASSERT_NE(MAP_FAILED, (void *)private);

	EXPECT_EQ(-EFAULT, uvfio_dma_map(fd, shared, PAGE_SIZE, IOVA, WRITE));
	memset(shared, 0x5d, PAGE_SIZE);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(fd, shared, PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(pinned, vm_pin());
	EXPECT_EQ(0, uvfio_dma_map(fd, shared, PAGE_SIZE, IOVA, READ));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA, shared));
	/* A private view's pages are not the file's once they are written. */
	EXPECT_EQ(0, uvfio_dma_map(fd, private, PAGE_SIZE, IOVA + PAGE_SIZE,
				   RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + PAGE_SIZE, private));
	EXPECT_EQ(2 * PAGE_SIZE, uvfio_dma_unmap(fd, IOVA, 2 * PAGE_SIZE));
}

/*
 * Who writes to a disk past its page cache has the pages there dropped, without the
 * file's lock, and after they were taken from the process.
 */
TEST_F(disk, writes_past_the_cache_replace_its_pages)
{
	int fd = self->probe.domain;
	const size_t size = 2 * MIB;
	uint8_t *view, *fresh;

	view = mmap(NULL, size, PROT_READ, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, (void *)view);
	fresh = dma_alloc(size);
	ASSERT_NE(NULL, fresh);
	memset(fresh, 0x5b, size);

	ASSERT_EQ(0, uvfio_dma_map(fd, view, size, IOVA, READ));
	EXPECT_EQ(READ, probe_reads(&self->probe, IOVA, view));
	ASSERT_EQ((ssize_t)size, pwrite(self->direct, fresh, size, 0));
	EXPECT_TRUE(fdinfo_becomes(fd, "revoked", size));
	EXPECT_EQ(0, memcmp(view, fresh, size));
	EXPECT_EQ(0, probe_reads(&self->probe, IOVA, view));
	EXPECT_EQ((int64_t)size, uvfio_dma_unmap(fd, IOVA, size));
	ASSERT_EQ(0, uvfio_dma_map(fd, view, size, IOVA, READ));
	EXPECT_EQ(READ, probe_reads(&self->probe, IOVA, view));
}

/* Where /proc/self/maps has an area of that name. */
static void *find_area(const char *name)
{
	unsigned long start, found = 0;
	char line[512];
	FILE *file;

	file = fopen("/proc/self/maps", "re");
	if (!file)
		return NULL;
	while (!found && fgets(line, sizeof(line), file))
		if (strstr(line, name) && sscanf(line, "%lx-", &start) == 1)
			found = start;
	fclose(file);
	return (void *)found;
}

/* Memory that is none: without pages of its own, or the kernel's. */
TEST_F(map, refuses_what_is_no_memory)
{
	uint8_t *rom, *vvar, *secret, *none;
	int file;

	if (self->physical >= 0) {
		rom = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			   self->physical, FIRMWARE);
		ASSERT_NE(MAP_FAILED, (void *)rom);
		EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, rom, PAGE_SIZE, IOVA,
						 READ));
		EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, rom, PAGE_SIZE, IOVA,
						 RW));
	}

	/* Where there is the former, the latter has pages as any memory. */
	vvar = find_area("[vvar_vclock]") ?: find_area("[vvar]");
	ASSERT_NE(NULL, vvar);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, vvar, PAGE_SIZE, IOVA,
					 READ));
	/* Room that was never given any, and that was taken again. */
	none = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	ASSERT_NE(MAP_FAILED, (void *)none);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, none, PAGE_SIZE, IOVA,
					 READ));
	/* Behind the end of its file. */
	file = memfd_create("memory", MFD_CLOEXEC);
	none = of_file(file, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, none);
	none = mremap(none, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, (void *)none);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, none, 2 * PAGE_SIZE, IOVA,
					 RW));
	EXPECT_EQ(0, uvfio_dma_map(self->fd, none, PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA, PAGE_SIZE));

	/* What not even the kernel can read. */
	file = syscall(SYS_memfd_secret, O_CLOEXEC);
	if (file >= 0) {
		secret = of_file(file, PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED);
		ASSERT_NE(NULL, secret);
		secret[0] = 1;
		EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, secret, PAGE_SIZE,
						 IOVA, READ));
	}
	EXPECT_EQ(self->pinned, vm_pin());
}

/* Pages that are shared until somebody writes */

/* A child that has inherited all; it ends when the parent says so. */
struct child {
	pid_t pid;
	int go;
};

/*
 * It checks, when told, that @page is filled with @byte, after it has written
 * @writes there if that is not 0.
 */
static int child_start(struct child *child, uint8_t *page, int byte, int writes)
{
	int go[2];
	char told;

	if (pipe(go))
		return -errno;
	child->pid = fork();
	if (!child->pid) {
		close(go[1]);
		if (writes)
			memset(page, writes, PAGE_SIZE);
		_exit(read(go[0], &told, 1) != 1 ||
		      !is_filled(page, byte, PAGE_SIZE));
	}
	close(go[0]);
	child->go = go[1];
	return child->pid < 0 ? -errno : 0;
}

static bool child_is_right(struct child *child)
{
	int status;

	if (write(child->go, "", 1) != 1)
		return false;
	close(child->go);
	return waitpid(child->pid, &status, 0) == child->pid && !status;
}

/* Forked before: what is mapped must not be what the child still has. */
TEST_F(map, is_apart_from_an_older_child)
{
	uint8_t *rw = self->memory, *ro = rw + PAGE_SIZE;
	struct child children[2];

	memset(rw, 0x61, PAGE_SIZE);
	memset(ro, 0x62, PAGE_SIZE);
	ASSERT_EQ(0, child_start(&children[0], rw, 0x61, 0));
	ASSERT_EQ(0, child_start(&children[1], ro, 0x62, 0));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, rw, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, ro, PAGE_SIZE, IOVA + PAGE_SIZE,
				   READ));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, rw));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA + PAGE_SIZE, ro));
	EXPECT_TRUE(child_is_right(&children[0]));
	EXPECT_TRUE(child_is_right(&children[1]));
	/* When nobody shares it any more, it is as before. */
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, rw));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA + PAGE_SIZE, ro));
}

/* Forked after; one child that writes, one that does not. */
TEST_F(map, is_apart_from_a_younger_child)
{
	uint8_t *huge = make_thp(2 * MIB), *ro = self->memory;
	struct child children[3];

	ASSERT_NE(NULL, huge);
	memset(huge, 0x63, 2 * MIB);
	memset(ro, 0x64, PAGE_SIZE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, huge, 2 * MIB, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, ro, PAGE_SIZE, IOVA - PAGE_SIZE,
				   READ));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 2 * MIB));

	ASSERT_EQ(0, child_start(&children[0], huge, 0x65, 0x65));
	ASSERT_EQ(0, child_start(&children[1], huge + MIB, 0x63, 0));
	ASSERT_EQ(0, child_start(&children[2], ro, 0x64, 0));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, huge));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + MIB, huge + MIB));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA - PAGE_SIZE, ro));
	EXPECT_TRUE(child_is_right(&children[0]));
	EXPECT_TRUE(child_is_right(&children[1]));
	EXPECT_TRUE(child_is_right(&children[2]));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + PAGE_SIZE,
				  huge + PAGE_SIZE));
	EXPECT_EQ(self->pinned + 2 * (long)KIB + 4, vm_pin());
}

/* Only read so far, it is 2 MiB of zeros that all processes share. */
TEST_F(map, replaces_the_huge_zero_page)
{
	uint8_t *huge = aligned(2 * MIB, 2 * MIB);
	uint64_t pte, size;

	ASSERT_NE(NULL, huge);
	ASSERT_EQ(0, madvise(huge, 2 * MIB, MADV_HUGEPAGE));
	EXPECT_TRUE(is_filled(huge, 0, PAGE_SIZE));
	if (MONITOR_SEES_TABLES) {
		ASSERT_EQ(0, monitor_pte(huge, &pte, &size));
		EXPECT_EQ(2 * MIB, size);
	}
	ASSERT_EQ(0, uvfio_dma_map(self->fd, huge, 2 * MIB, IOVA, READ));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA, huge));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA + MIB, huge + MIB));
}

/* Places that the kernel picks */

/* @iova as it was picked for @size bytes at @address. */
static bool is_well_placed(int fd, const void *address, uint64_t iova,
			   uint64_t size)
{
	uint64_t apart = iova ^ (uintptr_t)address;

	return iova && iova % PAGE_SIZE == 0 && in_windows(fd, iova, size) &&
	       (size < 2 * MIB || apart % (2 * MIB) == 0) &&
	       (size < GIB || apart % GIB == 0);
}

static const struct {
	size_t start;		/* in memory that is aligned to 2 MiB */
	size_t size;
} pieces[] = {
	{ 0, PAGE_SIZE }, { PAGE_SIZE, 3 * PAGE_SIZE }, { 0, 2 * MIB },
	{ 5 * PAGE_SIZE, 2 * MIB }, { 2 * MIB - PAGE_SIZE, 2 * MIB + PAGE_SIZE },
	{ 2 * MIB, 2 * MIB - PAGE_SIZE }, { 0, 4 * MIB },
	{ PAGE_SIZE, 4 * MIB - PAGE_SIZE },
};

/* Each of the pieces, where a device reaches both ends of it. */
static void map_pieces(struct __test_metadata *_metadata, struct probe *probe,
		       uint8_t *memory, uint32_t flags, uint64_t *iova)
{
	unsigned int i;

	ASSERT_NE(NULL, memory);
	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		uint8_t *start = memory + pieces[i].start;
		const size_t size = pieces[i].size, last = size - PAGE_SIZE;

		ASSERT_EQ(0, uvfio_dma_map_anywhere(probe->domain, start, size,
						    flags, &iova[i]));
		EXPECT_TRUE(is_well_placed(probe->domain, start, iova[i], size)) {
			TH_LOG("case %u at 0x%llx", i,
			       (unsigned long long)iova[i]);
		}
		EXPECT_EQ(RW, probe_reach(probe, iova[i], start));
		EXPECT_EQ(RW, probe_reach(probe, iova[i] + last, start + last));
	}
}

TEST_F(map, anywhere_is_above_4_gib)
{
	uint64_t iova[ARRAY_SIZE(pieces)];
	unsigned int i;

	map_pieces(_metadata, &self->probe, make_thp(4 * MIB), RW, iova);
	/* What was aligned with care is worth it. */
	EXPECT_TRUE(probe_maps(&self->probe, iova[2], 2 * MIB));
	EXPECT_TRUE(probe_maps(&self->probe, iova[6] + 2 * MIB, 2 * MIB));
	EXPECT_TRUE(probe_maps(&self->probe, iova[0], PAGE_SIZE));
	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		EXPECT_LE(FOUR_GIB, iova[i]);
		EXPECT_EQ((int64_t)pieces[i].size,
			  uvfio_dma_unmap(self->fd, iova[i], pieces[i].size));
	}
	EXPECT_EQ(self->pinned, vm_pin());
}

/* Devices like the edu are why it can be asked for: there it reaches all of it. */
TEST_F(map, anywhere_is_below_4_gib_on_request)
{
	uint64_t iova[ARRAY_SIZE(pieces)];
	unsigned int i;

	map_pieces(_metadata, &self->probe, make_thp(4 * MIB),
		   RW | UVFIO_DMA_MAP_BELOW_4G, iova);
	for (i = 0; i < ARRAY_SIZE(pieces); i++)
		EXPECT_GT(EDU_IOVA_LIMIT, iova[i] + pieces[i].size);
}

TEST_F(map, anywhere_suits_gigantic_pages)
{
	uint8_t *start;
	uint64_t iova;

	if (!has_gigantic_page())
		SKIP(return, NO_GIGANTIC_PAGE);
	start = make_gigantic(GIB);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, uvfio_dma_map_anywhere(self->fd, start, GIB, RW, &iova));
	EXPECT_TRUE(is_well_placed(self->fd, start, iova, GIB));
	EXPECT_TRUE(probe_maps(&self->probe, iova, GIB));
	EXPECT_EQ(RW, probe_reach(&self->probe, iova + 777 * MIB,
				  start + 777 * MIB));
	ASSERT_EQ((int64_t)GIB, uvfio_dma_unmap(self->fd, iova, GIB));
	/* Below 4 GiB it is just as easy. */
	ASSERT_EQ(0, uvfio_dma_map_anywhere(self->fd, start, GIB,
					    READ | UVFIO_DMA_MAP_BELOW_4G,
					    &iova));
	EXPECT_GE(FOUR_GIB, iova + GIB);
	EXPECT_TRUE(is_well_placed(self->fd, start, iova, GIB));
	EXPECT_TRUE(probe_maps(&self->probe, iova, GIB));
}

/* The struct as it is, to see what comes back. */
TEST_F(map, anywhere_tells_where)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = RW | UVFIO_DMA_MAP_ANYWHERE,
		.vaddr = (uintptr_t)self->memory,
		.size = PAGE_SIZE,
	};
	uint64_t first;

	ASSERT_EQ(0, ioctl(self->probe.edu_dev.fd, UVFIO_MAP_DMA, &map));
	EXPECT_EQ(sizeof(map), map.argsz);
	EXPECT_EQ(RW | UVFIO_DMA_MAP_ANYWHERE, map.flags);
	EXPECT_EQ((uintptr_t)self->memory, map.vaddr);
	EXPECT_EQ(PAGE_SIZE, map.size);
	EXPECT_NE(0, map.iova);
	EXPECT_EQ(RW, probe_reach(&self->probe, map.iova, self->memory));

	/* What fails says nothing and leaves nothing. */
	first = map.iova;
	map.vaddr = (uintptr_t)mmap(NULL, PAGE_SIZE, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map.iova = 0;
	EXPECT_EQ(-1, ioctl(self->fd, UVFIO_MAP_DMA, &map));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, map.iova);
	EXPECT_EQ(self->pinned + 4, vm_pin());
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, first, PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
}

TEST_F(map, anywhere_is_asked_for_properly)
{
	const uint32_t anywhere = UVFIO_DMA_MAP_ANYWHERE;
	const uint32_t below = UVFIO_DMA_MAP_BELOW_4G;
	const struct {
		unsigned long call;
		uint32_t flags;
		uint64_t iova;
		uint64_t size;
		int error;
	} cases[] = {
		/* It is one or the other who says where. */
		{ UVFIO_MAP_DMA, RW | anywhere, IOVA, PAGE_SIZE, EINVAL },
		{ UVFIO_MAP_DMA, RW | anywhere | below, IOVA, PAGE_SIZE,
		  EINVAL },
		{ UVFIO_MAP_DMA, RW | anywhere, PAGE_SIZE, PAGE_SIZE, EINVAL },
		{ UVFIO_MAP_DMA, RW | below, IOVA, PAGE_SIZE, EINVAL },
		{ UVFIO_MAP_DMA, RW | below, 0, PAGE_SIZE, EINVAL },
		{ UVFIO_MAP_DMA, anywhere, 0, PAGE_SIZE, EINVAL },
		{ UVFIO_MAP_DMA, anywhere | below, 0, PAGE_SIZE, EINVAL },
		{ UVFIO_MAP_DMA, RW | anywhere | 1 << 29, 0, PAGE_SIZE,
		  EINVAL },
		{ UVFIO_MAP_DMA, RW | anywhere, 0, 0, EINVAL },
		{ UVFIO_MAP_DMA, RW | anywhere, 0, PAGE_SIZE / 2, EINVAL },
		{ UVFIO_MAP_DMA, RW | anywhere, 0, -PAGE_SIZE, EINVAL },
		/* The numbers of type1 have the flags of type1. */
		{ VFIO_IOMMU_MAP_DMA, RW | anywhere, 0, PAGE_SIZE, EINVAL },
		{ VFIO_IOMMU_MAP_DMA, RW | anywhere | below, 0, PAGE_SIZE,
		  EINVAL },
		{ VFIO_IOMMU_MAP_DMA, RW | below, IOVA, PAGE_SIZE, EINVAL },
		/* The controls. */
		{ UVFIO_MAP_DMA, RW | anywhere, 0, PAGE_SIZE, 0 },
		{ UVFIO_MAP_DMA, READ | anywhere | below, 0, PAGE_SIZE, 0 },
		{ VFIO_IOMMU_MAP_DMA, RW, IOVA, PAGE_SIZE, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vfio_iommu_type1_dma_map map = {
			.argsz = sizeof(map),
			.flags = cases[i].flags,
			.vaddr = (uintptr_t)self->memory,
			.iova = cases[i].iova,
			.size = cases[i].size,
		};

		errno = 0;
		ioctl(self->fd, cases[i].call, &map);
		EXPECT_EQ(cases[i].error, errno) {
			TH_LOG("case %u", i);
		}
		if (cases[i].error)
			EXPECT_EQ(self->pinned, vm_pin());
	}
	EXPECT_EQ(self->pinned + 3 * 4, vm_pin());
}

/* A place is picked among those that are free, whoever took the others. */
TEST_F(map, anywhere_respects_what_is_there)
{
	uint64_t iova, next = FOUR_GIB;
	unsigned int i;

	/* Every other page, right where a search would begin. */
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					   FOUR_GIB + 2 * i * PAGE_SIZE, RW));
	for (i = 0; i < PAGES; i++) {
		ASSERT_EQ(0, uvfio_dma_map_anywhere(self->fd, self->memory,
						    2 * PAGE_SIZE, RW, &iova));
		EXPECT_TRUE(iova >= FOUR_GIB + (2 * PAGES - 1) * PAGE_SIZE ||
			    iova + 2 * PAGE_SIZE <= FOUR_GIB);
		next = iova > next ? iova : next;
	}
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, self->memory, PAGE_SIZE,
					 next + PAGE_SIZE, RW));
	EXPECT_EQ(self->pinned + 3 * PAGES * 4, vm_pin());
}

#define MANY	1000

struct place {
	uint64_t iova;
	uint64_t size;
};

static int by_iova(const void *a, const void *b)
{
	const struct place *p = a, *q = b;

	return p->iova < q->iova ? -1 : p->iova > q->iova;
}

static unsigned int count_overlaps(const struct place *places, unsigned int n)
{
	struct place *sorted = malloc(n * sizeof(*sorted));
	unsigned int i, count = 0;

	memcpy(sorted, places, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_iova);
	for (i = 1; i < n; i++)
		if (sorted[i - 1].iova + sorted[i - 1].size > sorted[i].iova)
			count++;
	free(sorted);
	return count;
}

TEST_F(map, anywhere_never_overlaps)
{
	static struct place places[MANY];
	uint64_t highest = 0;
	unsigned int i, round;
	long left;

	left = maps_left(self->fd);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < MANY; i++) {
			/* Of the first round, two of three are still there. */
			if (round && i % 3 != round)
				continue;
			places[i].size = (1 + i * 7 % 8) * PAGE_SIZE;
			ASSERT_EQ(0, uvfio_dma_map_anywhere(self->fd,
							    self->memory,
							    places[i].size,
							    i % 2 ? RW : READ,
							    &places[i].iova));
			ASSERT_TRUE(is_well_placed(self->fd, self->memory,
						   places[i].iova,
						   places[i].size));
			if (!round && places[i].iova > highest)
				highest = places[i].iova;
			/* Into the holes, or most of them: it takes 6 MiB. */
			EXPECT_GE(highest + 3 * MIB, places[i].iova);
		}
		EXPECT_EQ(0, count_overlaps(places, MANY));
		EXPECT_EQ(left - MANY, maps_left(self->fd));
		for (i = 0; i < MANY; i++)
			if (i % 3 == round + 1 || round == 2)
				ASSERT_EQ((int64_t)places[i].size,
					  uvfio_dma_unmap(self->fd,
							  places[i].iova,
							  places[i].size));
	}
	EXPECT_EQ(left, maps_left(self->fd));
	EXPECT_EQ(self->pinned, vm_pin());
}

struct picker {
	pthread_t thread;
	int fd;
	void *memory;
	struct place places[MANY / 4];
	unsigned int failed;
};

static void *pick_places(void *data)
{
	struct picker *picker = data;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(picker->places); i++) {
		struct place *place = &picker->places[i];

		/* Each place is tried, left and taken again. */
		place->size = (1 + i % 5) * PAGE_SIZE;
		for (j = 0; j < 2; j++) {
			if (j && uvfio_dma_unmap(picker->fd, place->iova,
						 place->size) !=
				 (int64_t)place->size)
				picker->failed++;
			if (uvfio_dma_map_anywhere(picker->fd, picker->memory,
						   place->size, RW,
						   &place->iova))
				picker->failed++;
		}
	}
	return NULL;
}

TEST_F(map, anywhere_never_overlaps_among_threads)
{
	static struct picker pickers[4];
	static struct place places[MANY];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pickers); i++) {
		pickers[i].fd = self->fd;
		pickers[i].memory = self->memory;
		ASSERT_EQ(0, pthread_create(&pickers[i].thread, NULL,
					    pick_places, &pickers[i]));
	}
	for (i = 0; i < ARRAY_SIZE(pickers); i++) {
		ASSERT_EQ(0, pthread_join(pickers[i].thread, NULL));
		EXPECT_EQ(0, pickers[i].failed);
		memcpy(places + i * MANY / 4, pickers[i].places,
		       sizeof(pickers[i].places));
	}
	EXPECT_EQ(0, count_overlaps(places, MANY));
	for (i = 0; i < MANY; i++)
		ASSERT_EQ((int64_t)places[i].size,
			  uvfio_dma_unmap(self->fd, places[i].iova,
					  places[i].size));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* Taking parts away */

/* Every page of @size bytes that is left reaches memory, and no other does. */
static bool is_left(struct probe *probe, uint64_t iova, uint8_t *memory,
		    const bool *left, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i++)
		if (probe_reach(probe, iova + i * PAGE_SIZE,
				memory + i * PAGE_SIZE) != (left[i] ? RW : 0))
			return false;
	return true;
}

TEST_F(map, unmap_cuts)
{
	static const struct {
		unsigned int first;
		unsigned int pages;
		int mappings;		/* that are more afterwards */
	} cuts[] = {
		{ 0, 1, 0 }, { 15, 1, 0 }, { 7, 2, 1 }, { 1, 1, 0 },
		{ 10, 1, 1 },
	};
	uint8_t *fresh = dma_alloc(2 * PAGE_SIZE);
	long count = maps_left(self->fd), pinned;
	unsigned int i, j;
	bool left[PAGES];

	ASSERT_NE(NULL, fresh);
	memset(left, true, sizeof(left));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGES * PAGE_SIZE,
				   HIGH_IOVA, RW));
	count--;
	pinned = vm_pin();
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		EXPECT_EQ((int64_t)(cuts[i].pages * PAGE_SIZE),
			  uvfio_dma_unmap(self->fd, HIGH_IOVA +
					  cuts[i].first * PAGE_SIZE,
					  cuts[i].pages * PAGE_SIZE));
		for (j = 0; j < cuts[i].pages; j++)
			left[cuts[i].first + j] = false;
		pinned -= 4 * cuts[i].pages;
		count -= cuts[i].mappings;
		EXPECT_EQ(pinned, vm_pin());
		EXPECT_EQ(count, maps_left(self->fd));
		EXPECT_TRUE(is_left(&self->probe, HIGH_IOVA, self->memory, left,
				    PAGES)) {
			TH_LOG("cut %u", i);
		}
		/* Once it is gone it is gone. */
		EXPECT_EQ(0, uvfio_dma_unmap(self->fd, HIGH_IOVA +
					     cuts[i].first * PAGE_SIZE,
					     cuts[i].pages * PAGE_SIZE));
	}

	/* The gap has room for something else, what is around it has not. */
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, fresh, 2 * PAGE_SIZE,
					 HIGH_IOVA + 6 * PAGE_SIZE, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, fresh, 2 * PAGE_SIZE,
				   HIGH_IOVA + 7 * PAGE_SIZE, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA + 8 * PAGE_SIZE,
				  fresh + PAGE_SIZE));
	EXPECT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA + 6 * PAGE_SIZE,
				  self->memory + 6 * PAGE_SIZE));

	/* 2 to 6, the fresh two, 9: the rests go like any mapping. */
	EXPECT_EQ(8 * PAGE_SIZE, uvfio_dma_unmap(self->fd,
						 HIGH_IOVA + 2 * PAGE_SIZE,
						 8 * PAGE_SIZE));
	/* 11 to 14 */
	EXPECT_EQ(4 * PAGE_SIZE, uvfio_dma_unmap(self->fd, HIGH_IOVA,
						 PAGES * PAGE_SIZE));
	EXPECT_EQ(self->pinned, vm_pin());
	memset(left, false, sizeof(left));
	EXPECT_TRUE(is_left(&self->probe, HIGH_IOVA, self->memory, left,
			    PAGES));
}

/* Both ends of a range in the midst of mappings, others whole in it. */
TEST_F(map, unmap_cuts_several)
{
	const uint64_t at = HIGH_IOVA;
	uint8_t *memory = self->memory;
	long count = maps_left(self->fd);
	unsigned int i;
	bool left[PAGES];

	/* 0-4, 5-6, (7-8), 9, 10-15 */
	ASSERT_EQ(0, uvfio_dma_map(self->fd, memory, 5 * PAGE_SIZE, at, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, memory + 5 * PAGE_SIZE,
				   2 * PAGE_SIZE, at + 5 * PAGE_SIZE, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, memory + 9 * PAGE_SIZE, PAGE_SIZE,
				   at + 9 * PAGE_SIZE, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, memory + 10 * PAGE_SIZE,
				   6 * PAGE_SIZE, at + 10 * PAGE_SIZE, RW));
	EXPECT_EQ(count - 4, maps_left(self->fd));

	/* 3-12 but for the gap */
	EXPECT_EQ(8 * PAGE_SIZE, uvfio_dma_unmap(self->probe.edu_dev.fd,
						 at + 3 * PAGE_SIZE,
						 10 * PAGE_SIZE));
	EXPECT_EQ(count - 2, maps_left(self->fd));
	EXPECT_EQ(self->pinned + 6 * 4, vm_pin());
	for (i = 0; i < PAGES; i++)
		left[i] = i < 3 || i > 12;
	EXPECT_TRUE(is_left(&self->probe, at, memory, left, PAGES));

	/* From before the first to after the last page of the rests. */
	EXPECT_EQ(6 * PAGE_SIZE, uvfio_dma_unmap(self->fd, at - 5 * PAGE_SIZE,
						 30 * PAGE_SIZE));
	EXPECT_EQ(count, maps_left(self->fd));
	EXPECT_EQ(self->pinned, vm_pin());
}

/* Inside a page of the IOMMU's table that is larger than what is cut. */
static void cut_large_page(struct __test_metadata *_metadata,
			   struct probe *probe, uint8_t *memory, size_t large)
{
	static const struct {
		bool cut;
		size_t at;
	} tries[] = {
		{ true, 0 }, { false, PAGE_SIZE },
		{ false, MIB - PAGE_SIZE }, { true, MIB },
		{ true, MIB + PAGE_SIZE }, { false, MIB + 2 * PAGE_SIZE },
		{ false, 2 * MIB - 2 * PAGE_SIZE },
		{ true, 2 * MIB - PAGE_SIZE },
		/* in the next one */
		{ false, 2 * MIB }, { false, 4 * MIB - PAGE_SIZE },
	};
	const uint64_t iova = HIGH_IOVA;
	const size_t size = large == GIB ? GIB : 4 * MIB;
	long pinned = vm_pin();
	unsigned int i, cuts = 0;

	ASSERT_EQ(0, uvfio_dma_map(probe->domain, memory, size, iova, RW));
	EXPECT_TRUE(probe_maps(probe, iova, large));
	EXPECT_TRUE(probe_maps(probe, iova + size - PAGE_SIZE, large));
	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		if (!tries[i].cut)
			continue;
		EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(probe->domain,
						     iova + tries[i].at,
						     PAGE_SIZE));
		cuts++;
		EXPECT_EQ(pinned + (long)(size / KIB) - 4 * (long)cuts,
			  vm_pin());
	}
	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		EXPECT_EQ(tries[i].cut ? 0 : RW,
			  probe_reach(probe, iova + tries[i].at,
				      memory + tries[i].at)) {
			TH_LOG("at 0x%zx", tries[i].at);
		}
		EXPECT_TRUE(!tries[i].cut ||
			    probe_maps(probe, iova + tries[i].at, 0));
	}
	/* What was not cut is as large as it was, if it can be. */
	if (size > large)
		EXPECT_TRUE(probe_maps(probe, iova + large, large));
	EXPECT_TRUE(probe_maps(probe, iova + 2 * MIB, 2 * MIB));

	/* A page of its own in the place of one that was cut. */
	EXPECT_EQ(0, uvfio_dma_map(probe->domain, memory, PAGE_SIZE,
				   iova + MIB, RW));
	EXPECT_EQ(RW, probe_reach(probe, iova + MIB, memory));
	EXPECT_EQ((int64_t)(size - (cuts - 1) * PAGE_SIZE),
		  uvfio_dma_unmap(probe->domain, iova, size));
	EXPECT_EQ(pinned, vm_pin());
	EXPECT_EQ(0, probe_reach(probe, iova + PAGE_SIZE, memory + PAGE_SIZE));
	EXPECT_EQ(0, probe_reach(probe, iova + size - PAGE_SIZE,
				 memory + size - PAGE_SIZE));
}

TEST_F(map, unmap_cuts_huge_pages)
{
	uint8_t *memory = make_thp(4 * MIB);

	ASSERT_NE(NULL, memory);
	cut_large_page(_metadata, &self->probe, memory, 2 * MIB);
}

TEST_F(map, unmap_cuts_pages_of_hugetlb)
{
	uint8_t *memory = make_hugetlb(4 * MIB);

	ASSERT_NE(NULL, memory);
	cut_large_page(_metadata, &self->probe, memory, 2 * MIB);
}

TEST_F(map, unmap_cuts_gigantic_pages)
{
	uint8_t *memory;

	if (!has_gigantic_page())
		SKIP(return, NO_GIGANTIC_PAGE);
	memory = make_gigantic(GIB);
	ASSERT_NE(NULL, memory);
	cut_large_page(_metadata, &self->probe, memory, GIB);
}

/* By the number of type1, version 2: no cut, and nothing is changed. */
TEST_F(map, unmap_of_type1_does_not_cut)
{
	static const struct {
		int first;
		unsigned int pages;
	} cuts[] = {
		{ 0, 1 }, { 0, 15 }, { 15, 1 }, { 1, 15 }, { 5, 2 }, { -1, 2 },
		{ -1, 16 }, { 15, 2 }, { 1, 30 },
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
	};
	long count, pinned;
	bool left[PAGES];
	unsigned int i;

	memset(left, true, sizeof(left));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->memory, PAGES * PAGE_SIZE,
				   HIGH_IOVA, RW));
	count = maps_left(self->fd);
	pinned = vm_pin();
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		unmap.iova = HIGH_IOVA + cuts[i].first * (int)PAGE_SIZE;
		unmap.size = cuts[i].pages * PAGE_SIZE;
		errno = 0;
		EXPECT_EQ(-1, ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap)) {
			TH_LOG("case %u", i);
		}
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(cuts[i].pages * PAGE_SIZE, unmap.size);
		EXPECT_EQ(pinned, vm_pin());
		EXPECT_EQ(count, maps_left(self->fd));
	}
	EXPECT_TRUE(is_left(&self->probe, HIGH_IOVA, self->memory, left,
			    PAGES));
	/* What a cut has left is whole to it. */
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd,
					     HIGH_IOVA + 4 * PAGE_SIZE,
					     PAGE_SIZE));
	unmap.iova = HIGH_IOVA;
	unmap.size = 3 * PAGE_SIZE;
	EXPECT_EQ(-1, ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap));
	unmap.size = 5 * PAGE_SIZE;
	ASSERT_EQ(0, ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_EQ(4 * PAGE_SIZE, unmap.size);
	unmap.size = PAGES * PAGE_SIZE;
	ASSERT_EQ(0, ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_EQ((PAGES - 5) * PAGE_SIZE, unmap.size);
	EXPECT_EQ(self->pinned, vm_pin());
}

/* A cut in the middle makes two mappings of one, if there may be one more. */
FIXTURE(limit)
{
	struct probe probe;
	char before[32];
};

FIXTURE_SETUP(limit)
{
	ASSERT_EQ(0, probe_prepare(&self->probe));
	ASSERT_EQ(0, read_file(LIMIT_PARAM, self->before,
			       sizeof(self->before)));
}

FIXTURE_TEARDOWN(limit)
{
	write_file(LIMIT_PARAM, self->before);
}

TEST_F(limit, is_kept_by_cuts)
{
	int kmsg = kmsg_open(), status;
	pid_t pid;

	/* The probe has two. */
	ASSERT_EQ(0, write_file(LIMIT_PARAM, "4"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(PAGES * PAGE_SIZE);
		uint64_t at = HIGH_IOVA;
		bool left[PAGES];
		int fd;

		memset(left, true, sizeof(left));
		ASSERT_NE(NULL, memory);
		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, probe_start(&self->probe, PROBE_IOVA));
		fd = self->probe.domain;
		ASSERT_EQ(0, uvfio_dma_map(fd, memory, 8 * PAGE_SIZE, at, RW));
		ASSERT_EQ(0, uvfio_dma_map(fd, memory + 8 * PAGE_SIZE,
					   8 * PAGE_SIZE, at + 8 * PAGE_SIZE,
					   RW));
		ASSERT_EQ(0, maps_left(fd));
		EXPECT_EQ(-ENOSPC, uvfio_dma_unmap(fd, at + 3 * PAGE_SIZE,
						   PAGE_SIZE));
		EXPECT_EQ(-ENOSPC, uvfio_dma_unmap(fd, at + 9 * PAGE_SIZE,
						   6 * PAGE_SIZE));
		EXPECT_EQ(0, maps_left(fd));
		EXPECT_TRUE(is_left(&self->probe, at, memory, left, PAGES));

		/* Cuts at the ends make none more. */
		EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, at, PAGE_SIZE));
		EXPECT_EQ(4 * PAGE_SIZE, uvfio_dma_unmap(fd, at + 6 * PAGE_SIZE,
							 4 * PAGE_SIZE));
		EXPECT_EQ(0, maps_left(fd));
		left[0] = false;
		memset(left + 6, false, 4);
		EXPECT_TRUE(is_left(&self->probe, at, memory, left, PAGES));

		/* With room for one there is one. */
		EXPECT_EQ(6 * PAGE_SIZE, uvfio_dma_unmap(fd,
							 at + 10 * PAGE_SIZE,
							 6 * PAGE_SIZE));
		EXPECT_EQ(1, maps_left(fd));
		EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, at + 3 * PAGE_SIZE,
						     PAGE_SIZE));
		EXPECT_EQ(0, maps_left(fd));
		probe_stop(&self->probe);
		EXPECT_EQ(0, vm_pin());
		_exit(_metadata->passed ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(kmsg_has(kmsg, "uvfio", "dma_entry_limit"));
}

TEST_HARNESS_MAIN
