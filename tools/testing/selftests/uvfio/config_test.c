// SPDX-License-Identifier: GPL-2.0
/*
 * Config space as a driver meets it: what is shown, what is remembered, what
 * reaches hardware. The judge is the real config space, as the administrator sees
 * it in sysfs. What no write may change is the subject of config_sweep_test.c,
 * sleep and reset that of power_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>

#include "edu.h"
#include "judge.h"
#include "monitor.h"
#include "test.h"

#define ALL		0xffffffffU

/* The bits a user has; INTx disable is kept for them, see below. */
#define COMMAND_DIRECT	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | \
			 PCI_COMMAND_MASTER)
#define COMMAND_USER	(COMMAND_DIRECT | PCI_COMMAND_INTX_DISABLE)

FIXTURE(config)
{
	struct device dev;
	struct vfio_region_info info;
	int root;		/* raw config space, to write to */
	uint64_t base;
	size_t size;
};

FIXTURE_VARIANT(config)
{
	enum which which;
	size_t size;
	unsigned int shown, hidden;	/* capabilities */
	bool vf;
};

FIXTURE_VARIANT_ADD(config, nvme)
{
	.which = NVME,
	.size = 4096,
	.shown = 3,		/* MSI-X, PCIe, PM */
};

FIXTURE_VARIANT_ADD(config, edu)
{
	.which = EDU,
	.size = 256,
	.shown = 1,		/* MSI */
};

FIXTURE_VARIANT_ADD(config, testdev)
{
	.which = TESTDEV,
	.size = 256,
};

FIXTURE_VARIANT_ADD(config, e1000e)
{
	.which = E1000E,
	.size = 4096,
	.shown = 6,		/* PM, MSI, PCIe, MSI-X; AER, DSN */
};

FIXTURE_VARIANT_ADD(config, ivshmem)
{
	.which = IVSHMEM,
	.size = 256,
};

FIXTURE_VARIANT_ADD(config, virtio_rng)
{
	.which = VIRTIO_RNG,
	.size = 4096,
	.shown = 8,		/* MSI-X, five of the vendor, PM, PCIe */
	.hidden = 1,		/* ATS */
};

FIXTURE_VARIANT_ADD(config, xhci)
{
	.which = XHCI,
	.size = 4096,
	.shown = 2,		/* MSI-X, PCIe */
};

FIXTURE_VARIANT_ADD(config, nvme_vf)
{
	.which = NVME_VF,
	.size = 4096,
	.shown = 4,		/* MSI-X, PCIe, PM; ARI */
	.vf = true,
};

FIXTURE_SETUP(config)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->root = raw_open(&self->dev);
	ASSERT_LE(0, self->root);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &self->info));
	ASSERT_EQ(variant->size, self->info.size);
	self->base = self->info.offset;
	self->size = self->info.size;
}

FIXTURE_TEARDOWN(config)
{
	device_close(&self->dev);
}

#define READ(off, len)	config_read(self->dev.fd, off, len)
#define WRITE(off, len, value) \
	ASSERT_EQ(0, config_write(self->dev.fd, off, len, value))
#define RAW(off)	raw_read32(&self->dev, off)

struct snapshot {
	uint32_t dwords[CONFIG_DWORDS];
};

static bool snapshot(int fd, uint64_t base, size_t size, struct snapshot *shot)
{
	memset(shot, 0, sizeof(*shot));
	return pread(fd, shot->dwords, size, base) == (ssize_t)size;
}

static uint16_t read_command(int fd)
{
	uint16_t value;

	return uvfio_config_read16(fd, PCI_COMMAND, &value) ? 0xffff : value;
}

/* The command register */

TEST_F(config, command_bits_are_writable_as_documented)
{
	uint16_t fixed = raw_read16(&self->dev, PCI_COMMAND) & ~COMMAND_USER;
	/* In hardware a VF decodes without this, whether it has the bit or not. */
	uint16_t mask = ~(PCI_COMMAND_INTX_DISABLE |
			  (variant->vf ? PCI_COMMAND_MEMORY : 0));
	uint32_t value;
	int bit;

	for (bit = 0; bit < 16; bit++) {
		uint16_t one = 1u << bit;

		ASSERT_EQ(0, uvfio_config_write16(self->dev.fd, PCI_COMMAND,
						  one));
		EXPECT_EQ((fixed | (one & COMMAND_DIRECT)) & mask,
			  raw_read16(&self->dev, PCI_COMMAND) & mask) {
			TH_LOG("bit %d", bit);
		}
		EXPECT_EQ(fixed | (one & COMMAND_USER),
			  read_command(self->dev.fd)) {
			TH_LOG("bit %d", bit);
		}
		ASSERT_EQ(0, uvfio_config_write16(self->dev.fd, PCI_COMMAND,
						  0));
		EXPECT_EQ(fixed, read_command(self->dev.fd));
		EXPECT_EQ(fixed, raw_read16(&self->dev, PCI_COMMAND) & mask);
	}

	/* By byte, and as a part of something longer. */
	value = PCI_COMMAND_MEMORY;
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1, self->base + PCI_COMMAND));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY, read_command(self->dev.fd));
	value = PCI_COMMAND_INTX_DISABLE >> 8;
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1,
			    self->base + PCI_COMMAND + 1));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE,
		  read_command(self->dev.fd));
	value = (uint32_t)PCI_COMMAND_IO << 16;
	ASSERT_EQ(4, pwrite(self->dev.fd, &value, 4,
			    self->base + PCI_COMMAND - 2));
	EXPECT_EQ(fixed | PCI_COMMAND_IO, read_command(self->dev.fd));
	value = 0xffff0000 | PCI_COMMAND_MEMORY;
	ASSERT_EQ(4, pwrite(self->dev.fd, &value, 4, self->base + PCI_COMMAND));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY, read_command(self->dev.fd));
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1,
			    self->base + PCI_COMMAND - 1));
	ASSERT_EQ(1, pwrite(self->dev.fd, &value, 1,
			    self->base + PCI_COMMAND + 2));
	EXPECT_EQ(fixed | PCI_COMMAND_MEMORY, read_command(self->dev.fd));
}

