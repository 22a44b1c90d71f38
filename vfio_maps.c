// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of a domain: who has which IOVA range, and the calls that map and unmap.
 *
 * A mapping is a contiguous IOVA range [iova, last], both inclusive, of pages of
 * one process or of a BAR. Mappings never overlap. One that is being made, cut or
 * removed is *busy*: it holds its IOVA range so that nobody else gets it, but pinning
 * goes on without any lock and page-table work side by side, and to other calls it
 * is not there.
 */
#define pr_fmt(fmt) "uvfio: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rbtree_augmented.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "iommu.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

static unsigned int dma_entry_limit = U16_MAX;
module_param(dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "Mappings that one domain may have (default 65535)");

static struct kmem_cache *map_cache;

/* The tree, by IOVA; a node knows the span of those below it, to find room. */

static struct uvfio_map *map_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct uvfio_map, node);
}

static bool span_update(struct uvfio_map *map, bool unless_same)
{
	struct uvfio_map *left = map_of(map->node.rb_left);
	struct uvfio_map *right = map_of(map->node.rb_right);
	struct map_span span = { map->iova, map->last, 0 };

	if (left) {
		span.first = left->tree.first;
		span.hole = max(left->tree.hole,
				map->iova - left->tree.last - 1);
	}
	if (right) {
		span.last = right->tree.last;
		span.hole = max3(span.hole, right->tree.hole,
				 right->tree.first - map->last - 1);
	}
	if (unless_same && span.first == map->tree.first &&
	    span.last == map->tree.last && span.hole == map->tree.hole)
		return true;
	map->tree = span;
	return false;
}

RB_DECLARE_CALLBACKS(static, span_callbacks, struct uvfio_map, node, tree,
		     span_update)

/* The first mapping that has something of start .. last. */
static struct uvfio_map *map_first(struct uvfio_domain *domain, u64 start,
				   u64 last)
{
	struct uvfio_map *first = NULL, *map = map_of(domain->maps.rb_node);

	lockdep_assert_held(&domain->map_lock);
	while (map) {
		if (map->last < start) {
			map = map_of(map->node.rb_right);
		} else {
			first = map;
			map = map_of(map->node.rb_left);
		}
	}
	return first && first->iova <= last ? first : NULL;
}

static struct uvfio_map *map_next(struct uvfio_map *map, u64 last)
{
	struct uvfio_map *next;

	if (map->last >= last)
		return NULL;
	next = map_of(rb_next(&map->node));
	return next && next->iova <= last ? next : NULL;
}

/* -EEXIST if it overlaps another one. */
static int map_insert(struct uvfio_domain *domain, struct uvfio_map *map)
{
	struct rb_node **link = &domain->maps.rb_node, *parent = NULL;

	lockdep_assert_held(&domain->map_lock);
	while (*link) {
		struct uvfio_map *other = map_of(*link);

		parent = *link;
		if (map->last < other->iova)
			link = &parent->rb_left;
		else if (map->iova > other->last)
			link = &parent->rb_right;
		else
			return -EEXIST;
	}
	rb_link_node(&map->node, parent, link);
	map->tree = (struct map_span) { map->iova, map->last, 0 };
	span_callbacks.propagate(parent, NULL);
	rb_insert_augmented(&map->node, &domain->maps, &span_callbacks);
	domain->num_maps++;
	return 0;
}

static void map_erase(struct uvfio_domain *domain, struct uvfio_map *map)
{
	lockdep_assert_held(&domain->map_lock);
	rb_erase_augmented(&map->node, &domain->maps, &span_callbacks);
	domain->num_maps--;
}

/* Room for a new mapping */

static bool in_windows(const struct windows *windows, u64 start, u64 last)
{
	size_t i;

	for (i = 0; i < windows->count; i++)
		if (start >= windows->w[i].start && last <= windows->w[i].last)
			return true;
	return false;
}

/* What is looked for, from where on. */
struct room {
	u64 pos, size;
	u64 vaddr, align;	/* congruent to one modulo the other */
};

static u64 room_start(const struct room *room)
{
	return room->pos + ((room->vaddr - room->pos) & (room->align - 1));
}

/* Whether it is there, with what comes @next. */
static bool room_before(const struct room *room, u64 next)
{
	u64 start = room_start(room);

	return start >= room->pos && next >= start &&
	       next - start >= room->size;
}

