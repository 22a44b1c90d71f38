// SPDX-License-Identifier: GPL-2.0
/*
 * Config space as its user sees it: reads and writes by the table that
 * vfio_caps.c has laid over the device, and the permits that an administrator
 * adds to it.
 *
 * One look-up tells what a dword is. Bits of it come from hardware or are kept
 * here; a write changes the bits that are the user's and nothing else. What a
 * write asks the kernel to do (decode, reset, change power, read VPD) is handed
 * to the caller, who has the locks for it.
 */
#include <linux/pci.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/xarray.h>

#include "caps.h"
#include "uvfio.h"

/* A change of what the table says of one dword, by the administrator. */
struct permit {
	u32 read, write;		/* as written */
	u32 added_hw, added_write;	/* what the table did not have */
};

static u32 hw_read(void *context, u32 off)
{
	u32 value;

	/*
	 * Not pci_user_read_config_dword(), which waits for the end of a reset
	 * that in turn waits for our lock.
	 */
	pci_read_config_dword(context, off, &value);
	return value;
}

static u32 reg_read(struct uvfio_dev *udev, u32 off)
{
	const struct uvfio_reg *reg = &udev->regs[off / 4];

	if (!reg->hw)
		return reg->value;
	return (hw_read(udev->pdev, off) & reg->hw) | (reg->value & ~reg->hw);
}

/**
 * uvfio_config_command - the command register, as its user sees it
 * @udev: mem_rwsem
 */
u16 uvfio_config_command(struct uvfio_dev *udev)
{
	return reg_read(udev, PCI_COMMAND);
}

u64 uvfio_config_size(struct uvfio_dev *udev, unsigned int index)
{
	return udev->pdev->cfg_size;
}

static void read_part(u32 value, u8 *buf, u32 n)
{
	for (; n; n--, value >>= 8)
		*buf++ = value;
}

int uvfio_config_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		      void *buf, size_t len)
{
	u32 shift = off % 4, n;

	lockdep_assert_held(&udev->mem_rwsem);

	if (shift) {
		n = min_t(size_t, len, 4 - shift);
		read_part(reg_read(udev, off - shift) >> 8 * shift, buf, n);
		off += n;
		buf += n;
		len -= n;
	}
	for (; len >= 4; off += 4, buf += 4, len -= 4)
		put_unaligned_le32(reg_read(udev, off), buf);
	if (len)
		read_part(reg_read(udev, off), buf, len);
	return 0;
}

/* Writing */

/* The bytes that have a bit in @mask, as a mask. */
static u32 touched_bytes(u32 mask)
{
	u32 bytes = 0, i;

	for (i = 0; i < 32; i += 8)
		if (mask & 0xffU << i)
			bytes |= 0xffU << i;
	return bytes;
}

static void hw_write_span(struct pci_dev *pdev, u32 off, u32 bytes, u32 value)
{
	u32 i;

	if (bytes == U32_MAX) {
		pci_write_config_dword(pdev, off, value);
		return;
	}
	for (i = 0; i < 4; i += 2) {
		u16 half = bytes >> (8 * i);

		if (half == U16_MAX)
			pci_write_config_word(pdev, off + i, value >> (8 * i));
		else if (half & 0xff)
			pci_write_config_byte(pdev, off + i, value >> (8 * i));
		else if (half)
			pci_write_config_byte(pdev, off + i + 1,
					      value >> (8 * i + 8));
	}
}

/*
 * Changes the bits of @mask, in as few bytes as have any. What is written beside
 * them is what was read, but never a 1 where that would clear something.
 */
static void hw_write(struct pci_dev *pdev, u32 off, const struct uvfio_reg *reg,
		     u32 mask, u32 value)
{
	u32 bytes = touched_bytes(mask);

	value &= mask;
	if (!value && !(mask & ~reg->w1c))
		return;		/* nothing to clear */
	if (bytes != mask)
		value |= hw_read(pdev, off) & ~mask & ~reg->w1c;
	hw_write_span(pdev, off, bytes, value);
}

static bool flr_capable(struct pci_dev *pdev, u32 off, u8 fn)
{
	u32 cap;

	if (fn == UVFIO_REG_DEVCTL) {
		cap = hw_read(pdev, off - PCI_EXP_DEVCTL + PCI_EXP_DEVCAP);
		return cap & PCI_EXP_DEVCAP_FLR;
	}
	/* Capabilities are in the last byte of the dword before. */
	cap = hw_read(pdev, off - PCI_AF_CTRL) >> 24;
	return cap & PCI_AF_CAP_FLR;
}

