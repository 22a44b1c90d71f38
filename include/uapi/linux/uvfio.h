/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * uvfio: drive a PCI device from an unprivileged process through one fd.
 *
 * This header adds to <linux/vfio.h>, whose ioctls, structs, flags, region and
 * interrupt indices are used on /dev/vfioN as they stand there.
 */
#ifndef _UAPI_LINUX_UVFIO_H
#define _UAPI_LINUX_UVFIO_H

#include <linux/types.h>
#include <linux/ioctl.h>
#include <linux/vfio.h>

/**
 * DOC: The two nodes
 *
 * ``/dev/vfioN`` is one PCI device. It can be open once at a time; dup(), fork()
 * and SCM_RIGHTS share the open device. It answers VFIO_DEVICE_GET_INFO,
 * _GET_REGION_INFO, _GET_IRQ_INFO, _SET_IRQS, _RESET and _IOEVENTFD of
 * <linux/vfio.h> and the UVFIO ioctls below; read(), write() and mmap() reach the
 * regions at the offsets that GET_REGION_INFO reports.
 *
 * ``/dev/uiommu`` is an I/O address space, a *domain*: every open() makes a new,
 * empty one. It answers UVFIO_IOMMU_GET_INFO, UVFIO_MAP_DMA and UVFIO_UNMAP_DMA,
 * and the VFIO container ioctls with their own numbers (VFIO_GET_API_VERSION,
 * VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU, VFIO_IOMMU_GET_INFO, _MAP_DMA,
 * _UNMAP_DMA).
 *
 * A device does nothing for its user before it is attached to a domain: until
 * UVFIO_DOMAIN_SET only the three GET_*INFO calls work.
 */

/**
 * DOC: Argument rule
 *
 * Each struct begins with ``argsz``, which the caller sets to the size of its
 * buffer, then ``flags``. An argsz that does not cover the mandatory members is
 * refused with EINVAL, so are unknown flags; a longer tail is ignored. Results
 * are written as far as argsz reaches.
 */

/**
 * DOC: Errors
 *
 * These hold for every call; what a call adds is listed with it. A call that
 * fails has changed nothing, but for EFAULT where it was to write results back.
 *
 * =======  ==================================================================
 * EBADF    a file descriptor in the argument is not open
 * EBUSY    the device is open elsewhere, is attached already, or its IOMMU
 *          group belongs to another domain or to a kernel driver
 * EEXIST   an IOVA range overlaps a mapping; such an ioeventfd is there already
 * EFAULT   a pointer in the argument, or the memory to map, is not accessible
 * EINTR    a fatal signal arrived during a long call
 * EINVAL   malformed: short argsz, unknown flag, misaligned, out of range
 * EIO      the device cannot be reached: memory or I/O decoding off, in reset
 * ENODEV   the device is gone: unbound or unplugged; only close() is left (also:
 *          there is no such ioeventfd)
 * ENOMEM   RLIMIT_MEMLOCK reached, or out of memory
 * ENOSPC   the limit of mappings of one domain (module parameter
 *          dma_entry_limit) or of ioeventfds of one device (1000) is reached,
 *          or no interrupt vectors are left
 * ENOTTY   the ioctl does not exist on this fd
 * EPERM    it takes an unsafe mode that the administrator did not turn on
 * EUNATCH  no domain attached (UVFIO_DOMAIN_SET comes first)
 * =======  ==================================================================
 */

/*
 * An ioctl type of our own: on one fd the numbers of the type1 calls and those
 * of the device calls of <linux/vfio.h> are the same.
 */
#define UVFIO_TYPE	0xF5

/* Not among the numbers of <linux/vfio.h>. */
#define UVFIO_REGION_INFO_CAP_WC	0xF501