/*
 * Without a handler the line must stay quiet whatever the user says: the real
 * bit stays set, the user's own reads back as written.
 */
TEST_F(config, intx_stays_disabled_while_nobody_listens)
{
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, uvfio_command(self->dev.fd, 0,
					   PCI_COMMAND_INTX_DISABLE));
		EXPECT_EQ(PCI_COMMAND_INTX_DISABLE,
			  raw_read16(&self->dev, PCI_COMMAND) &
			  PCI_COMMAND_INTX_DISABLE);
		EXPECT_EQ(0, read_command(self->dev.fd) &
			     PCI_COMMAND_INTX_DISABLE);
		EXPECT_EQ(0, uvfio_command(self->dev.fd,
					   PCI_COMMAND_INTX_DISABLE, 0));
		EXPECT_EQ(PCI_COMMAND_INTX_DISABLE,
			  read_command(self->dev.fd) &
			  PCI_COMMAND_INTX_DISABLE);
	}
}

/* What is shown */

/* As the capabilities say that a driver finds them; 0: not there. */
static unsigned int shown_cap(int fd, uint8_t id)
{
	unsigned int at, left = 64;
	uint32_t header;

	if (!(config_read(fd, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	at = config_read(fd, PCI_CAPABILITY_LIST, 1);
	for (; at && left; at = header >> 8 & 0xff, left--) {
		header = config_read(fd, at, 2);
		if ((header & 0xff) == id)
			return at;
	}
	return 0;
}

/* A list in the order of its links. */
struct list {
	unsigned int count;
	struct {
		unsigned int at;
		uint32_t id;	/* extended: with its version */
		bool extended;
	} caps[128];
};

static void list_add(struct list *list, unsigned int at, uint32_t id,
		     bool extended)
{
	if (list->count == ARRAY_SIZE(list->caps))
		return;
	list->caps[list->count].at = at;
	list->caps[list->count].id = id;
	list->caps[list->count++].extended = extended;
}

/* No bound but that of struct list: what is walked has to be sound. */
static void list_walk(const struct snapshot *shot, size_t size,
		      struct list *list)
{
	unsigned int at = 0, n;
	uint32_t header;

	list->count = 0;
	if (shot->dwords[PCI_COMMAND / 4] >> 16 & PCI_STATUS_CAP_LIST)
		at = shot->dwords[PCI_CAPABILITY_LIST / 4] & 0xff;
	for (n = 0; at && n < 64; at = header >> 8 & 0xff, n++) {
		header = shot->dwords[at / 4];
		list_add(list, at, header & 0xff, false);
	}
	if (size <= PCI_CFG_SPACE_SIZE)
		return;
	/* The first one may be the null capability, and only it. */
	at = PCI_CFG_SPACE_SIZE;
	for (n = 0; at && n < 64; at = header >> 20, n++) {
		header = shot->dwords[at / 4];
		if (header & 0xfffff || n)
			list_add(list, at, header & 0xfffff, true);
	}
}

static bool kernels_own(uint32_t id)
{
	switch (id & 0xffff) {
	case PCI_EXT_CAP_ID_ATS:
	case PCI_EXT_CAP_ID_SRIOV:
	case PCI_EXT_CAP_ID_PRI:
	case PCI_EXT_CAP_ID_PASID:
		return true;
	default:
		return false;
	}
}

/* All that the device has, in its order, but for those that are the kernel's. */
TEST_F(config, capabilities_are_those_of_the_device)
{
	struct snapshot raw, user;
	unsigned int i, shown = 0, hidden = 0;
	struct list have, see;

	ASSERT_TRUE(snapshot(self->dev.raw, 0, self->size, &raw));
	ASSERT_TRUE(snapshot(self->dev.fd, self->base, self->size, &user));
	list_walk(&raw, self->size, &have);
	list_walk(&user, self->size, &see);
	for (i = 0; i < have.count; i++) {
		unsigned int at = have.caps[i].at;

		if (have.caps[i].extended && kernels_own(have.caps[i].id)) {
			hidden++;
			EXPECT_EQ(0, user.dwords[at / 4] & 0xfffff);
			EXPECT_EQ(0, user.dwords[at / 4 + 1]);
			EXPECT_NE(0, raw.dwords[at / 4 + 1]);
			continue;
		}
		ASSERT_GT(see.count, shown);
		EXPECT_EQ(at, see.caps[shown].at);
		EXPECT_EQ(have.caps[i].id, see.caps[shown].id);
		EXPECT_EQ(have.caps[i].extended, see.caps[shown].extended);
		shown++;
	}
	EXPECT_EQ(see.count, shown);
	EXPECT_EQ(variant->shown, shown);
	EXPECT_EQ(variant->hidden, hidden);
}

/* The rows of the table, that is, but for what depends on the kernel's view. */
TEST_F(config, reads_as_the_table_says)
{
	struct snapshot raw, user;
	struct judge judge;
	unsigned int i;

	ASSERT_EQ(0, judge_init(&judge, &self->dev));
	ASSERT_TRUE(snapshot(self->dev.raw, 0, self->size, &raw));
	ASSERT_TRUE(snapshot(self->dev.fd, self->base, self->size, &user));
	for (i = 0; i < self->size / 4; i++) {
		const struct uvfio_reg *reg = &judge.regs[i];
		uint32_t skip = 0;

		if (i == PCI_VENDOR_ID / 4 || i == PCI_ROM_ADDRESS / 4 ||
		    (i >= PCI_BASE_ADDRESS_0 / 4 && i <= PCI_BASE_ADDRESS_5 / 4))
			continue;
		if (i == PCI_INTERRUPT_LINE / 4)
			skip = 0xff00;
		if (i == PCI_COMMAND / 4 && variant->vf)
			skip = PCI_COMMAND_MEMORY;
		EXPECT_EQ(((raw.dwords[i] & reg->hw) |
			   (reg->initial & ~reg->hw)) & ~skip,
			  user.dwords[i] & ~skip) {
			TH_LOG("at %#x", 4 * i);
		}
	}
}

/* Hardware has something there, the user has not. */
TEST_F(config, space_of_no_capability_reads_as_zero)
{
	static const unsigned int nowhere[] = { 0xf8, 0x800, 0xffc };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nowhere) && nowhere[i] < self->size; i++) {
		uint32_t value = 0xa5a5a5a5, old = RAW(nowhere[i]);

		ASSERT_EQ(4, pwrite(self->root, &value, 4, nowhere[i]));
		EXPECT_EQ(value, RAW(nowhere[i]));
		EXPECT_EQ(0, READ(nowhere[i], 4));
		WRITE(nowhere[i], 4, 0x12345678);
		EXPECT_EQ(0, READ(nowhere[i], 4));
		EXPECT_EQ(value, RAW(nowhere[i]));
		ASSERT_EQ(4, pwrite(self->root, &old, 4, nowhere[i]));
	}
}

static unsigned int pci_attr(const struct device *dev, const char *name)
{
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", dev->bdf,
		 name);
	return read_file(path, text, sizeof(text)) ? 0 : strtoul(text, NULL, 0);
}