/* The kernel may allow less than what was asked for. */
static void set_readrq(struct pci_dev *pdev, u32 value)
{
	int bytes = 128 << ((value & PCI_EXP_DEVCTL_READRQ) >> 12);

	if (bytes <= 4096 && bytes != pcie_get_readrq(pdev))
		pcie_set_readrq(pdev, bytes);
}

/*
 * What a write means beyond the bits that are the user's, which are written: done
 * here, or left to the caller with @arg.
 */
static enum uvfio_config_todo side_effect(struct uvfio_dev *udev, u32 off,
					  u32 mask, u32 value, u32 *arg)
{
	struct uvfio_reg *reg = &udev->regs[off / 4];

	switch (reg->fn) {
	case UVFIO_REG_COMMAND:
		*arg = (reg_read(udev, off) & ~mask) | (value & mask);
		return mask & 0xffff ? UVFIO_CONFIG_COMMAND : UVFIO_CONFIG_DONE;
	case UVFIO_REG_POWER:
		*arg = value & PCI_PM_CTRL_STATE_MASK;
		return mask & PCI_PM_CTRL_STATE_MASK ? UVFIO_CONFIG_POWER :
						       UVFIO_CONFIG_DONE;
	case UVFIO_REG_VPD:
		if (!(mask >> 16))
			return UVFIO_CONFIG_DONE;
		/* The upper byte starts a transaction; see the table on F = 1. */
		reg->value &= ~((u32)PCI_VPD_ADDR_F << 16);
		*arg = reg->value >> 16;
		if (!(mask >> 24) || value >> 16 & PCI_VPD_ADDR_F)
			return UVFIO_CONFIG_DONE;
		return UVFIO_CONFIG_VPD;
	case UVFIO_REG_DEVCTL:
		if (mask & value & PCI_EXP_DEVCTL_BCR_FLR &&
		    flr_capable(udev->pdev, off, reg->fn))
			return UVFIO_CONFIG_RESET;
		if (mask & PCI_EXP_DEVCTL_READRQ)
			set_readrq(udev->pdev, value);
		return UVFIO_CONFIG_DONE;
	case UVFIO_REG_AF:
		if (mask & value & PCI_AF_CTRL_FLR &&
		    flr_capable(udev->pdev, off, reg->fn))
			return UVFIO_CONFIG_RESET;
		return UVFIO_CONFIG_DONE;
	default:
		return UVFIO_CONFIG_DONE;
	}
}

/**
 * uvfio_config_write - a write of at most one dword
 * @udev: mem_rwsem for write, past the gate
 * @off: where
 * @buf: what
 * @len: bytes; they do not reach into the next dword
 * @arg: result: the command register, the power state or the VPD address
 *
 * Return: what the caller has to do for the user, with @arg.
 */
enum uvfio_config_todo uvfio_config_write(struct uvfio_dev *udev, u64 off,
					  const void *buf, size_t len, u32 *arg)
{
	u32 shift = off % 4 * 8, mask = U32_MAX >> (32 - 8 * len) << shift;
	struct uvfio_reg *reg = &udev->regs[off / 4];
	__le32 bytes = 0;
	u32 value;

	lockdep_assert_held_write(&udev->mem_rwsem);

	memcpy(&bytes, buf, len);
	value = le32_to_cpu(bytes) << shift;
	off -= off % 4;

	reg->value = (reg->value & ~(reg->keep & mask)) |
		     (value & reg->keep & mask);
	if (reg->write & mask)
		hw_write(udev->pdev, off, reg, reg->write & mask, value);
	return reg->fn ? side_effect(udev, off, mask, value, arg) :
			 UVFIO_CONFIG_DONE;
}

/* Of a capability that the kernel has found, where config space may not reach. */
static struct uvfio_reg *cap_reg(struct uvfio_dev *udev, u32 pos, u32 off)
{
	if (!pos || pos + off >= udev->pdev->cfg_size)
		return NULL;
	return &udev->regs[(pos + off) / 4];
}

/**
 * uvfio_config_set_power - PMCSR shows the state that the device is in
 * @udev: device_lock
 * @state: what is beyond PCI_D3hot looks like that
 */
void uvfio_config_set_power(struct uvfio_dev *udev, pci_power_t state)
{
	u32 shown = min_t(int, (__force int)state, (__force int)PCI_D3hot);
	struct uvfio_reg *reg = cap_reg(udev, udev->pdev->pm_cap, PCI_PM_CTRL);

	guard(rwsem_write)(&udev->mem_rwsem);
	if (reg && reg->fn == UVFIO_REG_POWER)
		reg->value = (reg->value & ~PCI_PM_CTRL_STATE_MASK) | shown;
}

