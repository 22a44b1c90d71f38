// SPDX-License-Identifier: GPL-2.0
/*
 * I/O address spaces: domains, the IOMMU groups attached to them, and mappings.
 *
 * A domain is empty until the first group attaches; that group's IOMMU gives it
 * its page table, which then stays for the domain's life. A group belongs to one
 * domain or to none: group_list is the register of who owns what, and the IOMMU
 * core (DMA ownership) keeps kernel drivers out meanwhile.
 *
 * A mapping is a contiguous IOVA range [iova, last], both inclusive, of pages of
 * one process. Mappings never overlap. One that is being made or removed is
 * *busy*: it holds its IOVA range so that nobody else gets it, but pinning goes
 * on without any lock and page-table work side by side, and to other calls it is
 * not there.
 *
 * What is pinned is kept as runs of contiguous pages, because the IOMMU's page
 * table knows them only as long as they are mapped.
 */
#define pr_fmt(fmt) "uvfio: " fmt

#include <linux/cred.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "uvfio.h"

static unsigned int dma_entry_limit = U16_MAX;
module_param(dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "Mappings that one domain may have (default 65535)");

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Hand out devices without interrupt remapping: their user can forge interrupts (default off)");

/* log2 of the IOVA that one lowest-level page table reaches: 2 MiB. */
#define TABLE_SHIFT	(PAGE_SHIFT + ilog2(PAGE_SIZE / sizeof(u64)))

/* Pages first .. first + count - 1: pfn in the high bits, count - 1 below. */
#define RUN_COUNT_BITS	24
#define RUN_MAX		BIT(RUN_COUNT_BITS)

struct run_chunk {
	struct run_chunk *next;
	u64 runs[PAGE_SIZE / sizeof(u64) - 1];
};

/* Append-only; the last run may still grow. */
struct run_list {
	u64 first;		/* the only run of a small mapping */
	struct run_chunk *chunks;
	struct run_chunk *tail;
	size_t count;
};

struct uvfio_map {
	struct rb_node node;		/* domain->maps; domain->map_lock */
	struct list_head link;		/* of whoever made it busy */
	bool busy;			/* domain->map_lock */

	/* Fixed once made; used by whoever holds it busy. */
	u64 iova, last;
	int prot;
	struct mm_struct *mm;		/* grabbed; charged for the pages */
	u64 mapped;			/* bytes in the IOMMU, from iova on */
	unsigned long next_table;	/* the first that is not charged yet */
	struct run_list pinned;
};

/* IOVAs start .. last inclusive that devices of the domain can use. */
struct window {
	u64 start, last;
};

struct windows {
	size_t count;
	struct window w[];
};

/* An IOMMU group with at least one attached device. */
struct uvfio_group {
	struct list_head link;			/* group_list */
	struct iommu_group *iommu_group;	/* its bound devices hold it */
	struct uvfio_domain *domain;		/* its attached devices do */
	unsigned int devices;
};

struct uvfio_domain {
	refcount_t users;
	struct work_struct free_work;
	struct mutex map_lock;		/* maps, num_maps, windows */
	struct rb_root maps;
	unsigned int num_maps;
	struct windows *windows;	/* map_lock; group_lock to replace */
	struct xarray tables;		/* iova >> TABLE_SHIFT: who was charged */
	bool coherent;			/* no-snoop is overruled; as iommu */
	/*
	 * Set once, by the first attach (group_lock, pairs with domain_table());
	 * whoever saw it set may use it as long as it holds the domain.
	 */
	struct iommu_domain *iommu;
	/*
	 * R around iommu_map() and iommu_unmap(), W around attaching to it: an
	 * IOMMU that joins may change the depth of the page table.
	 */
	struct rw_semaphore table_rwsem;
};

/* NULL until a device was attached. */
static struct iommu_domain *domain_table(struct uvfio_domain *domain)
{
	/* Pairs with group_join(): what it set up before is seen, too. */
	return smp_load_acquire(&domain->iommu);
}

static DEFINE_MUTEX(group_lock);	/* group_list and all attachments */
static LIST_HEAD(group_list);
static struct workqueue_struct *free_wq;

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

/* True if @pfn only made the last run longer. */
static bool run_extend(struct run_list *list, u64 pfn)
{
	u64 *run;

	if (!list->count)
		return false;

	run = run_slot(list);
	if (run_pfn(*run) + run_pages(*run) != pfn || run_pages(*run) == RUN_MAX)
		return false;

	(*run)++;
	return true;
}

static int run_add(struct run_list *list, u64 pfn)
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
	*run_slot(list) = pfn << RUN_COUNT_BITS;
	return 0;
}