/* Those of a VF are all ones in hardware; the kernel has them from the PF. */
TEST_F(config, ids_are_those_that_the_kernel_knows)
{
	EXPECT_NE(0, pci_attr(&self->dev, "vendor"));
	EXPECT_EQ(pci_attr(&self->dev, "vendor"), READ(PCI_VENDOR_ID, 2));
	EXPECT_EQ(pci_attr(&self->dev, "device"), READ(PCI_DEVICE_ID, 2));
	EXPECT_EQ(variant->vf, RAW(PCI_VENDOR_ID) == ALL);
	EXPECT_EQ(pci_attr(&self->dev, "class"), READ(PCI_CLASS_REVISION, 4) >> 8);
	EXPECT_EQ(pci_attr(&self->dev, "subsystem_vendor"),
		  READ(PCI_SUBSYSTEM_VENDOR_ID, 2));
	EXPECT_EQ(PCI_HEADER_TYPE_NORMAL, READ(PCI_HEADER_TYPE, 1) & 0x7f);

	WRITE(PCI_VENDOR_ID, 4, 0);
	EXPECT_EQ(pci_attr(&self->dev, "vendor"), READ(PCI_VENDOR_ID, 2));
}

TEST_F(config, interrupt_pin_is_that_of_the_line)
{
	int lines = uvfio_irq_count(self->dev.fd, VFIO_PCI_INTX_IRQ_INDEX);
	unsigned int pin = RAW(PCI_INTERRUPT_LINE) >> 8 & 0xff;

	EXPECT_EQ(lines ? pin : 0, READ(PCI_INTERRUPT_PIN, 1));
	EXPECT_EQ(pin && !variant->vf, lines);
	WRITE(PCI_INTERRUPT_PIN, 1, 2);
	EXPECT_EQ(lines ? pin : 0, READ(PCI_INTERRUPT_PIN, 1));
}

/* Any access is made of the same bytes. */
TEST_F(config, every_width_and_alignment_reads_the_same)
{
	struct snapshot whole;
	uint8_t bytes[16];
	size_t at, len;

	ASSERT_TRUE(snapshot(self->dev.fd, self->base, self->size, &whole));
	for (at = 0; at < 0x50; at++) {
		for (len = 1; len <= sizeof(bytes); len++) {
			ASSERT_EQ((ssize_t)len, pread(self->dev.fd, bytes, len,
						      self->base + at));
			EXPECT_EQ(0, memcmp(bytes, (uint8_t *)&whole + at, len)) {
				TH_LOG("at 0x%zx length %zu", at, len);
			}
		}
	}
}

/* BARs */

struct resource {
	unsigned long long start, end;	/* inclusive; both 0: none */
	unsigned long long flags;
};

