// SPDX-License-Identifier: GPL-2.0
/*
 * Revocation: what a process takes away from its memory, the device loses, too.
 *
 * A space is the memory of one process as far as a domain has it mapped, and listens
 * to what happens there by an mmu notifier. All is done when a range has been
 * taken away, not before: the pages are pinned, so until we unpin them nobody else
 * gets them, whatever the process does in between.
 *
 * Only that a range of addresses goes is certain at once. That its pages are replaced
 * is also said of what comes back just so: when memory is reclaimed, compacted,
 * merged or write-protected. For most pages a look at them tells which it was. For
 * the rest, for mappings that are being made or changed, and when the page table
 * cannot be had without waiting, the range is suspect, and verified by a work item.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "iommu.h"
#include "trace.h"

/* Until what is suspect is looked at again: it doubles. */
#define RETRY_FIRST	msecs_to_jiffies(10)
#define RETRY_LAST	msecs_to_jiffies(1000)

static struct workqueue_struct *verify_wq;

static struct mm_struct *space_mm(const struct uvfio_space *space)
{
	return space->notifier.mm;
}

/* Who is to verify will look at it, unless it is not live: then when it is. */
static void map_suspect(struct uvfio_map *map, unsigned long start,
			unsigned long end)
{
	lockdep_assert_held(&map->space->lock);

	if (map->suspect_start == map->suspect_end) {
		map->suspect_start = start;
		map->suspect_end = end;
	} else {
		map->suspect_start = min(map->suspect_start, start);
		map->suspect_end = max(map->suspect_end, end);
	}
	if (map->live && list_empty(&map->suspect))
		list_add_tail(&map->suspect, &map->space->suspects);
}

/**
 * uvfio_map_revoke - take from the device what its process does not have any more
 * @domain: its table_rwsem is held
 * @map: see there who may call this
 * @start: first address
 * @end: one past the last
 */
void uvfio_map_revoke(struct uvfio_domain *domain, struct uvfio_map *map,
		      unsigned long start, unsigned long end)
{
	u64 iova = map_iova(map, start), pages;

	pages = uvfio_map_remove(domain, map, iova, iova + (end - start) - 1);
	if (!pages)
		return;
	atomic64_add(pages, &domain->revoked);
	trace_uvfio_revoke(domain->id, iova, end - start, start, pages);
}

/* Verifying */

enum verdict {
	PAGE_STAYS,
	PAGE_GONE,
	PAGE_SUSPECT,
};

/* What a process has at an address, as much as could be seen. */
struct sight {
	struct page *page;	/* to be compared only; NULL: none is mapped */
	struct file *file;	/* ref, of a place without a page; or NULL */
	pgoff_t index;		/* in it */
};

/*
 * @mm may be gone but for its struct: then it has no memory, and PAGE_GONE is the
 * answer. PAGE_SUSPECT: it cannot be seen now, somebody else is busy with it.
 */
static enum verdict memory_hold(struct mm_struct *mm)
{
	if (!mmget_not_zero(mm))
		return PAGE_GONE;
	if (mmap_read_trylock(mm))
		return PAGE_STAYS;
	mmput_async(mm);
	return PAGE_SUSPECT;
}

static void memory_unhold(struct mm_struct *mm)
{
	mmap_read_unlock(mm);
	mmput_async(mm);
}

/* Nothing is made to be there that was not, so a hole stays one. */
static struct sight memory_look(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma;
	struct sight sight = {};

	if (get_user_pages_remote(mm, address, 1, FOLL_FORCE | FOLL_NOFAULT |
				  FOLL_DUMP, &sight.page, NULL) == 1) {
		put_page(sight.page);
		return sight;
	}
	sight.page = NULL;
	vma = vma_lookup(mm, address);
	if (vma && vma->vm_file) {
		sight.index = linear_page_index(vma, address);
		sight.file = get_file(vma->vm_file);
	}
	return sight;
}

