// SPDX-License-Identifier: GPL-2.0
/*
 * What a mapping holds: pages, pinned and charged, and their place in the IOMMU's
 * page table.
 *
 * Pages are pinned in batches without any lock, and given to the IOMMU in runs of
 * contiguous ones. As long as a mapping is whole these runs are its list of pages.
 * Once something was taken out it is holey: then the page table is the list, and
 * nothing has to be allocated to take out more.
 */
#define pr_fmt(fmt) "uvfio: " fmt

#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "iommu.h"

/* log2 of the IOVA that one lowest-level page table reaches: 2 MiB. */
#define TABLE_SHIFT	(PAGE_SHIFT + ilog2(PAGE_SIZE / sizeof(u64)))

/*
 * IOMMU pages larger than this are for memory that is one page for the CPU, too:
 * what is a page at most for the IOMMU has to be looked at as a whole when a part of
 * it goes.
 */
#define USUAL_LEAF	SZ_2M

/* Run lists */

static u64 *run_slot(struct run_list *list)
{
	size_t i = list->count - 1;	/* of the last run, first is number 0 */

	return i ? &list->tail->runs[(i - 1) % ARRAY_SIZE(list->tail->runs)] :
		   &list->first;
}

static u64 run_pfn(u64 run)
{
	return run >> RUN_COUNT_BITS;
}

static u64 run_pages(u64 run)
{
	return (run & (RUN_MAX - 1)) + 1;
}

/* False if @n pages from @pfn on are not what comes next in the last run. */
static bool run_extend(struct run_list *list, u64 pfn, size_t n)
{
	u64 *run;

	if (!list->count)
		return false;

	run = run_slot(list);
	if (run_pfn(*run) + run_pages(*run) != pfn ||
	    run_pages(*run) + n > RUN_MAX)
		return false;

	*run += n;
	return true;
}

static int run_add(struct run_list *list, u64 pfn, size_t n)
{
	size_t in_chunks = list->count ? list->count - 1 : 0;

	if (list->count && in_chunks % ARRAY_SIZE(list->tail->runs) == 0) {
		struct run_chunk *chunk;

		BUILD_BUG_ON(sizeof(*chunk) > PAGE_SIZE);
		chunk = kmalloc(sizeof(*chunk), GFP_KERNEL_ACCOUNT);
		if (!chunk)
			return -ENOMEM;

		chunk->next = NULL;
		if (list->tail)
			list->tail->next = chunk;
		else
			list->chunks = chunk;
		list->tail = chunk;
	}

	list->count++;
	*run_slot(list) = pfn << RUN_COUNT_BITS | (n - 1);
	return 0;
}

static void runs_free(struct run_list *list)
{
	struct run_chunk *chunk;

	while ((chunk = list->chunks)) {
		list->chunks = chunk->next;
		kfree(chunk);
	}
	list->tail = NULL;
	list->count = 0;
}

/* As most are, by one look; of a large page only the first is marked dirty. */
static bool page_is_small_and_dirty(struct page *page)
{
	const unsigned long dirty = BIT(PG_dirty);

	return (uvfio_page_flags(page) & (dirty | BIT(PG_head))) == dirty;
}

/*
 * No page is locked: whoever takes memory away may hold its lock. Nothing but
 * anonymous and shared memory and hugetlb can be pinned for writing, and for these
 * the flag is all there is to it.
 */
static void dirty_run(u64 run)
{
	struct page *page = pfn_to_page(run_pfn(run));
	u64 left = run_pages(run), n;

	for (; left; left -= n, page += n) {
		struct folio *folio;

		n = 1;
		if (page_is_small_and_dirty(page))
			continue;

		folio = page_folio(page);
		n = min_t(u64, left, folio_nr_pages(folio) -
				     folio_page_idx(folio, page));
		if (!folio_test_dirty(folio))
			folio_set_dirty(folio);
	}
}

static void unpin_run(u64 run, bool dirty)
{
	struct page *page = pfn_to_page(run_pfn(run));

	if (dirty)
		dirty_run(run);
	if (run_pages(run) == 1)
		unpin_user_page(page);
	else
		unpin_user_page_range_dirty_lock(page, run_pages(run), false);
}