/*
 * Moves the room up to where it is, before the next mapping of those at and below
 * @map; past all of them, and false, if that is nowhere. Recursion is as deep as the
 * tree.
 */
static bool room_find(struct uvfio_map *map, struct room *room)
{
	if (!map || map->tree.last < room->pos)
		return false;
	if (map->tree.first >= room->pos) {
		if (room_before(room, map->tree.first))
			return true;
		if (map->tree.hole < room->size) {
			room->pos = map->tree.last + 1;
			return false;
		}
	}
	if (room_find(map_of(map->node.rb_left), room))
		return true;
	if (map->iova >= room->pos && room_before(room, map->iova))
		return true;
	room->pos = max(room->pos, map->last + 1);
	return room_find(map_of(map->node.rb_right), room);
}

/* The lowest IOVA in first .. last that is free and congruent to @vaddr. */
static bool room_between(struct uvfio_domain *domain, u64 first, u64 last,
			 u64 vaddr, u64 size, u64 align, u64 *iova)
{
	struct room room = {
		.pos = first, .size = size, .vaddr = vaddr, .align = align,
	};

	room_find(map_of(domain->maps.rb_node), &room);
	*iova = room_start(&room);
	return room_before(&room, last + 1);
}

static bool room_in_windows(struct uvfio_domain *domain, u64 first, u64 last,
			    u64 vaddr, u64 size, u64 align, u64 *iova)
{
	const struct windows *windows = domain->windows;
	size_t i;

	for (i = 0; i < windows->count; i++) {
		u64 from = max(first, windows->w[i].start);
		u64 to = min(last, windows->w[i].last);

		if (from <= to && room_between(domain, from, to, vaddr, size,
					       align, iova))
			return true;
	}
	return false;
}

/*
 * Where the memory can be large pages of the IOMMU, if there is room so, and out of
 * the way of who can use addresses of 32 bits only. Never at 0, which devices and
 * programs take for no address.
 */
static int map_place(struct uvfio_domain *domain, struct uvfio_map *map,
		     bool below_4g)
{
	static const u64 aligns[] = { SZ_1G, SZ_2M, PAGE_SIZE };
	u64 size = map->last - map->iova + 1, vaddr = map->memory.start, iova;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(aligns); i++) {
		u64 align = aligns[i];

		if (align > size || (align > PAGE_SIZE &&
				     !(domain->iommu->pgsize_bitmap & align)))
			continue;
		if ((!below_4g && room_in_windows(domain, SZ_4G, U64_MAX, vaddr,
						  size, align, &iova)) ||
		    room_in_windows(domain, PAGE_SIZE, SZ_4G - 1, vaddr, size,
				    align, &iova)) {
			map->iova = iova;
			map->last = iova + size - 1;
			return 0;
		}
	}
	return -ENOSPC;
}

static int map_fits(struct uvfio_domain *domain, const struct uvfio_map *map)
{
	if (!IS_ALIGNED(map->iova | (map->last + 1),
			1UL << __ffs(domain->iommu->pgsize_bitmap)))
		return -EINVAL;
	return in_windows(domain->windows, map->iova, map->last) ?
		0 : -EINVAL;
}

/* For one more. */
static int maps_limit(struct uvfio_domain *domain)
{
	if (domain->num_maps < READ_ONCE(dma_entry_limit))
		return 0;
	pr_warn_ratelimited("%s[%d]: a domain has its limit of %u mappings: raise the module parameter dma_entry_limit\n",
			    current->comm, task_pid_nr(current),
			    domain->num_maps);
	return -ENOSPC;
}

unsigned int uvfio_maps_left(struct uvfio_domain *domain)
{
	unsigned int limit = READ_ONCE(dma_entry_limit);

	guard(mutex)(&domain->map_lock);
	return limit > domain->num_maps ? limit - domain->num_maps : 0;
}

/* Pages; of what is being mapped and unmapped just now, those that are there. */
u64 uvfio_maps_pinned(struct uvfio_domain *domain)
{
	struct uvfio_map *map;
	u64 pages = 0;

	guard(mutex)(&domain->map_lock);

	for (map = map_first(domain, 0, U64_MAX); map;
	     map = map_next(map, U64_MAX))
		if (!map->peer)
			pages += READ_ONCE(map->present);
	return pages;
}

