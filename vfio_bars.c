// SPDX-License-Identifier: GPL-2.0
/*
 * BARs: what of them a user has, read(), write() and mmap() of it. The expansion
 * ROM is one more of them, for read() alone.
 *
 * Whoever reaches a BAR holds mem_rwsem for read, and looks at the state first:
 * decoding off, reset and revocation all change it under mem_rwsem for write and
 * zap the mappings there, so nothing reaches a device that would not answer.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

/* Information */

u64 uvfio_bar_size(struct uvfio_dev *udev, unsigned int index)
{
	return udev->bars[index].len;
}

/* How much of it can be mapped, to the end of its last page. */
static u64 bar_map_len(const struct uvfio_bar *bar)
{
	return bar->mappable ? PAGE_ALIGN(bar->len) : 0;
}

/* The pages of the MSI-X table: first, and the one after the last. */
static u64 msix_page_start(struct uvfio_dev *udev)
{
	return round_down(udev->msix_start, PAGE_SIZE);
}

static u64 msix_page_end(struct uvfio_dev *udev)
{
	return round_up(udev->msix_end, PAGE_SIZE);
}

/*
 * What of the BAR with the MSI-X table can be mapped; returns whether there is
 * anything.
 */
static int add_sparse_cap(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	u64 start = msix_page_start(udev), end = msix_page_end(udev);
	u64 len = bar_map_len(&udev->bars[udev->msix_bar]);
	union {
		struct vfio_region_info_cap_sparse_mmap cap;
		u8 room[offsetof(struct vfio_region_info_cap_sparse_mmap,
				 areas[2])];
	} sparse = {};
	u32 n = 0;
	int ret;

	if (start)
		sparse.cap.areas[n++].size = start;
	if (end < len) {
		sparse.cap.areas[n].offset = end;
		sparse.cap.areas[n++].size = len - end;
	}
	if (!n)
		return 0;

	sparse.cap.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	sparse.cap.header.version = 1;
	sparse.cap.nr_areas = n;
	ret = uvfio_caps_add(&cmd->caps, sizeof(cmd->region_info),
			     &sparse.cap.header,
			     struct_size(&sparse.cap, areas, n));
	return ret ?: 1;
}

static int add_wc_cap(struct uvfio_cmd *cmd, unsigned int bar)
{
	struct uvfio_region_info_cap_wc wc = {
		.header.id = UVFIO_REGION_INFO_CAP_WC,
		.header.version = 1,
		.offset = UVFIO_REGION_OFFSET(UVFIO_WC_REGION(bar)),
	};

	return uvfio_caps_add(&cmd->caps, sizeof(cmd->region_info), &wc.header,
			      sizeof(wc));
}

/* What is to be said of mmap() of a BAR. */
static int bar_map_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd,
			unsigned int bar)
{
	int ret = udev->bars[bar].mappable;

	if (ret && bar == udev->msix_bar)
		ret = add_sparse_cap(udev, cmd);
	if (ret <= 0)
		return ret;

	cmd->region_info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
	ret = udev->bars[bar].prefetchable ? add_wc_cap(cmd, bar) : 0;
	if (cmd->caps.size)
		cmd->region_info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	return ret;
}

int uvfio_region_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_region_info *info = &cmd->region_info;
	u32 index = info->index;

	/* There is no VGA region. */
	if (index > VFIO_PCI_CONFIG_REGION_INDEX)
		return -EINVAL;

	info->flags = 0;
	info->size = udev->region_size[index];
	info->offset = UVFIO_REGION_OFFSET(index);

	if (info->size)
		info->flags = VFIO_REGION_INFO_FLAG_READ;
	if (info->size && index != VFIO_PCI_ROM_REGION_INDEX)
		info->flags |= VFIO_REGION_INFO_FLAG_WRITE;
	return index <= VFIO_PCI_BAR5_REGION_INDEX ?
		bar_map_info(udev, cmd, index) : 0;
}

/* read() and write() */

/* mem_rwsem held: the answer holds until it is released. */
static bool bar_decodes(struct uvfio_dev *udev, const struct uvfio_bar *bar)
{
	u16 bit = bar->port ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	return udev->decodes & bit;
}

