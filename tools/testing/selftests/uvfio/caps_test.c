// SPDX-License-Identifier: GPL-2.0
/*
 * The table of config space and its walker (vfio_caps.c), on devices that are
 * made up: well-formed, malformed and hostile ones. Needs no device and no
 * module, so it can be run anywhere. What must hold of every device is in
 * caps_check.c; here is what these devices have beyond that.
 */
#include <string.h>

#include "caps_check.h"
#include "test.h"

#define ALL	0xffffffff

FIXTURE(caps)
{
	struct caps_device dev;
};

FIXTURE_SETUP(caps)
{
	self->dev.size = PCI_CFG_SPACE_EXP_SIZE;
}

FIXTURE_TEARDOWN(caps)
{
	caps_free(&self->dev);
}

/* Making up a device */

static void put(struct caps_device *dev, u32 off, u32 len, u32 value)
{
	for (; len; len--, off++, value >>= 8)
		dev->first[off] = value;
}

static void std_list(struct caps_device *dev, u32 first)
{
	put(dev, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	put(dev, PCI_CAPABILITY_LIST, 1, first);
}

/* @flags: the two bytes that follow the header */
static void std_cap(struct caps_device *dev, u32 pos, u8 id, u16 flags, u8 next)
{
	put(dev, pos, 4, id | next << 8 | (u32)flags << 16);
}

static void ext_cap(struct caps_device *dev, u32 pos, u16 id, u32 next)
{
	put(dev, pos, 4, id | 1 << 16 | next << 20);
}

/* What became of it */

/* "<position>:<id> ...", all in hex, as the user finds them */
static const char *std_seen(const struct caps_device *dev)
{
	static char text[UVFIO_MAX_STD_CAPS * 6 + 1];
	u32 pos = caps_user_read(dev, PCI_CAPABILITY_LIST) & 0xff;
	size_t at = 0;

	if (!(caps_user_read(dev, PCI_COMMAND) >> 16 & PCI_STATUS_CAP_LIST))
		return "no list";
	while (pos && at < sizeof(text)) {
		u32 header = caps_user_read(dev, pos);

		at += snprintf(text + at, sizeof(text) - at, "%s%02x:%02x",
			       at ? " " : "", pos, header & 0xff);
		pos = header >> 8 & 0xff;
	}
	return text;
}

static const char *ext_seen(const struct caps_device *dev)
{
	static char text[UVFIO_MAX_EXT_CAPS * 9 + 1];
	u32 pos = PCI_CFG_SPACE_SIZE;
	size_t at = 0;

	if (!caps_user_read(dev, pos))
		return "no list";
	while (pos && at < sizeof(text)) {
		u32 header = caps_user_read(dev, pos);

		at += snprintf(text + at, sizeof(text) - at, "%s%03x:%04x",
			       at ? " " : "", pos, PCI_EXT_CAP_ID(header));
		pos = header >> 20;
	}
	return text;
}

/* The bytes from @pos on, up to the last that reads as hardware */
static u32 readable(const struct caps_device *dev, u32 pos)
{
	u32 len = 0, at;

	for (at = pos; at < dev->size; at++)
		if (dev->regs[at / 4].hw & 0xffU << (8 * (at % 4)))
			len = at + 1 - pos;
	return len;
}

static const char *reg_text(char *text, size_t size,
			    const struct uvfio_reg *reg)
{
	snprintf(text, size, "hw %08x keep %08x write %08x w1c %08x lock %08x fn %u",
		 reg->hw, reg->keep, reg->write, reg->w1c, reg->lock, reg->fn);
	return text;
}

#define EXPECT_REG(_dev, _off, ...) do {				\
	const struct uvfio_reg want = { __VA_ARGS__ };			\
	const u32 place = _off;						\
	char is[96], should[96];					\
									\
	EXPECT_STREQ(reg_text(should, sizeof(should), &want),		\
		     reg_text(is, sizeof(is), &(_dev)->regs[place / 4])) { \
		TH_LOG("at %#x", place);				\
	}								\
} while (0)

/* Walks; whatever the device is, what must hold of each has to. */
#define WALK(_dev) EXPECT_STREQ("", caps_walk(_dev))

/* Lists of well-formed capabilities */

TEST_F(caps, are_shown_in_order)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0xa0);
	std_cap(dev, 0xa0, PCI_CAP_ID_PM, 0, 0x50);
	std_cap(dev, 0x50, PCI_CAP_ID_MSI, 0, 0x60);
	std_cap(dev, 0x60, PCI_CAP_ID_EXP, 2, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_MSIX, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x400);
	ext_cap(dev, 0x400, PCI_EXT_CAP_ID_DSN, 0x200);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_LTR, 0);
	WALK(dev);
	EXPECT_STREQ("a0:01 50:05 60:10 40:11", std_seen(dev));
	EXPECT_STREQ("100:0001 400:0003 200:0018", ext_seen(dev));
	EXPECT_EQ(0, dev->rejected);
	/* Version and all */
	EXPECT_EQ(0x40010001, caps_user_read(dev, 0x100));
}

TEST_F(caps, of_256_bytes_have_no_extended_list)
{
	struct caps_device *dev = &self->dev;

	dev->size = PCI_CFG_SPACE_SIZE;
	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0);
	WALK(dev);
	EXPECT_STREQ("40:01", std_seen(dev));
	EXPECT_EQ(0, dev->rejected);
}

