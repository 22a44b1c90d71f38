// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail: each one that a system call makes, one after the other,
 * until the call gets by without a failure. It either works all the same or says
 * ENOMEM and has changed nothing, and what goes away is out of the device's reach
 * whatever fails. Only a kernel with fault injection can do this (KERNEL=debug).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "dma.h"
#include "monitor.h"
#include "test.h"

#define IOVA		0x400000ULL	/* of what is tried, on a huge page */
#define SCRATCH_IOVA	0x100000ULL
#define BYTES		EDU_BUFFER_SIZE
#define PATTERN		0x5a	/* in the buffers of the devices */
#define MANY		600	/* pages: two chunks of runs, two page tables */
#define FEW		16

/* Of a call; one that needs more than this never ends. */
#define MOST_ALLOCATIONS 2000

#define FAIL_NTH	"/proc/thread-self/fail-nth"

struct rig {
	struct device dev;	/* an edu */
	struct device dev2;	/* another one, in another group */
	int domain;		/* of both, or -1: a private one */
	struct edu edu;
	struct edu edu2;
	int nth;		/* FAIL_NTH */
	int pagemap;
	int kmsg;
	uint8_t *scratch;	/* a page */
	uint8_t *memory;	/* what is mapped */
	bool huge;		/* in huge pages */
	int file;		/* of the memory, or -1 */
	size_t size;
	uint64_t iova;		/* where */
	uint64_t physical;	/* of the page that will be revoked */
	long pinned;		/* kB, with nothing mapped */
};

/*
 * A call to try. Each function but @run returns whether things are as they have
 * to be; none of them leaves a trace that the next round could not bear.
 */
struct attempt {
	bool (*prepare)(struct rig *rig);
	int (*run)(struct rig *rig);		/* -errno */
	bool (*is_undone)(struct rig *rig);	/* it failed; NULL: it never does */
	bool (*is_done)(struct rig *rig);
};

/* Each that does not is named, because many of them make one result. */
#define HOLDS(what)	holds(what, #what)

static bool holds(bool so, const char *what)
{
	if (!so)
		printf("# does not hold: %s\n", what);
	return so;
}

static bool setting(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s", name);
	return !write_file(path, value);
}

/*
 * As root, for good: without a number in fail-nth none of this has an effect. A
 * failure leaves no stack in the log: that is what vm/run takes for a splat. With
 * @waiting, allocations that may wait for memory fail, too.
 */
static bool faults_prepare(bool waiting)
{
	const char *ignored = waiting ? "N" : "Y";

	return setting("failslab/ignore-gfp-wait", ignored) &&
	       setting("failslab/verbose", "0") &&
	       setting("fail_page_alloc/ignore-gfp-wait", ignored) &&
	       setting("fail_page_alloc/ignore-gfp-highmem", "N") &&
	       setting("fail_page_alloc/min-order", "0") &&
	       setting("fail_page_alloc/verbose", "0");
}

/* 0: none fails */
static bool fault_set(int nth, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return pwrite(nth, text, len, 0) == len;
}