/* Made on first use, by whoever is first, and kept: only remove() undoes it. */
static void __iomem *bar_io(struct uvfio_dev *udev, unsigned int index)
{
	struct uvfio_bar *bar = &udev->bars[index];
	void __iomem *io = READ_ONCE(bar->io);

	if (io)
		return io;

	/* pci_iomap() is for BARs only. */
	io = index == PCI_ROM_RESOURCE ? ioremap(bar->start, bar->len) :
					 pci_iomap(udev->pdev, index, 0);
	if (io && cmpxchg(&bar->io, NULL, io)) {
		pci_iounmap(udev->pdev, io);
		io = READ_ONCE(bar->io);
	}
	return io;
}

/* The widest naturally aligned access at @off of at most @len bytes. */
static size_t access_width(const struct uvfio_bar *bar, u64 off, size_t len)
{
	size_t width = bar->width;

	while (width > len || off & (width - 1))
		width /= 2;
	return width;
}

static bool in_msix_table(struct uvfio_dev *udev, unsigned int index, u64 off)
{
	return index == udev->msix_bar && off >= udev->msix_start &&
	       off < udev->msix_end;
}

int uvfio_bar_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		   void *buf, size_t len)
{
	const struct uvfio_bar *bar = &udev->bars[index];
	void __iomem *io = bar_io(udev, index);
	size_t width;

	lockdep_assert_held(&udev->mem_rwsem);

	if (!io)
		return -ENOMEM;
	if (!bar_decodes(udev, bar))
		return -EIO;

	for (; len; off += width, buf += width, len -= width) {
		width = access_width(bar, off, len);
		if (in_msix_table(udev, index, off))
			memset(buf, 0xff, width);
		else if (width == 8)
			put_unaligned_le64(readq(io + off), buf);
		else if (width == 4)
			put_unaligned_le32(ioread32(io + off), buf);
		else if (width == 2)
			put_unaligned_le16(ioread16(io + off), buf);
		else
			*(u8 *)buf = ioread8(io + off);
	}
	return 0;
}

int uvfio_bar_write(struct uvfio_dev *udev, unsigned int index, u64 off,
		    const void *buf, size_t len)
{
	const struct uvfio_bar *bar = &udev->bars[index];
	void __iomem *io = bar_io(udev, index);
	size_t width;

	lockdep_assert_held(&udev->mem_rwsem);

	if (!io)
		return -ENOMEM;
	if (!bar_decodes(udev, bar))
		return -EIO;

	for (; len; off += width, buf += width, len -= width) {
		width = access_width(bar, off, len);
		if (in_msix_table(udev, index, off))
			; /* dropped */
		else if (width == 8)
			writeq(get_unaligned_le64(buf), io + off);
		else if (width == 4)
			iowrite32(get_unaligned_le32(buf), io + off);
		else if (width == 2)
			iowrite16(get_unaligned_le16(buf), io + off);
		else
			iowrite8(*(u8 *)buf, io + off);
	}
	return 0;
}

/**
 * uvfio_bar_write_prepare - for one access that is not to sleep
 * @udev: past the gate
 * @index: of the BAR
 * @off: where uvfio_bar_write() will be called to write
 * @len: how much: 1, 2, 4 or 8 bytes
 *
 * Return: -EINVAL where it would not be one access, or one that is dropped.
 */
int uvfio_bar_write_prepare(struct uvfio_dev *udev, unsigned int index, u64 off,
			    size_t len)
{
	const struct uvfio_bar *bar = &udev->bars[index];

	if (off >= bar->len || len > bar->len - off || len > bar->width ||
	    off % len || in_msix_table(udev, index, off))
		return -EINVAL;
	return bar_io(udev, index) ? 0 : -ENOMEM;
}

/* The expansion ROM */

/*
 * A device may have one address decoder for its ROM and a BAR. So nobody may reach
 * a BAR while the ROM answers: whoever touches a mapping waits for mem_rwsem in the
 * fault.
 */
int uvfio_rom_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		   void *buf, size_t len)
{
	int ret;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (!bar_decodes(udev, &udev->bars[index]))
		return -EIO;

	uvfio_bars_zap(udev);
	if (pci_enable_rom(udev->pdev))
		return -EIO;
	ret = uvfio_bar_read(udev, index, off, buf, len);
	pci_disable_rom(udev->pdev);
	return ret;
}