TEST_F(caps, of_one_kind_may_be_several)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_VNDR, 8, 0x48);
	std_cap(dev, 0x48, PCI_CAP_ID_VNDR, 8, 0x50);
	std_cap(dev, 0x50, PCI_CAP_ID_PM, 0, 0x60);
	std_cap(dev, 0x60, PCI_CAP_ID_PM, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_DSN, 0x110);
	ext_cap(dev, 0x110, PCI_EXT_CAP_ID_DSN, 0);
	WALK(dev);
	EXPECT_STREQ("40:09 48:09 50:01 60:01", std_seen(dev));
	EXPECT_STREQ("100:0003 110:0003", ext_seen(dev));
	EXPECT_EQ(0, dev->rejected);
}

TEST_F(caps, fill_all_of_config_space)
{
	struct caps_device *dev = &self->dev;
	u32 pos;

	std_list(dev, 0x40);
	for (pos = 0x40; pos < 0x100; pos += 4)
		std_cap(dev, pos, PCI_CAP_ID_VNDR, 4, (pos + 4) & 0xff);
	for (pos = 0x100; pos < 0x1000; pos += 8)
		ext_cap(dev, pos, PCI_EXT_CAP_ID_ARI, (pos + 8) & 0xfff);
	WALK(dev);
	EXPECT_EQ(48 * 6 - 1, strlen(std_seen(dev)));
	EXPECT_EQ(480 * 9 - 1, strlen(ext_seen(dev)));
	EXPECT_EQ(0, dev->rejected);
}

/* 960 headers is all that there can be; every other one overlaps. */
TEST_F(caps, extended_begin_at_each_dword)
{
	struct caps_device *dev = &self->dev;
	u32 pos;

	for (pos = 0x100; pos < 0x1000; pos += 4)
		ext_cap(dev, pos, PCI_EXT_CAP_ID_ARI, (pos + 4) & 0xfff);
	WALK(dev);
	EXPECT_EQ(480 * 9 - 1, strlen(ext_seen(dev)));
	EXPECT_EQ(480, dev->rejected);
}

/* Lists that are not sound */

TEST_F(caps, need_the_status_bit_and_a_pointer)
{
	struct caps_device *dev = &self->dev;

	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0);
	put(dev, PCI_CAPABILITY_LIST, 1, 0x40);
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_EQ(0, readable(dev, 0x40));

	std_list(dev, 0);
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));

	std_list(dev, 0x3c);
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_EQ(0, dev->rejected);
}

TEST_F(caps, in_a_loop_are_seen_once)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0x40);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x100);
	WALK(dev);
	EXPECT_STREQ("40:01", std_seen(dev));
	EXPECT_STREQ("100:0001", ext_seen(dev));

	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0x50);
	std_cap(dev, 0x50, PCI_CAP_ID_SSVID, 0, 0x60);
	std_cap(dev, 0x60, PCI_CAP_ID_SATA, 0, 0x50);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x200);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_LTR, 0x300);
	ext_cap(dev, 0x300, PCI_EXT_CAP_ID_PTM, 0x100);
	WALK(dev);
	EXPECT_STREQ("40:01 50:0d 60:12", std_seen(dev));
	EXPECT_STREQ("100:0001 200:0018 300:001f", ext_seen(dev));
	EXPECT_EQ(0, dev->rejected);
}

TEST_F(caps, below_their_space_end_the_list)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0x10);
	std_cap(dev, 0x10, PCI_CAP_ID_SSVID, 0, 0);
	std_cap(dev, 0x80, PCI_CAP_ID_SSVID, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x80);
	WALK(dev);
	EXPECT_STREQ("40:01", std_seen(dev));
	EXPECT_STREQ("100:0001", ext_seen(dev));
	EXPECT_EQ(0, dev->regs[0x80 / 4].hw);
	EXPECT_EQ(0, dev->rejected);
}

/* The two low bits of a link are reserved. */
TEST_F(caps, are_aligned)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x43);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0x51);
	std_cap(dev, 0x50, PCI_CAP_ID_SSVID, 0, 0x02);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x203);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_LTR, 0x001);
	WALK(dev);
	EXPECT_STREQ("40:01 50:0d", std_seen(dev));
	EXPECT_STREQ("100:0001 200:0018", ext_seen(dev));
	/* The user does not have to mask them. */
	EXPECT_EQ(0x40, caps_user_read(dev, PCI_CAPABILITY_LIST));
	EXPECT_EQ(0x20010001, caps_user_read(dev, 0x100));
}

TEST_F(caps, of_a_device_that_is_not_there)
{
	struct caps_device *dev = &self->dev;

	memset(dev->first, 0xff, sizeof(dev->first));
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_STREQ("no list", ext_seen(dev));
	EXPECT_EQ(0, readable(dev, 0x40));

	memset(dev->first, 0, sizeof(dev->first));
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_STREQ("no list", ext_seen(dev));
	EXPECT_EQ(0, readable(dev, 0x40));
	EXPECT_EQ(0, dev->rejected);
}

TEST_F(caps, end_where_the_device_does)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0x50);
	put(dev, 0x50, 4, ALL);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x200);
	put(dev, 0x200, 4, ALL);
	WALK(dev);
	EXPECT_STREQ("40:01", std_seen(dev));
	EXPECT_STREQ("100:0001", ext_seen(dev));
}

/* Capabilities that do not fit */

