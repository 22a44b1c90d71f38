/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thin helper library for user-space drivers on /dev/vfioN.
 *
 * Every function wraps one or two system calls, allocates nothing and keeps no
 * state of its own: mix it freely with direct ioctls. Functions that can fail
 * return 0 (or a descriptor, or a byte count) on success and -errno otherwise.
 */
#ifndef UVFIO_LIB_H
#define UVFIO_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/pci_regs.h>
#include <linux/uvfio.h>

/**
 * uvfio_open - open a device node
 * @path: "/dev/vfio0" and so on
 *
 * Return: a close-on-exec descriptor; -EBUSY when the device is open already.
 */
int uvfio_open(const char *path);

/**
 * uvfio_domain_open - make a new, empty I/O address space (opens /dev/uiommu)
 */
int uvfio_domain_open(void);

/**
 * uvfio_attach - attach a device to a domain
 * @device: from uvfio_open()
 * @domain: from uvfio_domain_open(), or -1 for a private one
 */
int uvfio_attach(int device, int domain);

/** uvfio_detach - undo uvfio_attach() */
int uvfio_detach(int device);

/**
 * uvfio_region - where a region lies on the descriptor and how long it is
 * @device: from uvfio_open()
 * @index: VFIO_PCI_BAR0_REGION_INDEX and so on
 * @info: filled in, without the capability chain
 */
int uvfio_region(int device, unsigned int index, struct vfio_region_info *info);

/**
 * uvfio_region_read - read from a region by system call
 * @device: from uvfio_open()
 * @index: VFIO_PCI_BAR0_REGION_INDEX and so on
 * @offset: from the start of the region, in bytes
 * @buffer: where the bytes go
 * @length: how many
 *
 * Return: 0 when all @length bytes were transferred, -EIO on a short transfer.
 */
int uvfio_region_read(int device, unsigned int index, uint64_t offset,
		      void *buffer, size_t length);

/**
 * uvfio_region_write - write to a region by system call
 * @device: from uvfio_open()
 * @index: VFIO_PCI_BAR0_REGION_INDEX and so on
 * @offset: from the start of the region, in bytes
 * @buffer: where the bytes come from
 * @length: how many
 *
 * Return: 0 when all @length bytes were transferred, -EIO on a short transfer.
 */
int uvfio_region_write(int device, unsigned int index, uint64_t offset,
		       const void *buffer, size_t length);

/* One config register by its offset, in CPU byte order. */
int uvfio_config_read16(int device, unsigned int offset, uint16_t *value);
int uvfio_config_read32(int device, unsigned int offset, uint32_t *value);
int uvfio_config_write16(int device, unsigned int offset, uint16_t value);

/**
 * uvfio_command - set and clear bits of the PCI command register
 * @device: from uvfio_open()
 * @set: bits to set, such as PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER
 * @clear: bits to clear
 */
int uvfio_command(int device, uint16_t set, uint16_t clear);

/**
 * uvfio_bar_map - map part of a memory BAR into the process
 * @device: from uvfio_open()
 * @index: VFIO_PCI_BAR0_REGION_INDEX and so on
 * @offset: from the start of the BAR, page aligned
 * @length: bytes, page aligned
 * @address: where to store the mapping's address; release it with munmap()
 */
int uvfio_bar_map(int device, unsigned int index, uint64_t offset,
		  size_t length, volatile void **address);

/**
 * uvfio_bar_map_wc - map part of a prefetchable BAR as write-combining memory
 * @device: from uvfio_open()
 * @index: VFIO_PCI_BAR0_REGION_INDEX and so on
 * @offset: from the start of the BAR, page aligned
 * @length: bytes, page aligned
 * @address: where to store the mapping's address; release it with munmap()
 *
 * For much data that only goes to the device: stores are collected and sent in
 * bursts. uvfio_wc_flush() ends a burst; reads are slow as ever.
 *
 * Return: -EINVAL also when the BAR cannot be mapped so; uvfio_bar_map() can.
 */
int uvfio_bar_map_wc(int device, unsigned int index, uint64_t offset,
		     size_t length, volatile void **address);

/**
 * uvfio_dma_map - let the device reach memory of this process
 * @fd: a device or a domain
 * @address: page aligned
 * @length: bytes, page aligned
 * @iova: the address that the device is to use, page aligned
 * @flags: VFIO_DMA_MAP_FLAG_READ and/or _WRITE, as seen from the device
 */
int uvfio_dma_map(int fd, void *address, size_t length, uint64_t iova,
		  uint32_t flags);

/**
 * uvfio_dma_map_anywhere - the same, at an address that the kernel picks
 * @fd: a device or a domain
 * @address: page aligned
 * @length: bytes, page aligned
 * @flags: as above; and UVFIO_DMA_MAP_BELOW_4G for a device with 32 address bits
 * @iova: where to store the address that the device is to use, 0 without success
 *
 * Without an IOMMU this is the only way, and the memory has to be physically
 * contiguous: a page, or all in one huge page.
 */
int uvfio_dma_map_anywhere(int fd, void *address, size_t length, uint32_t flags,
			   uint64_t *iova);

/** uvfio_dma_unmap - undo uvfio_dma_map(); return: bytes unmapped or -errno */
int64_t uvfio_dma_unmap(int fd, uint64_t iova, size_t length);

/**
 * uvfio_irq_count - how many vectors the device has in an interrupt mode
 * @device: from uvfio_open()
 * @index: VFIO_PCI_INTX_IRQ_INDEX, _MSI_ or _MSIX_
 *
 * Return: the number, 0 when the device lacks that mode, or -errno.
 */