/* It is for reading. */
int uvfio_rom_write(struct uvfio_dev *udev, unsigned int index, u64 off,
		    const void *buf, size_t len)
{
	return -EINVAL;
}

/* mmap() */

/* Which BAR a region shows, and as what. */
static unsigned int region_bar(unsigned int region)
{
	return region % VFIO_PCI_NUM_REGIONS;
}

static bool region_is_wc(unsigned int region)
{
	return region >= VFIO_PCI_NUM_REGIONS;
}

static unsigned int vma_region(const struct vm_area_struct *vma)
{
	return vma->vm_pgoff >> (UVFIO_REGION_SHIFT - PAGE_SHIFT);
}

/*
 * A BAR can be mapped uncached and write-combining at a time, beside what the
 * kernel has mapped for read() and write(). That is sound because nobody has it
 * cached: the kernel's own map of memory is of RAM, and the BAR is claimed. So
 * there is no copy of it in a cache that one of them would hit, only stores that
 * wait in a buffer of their CPU, whose order is the user's to see to. That they
 * may be merged, and reads repeated, is what a prefetchable BAR says of itself.
 */
static pgprot_t region_prot(unsigned int region, pgprot_t prot)
{
	prot = region_is_wc(region) ? pgprot_writecombine(prot) :
				      pgprot_device(prot);
	return pgprot_decrypted(prot);
}

/*
 * A fault maps all it can of the window of the last level of page tables that it
 * is in, so large BARs do not cost a fault for each page, and no call of ours
 * ever touches what another page table maps. Entries are made by hand, because
 * vmf_insert_pfn() takes the table's lock anew for each; what they have to be
 * like is what that makes of a VM_PFNMAP mapping where there is such a thing as
 * a special PTE: one that no page belongs to, whatever its frame number. But for
 * the memory type: here it is the mapping's. On x86 vmf_insert_pfn() replaces it
 * by what the kernel's list of memory types has for the frame, which knows of
 * nothing that is write-combining.
 */
static_assert(IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL));

struct pte_run {
	struct vm_area_struct *vma;
	unsigned long pfn;	/* of the next one */
};

/* One that is there is left alone: there may have been a fault at the same time. */
static int pte_insert(pte_t *pte, unsigned long address, void *data)
{
	struct pte_run *run = data;
	struct vm_area_struct *vma = run->vma;
	unsigned long pfn = run->pfn++;

	if (pte_none(ptep_get(pte)))
		set_pte_at(vma->vm_mm, address, pte,
			   pte_mkspecial(pfn_pte(pfn, vma->vm_page_prot)));
	return 0;
}

/* Whatever the state of the device. */
static unsigned long bar_page(struct vm_area_struct *vma, unsigned long address)
{
	return linear_page_index(vma, address) -
	       PHYS_PFN(UVFIO_REGION_OFFSET(vma_region(vma)));
}

/* The frame of the BAR at @address; not to be used when the range is not in it. */
static bool bar_pfn(struct vm_area_struct *vma, unsigned long address,
		    unsigned long size, unsigned long *pfn)
{
	struct uvfio_dev *udev = vma->vm_private_data;
	unsigned int region = vma_region(vma);
	const struct uvfio_bar *bar = &udev->bars[region_bar(region)];
	unsigned long page = bar_page(vma, address);

	lockdep_assert_held(&udev->mem_rwsem);

	if (uvfio_gate(udev) || !bar_decodes(udev, bar))
		return false;

	*pfn = PHYS_PFN(bar->start) + page;
	/* mmap() saw to it; with this the wrong page is not one mistake away. */
	return !WARN_ON_ONCE(page + PHYS_PFN(size) >
			     PHYS_PFN(bar_map_len(bar)));
}

static vm_fault_t bar_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct uvfio_dev *udev = vma->vm_private_data;
	unsigned long start = max(vmf->address & PMD_MASK, vma->vm_start);
	unsigned long size = pmd_addr_end(start, vma->vm_end) - start;
	struct pte_run run = { .vma = vma };

	guard(rwsem_read)(&udev->mem_rwsem);
	if (!bar_pfn(vma, start, size, &run.pfn))
		return VM_FAULT_SIGBUS;

	guard(mutex)(&udev->fault_lock);
	if (pmd_leaf(READ_ONCE(*vmf->pmd)))
		return VM_FAULT_NOPAGE;
	return apply_to_page_range(vma->vm_mm, start, size, pte_insert, &run) ?
		VM_FAULT_OOM : VM_FAULT_NOPAGE;
}