static const struct misfit {
	u32 pos;
	u16 id, flags;
	u32 at_4, at_8;		/* what is there after its header */
} misfits[] = {
	{ .pos = 0xfc, .id = PCI_CAP_ID_PM },
	{ .pos = 0xf8, .id = PCI_CAP_ID_MSIX },
	{ .pos = 0xf8, .id = PCI_CAP_ID_MSI, .flags = PCI_MSI_FLAGS_64BIT },
	{ .pos = 0xf0, .id = PCI_CAP_ID_MSI, .flags = PCI_MSI_FLAGS_MASKBIT },
	{ .pos = 0xf0, .id = PCI_CAP_ID_EXP, .flags = 1 },
	{ .pos = 0xd0, .id = PCI_CAP_ID_EXP, .flags = 2 },
	{ .pos = 0xf8, .id = PCI_CAP_ID_PCIX, .flags = 0x1000 },
	{ .pos = 0xf0, .id = PCI_CAP_ID_VNDR, .flags = 0x11 },
	{ .pos = 0x40, .id = PCI_CAP_ID_VNDR, .flags = 0xff },
	{ .pos = 0x40, .id = PCI_CAP_ID_VNDR },
	{ .pos = 0x40, .id = PCI_CAP_ID_VNDR, .flags = 2 },
	{ .pos = 0xf8, .id = PCI_CAP_ID_EA, .flags = 1, .at_4 = 4 },
	{ .pos = 0xffc, .id = PCI_EXT_CAP_ID_LTR },
	{ .pos = 0xfd8, .id = PCI_EXT_CAP_ID_ERR },
	{ .pos = 0xfe0, .id = PCI_EXT_CAP_ID_VC, .at_4 = 1 },
	{ .pos = 0xfe0, .id = PCI_EXT_CAP_ID_VNDR, .at_4 = 0x02100000 },
	{ .pos = 0x200, .id = PCI_EXT_CAP_ID_VNDR, .at_4 = 0xfff00000 },
	{ .pos = 0x200, .id = PCI_EXT_CAP_ID_VNDR, .at_4 = 0x00700000 },
	{ .pos = 0x200, .id = PCI_EXT_CAP_ID_VNDR },
	{ .pos = 0xfe0, .id = PCI_EXT_CAP_ID_DVSEC, .at_4 = 0x02100000 },
	{ .pos = 0x200, .id = PCI_EXT_CAP_ID_DVSEC, .at_4 = 0x00900000 },
	{ .pos = 0xff8, .id = PCI_EXT_CAP_ID_ACS, .at_4 = 0x0120 },
	{ .pos = 0xfe0, .id = PCI_EXT_CAP_ID_ACS, .at_4 = 0x0020 },
	{ .pos = 0xff0, .id = PCI_EXT_CAP_ID_REBAR, .at_8 = 2 << 5 },
	{ .pos = 0x200, .id = PCI_EXT_CAP_ID_REBAR },
	{ .pos = 0xff0, .id = PCI_EXT_CAP_ID_DPA },
	{ .pos = 0xff0, .id = PCI_EXT_CAP_ID_TPH, .at_4 = 0x00020200 },
	{ .pos = 0x200, .id = PCI_EXT_CAP_ID_TPH, .at_4 = 0x07ff0200 },
	{ .pos = 0xfd0, .id = PCI_EXT_CAP_ID_SRIOV },
};

TEST_F(caps, that_do_not_fit_are_hidden)
{
	struct caps_device *dev = &self->dev;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(misfits); i++) {
		const struct misfit *misfit = &misfits[i];
		u32 pos = misfit->pos;

		memset(dev->first, 0, sizeof(dev->first));
		if (pos < PCI_CFG_SPACE_SIZE) {
			std_list(dev, pos);
			std_cap(dev, pos, misfit->id, misfit->flags, 0);
		} else {
			ext_cap(dev, 0x100, PCI_EXT_CAP_ID_LTR, pos);
			ext_cap(dev, pos, misfit->id, 0);
		}
		if (misfit->at_4)
			put(dev, pos + 4, 4, misfit->at_4);
		if (misfit->at_8)
			put(dev, pos + 8, 4, misfit->at_8);
		WALK(dev);
		EXPECT_STREQ("no list", std_seen(dev));
		EXPECT_STREQ(pos < PCI_CFG_SPACE_SIZE ? "no list" : "100:0018",
			     ext_seen(dev));
		EXPECT_EQ(1, dev->rejected) {
			TH_LOG("capability %#x at %#x", misfit->id, pos);
		}
	}
}

TEST_F(caps, that_fit_exactly_are_shown)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0, 0x48);
	std_cap(dev, 0x48, PCI_CAP_ID_VNDR, 0xb8, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_LTR, 0x108);
	ext_cap(dev, 0x108, PCI_EXT_CAP_ID_VNDR, 0);
	put(dev, 0x10c, 4, 0xef800000);
	WALK(dev);
	EXPECT_STREQ("40:01 48:09", std_seen(dev));
	EXPECT_STREQ("100:0018 108:000b", ext_seen(dev));
	EXPECT_EQ(0, dev->rejected);
	EXPECT_EQ(0xef8, readable(dev, 0x108));
	EXPECT_EQ(ALL, dev->regs[0xfc / 4].hw);
}

/* The first in the list has what two claim. */
TEST_F(caps, that_overlap_are_hidden)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_EXP, 2, 0x70);
	std_cap(dev, 0x70, PCI_CAP_ID_SSVID, 0, 0x80);
	std_cap(dev, 0x80, PCI_CAP_ID_PM, 0, 0x7c);
	std_cap(dev, 0x7c, PCI_CAP_ID_MSIX, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x128);
	ext_cap(dev, 0x128, PCI_EXT_CAP_ID_DSN, 0x208);
	ext_cap(dev, 0x208, PCI_EXT_CAP_ID_LTR, 0x200);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_PTM, 0);
	WALK(dev);
	EXPECT_STREQ("40:10 80:01", std_seen(dev));
	EXPECT_STREQ("100:0001 208:0018", ext_seen(dev));
	EXPECT_EQ(4, dev->rejected);
	/* What is hidden leaves nothing behind. */
	EXPECT_EQ(0, dev->regs[0x7c / 4].hw);
	EXPECT_EQ(0, dev->regs[0x200 / 4].hw);
}

