// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI side: probe and remove, what happens to the hardware when a user comes
 * and goes, BARs, reset, revocation.
 *
 * A bound device that nobody uses is quiet: bus mastering off, INTx disabled, the
 * config state of bind time. Attaching to a domain opens it to its user;
 * quiesce() is the way back, for detach, close and remove alike: first the state
 * that every access checks changes and BAR mappings are zapped, both under
 * mem_rwsem, so that from then on only the device itself is left to be stopped.
 */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

static char *ids;
module_param(ids, charp, 0444);
MODULE_PARM_DESC(ids,
		 "Devices to bind at load: vendor:device[:subvendor:subdevice[:class[:mask]]],... (hex)");

/* The command register */

static void command_update(struct uvfio_dev *udev, u16 clear, u16 set)
{
	unsigned long flags;
	u16 command;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	pci_read_config_word(udev->pdev, PCI_COMMAND, &command);
	command = (command & ~clear) | set;
	pci_write_config_word(udev->pdev, PCI_COMMAND, command);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

static u16 command_read(struct uvfio_dev *udev)
{
	u16 command;

	pci_read_config_word(udev->pdev, PCI_COMMAND, &command);
	return command;
}

/*
 * A device that its user made reset itself has forgotten its addresses; it must
 * not come back at others. For whoever is about to turn decoding on; while it is
 * on, nothing was forgotten.
 */
static void bars_restore(struct uvfio_dev *udev)
{
	unsigned int i;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (command_read(udev) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY))
		return;
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		pci_write_config_dword(udev->pdev, PCI_BASE_ADDRESS_0 + 4 * i,
				       udev->bar_regs[i]);
}

/* Memory decoding on, for whoever writes the MSI-X table; returns how it was. */
static u16 decode_on(struct uvfio_dev *udev)
{
	u16 command = command_read(udev);

	bars_restore(udev);
	command_update(udev, 0, PCI_COMMAND_MEMORY);
	return command & PCI_COMMAND_MEMORY;
}

static void decode_as(struct uvfio_dev *udev, u16 before)
{
	if (!before)
		command_update(udev, PCI_COMMAND_MEMORY, 0);
}

/* No PTE of a BAR is left when this returns; mem_rwsem keeps faults away. */
static void bars_zap(struct uvfio_dev *udev)
{
	lockdep_assert_held_write(&udev->mem_rwsem);
	if (udev->mapping)
		unmap_mapping_range(udev->mapping, 0, 0, true);
}

/**
 * uvfio_pci_write_command - the user writes the command register
 * @udev: mem_rwsem for write, past the gate
 * @value: of the bits that a user has
 */