#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
/*
 * For no entry yet, and for one that is write-protected and is to become writable.
 * Where there is a table, small pages serve the fault. The core warns when it is to
 * make an entry writable and finds no large page, so it is asked to only where one
 * was seen: what takes it away would need mmap_lock or mem_rwsem for write.
 */
static vm_fault_t pmd_insert(struct vm_fault *vmf, unsigned long pfn)
{
	pmd_t old = READ_ONCE(*vmf->pmd);

	if (pmd_none(old))
		return vmf_insert_pfn_pmd(vmf, pfn, false);
	return pmd_leaf(old) ?
		vmf_insert_pfn_pmd(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE) :
		VM_FAULT_FALLBACK;
}

/* With mmap_lock, which bar_vma_open() relies on. */
static vm_fault_t pud_insert(struct vm_fault *vmf, unsigned long pfn)
{
	pud_t old = READ_ONCE(*vmf->pud);

	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		vma_end_read(vmf->vma);
		return VM_FAULT_RETRY;
	}
	if (pud_none(old))
		return vmf_insert_pfn_pud(vmf, pfn, false);
	return pud_leaf(old) ?
		vmf_insert_pfn_pud(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE) :
		VM_FAULT_FALLBACK;
}

static vm_fault_t bar_insert_huge(struct vm_fault *vmf, unsigned int order,
				  unsigned long pfn)
{
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) && order == PMD_ORDER)
		return pmd_insert(vmf, pfn);
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP) && order == PUD_ORDER)
		return pud_insert(vmf, pfn);
	return VM_FAULT_FALLBACK;
}

/* The core gives a large page the type that it finds in that list. */
static vm_fault_t bar_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct uvfio_dev *udev = vma->vm_private_data;
	unsigned long size = PAGE_SIZE << order, pfn;
	unsigned long start = ALIGN_DOWN(vmf->address, size);

	if (start < vma->vm_start || size > vma->vm_end - start ||
	    region_is_wc(vma_region(vma)))
		return VM_FAULT_FALLBACK;

	guard(rwsem_read)(&udev->mem_rwsem);
	if (!bar_pfn(vma, start, size, &pfn))
		return VM_FAULT_SIGBUS;
	if (!IS_ALIGNED(pfn, 1UL << order))
		return VM_FAULT_FALLBACK;

	guard(mutex)(&udev->fault_lock);
	return bar_insert_huge(vmf, order, pfn);
}

/*
 * A mapping is about to be split, moved or inherited: mmap_lock is held for write.
 * The core takes an entry for 1 GiB for one of a table then, and follows it into
 * the device (mm_find_pmd() and get_old_pmd(), v6.12). So there is none until that
 * lock is released.
 */
static void bar_vma_open(struct vm_area_struct *vma)
{
	struct uvfio_dev *udev = vma->vm_private_data;
	unsigned int region = vma_region(vma);

	if (udev->bars[region_bar(region)].len >= PUD_SIZE)
		unmap_mapping_range(vma->vm_file->f_mapping,
				    UVFIO_REGION_OFFSET(region),
				    UVFIO_REGION_OFFSET(1), true);
}
#endif

static const struct vm_operations_struct bar_vm_ops = {
	.fault = bar_fault,
#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
	.huge_fault = bar_huge_fault,
	.open = bar_vma_open,
#endif
};

/*
 * Comes with mmap_lock and mem_rwsem held, past the gate. Nothing is mapped yet:
 * the fault handlers do that, whenever the state allows it. The range is checked
 * here once, and a VM_DONTEXPAND mapping never leaves it.
 */
int uvfio_bar_mmap(struct uvfio_dev *udev, unsigned int region,
		   struct vm_area_struct *vma)
{
	unsigned int index = region_bar(region);
	const struct uvfio_bar *bar = &udev->bars[index];
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT, end;

	start -= UVFIO_REGION_OFFSET(region);
	end = start + (vma->vm_end - vma->vm_start);