/**
 * struct uvfio_region_info_cap_wc - in the chain of VFIO_DEVICE_GET_REGION_INFO
 * @header: id UVFIO_REGION_INFO_CAP_WC, version 1
 * @offset: where mmap() finds the region as write-combining memory
 *
 * Prefetchable memory BARs have it. What can be mapped at the region's own offset
 * can be mapped at the same distance from this one, and both at a time. read()
 * and write() there are EINVAL.
 *
 * Stores through such a mapping may arrive late, in another order, several as one
 * and after later ones to the uncached mapping, until the CPU's store fence makes
 * them wait (uvfio_wc_flush() in samples/lib).
 */
struct uvfio_region_info_cap_wc {
	struct vfio_info_cap_header header;
	__u64	offset;
};

/**
 * struct uvfio_domain_set - argument of UVFIO_DOMAIN_SET
 * @argsz: size of this struct
 * @flags: must be 0
 * @domain_fd: an open /dev/uiommu, or -1
 *
 * Attaches the device to the domain of @domain_fd, or, with -1, to a new
 * private one that no other device can join and that lives until the device is
 * detached or closed. The mappings of the domain are in force for the device
 * when the call returns. Bus mastering is still off: turn it on in the command
 * register when the device is set up.
 *
 * The IOMMU group is the unit of ownership (Documentation/driver-api/vfio.rst
 * of the kernel): all attached devices of a group share one domain, and no
 * member may be bound to a driver that uses the kernel's DMA API.
 *
 * Errors beyond the common ones: EBADF, @domain_fd is not open; EINVAL, it is
 * not a /dev/uiommu, or the IOMMU does not let a user have this device or
 * cannot share the domain's page table, or a mapping of the domain lies in a
 * range reserved for this device, or its DMA is not cache-coherent; EBUSY, this
 * device is attached already, or its group is owned by another domain or in use
 * by a kernel driver (the kernel log names it); EPERM, the device has no IOMMU,
 * or its interrupts are not isolated by interrupt remapping and the module
 * parameter allow_unsafe_interrupts is off; ENOMEM, the page that a domain with
 * devices costs its user is beyond RLIMIT_MEMLOCK, or out of memory.
 *
 * A device without an IOMMU is attached if the module parameter
 * enable_unsafe_noiommu is on and the caller has CAP_SYS_RAWIO, else EPERM. Nothing
 * confines it, so the kernel is tainted. The domain is for such devices from then
 * on, and for no others (EINVAL, both ways); see UVFIO_MAP_DMA.
 */
struct uvfio_domain_set {
	__u32	argsz;
	__u32	flags;
	__s32	domain_fd;
};

#define UVFIO_DOMAIN_SET	_IO(UVFIO_TYPE, 0)

/**
 * UVFIO_DOMAIN_UNSET - detach the device from its domain; takes no argument
 *
 * Bus mastering is turned off, interrupts are torn down, BAR mappings are
 * revoked (a touch is SIGBUS until a domain is set again), then the device
 * leaves the domain. A private domain dies with all its mappings; a shared one
 * keeps them.
 */
#define UVFIO_DOMAIN_UNSET	_IO(UVFIO_TYPE, 1)

/**
 * UVFIO_IOMMU_GET_INFO - struct vfio_iommu_type1_info, as VFIO_IOMMU_GET_INFO
 *
 * Reports the IOMMU's page sizes (bytes, one bit each) and, as capabilities,
 * VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE (the usable IOVA windows, last byte
 * inclusive) and VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL (mappings left). When the
 * capabilities do not fit in argsz, argsz is set to what is needed,
 * cap_offset to 0, and the call succeeds. Without an IOMMU it is the CPU's page
 * size, and there are no windows.
 */
#define UVFIO_IOMMU_GET_INFO	_IO(UVFIO_TYPE, 2)