static void unpin_run(u64 run, bool dirty)
{
	unpin_user_page_range_dirty_lock(pfn_to_page(run_pfn(run)),
					 run_pages(run), dirty);
}

static void unpin_runs(struct run_list *list, bool dirty)
{
	size_t left = list->count, i;
	struct run_chunk *chunk;

	if (!left)
		return;

	unpin_run(list->first, dirty);
	left--;
	while ((chunk = list->chunks)) {
		size_t n = min(left, ARRAY_SIZE(chunk->runs));

		for (i = 0; i < n; i++)
			unpin_run(chunk->runs[i], dirty);
		left -= n;
		list->chunks = chunk->next;
		kfree(chunk);
		cond_resched();
	}
}

/* Windows */

/* Cuts start .. last out of @windows, which has room for one more entry. */
static void windows_cut(struct windows *windows, u64 start, u64 last)
{
	struct window *w = windows->w;
	size_t i = 0;

	while (i < windows->count) {
		bool below = w[i].start < start, above = w[i].last > last;

		if (w[i].start > last || w[i].last < start) {
			i++;
		} else if (below && above) {
			memmove(&w[i + 1], &w[i],
				(windows->count - i) * sizeof(*w));
			windows->count++;
			w[i].last = start - 1;
			w[i + 1].start = last + 1;
			i += 2;
		} else if (below) {
			w[i++].last = start - 1;
		} else if (above) {
			w[i++].start = last + 1;
		} else {
			windows->count--;
			memmove(&w[i], &w[i + 1],
				(windows->count - i) * sizeof(*w));
		}
	}
}

static bool in_windows(const struct windows *windows, u64 start, u64 last)
{
	size_t i;

	for (i = 0; i < windows->count; i++)
		if (start >= windows->w[i].start && last <= windows->w[i].last)
			return true;
	return false;
}

/* Mappings */

static bool over_memlock(u64 total, u64 more)
{
	if (total <= rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT ||
	    capable(CAP_IPC_LOCK))
		return false;

	pr_warn_ratelimited("%s[%d]: RLIMIT_MEMLOCK (%lu KiB) does not allow %llu KiB more: raise it (ulimit -l, limits.conf, LimitMEMLOCK=)\n",
			    current->comm, task_pid_nr(current),
			    rlimit(RLIMIT_MEMLOCK) >> 10,
			    more << (PAGE_SHIFT - 10));
	return true;
}

/*
 * Pinned pages are charged to mm->pinned_vm (VmPin), which is atomic, and not to
 * locked_vm, whose lock is the mmap lock: a process can keep that held (a fault
 * on a FUSE page), and releasing a revoked device's pages must not wait for it.
 */
static int charge_pages(struct mm_struct *mm, u64 npages)
{
	s64 pinned = atomic64_read(&mm->pinned_vm);

	do {
		if (over_memlock(pinned + npages + READ_ONCE(mm->locked_vm),
				 npages))
			return -ENOMEM;
	} while (!atomic64_try_cmpxchg(&mm->pinned_vm, &pinned,
				       pinned + npages));
	return 0;
}

/*
 * Page tables are kernel memory that a user makes grow, and an IOMMU may keep
 * them until its domain is freed. So each table's reach of IOVA that a domain
 * ever had a page in costs its user one page, until the domain ends: without
 * that, one page mapped all over the place takes all memory there is. It is the
 * user's, not the process's, which may be gone long before the domain. (The tables
 * above these are at most two more for each.)
 */
static int charge_table(struct uvfio_domain *domain, unsigned long reach)
{
	struct user_struct *user = current_user();
	long locked = atomic_long_read(&user->locked_vm);
	void *old;

	do {
		if (over_memlock(locked + 1, 1))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &locked,
					  locked + 1));

	old = xa_cmpxchg(&domain->tables, reach, NULL, user,
			 GFP_KERNEL_ACCOUNT);
	if (old)	/* an error, or another thread's map was first */
		atomic_long_dec(&user->locked_vm);
	else
		get_uid(user);
	return xa_err(old);
}

/* For the tables that @map needs up to @last; runs come in order of IOVA. */
static int charge_tables(struct uvfio_domain *domain, struct uvfio_map *map,
			 u64 last)
{
	int ret = 0;

	for (; map->next_table <= last >> TABLE_SHIFT; map->next_table++) {
		if (!xa_load(&domain->tables, map->next_table))
			ret = charge_table(domain, map->next_table);
		if (ret)
			break;
	}
	return ret;
}

/* Root tables are memory, too: a user can have as many domains as files. */
static int charge_root(struct uvfio_domain *domain)
{
	unsigned long beyond = (U64_MAX >> TABLE_SHIFT) + 1;

	return xa_load(&domain->tables, beyond) ? 0 :
						  charge_table(domain, beyond);
}