#define BARS		6
#define RESOURCES	(BARS + 1)	/* the last is the ROM */
#define RESOURCE_IO	0x100
#define RESOURCE_64	0x100000

static bool read_resources(const struct device *dev, struct resource *resources)
{
	char path[PATH_MAX];
	unsigned int i;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
		 dev->bdf);
	file = fopen(path, "re");
	if (!file)
		return false;
	for (i = 0; i < RESOURCES; i++) {
		if (fscanf(file, "%llx %llx %llx",
			   &resources[i].start, &resources[i].end,
			   &resources[i].flags) != 3)
			break;
	}
	fclose(file);
	return i == RESOURCES;
}

/* As firmware does it: ones in, see which stay, the old value back. */
static uint32_t ones_that_stay(int fd, unsigned int off)
{
	uint32_t old = config_read(fd, off, 4), mask;

	if (config_write(fd, off, 4, ALL))
		return 0;
	mask = config_read(fd, off, 4);
	if (config_write(fd, off, 4, old) || config_read(fd, off, 4) != old)
		return 0;
	return mask;
}

TEST_F(config, bars_have_the_sizes_of_their_resources)
{
	struct resource res[RESOURCES];
	struct snapshot before, after;
	unsigned int i, bars = 0;

	ASSERT_TRUE(read_resources(&self->dev, res));
	ASSERT_TRUE(snapshot(self->dev.raw, 0, self->size, &before));
	for (i = 0; i < BARS; i++) {
		unsigned int off = PCI_BASE_ADDRESS_0 + 4 * i;
		uint32_t type = res[i].flags & RESOURCE_IO ? 0x3 : 0xf;
		uint64_t mask = ones_that_stay(self->dev.fd, off);
		uint64_t address = READ(off, 4);

		if (!res[i].end) {
			EXPECT_EQ(0, mask);
			EXPECT_EQ(0, address);
			continue;
		}
		bars++;
		EXPECT_EQ(res[i].flags & type, mask & type);
		EXPECT_EQ(res[i].flags & type, address & type);
		if (res[i].flags & RESOURCE_64) {
			off += 4;
			mask |= (uint64_t)ones_that_stay(self->dev.fd, off)
				<< 32;
			address |= (uint64_t)READ(off, 4) << 32;
		} else {
			mask |= (uint64_t)ALL << 32;
		}
		EXPECT_EQ(res[i].start, address & ~(uint64_t)type);
		EXPECT_EQ(res[i].end - res[i].start + 1,
			  -(mask & ~(uint64_t)type));
		if (res[i].flags & RESOURCE_64)
			i++;
	}
	EXPECT_LT(0, bars);
	ASSERT_TRUE(snapshot(self->dev.raw, 0, self->size, &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
}

TEST_F(config, rom_has_the_size_of_its_resource)
{
	uint32_t raw = RAW(PCI_ROM_ADDRESS), mask;
	struct resource res[RESOURCES];
	struct vfio_region_info info;

	ASSERT_TRUE(read_resources(&self->dev, res));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_ROM_REGION_INDEX,
				  &info));
	mask = ones_that_stay(self->dev.fd, PCI_ROM_ADDRESS);
	EXPECT_EQ(info.size, (uint32_t)-(mask & PCI_ROM_ADDRESS_MASK));
	EXPECT_EQ(res[BARS].end ? res[BARS].end - res[BARS].start + 1 : 0,
		  info.size);
	EXPECT_EQ(res[BARS].start, READ(PCI_ROM_ADDRESS, 4) &
				   PCI_ROM_ADDRESS_MASK);
	EXPECT_EQ(info.size != 0, mask & PCI_ROM_ADDRESS_ENABLE);
	EXPECT_EQ(variant->which == E1000E, info.size != 0);
	EXPECT_EQ(raw, RAW(PCI_ROM_ADDRESS));
}

/* What is written is read back, as far as there are bits for it. */
TEST_F(config, bars_are_remembered_and_do_not_move)
{
	uint32_t first[BARS], value;
	struct vfio_region_info info;
	unsigned int i, byte;

	for (i = 0; i < BARS; i++) {
		if (uvfio_region_read(self->dev.fd, i, 0, &first[i], 4))
			first[i] = 0;
	}

	for (i = 0; i < BARS; i++) {
		unsigned int off = PCI_BASE_ADDRESS_0 + 4 * i;
		uint32_t old = READ(off, 4), raw = RAW(off), bits;

		WRITE(off, 4, 0);
		bits = ones_that_stay(self->dev.fd, off) ^ READ(off, 4);
		for (byte = 0; byte < 4; byte++)
			WRITE(off + byte, 1, 0xa0 + i);
		value = 0x01010101 * (0xa0 + i);
		EXPECT_EQ((value & bits) | (old & ~bits), READ(off, 4));
		EXPECT_EQ(raw, RAW(off));
	}

	/* They are where they were: so is what is in them. */
	for (i = 0; i < BARS; i++) {
		ASSERT_EQ(0, uvfio_region(self->dev.fd, i, &info));
		if (!info.size)
			continue;
		ASSERT_EQ(0, uvfio_region_read(self->dev.fd, i, 0, &value, 4));
		EXPECT_EQ(first[i], value);
	}
}

/* What is remembered only */