/* Whether it came to that; from here on nothing fails. */
static bool fault_hit(int nth)
{
	char text[16] = "";
	bool hit = pread(nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	return fault_set(nth, 0) && hit;
}

static bool pinned_is(struct rig *rig, size_t bytes)
{
	return vm_pin() == rig->pinned + (long)(bytes / 1024);
}

/* What is known of the device's domain: mappings, and bytes that they pin. */
static bool domain_has(struct rig *rig, long mappings, size_t bytes)
{
	return HOLDS(pinned_is(rig, bytes)) &&
	       HOLDS(fdinfo_number(rig->dev.fd, "mappings") == mappings) &&
	       HOLDS(fdinfo_number(rig->dev.fd, "pinned") == (long)bytes);
}

/* Whether what the device stores at @iova arrives in @page. */
static bool reaches(struct edu *edu, uint64_t iova, uint8_t *page)
{
	memset(page, 0, BYTES);
	return !edu_store(edu, iova, 0, BYTES) && is_filled(page, PATTERN, BYTES);
}

/* The other way round; only a transfer that came to an end proves it. */
static bool misses(struct edu *edu, uint64_t iova, uint8_t *page)
{
	memset(page, 0, BYTES);
	return !edu_store(edu, iova, 0, BYTES) && is_filled(page, 0, BYTES);
}

static bool reaches_ends(struct rig *rig)
{
	size_t last = rig->size - PAGE_SIZE;

	return HOLDS(reaches(&rig->edu, rig->iova, rig->memory)) &&
	       HOLDS(reaches(&rig->edu, rig->iova + last, rig->memory + last));
}

static int map_memory(struct rig *rig)
{
	return uvfio_dma_map(rig->dev.fd, rig->memory, rig->size, rig->iova, RW);
}

static bool unmaps(struct rig *rig, uint64_t iova, size_t size)
{
	return uvfio_dma_unmap(rig->dev.fd, iova, size) == (int64_t)size;
}

/*
 * A domain anew: what IOMMUs keep of page tables from one mapping to the next
 * would spare allocations.
 */
static bool attach_anew(struct rig *rig)
{
	edu_stop(&rig->edu);
	uvfio_detach(rig->dev.fd);
	return !uvfio_attach(rig->dev.fd, rig->domain) &&
	       !edu_start(&rig->edu, rig->dev.fd) && pinned_is(rig, 0);
}

static bool map_anew(struct rig *rig)
{
	return attach_anew(rig) && !map_memory(rig) &&
	       domain_has(rig, 1, rig->size);
}

/* Fill the device's buffer, which outlives everything that is done here. */
static int load_pattern(struct rig *rig, struct edu *edu)
{
	int ret = uvfio_dma_map(edu->fd, rig->scratch, PAGE_SIZE, SCRATCH_IOVA,
				RW);

	if (ret)
		return ret;
	ret = edu_fill(edu, SCRATCH_IOVA, rig->scratch, PATTERN);
	uvfio_dma_unmap(edu->fd, SCRATCH_IOVA, PAGE_SIZE);
	return ret;
}

static int rig_start(struct rig *rig, bool waiting)
{
	int ret;

	rig->domain = -1;
	rig->dev2.fd = -1;
	rig->file = -1;
	rig->iova = IOVA;
	ret = device_prepare(EDU, &rig->dev) ?: device_prepare(EDU3, &rig->dev2);
	if (ret)
		return ret;
	if (!faults_prepare(waiting))
		return -EPERM;
	rig->pagemap = pagemap_open();
	rig->kmsg = kmsg_open();
	ret = monitor_open() ?: drop_privileges(TEST_UID);
	if (ret)
		return ret;
	rig->nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (rig->nth < 0)
		return -errno;
	rig->scratch = dma_alloc(PAGE_SIZE);
	ret = device_open_attached(&rig->dev, -1) ?:
	      edu_start(&rig->edu, rig->dev.fd);
	if (ret)
		return ret;
	rig->pinned = vm_pin();
	return load_pattern(rig, &rig->edu);
}

static void rig_stop(struct rig *rig)
{
	edu_stop(&rig->edu);
	edu_stop(&rig->edu2);
	device_close(&rig->dev);
	device_close(&rig->dev2);
	if (rig->domain >= 0)
		close(rig->domain);
}

/* Whether the page at @page is, in physical memory, behind the one before it. */
static bool is_behind(int pagemap, const uint8_t *page)
{
	return page_address(pagemap, page) ==
	       page_address(pagemap, page - PAGE_SIZE) + PAGE_SIZE;
}

/*
 * Pages none of which is behind the one before it, in physical memory: where the
 * allocator has given one that is, it goes back, somebody else gets it, and there is
 * another one.
 */
static uint8_t *alloc_scattered(int pagemap, size_t pages)
{
	uint8_t *memory = small_alloc(pages * PAGE_SIZE);
	uint8_t *spare = small_alloc(2 * pages * PAGE_SIZE);
	uint8_t *page, *taken = spare;

	if (!memory || !spare)
		return NULL;
	memset(memory, 1, pages * PAGE_SIZE);
	for (page = memory + PAGE_SIZE; page < memory + pages * PAGE_SIZE;) {
		if (!is_behind(pagemap, page)) {
			page += PAGE_SIZE;
			continue;
		}
		if (taken == spare + 2 * pages * PAGE_SIZE ||
		    madvise(page, PAGE_SIZE, MADV_DONTNEED))
			return NULL;
		memset(taken, 1, PAGE_SIZE);
		memset(page, 1, PAGE_SIZE);
		taken += PAGE_SIZE;
	}
	dma_free(spare, 2 * pages * PAGE_SIZE);
	return memory;
}

/* How many of the pages are not behind the one before, or have none. */
static size_t count_runs(struct rig *rig)
{
	size_t off, runs = 1;

	for (off = PAGE_SIZE; off < rig->size; off += PAGE_SIZE)
		runs += !is_behind(rig->pagemap, rig->memory + off);
	return runs;
}

FIXTURE(failnth)
{
	struct rig rig;
};

FIXTURE_SETUP(failnth)
{
	ASSERT_EQ(0, rig_start(&self->rig, true));
}

FIXTURE_TEARDOWN(failnth)
{
	rig_stop(&self->rig);
	EXPECT_EQ(self->rig.pinned, vm_pin());
}

/* How many of the failures made the call fail. */
static unsigned int fail_each(struct __test_metadata *_metadata,
			      struct rig *rig, const struct attempt *attempt)
{
	unsigned int n = 0, failures = 0;
	bool hit;
	int ret;

	do {
		n++;
		ASSERT_GT(MOST_ALLOCATIONS, n);
		ASSERT_TRUE(attempt->prepare(rig));
		ASSERT_TRUE(fault_set(rig->nth, n));
		ret = attempt->run(rig);
		hit = fault_hit(rig->nth);
		if (ret) {
			failures++;
			EXPECT_EQ(-ENOMEM, ret);
			EXPECT_TRUE(hit);
			EXPECT_TRUE(attempt->is_undone &&
				    attempt->is_undone(rig));
		} else {
			EXPECT_TRUE(attempt->is_done(rig));
		}
		if (!_metadata->passed)
			TH_LOG("that was with allocation %u failing, result %d",
			       n, ret);
	} while (hit && _metadata->passed);

	TH_LOG("%u allocations, %u of them failed the call", n - 1, failures);
	return failures;
}

/* Opening and closing */

static bool close_device(struct rig *rig)
{
	edu_stop(&rig->edu);
	device_close(&rig->dev);
	return true;
}

static int open_device(struct rig *rig)
{
	return device_open(&rig->dev);
}

static bool device_is_free(struct rig *rig)
{
	return !open_device(rig) && close_device(rig);
}

static bool device_is_open(struct rig *rig)
{
	struct device again = rig->dev;

	return device_open(&again) == -EBUSY &&
	       !uvfio_attach(rig->dev.fd, -1) && close_device(rig);
}

TEST_F(failnth, open)
{
	static const struct attempt attempt = {
		close_device, open_device, device_is_free, device_is_open,
	};

	EXPECT_LT(0, fail_each(_metadata, &self->rig, &attempt));
}

static bool close_domain(struct rig *rig)
{
	if (rig->domain >= 0)
		close(rig->domain);
	rig->domain = -1;
	return true;
}

static int open_domain(struct rig *rig)
{
	rig->domain = uvfio_domain_open();
	return rig->domain < 0 ? rig->domain : 0;
}

static bool domain_is_closed(struct rig *rig)
{
	return rig->domain < 0;
}

static bool domain_is_open(struct rig *rig)
{
	return attach_anew(rig);
}

TEST_F(failnth, open_domain)
{
	static const struct attempt attempt = {
		close_domain, open_domain, domain_is_closed, domain_is_open,
	};

	EXPECT_LT(0, fail_each(_metadata, &self->rig, &attempt));
}

/* Attaching and detaching */

static int domain_info(int fd)
{
	union {
		struct vfio_iommu_type1_info info;
		char bytes[4096];
	} full = { .info.argsz = sizeof(full) };

	return ioctl(fd, UVFIO_IOMMU_GET_INFO, &full) ? -errno : 0;
}

static bool detach(struct rig *rig)
{
	int ret;

	edu_stop(&rig->edu);
	ret = uvfio_detach(rig->dev.fd);
	return !ret || ret == -EUNATCH;
}

static int attach(struct rig *rig)
{
	return uvfio_attach(rig->dev.fd, rig->domain);
}

static bool is_detached(struct rig *rig)
{
	return domain_info(rig->dev.fd) == -EUNATCH &&
	       !raw_bus_master(&rig->dev) && pinned_is(rig, 0);
}

static bool is_attached(struct rig *rig)
{
	return !edu_start(&rig->edu, rig->dev.fd) && !map_memory(rig) &&
	       reaches_ends(rig) && unmaps(rig, rig->iova, rig->size);
}

TEST_F(failnth, attach)
{
	static const struct attempt attempt = {
		detach, attach, is_detached, is_attached,
	};
	struct rig *rig = &self->rig;

	rig->size = FEW * PAGE_SIZE;
	rig->memory = dma_alloc(rig->size);
	ASSERT_NE(NULL, rig->memory);
	EXPECT_LT(0, fail_each(_metadata, rig, &attempt));
}

/* Another device comes to a domain that has mappings. */
static bool detach2(struct rig *rig)
{
	int ret;

	edu_stop(&rig->edu2);
	ret = uvfio_detach(rig->dev2.fd);
	return !ret || ret == -EUNATCH;
}

static int attach2(struct rig *rig)
{
	return uvfio_attach(rig->dev2.fd, rig->domain);
}

static bool is_unchanged(struct rig *rig)
{
	return domain_has(rig, 1, rig->size) && reaches_ends(rig);
}

static bool has_not_joined(struct rig *rig)
{
	return domain_info(rig->dev2.fd) == -EUNATCH &&
	       !raw_bus_master(&rig->dev2) && is_unchanged(rig);
}

static bool has_joined(struct rig *rig)
{
	return !edu_start(&rig->edu2, rig->dev2.fd) &&
	       !load_pattern(rig, &rig->edu2) &&
	       reaches(&rig->edu2, rig->iova, rig->memory) && is_unchanged(rig);
}

TEST_F(failnth, join)
{
	static const struct attempt attempt = {
		detach2, attach2, has_not_joined, has_joined,
	};
	struct rig *rig = &self->rig;

	rig->size = MANY * PAGE_SIZE;
	rig->memory = alloc_scattered(rig->pagemap, MANY);
	ASSERT_NE(NULL, rig->memory);
	ASSERT_EQ(0, open_domain(rig));
	ASSERT_TRUE(map_anew(rig));
	ASSERT_EQ(0, device_open(&rig->dev2));
	EXPECT_LT(0, fail_each(_metadata, rig, &attempt));
}

static int get_info(struct rig *rig)
{
	return domain_info(rig->dev.fd);
}

static bool info_is_there(struct rig *rig)
{
	return !get_info(rig) && domain_has(rig, 0, 0);
}

TEST_F(failnth, get_info)
{
	static const struct attempt attempt = {
		attach_anew, get_info, info_is_there, info_is_there,
	};

	EXPECT_LT(0, fail_each(_metadata, &self->rig, &attempt));
}

/* Mapping and unmapping */

FIXTURE(failnth_map)
{
	struct rig rig;
};

FIXTURE_VARIANT(failnth_map)
{
	size_t pages;
	bool huge;
	bool anywhere;
};

FIXTURE_VARIANT_ADD(failnth_map, page)
{
	.pages = 1,
};

FIXTURE_VARIANT_ADD(failnth_map, scattered)
{
	.pages = MANY,
};

FIXTURE_VARIANT_ADD(failnth_map, huge)
{
	.pages = 2 * HUGE_SIZE / PAGE_SIZE,
	.huge = true,
};

FIXTURE_VARIANT_ADD(failnth_map, anywhere)
{
	.pages = FEW,
	.anywhere = true,
};

FIXTURE_SETUP(failnth_map)
{
	struct rig *rig = &self->rig;
	size_t runs;

	ASSERT_EQ(0, rig_start(rig, true));
	rig->size = variant->pages * PAGE_SIZE;
	rig->memory = variant->huge ? huge_alloc(rig->size) :
				      alloc_scattered(rig->pagemap,
						      variant->pages);
	ASSERT_NE(NULL, rig->memory);
	/* Two huge pages may be neighbours. */
	ASSERT_NE(0, page_address(rig->pagemap, rig->memory));
	runs = count_runs(rig);
	ASSERT_TRUE(variant->huge ? runs <= 2 : runs == variant->pages);
}

FIXTURE_TEARDOWN(failnth_map)
{
	rig_stop(&self->rig);
	EXPECT_EQ(self->rig.pinned, vm_pin());
}

/* A second mapping in the place of the first finds what that left behind. */
static bool nothing_is_mapped(struct rig *rig)
{
	return domain_has(rig, 0, 0) &&
	       misses(&rig->edu, rig->iova, rig->memory) && !map_memory(rig) &&
	       reaches_ends(rig) && unmaps(rig, rig->iova, rig->size) &&
	       domain_has(rig, 0, 0);
}

static bool all_is_mapped(struct rig *rig)
{
	return domain_has(rig, 1, rig->size) && reaches_ends(rig) &&
	       unmaps(rig, rig->iova, rig->size) && domain_has(rig, 0, 0);
}

static int map_somewhere(struct rig *rig)
{
	return uvfio_dma_map_anywhere(rig->dev.fd, rig->memory, rig->size, RW,
				      &rig->iova);
}

/* The device does not reach that far: the page table is not looked at. */
static bool nothing_is_somewhere(struct rig *rig)
{
	return domain_has(rig, 0, 0) && !rig->iova && !map_somewhere(rig) &&
	       unmaps(rig, rig->iova, rig->size);
}

static bool all_is_somewhere(struct rig *rig)
{
	return domain_has(rig, 1, rig->size) && rig->iova &&
	       map_memory(rig) == -EEXIST &&
	       unmaps(rig, rig->iova, rig->size) && domain_has(rig, 0, 0);
}

TEST_F_TIMEOUT(failnth_map, map, 900)
{
	static const struct attempt fixed = {
		attach_anew, map_memory, nothing_is_mapped, all_is_mapped,
	};
	static const struct attempt anywhere = {
		attach_anew, map_somewhere, nothing_is_somewhere,
		all_is_somewhere,
	};

	EXPECT_LT(0, fail_each(_metadata, &self->rig, variant->anywhere ? &anywhere : &fixed));
}

static int unmap_whole(struct rig *rig)
{
	int64_t ret = uvfio_dma_unmap(rig->dev.fd, rig->iova, rig->size);

	return ret < 0 ? ret : ret == (int64_t)rig->size ? 0 : -EPROTO;
}

static bool all_is_unmapped(struct rig *rig)
{
	return domain_has(rig, 0, 0) &&
	       misses(&rig->edu, rig->iova, rig->memory) &&
	       uvfio_dma_unmap(rig->dev.fd, rig->iova, rig->size) == 0;
}

TEST_F_TIMEOUT(failnth_map, unmap, 900)
{
	static const struct attempt attempt = {
		map_anew, unmap_whole, NULL, all_is_unmapped,
	};

	if (variant->anywhere)
		SKIP(return, "mapped where they are, all are unmapped alike");
	fail_each(_metadata, &self->rig, &attempt);
}

static size_t middle(struct rig *rig)
{
	return rig->size / 2 / PAGE_SIZE * PAGE_SIZE - 3 * PAGE_SIZE;
}

/* A page from the middle; of huge pages, inside of one. */
static int unmap_middle(struct rig *rig)
{
	int64_t ret = uvfio_dma_unmap(rig->dev.fd, rig->iova + middle(rig),
				      PAGE_SIZE);

	return ret < 0 ? ret : ret == PAGE_SIZE ? 0 : -EPROTO;
}

static bool rest_is_mapped(struct rig *rig)
{
	size_t off = middle(rig), before = off - PAGE_SIZE,
	       behind = off + PAGE_SIZE;

	return domain_has(rig, 2, rig->size - PAGE_SIZE) &&
	       misses(&rig->edu, rig->iova + off, rig->memory + off) &&
	       reaches(&rig->edu, rig->iova + before, rig->memory + before) &&
	       reaches(&rig->edu, rig->iova + behind, rig->memory + behind) &&
	       reaches_ends(rig) &&
	       !uvfio_dma_map(rig->dev.fd, rig->memory + off, PAGE_SIZE,
			      rig->iova + off, RW) &&
	       reaches(&rig->edu, rig->iova + off, rig->memory + off) &&
	       unmaps(rig, rig->iova, rig->size) && domain_has(rig, 0, 0);
}

TEST_F_TIMEOUT(failnth_map, split, 900)
{
	static const struct attempt attempt = {
		map_anew, unmap_middle, is_unchanged, rest_is_mapped,
	};

	if (variant->pages < FEW || variant->anywhere)
		SKIP(return, "covered by the other variants");
	EXPECT_LT(0, fail_each(_metadata, &self->rig, &attempt));
}

/* A process's first mapping has the kernel watch what it unmaps: once for all. */

static int first_map(struct rig *rig, unsigned int n)
{
	int ret;

	rig->pinned = vm_pin();
	rig->nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (rig->nth < 0 || !fault_set(rig->nth, n))
		return -EPROTO;
	ret = map_memory(rig);
	if (!fault_hit(rig->nth) && !ret)
		ret = 1;
	if (ret < 0)
		return nothing_is_mapped(rig) ? ret : -EPROTO;
	return all_is_mapped(rig) ? ret : -EPROTO;
}

TEST_F_TIMEOUT(failnth, first_map, 900)
{
	unsigned int n, failures = 0;
	struct rig *rig = &self->rig;
	int status, ret;
	pid_t pid;

	rig->size = FEW * PAGE_SIZE;
	rig->memory = dma_alloc(rig->size);
	ASSERT_NE(NULL, rig->memory);
	for (n = 1, ret = 0; ret <= 0; n++) {
		ASSERT_GT(MOST_ALLOCATIONS, n);
		ASSERT_TRUE(attach_anew(rig));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(-first_map(rig, n));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		/* An exit status has 8 bits: 255 is 1. */
		ret = -(int8_t)WEXITSTATUS(status);
		if (ret < 0) {
			failures++;
			ASSERT_EQ(-ENOMEM, ret);
		}
		ASSERT_TRUE(domain_has(rig, 0, 0));
	}
	TH_LOG("%u allocations, %u of them failed the call", n - 2, failures);
	EXPECT_LT(1, failures);
}

/*
 * Giving up: no call can fail, nor has the IOMMU core an answer, only a WARN, if
 * the little that it asks for on the way, and would wait for, is not there.
 */
FIXTURE(failnth_end)
{
	struct rig rig;
};

FIXTURE_SETUP(failnth_end)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, rig_start(rig, false));
	rig->size = MANY * PAGE_SIZE;
	rig->memory = alloc_scattered(rig->pagemap, MANY);
	ASSERT_NE(NULL, rig->memory);
}