static void uncharge_tables(struct uvfio_domain *domain)
{
	struct user_struct *user;
	unsigned long reach;

	xa_for_each(&domain->tables, reach, user) {
		atomic_long_dec(&user->locked_vm);
		free_uid(user);
	}
	xa_destroy(&domain->tables);
}

static u64 map_pages(const struct uvfio_map *map)
{
	return (map->last - map->iova + 1) >> PAGE_SHIFT;
}

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

/* Puts the last run into the IOMMU; it will not grow any more. */
static int map_last_run(struct uvfio_domain *domain, struct uvfio_map *map)
{
	u64 run = *run_slot(&map->pinned);
	u64 iova = map->iova + map->mapped;
	size_t size = run_pages(run) << PAGE_SHIFT;
	int ret;

	ret = charge_tables(domain, map, iova + size - 1);
	if (ret)
		return ret;

	down_read(&domain->table_rwsem);
	ret = iommu_map(domain->iommu, iova, run_pfn(run) << PAGE_SHIFT, size,
			map->prot, GFP_KERNEL_ACCOUNT);
	if (ret)
		unmap_leftover(domain->iommu, iova, size);
	else
		map->mapped += size;
	up_read(&domain->table_rwsem);

	/* EFAULT is VT-d's word for a bad IOVA; it has seen no other address. */
	return ret == -EFAULT ? -EINVAL : ret;
}

/* Takes over the pins of all @n pages, also on failure. */
static int map_add_pages(struct uvfio_domain *domain, struct uvfio_map *map,
			 struct page **pages, size_t n)
{
	size_t i;
	int ret;