void uvfio_pci_write_command(struct uvfio_dev *udev, u16 value)
{
	const u16 theirs = PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
			   PCI_COMMAND_MASTER;
	unsigned long flags;
	u16 command;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (!(value & PCI_COMMAND_MEMORY))
		bars_zap(udev);

	bars_restore(udev);
	spin_lock_irqsave(&udev->cmd_lock, flags);
	udev->intx_disabled = value & PCI_COMMAND_INTX_DISABLE;
	command = command_read(udev);
	command &= ~(theirs | PCI_COMMAND_INTX_DISABLE);
	command |= value & theirs;
	if (uvfio_intx_disabled(udev))
		command |= PCI_COMMAND_INTX_DISABLE;
	pci_write_config_word(udev->pdev, PCI_COMMAND, command);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/* Reset */

/*
 * The PCI core calls these, with device_lock held, around the resets that keep
 * config state: ours, an admin's through sysfs, a sibling's bus reset.
 */
static void set_in_reset(struct uvfio_dev *udev, bool in_reset)
{
	lockdep_assert_held_write(&udev->mem_rwsem);
	udev->in_reset = in_reset;
	uvfio_intx_update(udev);
}

static void uvfio_pci_reset_prepare(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	guard(rwsem_write)(&udev->mem_rwsem);
	set_in_reset(udev, true);
	bars_zap(udev);
	/* Before the core saves the register: it stays off afterwards. */
	command_update(udev, PCI_COMMAND_MASTER, 0);
}

static void uvfio_pci_reset_done(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	guard(rwsem_write)(&udev->mem_rwsem);
	set_in_reset(udev, false);
}

static const struct pci_error_handlers uvfio_err_handlers = {
	.reset_prepare = uvfio_pci_reset_prepare,
	.reset_done = uvfio_pci_reset_done,
};

/*
 * -ENOTTY: there is no way to reset it, which shows only here when the one way
 * is a reset of a bus with other devices on it. The core also says ENOTTY of a
 * device that does not come back, so it is believed only of one that never could.
 * All else is -EIO, also for a device that was pulled out, which the core would
 * wait for.
 */
static int reset_function(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	int ret;

	device_lock_assert(&pdev->dev);

	if (!pci_device_is_present(pdev))
		return -EIO;

	pci_cfg_access_lock(pdev);
	ret = pci_reset_function_locked(pdev);
	pci_cfg_access_unlock(pdev);
	if (!ret)
		udev->no_reset = false;
	if (!ret || (ret == -ENOTTY && udev->no_reset))
		return ret;

	dev_warn_ratelimited(&pdev->dev, "reset failed (%d): nobody can open it until one succeeds; remove and rescan it, or power it off and on\n",
			     ret);
	return -EIO;
}

/**
 * uvfio_pci_reset - reset the function, keeping its config state
 * @udev: device_lock
 *
 * Bus mastering is off afterwards. -EINVAL: the device has no way to be reset.
 * -EIO: it did not come back from it.
 */
int uvfio_pci_reset(struct uvfio_dev *udev)
{
	int ret = reset_function(udev);

	return ret == -ENOTTY ? -EINVAL : ret;
}

/* Users come and go */

static void pristine_restore(struct uvfio_dev *udev)
{
	pci_load_saved_state(udev->pdev, udev->pristine);
	pci_restore_state(udev->pdev);
}

int uvfio_pci_open(struct uvfio_dev *udev)
{
	int ret;

	device_lock_assert(&udev->pdev->dev);

	if (!udev->dirty)
		return 0;

	/* A second try at what failed on close, restoring included. */
	ret = reset_function(udev);
	if (ret && ret != -ENOTTY)
		return ret;

	pristine_restore(udev);
	udev->dirty = false;
	return 0;
}

/*
 * Takes the device from its user. Whoever may still be at it: a system call or a
 * fault holds mem_rwsem for read, and after the exchange of the domain none gets
 * past the gate; a mapping is zapped; a handler ends in free_irq(); DMA ends with
 * bus mastering, or, what is under way, with the transactions waited for.
 * Returns the domain, still attached.
 */
static struct uvfio_domain *quiesce(struct uvfio_dev *udev)
{
	struct uvfio_domain *domain = udev->domain;
	u16 memory;

	device_lock_assert(&udev->pdev->dev);

	scoped_guard(rwsem_write, &udev->mem_rwsem) {
		udev->domain = NULL;
		bars_zap(udev);
		command_update(udev, PCI_COMMAND_MASTER, 0);
		memory = decode_on(udev);
		uvfio_irqs_disable(udev);
		decode_as(udev, memory);
		udev->intx_disabled = false;	/* no line, nobody reads it */
	}
	if (pci_device_is_present(udev->pdev))
		pci_wait_for_pending_transaction(udev->pdev);
	return domain;
}

/**
 * uvfio_pci_close - the last user of an open device is gone, or has to go
 * @udev: device_lock
 *
 * Return: the domain it was attached to, for the caller to put, or NULL.
 */
struct uvfio_domain *uvfio_pci_close(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	struct uvfio_domain *domain = NULL;

	device_lock_assert(&pdev->dev);

	if (udev->domain)
		domain = quiesce(udev);

	/* Reset with the domain still there: it confines what may be left. */
	if (udev->dirty && reset_function(udev) == 0)
		udev->dirty = false;
	if (domain)
		uvfio_domain_detach(domain, pdev);

	pristine_restore(udev);
	return domain;
}

int uvfio_pci_attach(struct uvfio_dev *udev, struct uvfio_domain *domain)
{
	int ret;

	device_lock_assert(&udev->pdev->dev);

	if (udev->domain)
		return -EBUSY;

	ret = uvfio_domain_attach(domain, udev->pdev);
	if (ret)
		return ret;

	guard(rwsem_write)(&udev->mem_rwsem);
	udev->domain = domain;
	udev->dirty = true;
	return 0;
}

/* Returns the domain, for the caller to put. */
struct uvfio_domain *uvfio_pci_detach(struct uvfio_dev *udev)
{
	struct uvfio_domain *domain = quiesce(udev);

	uvfio_domain_detach(domain, udev->pdev);
	return domain;
}

/* Information */

int uvfio_pci_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_device_info *info = &cmd->device_info;

	info->flags = VFIO_DEVICE_FLAGS_PCI;
	if (!udev->no_reset)
		info->flags |= VFIO_DEVICE_FLAGS_RESET;
	info->num_regions = VFIO_PCI_NUM_REGIONS;
	info->num_irqs = VFIO_PCI_NUM_IRQS;
	return 0;
}

