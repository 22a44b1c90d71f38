/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the mapper share: vfio_iommu.c (domains and the groups attached
 * to them), vfio_maps.c (their mappings), vfio_pages.c (what a mapping holds) and
 * vfio_spaces.c (when a process takes it away).
 */
#ifndef UVFIO_IOMMU_H
#define UVFIO_IOMMU_H

#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "uvfio.h"

#ifndef CONFIG_MMU_NOTIFIER
#error "uvfio: needs a kernel with CONFIG_MMU_NOTIFIER, which KVM and others select"
#endif

/* IOVAs start .. last inclusive that devices of the domain can use. */
struct window {
	u64 start, last;
};

struct windows {
	size_t count;
	struct window w[];
};

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

/* IOVAs of some mappings: the first, the last, the most that is free in between. */
struct map_span {
	u64 first, last, hole;
};

/*
 * What a mapping holds is changed by whoever has it busy and not live, by its
 * process taking the memory away as long as it is live (space->lock), and, if it is
 * a BAR's, under peer->peer_lock alone.
 */
struct uvfio_map {
	refcount_t users;		/* the tree, or its taker; a verifier */

	/* domain->map_lock; the range is fixed while nobody has it busy */
	struct rb_node node;		/* domain->maps */
	u64 iova, last;
	struct map_span tree;		/* of this node and those below it */
	bool busy;
	struct uvfio_map *next;		/* of whoever made it busy */

	/* Fixed once made. */
	int prot;
	struct uvfio_space *space;	/* ref */
	struct uvfio_dev *peer;		/* ref; a BAR of its, no memory */

	/* space->lock */
	struct interval_tree_node memory;	/* space->maps: addresses */
	bool attached;			/* it is in there */
	bool live;
	u64 suspect_start, suspect_end;	/* addresses; equal: none */
	struct list_head suspect;	/* space->suspects */

	/* See above. */
	bool holey;			/* the page table alone knows the pages */
	u64 present;			/* pages in the IOMMU */
	struct list_head peer_link;	/* peer->peer_maps */
	unsigned long next_table;	/* the first that is not charged yet */
	struct run_list pinned;
};

/* The memory of one process, as far as it is mapped in a domain. */
struct uvfio_space {
	struct mmu_notifier notifier;
	refcount_t users;		/* the domain, maps, a queued verifier */
	struct list_head link;		/* domain->spaces; domain->map_lock */
	struct mutex lock;		/* see the DOC on locks */
	struct uvfio_domain *domain;	/* lock; NULL: it has ended */
	struct rb_root_cached maps;	/* lock */
	struct list_head suspects;	/* lock; maps to be verified */
	bool over;			/* the process is; no more maps come */
	struct delayed_work work;	/* verifies */
	unsigned long delay;		/* lock; jiffies until it tries again */
};

struct uvfio_domain {
	refcount_t users;
	u64 id;				/* never used again */
	struct work_struct free_work;
	struct mutex map_lock;		/* maps, num_maps, windows, spaces */
	struct rb_root maps;
	unsigned int num_maps;
	struct windows *windows;	/* map_lock; group_lock to replace */
	struct list_head spaces;
	struct uvfio_map *spare;	/* one that went, for the next; or NULL */
	struct xarray tables;		/* iova >> TABLE_SHIFT: who was charged */
	unsigned long last_table;	/* a hint: one that is in there */
	const struct cred *root_cred;	/* who was charged for the root table */
	atomic64_t revoked;		/* pages, since it was made */
	bool coherent;			/* no-snoop is overruled; as iommu */
	bool one_by_one;		/* as iommu; see uvfio_table_probe() */
	bool noiommu;			/* set once, instead of iommu */
	/*
	 * Set once, by the first attach (group_lock, pairs with domain_table());
	 * whoever saw it set may use it as long as it holds the domain.
	 */
	struct iommu_domain *iommu;
	/*
	 * R around what reads and changes the page table, W around attaching to
	 * it: an IOMMU that joins may change its depth.
	 */
	struct rw_semaphore table_rwsem;
};