/*
 * A page of a file may be in no page table for a while, and still be what the
 * process would see. Who takes it from the file takes it from there first, and for
 * memory's files holds the inode's lock until both are done. Others may drop pages
 * without it, and say nothing of what is in no page table: a page of theirs stays
 * suspect until it is in one again, or out of the file.
 */
static enum verdict file_judge(struct file *file, pgoff_t index,
			       struct page *page)
{
	struct address_space *mapping = file->f_mapping;
	struct folio *folio = page_folio(page);
	bool has;

	if (!inode_trylock_shared(mapping->host))
		return PAGE_SUSPECT;
	has = READ_ONCE(folio->mapping) == mapping &&
	      page_linear_index(page) == index;
	inode_unlock_shared(mapping->host);
	if (!has)
		return PAGE_GONE;
	return folio_test_swapbacked(folio) || folio_test_hugetlb(folio) ?
		PAGE_STAYS : PAGE_SUSPECT;
}

/*
 * Whether the process still has at @address what is at @phys. Waits for nobody: a
 * process could hold up all who verify.
 */
static enum verdict page_verify(struct mm_struct *mm, unsigned long address,
				phys_addr_t phys)
{
	struct page *page = pfn_to_page(PHYS_PFN(phys));
	enum verdict verdict = memory_hold(mm);
	struct sight sight;

	if (verdict != PAGE_STAYS)
		return verdict;
	sight = memory_look(mm, address);
	memory_unhold(mm);

	if (sight.page)
		return sight.page == page ? PAGE_STAYS : PAGE_GONE;
	if (sight.file && !PageAnon(page))
		verdict = file_judge(sight.file, sight.index, page);
	else	/* perhaps on its way to somewhere */
		verdict = folio_test_locked(page_folio(page)) ?
			PAGE_SUSPECT : PAGE_GONE;
	if (sight.file)
		fput(sight.file);
	return verdict;
}

/* The same of what @peer has at @phys: it is in no other's memory map. */
static enum verdict peer_verify(struct mm_struct *mm, unsigned long address,
				struct uvfio_dev *peer, phys_addr_t phys)
{
	enum verdict verdict = memory_hold(mm);
	struct vm_area_struct *vma;

	if (verdict != PAGE_STAYS)
		return verdict;
	vma = vma_lookup(mm, address);
	if (!vma || !uvfio_bar_is_at(peer, vma, address, phys))
		verdict = PAGE_GONE;
	memory_unhold(mm);
	return verdict;
}

/* What was suspect of a mapping, and some of its pages as all locks had them. */
struct suspicion {
	struct uvfio_map *map;		/* ref */
	unsigned long start, end;	/* what is left to be verified */
	unsigned int count;		/* pages, from start on */
	phys_addr_t pages[32];		/* 0: none */
};

/* Takes the next of @round, if there is one. */
static bool suspicion_take(struct uvfio_space *space, struct list_head *round,
			   struct suspicion *s)
{
	struct uvfio_map *map;

	guard(mutex)(&space->lock);

	map = list_first_entry_or_null(round, struct uvfio_map, suspect);
	if (!map)
		return false;

	list_del_init(&map->suspect);
	refcount_inc(&map->users);
	s->map = map;
	s->start = map->suspect_start;
	s->end = map->suspect_end;
	map->suspect_start = map->suspect_end;
	return true;
}

/* Makes suspect what mappings there are of start .. end - 1. */
static void space_suspect(struct uvfio_space *space, unsigned long start,
			  unsigned long end)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&space->lock);
	for (node = interval_tree_iter_first(&space->maps, start, end - 1);
	     node; node = interval_tree_iter_next(node, start, end - 1))
		map_suspect(container_of(node, struct uvfio_map, memory),
			    max(start, node->start),
			    min(end - 1, node->last) + 1);
}

/* Whether it still has them. If not it was cut, and what has them now is suspect. */
static bool map_has(struct uvfio_map *map, unsigned long start,
		    unsigned long end)
{
	lockdep_assert_held(&map->space->lock);
	if (map->live && start >= map->memory.start &&
	    end - 1 <= map->memory.last)
		return true;
	space_suspect(map->space, start, end);
	return false;
}