/* Whether no mapping is in the way of @windows; map_lock is held. */
bool uvfio_maps_inside(struct uvfio_domain *domain,
		       const struct windows *windows)
{
	struct uvfio_map *map;

	for (map = map_first(domain, 0, U64_MAX); map;
	     map = map_next(map, U64_MAX))
		if (!in_windows(windows, map->iova, map->last))
			return false;
	return true;
}

/*
 * Makes an IOVA range a busy mapping's own: that which it has, or one it is given.
 * -EAGAIN: the process has no space yet.
 */
static int map_reserve(struct uvfio_domain *domain, struct uvfio_map *map,
		       u32 flags)
{
	int ret;

	guard(mutex)(&domain->map_lock);

	if (!map->space)
		map->space = uvfio_space_find(domain);
	if (!map->space)
		return -EAGAIN;

	if (flags & UVFIO_DMA_MAP_ANYWHERE)
		ret = map_place(domain, map, flags & UVFIO_DMA_MAP_BELOW_4G);
	else
		ret = map_fits(domain, map);
	return ret ?: maps_limit(domain) ?: map_insert(domain, map);
}

static void map_unreserve(struct uvfio_domain *domain, struct uvfio_map *map)
{
	guard(mutex)(&domain->map_lock);
	map_erase(domain, map);
}

/* Anyone may take it from here on. */
static void map_publish(struct uvfio_map *map)
{
	/* Pairs with map_is_busy(): it is seen complete. */
	smp_store_release(&map->busy, false);
}

static bool map_is_busy(struct uvfio_map *map)
{
	/* Pairs with map_publish(). */
	return smp_load_acquire(&map->busy);
}

/* Mapping */

/* How map_alloc() finds it and uvfio_map_put() leaves it: clearing it is dear. */
static void map_construct(void *object)
{
	struct uvfio_map *map = object;

	memset(map, 0, sizeof(*map));
	INIT_LIST_HEAD(&map->suspect);
	INIT_LIST_HEAD(&map->peer_link);
}

static struct uvfio_map *map_alloc(struct uvfio_domain *domain)
{
	struct uvfio_map *map = xchg(&domain->spare, NULL) ?:
				kmem_cache_alloc(map_cache, GFP_KERNEL);

	if (!map)
		return NULL;

	refcount_set(&map->users, 1);
	map->busy = true;
	return map;
}

/**
 * uvfio_map_put - drop a reference, with no lock held
 * @domain: held by the caller
 * @map: with the last one it holds nothing and is in no tree
 */
void uvfio_map_put(struct uvfio_domain *domain, struct uvfio_map *map)
{
	if (!refcount_dec_and_test(&map->users))
		return;
	if (map->space)
		uvfio_space_put(map->space);
	if (map->peer)
		put_device(&map->peer->dev);
	map->space = NULL;
	map->peer = NULL;
	map->holey = false;
	map->suspect_start = 0;
	map->suspect_end = 0;
	if (WARN_ON_ONCE(map->present))
		map->present = 0;
	if (cmpxchg(&domain->spare, NULL, map))
		kmem_cache_free(map_cache, map);
}

/* A device is not to be kept busy with taking its BARs back from a crowd. */
static int peer_reserve(struct uvfio_dev *peer)
{
	if (atomic_inc_return(&peer->num_peer_maps) <=
	    READ_ONCE(dma_entry_limit))
		return 0;
	atomic_dec(&peer->num_peer_maps);
	return -ENOSPC;
}

static void peer_add(struct uvfio_dev *peer, struct uvfio_map *map)
{
	lockdep_assert_held(&peer->peer_lock);
	list_add(&map->peer_link, &peer->peer_maps);
}

static void peer_forget(struct uvfio_map *map)
{
	lockdep_assert_held(&map->peer->peer_lock);
	list_del_init(&map->peer_link);
	atomic_dec(&map->peer->num_peer_maps);
}

/* With the BAR held. */
static int map_fill_held(struct uvfio_domain *domain, struct uvfio_map *map,
			 struct uvfio_dev *peer, phys_addr_t phys)
{
	int ret;

	ret = peer_reserve(peer);
	if (ret)
		return ret;

