// SPDX-License-Identifier: GPL-2.0
/*
 * The judge of what a user's writes to config space do; see judge.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "judge.h"

#define ALL		0xffffffffU

/* Of what is looked at after each write, beside what is watched: around it. */
#define AROUND		64
/* So often all of it. */
#define FULL_LOOK	16

static uint32_t le32(const uint8_t *bytes)
{
	return bytes[0] | bytes[1] << 8 | bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

unsigned int raw_cap(const struct device *dev, uint8_t id)
{
	unsigned int at, left = PCI_CFG_SPACE_SIZE / 4;
	uint16_t header;

	if (!(raw_read16(dev, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return 0;
	at = raw_read16(dev, PCI_CAPABILITY_LIST) & 0xfc;
	for (; at && left; at = header >> 8 & 0xfc, left--) {
		header = raw_read16(dev, at);
		if ((header & 0xff) == id)
			return at;
	}
	return 0;
}

unsigned int raw_ext_cap(const struct device *dev, uint16_t id)
{
	unsigned int at = PCI_CFG_SPACE_SIZE, left = CONFIG_DWORDS;
	uint32_t header;

	/* Past the end of a short config space nothing is read. */
	for (; at && left; at = PCI_EXT_CAP_NEXT(header), left--) {
		header = raw_read32(dev, at);
		if (!header || header == ALL)
			return 0;
		if (PCI_EXT_CAP_ID(header) == id)
			return at;
	}
	return 0;
}

static void never(struct judge *judge, unsigned int off, uint32_t bits)
{
	judge->never[off / 4] |= bits;
}

static void never_range(struct judge *judge, unsigned int off, unsigned int len)
{
	unsigned int at;

	for (at = off; off && at < off + len; at++)
		never(judge, at, 0xffU << at % 4 * 8);
}

/* Written down by hand: it is to be wrong in other ways than the table. */
static void never_header(struct judge *judge)
{
	const uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
				 PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
	const uint16_t errors = 0xf900;	/* of the status register */

	never(judge, PCI_VENDOR_ID, ALL);
	never(judge, PCI_COMMAND, ~(command | (uint32_t)errors << 16));
	/* From the revision over the BARs and the ROM to Max_Lat. */
	never_range(judge, PCI_CLASS_REVISION, PCI_STD_HEADER_SIZEOF -
						PCI_CLASS_REVISION);
}

static void never_std_caps(struct judge *judge, const struct device *dev)
{
	unsigned int pm = raw_cap(dev, PCI_CAP_ID_PM);
	unsigned int exp = raw_cap(dev, PCI_CAP_ID_EXP);

	if (pm) {
		never(judge, pm, ALL);
		never(judge, pm + PCI_PM_CTRL, ~PCI_PM_CTRL_STATE_MASK);
	}
	never_range(judge, raw_cap(dev, PCI_CAP_ID_MSI), 24);
	never_range(judge, raw_cap(dev, PCI_CAP_ID_MSIX), 12);
	never_range(judge, raw_cap(dev, PCI_CAP_ID_VNDR), 2);
	if (exp) {
		never_range(judge, exp, PCI_EXP_DEVCTL);
		never(judge, exp + PCI_EXP_DEVCTL,
		      ~(PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_READRQ |
			0xf0000U));
		never_range(judge, exp + PCI_EXP_LNKCAP, 8);
		never(judge, exp + PCI_EXP_DEVCTL2, ~0x1fU);
	}
}

static void never_ext_caps(struct judge *judge, const struct device *dev)
{
	static const struct {
		uint16_t id, len;
	} caps[] = {
		{ PCI_EXT_CAP_ID_ERR, 0x2c },
		{ PCI_EXT_CAP_ID_DSN, 12 },
		{ PCI_EXT_CAP_ID_ARI, 8 },
		{ PCI_EXT_CAP_ID_ATS, 8 },
		{ PCI_EXT_CAP_ID_SRIOV, 0x40 },
		{ PCI_EXT_CAP_ID_PRI, 16 },
		{ PCI_EXT_CAP_ID_PASID, 8 },
		{ PCI_EXT_CAP_ID_ACS, 8 },
		{ PCI_EXT_CAP_ID_REBAR, 16 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++)
		never_range(judge, raw_ext_cap(dev, caps[i].id), caps[i].len);
}

static uint32_t walk_read(void *context, u32 off)
{
	return raw_read32(context, off);
}

static void lay_table(struct judge *judge, const struct device *dev)
{
	static struct uvfio_caps_walk walk;

	memset(&walk, 0, sizeof(walk));
	walk.regs = judge->regs;
	walk.size = judge->size;
	walk.read = walk_read;
	walk.context = (void *)dev;
	uvfio_caps_walk(&walk);
}

/*
 * As root or not, once the device is attached: the kernel changes what is its own
 * on the way there. -EDOM: the table grants what must never be granted.
 */
int judge_init(struct judge *judge, const struct device *dev)
{
	uint8_t bytes[PCI_CFG_SPACE_EXP_SIZE];
	unsigned int i;

	memset(judge, 0, sizeof(*judge));
	judge->raw = dev->raw;
	judge->size = pread(dev->raw, bytes, sizeof(bytes), 0);
	if (judge->size != PCI_CFG_SPACE_SIZE &&
	    judge->size != PCI_CFG_SPACE_EXP_SIZE)
		return -EIO;
	judge->pm = raw_cap(dev, PCI_CAP_ID_PM);
	judge->exp = raw_cap(dev, PCI_CAP_ID_EXP);
	judge->can_reset = judge->exp &&
			   raw_read32(dev, judge->exp + PCI_EXP_DEVCAP) &
			   PCI_EXP_DEVCAP_FLR;

	lay_table(judge, dev);
	never_header(judge);
	never_std_caps(judge, dev);
	never_ext_caps(judge, dev);
	for (i = 0; i < judge->size / 4; i++) {
		judge->seen[i] = le32(bytes + 4 * i);
		judge->granted[i] = uvfio_reg_effect(&judge->regs[i]);
		judge->watched[i] = i < PCI_CFG_SPACE_SIZE / 4 ||
				    judge->regs[i].claimed || judge->never[i];
		if (judge->granted[i] & judge->never[i])
			return -EDOM;
	}
	return 0;
}

/* A permit. */
void judge_grant(struct judge *judge, unsigned int off, uint32_t bits)
{
	judge->granted[off / 4] |= bits;
	judge->watched[off / 4] = true;
}

/* The bits of dword @i that the write is to, and those of them that it sets. */
static uint32_t written(const struct write *write, unsigned int i,
			uint32_t *value)
{
	unsigned int byte;
	uint32_t mask = 0;

	*value = 0;
	for (byte = write->off; byte < write->off + write->len; byte++) {
		unsigned int shift = byte % 4 * 8;

		if (byte / 4 != i)
			continue;
		mask |= 0xffU << shift;
		*value |= (write->value >> 8 * (byte - write->off) & 0xff)
			  << shift;
	}
	return mask;
}

/* Whether it asks for a Function Level Reset. */
bool judge_says_reset(const struct judge *judge, const struct write *write)
{
	uint32_t value;

	if (!judge->can_reset)
		return false;
	written(write, (judge->exp + PCI_EXP_DEVCTL) / 4, &value);
	return value & PCI_EXP_DEVCTL_BCR_FLR;
}

static uint32_t allowed(const struct judge *judge, const struct write *write,
			unsigned int i)
{
	uint32_t value, bits;

	bits = written(write, i, &value) & judge->granted[i] &
	       ~judge->never[i];
	/* A reset leaves bus mastering off. */
	if (i == PCI_COMMAND / 4 && judge_says_reset(judge, write))
		bits |= PCI_COMMAND_MASTER;
	return bits;
}

/* Dwords @first up to @end, exclusive. */
static bool look(struct judge *judge, const struct write *write,
		 unsigned int first, unsigned int end, struct change *change)
{
	uint8_t bytes[PCI_CFG_SPACE_EXP_SIZE];
	ssize_t len = 4 * (end - first);
	unsigned int i;

	*change = (struct change) { .at = 4 * first };
	if (pread(judge->raw, bytes, len, 4 * first) != len)
		return false;
	for (i = first; i < end; i++) {
		uint32_t before = judge->seen[i];
		uint32_t after = le32(bytes + 4 * (i - first));

		if (before == after)
			continue;
		judge->seen[i] = after;
		*change = (struct change) { 4 * i, before, after,
					    allowed(judge, write, i) };
		if ((before ^ after) & ~change->allowed)
			return false;
	}
	return true;
}

static bool look_at_watched(struct judge *judge, const struct write *write,
			    struct change *change)
{
	unsigned int i = 0, first, end = judge->size / 4;

	while (i < end) {
		if (!judge->watched[i]) {
			i++;
			continue;
		}
		for (first = i; i < end && judge->watched[i]; i++)
			;
		if (!look(judge, write, first, i, change))
			return false;
	}
	return true;
}

/* True: the write, which is done, has changed nothing that it may not change. */
bool judge_sees(struct judge *judge, const struct write *write,
		struct change *change)
{
	unsigned int end = judge->size / 4, first, last;

	if (judge->thorough || judge->looks++ % FULL_LOOK == 0)
		return look(judge, write, 0, end, change);

	first = write->off < AROUND / 2 ? 0 : (write->off - AROUND / 2) / 4;
	last = first + AROUND / 4 < end ? first + AROUND / 4 : end;
	return look_at_watched(judge, write, change) &&
	       look(judge, write, first, last, change);
}