/* The pages of the MSI-X table: first, and the one after the last. */
static u64 msix_page_start(struct uvfio_dev *udev)
{
	return round_down(udev->msix_start, PAGE_SIZE);
}

static u64 msix_page_end(struct uvfio_dev *udev)
{
	return round_up((u64)udev->msix_end, PAGE_SIZE);
}

/* What of the BAR with the MSI-X table can be mapped. */
static int add_sparse_cap(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_region_info_cap_sparse_mmap *cap;
	u64 start = msix_page_start(udev), end = msix_page_end(udev);
	u64 len = udev->bars[udev->msix_bar].len;
	u32 n = 0;
	int ret;

	cap = kzalloc(struct_size(cap, areas, 2), GFP_KERNEL_ACCOUNT);
	if (!cap)
		return -ENOMEM;

	cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	if (start)
		cap->areas[n++].size = start;
	if (end < len) {
		cap->areas[n].offset = end;
		cap->areas[n++].size = len - end;
	}
	cap->nr_areas = n;
	if (n)
		cmd->region_info.flags |= VFIO_REGION_INFO_FLAG_MMAP |
					  VFIO_REGION_INFO_FLAG_CAPS;

	ret = !n ? 0 : uvfio_caps_add(&cmd->caps, sizeof(cmd->region_info), &cap->header,
			     struct_size(cap, areas, n));
	kfree(cap);
	return ret;
}

int uvfio_pci_region_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_region_info *info = &cmd->region_info;
	u32 index = info->index;

	/* There is no VGA region. */
	if (index > VFIO_PCI_CONFIG_REGION_INDEX)
		return -EINVAL;

	info->flags = 0;
	info->size = 0;
	info->offset = UVFIO_REGION_OFFSET(index);

	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		info->size = uvfio_config_size(udev, index);
	else if (index <= VFIO_PCI_BAR5_REGION_INDEX)
		info->size = uvfio_bar_size(udev, index);

	if (info->size)
		info->flags = VFIO_REGION_INFO_FLAG_READ |
			      VFIO_REGION_INFO_FLAG_WRITE;
	if (index > VFIO_PCI_BAR5_REGION_INDEX || !udev->bars[index].mappable)
		return 0;

	if (index == udev->msix_bar)
		return add_sparse_cap(udev, cmd);
	info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	return 0;
}

/* Interrupts */

/* The kernel asks the device anew where the table is; it may answer anything. */
static bool msix_moved(struct uvfio_dev *udev)
{
	u32 table;

	pci_read_config_dword(udev->pdev, udev->pdev->msix_cap + PCI_MSIX_TABLE,
			      &table);
	return table != udev->msix_table ||
	       pci_msix_vec_count(udev->pdev) != udev->num_msix;
}

int uvfio_pci_set_irqs(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	u16 memory;
	int ret;

	guard(rwsem_write)(&udev->mem_rwsem);

	if (cmd->irq_set.index == VFIO_PCI_MSIX_IRQ_INDEX && udev->num_msix &&
	    msix_moved(udev))
		return -EIO;

	memory = decode_on(udev);
	ret = uvfio_irqs_set(udev, &cmd->irq_set, cmd->data);
	decode_as(udev, memory);
	return ret;
}

/* BARs */

u64 uvfio_bar_size(struct uvfio_dev *udev, unsigned int index)
{
	return udev->bars[index].len;
}

