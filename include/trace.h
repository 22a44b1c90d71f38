/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints: /sys/kernel/tracing/events/uvfio. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM uvfio

#if !defined(UVFIO_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define UVFIO_TRACE_H

#include <linux/pci.h>
#include <linux/tracepoint.h>

TRACE_EVENT(uvfio_map,
	TP_PROTO(u64 domain, u64 iova, u64 size, u64 vaddr, int prot),
	TP_ARGS(domain, iova, size, vaddr, prot),
	TP_STRUCT__entry(
		__field(u64, domain)
		__field(u64, iova)
		__field(u64, size)
		__field(u64, vaddr)
		__field(int, prot)
	),
	TP_fast_assign(
		__entry->domain = domain;
		__entry->iova = iova;
		__entry->size = size;
		__entry->vaddr = vaddr;
		__entry->prot = prot;
	),
	TP_printk("domain=%llu iova=%#llx size=%#llx vaddr=%#llx prot=%#x",
		  __entry->domain, __entry->iova, __entry->size,
		  __entry->vaddr, __entry->prot)
);

TRACE_EVENT(uvfio_unmap,
	TP_PROTO(u64 domain, u64 iova, u64 size),
	TP_ARGS(domain, iova, size),
	TP_STRUCT__entry(
		__field(u64, domain)
		__field(u64, iova)
		__field(u64, size)
	),
	TP_fast_assign(
		__entry->domain = domain;
		__entry->iova = iova;
		__entry->size = size;
	),
	TP_printk("domain=%llu iova=%#llx size=%#llx",
		  __entry->domain, __entry->iova, __entry->size)
);

TRACE_EVENT(uvfio_revoke,
	TP_PROTO(u64 domain, u64 iova, u64 size, u64 vaddr, u64 pages),
	TP_ARGS(domain, iova, size, vaddr, pages),
	TP_STRUCT__entry(
		__field(u64, domain)
		__field(u64, iova)
		__field(u64, size)
		__field(u64, vaddr)
		__field(u64, pages)
	),
	TP_fast_assign(
		__entry->domain = domain;
		__entry->iova = iova;
		__entry->size = size;
		__entry->vaddr = vaddr;
		__entry->pages = pages;
	),
	TP_printk("domain=%llu iova=%#llx size=%#llx vaddr=%#llx pages=%llu",
		  __entry->domain, __entry->iova, __entry->size,
		  __entry->vaddr, __entry->pages)
);

DECLARE_EVENT_CLASS(uvfio_attachment,
	TP_PROTO(u64 domain, struct pci_dev *pdev),
	TP_ARGS(domain, pdev),
	TP_STRUCT__entry(
		__field(u64, domain)
		__field(int, segment)
		__field(u8, bus)
		__field(u8, devfn)
	),
	TP_fast_assign(
		__entry->domain = domain;
		__entry->segment = pci_domain_nr(pdev->bus);
		__entry->bus = pdev->bus->number;
		__entry->devfn = pdev->devfn;
	),
	TP_printk("domain=%llu device=%04x:%02x:%02x.%d", __entry->domain,
		  __entry->segment, __entry->bus, PCI_SLOT(__entry->devfn),
		  PCI_FUNC(__entry->devfn))
);

DEFINE_EVENT(uvfio_attachment, uvfio_attach,
	TP_PROTO(u64 domain, struct pci_dev *pdev),
	TP_ARGS(domain, pdev)
);

DEFINE_EVENT(uvfio_attachment, uvfio_detach,
	TP_PROTO(u64 domain, struct pci_dev *pdev),
	TP_ARGS(domain, pdev)
);

TRACE_EVENT(uvfio_irq,
	TP_PROTO(const struct uvfio_vector *vector),
	TP_ARGS(vector),
	TP_STRUCT__entry(
		__field(int, segment)
		__field(u8, bus)
		__field(u8, devfn)
		__field(u32, index)
		__field(unsigned int, nr)
		__field(int, irq)
	),
	TP_fast_assign(
		struct pci_dev *pdev = vector->udev->pdev;

		__entry->segment = pci_domain_nr(pdev->bus);
		__entry->bus = pdev->bus->number;
		__entry->devfn = pdev->devfn;
		__entry->index = vector->index;
		__entry->nr = vector->nr;
		__entry->irq = vector->irq;
	),
	TP_printk("device=%04x:%02x:%02x.%d index=%u vector=%u irq=%d",
		  __entry->segment, __entry->bus, PCI_SLOT(__entry->devfn),
		  PCI_FUNC(__entry->devfn), __entry->index, __entry->nr,
		  __entry->irq)
);

#endif /* UVFIO_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
