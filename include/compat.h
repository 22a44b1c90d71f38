/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The source is written for current kernels. This file, and only this file,
 * gives older ones the names that they lack, as answered by the build-time
 * probes in compat/: no version number, because distributions backport.
 */
#ifndef UVFIO_COMPAT_H
#define UVFIO_COMPAT_H

#include <linux/eventfd.h>
#include <linux/iommu.h>
#include <linux/irqdomain.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/pci.h>

#include "compat-config.h"

#ifdef UVFIO_HAVE_LINUX_UNALIGNED_H
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

#ifndef UVFIO_HAVE_EVENTFD_SIGNAL_CTX
#define eventfd_signal(ctx)	((void)(eventfd_signal)(ctx, 1))
#endif

#ifndef UVFIO_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

#ifndef UVFIO_HAVE_IOMMU_MAP_GFP
#define iommu_map(domain, iova, paddr, size, prot, gfp) \
	((iommu_map)(domain, iova, paddr, size, prot))
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

/*
 * How to pin private memory that a device only reads, so that it sees what the
 * process writes there later.
 */
#ifdef UVFIO_HAVE_GUP_MUST_UNSHARE_FLAGS
#define UVFIO_PIN_READ	(FOLL_LONGTERM | FOLL_WRITE | FOLL_FORCE)
#else
#define UVFIO_PIN_READ	FOLL_LONGTERM
#endif

#endif /* UVFIO_COMPAT_H */