/* The next pages. */
static bool suspicion_next(struct uvfio_space *space,
			   struct uvfio_domain *domain, struct suspicion *s)
{
	unsigned int i;

	if (s->start == s->end)
		return false;

	guard(rwsem_read)(&domain->table_rwsem);
	guard(mutex)(&space->lock);

	if (!map_has(s->map, s->start, s->end))
		return false;
	s->count = min((s->end - s->start) / PAGE_SIZE, ARRAY_SIZE(s->pages));
	for (i = 0; i < s->count; i++)
		s->pages[i] = iommu_iova_to_phys(domain->iommu,
						 map_iova(s->map, s->start) +
						 i * PAGE_SIZE);
	return true;
}

static void suspicion_revoke(struct uvfio_space *space,
			     struct uvfio_domain *domain,
			     const struct suspicion *s, unsigned int first,
			     unsigned int count)
{
	unsigned long start = s->start + first * PAGE_SIZE;
	unsigned long end = start + count * PAGE_SIZE;

	guard(rwsem_read)(&domain->table_rwsem);
	guard(mutex)(&space->lock);

	if (map_has(s->map, start, end))
		uvfio_map_revoke(domain, s->map, start, end);
}

static void suspicion_return(struct uvfio_space *space,
			     const struct suspicion *s, unsigned int i)
{
	unsigned long start = s->start + i * PAGE_SIZE;

	guard(mutex)(&space->lock);
	space_suspect(space, start, start + PAGE_SIZE);
}

static enum verdict suspicion_verify(struct uvfio_space *space,
				     const struct suspicion *s, unsigned int i)
{
	unsigned long address = s->start + i * PAGE_SIZE;

	if (!s->pages[i])
		return PAGE_STAYS;
	if (s->map->peer)
		return peer_verify(space_mm(space), address, s->map->peer,
				   s->pages[i]);
	return page_verify(space_mm(space), address, s->pages[i]);
}

static void suspicion_gone(struct uvfio_space *space,
			   struct uvfio_domain *domain,
			   const struct suspicion *s, unsigned int first,
			   unsigned int count)
{
	if (!count)
		return;
	map_lock_peer(s->map);
	suspicion_revoke(space, domain, s, first, count);
	map_unlock_peer(s->map);
}

/* What cannot be settled is suspect again. */
static void suspicion_settle(struct uvfio_space *space,
			     struct uvfio_domain *domain, struct suspicion *s)
{
	enum verdict verdict;
	unsigned int i, gone = 0;

	for (i = 0; i < s->count; i++) {
		verdict = suspicion_verify(space, s, i);
		if (verdict == PAGE_GONE) {
			gone++;
			continue;
		}
		suspicion_gone(space, domain, s, i - gone, gone);
		gone = 0;
		if (verdict == PAGE_SUSPECT)
			suspicion_return(space, s, i);
	}
	suspicion_gone(space, domain, s, i - gone, gone);
	s->start += s->count * PAGE_SIZE;
}

/* A reference, unless it has ended. */
static struct uvfio_domain *space_domain(struct uvfio_space *space)
{
	guard(mutex)(&space->lock);
	return space->domain && refcount_inc_not_zero(&space->domain->users) ?
		space->domain : NULL;
}

/* Verifies after @delay at the latest. */
static void space_queue(struct uvfio_space *space, unsigned long delay)
{
	bool queued;

	lockdep_assert_held(&space->lock);

	refcount_inc(&space->users);
	/* Refuse to unload meanwhile, rather than wait for it. */
	__module_get(THIS_MODULE);
	queued = delay ? queue_delayed_work(verify_wq, &space->work, delay) :
			 !mod_delayed_work(verify_wq, &space->work, 0);
	if (!queued) {
		refcount_dec(&space->users);
		module_put(THIS_MODULE);
	}
}