TEST_F(config, notes_are_remembered_and_reach_nothing)
{
	static const unsigned int notes[] = {
		PCI_CACHE_LINE_SIZE, PCI_LATENCY_TIMER, PCI_INTERRUPT_LINE,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(notes); i++) {
		uint8_t raw = raw_read16(&self->dev, notes[i]);

		EXPECT_EQ(raw, READ(notes[i], 1));
		WRITE(notes[i], 1, raw ^ 0x5a);
		EXPECT_EQ(raw ^ 0x5a, (int)READ(notes[i], 1));
		EXPECT_EQ(raw, (uint8_t)raw_read16(&self->dev, notes[i]));
	}
}

#define MSI_OWN	(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE)

/* A driver's own set-up of MSI, and the kernel's, which is what counts. */
TEST_F(config, msi_is_remembered_and_the_kernel_s)
{
	unsigned int at = shown_cap(self->dev.fd, PCI_CAP_ID_MSI), data;
	uint16_t flags, raw;
	int event;

	EXPECT_EQ(raw_cap(&self->dev, PCI_CAP_ID_MSI), at);
	if (!at)
		return;
	raw = raw_read16(&self->dev, at + PCI_MSI_FLAGS);
	flags = READ(at + PCI_MSI_FLAGS, 2);
	EXPECT_EQ(raw, flags);
	EXPECT_EQ(0, flags & MSI_OWN);
	data = flags & PCI_MSI_FLAGS_64BIT ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32;

	WRITE(at + PCI_MSI_ADDRESS_LO, 4, 0xfee01234);
	WRITE(at + data, 2, 0x4321);
	WRITE(at + PCI_MSI_FLAGS, 2, ALL);
	EXPECT_EQ(0xfee01234, READ(at + PCI_MSI_ADDRESS_LO, 4));
	EXPECT_EQ(0x4321, READ(at + data, 2));
	EXPECT_EQ(flags | MSI_OWN, (int)READ(at + PCI_MSI_FLAGS, 2));
	EXPECT_EQ(0, RAW(at + PCI_MSI_ADDRESS_LO));
	EXPECT_EQ(0, raw_read16(&self->dev, at + data));
	EXPECT_EQ(raw, raw_read16(&self->dev, at + PCI_MSI_FLAGS));

	event = event_new();
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSI_IRQ_INDEX, 0,
					&event, 1));
	EXPECT_EQ(raw | PCI_MSI_FLAGS_ENABLE,
		  raw_read16(&self->dev, at + PCI_MSI_FLAGS));
	EXPECT_NE(0, RAW(at + PCI_MSI_ADDRESS_LO));
	EXPECT_NE(0xfee01234, RAW(at + PCI_MSI_ADDRESS_LO));
	EXPECT_EQ(0xfee01234, READ(at + PCI_MSI_ADDRESS_LO, 4));
	WRITE(at + PCI_MSI_FLAGS, 2, 0);
	EXPECT_EQ(flags, READ(at + PCI_MSI_FLAGS, 2));
	EXPECT_EQ(raw | PCI_MSI_FLAGS_ENABLE,
		  raw_read16(&self->dev, at + PCI_MSI_FLAGS));

	WRITE(at + PCI_MSI_FLAGS, 2, ALL);
	ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd, VFIO_PCI_MSI_IRQ_INDEX));
	EXPECT_EQ(raw, raw_read16(&self->dev, at + PCI_MSI_FLAGS));
	EXPECT_EQ(flags | MSI_OWN, (int)READ(at + PCI_MSI_FLAGS, 2));
}

#define MSIX_OWN	(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)