/* Returns how many pages it was. */
static u64 unpin_runs(struct run_list *list, bool dirty)
{
	size_t left = list->count, i;
	struct run_chunk *chunk;
	u64 pages;

	if (!left)
		return 0;

	unpin_run(list->first, dirty);
	pages = run_pages(list->first);
	left--;
	for (chunk = list->chunks; chunk; chunk = chunk->next) {
		size_t n = min(left, ARRAY_SIZE(chunk->runs));

		for (i = 0; i < n; i++) {
			unpin_run(chunk->runs[i], dirty);
			pages += run_pages(chunk->runs[i]);
		}
		left -= n;
		cond_resched();
	}
	return pages;
}

/* Charges */

static bool over_memlock(u64 total)
{
	return total > rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT &&
	       !capable(CAP_IPC_LOCK);
}

/**
 * uvfio_charge_refused - tell the admin that RLIMIT_MEMLOCK was in the way
 * @ret: of a function that charges: -EDQUOT means that
 * @bytes: that could not be had
 *
 * Return: @ret as the user gets it.
 */
int uvfio_charge_refused(int ret, u64 bytes)
{
	if (ret != -EDQUOT)
		return ret;
	pr_warn_ratelimited("%s[%d]: RLIMIT_MEMLOCK (%lu KiB) does not allow %llu KiB more: raise it (ulimit -l, limits.conf, LimitMEMLOCK=)\n",
			    current->comm, task_pid_nr(current),
			    rlimit(RLIMIT_MEMLOCK) >> 10, bytes >> 10);
	return -ENOMEM;
}

/*
 * Pinned pages are charged to mm->pinned_vm (VmPin), which is atomic, and not to
 * locked_vm, whose lock is the mmap lock: a process can keep that held (a fault
 * on a FUSE page), and who takes memory away holds it already.
 */
static int charge_pages(struct uvfio_map *map)
{
	struct mm_struct *mm = map->space->notifier.mm;
	s64 pinned = atomic64_read(&mm->pinned_vm);
	u64 npages = map_pages(map);

	do {
		if (over_memlock(pinned + npages + READ_ONCE(mm->locked_vm)))
			return -EDQUOT;
	} while (!atomic64_try_cmpxchg(&mm->pinned_vm, &pinned,
				       pinned + npages));
	return 0;
}

static void uncharge_pages(struct uvfio_map *map, u64 npages)
{
	atomic64_sub(npages, &map->space->notifier.mm->pinned_vm);
}

/*
 * Page tables are kernel memory that a user makes grow, and an IOMMU may keep
 * them until its domain is freed. So each table's reach of IOVA that a domain
 * ever had a page in costs its user one page, until the domain ends: without
 * that, one page mapped all over the place takes all memory there is. It is the
 * user's, not the process's, which may be gone long before the domain. (The tables
 * above these are at most two more for each.)
 */
static int charge_user_page(const struct cred *cred)
{
	atomic_long_t *charge = &cred->user->locked_vm;
	long locked = atomic_long_read(charge);

	do {
		if (over_memlock(locked + 1))
			return -EDQUOT;
	} while (!atomic_long_try_cmpxchg(charge, &locked, locked + 1));
	/* It holds the user, which has no reference for modules in all kernels. */
	get_cred(cred);
	return 0;
}

static void uncharge_user_page(const struct cred *cred)
{
	atomic_long_dec(&cred->user->locked_vm);
	put_cred(cred);
}

static int charge_table(struct uvfio_domain *domain, unsigned long reach)
{
	const struct cred *cred = current_cred();
	void *old;
	int ret;

	if (xa_load(&domain->tables, reach))
		return 0;
	ret = charge_user_page(cred);
	if (ret)
		return ret;

	old = xa_cmpxchg(&domain->tables, reach, NULL, (void *)cred,
			 GFP_KERNEL_ACCOUNT);
	if (old)	/* an error, or another thread's map was first */
		uncharge_user_page(cred);
	return xa_err(old);
}

