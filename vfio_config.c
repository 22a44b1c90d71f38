// SPDX-License-Identifier: GPL-2.0
/*
 * Config space as its user sees it.
 *
 * Reading: udev->readable has one word of bits for each dword of config space.
 * It is built at probe from the tables below: a set bit reads as hardware, all
 * else reads as zero, because on some devices reading an undefined register is
 * enough to do harm; hardware is asked for dwords with at least one such bit.
 * Writing: only the command register, and there only the bits a driver needs;
 * every other write is dropped.
 *
 * The device is not trusted: its capability lists are walked with bounds, once.
 */
#include <linux/bitmap.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

/* What the user may set in the command register. */
#define COMMAND_USER	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | \
			 PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)

/* Bytes of a capability that read as hardware, from its first on. */
struct cap_row {
	u16 id;
	u16 len;
	const char *why;
};

static const struct cap_row std_caps[] = {
	{ PCI_CAP_ID_PM, PCI_PM_SIZEOF, "power states, for drivers to find" },
	{ PCI_CAP_ID_VPD, 4, "address and flag; the data is not theirs yet" },
	{ PCI_CAP_ID_MSI, 4, "vector count; the kernel programs the rest" },
	{ PCI_CAP_ID_PCIX, PCI_CAP_PCIX_SIZEOF_V0, "bus mode" },
	{ PCI_CAP_ID_VNDR, 3, "length; the rest has no known meaning" },
	{ PCI_CAP_ID_SSVID, 8, "subsystem identity" },
	{ PCI_CAP_ID_EXP, PCI_CAP_EXP_ENDPOINT_SIZEOF_V1, "link and payload sizes" },
	{ PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF, "table and PBA location" },
	{ PCI_CAP_ID_SATA, 8, "index/data location" },
	{ PCI_CAP_ID_AF, PCI_CAP_AF_SIZEOF, "conventional PCI reset support" },
	{ PCI_CAP_ID_EA, 4, "number of entries" },
};

static const struct cap_row ext_caps[] = {
	{ PCI_EXT_CAP_ID_ERR, 0x2c, "error status and masks" },
	{ PCI_EXT_CAP_ID_DSN, PCI_EXT_CAP_DSN_SIZEOF, "serial number" },
	{ PCI_EXT_CAP_ID_ARI, PCI_EXT_CAP_ARI_SIZEOF, "function groups" },
	{ PCI_EXT_CAP_ID_LTR, PCI_EXT_CAP_LTR_SIZEOF, "latency" },
	{ PCI_EXT_CAP_ID_PTM, 12, "precision time support" },
};

/* The link to the next capability, which every capability starts with. */
#define STD_CAP_HEADER	2
#define EXT_CAP_HEADER	4

/* The one place that bounds a range the device named, by @limit. */
static void allow_read(struct uvfio_dev *udev, u32 start, u32 len, u32 limit)
{
	u32 end = min(start + len, limit);
	u32 at;

	for (at = start; at < end; at++)
		udev->readable[at / 4] |= 0xffU << (at % 4 * 8);
}

static u32 cap_len(const struct cap_row *rows, size_t count, u16 id, u32 header)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (rows[i].id == id)
			return rows[i].len;
	return header;
}

/* 48: what fits between the header and the end, each capability a dword long. */
static void walk_std_caps(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	int ttl = (PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / 4;
	u16 status, header;
	u8 pos;

	pci_read_config_word(pdev, PCI_STATUS, &status);
	if (!(status & PCI_STATUS_CAP_LIST))
		return;

	pci_read_config_byte(pdev, PCI_CAPABILITY_LIST, &pos);
	for (pos &= ~3; pos >= PCI_STD_HEADER_SIZEOF && ttl--;
	     pos = header >> 8 & ~3) {
		pci_read_config_word(pdev, pos, &header);
		if ((header & 0xff) == 0xff)
			break;
		allow_read(udev, pos, cap_len(std_caps, ARRAY_SIZE(std_caps),
					      header & 0xff, STD_CAP_HEADER),
			   PCI_CFG_SPACE_SIZE);
	}
}

static void walk_ext_caps(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	int ttl = (PCI_CFG_SPACE_EXP_SIZE - PCI_CFG_SPACE_SIZE) / 8;
	int pos = PCI_CFG_SPACE_SIZE;
	u32 header;

	if (pdev->cfg_size <= PCI_CFG_SPACE_SIZE)
		return;

	while (pos >= PCI_CFG_SPACE_SIZE && ttl--) {
		pci_read_config_dword(pdev, pos, &header);
		if (!header || header == U32_MAX)
			break;
		allow_read(udev, pos, cap_len(ext_caps, ARRAY_SIZE(ext_caps),
					      PCI_EXT_CAP_ID(header),
					      EXT_CAP_HEADER),
			   pdev->cfg_size);
		pos = PCI_EXT_CAP_NEXT(header);
	}
}

int uvfio_config_init(struct uvfio_dev *udev)
{
	udev->readable = kcalloc(udev->pdev->cfg_size / 4,
				 sizeof(*udev->readable), GFP_KERNEL);
	if (!udev->readable)
		return -ENOMEM;

	allow_read(udev, 0, PCI_STD_HEADER_SIZEOF, PCI_CFG_SPACE_SIZE);
	walk_std_caps(udev);
	walk_ext_caps(udev);
	return 0;
}

void uvfio_config_free(struct uvfio_dev *udev)
{
	kfree(udev->readable);
}

u64 uvfio_config_size(struct uvfio_dev *udev, unsigned int index)
{
	return udev->pdev->cfg_size;
}

static u32 read_dword(struct uvfio_dev *udev, u32 off)
{
	u32 value = 0;

	if (!udev->readable[off / 4])
		return 0;

	/*
	 * Not pci_user_read_config_dword(), which waits for the end of a reset
	 * that in turn waits for our lock.
	 */
	pci_read_config_dword(udev->pdev, off, &value);
	if (off == PCI_COMMAND) {
		/* Ours is set when the line must not fire; theirs is virtual. */
		value &= ~PCI_COMMAND_INTX_DISABLE;
		if (udev->intx_disabled)
			value |= PCI_COMMAND_INTX_DISABLE;
	}
	return value & udev->readable[off / 4];
}

int uvfio_config_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		      void *buf, size_t len)
{
	lockdep_assert_held(&udev->mem_rwsem);

	while (len) {
		u32 shift = off % 4, n = min_t(size_t, len, 4 - shift);
		__le32 value = cpu_to_le32(read_dword(udev, off - shift));

		memcpy(buf, (u8 *)&value + shift, n);
		off += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int uvfio_config_write(struct uvfio_dev *udev, unsigned int index, u64 off,
		       const void *buf, size_t len)
{
	u64 start = max_t(u64, off, PCI_COMMAND);
	u64 end = min_t(u64, off + len, PCI_COMMAND + 2);
	__le32 value;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (start >= end)
		return 0;

	/* A byte that is not written keeps what it has. */
	value = cpu_to_le32(read_dword(udev, PCI_COMMAND));
	memcpy((u8 *)&value + start - PCI_COMMAND, buf + start - off, end - start);
	uvfio_pci_write_command(udev, le32_to_cpu(value) & COMMAND_USER);
	return 0;
}