	for (i = 0; i < n; i++) {
		u64 pfn = page_to_pfn(pages[i]);

		if (run_extend(&map->pinned, pfn))
			continue;

		ret = map->pinned.count ? map_last_run(domain, map) : 0;
		if (!ret)
			ret = run_add(&map->pinned, pfn);
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
		pin_user_pages_longterm_write(vaddr, n, pages) :
		pin_user_pages_longterm_read(vaddr, n, pages);

	/* What some kernels say of a range that wraps. */
	return ret == -EOVERFLOW ? -EFAULT : ret;
}

/* Pins and maps all of @map; what is done on failure is for map_destroy(). */
static int map_fill(struct uvfio_domain *domain, struct uvfio_map *map,
		    u64 vaddr)
{
	struct page *few[16], **pages = few;
	size_t room = ARRAY_SIZE(few);
	u64 left = map_pages(map);
	int ret = 0;

	if (left > room) {
		pages = (struct page **)__get_free_page(GFP_KERNEL_ACCOUNT);
		if (!pages)
			return -ENOMEM;
		room = PAGE_SIZE / sizeof(*pages);
	}

	while (left && !ret) {
		int n = pin_pages(vaddr, min_t(u64, left, room), map->prot,
				  pages);

		if (n <= 0) {
			ret = n ?: -EFAULT;
			break;
		}
		ret = map_add_pages(domain, map, pages, n);
		vaddr += (u64)n << PAGE_SHIFT;
		left -= n;

		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	if (!ret)
		ret = map_last_run(domain, map);

	if (pages != few)
		free_page((unsigned long)pages);
	return ret;
}

/*
 * Takes a mapping out of the IOMMU, then gives its pages back, in that order. It
 * must be busy, or the domain dying. The IOVA range stays reserved until the
 * caller erases the node.
 */
static void map_empty(struct uvfio_domain *domain, struct uvfio_map *map)
{
	size_t unmapped = 0;

	down_read(&domain->table_rwsem);
	if (map->mapped)
		unmapped = iommu_unmap(domain->iommu, map->iova, map->mapped);
	up_read(&domain->table_rwsem);

	WARN_ON(unmapped != map->mapped);
	unpin_runs(&map->pinned, map->prot & IOMMU_WRITE);
	atomic64_sub(map_pages(map), &map->mm->pinned_vm);
}

static void map_free(struct uvfio_map *map)
{
	mmdrop(map->mm);
	kfree(map);
}

static int cmp_overlap(const void *key, const struct rb_node *node)
{
	const struct uvfio_map *map = rb_entry(node, struct uvfio_map, node);
	const struct window *range = key;

	if (range->last < map->iova)
		return -1;
	return range->start > map->last;
}

static int cmp_insert(struct rb_node *new, const struct rb_node *node)
{
	const struct uvfio_map *map = rb_entry(new, struct uvfio_map, node);
	struct window range = { map->iova, map->last };

	return cmp_overlap(&range, node);
}

static struct uvfio_map *map_first(struct uvfio_domain *domain, u64 start,
				   u64 last)
{
	struct window range = { start, last };

	lockdep_assert_held(&domain->map_lock);
	return rb_entry_safe(rb_find_first(&range, &domain->maps, cmp_overlap),
			     struct uvfio_map, node);
}

static struct uvfio_map *map_next(struct uvfio_map *map, u64 last)
{
	struct uvfio_map *next = rb_entry_safe(rb_next(&map->node),
					       struct uvfio_map, node);

	return next && next->iova <= last ? next : NULL;
}

/* Makes the IOVA range of a busy mapping its own. */
static int map_reserve(struct uvfio_domain *domain, struct uvfio_map *map)
{
	guard(mutex)(&domain->map_lock);

	if (!domain_table(domain))
		return -EUNATCH;
	if (!IS_ALIGNED(map->iova | (map->last + 1),
			1UL << __ffs(domain->iommu->pgsize_bitmap)))
		return -EINVAL;
	if (!in_windows(domain->windows, map->iova, map->last))
		return -EINVAL;
	if (domain->num_maps >= READ_ONCE(dma_entry_limit)) {
		pr_warn_ratelimited("%s[%d]: a domain has its limit of %u mappings: raise the module parameter dma_entry_limit\n",
				    current->comm, task_pid_nr(current),
				    domain->num_maps);
		return -ENOSPC;
	}
	if (rb_find_add(&map->node, &domain->maps, cmp_insert))
		return -EEXIST;

	domain->num_maps++;
	return 0;
}

static void map_publish(struct uvfio_domain *domain, struct uvfio_map *map)
{
	guard(mutex)(&domain->map_lock);
	map->busy = false;
}

static void __map_unreserve(struct uvfio_domain *domain, struct uvfio_map *map)
{
	lockdep_assert_held(&domain->map_lock);
	rb_erase(&map->node, &domain->maps);
	domain->num_maps--;
}

static void map_unreserve(struct uvfio_domain *domain, struct uvfio_map *map)
{
	guard(mutex)(&domain->map_lock);
	__map_unreserve(domain, map);
}

/**
 * uvfio_domain_map - pin memory of the calling process and map it
 * @domain: held by the caller; no lock is
 * @cmd: the arguments
 */
int uvfio_domain_map(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	const struct vfio_iommu_type1_dma_map *arg = &cmd->map;
	struct uvfio_map *map;
	int ret;

	if (arg->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) ||
	    !arg->flags)
		return -EINVAL;
	if (!arg->size || !PAGE_ALIGNED(arg->vaddr | arg->iova | arg->size) ||
	    arg->vaddr + arg->size - 1 < arg->vaddr ||
	    arg->iova + arg->size - 1 < arg->iova)
		return -EINVAL;

	map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	if (!map)
		return -ENOMEM;

	map->busy = true;
	map->iova = arg->iova;
	map->last = arg->iova + arg->size - 1;
	map->next_table = map->iova >> TABLE_SHIFT;
	map->prot = IOMMU_CACHE;
	if (arg->flags & VFIO_DMA_MAP_FLAG_READ)
		map->prot |= IOMMU_READ;
	if (arg->flags & VFIO_DMA_MAP_FLAG_WRITE)
		map->prot |= IOMMU_WRITE;
	map->mm = current->mm;
	mmgrab(map->mm);

	ret = map_reserve(domain, map);
	if (ret)
		goto err_free;
	ret = charge_pages(map->mm, map_pages(map));
	if (ret)
		goto err_unreserve;
	ret = map_fill(domain, map, arg->vaddr);
	if (ret)
		goto err_empty;

	map_publish(domain, map);
	return 0;

err_empty:
	map_empty(domain, map);
err_unreserve:
	map_unreserve(domain, map);
err_free:
	map_free(map);
	return ret;
}

/* Makes busy all mappings inside start .. last; -EINVAL if that cuts one. */
static int maps_take(struct uvfio_domain *domain, u64 start, u64 last,
		     struct list_head *taken)
{
	struct uvfio_map *map;

	guard(mutex)(&domain->map_lock);

	if (!domain_table(domain))
		return -EUNATCH;

	for (map = map_first(domain, start, last); map; map = map_next(map, last))
		if (!map->busy && (map->iova < start || map->last > last))
			return -EINVAL;