/* For the tables that @map needs up to @last; runs come in order of IOVA. */
static int charge_tables(struct uvfio_domain *domain, struct uvfio_map *map,
			 u64 last)
{
	int ret;

	for (; map->next_table <= last >> TABLE_SHIFT; map->next_table++) {
		if (map->next_table == READ_ONCE(domain->last_table))
			continue;
		ret = charge_table(domain, map->next_table);
		if (ret)
			return ret;
		WRITE_ONCE(domain->last_table, map->next_table);
	}
	return 0;
}

/**
 * uvfio_charge_root - charge the user for a domain's root table, once
 * @domain: is about to have one
 *
 * It is memory, too: a user can have as many domains as files.
 */
int uvfio_charge_root(struct uvfio_domain *domain)
{
	const struct cred *cred = current_cred();
	int ret;

	if (READ_ONCE(domain->root_cred))
		return 0;
	ret = charge_user_page(cred);
	if (!ret && cmpxchg(&domain->root_cred, NULL, cred))
		uncharge_user_page(cred);	/* another attach was first */
	return ret;
}

void uvfio_uncharge_tables(struct uvfio_domain *domain)
{
	const struct cred *cred;
	unsigned long reach;

	xa_for_each(&domain->tables, reach, cred)
		uncharge_user_page(cred);
	xa_destroy(&domain->tables);
	if (domain->root_cred)
		uncharge_user_page(domain->root_cred);
}

/* Putting in */

/*
 * What a failed iommu_map() of @size bytes left behind: VT-d stops half-way when
 * it has no memory for a page table, and the core does not know how far it came.
 * What the core knew of is gone already, so holes do not mean that this is all.
 */
static void unmap_leftover(struct iommu_domain *iommu, u64 iova, size_t size)
{
	size_t done, n;

	for (done = 0; done < size; done += n ?: PAGE_SIZE) {
		n = 0;
		if (iommu_iova_to_phys(iommu, iova + done))
			n = iommu_unmap(iommu, iova + done, PAGE_SIZE);
		cond_resched();
	}
}

/* The CPU's page size at @phys, as far as it matters for the IOMMU's. */
static size_t usual_leaf(const struct uvfio_map *map, phys_addr_t phys)
{
	return map->peer ? USUAL_LEAF :
		max_t(size_t, USUAL_LEAF,
		      folio_size(page_folio(pfn_to_page(PHYS_PFN(phys)))));
}

/*
 * How much of @size bytes to map by one call, so that it makes no IOMMU page that
 * is too large.
 */
static size_t piece_size(struct uvfio_domain *domain, struct uvfio_map *map,
			 u64 iova, phys_addr_t phys, size_t size)
{
	unsigned long sizes = domain->iommu->pgsize_bitmap;
	unsigned long large = sizes & ~(2UL * USUAL_LEAF - 1);
	size_t next;

	if (domain->one_by_one)
		return PAGE_SIZE;

	large = large ? 1UL << __ffs(large) : 0;
	if (!large || size < large)
		return size;
	if (IS_ALIGNED(iova | phys, large) && usual_leaf(map, phys) >= large)
		return large;

	next = large - (iova & (large - 1));
	return min(size, next == large ? large / 2 : next);
}

/* Without an IOMMU the memory decides about the address, so it has to be one piece. */
static int map_onto_bus(struct uvfio_map *map, phys_addr_t phys, size_t size)
{
	if (!map->present) {
		map->last = phys + (map->last - map->iova);
		map->iova = phys;
	} else if (phys != map->iova + (map->present << PAGE_SHIFT)) {
		return -EINVAL;
	}
	map->present += size >> PAGE_SHIFT;
	return 0;
}

