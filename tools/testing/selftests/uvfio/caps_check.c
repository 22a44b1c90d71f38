// SPDX-License-Identifier: GPL-2.0
/*
 * What must hold of every device, also a hostile one. It is said here once more
 * and in other words than in vfio_caps.c: which capabilities may be seen, which
 * bits can be written at all, and that the lists are sound for whoever reads
 * them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caps_check.h"

#define DWORDS		(PCI_CFG_SPACE_EXP_SIZE / 4)

/*
 * Each list has at most DWORDS capabilities, of which each is asked for its
 * header and its length; that of Enhanced Allocation has 64 parts, and there are
 * 48 of these at most.
 */
#define MAX_READS	(3 * DWORDS + 48 * 64)

static char wrong[80];

static bool fail(u32 off, const char *what)
{
	snprintf(wrong, sizeof(wrong), "at %#x: %s", off, what);
	return false;
}

static u32 bytes32(const u8 *bytes)
{
	return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (u32)bytes[3] << 24;
}

static u32 device_read(void *context, u32 off)
{
	struct caps_device *dev = context;
	bool later;

	dev->reads++;
	if (off % 4 || off >= dev->size) {
		dev->read_outside = true;
		return 0;
	}
	later = dev->changes && dev->was_read[off / 4];
	dev->was_read[off / 4] = true;
	return bytes32((later ? dev->later : dev->first) + off);
}

u32 caps_user_read(const struct caps_device *dev, u32 off)
{
	const struct uvfio_reg *reg = &dev->regs[off / 4];
	u32 hw = bytes32((dev->changes ? dev->later : dev->first) + off);

	return (hw & reg->hw) | (reg->value & ~reg->hw);
}

/* The header: every bit of it */

#define STATUS_ERRORS	0xf9000000

static const struct uvfio_reg header[PCI_STD_HEADER_SIZEOF / 4] = {
	/* Command: all but INTx disable reads as hardware; status has a list. */
	[0x04 / 4] = { .hw = 0xffeffbff, .keep = 0x00000400,
		       .write = STATUS_ERRORS, .w1c = STATUS_ERRORS,
		       .lock = 0x0000ffff, .fn = UVFIO_REG_COMMAND },
	[0x08 / 4] = { .hw = 0xffffffff },
	[0x0c / 4] = { .hw = 0xffff0000, .keep = 0x0000ffff },
	[0x10 / 4] = { .lock = 0xffffffff },
	[0x14 / 4] = { .lock = 0xffffffff },
	[0x18 / 4] = { .lock = 0xffffffff },
	[0x1c / 4] = { .lock = 0xffffffff },
	[0x20 / 4] = { .lock = 0xffffffff },
	[0x24 / 4] = { .lock = 0xffffffff },
	[0x28 / 4] = { .hw = 0xffffffff },
	[0x2c / 4] = { .hw = 0xffffffff },
	[0x30 / 4] = { .lock = 0xffffffff },
	[0x34 / 4] = { .lock = 0x000000ff },
	[0x3c / 4] = { .hw = 0xffff0000, .keep = 0x000000ff },
};

static bool check_header(const struct caps_device *dev)
{
	u32 off;

	for (off = 0; off < PCI_STD_HEADER_SIZEOF; off += 4) {
		const struct uvfio_reg *want = &header[off / 4];
		const struct uvfio_reg *reg = &dev->regs[off / 4];

		if (reg->hw != want->hw || reg->keep != want->keep ||
		    reg->write != want->write || reg->w1c != want->w1c ||
		    reg->lock != want->lock || reg->fn != want->fn ||
		    reg->start || reg->claimed)
			return fail(off, "not what the header is to be");
	}
	return true;
}

/* Registers by themselves */

static bool check_masks(const struct caps_device *dev)
{
	u32 off;

	for (off = 0; off < dev->size; off += 4) {
		const struct uvfio_reg *reg = &dev->regs[off / 4];

		if (reg->keep & reg->hw)
			return fail(off, "keeps what reads as hardware");
		if (reg->write & ~reg->hw)
			return fail(off, "writes what does not read as hardware");
		if (reg->w1c & ~reg->hw)
			return fail(off, "clears what does not read as hardware");
		if (reg->initial != reg->value)
			return fail(off, "does not begin as it is");
	}
	return true;
}