	for (map = map_first(domain, start, last); map; map = map_next(map, last)) {
		if (map->busy)
			continue;
		map->busy = true;
		list_add_tail(&map->link, taken);
	}
	return 0;
}

/**
 * uvfio_domain_unmap - remove mappings
 * @domain: held by the caller; no lock is
 * @cmd: the arguments; size returns what was unmapped
 */
int uvfio_domain_unmap(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	struct vfio_iommu_type1_dma_unmap *arg = &cmd->unmap;
	struct uvfio_map *map, *next;
	u64 last = U64_MAX, bytes = 0;
	LIST_HEAD(taken);
	int ret;

	if (arg->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (arg->flags & VFIO_DMA_UNMAP_FLAG_ALL) {
		if (arg->iova || arg->size)
			return -EINVAL;
	} else {
		last = arg->iova + arg->size - 1;
		if (!arg->size || !PAGE_ALIGNED(arg->iova | arg->size) ||
		    last < arg->iova)
			return -EINVAL;
	}

	ret = maps_take(domain, arg->iova, last, &taken);
	if (ret)
		return ret;

	list_for_each_entry(map, &taken, link) {
		map_empty(domain, map);
		bytes += map->last - map->iova + 1;
		cond_resched();
	}
	scoped_guard(mutex, &domain->map_lock)
		list_for_each_entry(map, &taken, link)
			__map_unreserve(domain, map);
	list_for_each_entry_safe(map, next, &taken, link)
		map_free(map);

	arg->size = bytes;
	return 0;
}

/* Windows of an attached group */

static void resvs_free(struct list_head *resvs)
{
	struct iommu_resv_region *resv, *next;

	list_for_each_entry_safe(resv, next, resvs, list)
		kfree(resv);
}

/*
 * The domain's windows (at first: the whole aperture) without what a group has
 * reserved: firmware's ranges and the doorbell of its interrupts.
 */
static struct windows *windows_narrow(struct uvfio_domain *domain,
				      const struct iommu_domain *iommu,
				      struct list_head *resvs)
{
	struct iommu_resv_region *resv;
	struct windows *old, *new;
	size_t room = 1;

	lockdep_assert_held(&group_lock);

	/* Each cut adds one window at most, and windows_end() none. */
	list_for_each_entry(resv, resvs, list)
		room++;
	if (domain->windows)
		room += domain->windows->count;
	/* Not the user's: a limit of theirs would be waited for under a lock. */
	new = kzalloc(struct_size(new, w, room), GFP_KERNEL);
	if (!new)
		return ERR_PTR(-ENOMEM);

	new->count = 1;
	new->w[0].start = iommu->geometry.aperture_start;
	new->w[0].last = iommu->geometry.aperture_end;
	mutex_lock(&domain->map_lock);
	old = domain->windows;
	if (old)
		memcpy(new, old, struct_size(old, w, old->count));
	mutex_unlock(&domain->map_lock);

	list_for_each_entry(resv, resvs, list)
		if (resv->length && resv->type != IOMMU_RESV_DIRECT_RELAXABLE)
			windows_cut(new, resv->start,
				    resv->start + resv->length - 1);
	return new;
}

/* Only when it is attached, an IOMMU says how many bits it translates. */
static void windows_end(struct uvfio_domain *domain,
			const struct iommu_domain *iommu)
{
	u64 end = iommu->geometry.aperture_end;

	guard(mutex)(&domain->map_lock);
	if (end != U64_MAX)
		windows_cut(domain->windows, end + 1, U64_MAX);
}

/* Puts @new in force if no mapping is in the way; returns what was before. */
static struct windows *windows_swap(struct uvfio_domain *domain,
				    struct windows *new)
{
	struct windows *old = domain->windows;
	struct uvfio_map *map;

	lockdep_assert_held(&group_lock);
	guard(mutex)(&domain->map_lock);

	for (map = map_first(domain, 0, U64_MAX); map;
	     map = map_next(map, U64_MAX))
		if (!in_windows(new, map->iova, map->last))
			return ERR_PTR(-EINVAL);
	domain->windows = new;
	return old;
}

/* Domains */

struct uvfio_domain *uvfio_domain_alloc(void)
{
	struct uvfio_domain *domain;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);
	if (!domain)
		return ERR_PTR(-ENOMEM);

	refcount_set(&domain->users, 1);
	mutex_init(&domain->map_lock);
	init_rwsem(&domain->table_rwsem);
	domain->maps = RB_ROOT;
	xa_init_flags(&domain->tables, XA_FLAGS_ACCOUNT);
	return domain;
}

/* Nobody can be mapping or attached: those would hold the domain. */
static void domain_free(struct uvfio_domain *domain)
{
	struct uvfio_map *map, *next;

	rbtree_postorder_for_each_entry_safe(map, next, &domain->maps, node) {
		map_empty(domain, map);
		map_free(map);
		cond_resched();
	}
	if (domain->iommu)
		iommu_domain_free(domain->iommu);
	uncharge_tables(domain);
	mutex_destroy(&domain->map_lock);
	kfree(domain->windows);
	kfree(domain);
}

static void domain_free_work(struct work_struct *work)
{
	domain_free(container_of(work, struct uvfio_domain, free_work));
	module_put(THIS_MODULE);
}

struct uvfio_domain *uvfio_domain_get(struct uvfio_domain *domain)
{
	refcount_inc(&domain->users);
	return domain;
}

/**
 * uvfio_domain_put - drop a reference, with no lock held
 * @domain: or NULL
 *
 * The last one unpins, and to dirty a page takes its lock, which a file system of
 * the user's can hold as long as it likes.
 */
void uvfio_domain_put(struct uvfio_domain *domain)
{
	if (domain && refcount_dec_and_test(&domain->users))
		domain_free(domain);
}

/**
 * uvfio_domain_put_deferred - uvfio_domain_put() for whoever must not wait
 * @domain: or NULL
 */
void uvfio_domain_put_deferred(struct uvfio_domain *domain)
{
	if (domain && refcount_dec_and_test(&domain->users)) {
		INIT_WORK(&domain->free_work, domain_free_work);
		/* Refuse to unload meanwhile, rather than wait for it. */
		__module_get(THIS_MODULE);
		queue_work(free_wq, &domain->free_work);
	}
}

static u32 maps_left(struct uvfio_domain *domain)
{
	unsigned int limit = READ_ONCE(dma_entry_limit);

	guard(mutex)(&domain->map_lock);
	return limit > domain->num_maps ? limit - domain->num_maps : 0;
}

/* A copy, for use without the lock. */
static struct windows *windows_copy(struct uvfio_domain *domain)
{
	struct windows *copy;
	size_t room = 0;