TEST_F(config, msix_is_remembered_and_the_kernel_s)
{
	unsigned int at = shown_cap(self->dev.fd, PCI_CAP_ID_MSIX), vectors;
	struct vfio_region_info info;
	uint32_t table;
	uint16_t flags;
	int event;

	EXPECT_EQ(raw_cap(&self->dev, PCI_CAP_ID_MSIX), at);
	if (!at)
		return;
	flags = READ(at + PCI_MSIX_FLAGS, 2);
	EXPECT_EQ(raw_read16(&self->dev, at + PCI_MSIX_FLAGS), flags);
	EXPECT_EQ(0, flags & MSIX_OWN);
	vectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1;
	EXPECT_EQ(vectors, uvfio_irq_count(self->dev.fd,
					   VFIO_PCI_MSIX_IRQ_INDEX));
	table = READ(at + PCI_MSIX_TABLE, 4);
	EXPECT_EQ(RAW(at + PCI_MSIX_TABLE), table);
	EXPECT_EQ(RAW(at + PCI_MSIX_PBA), READ(at + PCI_MSIX_PBA, 4));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, table & PCI_MSIX_TABLE_BIR,
				  &info));
	EXPECT_LE((table & PCI_MSIX_TABLE_OFFSET) +
		  vectors * PCI_MSIX_ENTRY_SIZE, info.size);

	WRITE(at + PCI_MSIX_FLAGS, 2, ALL);
	WRITE(at + PCI_MSIX_TABLE, 4, ALL);
	EXPECT_EQ(flags | MSIX_OWN, (int)READ(at + PCI_MSIX_FLAGS, 2));
	EXPECT_EQ(table, READ(at + PCI_MSIX_TABLE, 4));
	EXPECT_EQ(flags, raw_read16(&self->dev, at + PCI_MSIX_FLAGS));

	event = event_new();
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, &event, 1));
	EXPECT_EQ(flags | PCI_MSIX_FLAGS_ENABLE,
		  raw_read16(&self->dev, at + PCI_MSIX_FLAGS));
	WRITE(at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_MASKALL);
	EXPECT_EQ(flags | PCI_MSIX_FLAGS_MASKALL,
		  (int)READ(at + PCI_MSIX_FLAGS, 2));
	EXPECT_EQ(flags | PCI_MSIX_FLAGS_ENABLE,
		  raw_read16(&self->dev, at + PCI_MSIX_FLAGS));
	ASSERT_EQ(0, uvfio_irq_disable(self->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_EQ(flags, raw_read16(&self->dev, at + PCI_MSIX_FLAGS));
	EXPECT_EQ(flags | PCI_MSIX_FLAGS_MASKALL,
		  (int)READ(at + PCI_MSIX_FLAGS, 2));
}

/*
 * The payload size has to agree with the path. The read request size is what
 * hardware has; here that is fixed, as are the other bits that a user has.
 */
TEST_F(config, pcie_device_control_is_bounded)
{
	unsigned int at = shown_cap(self->dev.fd, PCI_CAP_ID_EXP);
	unsigned int size;
	uint32_t raw;

	EXPECT_EQ(raw_cap(&self->dev, PCI_CAP_ID_EXP), at);
	if (!at)
		return;
	EXPECT_EQ(RAW(at + PCI_EXP_DEVCAP), READ(at + PCI_EXP_DEVCAP, 4));
	raw = RAW(at + PCI_EXP_DEVCTL);
	EXPECT_EQ(raw, READ(at + PCI_EXP_DEVCTL, 4));
	for (size = 0; size < 8; size++) {
		uint32_t value;

		WRITE(at + PCI_EXP_DEVCTL, 2, size << 5 | size << 12);
		value = READ(at + PCI_EXP_DEVCTL, 2);
		EXPECT_EQ(size << 5, value & PCI_EXP_DEVCTL_PAYLOAD);
		EXPECT_EQ(RAW(at + PCI_EXP_DEVCTL) & PCI_EXP_DEVCTL_READRQ,
			  value & PCI_EXP_DEVCTL_READRQ);
		EXPECT_EQ(raw & ~PCI_EXP_DEVCTL_READRQ,
			  RAW(at + PCI_EXP_DEVCTL) & ~PCI_EXP_DEVCTL_READRQ);
	}
}

/* Nothing that a user wrote is left, neither for eyes nor in hardware. */
TEST_F(config, all_is_as_before_for_the_next_user)
{
	static const uint32_t values[] = { 0x5a5a5a5a, ALL, 0 };
	struct snapshot raw[2], user[2];
	unsigned int i, at;

	ASSERT_TRUE(snapshot(self->dev.raw, 0, self->size, &raw[0]));
	ASSERT_TRUE(snapshot(self->dev.fd, self->base, self->size, &user[0]));
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		for (at = 0; at < self->size; at += 4)
			WRITE(at, 4, values[i]);
		ASSERT_TRUE(snapshot(self->dev.fd, self->base, self->size,
				     &user[1]));
		EXPECT_NE(0, memcmp(&user[0], &user[1], sizeof(user[0])));

		device_close(&self->dev);
		ASSERT_EQ(0, device_open_attached(&self->dev, -1));
		ASSERT_TRUE(snapshot(self->dev.raw, 0, self->size, &raw[1]));
		ASSERT_TRUE(snapshot(self->dev.fd, self->base, self->size,
				     &user[1]));
		EXPECT_EQ(0, memcmp(&raw[0], &raw[1], sizeof(raw[0])));
		EXPECT_EQ(0, memcmp(&user[0], &user[1], sizeof(user[0])));
	}
}

/* What the command register shows is what holds, also for the next domain. */

FIXTURE(line)
{
	struct device dev;
	struct edu edu;
	int event;
};

FIXTURE_SETUP(line)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->event = event_new();
	ASSERT_LE(0, self->event);
}

FIXTURE_TEARDOWN(line)
{
	edu_stop(&self->edu);
	device_close(&self->dev);
}

TEST_F(line, disable_bit_outlasts_a_domain)
{
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_INTX_DISABLE, 0));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_EQ(PCI_COMMAND_INTX_DISABLE, read_command(self->dev.fd) &
					    PCI_COMMAND_INTX_DISABLE);

	/* Without a write of the command register between. */
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_INTX_IRQ_INDEX,
					0, &self->event, 1));
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_FALSE(event_wait(self->event, QUIET_MS));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(event_wait(self->event, WAIT_MS));
	edu_write(&self->edu, EDU_IRQ_ACK, 1);
}

/*
 * Errors that hardware notes in write-1-to-clear bits. QEMU's monitor makes them;
 * the root port, which the kernel would hear of them by, is told to be quiet.
 */

#define COMP_TIMEOUT	PCI_ERR_UNC_COMP_TIME
#define POISONED	PCI_ERR_UNC_POISON_TLP

FIXTURE(errors)
{
	struct device dev;
	struct device port;
	int root, permit;	/* opened as root */
	unsigned int aer, port_aer;
	uint32_t port_command;	/* as the kernel has set it */
};