/* Only the list of extended capabilities has a fixed place, used or not. */
static bool check_unclaimed(const struct caps_device *dev)
{
	u32 off;

	for (off = PCI_STD_HEADER_SIZEOF; off < dev->size; off += 4) {
		const struct uvfio_reg *reg = &dev->regs[off / 4];
		u32 link = off == PCI_CFG_SPACE_SIZE ? 0xffc00000 : 0;

		if (reg->claimed)
			continue;
		if (reg->hw || reg->write || reg->keep || reg->w1c || reg->fn ||
		    reg->value & ~link)
			return fail(off, "not in a capability, but has something");
	}
	return true;
}

/* Wherever the device has a header, shown or not */
static bool check_starts(const struct caps_device *dev)
{
	u32 off;

	for (off = PCI_STD_HEADER_SIZEOF; off < dev->size; off += 4) {
		const struct uvfio_reg *reg = &dev->regs[off / 4];
		u32 mask = off < PCI_CFG_SPACE_SIZE ? 0xffff : 0xffffffff;

		if (reg->start && (~reg->lock & mask || reg->write & mask))
			return fail(off, "a link that can be changed");
	}
	return true;
}

/* Capabilities by what they are */

enum { SEEN = 1, KERNELS = 2 };

struct known {
	u16 id, least;		/* bytes that it has at least */
	u8 flags;
};

static const struct known known_std[] = {
	{ PCI_CAP_ID_PM, 8, SEEN | KERNELS },
	{ PCI_CAP_ID_VPD, 8, SEEN | KERNELS },
	{ PCI_CAP_ID_MSI, 10, SEEN | KERNELS },
	{ PCI_CAP_ID_PCIX, 8, SEEN },
	{ PCI_CAP_ID_HT, 4, SEEN | KERNELS },
	{ PCI_CAP_ID_VNDR, 3, SEEN },
	{ PCI_CAP_ID_DBG, 4, SEEN },
	{ PCI_CAP_ID_SSVID, 8, SEEN },
	{ PCI_CAP_ID_SECDEV, 4, KERNELS },
	{ PCI_CAP_ID_EXP, 12, SEEN },
	{ PCI_CAP_ID_MSIX, 12, SEEN | KERNELS },
	{ PCI_CAP_ID_SATA, 8, SEEN },
	{ PCI_CAP_ID_AF, 6, SEEN | KERNELS },
	{ PCI_CAP_ID_EA, 4, KERNELS },
	{}
};

static const struct known known_ext[] = {
	{ PCI_EXT_CAP_ID_ERR, 44, SEEN },
	{ PCI_EXT_CAP_ID_VC, 28, SEEN },
	{ PCI_EXT_CAP_ID_DSN, 12, SEEN },
	{ PCI_EXT_CAP_ID_PWR, 16, SEEN },
	{ PCI_EXT_CAP_ID_VC9, 28, SEEN },
	{ PCI_EXT_CAP_ID_VNDR, 8, SEEN },
	{ PCI_EXT_CAP_ID_ACS, 8, SEEN | KERNELS },
	{ PCI_EXT_CAP_ID_ARI, 8, SEEN },
	{ PCI_EXT_CAP_ID_ATS, 8, KERNELS },
	{ PCI_EXT_CAP_ID_SRIOV, 64, KERNELS },
	{ PCI_EXT_CAP_ID_MRIOV, 4, KERNELS },
	{ PCI_EXT_CAP_ID_MCAST, 40, KERNELS },
	{ PCI_EXT_CAP_ID_PRI, 16, KERNELS },
	{ PCI_EXT_CAP_ID_REBAR, 12, SEEN | KERNELS },
	{ PCI_EXT_CAP_ID_DPA, 17, SEEN },
	{ PCI_EXT_CAP_ID_TPH, 12, SEEN },
	{ PCI_EXT_CAP_ID_LTR, 8, SEEN },
	{ PCI_EXT_CAP_ID_SECPCI, 12, SEEN },
	{ PCI_EXT_CAP_ID_PASID, 8, KERNELS },
	{ PCI_EXT_CAP_ID_L1SS, 16, SEEN },
	{ PCI_EXT_CAP_ID_PTM, 12, SEEN },
	{ PCI_EXT_CAP_ID_DVSEC, 10, SEEN },
	{ 0x24 /* VF Resizable BAR */, 4, KERNELS },
	{ PCI_EXT_CAP_ID_DLF, 12, SEEN },
	{ PCI_EXT_CAP_ID_PL_16GT, 32, SEEN },
	{}
};

static const struct known *known_find(const struct known *known, u16 id)
{
	for (; known->id; known++)
		if (known->id == id)
			return known;
	return NULL;
}

/* The lists as the user reads them */

/* By dword: the capability that is seen to begin there, and what is its own. */
struct view {
	const struct known *begins[DWORDS];
	bool taken[DWORDS];
};