/* One round: what is suspect at the end of it waits for the next. */
static void space_verify(struct uvfio_space *space, struct uvfio_domain *domain)
{
	struct suspicion s;
	LIST_HEAD(round);

	scoped_guard(mutex, &space->lock)
		list_splice_init(&space->suspects, &round);
	while (suspicion_take(space, &round, &s)) {
		while (suspicion_next(space, domain, &s)) {
			suspicion_settle(space, domain, &s);
			cond_resched();
		}
		uvfio_map_put(domain, s.map);
	}

	guard(mutex)(&space->lock);
	if (list_empty(&space->suspects)) {
		space->delay = RETRY_FIRST;
		return;
	}
	space_queue(space, space->delay);
	space->delay = min(2 * space->delay, RETRY_LAST);
}

static void space_work(struct work_struct *work)
{
	struct uvfio_space *space = container_of(to_delayed_work(work),
						 struct uvfio_space, work);
	struct uvfio_domain *domain = space_domain(space);

	if (domain)
		space_verify(space, domain);
	uvfio_domain_put(domain);
	uvfio_space_put(space);
	module_put(THIS_MODULE);
}

/* What happens to the memory */

/*
 * For hugetlb, some kernels say that addresses go when only pages do, which a file
 * may give back, and say so where pages stay.
 */
static bool may_be_back(struct folio *folio)
{
	return folio_test_hugetlb(folio) &&
	       (!folio_test_anon(folio) || folio_mapped(folio));
}

/*
 * A pinned anonymous page is of one process only and at one address: if that is not
 * in its page table any more, then nowhere. Who tries to reclaim or to migrate it has
 * it locked, and puts it back.
 */
static enum verdict folio_judge(struct folio *folio, bool certain)
{
	if (certain)
		return may_be_back(folio) ? PAGE_SUSPECT : PAGE_GONE;
	if (!folio_test_anon(folio) || folio_test_large(folio))
		return PAGE_SUSPECT;
	if (folio_mapped(folio))
		return PAGE_STAYS;
	return folio_test_locked(folio) ? PAGE_SUSPECT : PAGE_GONE;
}

/* NULL: there is none any more. */
static struct folio *folio_at(struct uvfio_domain *domain,
			      struct uvfio_map *map, unsigned long address)
{
	phys_addr_t phys = iommu_iova_to_phys(domain->iommu,
					      map_iova(map, address));

	return phys ? page_folio(pfn_to_page(PHYS_PFN(phys))) : NULL;
}

/* Pages of start .. end - 1 went away, or were replaced, or perhaps only put back. */
static void map_judge(struct uvfio_domain *domain, struct uvfio_map *map,
		      unsigned long start, unsigned long end, bool certain)
{
	unsigned long address, gone = 0;

	for (address = start; address < end; address += PAGE_SIZE) {
		struct folio *folio = folio_at(domain, map, address);
		enum verdict verdict = folio ? folio_judge(folio, certain) :
					       PAGE_STAYS;

		cond_resched();
		if (verdict == PAGE_GONE) {
			gone += PAGE_SIZE;
			continue;
		}
		if (gone)
			uvfio_map_revoke(domain, map, address - gone, address);
		gone = 0;
		if (verdict == PAGE_SUSPECT)
			map_suspect(map, address, address + PAGE_SIZE);
	}
	if (gone)
		uvfio_map_revoke(domain, map, end - gone, end);
}

/* A range that goes is of one kind of memory: if not of hugetlb it goes at once. */
static bool goes_at_once(struct uvfio_space *space, struct uvfio_domain *domain,
			 struct uvfio_map *map, unsigned long address)
{
	struct folio *folio;

	if (space->over)
		return true;
	folio = folio_at(domain, map, address);
	return folio && !folio_test_hugetlb(folio);
}

/*
 * The process's memory from @start to @last went away or, if that is not @certain,
 * perhaps so. Whoever calls may hold any lock of the memory management, or be
 * reclaiming memory with table_rwsem or any other lock of ours but this one held.
 */