	get_device(&peer->dev);
	map->peer = peer;
	map->prot = (map->prot & ~IOMMU_CACHE) | IOMMU_MMIO;
	ret = uvfio_map_fill_peer(domain, map, phys);
	if (ret) {
		atomic_dec(&peer->num_peer_maps);
		return ret;
	}
	guard(mutex)(&peer->peer_lock);
	peer_add(peer, map);
	return 0;
}

/*
 * A BAR that is mapped at the address can be mapped for other devices. What takes it
 * away, from the process or all, is kept out until the mapping is known for it.
 */
static int map_make_peer(struct uvfio_domain *domain, struct uvfio_map *map)
{
	struct uvfio_dev *peer;
	phys_addr_t phys;
	int ret;

	peer = uvfio_bar_hold(map->memory.start, map_pages(map) << PAGE_SHIFT,
			      map->prot & IOMMU_WRITE, &phys);
	if (IS_ERR(peer))
		return PTR_ERR(peer);

	ret = map_fill_held(domain, map, peer, phys);
	uvfio_bar_unhold(peer);
	return ret;
}

/* With the IOVA range its own: all the rest. */
static int map_make(struct uvfio_domain *domain, struct uvfio_map *map)
{
	int ret, peer_ret;

	uvfio_space_add(map);
	ret = uvfio_map_fill(domain, map);
	/* A BAR is no memory, so nothing is charged for it. */
	if (ret == -EFAULT || ret == -EDQUOT) {
		peer_ret = map_make_peer(domain, map);
		if (peer_ret != -EFAULT)
			ret = peer_ret;
	}
	if (ret) {
		uvfio_space_remove(map);
		return uvfio_charge_refused(ret, map_pages(map) << PAGE_SHIFT);
	}
	uvfio_space_go_live(map);
	return 0;
}

static int map_reserve_bus(struct uvfio_domain *domain, struct uvfio_map *map,
			   u32 flags)
{
	guard(mutex)(&domain->map_lock);

	if (flags & UVFIO_DMA_MAP_BELOW_4G && map->last >= SZ_4G)
		return -EINVAL;
	return maps_limit(domain) ?: map_insert(domain, map);
}

static int map_find_space(struct uvfio_domain *domain, struct uvfio_map *map)
{
	guard(mutex)(&domain->map_lock);
	map->space = uvfio_space_find(domain);
	return map->space ? 0 : -EAGAIN;
}

/*
 * Without an IOMMU, where it is shows when it is pinned. There is nothing to take a
 * page from the device with, so it is pinned until it is unmapped: never live.
 */
static int map_make_bus(struct uvfio_domain *domain, struct uvfio_map *map,
			u32 flags)
{
	int ret;

	if (!(flags & UVFIO_DMA_MAP_ANYWHERE))
		return -EINVAL;
	ret = map_find_space(domain, map);
	if (ret)
		ret = uvfio_space_make(domain) ?: map_find_space(domain, map);
	if (!ret)
		ret = uvfio_map_fill(domain, map);
	if (ret)
		return uvfio_charge_refused(ret, map_pages(map) << PAGE_SHIFT);

	ret = map_reserve_bus(domain, map, flags);
	if (ret) {
		scoped_guard(rwsem_read, &domain->table_rwsem)
			uvfio_map_remove(domain, map, map->iova, map->last);
		return ret;
	}
	uvfio_space_add(map);
	return 0;
}

static int map_make_somewhere(struct uvfio_domain *domain,
			      struct uvfio_map *map, u32 flags)
{
	int ret;

	if (domain_is_bus(domain))
		return map_make_bus(domain, map, flags);
	ret = map_reserve(domain, map, flags);
	if (ret == -EAGAIN)
		ret = uvfio_space_make(domain) ?:
		      map_reserve(domain, map, flags);
	if (ret)
		return ret;
	ret = map_make(domain, map);
	if (ret)
		map_unreserve(domain, map);
	return ret;
}

static int domain_map(struct uvfio_domain *domain,
		      struct vfio_iommu_type1_dma_map *arg)
{
	bool anywhere = arg->flags & UVFIO_DMA_MAP_ANYWHERE;
	struct uvfio_map *map;
	unsigned long vaddr;
	int ret;

