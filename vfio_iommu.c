// SPDX-License-Identifier: GPL-2.0
/*
 * I/O address spaces: domains and the IOMMU groups attached to them.
 *
 * A domain is empty until the first group attaches; that group's IOMMU gives it
 * its page table, which then stays for the domain's life. A group belongs to one
 * domain or to none: group_list is the register of who owns what, and the IOMMU
 * core (DMA ownership) keeps kernel drivers out meanwhile.
 *
 * A device without an IOMMU, where an administrator lets it be used, is a group by
 * itself. Its domain is on the *bus*: an IOVA is a physical address, and mapping
 * changes nothing for the device but that the memory stays there.
 */
#define pr_fmt(fmt) "uvfio: " fmt

#include <linux/capability.h>
#include <linux/cc_platform.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>
#include <linux/workqueue.h>

#include "iommu.h"
#include "trace.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Hand out devices without interrupt remapping: their user can forge interrupts (default off)");

static bool enable_unsafe_noiommu;
module_param(enable_unsafe_noiommu, bool, 0644);
MODULE_PARM_DESC(enable_unsafe_noiommu,
		 "Let users with CAP_SYS_RAWIO have devices without an IOMMU, which reach all memory; taints the kernel (default off)");

/* An IOMMU group with at least one attached device. */
struct uvfio_group {
	struct list_head link;			/* group_list */
	struct iommu_group *iommu_group;	/* its bound devices hold it, or */
						/* NULL: one without an IOMMU */
	struct uvfio_domain *domain;		/* its attached devices do */
	struct list_head devices;		/* attached ones */
	struct list_head resvs;			/* IOVAs it cannot use */
};

struct attachment {
	struct list_head link;
	struct pci_dev *pdev;			/* bound as long as it is here */
};

static DEFINE_MUTEX(group_lock);	/* group_list and all attachments */
static LIST_HEAD(group_list);
static struct workqueue_struct *free_wq;
static atomic64_t last_id;		/* of domains */

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

static void resvs_free(struct list_head *resvs)
{
	struct iommu_resv_region *resv, *next;

	list_for_each_entry_safe(resv, next, resvs, list)
		kfree(resv);
}

static size_t list_length(struct list_head *head)
{
	struct list_head *entry;
	size_t length = 0;

	list_for_each(entry, head)
		length++;
	return length;
}

static void windows_cut_resvs(struct windows *windows, struct list_head *resvs)
{
	struct iommu_resv_region *resv;

	list_for_each_entry(resv, resvs, list)
		if (resv->length && resv->type != IOMMU_RESV_DIRECT_RELAXABLE)
			windows_cut(windows, resv->start,
				    resv->start + resv->length - 1);
}

/*
 * All addresses but what the domain's groups, and one that is to join them, have
 * reserved: firmware's ranges and the doorbell of interrupts. And but for the last
 * page, so that there is something beyond every mapping.
 */
static struct windows *windows_make(struct uvfio_domain *domain,
				    struct list_head *joining)
{
	struct uvfio_group *group;
	struct windows *windows;
	size_t room = 1 + list_length(joining);

	lockdep_assert_held(&group_lock);

	/* Each cut adds one window at most, and those of windows_end() none. */
	list_for_each_entry(group, &group_list, link)
		if (group->domain == domain)
			room += list_length(&group->resvs);
	/* Not the user's: a limit of theirs would be waited for under a lock. */
	windows = kzalloc(struct_size(windows, w, room), GFP_KERNEL);
	if (!windows)
		return NULL;

	windows->count = 1;
	windows->w[0].last = U64_MAX - PAGE_SIZE;
	list_for_each_entry(group, &group_list, link)
		if (group->domain == domain)
			windows_cut_resvs(windows, &group->resvs);
	windows_cut_resvs(windows, joining);
	return windows;
}

/* Only when it is attached, an IOMMU says which addresses it translates. */
static void windows_end(struct windows *windows,
			const struct iommu_domain *iommu)
{
	u64 start = iommu->geometry.aperture_start;
	u64 end = iommu->geometry.aperture_end;

	if (start)
		windows_cut(windows, 0, start - 1);
	if (end != U64_MAX)
		windows_cut(windows, end + 1, U64_MAX);
}