static bool see(const struct caps_device *dev, struct view *view, u32 pos,
		u32 limit, const struct known *known)
{
	u32 off;

	if (!known || !(known->flags & SEEN))
		return fail(pos, "a capability that is not to be seen");
	if (!dev->regs[pos / 4].start)
		return fail(pos, "a capability that the device does not have");
	if (known->least > limit - pos)
		return fail(pos, "a capability past the end");

	view->begins[pos / 4] = known;
	for (off = pos; off < pos + known->least; off += 4) {
		if (!dev->regs[off / 4].claimed)
			return fail(off, "what is seen has no owner");
		if (view->taken[off / 4])
			return fail(off, "two capabilities that overlap");
		view->taken[off / 4] = true;
	}
	return true;
}

static bool see_std(const struct caps_device *dev, struct view *view)
{
	const struct uvfio_reg *regs = dev->regs;
	u32 pos = regs[PCI_CAPABILITY_LIST / 4].value & 0xff;
	bool list = regs[PCI_COMMAND / 4].value >> 16 & PCI_STATUS_CAP_LIST;

	if (list != !!pos)
		return fail(PCI_STATUS, "a list, or its announcement, alone");
	while (pos) {
		const struct uvfio_reg *reg = &regs[pos / 4];
		u16 header = reg->value;

		if (pos % 4 || pos < PCI_STD_HEADER_SIZEOF)
			return fail(pos, "a link to nowhere");
		if (view->begins[pos / 4])
			return fail(pos, "a list without end");
		if ((reg->hw | reg->write | reg->keep) & 0xffff)
			return fail(pos, "a link from hardware, or to write");
		if (!see(dev, view, pos, PCI_CFG_SPACE_SIZE,
			 known_find(known_std, header & 0xff)))
			return false;
		if (dev->hide_msix && (header & 0xff) == PCI_CAP_ID_MSIX)
			return fail(pos, "MSI-X is to be hidden");
		pos = header >> 8;
	}
	return true;
}

static bool see_ext(const struct caps_device *dev, struct view *view)
{
	u32 pos = PCI_CFG_SPACE_SIZE;
	bool first = true;

	if (dev->size == PCI_CFG_SPACE_SIZE)
		return true;
	do {
		const struct uvfio_reg *reg = &dev->regs[pos / 4];
		u32 header = reg->value;

		if (reg->hw || reg->write || reg->keep)
			return fail(pos, "a link from hardware, or to write");
		/* The null capability holds the place of a hidden first one. */
		if (!(first && !(header & 0xfffff)) &&
		    !see(dev, view, pos, dev->size,
			 known_find(known_ext, PCI_EXT_CAP_ID(header))))
			return false;
		first = false;
		pos = header >> 20;
		if (pos && (pos % 4 || pos <= PCI_CFG_SPACE_SIZE))
			return fail(pos, "a link to nowhere");
		if (pos && view->begins[pos / 4])
			return fail(pos, "a list without end");
	} while (pos);
	return true;
}

/* All that can be written beyond the header, and what a 1 would clear */
static const struct grant {
	const struct known *list;
	u16 id, off;
	u32 write, w1c;
} grants[] = {
	{ known_std, PCI_CAP_ID_PCIX, 0x04, 0, 0x200c0000 },
	{ known_std, PCI_CAP_ID_EXP, 0x08, 0x000f0010, 0x004f0000 },
	{ known_std, PCI_CAP_ID_EXP, 0x10, 0, 0xc0000000 },
	{ known_std, PCI_CAP_ID_EXP, 0x28, 0x0000001f, 0 },
	{ known_std, PCI_CAP_ID_EXP, 0x30, 0, 0x00200000 },
	{ known_ext, PCI_EXT_CAP_ID_ERR, 0x04, 0, 0xffffffff },
	{ known_ext, PCI_EXT_CAP_ID_ERR, 0x10, 0, 0xffffffff },
	{ known_ext, PCI_EXT_CAP_ID_PWR, 0x04, 0x000000ff, 0 },
	{ known_ext, PCI_EXT_CAP_ID_SECPCI, 0x08, 0, 0xffffffff },
};

static const struct grant *granted(const struct view *view, u32 off)
{
	const struct known *list = off < PCI_CFG_SPACE_SIZE ? known_std :
							      known_ext;
	static const struct grant nothing;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(grants); i++) {
		const struct grant *grant = &grants[i];
		const struct known *known = known_find(grant->list, grant->id);

		if (grant->list == list &&
		    view->begins[(off - grant->off) / 4] == known)
			return grant;
	}
	return &nothing;
}