	if (region_is_wc(region) && !bar->prefetchable)
		return -EINVAL;

	if (end > bar_map_len(bar) || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (index == udev->msix_bar && start < msix_page_end(udev) &&
	    end > msix_page_start(udev))
		return -EINVAL;

	vma->vm_private_data = udev;
	vma->vm_ops = &bar_vm_ops;
	vma->vm_page_prot = region_prot(region, vma->vm_page_prot);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

/*
 * No PTE of a BAR is left when this returns, nor has an IOMMU any of it for another
 * device; mem_rwsem keeps faults and new mappings away.
 */
void uvfio_bars_zap(struct uvfio_dev *udev)
{
	lockdep_assert_held_write(&udev->mem_rwsem);
	if (udev->mapping)
		unmap_mapping_range(udev->mapping, 0, 0, true);
	uvfio_maps_revoke_peer(udev);
}

/* The device whose BAR a mapping of the calling process is of, all of the range. */
static struct uvfio_dev *bar_of_range(unsigned long vaddr, u64 size, bool write,
				      phys_addr_t *phys)
{
	struct vm_area_struct *vma = vma_lookup(current->mm, vaddr);
	unsigned long need = write ? VM_WRITE : VM_READ, pfn;
	struct uvfio_dev *udev;

	if (!vma || vma->vm_ops != &bar_vm_ops || size > vma->vm_end - vaddr ||
	    !(vma->vm_flags & need))
		return ERR_PTR(-EFAULT);

	udev = vma->vm_private_data;
	down_read(&udev->mem_rwsem);
	if (bar_pfn(vma, vaddr, size, &pfn)) {
		*phys = PFN_PHYS(pfn);
		return udev;
	}
	up_read(&udev->mem_rwsem);
	return ERR_PTR(-EIO);
}

/**
 * uvfio_bar_hold - find the BAR that the calling process has mapped, and hold it
 * @vaddr: where
 * @size: bytes, all in one mapping
 * @write: it has to be writable there; else readable
 * @phys: returns where the device decodes it
 *
 * It stays what it is, for the process and in itself, until uvfio_bar_unhold().
 * mmap_lock and mem_rwsem are held meanwhile, both for read.
 *
 * Return: the device, or an ERR_PTR(): -EFAULT, there is no such mapping; -EIO, the
 * device does not decode it.
 */
struct uvfio_dev *uvfio_bar_hold(unsigned long vaddr, u64 size, bool write,
				 phys_addr_t *phys)
{
	struct uvfio_dev *udev;

	mmap_read_lock(current->mm);
	udev = bar_of_range(vaddr, size, write, phys);
	if (IS_ERR(udev))
		mmap_read_unlock(current->mm);
	return udev;
}

void uvfio_bar_unhold(struct uvfio_dev *udev)
{
	up_read(&udev->mem_rwsem);
	mmap_read_unlock(current->mm);
}

/**
 * uvfio_bar_is_at - whether a process has a page of a BAR in its memory map
 * @udev: the device
 * @vma: of the process, whose mmap_lock is held
 * @address: in it
 * @phys: the page
 */
bool uvfio_bar_is_at(struct uvfio_dev *udev, struct vm_area_struct *vma,
		     unsigned long address, phys_addr_t phys)
{
	const struct uvfio_bar *bar;

	if (vma->vm_ops != &bar_vm_ops || vma->vm_private_data != udev)
		return false;
	bar = &udev->bars[region_bar(vma_region(vma))];
	return PHYS_PFN(bar->start) + bar_page(vma, address) == PHYS_PFN(phys);
}

/* Claiming */

/*
 * Whether no page of the BAR has anything else on it, now or later. If it ends
 * inside of a page, it takes claiming the rest: whatever is there already, and may
 * be another device, makes that fail, and nothing is placed there afterwards.
 */
static bool bar_own_pages(struct uvfio_bar *bar, const struct resource *res)
{
	resource_size_t end = res->end + 1;

	if (!PAGE_ALIGNED(res->start))
		return false;
	if (PAGE_ALIGNED(end))
		return true;

	bar->rest.name = "uvfio";
	bar->rest.flags = IORESOURCE_MEM | IORESOURCE_BUSY;
	bar->rest.start = end;
	bar->rest.end = PAGE_ALIGN(end) - 1;
	return res->parent && !request_resource(res->parent, &bar->rest);
}

static void bars_request(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct uvfio_bar *bar = &udev->bars[i];
		resource_size_t len = pci_resource_len(pdev, i);
		unsigned long flags = pci_resource_flags(pdev, i);

		if (!len || !pci_resource_start(pdev, i))
			continue;
		if (len > UVFIO_REGION_OFFSET(1)) {
			/* Its end would be at the next region's offsets. */
			pci_warn(pdev, "BAR %u is too large (%pa bytes): its user will not have it\n",
				 i, &len);
			continue;
		}
		if (pci_request_region(pdev, i, "uvfio")) {
			pci_warn(pdev, "BAR %u is in use (see /proc/iomem): its user will not have it\n",
				 i);
			continue;
		}
		bar->start = pci_resource_start(pdev, i);
		bar->len = len;
		bar->port = !(flags & IORESOURCE_MEM);
		bar->width = bar->port ? 4 : 8;
		bar->prefetchable = flags & IORESOURCE_PREFETCH;
		bar->mappable = !bar->port &&
				bar_own_pages(bar, &pdev->resource[i]);
	}
}

/*
 * A copy of the ROM that firmware has made in memory stands where several devices
 * may have one: what of it is this device's cannot be told.
 */
static const char *rom_request(struct uvfio_dev *udev)
{
	struct resource *res = &udev->pdev->resource[PCI_ROM_RESOURCE];
	struct uvfio_bar *rom = &udev->bars[PCI_ROM_RESOURCE];

	if (res->flags & IORESOURCE_ROM_SHADOW)
		return "is a copy in memory";
	if (!res->parent && pci_assign_resource(udev->pdev, PCI_ROM_RESOURCE))
		return "has no room";
	if (!request_mem_region(res->start, resource_size(res), "uvfio"))
		return "is in use (see /proc/iomem)";

	rom->start = res->start;
	rom->len = resource_size(res);
	rom->width = 4;
	return NULL;
}

static void rom_release(struct uvfio_dev *udev)
{
	struct uvfio_bar *rom = &udev->bars[PCI_ROM_RESOURCE];

	if (!rom->len)
		return;
	if (rom->io)
		iounmap(rom->io);
	release_mem_region(rom->start, rom->len);
}

void uvfio_bars_release(struct uvfio_dev *udev)
{
	unsigned int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct uvfio_bar *bar = &udev->bars[i];

		if (!bar->len)
			continue;
		if (bar->io)
			pci_iounmap(udev->pdev, bar->io);
		if (bar->rest.parent)
			release_resource(&bar->rest);
		pci_release_region(udev->pdev, i);
	}
	rom_release(udev);
}