TEST_F(caps, of_vendors_end_where_the_next_begins)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_VNDR, 0xff, 0x50);
	std_cap(dev, 0x50, PCI_CAP_ID_PM, 0, 0x60);
	std_cap(dev, 0x60, PCI_CAP_ID_VNDR, 0x80, 0x80);
	std_cap(dev, 0x80, 0x77, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_VNDR, 0x120);
	put(dev, 0x104, 4, 0xfff00000);
	ext_cap(dev, 0x120, PCI_EXT_CAP_ID_DVSEC, 0x140);
	put(dev, 0x124, 4, 0x7ff00000);
	ext_cap(dev, 0x140, PCI_EXT_CAP_ID_DVSEC, 0x148);
	put(dev, 0x144, 4, 0x04000000);
	ext_cap(dev, 0x148, PCI_EXT_CAP_ID_LTR, 0);
	WALK(dev);
	EXPECT_STREQ("40:09 50:01 60:09", std_seen(dev));
	EXPECT_STREQ("100:000b 120:0023 148:0018", ext_seen(dev));
	EXPECT_EQ(ALL, dev->regs[0x4c / 4].hw);
	EXPECT_EQ(ALL, dev->regs[0x7c / 4].hw);
	EXPECT_EQ(0, dev->regs[0x80 / 4].hw);
	EXPECT_EQ(ALL, dev->regs[0x11c / 4].hw);
	EXPECT_EQ(ALL, dev->regs[0x13c / 4].hw);
	/* There was no place for the third. */
	EXPECT_EQ(0, dev->regs[0x144 / 4].hw);
	EXPECT_EQ(1, dev->rejected);
}

/* Unlinking */

TEST_F(caps, hidden_are_not_in_the_list)
{
	struct caps_device *dev = &self->dev;

	/* At the beginning, in the middle, at the end */
	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_EA, 0, 0x50);
	std_cap(dev, 0x50, PCI_CAP_ID_PM, 0, 0x60);
	std_cap(dev, 0x60, PCI_CAP_ID_AGP, 0, 0x70);
	std_cap(dev, 0x70, 0x77, 0, 0x80);
	std_cap(dev, 0x80, PCI_CAP_ID_SSVID, 0, 0x90);
	std_cap(dev, 0x90, PCI_CAP_ID_SHPC, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x200);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_ATS, 0x300);
	ext_cap(dev, 0x300, 0x7777, 0x400);
	ext_cap(dev, 0x400, PCI_EXT_CAP_ID_LTR, 0x500);
	ext_cap(dev, 0x500, PCI_EXT_CAP_ID_PASID, 0);
	WALK(dev);
	EXPECT_STREQ("50:01 80:0d", std_seen(dev));
	EXPECT_STREQ("100:0001 400:0018", ext_seen(dev));
	EXPECT_EQ(0, dev->rejected);
	EXPECT_EQ(0, caps_user_read(dev, 0x40));
	EXPECT_EQ(0, caps_user_read(dev, 0x70));
	EXPECT_EQ(0, caps_user_read(dev, 0x200));
}

TEST_F(caps, hidden_first_leaves_a_null_capability)
{
	struct caps_device *dev = &self->dev;

	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_SRIOV, 0x200);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_PRI, 0x300);
	ext_cap(dev, 0x300, PCI_EXT_CAP_ID_LTR, 0);
	WALK(dev);
	EXPECT_STREQ("100:0000 300:0018", ext_seen(dev));
	EXPECT_EQ(0x30000000, caps_user_read(dev, 0x100));
	EXPECT_EQ(0, caps_user_read(dev, 0x104));
}

TEST_F(caps, all_hidden_leave_no_list)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_AGP, 0, 0x50);
	std_cap(dev, 0x50, 0x77, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ATS, 0x200);
	ext_cap(dev, 0x200, 0x7777, 0);
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_STREQ("no list", ext_seen(dev));
	EXPECT_EQ(0, dev->rejected);
}

TEST_F(caps, of_msix_can_be_hidden)
{
	struct caps_device *dev = &self->dev;

	dev->hide_msix = true;
	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_MSIX, 0, 0x50);
	std_cap(dev, 0x50, PCI_CAP_ID_MSI, 0, 0);
	WALK(dev);
	EXPECT_STREQ("50:05", std_seen(dev));
	EXPECT_EQ(0, dev->rejected);
	EXPECT_REG(dev, 0x40, .lock = ALL);
	EXPECT_REG(dev, 0x44, .lock = ALL);
	EXPECT_REG(dev, 0x48, .lock = ALL);
}

/* Which are shown, and how much of them */