/* The port that leads to @bdf. */
static int port_open(const char *bdf, struct device *port)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = '\0';
	*strrchr(target, '/') = '\0';
	snprintf(port->bdf, sizeof(port->bdf), "%.15s",
		 strrchr(target, '/') + 1);
	port->raw = raw_open(port);
	return port->raw < 0 ? port->raw : 0;
}

FIXTURE_SETUP(errors)
{
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	ASSERT_EQ(0, port_open(self->dev.bdf, &self->port));
	self->port_aer = raw_ext_cap(&self->port, PCI_EXT_CAP_ID_ERR);
	ASSERT_NE(0, self->port_aer);
	self->port_command = raw_read32(&self->port, self->port_aer +
						     PCI_ERR_ROOT_COMMAND);
	ASSERT_EQ(0, raw_write(self->port.raw,
			       self->port_aer + PCI_ERR_ROOT_COMMAND, 4, 0));
	self->root = raw_open(&self->dev);
	ASSERT_LE(0, self->root);
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	self->aer = raw_ext_cap(&self->dev, PCI_EXT_CAP_ID_ERR);
	ASSERT_NE(0, self->aer);
	ASSERT_EQ(0, monitor_open());
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	/* Without it only the capability notes errors. */
	ASSERT_EQ(0, raw_write(self->root, PCI_COMMAND, 2,
			       raw_read16(&self->dev, PCI_COMMAND) |
			       PCI_COMMAND_SERR));
}

FIXTURE_TEARDOWN(errors)
{
	EXPECT_EQ(0, raw_write(self->root, self->aer + PCI_ERR_UNCOR_STATUS, 4,
			       ALL));
	EXPECT_EQ(0, permit_write(self->permit,
				  self->aer + PCI_ERR_UNCOR_STATUS, 0, 0));
	EXPECT_EQ(0, raw_write(self->port.raw, self->port_aer +
			       PCI_ERR_ROOT_STATUS, 4, ALL));
	EXPECT_EQ(0, raw_write(self->port.raw,
			       self->port_aer + PCI_ERR_ROOT_COMMAND, 4,
			       self->port_command));
	device_close(&self->dev);
}

static void inject(struct __test_metadata *_metadata, const char *error)
{
	char command[64], answer[256];

	snprintf(command, sizeof(command), "pcie_aer_inject_error e1000e %s",
		 error);
	ASSERT_EQ(0, monitor_command(command, answer, sizeof(answer)));
	EXPECT_EQ(0, strncmp("OK ", answer, 3)) {
		TH_LOG("%s", answer);
	}
}

TEST_F(errors, are_cleared_by_ones_alone)
{
	const uint16_t error = PCI_STATUS_SIG_SYSTEM_ERROR;
	uint16_t status = raw_read16(&self->dev, PCI_STATUS);

	EXPECT_EQ(0, status & error);
	inject(_metadata, "POISON_TLP");
	ASSERT_EQ(status | error, raw_read16(&self->dev, PCI_STATUS));
	EXPECT_EQ(status | error, (int)READ(PCI_STATUS, 2));

	WRITE(PCI_STATUS, 2, 0);
	WRITE(PCI_STATUS, 2, 0xffff & ~error);
	WRITE(PCI_STATUS, 1, 0xff);
	WRITE(PCI_COMMAND, 2, 0xffff);
	WRITE(PCI_COMMAND, 4, 0xffff);
	EXPECT_EQ(status | error, raw_read16(&self->dev, PCI_STATUS));

	WRITE(PCI_STATUS + 1, 1, error >> 8);
	EXPECT_EQ(status, raw_read16(&self->dev, PCI_STATUS));
	EXPECT_EQ(status, READ(PCI_STATUS, 2));
}

/* Both errors are in one byte, the permit is for one of them. */
TEST_F(errors, beside_a_permit_stay)
{
	unsigned int at = self->aer + PCI_ERR_UNCOR_STATUS;

	EXPECT_EQ(0, RAW(at));
	inject(_metadata, "POISON_TLP");
	inject(_metadata, "COMP_TIME");
	EXPECT_EQ(POISONED | COMP_TIMEOUT, (int)RAW(at));
	EXPECT_EQ(POISONED | COMP_TIMEOUT, (int)READ(at, 4));
	WRITE(at, 4, ALL);
	EXPECT_EQ(POISONED | COMP_TIMEOUT, (int)RAW(at));

	ASSERT_EQ(0, permit_write(self->permit, at, 0, COMP_TIMEOUT));
	WRITE(at, 4, 0);
	EXPECT_EQ(POISONED | COMP_TIMEOUT, (int)RAW(at));
	WRITE(at, 4, ALL);
	EXPECT_EQ(POISONED, (int)RAW(at));
}

/* Making virtual functions is not for the user of their physical one. */

FIXTURE(physical)
{
	struct device dev;
};

static int set_num_vfs(const char *bdf, const char *count)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs",
		 bdf);
	return write_file(path, count);
}