/*
 * Where the MSI-X table is, which no user may touch. The kernel believes what the
 * device says of it; a table that is not wholly inside one of the device's memory
 * BARs would be somebody else's registers, so there is no MSI-X then.
 */
static void msix_locate(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	u64 start, end;
	u32 table, bar;

	udev->msix_bar = -1;
	if (!pdev->msix_cap)
		return;

	pci_read_config_dword(pdev, pdev->msix_cap + PCI_MSIX_TABLE, &table);
	bar = table & PCI_MSIX_TABLE_BIR;
	start = table & PCI_MSIX_TABLE_OFFSET;
	end = start + pci_msix_vec_count(pdev) * PCI_MSIX_ENTRY_SIZE;
	if (bar >= PCI_STD_NUM_BARS || udev->bars[bar].port ||
	    end > udev->bars[bar].len) {
		pci_warn(pdev, "the MSI-X table is not inside a BAR: no MSI-X for its user\n");
		return;
	}

	udev->msix_table = table;
	udev->msix_bar = bar;
	udev->msix_start = start;
	udev->msix_end = end;
}

/* Claims what the device has of BARs for its user; what is in use is left out. */
void uvfio_bars_claim(struct uvfio_dev *udev)
{
	const char *missing = NULL;

	bars_request(udev);
	msix_locate(udev);
	if (pci_resource_len(udev->pdev, PCI_ROM_RESOURCE))
		missing = rom_request(udev);
	if (missing)
		pci_info(udev->pdev, "the expansion ROM %s: its user will not have it\n",
			 missing);
}