static const struct shown {
	u16 id, flags;
	u32 at_4, at_8;
	u16 len;
} std_shown[] = {
	{ .id = PCI_CAP_ID_PM, .len = 8 },
	{ .id = PCI_CAP_ID_MSI, .len = 4 },
	{ .id = PCI_CAP_ID_PCIX, .len = 8 },
	{ .id = PCI_CAP_ID_PCIX, .flags = 0x1000, .len = 24 },
	{ .id = PCI_CAP_ID_PCIX, .flags = 0x2000, .len = 24 },
	{ .id = PCI_CAP_ID_HT, .len = 4 },
	{ .id = PCI_CAP_ID_VNDR, .flags = 3, .len = 3 },
	{ .id = PCI_CAP_ID_VNDR, .flags = 0x6015, .len = 0x15 },
	{ .id = PCI_CAP_ID_DBG, .len = 4 },
	{ .id = PCI_CAP_ID_SSVID, .len = 8 },
	{ .id = PCI_CAP_ID_EXP, .flags = 0x01, .len = 0x14 },
	{ .id = PCI_CAP_ID_EXP, .flags = 0x11, .len = 0x14 },
	{ .id = PCI_CAP_ID_EXP, .flags = 0x91, .len = 0x0c },
	{ .id = PCI_CAP_ID_EXP, .flags = 0x02, .len = 0x34 },
	{ .id = PCI_CAP_ID_EXP, .flags = 0x12, .len = 0x34 },
	{ .id = PCI_CAP_ID_EXP, .flags = 0x92, .len = 0x2c },
	{ .id = PCI_CAP_ID_EXP, .flags = 0xa2, .len = 0x2c },
	{ .id = PCI_CAP_ID_MSIX, .len = 12 },
	{ .id = PCI_CAP_ID_SATA, .len = 8 },
	{ .id = PCI_CAP_ID_SATA, .at_4 = 0xf, .len = 8 },
	{ .id = PCI_CAP_ID_AF, .len = 6 },
}, ext_shown[] = {
	{ .id = PCI_EXT_CAP_ID_ERR, .len = 0x2c },
	{ .id = PCI_EXT_CAP_ID_VC, .len = 0x1c },
	{ .id = PCI_EXT_CAP_ID_VC, .at_4 = 0xfffffff7, .len = 0x70 },
	{ .id = PCI_EXT_CAP_ID_DSN, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_PWR, .len = 16 },
	{ .id = PCI_EXT_CAP_ID_VC9, .at_4 = 1, .len = 0x28 },
	{ .id = PCI_EXT_CAP_ID_VNDR, .at_4 = 0x00800000, .len = 8 },
	{ .id = PCI_EXT_CAP_ID_VNDR, .at_4 = 0x055fffff, .len = 0x55 },
	{ .id = PCI_EXT_CAP_ID_ACS, .at_4 = 0xffffffdf, .len = 8 },
	{ .id = PCI_EXT_CAP_ID_ACS, .at_4 = 0x0120, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_ACS, .at_4 = 0x2120, .len = 16 },
	{ .id = PCI_EXT_CAP_ID_ACS, .at_4 = 0x0020, .len = 40 },
	{ .id = PCI_EXT_CAP_ID_ARI, .len = 8 },
	{ .id = PCI_EXT_CAP_ID_REBAR, .at_8 = 1 << 5, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_REBAR, .at_8 = 6 << 5, .len = 52 },
	{ .id = PCI_EXT_CAP_ID_DPA, .len = 17 },
	{ .id = PCI_EXT_CAP_ID_DPA, .at_4 = ALL, .len = 48 },
	{ .id = PCI_EXT_CAP_ID_TPH, .at_4 = 0x07ff0000, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_TPH, .at_4 = 0x00000200, .len = 14 },
	{ .id = PCI_EXT_CAP_ID_TPH, .at_4 = 0x003f0200, .len = 140 },
	{ .id = PCI_EXT_CAP_ID_TPH, .at_4 = 0x003f0400, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_LTR, .len = 8 },
	{ .id = PCI_EXT_CAP_ID_SECPCI, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_L1SS, .len = 16 },
	{ .id = PCI_EXT_CAP_ID_PTM, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_DVSEC, .at_4 = 0x02000000, .len = 32 },
	{ .id = PCI_EXT_CAP_ID_DLF, .len = 12 },
	{ .id = PCI_EXT_CAP_ID_PL_16GT, .len = 32 },
};

TEST_F(caps, are_as_long_as_they_say)
{
	struct caps_device *dev = &self->dev;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(std_shown); i++) {
		const struct shown *cap = &std_shown[i];

		std_list(dev, 0x40);
		std_cap(dev, 0x40, cap->id, cap->flags, 0);
		put(dev, 0x44, 4, cap->at_4);
		WALK(dev);
		EXPECT_STRNE("no list", std_seen(dev));
		EXPECT_EQ(cap->len, readable(dev, 0x40)) {
			TH_LOG("capability %#x", cap->id);
		}
	}
	memset(dev->first, 0, sizeof(dev->first));
	for (i = 0; i < ARRAY_SIZE(ext_shown); i++) {
		const struct shown *cap = &ext_shown[i];

		ext_cap(dev, 0x100, cap->id, 0);
		put(dev, 0x104, 4, cap->at_4);
		put(dev, 0x108, 4, cap->at_8);
		WALK(dev);
		EXPECT_STRNE("no list", ext_seen(dev));
		EXPECT_EQ(cap->len, readable(dev, 0x100)) {
			TH_LOG("extended capability %#x", cap->id);
		}
	}
}

static bool is_shown(const struct shown *shown, size_t count, u16 id)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (shown[i].id == id)
			return true;
	return false;
}

/* Only those of the lists above; VPD has no hardware to be read. */
TEST_F(caps, of_other_kinds_are_hidden)
{
	struct caps_device *dev = &self->dev;
	u32 id;

	for (id = 0; id < 0x200; id++) {
		bool std = id < 0xff && id != PCI_CAP_ID_VPD &&
			   !is_shown(std_shown, ARRAY_SIZE(std_shown), id);
		bool ext = !is_shown(ext_shown, ARRAY_SIZE(ext_shown), id);

		memset(dev->first, 0, sizeof(dev->first));
		std_list(dev, 0x40);
		std_cap(dev, 0x40, id, 0x10, 0);
		ext_cap(dev, 0x100, id, 0);
		put(dev, 0x104, 4, 0x01000000);
		put(dev, 0x108, 4, 1 << 5);
		WALK(dev);
		EXPECT_EQ(std || id >= 0xff, !strcmp(std_seen(dev), "no list") ||
			  id >= 0xff) {
			TH_LOG("capability %#x: %s", id, std_seen(dev));
		}
		EXPECT_EQ(ext, !strcmp(ext_seen(dev), "no list")) {
			TH_LOG("extended capability %#x", id);
		}
	}
}

/* Registers, bit by bit */