/**
 * uvfio_config_vpd - carry out a read of Vital Product Data
 * @udev: device_lock, without mem_rwsem: this can take 125 ms. To find out how
 *	long the data are would take the core as long as the device likes.
 * @off: the dword with the address register
 * @addr: what was written there
 *
 * F stays 0, and the transaction is never done, where there is no such data. A
 * device that failed once is not asked again by this user: the core logs it.
 */
void uvfio_config_vpd(struct uvfio_dev *udev, u64 off, u16 addr)
{
	struct uvfio_reg *reg = &udev->regs[off / 4];
	__le32 data;
	ssize_t ret;

	device_lock_assert(&udev->pdev->dev);

	/*
	 * Where the core goes to function 0 instead, that is not ours, and waits
	 * for resets of it that wait for our lock.
	 */
	if (udev->pdev->dev_flags & PCI_DEV_FLAGS_VPD_REF_F0)
		return;
	if (udev->vpd_broken)
		return;
	ret = pci_read_vpd_any(udev->pdev, addr & ~3, sizeof(data), &data);
	if (ret != sizeof(data)) {
		udev->vpd_broken = ret < 0 && ret != -EINTR;
		return;
	}

	guard(rwsem_write)(&udev->mem_rwsem);
	reg[1].value = le32_to_cpu(data);
	reg->value |= (u32)PCI_VPD_ADDR_F << 16;
}

/**
 * uvfio_config_forget - what one user wrote is not for the next
 * @udev: device_lock, nobody past the gate
 */
void uvfio_config_forget(struct uvfio_dev *udev)
{
	u32 i;

	udev->vpd_broken = false;
	guard(rwsem_write)(&udev->mem_rwsem);
	for (i = 0; i < udev->pdev->cfg_size / 4; i++)
		udev->regs[i].value = udev->regs[i].initial;
}

/* Setting up */

static void set_virtual(struct uvfio_reg *reg, u32 value, u32 keep)
{
	reg->initial = value;
	reg->value = value;
	reg->keep = keep;
}

/* The low bits of a BAR, or of its upper half: what it is, read-only. */
static u32 bar_type(const struct resource *res)
{
	u32 type = 0;

	if (res->flags & IORESOURCE_IO)
		return PCI_BASE_ADDRESS_SPACE_IO;
	if (res->flags & IORESOURCE_MEM_64)
		type |= PCI_BASE_ADDRESS_MEM_TYPE_64;
	if (res->flags & IORESOURCE_PREFETCH)
		type |= PCI_BASE_ADDRESS_MEM_PREFETCH;
	return type;
}

/*
 * Sizing writes ones and reads which of them stay: those above the size, which is
 * a power of two in hardware.
 */
static void init_bar(struct uvfio_dev *udev, unsigned int i,
		     struct uvfio_reg *reg, u32 type, u32 writable)
{
	struct resource *res = &udev->pdev->resource[i];
	u64 len = udev->bars[i].len, mask;
	struct pci_bus_region region;

	if (!len)
		return;
	mask = -1ULL << fls64(len - 1);
	pcibios_resource_to_bus(udev->pdev->bus, &region, res);
	set_virtual(&reg[0], lower_32_bits(region.start) | type,
		    lower_32_bits(mask) | writable);
	if (type & PCI_BASE_ADDRESS_MEM_TYPE_64 && i + 1 < PCI_STD_NUM_BARS)
		set_virtual(&reg[1], upper_32_bits(region.start),
			    upper_32_bits(mask));
}

static void init_bars(struct uvfio_dev *udev)
{
	struct uvfio_reg *reg = &udev->regs[PCI_BASE_ADDRESS_0 / 4];
	unsigned int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		init_bar(udev, i, &reg[i], bar_type(&udev->pdev->resource[i]), 0);
	init_bar(udev, PCI_ROM_RESOURCE, &udev->regs[PCI_ROM_ADDRESS / 4], 0,
		 PCI_ROM_ADDRESS_ENABLE);
}