/* Puts @new in force if no mapping is in the way; returns what was before. */
static struct windows *windows_swap(struct uvfio_domain *domain,
				    struct windows *new)
{
	struct windows *old = domain->windows;

	lockdep_assert_held(&group_lock);
	guard(mutex)(&domain->map_lock);

	if (!uvfio_maps_inside(domain, new))
		return ERR_PTR(-EINVAL);
	domain->windows = new;
	return old;
}

/*
 * A group has left, and with it what it had reserved. What the last one had is still
 * kept free for the next.
 */
static void windows_widen(struct uvfio_domain *domain)
{
	struct uvfio_group *group;
	struct windows *wide;
	LIST_HEAD(nobody);
	bool any = false;

	list_for_each_entry(group, &group_list, link)
		any |= group->domain == domain;
	if (!any)
		return;

	wide = windows_make(domain, &nobody);
	if (!wide)
		return;	/* they stay as narrow as they are */

	windows_end(wide, domain->iommu);
	scoped_guard(mutex, &domain->map_lock)
		swap(domain->windows, wide);
	kfree(wide);
}

/* Domains */

struct uvfio_domain *uvfio_domain_alloc(void)
{
	struct uvfio_domain *domain;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);
	if (!domain)
		return ERR_PTR(-ENOMEM);

	refcount_set(&domain->users, 1);
	domain->id = atomic64_inc_return(&last_id);
	domain->last_table = ULONG_MAX;
	mutex_init(&domain->map_lock);
	init_rwsem(&domain->table_rwsem);
	domain->maps = RB_ROOT;
	INIT_LIST_HEAD(&domain->spaces);
	xa_init_flags(&domain->tables, XA_FLAGS_ACCOUNT);
	return domain;
}