/**
 * UVFIO_MAP_DMA - struct vfio_iommu_type1_dma_map, as VFIO_IOMMU_MAP_DMA
 *
 * Pins @size bytes at @vaddr of the calling process and maps them at @iova of
 * the domain, readable by the device with VFIO_DMA_MAP_FLAG_READ, writable with
 * VFIO_DMA_MAP_FLAG_WRITE; one of the two at least. @vaddr, @iova and @size
 * (bytes) are multiples of the smallest page size. The pages count as VmPin of
 * the process and, together with its VmLck, against its RLIMIT_MEMLOCK (not
 * for CAP_IPC_LOCK). Each aligned 2 MiB of IOVA that the domain had no page in
 * before costs its user (uid) one page more, until the domain ends: that is for
 * the page tables. A mapping exists from when the call returns; until then its
 * IOVA range is reserved.
 *
 * With UVFIO_DMA_MAP_ANYWHERE the kernel picks the IOVA, inside the usable windows
 * and never 0, and returns it in @iova, which must be 0 before. It is congruent to
 * @vaddr modulo 1 GiB or 2 MiB, if @size is that much and there is room so, and from
 * 4 GiB up unless only below is room; with UVFIO_DMA_MAP_BELOW_4G all of it is below.
 * Both flags are not for VFIO_IOMMU_MAP_DMA.
 *
 * What the process has no more, the device has no more: after munmap(), mremap(),
 * a mmap() over it, madvise(MADV_DONTNEED) of private memory, a hole punched into or
 * a cut of shared memory, exec and exit exactly those pages are out of reach and
 * unpinned, before the system uses them again. The rest of the mapping works on. (If
 * it was part of a large page of the IOMMU, which has to be split, the device reaches
 * none of that for a moment.) The IOVA range stays reserved until it is unmapped, and
 * what comes to the same address later is not in it. ``revoked`` of fdinfo and the
 * tracepoint uvfio_revoke tell.
 *
 * @vaddr may be where a BAR of an open uvfio device is mapped by mmap(), all of
 * the range in one mapping that is readable or writable as asked for. Then the
 * device reaches that BAR (peer to peer), nothing is pinned or charged but the page
 * tables, and it is revoked when the BAR is: with the mmap(), by memory decoding
 * off, reset, UVFIO_DOMAIN_UNSET, close or unbind of the other device.
 *
 * For devices without an IOMMU the memory has to be physically contiguous, a page or
 * what is in one huge page, and has only one address: UVFIO_DMA_MAP_ANYWHERE is to be
 * given and returns it. @iova is the bus address then, which the device reaches if
 * it can drive so many bits, whatever is mapped. The pages are charged as above and
 * stay pinned until they are unmapped or the domain ends: they are not revoked, and
 * after munmap() or exit belong to nobody. No BAR can be mapped.
 *
 * Errors beyond the common ones: EINVAL, the range wraps or lies outside the
 * usable windows, or, without an IOMMU, the memory is not contiguous, not below 4 GiB
 * as asked for, or the address was to be chosen; EEXIST, it overlaps a mapping (so
 * does memory that is mapped already, without an IOMMU); EIO, the device of a BAR does not
 * decode it; ENOSPC also, the kernel was to pick an IOVA and there is no room, or as
 * many mappings (dma_entry_limit) of that device's BARs are there; ENOMEM, EFAULT,
 * ENOSPC as above. On failure everything pinned and mapped so far is given back,
 * except when the IOVA cannot be returned (EFAULT).
 */
#define UVFIO_MAP_DMA		_IO(UVFIO_TYPE, 3)

/* Flags of UVFIO_MAP_DMA, far from those of <linux/vfio.h>. */
#define UVFIO_DMA_MAP_BELOW_4G	(1U << 30)
#define UVFIO_DMA_MAP_ANYWHERE	(1U << 31)

/**
 * UVFIO_UNMAP_DMA - struct vfio_iommu_type1_dma_unmap, as VFIO_IOMMU_UNMAP_DMA
 *
 * Unmaps @iova .. @iova + @size - 1, or, with VFIO_DMA_UNMAP_FLAG_ALL and both 0,
 * all there is. When the call returns the device cannot reach the pages any more and
 * they are unpinned. @size returns the bytes of mappings removed, with what had been
 * revoked; a range without mappings is no error and returns 0. What another thread
 * is mapping or unmapping at the same time is passed over. Space for a dirty bitmap
 * and the VADDR flag are refused.
 *
 * A mapping that is partly in the range keeps the rest; one that is cut in the middle
 * becomes two. VFIO_IOMMU_UNMAP_DMA refuses both with EINVAL, as type1 does.
 *
 * Errors beyond the common ones: ENOSPC, a mapping would become two and there are as
 * many as allowed already; ENOMEM, to split a large page of the IOMMU. Both leave all
 * as it was.
 */