/* mem_rwsem held: the answer holds until it is released. */
static bool bar_decodes(struct uvfio_dev *udev, const struct uvfio_bar *bar)
{
	u16 bit = bar->port ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	if (udev->in_reset)
		return false;
	/* A VF has no such bit: it always decodes. */
	return udev->pdev->no_command_memory || (command_read(udev) & bit);
}

/* Made on first use, by whoever is first, and kept: only remove() undoes it. */
static void __iomem *bar_io(struct uvfio_dev *udev, unsigned int index)
{
	struct uvfio_bar *bar = &udev->bars[index];
	void __iomem *io = READ_ONCE(bar->io);

	if (io)
		return io;

	io = pci_iomap(udev->pdev, index, 0);
	if (io && cmpxchg(&bar->io, NULL, io)) {
		pci_iounmap(udev->pdev, io);
		io = READ_ONCE(bar->io);
	}
	return io;
}

/* The widest naturally aligned access at @off of at most @len bytes. */
static size_t access_width(const struct uvfio_bar *bar, u64 off, size_t len)
{
	size_t width = bar->port ? 4 : 8;

	while (width > len || off % width)
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

static vm_fault_t bar_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct uvfio_dev *udev = vma->vm_private_data;
	unsigned int shift = UVFIO_REGION_SHIFT - PAGE_SHIFT;
	unsigned int index = vmf->pgoff >> shift;
	pgoff_t page = vmf->pgoff & (BIT_ULL(shift) - 1);
	const struct uvfio_bar *bar = &udev->bars[index];

	guard(rwsem_read)(&udev->mem_rwsem);

	if (uvfio_gate(udev) || !bar_decodes(udev, bar))
		return VM_FAULT_SIGBUS;
	/* mmap() saw to it; with this the wrong page is not one mistake away. */
	if (WARN_ON_ONCE(page >= PHYS_PFN(bar->len)))
		return VM_FAULT_SIGBUS;

	return vmf_insert_pfn(vma, vmf->address, PHYS_PFN(bar->start) + page);
}

static const struct vm_operations_struct bar_vm_ops = {
	.fault = bar_fault,
};

/*
 * Comes with mmap_lock and mem_rwsem held, past the gate. Nothing is mapped yet:
 * the fault handler does that, page by page, whenever the state allows it. The
 * range is checked here once, and a VM_DONTEXPAND mapping never leaves it.
 */
int uvfio_bar_mmap(struct uvfio_dev *udev, unsigned int index,
		   struct vm_area_struct *vma)
{
	const struct uvfio_bar *bar = &udev->bars[index];
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT, end;

	start -= UVFIO_REGION_OFFSET(index);
	end = start + (vma->vm_end - vma->vm_start);