/* Nobody can be mapping or attached: those would hold the domain. */
static void domain_free(struct uvfio_domain *domain)
{
	struct uvfio_space *space, *next;

	uvfio_maps_free(domain);
	list_for_each_entry_safe(space, next, &domain->spaces, link)
		uvfio_space_end(space);
	if (domain->iommu)
		iommu_domain_free(domain->iommu);
	uvfio_uncharge_tables(domain);
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
 * The last one unpins, and waits for what mmu notifiers of its processes do.
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

	if (!domain_is_usable(domain))
		return -EUNATCH;

	avail.avail = uvfio_maps_left(domain);
	ret = uvfio_caps_add(&cmd->caps, base, &avail.header, sizeof(avail));
	if (!ret && !domain_is_bus(domain))
		ret = add_window_cap(&cmd->caps, base, domain);
	if (ret)
		return ret;

	info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info->iova_pgsizes = domain_is_bus(domain) ? PAGE_SIZE :
						     page_sizes(domain->iommu);
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
	case VFIO_NOIOMMU_IOMMU:
		return domain_is_bus(domain);
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

/* A device without an IOMMU is one by itself. */
static struct uvfio_group *group_find(struct iommu_group *iommu_group,
				      struct pci_dev *pdev)
{
	struct uvfio_group *group;

	lockdep_assert_held(&group_lock);
	list_for_each_entry(group, &group_list, link)
		if (group->iommu_group == iommu_group &&
		    (iommu_group ||
		     list_first_entry(&group->devices, struct attachment,
				      link)->pdev == pdev))
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

/* In the first window with room for two pages, not at 0. */
static int page_table_probe(struct uvfio_domain *domain,
			    struct iommu_domain *iommu,
			    const struct windows *windows)
{
	size_t i;
	u64 iova;

	for (i = 0; i < windows->count; i++) {
		iova = max_t(u64, PAGE_ALIGN(windows->w[i].start), PAGE_SIZE);
		if (iova + 2 * PAGE_SIZE - 1 <= windows->w[i].last)
			return uvfio_table_probe(iommu, iova,
						 &domain->one_by_one);
	}
	return -EINVAL;
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

	narrow = windows_make(domain, resvs);
	if (!narrow) {
		ret = -ENOMEM;
		goto err_table;
	}
	if (domain->iommu)
		windows_end(narrow, iommu);
	old = windows_swap(domain, narrow);
	if (IS_ERR(old)) {
		ret = PTR_ERR(old);
		dev_warn_ratelimited(&pdev->dev, "a mapping of the domain lies in a range reserved for this device: unmap it before attaching\n");
		goto err_narrow;
	}
	ret = page_table_attach(domain, iommu, pdev, iommu_group);
	if (ret)
		goto err_swap;

	scoped_guard(mutex, &domain->map_lock)
		windows_end(narrow, iommu);
	/* Until domain->iommu is set, nobody maps anything. */
	ret = domain->iommu ? 0 : page_table_probe(domain, iommu, narrow);
	if (ret)
		goto err_attached;

	kfree(old);
	if (!domain->iommu) {
		domain->coherent = enforce_coherency(iommu);
		/* Pairs with domain_table(). */
		smp_store_release(&domain->iommu, iommu);
	}
	return 0;

err_attached:
	iommu_detach_group(iommu, iommu_group);
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

static void group_free(struct uvfio_group *group)
{
	resvs_free(&group->resvs);
	kfree(group);
}

/* Take a group from the kernel, for the domain. */
static int group_own(struct uvfio_domain *domain, struct pci_dev *pdev,
		     struct iommu_group *iommu_group, struct list_head *resvs)
{
	int ret;

	if (domain->noiommu) {
		dev_warn_ratelimited(&pdev->dev, "the domain is that of devices without an IOMMU: use another /dev/uiommu for it\n");
		return -EINVAL;
	}
	ret = iommu_get_group_resv_regions(iommu_group, resvs);
	if (ret)
		return ret;
	ret = iommu_group_claim_dma_owner(iommu_group, domain);
	if (ret && ret != -ENOMEM) {
		log_culprits(pdev, iommu_group);
		ret = -EBUSY;
	}
	if (ret)
		return ret;
	ret = group_join(domain, pdev, iommu_group, resvs);
	if (ret)
		iommu_group_release_dma_owner(iommu_group);
	return ret;
}

/* Nothing is there to confine the device: the domain only keeps accounts. */
static int bus_join(struct uvfio_domain *domain, struct pci_dev *pdev)
{
	static bool tainted;	/* group_lock */

	lockdep_assert_held(&group_lock);

	if (domain->iommu) {
		dev_warn_ratelimited(&pdev->dev, "it has no IOMMU, and the domain is that of devices with one: use another /dev/uiommu for it\n");
		return -EINVAL;
	}
	WRITE_ONCE(domain->noiommu, true);
	if (!tainted)
		dev_warn(&pdev->dev, "no IOMMU confines it: its user and all like it reach all memory (enable_unsafe_noiommu), which taints the kernel\n");
	tainted = true;
	add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	return 0;
}

/* The first device of a group: make the group the domain's. */
static struct uvfio_group *group_claim(struct uvfio_domain *domain,
				       struct pci_dev *pdev,
				       struct iommu_group *iommu_group)
{
	struct uvfio_group *group;
	int ret;

	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return ERR_PTR(-ENOMEM);

	INIT_LIST_HEAD(&group->devices);
	INIT_LIST_HEAD(&group->resvs);
	group->iommu_group = iommu_group;
	group->domain = domain;
	ret = iommu_group ?
		group_own(domain, pdev, iommu_group, &group->resvs) :
		bus_join(domain, pdev);
	if (ret) {
		group_free(group);
		return ERR_PTR(ret);
	}
	list_add(&group->link, &group_list);
	return group;
}

static int group_attach(struct uvfio_domain *domain, struct pci_dev *pdev,
			struct iommu_group *iommu_group)
{
	struct attachment *attachment = kzalloc(sizeof(*attachment), GFP_KERNEL);
	struct uvfio_group *group;
	int ret = 0;

	if (!attachment)
		return -ENOMEM;
	attachment->pdev = pdev;

	guard(mutex)(&group_lock);

	group = group_find(iommu_group, pdev);
	if (!group) {
		group = group_claim(domain, pdev, iommu_group);
		ret = PTR_ERR_OR_ZERO(group);
	} else if (group->domain != domain) {
		dev_warn_ratelimited(&pdev->dev, "IOMMU group %d belongs to another domain: its devices have to share one /dev/uiommu\n",
				     iommu_group_id(iommu_group));
		ret = -EBUSY;
	}
	if (ret)
		kfree(attachment);
	else
		list_add_tail(&attachment->link, &group->devices);
	return ret;
}

static void group_detach(struct uvfio_domain *domain, struct pci_dev *pdev,
			 struct iommu_group *iommu_group)
{
	struct attachment *attachment, *next;
	struct uvfio_group *group;

	guard(mutex)(&group_lock);

	group = group_find(iommu_group, pdev);
	if (WARN_ON(!group))
		return;

	list_for_each_entry_safe(attachment, next, &group->devices, link)
		if (attachment->pdev == pdev) {
			list_del(&attachment->link);
			kfree(attachment);
		}
	if (!list_empty(&group->devices))
		return;

	list_del(&group->link);
	if (iommu_group) {
		down_write(&domain->table_rwsem);
		iommu_detach_group(domain->iommu, iommu_group);
		up_write(&domain->table_rwsem);
		iommu_group_release_dma_owner(iommu_group);
		windows_widen(domain);
	}
	group_free(group);
}

/* Whether an IOMMU that @pdev has confines it. */
static int check_isolation(struct pci_dev *pdev)
{
	if (!device_iommu_capable(&pdev->dev, IOMMU_CAP_CACHE_COHERENCY)) {
		dev_warn_ratelimited(&pdev->dev, "refused: its DMA is not coherent with the CPU's caches\n");
		return -EINVAL;
	}
	if (!msi_device_has_isolated_msi(&pdev->dev) &&
	    !READ_ONCE(allow_unsafe_interrupts)) {
		dev_warn_ratelimited(&pdev->dev, "refused: no interrupt remapping, so it could forge interrupts; the module parameter allow_unsafe_interrupts=1 accepts that\n");
		return -EPERM;
	}
	return 0;
}

/* Whether memory is for @dev where it is for the CPU, and as it is there. */
static bool bus_is_physical(struct device *dev)
{
	return dev_is_dma_coherent(dev) && !get_dma_ops(dev) &&
	       !dev->dma_range_map && !is_swiotlb_force_bounce(dev) &&
	       !cc_platform_has(CC_ATTR_MEM_ENCRYPT);
}

/* Whether @pdev, which has no IOMMU, can be had all the same. */
static int check_unsafe(struct pci_dev *pdev)
{
	if (!READ_ONCE(enable_unsafe_noiommu)) {
		dev_warn_ratelimited(&pdev->dev, "refused: no IOMMU isolates it; turn it on (firmware setup; on Intel intel_iommu=on), see what its driver logged about this device, or accept by the module parameter enable_unsafe_noiommu=1 that the user reaches all memory\n");
		return -EPERM;
	}
	if (!capable(CAP_SYS_RAWIO)) {
		dev_warn_ratelimited(&pdev->dev, "refused: no IOMMU isolates it, so to attach it takes CAP_SYS_RAWIO\n");
		return -EPERM;
	}
	if (!bus_is_physical(&pdev->dev)) {
		dev_warn_ratelimited(&pdev->dev, "refused: it has no IOMMU, nor does it see memory as the CPU does (memory encryption, an offset, bounce buffers)\n");
		return -EINVAL;
	}
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

	ret = iommu_group ? check_isolation(pdev) : check_unsafe(pdev);
	if (!ret && iommu_group)
		ret = uvfio_charge_refused(uvfio_charge_root(domain),
					   PAGE_SIZE);
	if (!ret)
		ret = group_attach(domain, pdev, iommu_group);
	if (!ret) {
		uvfio_domain_get(domain);
		trace_uvfio_attach(domain->id, pdev);
	}

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

	group_detach(domain, pdev, iommu_group);
	iommu_group_put(iommu_group);
	trace_uvfio_detach(domain->id, pdev);
}

/* What people can see */

static void devices_show(struct seq_file *m, struct uvfio_domain *domain)
{
	struct attachment *attachment;
	struct uvfio_group *group;
	char separator = '\t';

	guard(mutex)(&group_lock);

	seq_puts(m, "devices:");
	list_for_each_entry(group, &group_list, link) {
		if (group->domain != domain)
			continue;
		list_for_each_entry(attachment, &group->devices, link) {
			seq_printf(m, "%c%s", separator,
				   pci_name(attachment->pdev));
			separator = ' ';
		}
	}
	seq_puts(m, separator == '\t' ? "\t\n" : "\n");
}

static void windows_show(struct seq_file *m, struct uvfio_domain *domain)
{
	struct windows *windows = windows_copy(domain);
	size_t i;

	if (IS_ERR(windows))
		return;
	for (i = 0; i < windows->count; i++)
		seq_printf(m, "window:\t%#llx-%#llx\n", windows->w[i].start,
			   windows->w[i].last);
	kfree(windows);
}

/**
 * uvfio_domain_show - what /proc/PID/fdinfo/FD says of a domain
 * @m: where to
 * @domain: held by the caller, no lock is
 */
void uvfio_domain_show(struct seq_file *m, struct uvfio_domain *domain)
{
	seq_printf(m, "domain:\t%llu\n", domain->id);
	seq_printf(m, "iommu:\t%s\n",
		   domain_table(domain) ? "translated" :
		   domain_is_bus(domain) ? "noiommu" : "none");
	devices_show(m, domain);
	seq_printf(m, "mappings:\t%u\n", READ_ONCE(domain->num_maps));
	seq_printf(m, "pinned:\t%llu\n",
		   uvfio_maps_pinned(domain) << PAGE_SHIFT);
	seq_printf(m, "revoked:\t%llu\n",
		   (u64)atomic64_read(&domain->revoked) << PAGE_SHIFT);
	if (domain_table(domain))
		windows_show(m, domain);
}

static ssize_t group_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct uvfio_dev *udev = container_of(dev, struct uvfio_dev, dev);
	struct iommu_group *group = iommu_group_get(&udev->pdev->dev);
	ssize_t len;

	if (!group)
		return sysfs_emit(buf, "none\n");
	len = sysfs_emit(buf, "%d\n", iommu_group_id(group));
	iommu_group_put(group);
	return len;
}
static DEVICE_ATTR_RO(group);

static ssize_t domain_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct uvfio_dev *udev = container_of(dev, struct uvfio_dev, dev);

	guard(rwsem_read)(&udev->mem_rwsem);
	return udev->domain ? sysfs_emit(buf, "%llu\n", udev->domain->id) :
			      sysfs_emit(buf, "none\n");
}
static DEVICE_ATTR_RO(domain);

/* The unit, by the name that it has in /sys/class/iommu. */
static ssize_t iommu_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct uvfio_dev *udev = container_of(dev, struct uvfio_dev, dev);
	struct dev_iommu *iommu = udev->pdev->dev.iommu;

	return sysfs_emit(buf, "%s\n", iommu && iommu->iommu_dev &&
					iommu->iommu_dev->dev ?
			  dev_name(iommu->iommu_dev->dev) : "none");
}
static DEVICE_ATTR_RO(iommu);

static struct attribute *iommu_attrs[] = {
	&dev_attr_group.attr,
	&dev_attr_domain.attr,
	&dev_attr_iommu.attr,
	NULL,
};

const struct attribute_group uvfio_iommu_group = {
	.attrs = iommu_attrs,
};

int uvfio_iommu_init(void)
{
	int ret = -ENOMEM;

	free_wq = alloc_workqueue("uvfio", WQ_UNBOUND, 0);
	if (!free_wq)
		return ret;
	ret = uvfio_maps_init();
	if (ret)
		goto err_wq;
	ret = uvfio_spaces_init();
	if (ret)
		goto err_maps;
	return 0;

err_maps:
	uvfio_maps_exit();
err_wq:
	destroy_workqueue(free_wq);
	return ret;
}

/* What is queued there may queue in the next. */
void uvfio_iommu_exit(void)
{
	uvfio_spaces_exit();
	destroy_workqueue(free_wq);
	uvfio_maps_exit();
}