	/* Notifiers do not know of tags. */
	vaddr = untagged_addr((unsigned long)arg->vaddr);
	if (!arg->size || !PAGE_ALIGNED(arg->vaddr | arg->iova | arg->size) ||
	    vaddr + arg->size - 1 < vaddr ||
	    arg->iova + arg->size - 1 < arg->iova ||
	    (anywhere && arg->iova))
		return -EINVAL;
	if (!domain_is_usable(domain))
		return -EUNATCH;

	map = map_alloc(domain);
	if (!map)
		return -ENOMEM;

	map->iova = arg->iova;
	map->last = arg->iova + arg->size - 1;
	map->memory.start = vaddr;
	map->memory.last = vaddr + arg->size - 1;
	map->prot = IOMMU_CACHE;
	if (arg->flags & VFIO_DMA_MAP_FLAG_READ)
		map->prot |= IOMMU_READ;
	if (arg->flags & VFIO_DMA_MAP_FLAG_WRITE)
		map->prot |= IOMMU_WRITE;

	ret = map_make_somewhere(domain, map, arg->flags);
	if (ret) {
		uvfio_map_put(domain, map);
		return ret;
	}

	arg->iova = map->iova;
	trace_uvfio_map(domain->id, map->iova, arg->size, arg->vaddr,
			map->prot);
	/* From here on another thread can unmap it. */
	map_publish(map);
	return 0;
}

/**
 * uvfio_domain_map - pin memory of the calling process and map it
 * @domain: held by the caller; no lock is
 * @cmd: the arguments; iova returns where it is
 */
int uvfio_domain_map(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	const u32 access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	const u32 place = UVFIO_DMA_MAP_ANYWHERE | UVFIO_DMA_MAP_BELOW_4G;
	u32 flags = cmd->map.flags;

	if (flags & ~(access | place) || !(flags & access) ||
	    (flags & place) == UVFIO_DMA_MAP_BELOW_4G)
		return -EINVAL;
	cmd->unchanged = !(flags & UVFIO_DMA_MAP_ANYWHERE);
	return domain_map(domain, &cmd->map);
}

/* As type1 has it: the user picks the IOVA. */
int uvfio_domain_map_type1(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	const u32 access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

	if (cmd->map.flags & ~access || !cmd->map.flags)
		return -EINVAL;
	return domain_map(domain, &cmd->map);
}

/* Unmapping */

/* What was taken for one call: busy mappings, and which part of them goes. */
struct taken {
	struct uvfio_map *maps;		/* linked by their next */
	u64 start, last;
	struct uvfio_map *spare;	/* for the rest of one cut in the middle */
};

static bool is_inside(const struct uvfio_map *map, const struct taken *taken)
{
	return map->iova >= taken->start && map->last <= taken->last;
}

static bool is_split(const struct uvfio_map *map, const struct taken *taken)
{
	return map->iova < taken->start && map->last > taken->last;
}

/* Whether a mapping may be taken that is not all inside. */
static int cut_check(struct uvfio_domain *domain, const struct uvfio_map *map,
		     const struct taken *taken, bool cut)
{
	int ret;

	if (!cut)
		return -EINVAL;
	if (!is_split(map, taken))
		return 0;
	if (!taken->spare)
		return -EAGAIN;
	ret = maps_limit(domain);
	return !ret && map->peer ? peer_reserve(map->peer) : ret;
}

/*
 * Makes busy all mappings that have something of the range, or none. -EINVAL: that
 * would cut one; -EAGAIN: it takes a spare.
 */
static int maps_take(struct uvfio_domain *domain, struct taken *taken, bool cut)
{
	struct uvfio_map **end = &taken->maps, *map;
	int ret = 0;

	guard(mutex)(&domain->map_lock);

	for (map = map_first(domain, taken->start, taken->last); map;
	     map = map_next(map, taken->last)) {
		if (map_is_busy(map))
			continue;
		if (!is_inside(map, taken))
			ret = cut_check(domain, map, taken, cut);
		if (ret)
			break;
		/* The rest gets its place among those that count. */
		if (is_split(map, taken))
			domain->num_maps++;
		map->busy = true;
		*end = map;
		end = &map->next;
	}
	*end = NULL;
	if (!ret)
		return 0;

	for (map = taken->maps; map; map = map->next)
		map->busy = false;
	return ret;
}