static void space_changed(struct uvfio_space *space, unsigned long start,
			  unsigned long last, bool certain)
{
	struct interval_tree_node *node;
	struct uvfio_domain *domain;
	bool at_once;

	guard(mutex)(&space->lock);

	node = interval_tree_iter_first(&space->maps, start, last);
	if (!node)
		return;

	domain = space->domain;
	at_once = down_read_trylock(&domain->table_rwsem);
	for (; node; node = interval_tree_iter_next(node, start, last)) {
		struct uvfio_map *map = container_of(node, struct uvfio_map,
						     memory);
		unsigned long from = max(start, node->start);
		unsigned long end = min(last, node->last) + 1;

		/* A BAR comes back whatever is done to its page table. */
		if (map->peer && !certain)
			continue;
		if (map->peer || !map->live || !at_once)
			map_suspect(map, from, end);
		else if (certain && goes_at_once(space, domain, map, from))
			uvfio_map_revoke(domain, map, from, end);
		else
			map_judge(domain, map, from, end, certain);
		cond_resched();
	}
	if (at_once)
		up_read(&domain->table_rwsem);
	if (!list_empty(&space->suspects))
		space_queue(space, 0);
}

static void space_invalidate_end(struct mmu_notifier *notifier,
				 const struct mmu_notifier_range *range)
{
	struct uvfio_space *space = container_of(notifier, struct uvfio_space,
						 notifier);
	bool certain = range->event == MMU_NOTIFY_UNMAP;

	if (!certain && range->event != MMU_NOTIFY_CLEAR)
		return;
	/* The OOM killer's, of a process that is about to end. */
	if (!mmu_notifier_range_blockable(range))
		return;
	space_changed(space, range->start, range->end - 1, certain);
}

/* The process has ended or runs another program. */
static void space_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct uvfio_space *space = container_of(notifier, struct uvfio_space,
						 notifier);

	WRITE_ONCE(space->over, true);
	space_changed(space, 0, ULONG_MAX, true);
}

static const struct mmu_notifier_ops space_ops = {
	.invalidate_range_end = space_invalidate_end,
	.release = space_release,
};

/* The spaces of a domain */

/**
 * uvfio_space_find - the memory of the calling process, in a domain
 * @domain: its map_lock is held
 *
 * Return: a reference, or NULL: uvfio_space_make() comes first.
 */
struct uvfio_space *uvfio_space_find(struct uvfio_domain *domain)
{
	struct uvfio_space *space;

	lockdep_assert_held(&domain->map_lock);
	list_for_each_entry(space, &domain->spaces, link)
		if (space_mm(space) == current->mm) {
			refcount_inc(&space->users);
			return space;
		}
	return NULL;
}

static struct uvfio_space *space_alloc(void)
{
	struct uvfio_space *space = kzalloc(sizeof(*space), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!space)
		return ERR_PTR(-ENOMEM);

	refcount_set(&space->users, 1);
	mutex_init(&space->lock);
	space->maps = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&space->suspects);
	INIT_DELAYED_WORK(&space->work, space_work);
	space->delay = RETRY_FIRST;
	space->notifier.ops = &space_ops;
	ret = mmu_notifier_register(&space->notifier, current->mm);
	if (ret) {
		kfree(space);
		/* Any signal makes it give up; nothing has changed yet. */
		return ERR_PTR(ret == -EINTR ? -ERESTARTNOINTR : ret);
	}
	return space;
}

/**
 * uvfio_space_end - the domain has no more use for a space
 * @space: the domain's reference; none of its maps is attached
 */
void uvfio_space_end(struct uvfio_space *space)
{
	scoped_guard(mutex, &space->lock)
		space->domain = NULL;
	uvfio_space_put(space);
}

/* Those of processes that have ended, unless there is still a mapping of theirs. */
static void spaces_prune(struct uvfio_domain *domain)
{
	struct uvfio_space *space, *next;
	LIST_HEAD(over);

	scoped_guard(mutex, &domain->map_lock)
		list_for_each_entry_safe(space, next, &domain->spaces, link)
			if (READ_ONCE(space->over) &&
			    refcount_read(&space->users) == 1)
				list_move(&space->link, &over);
	list_for_each_entry_safe(space, next, &over, link)
		uvfio_space_end(space);
}

/**
 * uvfio_space_make - begin to listen to the memory of the calling process
 * @domain: no lock of it is held
 */