	if (!bar->mappable || end > bar->len || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (index == udev->msix_bar && start < msix_page_end(udev) &&
	    end > msix_page_start(udev))
		return -EINVAL;

	vma->vm_private_data = udev;
	vma->vm_ops = &bar_vm_ops;
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

static void bars_claim(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct uvfio_bar *bar = &udev->bars[i];
		resource_size_t len = pci_resource_len(pdev, i);
		bool memory = pci_resource_flags(pdev, i) & IORESOURCE_MEM;

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
		bar->port = !memory;
		bar->mappable = memory && PAGE_ALIGNED(bar->start | len);
	}
}

static void bars_release(struct uvfio_dev *udev)
{
	unsigned int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct uvfio_bar *bar = &udev->bars[i];

		if (!bar->len)
			continue;
		if (bar->io)
			pci_iounmap(udev->pdev, bar->io);
		pci_release_region(udev->pdev, i);
	}
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

/* The PCI driver */

/*
 * Hardware that is clean, answers and is quiet, and the state of it that every
 * user is to find. It stays enabled as long as it is bound: enabling turns INTx
 * on for a moment, which a user must not be able to repeat.
 */
static int pristine_save(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;
	int ret;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;

	command_update(udev, PCI_COMMAND_MASTER, PCI_COMMAND_INTX_DISABLE);
	udev->no_reset = true;
	ret = reset_function(udev);
	if (ret == -ENOTTY)
		pci_notice(pdev, "it has no way to be reset: what one user leaves in it, DMA under way too, the next one finds; give it to one user\n");
	else if (ret)
		goto err_disable;

	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		pci_read_config_dword(pdev, PCI_BASE_ADDRESS_0 + 4 * i,
				      &udev->bar_regs[i]);
	pci_save_state(pdev);
	udev->pristine = pci_store_saved_state(pdev);
	if (udev->pristine)
		return 0;

	ret = -ENOMEM;
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void pristine_drop(struct uvfio_dev *udev)
{
	kfree(udev->pristine);
	pci_disable_device(udev->pdev);
}

static void set_gone(struct uvfio_dev *udev, bool gone)
{
	guard(rwsem_write)(&udev->mem_rwsem);
	udev->gone = gone;
}

static int uvfio_pci_probe(struct pci_dev *pdev,
			   const struct pci_device_id *id)
{
	struct uvfio_dev *udev;
	int ret;

	if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL) {
		pci_warn(pdev, "refused: header type %u, and only type 0 functions can be given to a user; bridges stay with the kernel\n",
			 pdev->hdr_type);
		return -EINVAL;
	}

	udev = uvfio_dev_alloc(pdev);
	if (IS_ERR(udev))
		return PTR_ERR(udev);
	pci_set_drvdata(pdev, udev);

	bars_claim(udev);
	msix_locate(udev);
	ret = uvfio_config_init(udev);
	if (ret)
		goto err_bars;
	ret = pristine_save(udev);
	if (ret)
		goto err_config;
	uvfio_irqs_init(udev);
	ret = uvfio_dev_register(udev);
	if (ret)
		goto err_pristine;

	/* An early opener waits for device_lock, which probe() comes with. */
	set_gone(udev, false);
	return 0;

err_pristine:
	pristine_drop(udev);
err_config:
	uvfio_config_free(udev);
err_bars:
	bars_release(udev);
	pci_set_drvdata(pdev, NULL);
	put_device(&udev->dev);
	return ret;
}

/*
 * Never waits for the user: an open file stays open and answers ENODEV. Once
 * @gone is set under mem_rwsem nobody is inside and nobody gets in again, and
 * what only they used can go.
 */
static void uvfio_pci_remove(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	uvfio_dev_unregister(udev);
	set_gone(udev, true);
	if (udev->opened)
		uvfio_domain_put_deferred(uvfio_pci_close(udev));

	pristine_drop(udev);
	uvfio_config_free(udev);
	bars_release(udev);
	pci_set_drvdata(pdev, NULL);
	put_device(&udev->dev);
}

static struct pci_driver uvfio_pci_driver = {
	.name = "uvfio",
	.id_table = NULL,	/* driver_override, new_id or the ids parameter */
	.probe = uvfio_pci_probe,
	.remove = uvfio_pci_remove,
	.err_handler = &uvfio_err_handlers,
	.driver_managed_dma = true,
};

static int add_id(char *id)
{
	unsigned int vendor, device, subvendor = PCI_ANY_ID;
	unsigned int subdevice = PCI_ANY_ID, class = 0, class_mask = 0;
	int fields;

	fields = sscanf(id, "%x:%x:%x:%x:%x:%x", &vendor, &device, &subvendor,
			&subdevice, &class, &class_mask);
	if (fields < 2)
		return -EINVAL;

	return pci_add_dynid(&uvfio_pci_driver, vendor, device, subvendor,
			     subdevice, class, class_mask, 0);
}

static int add_ids(void)
{
	char *list, *rest, *id;
	int ret = 0;

	if (!ids || !*ids)
		return 0;

	list = kstrdup(ids, GFP_KERNEL);
	if (!list)
		return -ENOMEM;

	rest = list;
	while (!ret && (id = strsep(&rest, ",")))
		if (*id)
			ret = add_id(id);
	if (ret)
		pr_err("uvfio: ids=%s: \"%s\" is not vendor:device[:subvendor:subdevice[:class[:mask]]] in hex\n",
		       ids, id);
	kfree(list);
	return ret;
}

int uvfio_pci_register_driver(void)
{
	int ret;

	ret = pci_register_driver(&uvfio_pci_driver);
	if (ret)
		return ret;

	ret = add_ids();
	if (ret)
		pci_unregister_driver(&uvfio_pci_driver);
	return ret;
}

void uvfio_pci_unregister_driver(void)
{
	pci_unregister_driver(&uvfio_pci_driver);
}