TEST_F(caps, header_begins_as_hardware_is)
{
	struct caps_device *dev = &self->dev;

	memset(dev->first, 0xa5, PCI_STD_HEADER_SIZEOF);
	put(dev, PCI_CAPABILITY_LIST, 1, 0);
	WALK(dev);
	/* The masks are those of caps_check.c. */
	EXPECT_EQ(0, caps_user_read(dev, PCI_VENDOR_ID));
	EXPECT_EQ(0xa5a5a1a5, caps_user_read(dev, PCI_COMMAND));
	EXPECT_EQ(0xa5a5a5a5, caps_user_read(dev, PCI_CLASS_REVISION));
	EXPECT_EQ(0xa5a5a5a5, caps_user_read(dev, PCI_CACHE_LINE_SIZE));
	EXPECT_EQ(0, caps_user_read(dev, PCI_BASE_ADDRESS_0));
	EXPECT_EQ(0, caps_user_read(dev, PCI_BASE_ADDRESS_5));
	EXPECT_EQ(0xa5a5a5a5, caps_user_read(dev, PCI_CARDBUS_CIS));
	EXPECT_EQ(0xa5a5a5a5, caps_user_read(dev, PCI_SUBSYSTEM_VENDOR_ID));
	EXPECT_EQ(0, caps_user_read(dev, PCI_ROM_ADDRESS));
	EXPECT_EQ(0, caps_user_read(dev, PCI_CAPABILITY_LIST));
	EXPECT_EQ(0, caps_user_read(dev, 0x38));
	EXPECT_EQ(0xa5a5a5a5, caps_user_read(dev, PCI_INTERRUPT_LINE));
}

TEST_F(caps, power_is_the_kernels)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PM, 0xffff, 0);
	put(dev, 0x44, 4, ALL);
	WALK(dev);
	EXPECT_REG(dev, 0x40, .hw = 0x07ff0000, .lock = ALL);
	EXPECT_REG(dev, 0x44, .hw = 0xffff7efc, .lock = ALL,
		   .fn = UVFIO_REG_POWER);
	EXPECT_EQ(0x07ff0001, caps_user_read(dev, 0x40));
	EXPECT_EQ(0xffff7efc, caps_user_read(dev, 0x44));
}

TEST_F(caps, vpd_is_the_kernels)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_VPD, 0xffff, 0);
	put(dev, 0x44, 4, ALL);
	WALK(dev);
	EXPECT_STREQ("40:03", std_seen(dev));
	EXPECT_REG(dev, 0x40, .keep = 0x7fff0000, .lock = ALL,
		   .fn = UVFIO_REG_VPD);
	EXPECT_REG(dev, 0x44, .lock = ALL, .fn = UVFIO_REG_VPD_DATA);
	EXPECT_EQ(0x00000003, caps_user_read(dev, 0x40));
	EXPECT_EQ(0, caps_user_read(dev, 0x44));
}

static const struct {
	u16 flags;
	u32 last, last_mask;	/* dword, and what of it is in the capability */
} msi_forms[] = {
	{ 0, 0x08, 0xffff },
	{ PCI_MSI_FLAGS_64BIT, 0x0c, 0xffff },
	{ PCI_MSI_FLAGS_MASKBIT, 0x10, ALL },
	{ PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT, 0x14, ALL },
};

TEST_F(caps, msi_is_remembered)
{
	struct caps_device *dev = &self->dev;
	size_t i;
	u32 off;

	memset(dev->first, 0xff, PCI_CFG_SPACE_SIZE);
	std_list(dev, 0x40);
	for (i = 0; i < ARRAY_SIZE(msi_forms); i++) {
		std_cap(dev, 0x40, PCI_CAP_ID_MSI,
			0xfe7f | msi_forms[i].flags, 0);
		WALK(dev);
		EXPECT_REG(dev, 0x40, .hw = 0xff8e0000, .keep = 0x00710000,
			   .lock = ALL);
		for (off = 4; off < msi_forms[i].last; off += 4)
			EXPECT_REG(dev, 0x40 + off, .keep = ALL, .lock = ALL);
		EXPECT_REG(dev, 0x40 + off, .keep = msi_forms[i].last_mask,
			   .lock = msi_forms[i].last_mask);
		EXPECT_REG(dev, 0x44 + off, 0);
		EXPECT_EQ(0, caps_user_read(dev, 0x44));
		EXPECT_EQ(0, caps_user_read(dev, 0x40 + off));
	}
}

TEST_F(caps, msix_is_remembered)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_MSIX, 0xffff, 0);
	WALK(dev);
	EXPECT_REG(dev, 0x40, .hw = 0x3fff0000, .keep = 0xc0000000,
		   .lock = ALL);
	EXPECT_REG(dev, 0x44, .hw = ALL, .lock = ALL);
	EXPECT_REG(dev, 0x48, .hw = ALL, .lock = ALL);
	EXPECT_EQ(0x3fff0011, caps_user_read(dev, 0x40));
}

TEST_F(caps, express_controls_the_device_alone)
{
	struct caps_device *dev = &self->dev;
	u32 off;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_EXP, 2, 0);
	put(dev, 0x48, 4, ALL & ~PCI_EXP_DEVCTL_BCR_FLR);
	WALK(dev);
	EXPECT_REG(dev, 0x40, .hw = 0xffff0000, .lock = 0x0000ffff);
	EXPECT_REG(dev, 0x48, .hw = 0xffff7f1f, .keep = 0x000000e0,
		   .write = 0x000f0010, .w1c = 0x004f0000, .lock = 0x0000ffff,
		   .fn = UVFIO_REG_DEVCTL);
	for (off = 0x4c; off < 0x74; off += 4)
		EXPECT_REG(dev, off, .hw = ALL,
			   .write = off == 0x68 ? 0x1f : 0,
			   .w1c = off == 0x50 ? 0xc0000000 :
				  off == 0x70 ? 0x00200000 : 0);
	EXPECT_REG(dev, 0x74, 0);
	/* Max_Payload_Size as the kernel has set it */
	EXPECT_EQ(0xffff7fff, caps_user_read(dev, 0x48));
}