	for (;;) {
		copy = kmalloc(struct_size(copy, w, room), GFP_KERNEL_ACCOUNT);
		if (!copy)
			return ERR_PTR(-ENOMEM);

		mutex_lock(&domain->map_lock);
		if (domain->windows->count <= room) {
			memcpy(copy, domain->windows,
			       struct_size(copy, w, domain->windows->count));
			mutex_unlock(&domain->map_lock);
			return copy;
		}
		room = domain->windows->count;
		mutex_unlock(&domain->map_lock);
		kfree(copy);
	}
}

static int add_window_cap(struct uvfio_caps *caps, u32 base,
			  struct uvfio_domain *domain)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct windows *windows = windows_copy(domain);
	size_t i, size;
	int ret;

	if (IS_ERR(windows))
		return PTR_ERR(windows);

	size = struct_size(cap, iova_ranges, windows->count);
	cap = kzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!cap) {
		kfree(windows);
		return -ENOMEM;
	}

	cap->header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	cap->header.version = 1;
	cap->nr_iovas = windows->count;
	for (i = 0; i < windows->count; i++) {
		cap->iova_ranges[i].start = windows->w[i].start;
		cap->iova_ranges[i].end = windows->w[i].last;
	}
	ret = uvfio_caps_add(caps, base, &cap->header, size);
	kfree(cap);
	kfree(windows);
	return ret;
}

/* Smaller pages than the CPU's cannot be mapped, but make up one of its. */
static u64 page_sizes(const struct iommu_domain *iommu)
{
	u64 sizes = iommu->pgsize_bitmap & PAGE_MASK;

	return iommu->pgsize_bitmap & ~PAGE_MASK ? sizes | PAGE_SIZE : sizes;
}

int uvfio_domain_info(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	struct vfio_iommu_type1_info *info = &cmd->iommu_info;
	struct vfio_iommu_type1_info_dma_avail avail = {
		.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
		.header.version = 1,
	};
	u32 base = ALIGN(offsetofend(typeof(*info), cap_offset), sizeof(u64));
	int ret;

	if (!domain_table(domain))
		return -EUNATCH;

	avail.avail = maps_left(domain);
	ret = uvfio_caps_add(&cmd->caps, base, &avail.header, sizeof(avail)) ?:
	      add_window_cap(&cmd->caps, base, domain);
	if (ret)
		return ret;

	info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info->iova_pgsizes = page_sizes(domain->iommu);
	return 0;
}

/* The container calls of /dev/uiommu, for which type1 is the only type. */

int uvfio_domain_api_version(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	return VFIO_API_VERSION;
}

int uvfio_domain_check_extension(struct uvfio_domain *domain,
				 struct uvfio_cmd *cmd)
{
	switch (cmd->value) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return domain_table(domain) && domain->coherent;
	default:
		return 0;
	}
}

int uvfio_domain_set_iommu(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	if (cmd->value != VFIO_TYPE1_IOMMU && cmd->value != VFIO_TYPE1v2_IOMMU)
		return -EINVAL;
	return 0;
}

/* Groups */