FIXTURE_TEARDOWN(failnth_end)
{
	rig_stop(&self->rig);
	EXPECT_EQ(self->rig.pinned, vm_pin());
}

static bool open_and_map(struct rig *rig)
{
	if (rig->dev.fd < 0 && open_device(rig))
		return false;
	if (!map_anew(rig))
		return false;
	/* The mapped registers would keep it open. */
	edu_stop(&rig->edu);
	return true;
}

static int close_mapped(struct rig *rig)
{
	int ret = close(rig->dev.fd) ? -errno : 0;

	rig->dev.fd = -1;
	return ret;
}

static bool all_is_given_back(struct rig *rig)
{
	return pinned_is(rig, 0) && !raw_bus_master(&rig->dev) &&
	       device_is_free(rig);
}

TEST_F(failnth_end, close)
{
	static const struct attempt attempt = {
		open_and_map, close_mapped, NULL, all_is_given_back,
	};

	fail_each(_metadata, &self->rig, &attempt);
}

static int run_detach(struct rig *rig)
{
	return uvfio_detach(rig->dev.fd);
}

TEST_F(failnth_end, detach)
{
	static const struct attempt attempt = {
		map_anew, run_detach, NULL, is_detached,
	};

	fail_each(_metadata, &self->rig, &attempt);
}