/* What the kernel knows better than the device's own config space. */
static void init_header(struct uvfio_dev *udev)
{
	const u32 pin = 0xffU << (PCI_INTERRUPT_PIN % 4 * 8);
	struct pci_dev *pdev = udev->pdev;
	struct uvfio_reg *reg = udev->regs, *devctl;

	set_virtual(&reg[PCI_VENDOR_ID / 4],
		    pdev->vendor | (u32)pdev->device << 16, 0);
	if (!udev->has_intx) {
		reg[PCI_INTERRUPT_PIN / 4].value &= ~pin;
		reg[PCI_INTERRUPT_PIN / 4].initial &= ~pin;
	}

	/* Off where the host's bridge cannot bear it, and to stay so. */
	devctl = cap_reg(udev, pci_pcie_cap(pdev), PCI_EXP_DEVCTL);
	if (devctl && !pcie_relaxed_ordering_enabled(pdev))
		devctl->write &= ~PCI_EXP_DEVCTL_RELAX_EN;

	/* A VF decodes memory without being told to; let it look like that. */
	if (pdev->no_command_memory) {
		reg = &reg[PCI_COMMAND / 4];
		reg->hw &= ~PCI_COMMAND_MEMORY;
		set_virtual(reg, reg->value | PCI_COMMAND_MEMORY,
			    reg->keep | PCI_COMMAND_MEMORY);
	}
}

/* Neither the table nor a permit lets a user write there. */
static void lock_bytes(struct uvfio_dev *udev, u32 start, u32 end)
{
	u32 at;

	for (at = start; at < end && at < udev->pdev->cfg_size; at++) {
		struct uvfio_reg *reg = &udev->regs[at / 4];
		u32 mask = 0xffU << (at % 4 * 8);

		reg->lock |= mask;
		if (reg->fn != UVFIO_REG_DEVCTL)
			reg->write &= ~mask;
	}
}

/*
 * A capability that is malformed for us, or has moved since the kernel looked, may
 * still be one for the kernel.
 */
static void lock_kernels_own(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	const struct {
		u32 pos, len;
	} own[] = {
		{ pdev->pm_cap, PCI_PM_SIZEOF },
		{ pdev->msi_cap, 24 },
		{ pdev->msix_cap, PCI_CAP_MSIX_SIZEOF },
		{ pci_pcie_cap(pdev), PCI_EXP_DEVSTA },
		{ pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_ATS),
		  PCI_EXT_CAP_ATS_SIZEOF },
		{ pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_PRI),
		  PCI_EXT_CAP_PRI_SIZEOF },
		{ pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_PASID),
		  PCI_EXT_CAP_PASID_SIZEOF },
		{ pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_SRIOV),
		  PCI_EXT_CAP_SRIOV_SIZEOF },
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i].pos)
			lock_bytes(udev, own[i].pos, own[i].pos + own[i].len);
}

/**
 * uvfio_config_init - lay the table over the device
 * @udev: BARs claimed, interrupts known, reset done
 */
int uvfio_config_init(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	struct uvfio_caps_walk *walk;

	walk = kzalloc(sizeof(*walk), GFP_KERNEL);
	if (!walk)
		return -ENOMEM;
	udev->regs = kvcalloc(pdev->cfg_size / 4, sizeof(*udev->regs),
			      GFP_KERNEL);
	if (!udev->regs) {
		kfree(walk);
		return -ENOMEM;
	}

	walk->regs = udev->regs;
	walk->size = pdev->cfg_size;
	walk->read = hw_read;
	walk->context = pdev;
	walk->hide_msix = !udev->num_msix;
	uvfio_caps_walk(walk);
	if (walk->rejected)
		pci_warn(pdev, "%u malformed capabilities are not shown to its user\n",
			 walk->rejected);
	kfree(walk);

	init_header(udev);
	init_bars(udev);
	lock_kernels_own(udev);
	xa_init(&udev->permits);
	return 0;
}

void uvfio_config_free(struct uvfio_dev *udev)
{
	struct permit *permit;
	unsigned long i;

	xa_for_each(&udev->permits, i, permit)
		kfree(permit);
	xa_destroy(&udev->permits);
	kvfree(udev->regs);
}

/* Permits */

static void permit_undo(struct uvfio_reg *reg, const struct permit *permit)
{
	reg->hw &= ~permit->added_hw;
	reg->write &= ~permit->added_write;
}

static void permit_apply(struct uvfio_reg *reg, struct permit *permit)
{
	permit->added_hw = permit->read & ~reg->hw;
	permit->added_write = permit->write & ~reg->write;
	reg->hw |= permit->read;
	reg->write |= permit->write;
}

/* Replaces what is permitted of the dword at @off; takes over @permit. */
static int permit_set(struct uvfio_dev *udev, u32 off, struct permit *permit)
{
	struct uvfio_reg *reg = &udev->regs[off / 4];
	struct permit *old;

	guard(rwsem_write)(&udev->mem_rwsem);
	old = xa_store(&udev->permits, off / 4, permit, GFP_KERNEL);
	if (xa_is_err(old)) {
		kfree(permit);
		return xa_err(old);
	}
	if (old)
		permit_undo(reg, old);
	if (permit)
		permit_apply(reg, permit);
	kfree(old);
	return 0;
}