/* Empties a busy mapping; its IOVA range stays reserved. */
static void map_empty(struct uvfio_domain *domain, struct uvfio_map *map)
{
	uvfio_space_remove(map);
	map_lock_peer(map);
	scoped_guard(rwsem_read, &domain->table_rwsem)
		uvfio_map_remove(domain, map, map->iova, map->last);
	if (map->peer && !list_empty(&map->peer_link))
		peer_forget(map);
	map_unlock_peer(map);
}

/* The part of @map above @last, for the spare mapping; what is below is out. */
static void rest_init(struct uvfio_domain *domain, struct uvfio_map *rest,
		      struct uvfio_map *map, u64 first, u64 last)
{
	rest->iova = last + 1;
	rest->last = map->last;
	rest->prot = map->prot;
	rest->holey = true;
	rest->space = map->space;
	refcount_inc(&rest->space->users);
	if (map->present == map_pages(map) - ((last - first + 1) >> PAGE_SHIFT))
		rest->present = map_pages(rest);
	else
		rest->present = uvfio_map_present(domain, map, rest->iova,
						  rest->last);
	map->present -= rest->present;
	if (!map->peer)
		return;

	rest->peer = map->peer;
	get_device(&rest->peer->dev);
	/* Its place there is reserved. */
	if (list_empty(&map->peer_link))
		atomic_dec(&rest->peer->num_peer_maps);
	else
		peer_add(rest->peer, rest);
}

/* Leaves to @map, and to @rest if there is one, what is outside first .. last. */
static void map_trim(struct uvfio_domain *domain, struct uvfio_map *map,
		     struct uvfio_map *rest, u64 first, u64 last)
{
	bool below = map->iova < first;
	u64 start = below ? map->iova : last + 1;
	u64 end = below ? first - 1 : map->last;

	uvfio_space_cut(map, map_address(map, start), map_address(map, end),
			rest, map_address(map, last + 1));

	guard(mutex)(&domain->map_lock);
	map->iova = start;
	map->last = end;
	span_callbacks.propagate(&map->node, NULL);
	if (rest) {
		domain->num_maps--;	/* maps_take() has counted it */
		WARN_ON(map_insert(domain, rest));
	}
}

/*
 * Takes a part out of a busy mapping. What its process does to the memory meanwhile
 * is seen afterwards.
 */
static void map_cut(struct uvfio_domain *domain, struct uvfio_map *map,
		    struct taken *taken)
{
	u64 first = max(map->iova, taken->start);
	u64 last = min(map->last, taken->last);
	struct uvfio_map *rest = NULL;

	if (is_split(map, taken))
		swap(rest, taken->spare);

	uvfio_space_hold(map);
	map_lock_peer(map);
	scoped_guard(rwsem_read, &domain->table_rwsem) {
		uvfio_map_remove_split(domain, map, first, last);
		if (rest)
			rest_init(domain, rest, map, first, last);
	}
	map_trim(domain, map, rest, first, last);
	map_unlock_peer(map);

	uvfio_space_go_live(map);
	if (rest) {
		uvfio_space_go_live(rest);
		map_publish(rest);
	}
	map_publish(map);
}

/* What of cutting can fail: nothing has changed for the user then. */
static int map_cut_prepare(struct uvfio_domain *domain, struct uvfio_map *map,
			   const struct taken *taken)
{
	int ret;

	uvfio_space_hold(map);
	map_lock_peer(map);
	scoped_guard(rwsem_read, &domain->table_rwsem)
		ret = uvfio_map_split(domain, map,
				      max(map->iova, taken->start),
				      min(map->last, taken->last));
	map_unlock_peer(map);
	uvfio_space_go_live(map);
	return ret;
}

static int maps_prepare(struct uvfio_domain *domain, const struct taken *taken)
{
	struct uvfio_map *map;
	int ret = 0;

	for (map = taken->maps; map && !ret; map = map->next)
		if (!is_inside(map, taken))
			ret = map_cut_prepare(domain, map, taken);
	return ret;
}

/* Undoes maps_take(). */
static void maps_give_back(struct uvfio_domain *domain,
			   const struct taken *taken)
{
	struct uvfio_map *map, *next;

	guard(mutex)(&domain->map_lock);

	for (map = taken->maps; map; map = next) {
		next = map->next;
		if (is_split(map, taken)) {
			domain->num_maps--;
			if (map->peer)
				atomic_dec(&map->peer->num_peer_maps);
		}
		map_publish(map);
	}
}