#define UVFIO_UNMAP_DMA		_IO(UVFIO_TYPE, 4)

/**
 * struct uvfio_irq_affinity - argument of UVFIO_IRQ_SET_AFFINITY
 * @argsz: size of this struct and @cpus
 * @flags: must be 0
 * @index: VFIO_PCI_MSI_IRQ_INDEX or VFIO_PCI_MSIX_IRQ_INDEX
 * @start: the first vector
 * @count: how many, at least one
 * @size: bytes of @cpus, a multiple of 8, at most UVFIO_MAX_CPUS / 8
 * @cpus: a bit for each CPU: CPU n is bit n % 64 of word n / 64
 *
 * Steers vectors, each by itself, to any of these CPUs: which one the kernel picks,
 * ``effective`` in /proc/<pid>/fdinfo tells. All must be CPUs that the calling thread
 * may run on now (sched_getaffinity(2)), and one of them online. If none is any more,
 * the kernel picks another, as the administrator may do, or his irqbalance, with
 * /proc/irq. On x86 a vector that is steered again before it has fired follows with
 * one of its next interrupts, and ``effective`` with it.
 *
 * It holds for this open device until UVFIO_DOMAIN_UNSET or close(), also for
 * vectors that are armed later or again. Vectors that nobody has steered are spread
 * over all CPUs by the kernel, those of the device's NUMA node first. The INTx line
 * cannot be steered, because others may share it.
 *
 * Errors beyond the common ones: EINVAL, not such an index, or the vectors are not
 * there, or @cpus is empty, too long, or has none that is online; EPERM, the calling
 * thread may not run on one of them; ENOSPC, the CPUs have no room for more vectors.
 * On failure all vectors stay where they are.
 */
struct uvfio_irq_affinity {
	__u32	argsz;
	__u32	flags;
	__u32	index;
	__u32	start;
	__u32	count;
	__u32	size;
	__u64	cpus[];
};

#define UVFIO_MAX_CPUS		65536

#define UVFIO_IRQ_SET_AFFINITY	_IO(UVFIO_TYPE, 5)

/**
 * struct uvfio_irq_timer - argument of UVFIO_IRQ_TIMER
 * @argsz: size of this struct
 * @flags: must be 0
 * @period_ns: nanoseconds, UVFIO_TIMER_MIN_NS to UVFIO_TIMER_MAX_NS; 0: stop
 *
 * A tick for devices that have no interrupt and are polled: every @period_ns from
 * this call on, the eventfd of UVFIO_TIMER_IRQ_INDEX is signalled, which
 * VFIO_DEVICE_SET_IRQS connects before or after. Each period is one signal, counted
 * from when the last was due (CLOCK_MONOTONIC), so the sum does not drift; of those
 * that a stalled CPU could not give, it makes up for a thousand at most. Periods
 * without an eventfd are not made up for, nor, so that it harms nobody, are those
 * that were missed because signalling took 5 ms and more: of an eventfd with a great
 * many waiters. UVFIO_DOMAIN_UNSET and close() stop it,
 * a reset of the device does not.
 *
 * Errors beyond the common ones: EINVAL, @period_ns is out of range.
 */
struct uvfio_irq_timer {
	__u32	argsz;
	__u32	flags;
	__aligned_u64 period_ns;
};

#define UVFIO_TIMER_MIN_NS	100000ULL		/* 100 microseconds */
#define UVFIO_TIMER_MAX_NS	86400000000000ULL	/* a day */

/* An interrupt index, after those of <linux/vfio.h>. */
#define UVFIO_TIMER_IRQ_INDEX	VFIO_PCI_NUM_IRQS

#define UVFIO_IRQ_TIMER		_IO(UVFIO_TYPE, 6)

#endif /* _UAPI_LINUX_UVFIO_H */