/* Revocation: the process gives memory up that is mapped. */

FIXTURE(failnth_revoke)
{
	struct rig rig;
};

FIXTURE_VARIANT(failnth_revoke)
{
	int (*run)(struct rig *rig);
	bool huge;
	bool file;	/* shared memory, of a memfd */
};

static int run_munmap(struct rig *rig)
{
	return munmap(rig->memory + middle(rig), PAGE_SIZE) ? -errno : 0;
}

static int run_dontneed(struct rig *rig)
{
	return madvise(rig->memory + middle(rig), PAGE_SIZE, MADV_DONTNEED) ?
		       -errno : 0;
}

/*
 * To where the scratch page was, which is not needed any more. It is gone also when
 * the call fails, and the next round's memory must not come there.
 */
static int run_mremap(struct rig *rig)
{
	void *moved = mremap(rig->memory + middle(rig), PAGE_SIZE, PAGE_SIZE,
			     MREMAP_MAYMOVE | MREMAP_FIXED, rig->scratch);
	int ret = moved == MAP_FAILED ? -errno : 0;

	if (ret)
		mmap(rig->scratch, PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return ret;
}

static int run_punch(struct rig *rig)
{
	return fallocate(rig->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 middle(rig), PAGE_SIZE) ? -errno : 0;
}

FIXTURE_VARIANT_ADD(failnth_revoke, munmap)
{
	.run = run_munmap,
};

FIXTURE_VARIANT_ADD(failnth_revoke, dontneed)
{
	.run = run_dontneed,
};

FIXTURE_VARIANT_ADD(failnth_revoke, mremap)
{
	.run = run_mremap,
};

FIXTURE_VARIANT_ADD(failnth_revoke, punch)
{
	.run = run_punch,
	.file = true,
};

FIXTURE_VARIANT_ADD(failnth_revoke, munmap_huge)
{
	.run = run_munmap,
	.huge = true,
};

FIXTURE_VARIANT_ADD(failnth_revoke, dontneed_huge)
{
	.run = run_dontneed,
	.huge = true,
};

FIXTURE_SETUP(failnth_revoke)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, rig_start(rig, true));
	rig->huge = variant->huge;
	rig->size = rig->huge ? HUGE_SIZE : FEW * PAGE_SIZE;
	if (!variant->file)
		return;
	rig->file = memfd_create("revoked", MFD_CLOEXEC);
	ASSERT_LE(0, rig->file);
	ASSERT_EQ(0, ftruncate(rig->file, rig->size));
}