/* Ends what map_empty() has emptied. */
static void maps_end(struct uvfio_domain *domain, struct uvfio_map *maps)
{
	struct uvfio_map *map, *next;

	scoped_guard(mutex, &domain->map_lock)
		for (map = maps; map; map = map->next)
			map_erase(domain, map);
	for (map = maps; map; map = next) {
		next = map->next;
		uvfio_map_put(domain, map);
	}
}

/* Returns the bytes unmapped. */
static u64 maps_remove(struct uvfio_domain *domain, struct taken *taken)
{
	struct uvfio_map *map, *next, *empty = NULL;
	u64 bytes = 0;

	for (map = taken->maps; map; map = next) {
		u64 first = max(map->iova, taken->start);
		u64 last = min(map->last, taken->last);

		next = map->next;
		if (bytes)
			cond_resched();
		bytes += last - first + 1;
		trace_uvfio_unmap(domain->id, first, last - first + 1);
		if (is_inside(map, taken)) {
			map_empty(domain, map);
			map->next = empty;
			empty = map;
		} else {
			map_cut(domain, map, taken);
		}
	}
	if (empty)
		maps_end(domain, empty);
	return bytes;
}

static int domain_unmap(struct uvfio_domain *domain,
			struct vfio_iommu_type1_dma_unmap *arg, bool cut)
{
	struct taken taken = { .start = arg->iova, .last = U64_MAX };
	int ret;

	if (arg->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (arg->flags & VFIO_DMA_UNMAP_FLAG_ALL) {
		if (arg->iova || arg->size)
			return -EINVAL;
	} else {
		taken.last = arg->iova + arg->size - 1;
		if (!arg->size || !PAGE_ALIGNED(arg->iova | arg->size) ||
		    taken.last < arg->iova)
			return -EINVAL;
	}
	if (!domain_is_usable(domain))
		return -EUNATCH;

	ret = maps_take(domain, &taken, cut);
	if (ret == -EAGAIN) {
		taken.spare = map_alloc(domain);
		ret = taken.spare ? maps_take(domain, &taken, cut) : -ENOMEM;
	}
	if (!ret) {
		ret = maps_prepare(domain, &taken);
		if (ret)
			maps_give_back(domain, &taken);
		else
			arg->size = maps_remove(domain, &taken);
	}
	if (taken.spare)
		uvfio_map_put(domain, taken.spare);
	return ret;
}

/**
 * uvfio_domain_unmap - remove mappings, or parts of them
 * @domain: held by the caller; no lock is
 * @cmd: the arguments; size returns what was unmapped
 */
int uvfio_domain_unmap(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	return domain_unmap(domain, &cmd->unmap, true);
}

/* As type1v2 has it: no mapping is cut. */
int uvfio_domain_unmap_type1(struct uvfio_domain *domain, struct uvfio_cmd *cmd)
{
	return domain_unmap(domain, &cmd->unmap, false);
}

/* All mappings of a domain that nobody uses any more. */
void uvfio_maps_free(struct uvfio_domain *domain)
{
	struct uvfio_map *map, *next;

	rbtree_postorder_for_each_entry_safe(map, next, &domain->maps, node) {
		map_empty(domain, map);
		uvfio_map_put(domain, map);
		cond_resched();
	}
	if (domain->spare)
		kmem_cache_free(map_cache, domain->spare);
}

/**
 * uvfio_maps_revoke_peer - take the BARs of a device out of all domains
 * @udev: its mem_rwsem is held for write, so that nobody maps one anew
 */
void uvfio_maps_revoke_peer(struct uvfio_dev *udev)
{
	struct uvfio_map *map, *next;

	guard(mutex)(&udev->peer_lock);
	list_for_each_entry_safe(map, next, &udev->peer_maps, peer_link) {
		struct uvfio_domain *domain = map->space->domain;

		scoped_guard(rwsem_read, &domain->table_rwsem)
			uvfio_map_revoke(domain, map, map->memory.start,
					 map->memory.last + 1);
		peer_forget(map);
	}
}

int uvfio_maps_init(void)
{
	map_cache = kmem_cache_create("uvfio_map", sizeof(struct uvfio_map), 0,
				      SLAB_ACCOUNT, map_construct);
	return map_cache ? 0 : -ENOMEM;
}

void uvfio_maps_exit(void)
{
	kmem_cache_destroy(map_cache);
}