/* "<offset> <readbits> <writebits>" in hex, and no more than that. */
static int permit_parse(struct uvfio_dev *udev, char *line, u32 *off,
			u32 *read, u32 *write)
{
	u32 *fields[] = { off, read, write };
	char *field;
	size_t i;

	line = strim(line);
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		line = skip_spaces(line ?: "");
		field = strsep(&line, " \t");
		if (kstrtou32(field, 16, fields[i]))
			return -EINVAL;
	}
	if (line || *off % 4 || *off >= udev->pdev->cfg_size)
		return -EINVAL;
	return 0;
}

static int permit_write(struct uvfio_dev *udev, char *line)
{
	u32 off, read, write, locked;
	struct permit *permit = NULL;

	if (permit_parse(udev, line, &off, &read, &write)) {
		dev_warn_ratelimited(&udev->dev, "config_permit: not \"<offset> <readbits> <writebits>\" in hex with an offset that is a multiple of 4 and below %x\n",
				     udev->pdev->cfg_size);
		return -EINVAL;
	}

	locked = udev->regs[off / 4].lock;
	if ((read | write) & locked) {
		dev_warn_ratelimited(&udev->dev, "config_permit: bits %08x at %03x stay the kernel's; leave them out\n",
				     (read | write) & locked, off);
		return -EINVAL;
	}

	if (security_locked_down(LOCKDOWN_PCI_ACCESS))
		return -EPERM;

	if (read | write) {
		permit = kzalloc(sizeof(*permit), GFP_KERNEL);
		if (!permit)
			return -ENOMEM;
		permit->read = read;
		permit->write = write;
	}
	return permit_set(udev, off, permit);
}

static ssize_t config_permit_write(struct file *file, struct kobject *kobj,
				   BIN_ATTRIBUTE_CONST struct bin_attribute *attr,
				   char *buf, loff_t pos, size_t len)
{
	struct uvfio_dev *udev = container_of(kobj_to_dev(kobj),
					      struct uvfio_dev, dev);
	size_t written = len;
	char line[64];
	int ret;

	/*
	 * One line, in one write: half a line would permit something else. The
	 * position does not matter: a script may write line after line. What is no
	 * line at all is as bad as an empty one.
	 */
	if (len && buf[len - 1] == '\n')
		len--;
	if (len >= sizeof(line) || memchr(buf, 0, len) ||
	    memchr(buf, '\n', len))
		len = 0;
	memcpy(line, buf, len);
	line[len] = 0;

	ret = permit_write(udev, line);
	return ret ?: written;
}

/* In lines of one length, so the one that @pos is in can be found. */
#define PERMIT_FORMAT	"%03x %08x %08x\n"
#define PERMIT_LINE	22

static ssize_t config_permit_read(struct file *file, struct kobject *kobj,
				  BIN_ATTRIBUTE_CONST struct bin_attribute *attr,
				  char *buf, loff_t pos, size_t len)
{
	struct uvfio_dev *udev = container_of(kobj_to_dev(kobj),
					      struct uvfio_dev, dev);
	char line[PERMIT_LINE + 1];
	struct permit *permit;
	unsigned long i;
	size_t done = 0;
	loff_t at = 0;

	guard(rwsem_read)(&udev->mem_rwsem);
	xa_for_each(&udev->permits, i, permit) {
		size_t skip, n;

		at += PERMIT_LINE;
		if (at <= pos)
			continue;
		if (done == len)
			break;
		snprintf(line, sizeof(line), PERMIT_FORMAT, (u32)i * 4,
			 permit->read, permit->write);
		skip = PERMIT_LINE - min_t(loff_t, at - pos, PERMIT_LINE);
		n = min(len - done, PERMIT_LINE - skip);
		memcpy(buf + done, line + skip, n);
		done += n;
		pos += n;
	}
	return done;
}

/*
 * Binary only in that it may be longer than a page. No device_lock here:
 * device_del() waits for these with it held.
 */
static BIN_ATTR_ADMIN_RW(config_permit, 0);

static BIN_ATTRIBUTE_CONST struct bin_attribute *config_bin_attrs[] = {
	&bin_attr_config_permit,
	NULL,
};

const struct attribute_group uvfio_config_group = {
	.bin_attrs = config_bin_attrs,
};