int uvfio_irq_count(int device, unsigned int index);

/**
 * uvfio_irq_eventfds - connect interrupt vectors to eventfds
 * @device: from uvfio_open()
 * @index: VFIO_PCI_INTX_IRQ_INDEX and so on, or UVFIO_TIMER_IRQ_INDEX
 * @start: the first vector
 * @fds: an eventfd for each vector, -1 to disconnect it
 * @count: how many
 *
 * The first call of a mode enables @start + @count vectors; later calls can
 * change those, but add to them only MSI-X vectors, where the kernel can do that.
 */
int uvfio_irq_eventfds(int device, unsigned int index, unsigned int start,
		       const int *fds, unsigned int count);

/** uvfio_irq_disable - tear an interrupt mode down with all its vectors */
int uvfio_irq_disable(int device, unsigned int index);

/** uvfio_irq_mask - what vectors have to say stays pending, once */
int uvfio_irq_mask(int device, unsigned int index, unsigned int start,
		   unsigned int count);

/** uvfio_irq_unmask - undo uvfio_irq_mask() */
int uvfio_irq_unmask(int device, unsigned int index, unsigned int start,
		     unsigned int count);

/** uvfio_intx_unmask - let the INTx line fire again; it masks itself each time */
int uvfio_intx_unmask(int device);

/** uvfio_irq_trigger - signal eventfds as if the device had interrupted */
int uvfio_irq_trigger(int device, unsigned int index, unsigned int start,
		      unsigned int count);

/**
 * uvfio_irq_affinity - steer vectors to CPUs
 * @device: from uvfio_open()
 * @index: VFIO_PCI_MSI_IRQ_INDEX or VFIO_PCI_MSIX_IRQ_INDEX
 * @start: the first vector
 * @count: how many
 * @cpus: CPUs that the calling thread may run on: CPU n is bit n % 64 of word n / 64
 * @words: how many words, 16 at most
 */
int uvfio_irq_affinity(int device, unsigned int index, unsigned int start,
		       unsigned int count, const uint64_t *cpus,
		       unsigned int words);

/**
 * uvfio_irq_timer - have UVFIO_TIMER_IRQ_INDEX tick
 * @device: from uvfio_open()
 * @period_ns: UVFIO_TIMER_MIN_NS to UVFIO_TIMER_MAX_NS, 0 to stop it
 */
int uvfio_irq_timer(int device, uint64_t period_ns);

/**
 * uvfio_ioeventfd - have a signal on an eventfd write a register
 * @device: from uvfio_open()
 * @index: VFIO_PCI_BAR0_REGION_INDEX and so on
 * @offset: of the register in the BAR
 * @value: what to write
 * @size: how much of it: 1, 2, 4 or 8 bytes, in one access
 * @fd: the eventfd; -1 to end what was begun with the same arguments
 */
int uvfio_ioeventfd(int device, unsigned int index, uint64_t offset,
		    uint64_t value, unsigned int size, int fd);

/** uvfio_reset - reset the device; bus mastering is off afterwards */
int uvfio_reset(int device);

/*
 * Registers in a mapped BAR. The access is one load or store of exactly that
 * width, as devices require; PCI is little-endian, and so is this library.
 */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the register accessors need byte swaps on a big-endian CPU"
#endif

static inline uint32_t uvfio_read32(const volatile void *bar, size_t offset)
{
	const volatile char *reg = (const volatile char *)bar + offset;

	return *(const volatile uint32_t *)reg;
}

static inline void uvfio_write32(volatile void *bar, size_t offset,
				 uint32_t value)
{
	*(volatile uint32_t *)((volatile char *)bar + offset) = value;
}

/*
 * 64-bit registers go low half first, in two accesses: every device takes
 * that, not every one takes a single access of eight bytes.
 */
static inline uint64_t uvfio_read64(const volatile void *bar, size_t offset)
{
	uint64_t low = uvfio_read32(bar, offset);

	return low | (uint64_t)uvfio_read32(bar, offset + 4) << 32;
}

static inline void uvfio_write64(volatile void *bar, size_t offset,
				 uint64_t value)
{
	uvfio_write32(bar, offset, value);
	uvfio_write32(bar, offset + 4, value >> 32);
}

/**
 * uvfio_dma_wmb - what was written to memory is there before what follows
 *
 * Call it between filling a descriptor and writing the register that tells the
 * device to fetch it.
 */
static inline void uvfio_dma_wmb(void)
{
#if defined(__x86_64__) || defined(__i386__)
	/* The CPU keeps the order of stores, the compiler might not. */
	__asm__ __volatile__("" ::: "memory");
#elif defined(__aarch64__)
	__asm__ __volatile__("dmb oshst" ::: "memory");
#else
	__sync_synchronize();
#endif
}

/**
 * uvfio_dma_rmb - what follows reads memory after what was read before
 *
 * Call it between seeing that the device has written something (a phase bit, a
 * sequence number) and reading the data that belongs to it.
 */
static inline void uvfio_dma_rmb(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ __volatile__("" ::: "memory");
#elif defined(__aarch64__)
	__asm__ __volatile__("dmb oshld" ::: "memory");
#else
	__sync_synchronize();
#endif
}

/**
 * uvfio_wc_flush - what was written to a write-combining mapping goes first
 *
 * Call it between filling such a mapping and writing the register that tells the
 * device to look at it.
 */
static inline void uvfio_wc_flush(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ __volatile__("sfence" ::: "memory");
#elif defined(__aarch64__)
	__asm__ __volatile__("dsb st" ::: "memory");
#else
	__sync_synchronize();
#endif
}

#endif /* UVFIO_LIB_H */