static struct uvfio_group *group_find(struct iommu_group *iommu_group)
{
	struct uvfio_group *group;

	lockdep_assert_held(&group_lock);
	list_for_each_entry(group, &group_list, link)
		if (group->iommu_group == iommu_group)
			return group;
	return NULL;
}

/* Of a group that cannot be had: the members that are in the way. */
struct culprits {
	struct pci_dev *pdev;
	unsigned int count;
};

static int log_culprit(struct device *member, void *data)
{
	struct device_driver *driver = READ_ONCE(member->driver);
	struct culprits *culprits = data;

	/* Drivers that leave DMA to a user do not keep others from it. */
	if (!driver || (dev_is_pci(member) &&
			to_pci_driver(driver)->driver_managed_dma))
		return 0;

	culprits->count++;
	dev_warn_ratelimited(&culprits->pdev->dev,
			     "its IOMMU group is in use: %s is bound to %s; unbind it, or bind it to uvfio too\n",
			     dev_name(member), driver->name);
	return 0;
}

static void log_culprits(struct pci_dev *pdev, struct iommu_group *iommu_group)
{
	struct culprits culprits = { .pdev = pdev };

	iommu_group_for_each_dev(iommu_group, &culprits, log_culprit);
	if (!culprits.count)
		dev_warn_ratelimited(&pdev->dev, "its IOMMU group %d has another owner: a user of vfio-pci, or of another domain\n",
				     iommu_group_id(iommu_group));
}

/* An IOMMU that translates MSI writes wants a window for them. */
static int msi_window(struct iommu_domain *iommu, struct list_head *resvs)
{
	struct iommu_resv_region *resv, *software = NULL;

	list_for_each_entry(resv, resvs, list) {
		if (resv->type == IOMMU_RESV_MSI)
			return 0;
		if (resv->type == IOMMU_RESV_SW_MSI)
			software = resv;
	}
	return software ? iommu_get_msi_cookie(iommu, software->start) : 0;
}

/* The page table for a first group: like @pdev's IOMMU makes them. */
static struct iommu_domain *page_table_alloc(struct pci_dev *pdev,
					     struct list_head *resvs)
{
	struct iommu_domain *iommu = iommu_paging_domain_alloc(&pdev->dev);
	int ret;

	if (IS_ERR(iommu))
		return iommu;

	ret = msi_window(iommu, resvs);
	if (ret) {
		iommu_domain_free(iommu);
		return ERR_PTR(ret);
	}
	return iommu;
}

static int page_table_attach(struct uvfio_domain *domain,
			     struct iommu_domain *iommu, struct pci_dev *pdev,
			     struct iommu_group *iommu_group)
{
	int ret;

	down_write(&domain->table_rwsem);
	ret = iommu_attach_group(iommu, iommu_group);
	up_write(&domain->table_rwsem);
	if (!ret || ret == -ENOMEM)
		return ret;

	if (domain->iommu)
		dev_warn_ratelimited(&pdev->dev, "its IOMMU cannot share the page table of the domain (%d): use another /dev/uiommu for it\n",
				     ret);
	else
		dev_warn_ratelimited(&pdev->dev, "the IOMMU does not let a user have it (%d): the kernel log of the IOMMU driver says why\n",
				     ret);
	return -EINVAL;
}

/* The device reads and writes memory past the CPU's caches unless overruled. */
static bool enforce_coherency(struct iommu_domain *iommu)
{
	return iommu->ops->enforce_cache_coherency &&
	       iommu->ops->enforce_cache_coherency(iommu);
}

/* The group is the domain's: bring it into the domain's page table. */
static int group_join(struct uvfio_domain *domain, struct pci_dev *pdev,
		      struct iommu_group *iommu_group, struct list_head *resvs)
{
	struct iommu_domain *iommu = domain->iommu;
	struct windows *narrow, *old;
	int ret;

	lockdep_assert_held(&group_lock);

	if (!iommu)
		iommu = page_table_alloc(pdev, resvs);
	if (IS_ERR(iommu))
		return PTR_ERR(iommu);

	narrow = windows_narrow(domain, iommu, resvs);
	if (IS_ERR(narrow)) {
		ret = PTR_ERR(narrow);
		goto err_table;
	}
	old = windows_swap(domain, narrow);
	if (IS_ERR(old)) {
		ret = PTR_ERR(old);
		dev_warn_ratelimited(&pdev->dev, "a mapping of the domain lies in a range reserved for this device: unmap it before attaching\n");
		goto err_narrow;
	}
	ret = page_table_attach(domain, iommu, pdev, iommu_group);
	if (ret)
		goto err_swap;