/* Maps @size contiguous bytes at the end of what @map has in the IOMMU. */
static int map_into_iommu(struct uvfio_domain *domain, struct uvfio_map *map,
			  phys_addr_t phys, size_t size)
{
	struct iommu_domain *iommu = domain->iommu;
	u64 iova = map->iova + (map->present << PAGE_SHIFT);
	size_t piece;
	int ret;

	if (domain_is_bus(domain))
		return map_onto_bus(map, phys, size);

	ret = charge_tables(domain, map, iova + size - 1);
	if (ret)
		return ret;

	guard(rwsem_read)(&domain->table_rwsem);
	for (; size; iova += piece, phys += piece, size -= piece) {
		piece = piece_size(domain, map, iova, phys, size);
		ret = iommu_map(iommu, iova, phys, piece, map->prot,
				GFP_KERNEL_ACCOUNT);
		if (ret) {
			unmap_leftover(iommu, iova, piece);
			break;
		}
		map->present += piece >> PAGE_SHIFT;
	}
	/* EFAULT is VT-d's word for a bad IOVA; it has seen no other address. */
	return ret == -EFAULT ? -EINVAL : ret;
}

/* The last run will not grow any more. */
static int map_last_run(struct uvfio_domain *domain, struct uvfio_map *map)
{
	u64 run = *run_slot(&map->pinned);

	return map_into_iommu(domain, map, PFN_PHYS(run_pfn(run)),
			      run_pages(run) << PAGE_SHIFT);
}

/* Takes over the pins of contiguous pages, but not on failure. */
static int map_add_run(struct uvfio_domain *domain, struct uvfio_map *map,
		       struct page *page, size_t n)
{
	u64 pfn = page_to_pfn(page);
	int ret;

	if (map->prot & IOMMU_WRITE && !pages_may_be_written(page, n))
		return -EFAULT;
	if (run_extend(&map->pinned, pfn, n))
		return 0;

	ret = map->pinned.count ? map_last_run(domain, map) : 0;
	return ret ?: run_add(&map->pinned, pfn, n);
}

/*
 * How many of @n pages that follow each other in memory are contiguous without a
 * look at them: a hugetlb page is always mapped as a whole.
 */
static size_t surely_contiguous(struct page *page, size_t n)
{
	struct folio *folio;

	if (!PageCompound(page))
		return 1;
	folio = page_folio(page);
	return folio_test_hugetlb(folio) ?
		min_t(size_t, n, folio_nr_pages(folio) -
				 folio_page_idx(folio, page)) : 1;
}

/* Takes over the pins of all @n pages, also on failure. */
static int map_add_pages(struct uvfio_domain *domain, struct uvfio_map *map,
			 struct page **pages, size_t n)
{
	size_t i, next;
	int ret;

	for (i = 0; i < n; i = next) {
		struct page *page;

		next = i + surely_contiguous(pages[i], n - i);
		page = nth_page(pages[i], next - i);
		for (; next < n && pages[next] == page; next++)
			page = nth_page(page, 1);
		ret = map_add_run(domain, map, pages[i], next - i);
		if (ret) {
			unpin_user_pages(pages + i, n - i);
			return ret;
		}
	}
	return 0;
}

static int pin_pages(u64 vaddr, int n, int prot, struct page **pages)
{
	int ret = prot & IOMMU_WRITE ?
		pin_user_pages_fast(vaddr, n, FOLL_LONGTERM | FOLL_WRITE,
				    pages) :
		pin_user_pages_longterm_read(vaddr, n, pages);

	/* What some kernels say of a range that wraps. */
	return ret == -EOVERFLOW ? -EFAULT : ret;
}