TEST_F(caps, flr_is_the_kernels)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_AF, 0, 0);
	WALK(dev);
	EXPECT_REG(dev, 0x40, .hw = 0xffff0000, .lock = ALL);
	EXPECT_REG(dev, 0x44, .hw = 0x0000fffe, .lock = 0x0000ffff,
		   .fn = UVFIO_REG_AF);
}

TEST_F(caps, power_budget_can_be_selected)
{
	struct caps_device *dev = &self->dev;

	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_PWR, 0);
	WALK(dev);
	EXPECT_REG(dev, 0x100, .lock = ALL);
	EXPECT_REG(dev, 0x104, .hw = ALL, .write = 0xff);
	EXPECT_REG(dev, 0x108, .hw = ALL);
	EXPECT_REG(dev, 0x10c, .hw = ALL);
	EXPECT_REG(dev, 0x110, 0);
}

/* They matter to a permit for one of their neighbours. */
TEST_F(caps, errors_are_not_cleared_in_passing)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_PCIX, 0, 0);
	ext_cap(dev, 0x100, PCI_EXT_CAP_ID_ERR, 0x200);
	ext_cap(dev, 0x200, PCI_EXT_CAP_ID_SECPCI, 0);
	WALK(dev);
	EXPECT_REG(dev, 0x44, .hw = ALL, .w1c = 0x200c0000);
	EXPECT_REG(dev, 0x104, .hw = ALL, .w1c = ALL);
	EXPECT_REG(dev, 0x108, .hw = ALL);
	EXPECT_REG(dev, 0x110, .hw = ALL, .w1c = ALL);
	EXPECT_REG(dev, 0x208, .hw = ALL, .w1c = ALL);
}

/* What no permit may open */

static void expect_locked(struct __test_metadata *_metadata,
			  struct caps_device *dev, u32 pos, u32 len)
{
	u32 at;

	WALK(dev);
	for (at = pos; at < pos + len; at += 4) {
		EXPECT_EQ(ALL, dev->regs[at / 4].lock) {
			TH_LOG("at %#x", at);
		}
	}
}

TEST_F(caps, of_the_kernel_are_locked)
{
	static const struct {
		u16 id, len;
	} own[] = {
		{ PCI_EXT_CAP_ID_ACS, 8 }, { PCI_EXT_CAP_ID_ATS, 8 },
		{ PCI_EXT_CAP_ID_SRIOV, 64 }, { PCI_EXT_CAP_ID_MRIOV, 4 },
		{ PCI_EXT_CAP_ID_MCAST, 40 }, { PCI_EXT_CAP_ID_PRI, 16 },
		{ PCI_EXT_CAP_ID_REBAR, 12 }, { PCI_EXT_CAP_ID_PASID, 8 },
	};
	struct caps_device *dev = &self->dev;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own); i++) {
		/* Also one that there is no room for, or that says so */
		ext_cap(dev, 0x100, own[i].id, 0);
		expect_locked(_metadata, dev, 0x100, own[i].len);
		put(dev, 0x104, 4, ALL);
		expect_locked(_metadata, dev, 0x100, own[i].len);
		put(dev, 0x104, 4, 0);
		ext_cap(dev, 0x100, PCI_EXT_CAP_ID_LTR, 0xffc);
		ext_cap(dev, 0xffc, own[i].id, 0);
		expect_locked(_metadata, dev, 0xffc, 4);
	}
}

/* Its entries are as good as BARs. */
TEST_F(caps, of_enhanced_allocation_are_locked_to_their_end)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_EA, 2, 0);
	put(dev, 0x44, 4, PCI_EA_ENABLE | PCI_EA_WRITABLE | 2);
	put(dev, 0x50, 4, PCI_EA_ENABLE | PCI_EA_WRITABLE | 4);
	expect_locked(_metadata, dev, 0x40, 4 + 12 + 20);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_EQ(0, dev->rejected);
	EXPECT_REG(dev, 0x64, 0);
}

/* These are longer than what is known of them, but not longer than it can be. */
TEST_F(caps, of_the_host_are_locked_up_to_the_next)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_HT, HT_CAPTYPE_IRQ << 8, 0x80);
	std_cap(dev, 0x80, PCI_CAP_ID_SECDEV, 0, 0xc0);
	std_cap(dev, 0xc0, PCI_CAP_ID_HT, HT_CAPTYPE_MSI_MAPPING << 8, 0xcc);
	std_cap(dev, 0xcc, PCI_CAP_ID_VNDR, 0x10, 0xf8);
	std_cap(dev, 0xf8, PCI_CAP_ID_HT, 0, 0);
	dev->size = PCI_CFG_SPACE_SIZE;
	expect_locked(_metadata, dev, 0x40, 28);
	expect_locked(_metadata, dev, 0x80, 24);
	expect_locked(_metadata, dev, 0xc0, 12);
	expect_locked(_metadata, dev, 0xf8, 8);
	EXPECT_REG(dev, 0x5c, 0);
	EXPECT_REG(dev, 0x98, 0);
	EXPECT_REG(dev, 0xcc, .hw = 0xffff0000, .lock = 0x0000ffff);
	EXPECT_REG(dev, 0xd0, .hw = ALL);
	EXPECT_STREQ("40:08 c0:08 cc:09 f8:08", std_seen(dev));
}