/* NULL until a device was attached. */
static inline struct iommu_domain *domain_table(struct uvfio_domain *domain)
{
	/* Pairs with group_join(): what it set up before is seen, too. */
	return smp_load_acquire(&domain->iommu);
}

/* Of devices without an IOMMU; by what was attached first, and for good. */
static inline bool domain_is_bus(struct uvfio_domain *domain)
{
	return READ_ONCE(domain->noiommu);
}

/* Not before a device was attached. */
static inline bool domain_is_usable(struct uvfio_domain *domain)
{
	return domain_table(domain) || domain_is_bus(domain);
}

static inline u64 map_pages(const struct uvfio_map *map)
{
	return (map->last - map->iova + 1) >> PAGE_SHIFT;
}

static inline unsigned long map_address(const struct uvfio_map *map, u64 iova)
{
	return map->memory.start + (iova - map->iova);
}

static inline u64 map_iova(const struct uvfio_map *map, unsigned long address)
{
	return map->iova + (address - map->memory.start);
}

/* What a BAR's mapping holds. */
static inline void map_lock_peer(struct uvfio_map *map)
{
	if (map->peer)
		mutex_lock(&map->peer->peer_lock);
}

static inline void map_unlock_peer(struct uvfio_map *map)
{
	if (map->peer)
		mutex_unlock(&map->peer->peer_lock);
}

/* vfio_maps.c */
int uvfio_maps_init(void);
void uvfio_maps_exit(void);
unsigned int uvfio_maps_left(struct uvfio_domain *domain);
u64 uvfio_maps_pinned(struct uvfio_domain *domain);
bool uvfio_maps_inside(struct uvfio_domain *domain,
		       const struct windows *windows);
void uvfio_maps_free(struct uvfio_domain *domain);
void uvfio_map_put(struct uvfio_domain *domain, struct uvfio_map *map);

/* vfio_pages.c */
int uvfio_table_probe(struct iommu_domain *iommu, u64 iova, bool *one_by_one);
int uvfio_charge_refused(int ret, u64 bytes);
int uvfio_charge_root(struct uvfio_domain *domain);
void uvfio_uncharge_tables(struct uvfio_domain *domain);
int uvfio_map_fill(struct uvfio_domain *domain, struct uvfio_map *map);
int uvfio_map_fill_peer(struct uvfio_domain *domain, struct uvfio_map *map,
			phys_addr_t phys);
void uvfio_map_remove_split(struct uvfio_domain *domain, struct uvfio_map *map,
			    u64 iova, u64 last);
int uvfio_map_split(struct uvfio_domain *domain, struct uvfio_map *map,
		    u64 iova, u64 last);
u64 uvfio_map_remove(struct uvfio_domain *domain, struct uvfio_map *map,
		     u64 iova, u64 last);
u64 uvfio_map_present(struct uvfio_domain *domain, struct uvfio_map *map,
		      u64 iova, u64 last);

/* vfio_spaces.c */
int uvfio_spaces_init(void);
void uvfio_spaces_exit(void);
struct uvfio_space *uvfio_space_find(struct uvfio_domain *domain);
int uvfio_space_make(struct uvfio_domain *domain);
void uvfio_space_put(struct uvfio_space *space);
void uvfio_space_end(struct uvfio_space *space);
void uvfio_space_add(struct uvfio_map *map);
void uvfio_space_remove(struct uvfio_map *map);
void uvfio_space_hold(struct uvfio_map *map);
void uvfio_space_cut(struct uvfio_map *map, unsigned long start,
		     unsigned long last, struct uvfio_map *rest,
		     unsigned long rest_start);
void uvfio_space_go_live(struct uvfio_map *map);
void uvfio_map_revoke(struct uvfio_domain *domain, struct uvfio_map *map,
		      unsigned long start, unsigned long end);

#endif /* UVFIO_IOMMU_H */