static bool check_writes(const struct caps_device *dev, const struct view *view)
{
	u32 off;

	for (off = PCI_STD_HEADER_SIZEOF; off < dev->size; off += 4) {
		const struct uvfio_reg *reg = &dev->regs[off / 4];

		if (!reg->write && !reg->w1c)
			continue;
		if (reg->write & ~granted(view, off)->write)
			return fail(off, "can be written");
		if (reg->w1c & ~granted(view, off)->w1c)
			return fail(off, "is said to be cleared by a 1");
	}
	return true;
}

/* Devices that answer the same each time can be asked what they have. */

static bool check_kernels(const struct caps_device *dev, u32 pos,
			  const struct known *known)
{
	u32 at;

	if (!known || !(known->flags & KERNELS))
		return true;
	for (at = pos; at < pos + known->least && at < dev->size; at++) {
		const struct uvfio_reg *reg = &dev->regs[at / 4];
		u32 byte = 0xffU << (8 * (at % 4));

		if (~reg->lock & byte || reg->write & byte)
			return fail(at, "the kernel's, but not kept from writes");
	}
	return true;
}

/* What is seen, in the order that the device has it. @next: the first seen. */
static bool check_list(const struct caps_device *dev, const struct view *view,
		       bool ext, u32 next)
{
	u32 begin = ext ? PCI_CFG_SPACE_SIZE : PCI_STD_HEADER_SIZEOF;
	u32 pos = ext ? begin : dev->first[PCI_CAPABILITY_LIST] & 0xfc;
	bool met[DWORDS] = { false };

	while (pos >= begin && pos < dev->size && !met[pos / 4]) {
		u32 header = bytes32(dev->first + pos);
		u32 link = dev->regs[pos / 4].value;

		met[pos / 4] = true;
		if (ext ? !header || header == 0xffffffff :
			  (header & 0xff) == 0xff)
			break;
		if (!check_kernels(dev, pos,
				   ext ? known_find(known_ext, header & 0xffff) :
					 known_find(known_std, header & 0xff)))
			return false;
		if (pos == next)
			next = ext ? link >> 20 : link >> 8 & 0xff;
		else if (view->begins[pos / 4])
			return fail(pos, "out of order");
		pos = ext ? header >> 20 & 0xffc : header >> 8 & 0xfc;
	}
	return !next || fail(next, "the device's list does not have it");
}

static bool check_lists(const struct caps_device *dev, const struct view *view)
{
	const u32 ext = PCI_CFG_SPACE_SIZE;
	u32 next;

	if (dev->changes)
		return true;

	next = dev->regs[PCI_CAPABILITY_LIST / 4].value & 0xff;
	if (!(dev->first[PCI_STATUS] & PCI_STATUS_CAP_LIST)) {
		if (next)
			return fail(PCI_STATUS, "the device has no list");
	} else if (!check_list(dev, view, false, next)) {
		return false;
	}
	if (dev->size == PCI_CFG_SPACE_SIZE)
		return true;

	next = view->begins[ext / 4] ? ext : dev->regs[ext / 4].value >> 20;
	return check_list(dev, view, true, next);
}

static bool check_reads(const struct caps_device *dev)
{
	if (dev->read_outside)
		return fail(0, "read outside of config space");
	return dev->reads <= MAX_READS || fail(0, "read without end");
}

const char *caps_walk(struct caps_device *dev)
{
	struct uvfio_caps_walk *walk = calloc(1, sizeof(*walk));
	struct view *view = calloc(1, sizeof(*view));

	caps_free(dev);
	dev->regs = calloc(dev->size / 4, sizeof(*dev->regs));
	if (!walk || !view || !dev->regs)
		abort();
	memset(dev->was_read, 0, sizeof(dev->was_read));
	dev->reads = 0;
	dev->read_outside = false;

	walk->regs = dev->regs;
	walk->size = dev->size;
	walk->read = device_read;
	walk->context = dev;
	walk->hide_msix = dev->hide_msix;
	uvfio_caps_walk(walk);
	dev->rejected = walk->rejected;

	if (check_reads(dev) && check_masks(dev) && check_header(dev) &&
	    check_unclaimed(dev) && check_starts(dev) && see_std(dev, view) &&
	    see_ext(dev, view) && check_writes(dev, view) &&
	    check_lists(dev, view))
		wrong[0] = 0;

	free(walk);
	free(view);
	return wrong;
}

void caps_free(struct caps_device *dev)
{
	free(dev->regs);
	dev->regs = NULL;
}