int uvfio_space_make(struct uvfio_domain *domain)
{
	struct uvfio_space *space, *new;

	spaces_prune(domain);
	new = space_alloc();
	if (IS_ERR(new))
		return PTR_ERR(new);

	scoped_guard(mutex, &domain->map_lock) {
		/* Another thread may have been faster. */
		space = uvfio_space_find(domain);
		if (!space) {
			new->domain = domain;
			list_add(&new->link, &domain->spaces);
			return 0;
		}
	}
	uvfio_space_put(space);
	uvfio_space_put(new);
	return 0;
}

/**
 * uvfio_space_put - drop a reference, with no lock held
 * @space: the last reference waits for notifiers that run
 */
void uvfio_space_put(struct uvfio_space *space)
{
	if (!refcount_dec_and_test(&space->users))
		return;
	mmu_notifier_unregister(&space->notifier, space_mm(space));
	mutex_destroy(&space->lock);
	kfree(space);
}

/* From here on @map is told what happens to its memory; it is not live yet. */
void uvfio_space_add(struct uvfio_map *map)
{
	guard(mutex)(&map->space->lock);
	interval_tree_insert(&map->memory, &map->space->maps);
	map->attached = true;
}

/* From here on nobody but the caller, who has it busy, takes anything from @map. */
void uvfio_space_remove(struct uvfio_map *map)
{
	guard(mutex)(&map->space->lock);
	if (map->attached)
		interval_tree_remove(&map->memory, &map->space->maps);
	if (!list_empty(&map->suspect))
		list_del_init(&map->suspect);
	map->attached = false;
	map->live = false;
}

/* The same for a while: what happens meanwhile is looked at by going live again. */
void uvfio_space_hold(struct uvfio_map *map)
{
	guard(mutex)(&map->space->lock);
	list_del_init(&map->suspect);
	map->live = false;
}

static void map_set_memory(struct uvfio_map *map, unsigned long start,
			   unsigned long last)
{
	interval_tree_remove(&map->memory, &map->space->maps);
	map->memory.start = start;
	map->memory.last = last;
	interval_tree_insert(&map->memory, &map->space->maps);
	map->suspect_start = clamp(map->suspect_start, start, last + 1);
	map->suspect_end = clamp(map->suspect_end, start, last + 1);
}

/**
 * uvfio_space_cut - leave a mapping a part of its memory
 * @map: not live
 * @start: first byte it keeps
 * @last: last byte it keeps
 * @rest: or NULL; not live, is made to have what lies above @rest_start
 * @rest_start: first byte of that
 */
void uvfio_space_cut(struct uvfio_map *map, unsigned long start,
		     unsigned long last, struct uvfio_map *rest,
		     unsigned long rest_start)
{
	guard(mutex)(&map->space->lock);
	if (rest) {
		rest->memory.start = rest_start;
		rest->memory.last = map->memory.last;
		rest->suspect_start = max(map->suspect_start, rest_start);
		rest->suspect_end = max(map->suspect_end, rest_start);
		interval_tree_insert(&rest->memory, &map->space->maps);
		rest->attached = true;
	}
	map_set_memory(map, start, last);
}

/**
 * uvfio_space_go_live - let the process's memory decide over a mapping
 * @map: is complete, and still busy
 *
 * What happened already is looked at soon. Without an IOMMU it does not decide:
 * nothing is ever taken from the device.
 */
void uvfio_space_go_live(struct uvfio_map *map)
{
	guard(mutex)(&map->space->lock);
	if (domain_is_bus(map->space->domain))
		return;
	map->live = true;
	if (map->suspect_start == map->suspect_end)
		return;
	list_add_tail(&map->suspect, &map->space->suspects);
	space_queue(map->space, 0);
}

int uvfio_spaces_init(void)
{
	verify_wq = alloc_workqueue("uvfio_verify", WQ_UNBOUND, 0);
	return verify_wq ? 0 : -ENOMEM;
}

void uvfio_spaces_exit(void)
{
	destroy_workqueue(verify_wq);
}