FIXTURE_SETUP(physical)
{
	ASSERT_EQ(0, device_find(NVME_PF, self->dev.bdf));
	ASSERT_EQ(0, set_num_vfs(self->dev.bdf, "0"));
	ASSERT_EQ(0, device_prepare(NVME_PF, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
}

FIXTURE_TEARDOWN(physical)
{
	device_close(&self->dev);
}

TEST_F(physical, sriov_is_hidden)
{
	unsigned int at = raw_ext_cap(&self->dev, PCI_EXT_CAP_ID_SRIOV), i;
	unsigned int ari = raw_ext_cap(&self->dev, PCI_EXT_CAP_ID_ARI);
	struct snapshot before, after;

	ASSERT_NE(0, at);
	ASSERT_EQ(PCI_CFG_SPACE_SIZE, ari);
	EXPECT_EQ(at, PCI_EXT_CAP_NEXT(RAW(ari)));
	/* What linked to it links past it. */
	EXPECT_EQ((RAW(ari) & 0xfffff) |
		  (PCI_EXT_CAP_NEXT(RAW(at)) << 20), READ(ari, 4));

	ASSERT_TRUE(snapshot(self->dev.raw, 0, 4096, &before));
	for (i = 0; i < PCI_EXT_CAP_SRIOV_SIZEOF; i += 4) {
		EXPECT_EQ(0, READ(at + i, 4));
		WRITE(at + i, 4, ALL);
	}
	ASSERT_TRUE(snapshot(self->dev.raw, 0, 4096, &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
}

/* Where bus mastering must be off: as long as no domain confines it. */

FIXTURE(master)
{
	struct device dev;
};

FIXTURE_VARIANT(master)
{
	enum which which;
};

FIXTURE_VARIANT_ADD(master, nvme)
{
	.which = NVME,
};

FIXTURE_VARIANT_ADD(master, edu)
{
	.which = EDU,
};

FIXTURE_VARIANT_ADD(master, e1000e)
{
	.which = E1000E,
};

FIXTURE_SETUP(master)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(master)
{
	device_close(&self->dev);
}

TEST_F(master, is_off_without_a_domain)
{
	int i;

	EXPECT_FALSE(raw_bus_master(&self->dev));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, device_open(&self->dev));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
		/* It is the driver's to turn on, when it is set up. */
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MASTER |
					   PCI_COMMAND_MEMORY, 0));
		EXPECT_TRUE(raw_bus_master(&self->dev));

		ASSERT_EQ(0, uvfio_detach(self->dev.fd));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MASTER,
					   0));
		EXPECT_TRUE(raw_bus_master(&self->dev));

		device_close(&self->dev);
		EXPECT_FALSE(raw_bus_master(&self->dev));
	}
}

TEST_F(master, is_off_after_reset)
{
	uint16_t memory;
	int ret, i;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	for (i = 0; i < 2; i++) {
		memory = i ? PCI_COMMAND_MEMORY : 0;
		ASSERT_EQ(0, uvfio_command(self->dev.fd,
					   PCI_COMMAND_MASTER | memory,
					   PCI_COMMAND_MEMORY & ~memory));
		ASSERT_TRUE(raw_bus_master(&self->dev));
		ret = uvfio_reset(self->dev.fd);
		if (variant->which == EDU) {
			/* It has no reset: refused, and nothing changed. */
			EXPECT_EQ(-EINVAL, ret);
			EXPECT_TRUE(raw_bus_master(&self->dev));
			continue;
		}
		EXPECT_EQ(0, ret);
		EXPECT_FALSE(raw_bus_master(&self->dev));
		EXPECT_EQ(0, read_command(self->dev.fd) & PCI_COMMAND_MASTER);
		EXPECT_EQ(memory, read_command(self->dev.fd) &
				  PCI_COMMAND_MEMORY);
	}
}

/* What one user sets up is not there for the next. */
TEST_F(master, command_is_as_before_for_the_next_user)
{
	uint16_t first, second;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	first = read_command(self->dev.fd);
	ASSERT_EQ(0, uvfio_command(self->dev.fd, COMMAND_USER, 0));
	ASSERT_NE(first, read_command(self->dev.fd));
	device_close(&self->dev);
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	second = read_command(self->dev.fd);
	EXPECT_EQ(first, second);
}

/* A device says that it can be reset exactly when it can. */

static const enum which resettable[] = {
	NVME, NVME2, EDU, EDU2, TESTDEV, E1000E,
};

FIXTURE(reset)
{
	struct device dev[ARRAY_SIZE(resettable)];
};

FIXTURE_SETUP(reset)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(resettable); i++)
		ASSERT_EQ(0, device_prepare(resettable[i], &self->dev[i]));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(reset)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(resettable); i++)
		device_close(&self->dev[i]);
}

TEST_F(reset, is_as_announced)
{
	unsigned int i, with = 0, without = 0;

	for (i = 0; i < ARRAY_SIZE(resettable); i++) {
		struct vfio_device_info info = { .argsz = sizeof(info) };
		bool can;

		ASSERT_EQ(0, device_open_attached(&self->dev[i], -1));
		ASSERT_EQ(0, ioctl(self->dev[i].fd, VFIO_DEVICE_GET_INFO,
				   &info));
		can = info.flags & VFIO_DEVICE_FLAGS_RESET;
		EXPECT_EQ(can ? 0 : -EINVAL, uvfio_reset(self->dev[i].fd)) {
			TH_LOG("%s", self->dev[i].bdf);
		}
		with += can;
		without += !can;
		/* Other devices of its group are to come yet. */
		device_close(&self->dev[i]);
	}
	EXPECT_LE(3, with);	/* both NVMe controllers, e1000e */
	EXPECT_LE(1, without);	/* edu on the root bus */
}

TEST_HARNESS_MAIN
