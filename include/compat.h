/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The source is written for current kernels. This file, and only this file,
 * gives older ones the names that they lack, as answered by the build-time
 * probes in compat/: no version number, because distributions backport.
 */
#ifndef UVFIO_COMPAT_H
#define UVFIO_COMPAT_H

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/iommu.h>
#include <linux/irqbypass.h>
#include <linux/irqdomain.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/sysfs.h>

#include "compat-config.h"

#ifdef UVFIO_HAVE_LINUX_UNALIGNED_H
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

#ifndef UVFIO_HAVE_EVENTFD_SIGNAL_CTX
#define eventfd_signal(ctx)	((void)(eventfd_signal)(ctx, 1))
#endif

#ifndef UVFIO_HAVE_HRTIMER_SETUP
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

#ifndef UVFIO_HAVE_PCI_MSIX_ALLOC_IRQ_AT
/* All MSI-X vectors are allocated when it is enabled. */
struct msi_map {
	int index, virq;
};

static inline bool pci_msix_can_alloc_dyn(struct pci_dev *pdev)
{
	return false;
}

static inline struct msi_map pci_msix_alloc_irq_at(struct pci_dev *pdev,
						   unsigned int index,
						   const void *affinity)
{
	return (struct msi_map){ .index = -EOPNOTSUPP };
}
#endif

#ifndef UVFIO_HAVE_IRQ_BYPASS_EVENTFD
static inline int irq_bypass_register(struct irq_bypass_producer *producer,
				      struct eventfd_ctx *eventfd, int irq)
{
	producer->token = eventfd;
	producer->irq = irq;
	return irq_bypass_register_producer(producer);
}

#define irq_bypass_register_producer irq_bypass_register
#endif

#ifndef UVFIO_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

#ifndef UVFIO_HAVE_IOMMU_MAP_GFP
static inline int iommu_map_gfp(struct iommu_domain *domain, unsigned long iova,
				phys_addr_t paddr, size_t size, int prot,
				gfp_t gfp)
{
	return gfpflags_allow_blocking(gfp) ?
		iommu_map(domain, iova, paddr, size, prot) :
		iommu_map_atomic(domain, iova, paddr, size, prot);
}

#define iommu_map iommu_map_gfp
#endif

#ifndef UVFIO_HAVE_IOMMU_PAGING_DOMAIN_ALLOC
static inline struct iommu_domain *iommu_paging_domain_alloc(struct device *dev)
{
	return iommu_domain_alloc(dev->bus) ?: ERR_PTR(-ENOMEM);
}
#endif

#ifndef UVFIO_HAVE_ISOLATED_MSI
static inline bool msi_device_has_isolated_msi(struct device *dev)
{
	return irq_domain_check_msi_remap() ||
	       device_iommu_capable(dev, IOMMU_CAP_INTR_REMAP);
}
#endif

#ifndef UVFIO_HAVE_VMF_INSERT_PFN_PMD_PLAIN
#include <linux/pfn_t.h>
#define vmf_insert_pfn_pmd(vmf, pfn, write) \
	((vmf_insert_pfn_pmd)(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), write))
#define vmf_insert_pfn_pud(vmf, pfn, write) \
	((vmf_insert_pfn_pud)(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), write))
#endif

/* The place of a page in its file, in the unit of linear_page_index(). */
static inline pgoff_t page_linear_index(struct page *page)
{
	struct folio *folio = page_folio(page);

#ifdef UVFIO_HAVE_LINEAR_HUGEPAGE_INDEX
	/* In files of huge pages these are counted. */
	if (folio_test_hugetlb(folio))
		return folio->index;
#endif
	return folio->index + folio_page_idx(folio, page);
}

/* Gone where there is no memory model left that needs it. */
#ifndef nth_page
#define nth_page(page, n)	((page) + (n))
#endif