FIXTURE_TEARDOWN(failnth_revoke)
{
	rig_stop(&self->rig);
	EXPECT_EQ(self->rig.pinned, vm_pin());
}

static uint8_t *alloc_memory(struct rig *rig)
{
	void *memory;

	if (rig->huge)
		return huge_alloc(rig->size);
	if (rig->file < 0)
		return dma_alloc(rig->size);
	memory = mmap(NULL, rig->size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_POPULATE, rig->file, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static bool map_victim(struct rig *rig)
{
	size_t off = middle(rig);

	detach(rig);
	dma_free(rig->memory, rig->size);
	rig->memory = alloc_memory(rig);
	if (!rig->memory || !map_anew(rig))
		return false;
	rig->physical = page_address(rig->pagemap, rig->memory + off);
	if (!rig->physical ||
	    !reaches(&rig->edu, rig->iova + off, rig->memory + off) ||
	    monitor_has(rig->physical, PATTERN) != 1)
		return false;
	memset(rig->memory + off, 0, PAGE_SIZE);
	return monitor_has(rig->physical, PATTERN) == 0;
}

static bool victim_is_mapped(struct rig *rig)
{
	size_t off = middle(rig);

	return is_unchanged(rig) &&
	       reaches(&rig->edu, rig->iova + off, rig->memory + off);
}

/* What comes to the same address, if need be by our own doing. */
static bool next_is_missed(struct rig *rig)
{
	uint8_t *next = rig->memory + middle(rig);
	unsigned char resident;

	if (mincore(next, PAGE_SIZE, &resident) &&
	    mmap(next, PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	return misses(&rig->edu, rig->iova + middle(rig), next);
}

/*
 * Without memory to split a page of the IOMMU, the device loses more of it than the
 * process has given up, never less, and the kernel log says so.
 */
static bool neighbours_are_there(struct rig *rig, size_t revoked)
{
	size_t off = middle(rig), before = off - PAGE_SIZE,
	       behind = off + PAGE_SIZE;

	if (revoked != PAGE_SIZE)
		printf("# %zu bytes were revoked\n", revoked);
	if (revoked != PAGE_SIZE)
		return rig->huge && kmsg_has(rig->kmsg, "no memory to split",
					     "out of reach");
	return HOLDS(reaches(&rig->edu, rig->iova + before,
			     rig->memory + before)) &&
	       HOLDS(reaches(&rig->edu, rig->iova + behind,
			     rig->memory + behind)) &&
	       reaches_ends(rig);
}

static bool is_revoked(struct rig *rig)
{
	uint64_t end = now_ms() + WAIT_MS;
	size_t revoked;

	/* For parts of huge pages it takes a worker to decide. */
	while (!(revoked = fdinfo_number(rig->dev.fd, "revoked"))) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return domain_has(rig, 1, rig->size - revoked) &&
	       HOLDS(next_is_missed(rig)) &&
	       HOLDS(monitor_has(rig->physical, PATTERN) == 0) &&
	       HOLDS(neighbours_are_there(rig, revoked)) &&
	       HOLDS(unmaps(rig, rig->iova, rig->size)) && domain_has(rig, 0, 0);
}

TEST_F_TIMEOUT(failnth_revoke, page, 900)
{
	const struct attempt attempt = {
		map_victim, variant->run, victim_is_mapped, is_revoked,
	};

	/* To give up memory may need none. */
	fail_each(_metadata, &self->rig, &attempt);
}

int main(int argc, char **argv)
{
	if (!file_exists(FAIL_NTH))
		return skip_all("this kernel has no fault injection");
	return test_harness_run(argc, argv);
}