/* The kernel does not care that they overlap, and uses the hidden one. */
TEST_F(caps, write_nothing_of_another_that_is_the_kernels)
{
	struct caps_device *dev = &self->dev;

	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_EXP, 2, 0x48);
	std_cap(dev, 0x48, PCI_CAP_ID_MSI, 0, 0x64);
	std_cap(dev, 0x64, PCI_CAP_ID_MSI, 0, 0);
	WALK(dev);
	EXPECT_STREQ("40:10", std_seen(dev));
	EXPECT_EQ(2, dev->rejected);
	EXPECT_EQ(0, dev->regs[0x48 / 4].write);
	EXPECT_EQ(0, dev->regs[0x68 / 4].write);

	/* The other way round: MSI was there first, but reaches too far. */
	memset(dev->first, 0, sizeof(dev->first));
	std_list(dev, 0xf8);
	std_cap(dev, 0xf8, PCI_CAP_ID_MSI, PCI_MSI_FLAGS_64BIT, 0xf0);
	std_cap(dev, 0xf0, PCI_CAP_ID_EXP, 0x91, 0);
	WALK(dev);
	EXPECT_STREQ("f0:10", std_seen(dev));
	EXPECT_EQ(0, dev->regs[0xf8 / 4].write);

	/* What hardware has at a header is none of the one above it. */
	memset(dev->first, 0, sizeof(dev->first));
	std_list(dev, 0x40);
	std_cap(dev, 0x40, PCI_CAP_ID_EXP, 2, 0x48);
	std_cap(dev, 0x48, PCI_CAP_ID_MSIX, 0, 0xe0);
	expect_locked(_metadata, dev, 0x48, 12);
	EXPECT_STREQ("40:10", std_seen(dev));
	EXPECT_EQ(1, dev->rejected);
}

/* Devices that change their mind */

TEST_F(caps, that_change_are_survived)
{
	struct caps_device *dev = &self->dev;
	u32 pos;

	dev->changes = true;
	std_list(dev, 0x40);
	for (pos = 0x40; pos < 0x100; pos += 0x20)
		std_cap(dev, pos, PCI_CAP_ID_VNDR, 0x10, (pos + 0x20) & 0xff);
	for (pos = 0x100; pos < 0x1000; pos += 0x20) {
		ext_cap(dev, pos, PCI_EXT_CAP_ID_VNDR, (pos + 0x20) & 0xfff);
		put(dev, pos + 4, 4, 0x01000000);
	}

	/* The links stay as they were found. */
	memcpy(dev->later, dev->first, sizeof(dev->later));
	WALK(dev);
	EXPECT_EQ(6 * 6 - 1, strlen(std_seen(dev)));
	EXPECT_EQ(120 * 9 - 1, strlen(ext_seen(dev)));
	for (pos = 0x40; pos < 0x100; pos += 0x20)
		dev->later[pos + 1] = 0x40;
	WALK(dev);
	EXPECT_EQ(6 * 6 - 1, strlen(std_seen(dev)));

	/* It has gone: no capability of vendors has a length. */
	memset(dev->later, 0xff, sizeof(dev->later));
	WALK(dev);
	EXPECT_STREQ("40:09 60:09 80:09 a0:09 c0:09", std_seen(dev));
	memset(dev->later, 0, sizeof(dev->later));
	WALK(dev);
	EXPECT_STREQ("no list", std_seen(dev));
	EXPECT_EQ(6, dev->rejected);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* With many headers in it, for what is at random is hardly ever one. */
static void fill_random(u8 *config, uint64_t *state)
{
	u32 off, value;

	for (off = 0; off < PCI_CFG_SPACE_EXP_SIZE; off += 4) {
		uint64_t random = next_random(state);

		value = random >> 32;
		if (off < PCI_CFG_SPACE_SIZE && random % 4)
			value = (value & 0xffffff00) | (random >> 8) % 0x16;
		else if (random % 4)
			value = (value & 0xffff0000) | (random >> 8) % 0x30;
		memcpy(config + off, &value, sizeof(value));
	}
	config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	config[PCI_CAPABILITY_LIST] |= PCI_STD_HEADER_SIZEOF;
}

TEST_F(caps, at_random_are_survived)
{
	struct caps_device *dev = &self->dev;
	uint64_t state = 88172645463325252;
	unsigned int i, shown = 0, rejected = 0;

	for (i = 0; i < 1500; i++) {
		fill_random(dev->first, &state);
		fill_random(dev->later, &state);
		dev->changes = i % 3 == 0;
		dev->hide_msix = i % 2;
		dev->size = i % 5 ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
		ASSERT_STREQ("", caps_walk(dev)) {
			TH_LOG("device %u", i);
		}
		shown += !!strcmp("no list", std_seen(dev));
		rejected += dev->rejected;
	}
	/* So that it was worth it */
	EXPECT_LT(500, shown);
	EXPECT_LT(500, rejected);
}

/* What a write reaches in the end, be it by the kernel's hand */
TEST(effect_of_a_write)
{
	static const struct {
		u8 fn;
		u32 bits;
	} effects[] = {
		{ UVFIO_REG_PLAIN, 0 },
		{ UVFIO_REG_COMMAND, 0x0407 },
		{ UVFIO_REG_POWER, 0x0003 },
		{ UVFIO_REG_VPD, 0xffff0000 },
		{ UVFIO_REG_VPD_DATA, ALL },
		{ UVFIO_REG_DEVCTL, 0x7000 },
		{ UVFIO_REG_AF, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(effects); i++) {
		struct uvfio_reg reg = { .fn = effects[i].fn,
					 .write = 0x00100000 };

		EXPECT_EQ(effects[i].bits | 0x00100000,
			  uvfio_reg_effect(&reg));
	}
}

TEST_HARNESS_MAIN