	kfree(old);
	windows_end(domain, iommu);
	if (!domain->iommu) {
		domain->coherent = enforce_coherency(iommu);
		/* Pairs with domain_table(). */
		smp_store_release(&domain->iommu, iommu);
	}
	return 0;

err_swap:
	mutex_lock(&domain->map_lock);
	domain->windows = old;
	mutex_unlock(&domain->map_lock);
err_narrow:
	kfree(narrow);
err_table:
	if (!domain->iommu)
		iommu_domain_free(iommu);
	return ret;
}

/* The first device of a group: make the group the domain's. */
static int group_claim(struct uvfio_domain *domain, struct pci_dev *pdev,
		       struct iommu_group *iommu_group)
{
	struct uvfio_group *group;
	LIST_HEAD(resvs);
	int ret;

	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return -ENOMEM;

	ret = iommu_get_group_resv_regions(iommu_group, &resvs);
	if (ret)
		goto err_free;
	ret = iommu_group_claim_dma_owner(iommu_group, domain);
	if (ret) {
		log_culprits(pdev, iommu_group);
		ret = ret == -ENOMEM ? ret : -EBUSY;
		goto err_free;
	}
	ret = group_join(domain, pdev, iommu_group, &resvs);
	if (ret)
		goto err_release;
	resvs_free(&resvs);

	group->iommu_group = iommu_group;
	group->domain = domain;
	group->devices = 1;
	list_add(&group->link, &group_list);
	return 0;

err_release:
	iommu_group_release_dma_owner(iommu_group);
err_free:
	resvs_free(&resvs);
	kfree(group);
	return ret;
}

static int group_attach(struct uvfio_domain *domain, struct pci_dev *pdev,
			struct iommu_group *iommu_group)
{
	struct uvfio_group *group;

	guard(mutex)(&group_lock);

	group = group_find(iommu_group);
	if (!group)
		return group_claim(domain, pdev, iommu_group);

	if (group->domain != domain) {
		dev_warn_ratelimited(&pdev->dev, "IOMMU group %d belongs to another domain: its devices have to share one /dev/uiommu\n",
				     iommu_group_id(iommu_group));
		return -EBUSY;
	}
	group->devices++;
	return 0;
}

/**
 * uvfio_domain_attach - attach a device to a domain
 * @domain: a reference is taken, for the device
 * @pdev: with bus mastering off
 */
int uvfio_domain_attach(struct uvfio_domain *domain, struct pci_dev *pdev)
{
	struct iommu_group *iommu_group = iommu_group_get(&pdev->dev);
	int ret;

	if (!iommu_group) {
		dev_warn_ratelimited(&pdev->dev, "refused: no IOMMU isolates it; turn the IOMMU on (firmware setup, intel_iommu=on)\n");
		return -EPERM;
	}

	if (!device_iommu_capable(&pdev->dev, IOMMU_CAP_CACHE_COHERENCY)) {
		dev_warn_ratelimited(&pdev->dev, "refused: its DMA is not coherent with the CPU's caches\n");
		ret = -EINVAL;
	} else if (msi_device_has_isolated_msi(&pdev->dev) ||
		   READ_ONCE(allow_unsafe_interrupts)) {
		ret = charge_root(domain);
		if (!ret)
			ret = group_attach(domain, pdev, iommu_group);
	} else {
		dev_warn_ratelimited(&pdev->dev, "refused: no interrupt remapping, so it could forge interrupts; the module parameter allow_unsafe_interrupts=1 accepts that\n");
		ret = -EPERM;
	}
	if (!ret)
		uvfio_domain_get(domain);

	/* The group stays as long as its device is bound. */
	iommu_group_put(iommu_group);
	return ret;
}

/**
 * uvfio_domain_detach - undo uvfio_domain_attach()
 * @domain: the device's reference passes to the caller
 * @pdev: with bus mastering off
 */
void uvfio_domain_detach(struct uvfio_domain *domain, struct pci_dev *pdev)
{
	struct iommu_group *iommu_group = iommu_group_get(&pdev->dev);
	struct uvfio_group *group;

	scoped_guard(mutex, &group_lock) {
		group = group_find(iommu_group);
		if (!WARN_ON(!group) && !--group->devices) {
			list_del(&group->link);
			down_write(&domain->table_rwsem);
			iommu_detach_group(domain->iommu, iommu_group);
			up_write(&domain->table_rwsem);
			iommu_group_release_dma_owner(iommu_group);
			kfree(group);
		}
	}
	iommu_group_put(iommu_group);
}

int uvfio_iommu_init(void)
{
	free_wq = alloc_workqueue("uvfio", WQ_UNBOUND, 0);
	return free_wq ? 0 : -ENOMEM;
}

void uvfio_iommu_exit(void)
{
	destroy_workqueue(free_wq);
}