static inline unsigned long uvfio_page_flags(const struct page *page)
{
#ifdef UVFIO_HAVE_PAGE_FLAGS_STRUCT
	return READ_ONCE(page->flags.f);
#else
	return READ_ONCE(page->flags);
#endif
}

/* What binary attributes are where they are used. */
#ifdef UVFIO_HAVE_CONST_BIN_ATTRIBUTE
#define BIN_ATTRIBUTE_CONST	const
#else
#define BIN_ATTRIBUTE_CONST
#endif

#ifdef UVFIO_HAVE_GUP_MUST_UNSHARE_FLAGS
/* Pages from @addr on that a write of the process would replace. */
static inline int pages_to_unshare(unsigned long addr, int n, struct page *page)
{
	struct vm_area_struct *vma;

	if (PageAnon(page))	/* the kernel does it for these */
		return 0;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	if (!vma || !is_cow_mapping(vma->vm_flags))
		n = 0;
	else
		n = min_t(u64, n, (vma->vm_end - addr) >> PAGE_SHIFT);
	mmap_read_unlock(current->mm);
	return n;
}

/*
 * A long-term pin for reading, which has to see what the process writes there
 * later: the zero page and private file pages are replaced by its own first, by
 * what a write would do.
 */
static inline int pin_user_pages_longterm_read(unsigned long addr, int n,
					       struct page **pages)
{
	int i, pinned, shared = 0;

	pinned = pin_user_pages_fast(addr, n, FOLL_LONGTERM, pages);
	for (i = 0; i < pinned; i++) {
		shared = pages_to_unshare(addr + i * PAGE_SIZE, pinned - i,
					  pages[i]);
		if (shared)
			break;
	}
	if (!shared)
		return pinned;

	unpin_user_pages(pages + i, pinned - i);
	if (i)
		return i;

	pinned = pin_user_pages_fast(addr, shared,
				     FOLL_LONGTERM | FOLL_WRITE | FOLL_FORCE,
				     pages);
	/* hugetlb is not forced, but then the process cannot write either. */
	if (pinned == -EFAULT)
		pinned = pin_user_pages_fast(addr, shared, FOLL_LONGTERM, pages);
	return pinned;
}
#else
static inline int pin_user_pages_longterm_read(unsigned long addr, int n,
					       struct page **pages)
{
	return pin_user_pages_fast(addr, n, FOLL_LONGTERM, pages);
}
#endif

#ifdef UVFIO_HAVE_PIN_USER_PAGES_VMAS
#define get_user_pages_remote(mm, start, n, flags, pages, locked) \
	((get_user_pages_remote)(mm, start, n, flags, pages, NULL, locked))

/*
 * A file system with dirty tracking does not expect writes whenever a device
 * pleases; the kernel does not refuse such pins itself before v6.5.
 */
static inline bool folio_is_of_file_system(struct folio *folio)
{
	return !folio_test_anon(folio) && !folio_test_swapbacked(folio) &&
	       !folio_test_hugetlb(folio) &&
	       !is_zone_device_page(folio_page(folio, 0)) &&
	       READ_ONCE(folio->mapping);
}

/* A small page of anonymous or shared memory, as most are, by one look. */
static inline bool page_is_plain(struct page *page)
{
	const unsigned long plain = BIT(PG_swapbacked);

	return (uvfio_page_flags(page) & (plain | BIT(PG_head))) == plain;
}

/* Of @n contiguous pages pinned for writing. */
static inline bool pages_may_be_written(struct page *page, size_t n)
{
	struct folio *folio;
	size_t done;

	for (; n; n -= done, page += done) {
		done = 1;
		if (page_is_plain(page))
			continue;

		folio = page_folio(page);
		if (folio_is_of_file_system(folio))
			return false;
		done = min_t(size_t, n, folio_nr_pages(folio) -
					folio_page_idx(folio, page));
	}
	return true;
}
#else
static inline bool pages_may_be_written(struct page *page, size_t n)
{
	return true;
}
#endif

#endif /* UVFIO_COMPAT_H */
