// SPDX-License-Identifier: GPL-2.0
/*
 * Revocation: what a process does not have any more, its devices do not have
 * either, in no direction, and nor do they reach whoever gets the pages next;
 * what it still has, they still have. The edu device's DMA engine is the probe.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

#include "root.h"
#include "stage.h"
#include "test.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Every way to lose memory, with every kind of it. */

FIXTURE(gone)
{
	struct stage stage;
	struct memory memory;
	uint8_t *beside;	/* two pages, mapped right before and after it */
	struct account before;
	int root;		/* of root_start() */
	long machine;		/* pages pinned for anybody, before */
};

FIXTURE_VARIANT(gone)
{
	struct loss loss;
};

/* Private memory in pages of 4 KiB. */

FIXTURE_VARIANT_ADD(gone, munmap_all) {
	.loss = { ON_ANON, LOSE(munmap, 0, PAGES(16)) },
};

FIXTURE_VARIANT_ADD(gone, munmap_first) {
	.loss = { ON_ANON, LOSE(munmap, 0, PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, munmap_middle) {
	.loss = { ON_ANON, LOSE(munmap, PAGES(7), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, munmap_last) {
	.loss = { ON_ANON, LOSE(munmap, PAGES(15), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, munmap_some) {
	.loss = { ON_ANON, LOSE(munmap, PAGES(5), PAGES(6)) },
};

FIXTURE_VARIANT_ADD(gone, map_over) {
	.loss = { ON_ANON, LOSE(mapping_over, PAGES(7), PAGES(2)) },
};

FIXTURE_VARIANT_ADD(gone, dontneed) {
	.loss = { ON_ANON, LOSE(dontneed, PAGES(7), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, dontneed_all) {
	.loss = { ON_ANON, LOSE(dontneed, 0, PAGES(16)) },
};

FIXTURE_VARIANT_ADD(gone, shrink) {
	.loss = { ON_ANON, LOSE(shrinking, PAGES(10), PAGES(6)) },
};

FIXTURE_VARIANT_ADD(gone, mremap) {
	.loss = { ON_ANON, LOSE(mremap, PAGES(7), PAGES(2)) },
};

FIXTURE_VARIANT_ADD(gone, mremap_all) {
	.loss = { ON_ANON, LOSE(mremap, 0, PAGES(16)) },
};

FIXTURE_VARIANT_ADD(gone, mremap_dontunmap) {
	.loss = { ON_ANON, LOSE(mremap_dontunmap, PAGES(7), PAGES(2)) },
};

/* Whose 2 MiB are one page of the IOMMU: a part of it, one of two, across. */

FIXTURE_VARIANT_ADD(gone, thp_munmap_page) {
	.loss = { ON_THP, LOSE(munmap, PAGES(100), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_munmap_first) {
	.loss = { ON_THP, LOSE(munmap, 0, PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_munmap_across) {
	.loss = { ON_THP, LOSE(munmap, HUGES(1) - PAGES(4), PAGES(8)) },
};

FIXTURE_VARIANT_ADD(gone, thp_munmap) {
	.loss = { ON_THP, LOSE(munmap, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_map_over) {
	.loss = { ON_THP, LOSE(mapping_over, PAGES(511), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_dontneed_page) {
	.loss = { ON_THP, LOSE(dontneed, PAGES(100), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_dontneed) {
	.loss = { ON_THP, LOSE(dontneed, 0, HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_mremap_page) {
	.loss = { ON_THP, LOSE(mremap, PAGES(100), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, thp_mremap) {
	.loss = { ON_THP, LOSE(mremap, 0, HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, hugetlb_munmap) {
	.loss = { ON_HUGETLB, LOSE(munmap, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, hugetlb_map_over) {
	.loss = { ON_HUGETLB, LOSE(mapping_over, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, hugetlb_dontneed) {
	.loss = { ON_HUGETLB, LOSE(dontneed, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, hugetlb_mremap) {
	.loss = { ON_HUGETLB, LOSE(mremap, HUGES(1), HUGES(1)) },
};

/* Without the mapping, the page is still there, in the file. */

FIXTURE_VARIANT_ADD(gone, shared_munmap) {
	.loss = { ON_SHARED, LOSE(munmap, PAGES(7), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_map_over) {
	.loss = { ON_SHARED, LOSE(mapping_over, PAGES(7), PAGES(2)) },
};

FIXTURE_VARIANT_ADD(gone, shared_mremap) {
	.loss = { ON_SHARED, LOSE(mremap, PAGES(7), PAGES(2)) },
};

FIXTURE_VARIANT_ADD(gone, shared_punch) {
	.loss = { ON_SHARED, LOSE(punching, PAGES(7), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_remove) {
	.loss = { ON_SHARED, LOSE(madv_remove, PAGES(7), PAGES(2)) },
};

FIXTURE_VARIANT_ADD(gone, shared_truncate) {
	.loss = { ON_SHARED, LOSE(truncating, PAGES(10), PAGES(6)) },
};

FIXTURE_VARIANT_ADD(gone, shared_truncate_all) {
	.loss = { ON_SHARED, LOSE(truncating, 0, PAGES(16)) },
};

FIXTURE_VARIANT_ADD(gone, shared_thp_munmap_page) {
	.loss = { ON_SHARED_THP, LOSE(munmap, PAGES(100), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_thp_munmap) {
	.loss = { ON_SHARED_THP, LOSE(munmap, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_thp_mremap_page) {
	.loss = { ON_SHARED_THP, LOSE(mremap, PAGES(100), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_thp_punch) {
	.loss = { ON_SHARED_THP, LOSE(punching, 0, HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_thp_truncate) {
	.loss = { ON_SHARED_THP, LOSE(truncating, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_huge_munmap) {
	.loss = { ON_SHARED_HUGE, LOSE(munmap, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_huge_punch) {
	.loss = { ON_SHARED_HUGE, LOSE(punching, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, shared_huge_truncate) {
	.loss = { ON_SHARED_HUGE, LOSE(truncating, HUGES(1), HUGES(2)) },
};

FIXTURE_VARIANT_ADD(gone, copied_munmap) {
	.loss = { ON_COPIED, LOSE(munmap, PAGES(7), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, copied_dontneed) {
	.loss = { ON_COPIED, LOSE(dontneed, PAGES(7), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(gone, copied_truncate) {
	.loss = { ON_COPIED, LOSE(truncating, PAGES(10), PAGES(6)) },
};

FIXTURE_SETUP(gone)
{
	const struct loss *loss = &variant->loss;

	self->machine = pages_pinned();
	ASSERT_LE(0, self->machine);
	self->root = root_start();
	ASSERT_LE(0, self->root);
	ASSERT_EQ(0, stage_start(&self->stage));
	ASSERT_EQ(0, memory_make(&self->memory, loss->kind, loss->size, OLD));
	ASSERT_TRUE(memory_is_as_meant(self->stage.pagemap, &self->memory));
	self->beside = dma_alloc(PAGES(2));
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->beside, PAGE_SIZE,
				   IOVA - PAGE_SIZE, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->beside + PAGE_SIZE,
				   PAGE_SIZE, IOVA + loss->size, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->memory.base,
				   loss->size, IOVA, RW));
	self->before = account_of(self->stage.domain);
	ASSERT_EQ(0, self->before.revoked);
	ASSERT_EQ((long long)(loss->size + PAGES(3)), self->before.pinned);
	ASSERT_EQ(4, self->before.mappings);
}

FIXTURE_TEARDOWN(gone)
{
	stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
	EXPECT_TRUE(root_sees_pinned(self->root, self->machine));
	close(self->root);
	dma_free(self->beside, PAGES(2));
	memory_free(&self->memory);
}

/* Neither what was lost, wherever it is, nor what is there now. */
TEST_F(gone, is_out_of_reach)
{
	const struct loss *loss = &variant->loss;
	const size_t start = loss->start, length = loss->length;
	const uint64_t first = IOVA + start, last = first + length - BYTES;
	struct memory *memory = &self->memory;
	uint8_t *gone = memory->base + start;
	struct witness witness;
	struct heir heir;
	int view = 0;

	EXPECT_TRUE(reaches(&self->stage, gone, first));
	witness = witness_of(self->stage.pagemap, gone, length);
	ASSERT_EQ(0, device_write_ends(&self->stage, first, length));
	ASSERT_EQ(2, witness_sees(&witness));
	memset(gone, OLD, length);
	ASSERT_EQ(0, witness_sees(&witness));

	ASSERT_EQ(0, loss->lose(memory, start, length));
	if (!loss->at_once)
		EXPECT_TRUE(has_lost(self->stage.domain, &self->before,
				     length));
	ASSERT_EQ(0, memory_again(memory, start, length, NEW));
	heir_take(&heir, loss->kind, NEW);
	if (memory->view)
		view = memory->view[start];

	EXPECT_TRUE(reads_nothing(&self->stage, first));
	EXPECT_TRUE(reads_nothing(&self->stage, last));
	ASSERT_EQ(0, device_write_ends(&self->stage, first, length));
	EXPECT_EQ(0, witness_sees(&witness));
	EXPECT_TRUE(is_filled(gone, NEW, length));
	EXPECT_TRUE(heir_is_untouched(&heir));
	if (memory->moved)
		EXPECT_TRUE(is_filled(memory->moved, OLD, length));
	if (memory->view)
		EXPECT_TRUE(is_filled(memory->view + start, view, length));
	heir_free(&heir);
}

/* The pages around it, and the mappings around its mapping. */
TEST_F(gone, leaves_its_neighbours)
{
	const struct loss *loss = &variant->loss;
	const size_t start = loss->start, end = start + loss->length;
	uint8_t *base = self->memory.base;
	struct stage *stage = &self->stage;

	ASSERT_EQ(0, loss->lose(&self->memory, start, loss->length));
	if (!loss->at_once)
		EXPECT_TRUE(has_lost(stage->domain, &self->before,
				     loss->length));
	if (start)
		EXPECT_TRUE(reaches(stage, base + start - PAGE_SIZE,
				    IOVA + start - PAGE_SIZE));
	if (end < loss->size)
		EXPECT_TRUE(reaches(stage, base + end, IOVA + end));
	EXPECT_TRUE(reaches(stage, self->beside, IOVA - PAGE_SIZE));
	EXPECT_TRUE(reaches(stage, self->beside + PAGE_SIZE,
			    IOVA + loss->size));
}

TEST_F(gone, is_accounted_for_and_reserved)
{
	const struct loss *loss = &variant->loss;
	const uint64_t gone = IOVA + loss->start;
	struct account want = account_less(self->before, loss->length);
	int domain = self->stage.domain;
	uint8_t *page = self->beside;
	bool accounted;

	ASSERT_EQ(0, loss->lose(&self->memory, loss->start, loss->length));
	accounted = loss->at_once ? account_is(domain, &want) :
				    account_becomes(domain, &want);
	EXPECT_TRUE(accounted);
	EXPECT_TRUE(root_sees_pinned(self->root, self->machine +
				     want.pinned / (long)PAGE_SIZE));
	ASSERT_EQ(0, memory_again(&self->memory, loss->start, loss->length,
				  NEW));

	EXPECT_EQ(-EEXIST, uvfio_dma_map(domain, page, PAGE_SIZE, gone, RW));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(domain, page, PAGE_SIZE,
					 gone + loss->length - PAGE_SIZE,
					 RW));
	usleep(QUIET_MS * 1000);
	EXPECT_TRUE(account_is(domain, &want));

	EXPECT_EQ((int64_t)loss->size,
		  uvfio_dma_unmap(domain, IOVA, loss->size));
	want.vm_pin -= (loss->size - loss->length) >> 10;
	want.pinned -= loss->size - loss->length;
	want.mappings--;
	EXPECT_TRUE(account_is(domain, &want));

	/* And it is free. */
	ASSERT_EQ(0, uvfio_dma_map(domain, page, PAGE_SIZE, gone, RW));
	EXPECT_TRUE(reaches(&self->stage, page, gone));
}

/* What takes nothing away. */

struct keeper {
	struct memory memory;
	size_t mapped;
	int root;		/* of root_start() */
	int child;		/* to the child of fork_child() */
};

FIXTURE(kept)
{
	struct stage stage;
	struct keeper keeper;
	struct account before;
};

/* What is done to the memory; 0 or -errno. */
typedef int keep_fn(struct keeper *keeper);

FIXTURE_VARIANT(kept)
{
	enum memory_kind kind;
	size_t size;
	size_t mapped;		/* for DMA; 0: all */
	keep_fn *act;
};

static long number_in_file(const char *path)
{
	char text[32];

	return read_file(path, text, sizeof(text)) ? -1 : atol(text);
}

static int advise(struct keeper *keeper, int advice)
{
	return madvise(keeper->memory.base, keeper->mapped, advice) ? -errno : 0;
}

static int keep_dontneed(struct keeper *keeper)
{
	return advise(keeper, MADV_DONTNEED);
}

static int keep_cold(struct keeper *keeper)
{
	return advise(keeper, MADV_COLD);
}

static int keep_pageout(struct keeper *keeper)
{
	return advise(keeper, MADV_PAGEOUT);
}

static int keep_free(struct keeper *keeper)
{
	return advise(keeper, MADV_FREE);
}

/* The kernel takes the pages out of the page table to free them, and back. */
static int keep_free_and_pageout(struct keeper *keeper)
{
	int ret = advise(keeper, MADV_FREE);

	return ret ? ret : advise(keeper, MADV_PAGEOUT);
}

/* It may well refuse: the pages are in use. */
static int keep_collapse(struct keeper *keeper)
{
	int ret;

	if (madvise(keeper->memory.base, keeper->memory.size, MADV_HUGEPAGE))
		return -errno;
	ret = advise(keeper, MADV_COLLAPSE);
	return ret == -EBUSY || ret == -EAGAIN ? 0 : ret;
}

static int protect_and_back(void *at, size_t size, int prot)
{
	if (mprotect(at, size, prot) ||
	    mprotect(at, size, PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

static int keep_mprotect_none(struct keeper *keeper)
{
	return protect_and_back(keeper->memory.base, keeper->mapped, PROT_NONE);
}

static int keep_mprotect_read(struct keeper *keeper)
{
	return protect_and_back(keeper->memory.base, keeper->mapped, PROT_READ);
}

/* Takes the process's huge page apart, not the memory. */
static int keep_mprotect_part(struct keeper *keeper)
{
	return protect_and_back(keeper->memory.base + PAGES(3), PAGES(1),
				PROT_NONE);
}

static int keep_mlock(struct keeper *keeper)
{
	if (mlock(keeper->memory.base, keeper->mapped) ||
	    munlock(keeper->memory.base, keeper->mapped))
		return -errno;
	return 0;
}

static int keep_clear_refs(struct keeper *keeper)
{
	int ret = write_file("/proc/self/clear_refs", "1");

	if (!ret)
		ret = write_file("/proc/self/clear_refs", "4");
	memset(keeper->memory.base, OLD, keeper->mapped);
	return ret;
}

/* What is behind the mapping is lost, up to its last byte. */
static int keep_munmap_behind(struct keeper *keeper)
{
	return lose_by_munmap(&keeper->memory, keeper->mapped,
			      keeper->memory.size - keeper->mapped);
}

static int keep_dontneed_behind(struct keeper *keeper)
{
	return lose_by_dontneed(&keeper->memory, keeper->mapped,
				keeper->memory.size - keeper->mapped);
}

static int keep_mremap_behind(struct keeper *keeper)
{
	return lose_by_mremap(&keeper->memory, keeper->mapped,
			      keeper->memory.size - keeper->mapped);
}

static int keep_truncate_behind(struct keeper *keeper)
{
	return lose_by_truncating(&keeper->memory, keeper->mapped,
				  keeper->memory.size - keeper->mapped);
}

static int keep_punch_behind(struct keeper *keeper)
{
	return lose_by_punching(&keeper->memory, keeper->mapped,
				keeper->memory.size - keeper->mapped);
}

/* Another view of the file, or, of private memory, the file. */
static int keep_munmap_view(struct keeper *keeper)
{
	if (munmap(keeper->memory.view, keeper->memory.size))
		return -errno;
	keeper->memory.view = NULL;
	return 0;
}

static int keep_punch_file(struct keeper *keeper)
{
	return lose_by_punching(&keeper->memory, 0, keeper->memory.size);
}

static int keep_growing(struct keeper *keeper)
{
	uint8_t *end = keeper->memory.base + keeper->memory.size;

	if (munmap(end, HUGE_SIZE) ||
	    mremap(keeper->memory.base, keeper->memory.size,
		   keeper->memory.size + HUGE_SIZE, 0) == MAP_FAILED)
		return -errno;
	return 0;
}

/*
 * A child with a copy of it all, which does @what to its copy and stays until
 * the parent has ended.
 */
static int fork_child(struct keeper *keeper, lose_fn *what)
{
	int sock[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock))
		return -errno;
	if (!fork()) {
		close(sock[0]);
		ret = is_filled(keeper->memory.base, OLD, keeper->memory.size) ?
		      0 : -EILSEQ;
		if (!ret && what)
			ret = what(&keeper->memory, 0, keeper->memory.size);
		if (write(sock[1], &ret, sizeof(ret)) == sizeof(ret))
			ret = read(sock[1], &ret, sizeof(ret));
		_exit(0);
	}
	close(sock[1]);
	keeper->child = sock[0];
	return read(sock[0], &ret, sizeof(ret)) == sizeof(ret) ? ret : -EIO;
}

static int keep_fork(struct keeper *keeper)
{
	return fork_child(keeper, NULL);
}

static int keep_munmap_by_child(struct keeper *keeper)
{
	return fork_child(keeper, lose_by_munmap);
}

static int keep_dontneed_by_child(struct keeper *keeper)
{
	return fork_child(keeper, lose_by_dontneed);
}

/* The child reads zeros, and would end with EILSEQ. */
static int keep_wipe_on_fork(struct keeper *keeper)
{
	int ret = advise(keeper, MADV_WIPEONFORK);

	if (!ret)
		ret = fork_child(keeper, NULL);
	return ret == -EILSEQ ? 0 : ret;
}

static int keep_compact(struct keeper *keeper)
{
	return root_write(keeper->root, "/proc/sys/vm/compact_memory", "1");
}

static int keep_drop_caches(struct keeper *keeper)
{
	return root_write(keeper->root, "/proc/sys/vm/drop_caches", "3");
}

#define KSM	"/sys/kernel/mm/ksm/"

/* Until it has merged as many other pages like these. */
static int keep_merging(struct keeper *keeper)
{
	uint64_t end = now_ms() + WAIT_MS;
	struct memory others;
	long scans;
	int ret;

	ret = memory_make(&others, ANON, PAGES(16), OLD);
	if (!ret)
		ret = root_write(keeper->root, KSM "pages_to_scan", "5000");
	if (!ret)
		ret = advise(keeper, MADV_MERGEABLE);
	if (!ret && madvise(others.base, others.size, MADV_MERGEABLE))
		ret = -errno;
	if (!ret)
		ret = root_write(keeper->root, KSM "run", "1");
	while (!ret && number_in_file(KSM "pages_sharing") < 15) {
		if (now_ms() > end)
			ret = -ETIMEDOUT;
		usleep(10000);
	}
	scans = number_in_file(KSM "full_scans");
	while (!ret && number_in_file(KSM "full_scans") < scans + 3) {
		if (now_ms() > end)
			ret = -ETIMEDOUT;
		usleep(10000);
	}
	root_write(keeper->root, KSM "run", "2");
	root_write(keeper->root, KSM "run", "0");
	memory_free(&others);
	return ret;
}

#define ALL_ANON	.kind = ANON, .size = PAGES(16)
#define ALL_SHARED	.kind = SHARED, .size = PAGES(16)
#define ALL_COPIED	.kind = COPIED, .size = PAGES(16)
#define ALL_THP		.kind = THP, .size = HUGES(1)
#define ALL_SHARED_THP	.kind = SHARED_THP, .size = HUGES(1)
#define HALF_ANON	.kind = ANON, .size = PAGES(16), .mapped = PAGES(8)
#define HALF_SHARED	.kind = SHARED, .size = PAGES(16), .mapped = PAGES(8)
#define HALF_THP	.kind = THP, .size = HUGES(1), .mapped = PAGES(256)
#define HALF_SHARED_THP	.kind = SHARED_THP, .size = HUGES(1), \
			.mapped = PAGES(256)

FIXTURE_VARIANT_ADD(kept, cold) { ALL_ANON, .act = keep_cold };

FIXTURE_VARIANT_ADD(kept, pageout) { ALL_ANON, .act = keep_pageout };

FIXTURE_VARIANT_ADD(kept, free) { ALL_ANON, .act = keep_free };

FIXTURE_VARIANT_ADD(kept, free_and_pageout) {
	ALL_ANON, .act = keep_free_and_pageout,
};

FIXTURE_VARIANT_ADD(kept, collapse) {
	.kind = ANON, .size = HUGES(1), .act = keep_collapse,
};

FIXTURE_VARIANT_ADD(kept, mprotect_none) {
	ALL_ANON, .act = keep_mprotect_none,
};

FIXTURE_VARIANT_ADD(kept, mprotect_read) {
	ALL_ANON, .act = keep_mprotect_read,
};

FIXTURE_VARIANT_ADD(kept, mlock) { ALL_ANON, .act = keep_mlock };

FIXTURE_VARIANT_ADD(kept, clear_refs) { ALL_ANON, .act = keep_clear_refs };

FIXTURE_VARIANT_ADD(kept, growing) { ALL_ANON, .act = keep_growing };

FIXTURE_VARIANT_ADD(kept, fork) { ALL_ANON, .act = keep_fork };

FIXTURE_VARIANT_ADD(kept, munmap_by_child) {
	ALL_ANON, .act = keep_munmap_by_child,
};

FIXTURE_VARIANT_ADD(kept, dontneed_by_child) {
	ALL_ANON, .act = keep_dontneed_by_child,
};

FIXTURE_VARIANT_ADD(kept, wipe_on_fork) { ALL_ANON, .act = keep_wipe_on_fork };

FIXTURE_VARIANT_ADD(kept, compact) { ALL_ANON, .act = keep_compact };

FIXTURE_VARIANT_ADD(kept, merging) { ALL_ANON, .act = keep_merging };

FIXTURE_VARIANT_ADD(kept, munmap_behind) {
	HALF_ANON, .act = keep_munmap_behind,
};

FIXTURE_VARIANT_ADD(kept, dontneed_behind) {
	HALF_ANON, .act = keep_dontneed_behind,
};

FIXTURE_VARIANT_ADD(kept, mremap_behind) {
	HALF_ANON, .act = keep_mremap_behind,
};

FIXTURE_VARIANT_ADD(kept, thp_pageout) { ALL_THP, .act = keep_pageout };

FIXTURE_VARIANT_ADD(kept, thp_free) { ALL_THP, .act = keep_free };

FIXTURE_VARIANT_ADD(kept, thp_free_and_pageout) {
	ALL_THP, .act = keep_free_and_pageout,
};

FIXTURE_VARIANT_ADD(kept, thp_mprotect_none) {
	ALL_THP, .act = keep_mprotect_none,
};

FIXTURE_VARIANT_ADD(kept, thp_mprotect_part) {
	ALL_THP, .act = keep_mprotect_part,
};

FIXTURE_VARIANT_ADD(kept, thp_fork) { ALL_THP, .act = keep_fork };

FIXTURE_VARIANT_ADD(kept, thp_compact) { ALL_THP, .act = keep_compact };

FIXTURE_VARIANT_ADD(kept, thp_munmap_behind) {
	HALF_THP, .act = keep_munmap_behind,
};

FIXTURE_VARIANT_ADD(kept, thp_dontneed_behind) {
	HALF_THP, .act = keep_dontneed_behind,
};

FIXTURE_VARIANT_ADD(kept, thp_mremap_behind) {
	HALF_THP, .act = keep_mremap_behind,
};

FIXTURE_VARIANT_ADD(kept, hugetlb_fork) {
	.kind = HUGETLB, .size = HUGES(1), .act = keep_fork,
};

FIXTURE_VARIANT_ADD(kept, hugetlb_mprotect_none) {
	.kind = HUGETLB, .size = HUGES(1), .act = keep_mprotect_none,
};

FIXTURE_VARIANT_ADD(kept, hugetlb_munmap_behind) {
	.kind = HUGETLB, .size = HUGES(2), .mapped = HUGES(1), .act = keep_munmap_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_dontneed) { ALL_SHARED, .act = keep_dontneed };

FIXTURE_VARIANT_ADD(kept, shared_cold) { ALL_SHARED, .act = keep_cold };

FIXTURE_VARIANT_ADD(kept, shared_pageout) { ALL_SHARED, .act = keep_pageout };

FIXTURE_VARIANT_ADD(kept, shared_mprotect_none) {
	ALL_SHARED, .act = keep_mprotect_none,
};

FIXTURE_VARIANT_ADD(kept, shared_clear_refs) {
	ALL_SHARED, .act = keep_clear_refs,
};

FIXTURE_VARIANT_ADD(kept, shared_fork) { ALL_SHARED, .act = keep_fork };

FIXTURE_VARIANT_ADD(kept, shared_munmap_by_child) {
	ALL_SHARED, .act = keep_munmap_by_child,
};

FIXTURE_VARIANT_ADD(kept, shared_munmap_view) {
	ALL_SHARED, .act = keep_munmap_view,
};

FIXTURE_VARIANT_ADD(kept, shared_compact) { ALL_SHARED, .act = keep_compact };

FIXTURE_VARIANT_ADD(kept, shared_drop_caches) {
	ALL_SHARED, .act = keep_drop_caches,
};

FIXTURE_VARIANT_ADD(kept, shared_munmap_behind) {
	HALF_SHARED, .act = keep_munmap_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_punch_behind) {
	HALF_SHARED, .act = keep_punch_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_truncate_behind) {
	HALF_SHARED, .act = keep_truncate_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_dontneed) {
	ALL_SHARED_THP, .act = keep_dontneed,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_pageout) {
	ALL_SHARED_THP, .act = keep_pageout,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_mprotect_none) {
	ALL_SHARED_THP, .act = keep_mprotect_none,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_mprotect_part) {
	ALL_SHARED_THP, .act = keep_mprotect_part,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_clear_refs) {
	ALL_SHARED_THP, .act = keep_clear_refs,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_fork) {
	ALL_SHARED_THP, .act = keep_fork,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_munmap_view) {
	ALL_SHARED_THP, .act = keep_munmap_view,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_compact) {
	ALL_SHARED_THP, .act = keep_compact,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_munmap_behind) {
	HALF_SHARED_THP, .act = keep_munmap_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_dontneed_behind) {
	HALF_SHARED_THP, .act = keep_dontneed_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_mremap_behind) {
	HALF_SHARED_THP, .act = keep_mremap_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_punch_behind) {
	HALF_SHARED_THP, .act = keep_punch_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_thp_truncate_behind) {
	HALF_SHARED_THP, .act = keep_truncate_behind,
};

FIXTURE_VARIANT_ADD(kept, shared_huge_dontneed) {
	.kind = SHARED_HUGETLB, .size = HUGES(2), .act = keep_dontneed,
};

FIXTURE_VARIANT_ADD(kept, shared_huge_punch_behind) {
	.kind = SHARED_HUGETLB, .size = HUGES(2), .mapped = HUGES(1), .act = keep_punch_behind,
};

FIXTURE_VARIANT_ADD(kept, copied_punch_file) {
	ALL_COPIED, .act = keep_punch_file,
};

FIXTURE_VARIANT_ADD(kept, copied_munmap_view) {
	ALL_COPIED, .act = keep_munmap_view,
};

FIXTURE_VARIANT_ADD(kept, copied_mprotect_none) {
	ALL_COPIED, .act = keep_mprotect_none,
};

FIXTURE_SETUP(kept)
{
	self->keeper.child = -1;
	self->keeper.root = root_start();
	ASSERT_LE(0, self->keeper.root);
	ASSERT_EQ(0, stage_start(&self->stage));
	ASSERT_EQ(0, memory_make(&self->keeper.memory, variant->kind, variant->size,
				 OLD));
	ASSERT_TRUE(memory_is_as_meant(self->stage.pagemap, &self->keeper.memory));
	self->keeper.mapped = variant->mapped ? variant->mapped : variant->size;
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->keeper.memory.base,
				   self->keeper.mapped, IOVA, RW));
	self->before = account_of(self->stage.domain);
	ASSERT_EQ(0, self->before.revoked);
}

FIXTURE_TEARDOWN(kept)
{
	/* A child has the domain open, too. */
	close(self->keeper.root);
	close(self->keeper.child);
	while (wait(NULL) >= 0)
		;
	stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
	memory_free(&self->keeper.memory);
}

TEST_F(kept, is_all)
{
	const size_t at[] = { 0, self->keeper.mapped - PAGE_SIZE };
	unsigned int i;

	ASSERT_EQ(0, variant->act(&self->keeper));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_TRUE(reaches(&self->stage, self->keeper.memory.base + at[i],
				    IOVA + at[i]));
	/* A worker would have had the time, too. */
	EXPECT_TRUE(has_lost(self->stage.domain, &self->before, 0));
	EXPECT_EQ((int64_t)self->keeper.mapped,
		  uvfio_dma_unmap(self->stage.domain, IOVA, self->keeper.mapped));
}

/* A few pages, lost in less simple ways. */

FIXTURE(pages)
{
	struct stage stage;
	struct memory memory;
	struct account before;	/* with nothing mapped but the scratch page */
};

FIXTURE_SETUP(pages)
{
	ASSERT_EQ(0, stage_start(&self->stage));
	ASSERT_EQ(0, memory_make(&self->memory, ANON, PAGES(16), OLD));
	self->before = account_of(self->stage.domain);
}

FIXTURE_TEARDOWN(pages)
{
	stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
	memory_free(&self->memory);
}

/* From the third page of one mapping to the second of the third one. */
TEST_F(pages, are_lost_over_several_mappings)
{
	static const struct {
		int page, pages;
		int lost;
	} maps[] = {
		{ 0, 4, 2 }, { 5, 3, 3 }, { 10, 4, 2 },
	};
	static const int left[] = { 0, 1, 12, 13 }, gone[] = { 2, 3, 5, 7, 11 };
	uint8_t *base = self->memory.base;
	int domain = self->stage.domain;
	struct account before;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(maps); i++)
		ASSERT_EQ(0, uvfio_dma_map(domain, base + PAGES(maps[i].page),
					   PAGES(maps[i].pages),
					   IOVA + PAGES(maps[i].page), RW));
	before = account_of(domain);
	ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(2), PAGES(10)));
	EXPECT_TRUE(has_lost(domain, &before, PAGES(7)));
	ASSERT_EQ(0, memory_again(&self->memory, PAGES(2), PAGES(10), NEW));

	for (i = 0; i < ARRAY_SIZE(left); i++)
		EXPECT_TRUE(reaches(&self->stage, base + PAGES(left[i]),
				    IOVA + PAGES(left[i])));
	for (i = 0; i < ARRAY_SIZE(gone); i++)
		EXPECT_TRUE(reads_nothing(&self->stage,
					  IOVA + PAGES(gone[i])));
	EXPECT_EQ((int64_t)PAGES(11),
		  uvfio_dma_unmap(domain, IOVA, PAGES(16)));
}

/* One mapping of private memory with shared memory in between: what counts is that. */
TEST_F(pages, are_lost_where_they_are_private)
{
	static const int gone[] = { 2, 3, 8, 9 }, left[] = { 1, 4, 7, 10 };
	uint8_t *base = self->memory.base;
	int domain = self->stage.domain;
	struct account before;
	unsigned int i;

	ASSERT_EQ(base + PAGES(4), mmap(base + PAGES(4), PAGES(4),
					PROT_READ | PROT_WRITE, MAP_SHARED |
					MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, uvfio_dma_map(domain, base, PAGES(16), IOVA, RW));
	before = account_of(domain);
	ASSERT_EQ(0, lose_by_dontneed(&self->memory, PAGES(2), PAGES(8)));
	EXPECT_TRUE(has_lost(domain, &before, PAGES(4)));
	memset(base, NEW, PAGES(16));
	for (i = 0; i < ARRAY_SIZE(gone); i++)
		EXPECT_TRUE(reads_nothing(&self->stage,
					  IOVA + PAGES(gone[i])));
	for (i = 0; i < ARRAY_SIZE(left); i++)
		EXPECT_TRUE(reaches(&self->stage, base + PAGES(left[i]),
				    IOVA + PAGES(left[i])));
}

/* How a driver goes on: the page is cut out, what is there now comes in. */
TEST_F(pages, can_be_replaced)
{
	uint8_t *base = self->memory.base, *page = base + PAGES(5);
	const uint64_t gone = IOVA + PAGES(5);
	int domain = self->stage.domain;
	struct account want;

	ASSERT_EQ(0, uvfio_dma_map(domain, base, PAGES(16), IOVA, RW));
	want = account_of(domain);
	ASSERT_EQ(0, lose_by_dontneed(&self->memory, PAGES(5), PAGES(2)));
	memset(page, NEW, PAGES(2));
	want = account_less(want, PAGES(2));
	EXPECT_TRUE(account_becomes(domain, &want));

	/* Of the two, one. */
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(domain, gone, PAGE_SIZE));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(domain, page, PAGES(2), gone, RW));
	ASSERT_EQ(0, uvfio_dma_map(domain, page, PAGE_SIZE, gone, RW));
	want.vm_pin += 4;
	want.pinned += PAGE_SIZE;
	want.mappings += 2;
	EXPECT_TRUE(account_is(domain, &want));
	EXPECT_TRUE(reaches(&self->stage, page, gone));
	EXPECT_TRUE(reaches(&self->stage, page - PAGE_SIZE, gone - PAGE_SIZE));
	EXPECT_TRUE(reads_nothing(&self->stage, gone + PAGE_SIZE));
	EXPECT_TRUE(reaches(&self->stage, page + PAGES(2), gone + PAGES(2)));

	/* And is lost like any other. */
	ASSERT_EQ(0, lose_by_munmap(&self->memory, 0, PAGES(16)));
	EXPECT_TRUE(has_lost(domain, &want, PAGES(15)));
	EXPECT_EQ((int64_t)PAGES(16),
		  uvfio_dma_unmap(domain, IOVA, PAGES(16)));
	want = self->before;
	want.revoked = PAGES(17);
	EXPECT_TRUE(account_is(domain, &want));
	ASSERT_EQ(0, memory_again(&self->memory, 0, PAGES(16), NEW));
}

/* What is lost is lost: nothing that comes to its address counts again. */
TEST_F(pages, are_lost_once)
{
	int domain = self->stage.domain, i;
	struct account before;

	ASSERT_EQ(0, uvfio_dma_map(domain, self->memory.base, PAGES(16), IOVA,
				   RW));
	before = account_of(domain);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, lose_by_dontneed(&self->memory, PAGES(3),
					      PAGES(1 + i % 3)));
		ASSERT_EQ(0, memory_again(&self->memory, PAGES(3), PAGES(3),
					  NEW));
	}
	EXPECT_TRUE(has_lost(domain, &before, PAGES(3)));
	/* From both ends, page by page, until there is none. */
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(i), PAGES(1)));
		ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(15 - i),
					    PAGES(1)));
		EXPECT_TRUE(has_lost(domain, &before,
				     PAGES(2 * (i + 1) +
					   (i < 3 ? 3 : i < 6 ? 5 - i : 0))));
	}
	EXPECT_EQ((int64_t)PAGES(16),
		  uvfio_dma_unmap(domain, IOVA, PAGES(16)));
	ASSERT_EQ(0, memory_again(&self->memory, 0, PAGES(16), NEW));
}

/* What is no longer mapped for DMA can be lost without anybody's notice. */
TEST_F(pages, are_not_lost_when_unmapped)
{
	int domain = self->stage.domain;
	struct account before;

	ASSERT_EQ(0, uvfio_dma_map(domain, self->memory.base, PAGES(16), IOVA,
				   RW));
	EXPECT_EQ((int64_t)PAGES(4), uvfio_dma_unmap(domain, IOVA + PAGES(6),
						     PAGES(4)));
	before = account_of(domain);
	EXPECT_EQ((long long)PAGES(13), before.pinned);
	ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(6), PAGES(4)));
	usleep(QUIET_MS * 1000);
	EXPECT_TRUE(account_is(domain, &before));
	ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(4), PAGES(8)));
	EXPECT_TRUE(has_lost(domain, &before, PAGES(4)));
	EXPECT_TRUE(reaches(&self->stage, self->memory.base + PAGES(3),
			    IOVA + PAGES(3)));
	EXPECT_TRUE(reaches(&self->stage, self->memory.base + PAGES(12),
			    IOVA + PAGES(12)));
	EXPECT_EQ((int64_t)PAGES(12),
		  uvfio_dma_unmap(domain, IOVA, PAGES(16)));
}

/* Of mappings for one direction, too. */
TEST_F(pages, are_lost_in_each_direction)
{
	uint8_t *base = self->memory.base;
	int domain = self->stage.domain;
	struct account before;
	struct heir heir;

	ASSERT_EQ(0, uvfio_dma_map(domain, base, PAGES(4), IOVA,
				   VFIO_DMA_MAP_FLAG_READ));
	ASSERT_EQ(0, uvfio_dma_map(domain, base + PAGES(8), PAGES(4), IOVA2,
				   VFIO_DMA_MAP_FLAG_WRITE));
	before = account_of(domain);
	ASSERT_EQ(0, device_read(&self->stage, IOVA + PAGES(1)));
	EXPECT_TRUE(is_filled(self->stage.scratch, OLD, BYTES));
	ASSERT_EQ(0, device_write(&self->stage, IOVA2 + PAGES(1), DEVICE));
	EXPECT_TRUE(is_filled(base + PAGES(9), DEVICE, BYTES));

	ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(1), PAGES(9)));
	EXPECT_TRUE(has_lost(domain, &before, PAGES(5)));
	ASSERT_EQ(0, memory_again(&self->memory, PAGES(1), PAGES(9), NEW));
	heir_take(&heir, ANON, NEW);
	EXPECT_TRUE(reads_nothing(&self->stage, IOVA + PAGES(1)));
	ASSERT_EQ(0, device_write(&self->stage, IOVA2 + PAGES(1), DEVICE));
	EXPECT_TRUE(is_filled(base + PAGES(1), NEW, PAGES(9)));
	EXPECT_TRUE(heir_is_untouched(&heir));
	ASSERT_EQ(0, device_read(&self->stage, IOVA));
	EXPECT_TRUE(is_filled(self->stage.scratch, OLD, BYTES));
	ASSERT_EQ(0, device_write(&self->stage, IOVA2 + PAGES(2), DEVICE));
	EXPECT_TRUE(is_filled(base + PAGES(10), DEVICE, BYTES));
	heir_free(&heir);
}

/* With no device there to see it. */
TEST_F(pages, are_lost_without_a_device)
{
	int domain = self->stage.domain;
	struct account before;
	struct heir heir;

	ASSERT_EQ(0, uvfio_dma_map(domain, self->memory.base, PAGES(16), IOVA,
				   RW));
	before = account_of(domain);
	EXPECT_EQ(before.pinned, fdinfo_number(self->stage.dev.fd, "pinned"));
	edu_stop(&self->stage.edu);
	ASSERT_EQ(0, uvfio_detach(self->stage.dev.fd));
	EXPECT_TRUE(account_is(domain, &before));
	ASSERT_EQ(0, lose_by_munmap(&self->memory, PAGES(2), PAGES(3)));
	EXPECT_TRUE(has_lost(domain, &before, PAGES(3)));
	ASSERT_EQ(0, memory_again(&self->memory, PAGES(2), PAGES(3), NEW));
	heir_take(&heir, ANON, NEW);

	ASSERT_EQ(0, uvfio_attach(self->stage.dev.fd, domain));
	ASSERT_EQ(0, edu_start(&self->stage.edu, self->stage.dev.fd));
	EXPECT_EQ((long long)PAGES(3),
		  fdinfo_number(self->stage.dev.fd, "revoked"));
	EXPECT_TRUE(reads_nothing(&self->stage, IOVA + PAGES(2)));
	ASSERT_EQ(0, device_write(&self->stage, IOVA + PAGES(2), DEVICE));
	EXPECT_TRUE(is_filled(self->memory.base + PAGES(2), NEW, PAGES(3)));
	EXPECT_TRUE(heir_is_untouched(&heir));
	EXPECT_TRUE(reaches(&self->stage, self->memory.base + PAGES(5),
			    IOVA + PAGES(5)));
	heir_free(&heir);
}

/*
 * A page that a child has, too, becomes the parent's own when it is mapped; what
 * the child does to its own does not matter.
 */
TEST_F(pages, are_not_the_childs)
{
	struct memory *memory = &self->memory;
	int domain = self->stage.domain, go[2];
	struct account before;
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) == 1 &&
		      is_filled(memory->base, OLD, memory->size) &&
		      !lose_by_dontneed(memory, 0, memory->size) &&
		      !lose_by_munmap(memory, 0, memory->size) ? 0 : 1);
	}
	ASSERT_EQ(0, uvfio_dma_map(domain, memory->base, memory->size, IOVA,
				   RW));
	before = account_of(domain);
	EXPECT_TRUE(reaches(&self->stage, memory->base, IOVA));
	EXPECT_EQ(1, write(go[1], &byte, 1));
	ASSERT_EQ(pid, waitpid(pid, go, 0));
	EXPECT_EQ(0, go[0]);
	EXPECT_TRUE(reaches(&self->stage, memory->base, IOVA));
	EXPECT_TRUE(reaches(&self->stage, memory->base + PAGES(15),
			    IOVA + PAGES(15)));
	EXPECT_TRUE(account_is(domain, &before));
}

/*
 * A huge page that is pinned cannot be taken apart, so a hole in it may become
 * zeros on the same page. Whichever it is, device and process agree.
 */
TEST_F(pages, make_way_for_a_hole_or_stay)
{
	int domain = self->stage.domain;
	struct account before;
	struct memory memory;
	long long lost;
	uint8_t *page;

	ASSERT_EQ(0, memory_make(&memory, SHARED_THP, HUGES(1), OLD));
	ASSERT_TRUE(memory_is_as_meant(self->stage.pagemap, &memory));
	ASSERT_EQ(0, uvfio_dma_map(domain, memory.base, HUGES(1), IOVA2, RW));
	before = account_of(domain);
	ASSERT_EQ(0, lose_by_punching(&memory, PAGES(100), PAGES(2)));
	page = memory.base + PAGES(100);
	EXPECT_TRUE(is_filled(page, 0, PAGES(2)));
	usleep(5 * QUIET_MS * 1000);
	lost = fdinfo_number(domain, "revoked");
	TH_LOG("%lld bytes were revoked", lost);
	EXPECT_TRUE(lost == 0 || lost == PAGES(2));
	EXPECT_TRUE(has_lost(domain, &before, lost));
	EXPECT_EQ(!lost, reaches(&self->stage, page, IOVA2 + PAGES(100)));
	memset(page, NEW, PAGES(2));
	EXPECT_EQ(!!lost, reads_nothing(&self->stage, IOVA2 + PAGES(101)));
	EXPECT_TRUE(reaches(&self->stage, page - PAGE_SIZE,
			    IOVA2 + PAGES(99)));
	EXPECT_TRUE(reaches(&self->stage, page + PAGES(2),
			    IOVA2 + PAGES(102)));
	EXPECT_EQ((int64_t)HUGES(1), uvfio_dma_unmap(domain, IOVA2, HUGES(1)));
	memory_free(&memory);
}

/* Two processes with one memory: that one of them ends takes nothing away. */

struct sharer {
	int domain;
	uint8_t *memory;
	const char *exec;	/* NULL: exit */
	int ret;
};

static int share_memory(void *data)
{
	struct sharer *sharer = data;

	sharer->ret = uvfio_dma_map(sharer->domain, sharer->memory, PAGES(16),
				    IOVA, RW);
	if (sharer->exec)
		execl(sharer->exec, sharer->exec, NULL);
	_exit(0);
}

TEST_F(pages, outlive_one_of_two_processes)
{
	static const char *const programs[] = { NULL, "/bin/true" };
	struct sharer sharer = {
		.domain = self->stage.domain,
		.memory = self->memory.base,
	};
	struct account want = self->before;
	uint8_t *stack = dma_alloc(PAGES(16));
	unsigned int i;
	int status;
	pid_t pid;

	ASSERT_NE(NULL, stack);
	want.vm_pin += 64;
	want.pinned += PAGES(16);
	want.mappings++;
	for (i = 0; i < ARRAY_SIZE(programs); i++) {
		sharer.exec = programs[i];
		pid = clone(share_memory, stack + PAGES(16),
			    CLONE_VM | CLONE_VFORK | SIGCHLD, &sharer);
		ASSERT_LE(0, pid);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(0, sharer.ret);
		EXPECT_TRUE(reaches(&self->stage, self->memory.base, IOVA));
		EXPECT_TRUE(account_is(sharer.domain, &want));
		EXPECT_EQ((int64_t)PAGES(16),
			  uvfio_dma_unmap(sharer.domain, IOVA, PAGES(16)));
	}
}

TEST_HARNESS_MAIN