static int pin_and_map(struct uvfio_domain *domain, struct uvfio_map *map)
{
	struct page *few[2], **pages = few;
	unsigned long vaddr = map->memory.start;
	size_t room = ARRAY_SIZE(few);
	u64 left = map_pages(map);
	int ret = 0;

	if (left > room) {
		pages = (struct page **)__get_free_page(GFP_KERNEL_ACCOUNT);
		if (!pages)
			return -ENOMEM;
		room = PAGE_SIZE / sizeof(*pages);
	}

	for (;;) {
		int n = pin_pages(vaddr, min_t(u64, left, room), map->prot,
				  pages);

		if (n <= 0) {
			ret = n ?: -EFAULT;
			break;
		}
		ret = map_add_pages(domain, map, pages, n);
		vaddr += (u64)n << PAGE_SHIFT;
		left -= n;
		if (ret || !left)
			break;

		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	if (!ret)
		ret = map_last_run(domain, map);

	if (pages != few)
		free_page((unsigned long)pages);
	return ret;
}

/* Taking out */

/*
 * How much of @size bytes at @iova an IOMMU driver is told of by one call: what can
 * be pages of one size.
 */
static noinline size_t alike(struct iommu_domain *iommu, u64 iova, size_t size)
{
	unsigned long sizes = iommu->pgsize_bitmap & GENMASK(__fls(size), 0);
	size_t page, larger, to_larger;

	if (iova)
		sizes &= GENMASK(__ffs(iova), 0);
	page = 1UL << __fls(sizes);
	sizes = iommu->pgsize_bitmap & ~(2 * page - 1);
	if (sizes) {
		larger = 1UL << __ffs(sizes);
		to_larger = larger - (iova & (larger - 1));
		if (to_larger + larger <= size)
			return to_larger;
	}
	return round_down(size, page);
}

/*
 * False if the IOMMU does not do it, which none should dare: then pages stay pinned
 * rather than in reach of a device that does not own them any more. What is not alike
 * goes by calls of its own, see removal_unmap().
 */
static bool unmap_all(struct iommu_domain *iommu, u64 iova, size_t size)
{
	size_t n;

	for (; size; iova += n, size -= n) {
		n = size > PAGE_SIZE ? alike(iommu, iova, size) : size;
		if (WARN_ON_ONCE(iommu_unmap(iommu, iova, n) != n))
			return false;
	}
	return true;
}

/* All of a mapping that has its list of runs; returns how many pages it was. */
static u64 remove_whole(struct uvfio_domain *domain, struct uvfio_map *map)
{
	u64 pages;

	if (domain->iommu &&
	    !unmap_all(domain->iommu, map->iova, map->present << PAGE_SHIFT)) {
		runs_free(&map->pinned);
		map->holey = true;
		return 0;
	}
	map->present = 0;
	pages = unpin_runs(&map->pinned, map->prot & IOMMU_WRITE);
	runs_free(&map->pinned);
	map->holey = true;
	uncharge_pages(map, pages);
	return pages;
}

/* On the bus memory is where its address says, and all of a mapping is there. */
static u64 remove_from_bus(struct uvfio_domain *domain, struct uvfio_map *map,
			   u64 iova, u64 last)
{
	u64 pages = (last - iova + 1) >> PAGE_SHIFT, pfn = PHYS_PFN(iova);
	u64 left, n;

	runs_free(&map->pinned);
	for (left = pages; left; left -= n, pfn += n) {
		n = min_t(u64, left, RUN_MAX);
		unpin_run(pfn << RUN_COUNT_BITS | (n - 1),
			  map->prot & IOMMU_WRITE);
	}
	map->present -= pages;
	uncharge_pages(map, pages);
	return pages;
}

/* Pages that the IOMMU's page table has no more, but perhaps its TLB. */
struct removal {
	struct uvfio_domain *domain;
	struct uvfio_map *map;
	struct iommu_iotlb_gather gather;
	u64 pages;
	u64 end, size;		/* where the last one ends, and its bytes */
	unsigned int count;
	u64 runs[16];		/* to be unpinned; at most RUN_MAX pages each */
};

static void removal_flush(struct removal *r)
{
	unsigned int i;

	if (!r->count)
		return;

	iommu_iotlb_sync(r->domain->iommu, &r->gather);
	for (i = 0; i < r->count && !r->map->peer; i++) {
		unpin_run(r->runs[i], r->map->prot & IOMMU_WRITE);
		uncharge_pages(r->map, run_pages(r->runs[i]));
	}
	r->count = 0;
}

/*
 * Ranges that are not alike and adjacent are not gathered: VT-d would flush the
 * earlier ones when it has unmapped the next, and free the tables of that with them.
 */
static void removal_unmap(struct removal *r, u64 iova, size_t size)
{
	phys_addr_t phys = iommu_iova_to_phys(r->domain->iommu, iova);
	u64 pages = size >> PAGE_SHIFT;

	if (r->count == ARRAY_SIZE(r->runs) || iova != r->end ||
	    size != r->size)
		removal_flush(r);
	/* As with unmap_all(). */
	if (WARN_ON_ONCE(iommu_unmap_fast(r->domain->iommu, iova, size,
					  &r->gather) != size))
		return;
	r->runs[r->count++] = PHYS_PFN(phys) << RUN_COUNT_BITS | (pages - 1);
	r->end = iova + size;
	r->size = size;
	r->pages += pages;
	r->map->present -= pages;
}

/* Bytes that are contiguous from @iova on, and part of no larger IOMMU page. */
static size_t contiguous(struct iommu_domain *iommu, u64 iova, u64 last)
{
	unsigned long larger = iommu->pgsize_bitmap & ~(2 * PAGE_SIZE - 1);
	phys_addr_t phys = iommu_iova_to_phys(iommu, iova);
	size_t size = PAGE_SIZE;

	if (larger)
		last = min_t(u64, last, iova | ((1UL << __ffs(larger)) - 1));
	while (iova + size <= last &&
	       iommu_iova_to_phys(iommu, iova + size) == phys + size)
		size += PAGE_SIZE;
	return size;
}

/*
 * Whether @size bytes at @start can be one IOMMU page. Nothing tells for sure, but
 * what only looks like one can be treated as one.
 */
static bool looks_like_leaf(struct iommu_domain *iommu, struct uvfio_map *map,
			    u64 start, size_t size)
{
	phys_addr_t phys = iommu_iova_to_phys(iommu, start);
	size_t i;

	if (!phys || !IS_ALIGNED(phys, size) || size > usual_leaf(map, phys))
		return false;
	for (i = PAGE_SIZE; i < size; i += PAGE_SIZE)
		if (iommu_iova_to_phys(iommu, start + i) != phys + i)
			return false;
	return true;
}

/* Of what looks like an IOMMU page at @iova, and lies in first .. last. */
static size_t leaf_size(struct iommu_domain *iommu, struct uvfio_map *map,
			u64 iova, u64 first, u64 last)
{
	unsigned long sizes = iommu->pgsize_bitmap & ~(2 * PAGE_SIZE - 1);
	size_t size;
	u64 start;

	for (; sizes; sizes &= ~size) {
		size = 1UL << __fls(sizes);
		start = round_down(iova, size);
		if (start >= first && start + size - 1 <= last &&
		    looks_like_leaf(iommu, map, start, size))
			return size;
	}
	return PAGE_SIZE;
}

/* The same, of all of the mapping. */
static size_t map_leaf_size(struct iommu_domain *iommu, struct uvfio_map *map,
			    u64 iova)
{
	return leaf_size(iommu, map, iova, map->iova, map->last);
}

/**
 * uvfio_table_probe - find out whether pages can be unmapped that were mapped together
 * @iommu: a new page table, attached; its device is no bus master
 * @iova: where two pages can be mapped
 * @one_by_one: returns whether each page has to be mapped by a call of its own
 *
 * A paravirtual IOMMU may keep what it was told as it was told, and know no parts.
 */
int uvfio_table_probe(struct iommu_domain *iommu, u64 iova, bool *one_by_one)
{
	struct page *pages = alloc_pages(GFP_KERNEL | __GFP_ZERO, 1);
	size_t size = 2 * PAGE_SIZE;
	int ret;

	if (!pages)
		return -ENOMEM;

	ret = iommu_map(iommu, iova, page_to_phys(pages), size, IOMMU_READ,
			GFP_KERNEL);
	if (!ret) {
		*one_by_one = iommu_unmap(iommu, iova, PAGE_SIZE) != PAGE_SIZE ||
			      !iommu_iova_to_phys(iommu, iova + PAGE_SIZE);
		if (*one_by_one)
			iommu_unmap(iommu, iova, size);
		else
			iommu_unmap(iommu, iova + PAGE_SIZE, PAGE_SIZE);
	}
	/* Rather lost than in reach of a device. */
	if (!ret && WARN_ON(iommu_iova_to_phys(iommu, iova) ||
			    iommu_iova_to_phys(iommu, iova + PAGE_SIZE)))
		return -EINVAL;
	__free_pages(pages, 1);
	return ret;
}

/* Both parts of what was one IOMMU page, or none. */
static int map_in_two(struct iommu_domain *iommu, struct uvfio_map *map,
		      u64 start, phys_addr_t phys, size_t size, size_t first,
		      gfp_t gfp)
{
	int ret;

	ret = iommu_map(iommu, start, phys, first, map->prot, gfp);
	if (ret) {
		unmap_leftover(iommu, start, first);
		return ret;
	}
	ret = iommu_map(iommu, start + first, phys + first, size - first,
			map->prot, gfp);
	if (ret) {
		unmap_leftover(iommu, start + first, size - first);
		iommu_unmap(iommu, start, first);
	}
	return ret;
}

/*
 * Makes IOMMU pages end at @boundary. No IOMMU can have a large page and its parts
 * in its TLB at once, so for the moment in between the device reaches nothing of it.
 */
static int split_at(struct uvfio_domain *domain, struct uvfio_map *map,
		    u64 boundary, gfp_t gfp)
{
	struct iommu_domain *iommu = domain->iommu;
	phys_addr_t phys;
	size_t leaf;
	u64 start;
	int ret;

	if (boundary <= map->iova || boundary > map->last || domain->one_by_one)
		return 0;
	leaf = map_leaf_size(iommu, map, boundary);
	start = round_down(boundary, leaf);
	if (start == boundary)
		return 0;

	phys = iommu_iova_to_phys(iommu, start);
	iommu_unmap(iommu, start, leaf);
	ret = map_in_two(iommu, map, start, phys, leaf, boundary - start, gfp);
	/* Where it was there is a place for it, so that takes no memory. */
	if (ret)
		WARN_ON(iommu_map(iommu, start, phys, leaf, map->prot, gfp));
	return ret ? -ENOMEM : 0;
}

/**
 * uvfio_map_split - see to it that a part of a mapping can be taken out alone
 * @domain: its table_rwsem is held
 * @map: busy and not live
 * @iova: first byte of the part
 * @last: last byte of the part
 */
int uvfio_map_split(struct uvfio_domain *domain, struct uvfio_map *map,
		    u64 iova, u64 last)
{
	if (domain_is_bus(domain))
		return 0;
	return split_at(domain, map, iova, GFP_KERNEL_ACCOUNT) ?:
	       split_at(domain, map, last + 1, GFP_KERNEL_ACCOUNT);
}

/*
 * Takes out what is at @iova, but not beyond @last; returns its size. No IOMMU page
 * goes beyond: what does look like one is none any more.
 */
static size_t removal_step(struct removal *r, u64 iova, u64 last)
{
	struct iommu_domain *iommu = r->domain->iommu;
	size_t size;

	/* An unmap where nothing is mapped takes more than it was told to. */
	if (!iommu_iova_to_phys(iommu, iova))
		return PAGE_SIZE;

	size = leaf_size(iommu, r->map, iova, iova, last);
	if (size == PAGE_SIZE)
		size = contiguous(iommu, iova, last);
	removal_unmap(r, iova, size);
	return size;
}

/*
 * What cannot be split goes as a whole. Callers may be where reclaim came from, so
 * memory is not waited for.
 */
static void split_or_widen(struct uvfio_domain *domain, struct uvfio_map *map,
			   u64 *iova, u64 *last)
{
	const gfp_t gfp = GFP_ATOMIC | __GFP_ACCOUNT | __GFP_NOWARN;
	u64 first = *iova, end = *last + 1, start;
	size_t leaf;

	if (split_at(domain, map, first, gfp))
		*iova = round_down(first, map_leaf_size(domain->iommu, map,
							first));
	if (split_at(domain, map, end, gfp)) {
		leaf = map_leaf_size(domain->iommu, map, end);
		start = round_down(end, leaf);
		/* It is one page again, also where it was split just now. */
		*iova = min(*iova, start);
		*last = start + leaf - 1;
	}
	if (*iova != first || *last + 1 != end)
		pr_warn_ratelimited("no memory to split an IOMMU page: %llu KiB more at IOVA %#llx are out of reach for the device\n",
				    (first - *iova + *last + 1 - end) >> 10,
				    *iova);
}

/* Between boundaries of IOMMU pages. */
static noinline u64 remove_part(struct uvfio_domain *domain,
				struct uvfio_map *map, u64 iova, u64 last)
{
	struct removal r = { .domain = domain, .map = map };

	runs_free(&map->pinned);
	map->holey = true;
	iommu_iotlb_gather_init(&r.gather);
	while (iova <= last && map->present) {
		iova += removal_step(&r, iova, last);
		cond_resched();
	}
	removal_flush(&r);
	return r.pages;
}

/**
 * uvfio_map_remove - take pages out of a mapping, also such as never got in
 * @domain: its table_rwsem is held
 * @map: see there who may call this
 * @iova: first byte
 * @last: last byte
 *
 * The device cannot reach the pages any more when they are unpinned, and they are
 * when this returns. Allocates nothing that is waited for, takes no page's lock. If
 * a large IOMMU page cannot be split all of it goes.
 *
 * Return: how many pages were taken out.
 */
u64 uvfio_map_remove(struct uvfio_domain *domain, struct uvfio_map *map,
		     u64 iova, u64 last)
{
	lockdep_assert_held(&domain->table_rwsem);

	if (domain_is_bus(domain))
		return remove_from_bus(domain, map, iova, last);
	if (!map->holey && iova == map->iova && last == map->last)
		return remove_whole(domain, map);
	split_or_widen(domain, map, &iova, &last);
	return remove_part(domain, map, iova, last);
}

/**
 * uvfio_map_remove_split - the same of what uvfio_map_split() was called for
 * @domain: its table_rwsem is held
 * @map: busy and not live
 * @iova: first byte
 * @last: last byte
 */
void uvfio_map_remove_split(struct uvfio_domain *domain, struct uvfio_map *map,
			    u64 iova, u64 last)
{
	if (domain_is_bus(domain))
		remove_from_bus(domain, map, iova, last);
	else
		remove_part(domain, map, iova, last);
}

/**
 * uvfio_map_present - count the pages of a part of a mapping
 * @domain: its table_rwsem is held
 * @map: not live
 * @iova: first byte
 * @last: last byte
 */
u64 uvfio_map_present(struct uvfio_domain *domain, struct uvfio_map *map,
		      u64 iova, u64 last)
{
	u64 pages = 0;

	if (domain_is_bus(domain))
		return (last - iova + 1) >> PAGE_SHIFT;

	for (; iova <= last && pages < map->present; iova += PAGE_SIZE) {
		pages += !!iommu_iova_to_phys(domain->iommu, iova);
		cond_resched();
	}
	return pages;
}

/**
 * uvfio_map_fill - pin the memory of a mapping, charge it, put it into the IOMMU
 * @domain: no lock of it is held
 * @map: busy, not live, holds nothing; so it does again after a failure
 *
 * On the bus, its IOVA range is that of the memory afterwards.
 */
int uvfio_map_fill(struct uvfio_domain *domain, struct uvfio_map *map)
{
	u64 taken;
	int ret;

	map->next_table = map->iova >> TABLE_SHIFT;
	ret = charge_pages(map);
	if (ret)
		return ret;
	ret = pin_and_map(domain, map);
	if (!ret)
		return 0;

	scoped_guard(rwsem_read, &domain->table_rwsem)
		taken = remove_whole(domain, map);
	uncharge_pages(map, map_pages(map) - taken);
	return ret;
}

/**
 * uvfio_map_fill_peer - put a BAR into the IOMMU
 * @domain: no lock of it is held
 * @map: busy, not live; holds nothing, also after a failure
 * @phys: where it is
 */
int uvfio_map_fill_peer(struct uvfio_domain *domain, struct uvfio_map *map,
			phys_addr_t phys)
{
	int ret;

	map->next_table = map->iova >> TABLE_SHIFT;
	map->holey = true;
	ret = map_into_iommu(domain, map, phys,
			     map_pages(map) << PAGE_SHIFT);
	if (!ret)
		return 0;

	guard(rwsem_read)(&domain->table_rwsem);
	uvfio_map_remove(domain, map, map->iova, map->last);
	return ret;
}
