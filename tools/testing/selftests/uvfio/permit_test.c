// SPDX-License-Identifier: GPL-2.0
/*
 * config_permit: what an administrator opens of config space beyond the table,
 * and what stays closed. Root's side is a descriptor of the file that was opened
 * before the test became an ordinary user. config_sweep_test.c shows that a permit
 * opens no bit but its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "judge.h"
#include "test.h"

#define ALL		0xffffffffU
#define LINE		22	/* of the list: "060 ffffffff ffffffff\n" */
#define LIST_SIZE	(CONFIG_DWORDS * LINE + 1)
#define LOG_BURST	10
#define RACE_MS		1000
#define LEAST_ROUNDS	4	/* a busy machine is no excuse */
#define MOST_READS	2000	/* of a list in small pieces */

/* All that is in force, as text; -errno. */
static ssize_t permit_list(int permit, char *list, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size - 1) {
		n = pread(permit, list + done, size - 1 - done, done);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += n;
	}
	list[done] = '\0';
	return done;
}

static void permits_withdraw(int permit)
{
	static char list[LIST_SIZE];
	char *line;

	if (permit_list(permit, list, sizeof(list)) < 0)
		return;
	for (line = list; *line; line += LINE)
		permit_write(permit, strtoul(line, NULL, 16), 0, 0);
}

#define READ(off)	config_read(self->dev.fd, off, 4)
#define WRITE(off, len, value) \
	ASSERT_EQ(0, config_write(self->dev.fd, off, len, value))
#define RAW(off)	raw_read32(&self->dev, off)
#define RAW_WRITE(off, value) \
	ASSERT_EQ(0, raw_write(self->root, off, 4, value))
#define PERMIT(off, read, write) permit_write(self->permit, off, read, write)

#define EXPECT_LIST(text) \
	do { \
		static char __list[LIST_SIZE]; \
		ASSERT_LE(0, permit_list(self->permit, __list, \
					 sizeof(__list))); \
		EXPECT_STREQ(text, __list); \
	} while (0)

/*
 * What the administrator is told. First of all, because the kernel logs no more
 * than LOG_BURST of such lines in five seconds.
 */

FIXTURE(log)
{
	struct device dev;
	int permit;
	int kmsg;
};

FIXTURE_SETUP(log)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(log)
{
	permits_withdraw(self->permit);
}

/* How many lines of the log, since it was last asked, say this. */
static unsigned int log_lines(int kmsg, const char *device, const char *text)
{
	unsigned int lines = 0;

	while (kmsg_has(kmsg, device, text))
		lines++;
	return lines;
}

TEST_F(log, tells_why)
{
	const char *name = strrchr(self->dev.node, '/') + 1;
	unsigned int logged = 0;

	log_lines(self->kmsg, name, "config_permit");
	EXPECT_EQ(0, permit_write(self->permit, 0xfc, 1, 1));
	EXPECT_EQ(0, log_lines(self->kmsg, name, "config_permit"));

	EXPECT_EQ(-EINVAL, permit_write(self->permit, PCI_BASE_ADDRESS_1, 0xf0,
					0x3));
	EXPECT_EQ(1, log_lines(self->kmsg, name,
			       "bits 000000f3 at 014 stay the kernel's"));
	EXPECT_EQ(-EINVAL, permit_write(self->permit, PCI_COMMAND, 0xf0000004,
					0));
	EXPECT_EQ(1, log_lines(self->kmsg, name,
			       "bits 00000004 at 004 stay the kernel's"));
	EXPECT_EQ(-EINVAL, permit_write(self->permit, 0x61, 1, 1));
	EXPECT_EQ(1, log_lines(self->kmsg, name,
			       "<offset> <readbits> <writebits>"));
	/* Whoever asks in a loop does not fill it. */
	while (logged < 10 * LOG_BURST &&
	       permit_write(self->permit, 0x61, 1, 1) == -EINVAL &&
	       log_lines(self->kmsg, name, "<offset>") == 1)
		logged++;
	EXPECT_GE(LOG_BURST, logged);
}

/* What a permit does */

FIXTURE(permit)
{
	struct device dev;
	int permit;
	int root;		/* raw config space, to write to */
	unsigned int off;	/* a dword that belongs to nothing */
	uint32_t old;		/* what root found there */
};

FIXTURE_VARIANT(permit)
{
	enum which which;
	unsigned int size;
	unsigned int free;	/* memory, as all is on these devices without use */
};

FIXTURE_VARIANT_ADD(permit, edu)
{
	.which = EDU,
	.size = 256,
	.free = 0x60,
};

FIXTURE_VARIANT_ADD(permit, nvme)
{
	.which = NVME,
	.size = 4096,
	.free = 0x800,
};

FIXTURE_SETUP(permit)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	self->root = raw_open(&self->dev);
	ASSERT_LE(0, self->root);
	self->off = variant->free;
	self->old = RAW(self->off);
	EXPECT_LIST("");
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
}

FIXTURE_TEARDOWN(permit)
{
	device_close(&self->dev);
	permits_withdraw(self->permit);
	raw_write(self->root, self->off, 4, self->old);
	close(self->permit);
}

TEST_F(permit, is_the_administrators)
{
	char path[128];
	struct stat st;

	ASSERT_EQ(0, fstat(self->permit, &st));
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_uid);
	EXPECT_EQ(-EACCES, permit_open(&self->dev));
	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/uvfio/%s/config_permit",
		 self->dev.bdf, strrchr(self->dev.node, '/') + 1);
	EXPECT_EQ(-1, open(path, O_RDONLY));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, open(path, O_WRONLY));
	EXPECT_EQ(EACCES, errno);
}

/* Exactly what it says, to the device that is open, from now on and no longer. */
TEST_F(permit, opens_its_bits_at_once)
{
	const uint32_t read = 0x00ff00f0, write = 0x0f0000f1;

	RAW_WRITE(self->off, 0x11223344);
	EXPECT_EQ(0, READ(self->off));
	WRITE(self->off, 4, ALL);
	EXPECT_EQ(0x11223344, RAW(self->off));

	ASSERT_EQ(0, PERMIT(self->off, read, write));
	EXPECT_EQ(0x11223344 & read, READ(self->off));
	WRITE(self->off, 4, ALL);
	EXPECT_EQ(0x11223344 | write, RAW(self->off));
	EXPECT_EQ((0x11223344 | write) & read, READ(self->off));
	WRITE(self->off, 4, 0);
	EXPECT_EQ(0x11223344 & ~write, RAW(self->off));
	WRITE(self->off, 1, 0xff);
	EXPECT_EQ(0x102233f5, RAW(self->off));
	WRITE(self->off + 2, 2, 0xffff);
	EXPECT_EQ(0x1f2233f5, RAW(self->off));
	WRITE(self->off - 1, 4, 0);
	EXPECT_EQ(0x1f223304, RAW(self->off));

	/* The next one for the same dword takes its place. */
	ASSERT_EQ(0, PERMIT(self->off, ALL, 0x1));
	WRITE(self->off, 4, ALL);
	EXPECT_EQ(0x1f223305, RAW(self->off));
	EXPECT_EQ(0x1f223305, READ(self->off));

	ASSERT_EQ(0, PERMIT(self->off, 0, 0));
	EXPECT_EQ(0, READ(self->off));
	WRITE(self->off, 4, 0);
	EXPECT_EQ(0x1f223305, RAW(self->off));
	/* Taking back what is not there is no error. */
	EXPECT_EQ(0, PERMIT(self->off, 0, 0));
}

TEST_F(permit, outlasts_its_user)
{
	unsigned int i;

	ASSERT_EQ(0, PERMIT(self->off, ALL, ALL));
	for (i = 1; i <= 3; i++) {
		WRITE(self->off, 4, 0xcafe0000 | i);
		EXPECT_EQ(0xcafe0000 | i, RAW(self->off));
		if (i == 2)
			uvfio_reset(self->dev.fd);
		device_close(&self->dev);
		ASSERT_EQ(0, device_open_attached(&self->dev, -1));
		EXPECT_EQ(0xcafe0000 | i, READ(self->off));
	}
}

/* Before there is one, too. */
TEST_F(permit, needs_no_user)
{
	device_close(&self->dev);
	RAW_WRITE(self->off, 0x600df00d);
	ASSERT_EQ(0, PERMIT(self->off, ALL, 0));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	EXPECT_EQ(0x600df00d, READ(self->off));
	WRITE(self->off, 4, 0);
	EXPECT_EQ(0x600df00d, RAW(self->off));
}

/* What the table remembers comes back with what it was. */
TEST_F(permit, gives_way_to_the_table_again)
{
	const unsigned int line = PCI_INTERRUPT_LINE;
	uint32_t raw = RAW(line);

	WRITE(line, 1, 0x55);
	EXPECT_EQ(raw, RAW(line));
	ASSERT_EQ(0, PERMIT(line, 0xff, 0xff));
	EXPECT_EQ(raw & 0xff, READ(line) & 0xff);
	WRITE(line, 1, 0x66);
	EXPECT_EQ(0x66, RAW(line) & 0xff);
	EXPECT_EQ(0x66, READ(line) & 0xff);
	ASSERT_EQ(0, PERMIT(line, 0, 0));
	EXPECT_EQ(0x66, READ(line) & 0xff);
	WRITE(line, 1, 0x77);
	EXPECT_EQ(0x77, READ(line) & 0xff);
	EXPECT_EQ(0x66, RAW(line) & 0xff);
	/* And what the table reads as hardware stays so. */
	ASSERT_EQ(0, PERMIT(PCI_CLASS_REVISION, 0xff, 0));
	ASSERT_EQ(0, PERMIT(PCI_CLASS_REVISION, 0, 0));
	EXPECT_EQ(RAW(PCI_CLASS_REVISION), READ(PCI_CLASS_REVISION));

	device_close(&self->dev);
	EXPECT_EQ(raw, RAW(line));
}

TEST_F(permit, list_is_what_is_in_force)
{
	const unsigned int low = 0x58, high = variant->size - 4;
	char want[128];
	size_t len;

	ASSERT_EQ(0, PERMIT(high, 0x80000000, 0));
	ASSERT_EQ(0, PERMIT(self->off, 0xabcd, 0x1234));
	ASSERT_EQ(0, PERMIT(low, 0, ALL));
	len = snprintf(want, sizeof(want),
		       "%03x 00000000 ffffffff\n%03x 0000abcd 00001234\n%03x 80000000 00000000\n",
		       low, self->off, high);
	EXPECT_EQ(3 * LINE, len);
	EXPECT_LIST(want);

	/* A line of it is what permits it. */
	ASSERT_EQ(0, PERMIT(high, 0, 0));
	ASSERT_EQ(LINE, pwrite(self->permit, want + 2 * LINE, LINE, 0));
	EXPECT_LIST(want);

	ASSERT_EQ(0, PERMIT(self->off, 0, 1));
	snprintf(want + LINE, sizeof(want) - LINE,
		 "%03x 00000000 00000001\n%03x 80000000 00000000\n", self->off,
		 high);
	EXPECT_LIST(want);
	ASSERT_EQ(0, PERMIT(low, 0, 0));
	EXPECT_LIST(want + LINE);
	ASSERT_EQ(0, PERMIT(self->off, 0, 0));
	ASSERT_EQ(0, PERMIT(high, 0, 0));
	EXPECT_LIST("");
}

/* Lines */

static const struct {
	const char *text;
	size_t len;
} good[] = {
#define LITERAL(text)	{ text, sizeof(text) - 1 }
	LITERAL("70 ff 1"),
	LITERAL("70 ff 1\n"),
	LITERAL("070 000000ff 00000001\n"),
	LITERAL("0x70 0xff 0x1\n"),
	LITERAL("70 FF 1"),
	LITERAL("  70\tff \t 1\t\n"),
	LITERAL("00000000000000000000000000070 ff 0000000000000000000000000001\n"),
}, bad[] = {
	LITERAL("\n"),
	LITERAL(" "),
	LITERAL("\t\n"),
	/* fields: too few, too many, not numbers */
	LITERAL("70"),
	LITERAL("70 ff"),
	LITERAL("70 ff\t\n"),
	LITERAL("70 ff 1 0"),
	LITERAL("70 ff 1 x"),
	LITERAL("70,ff,1"),
	LITERAL("70 ff 1;"),
	LITERAL("x 0 0"),
	LITERAL("70 fg 1"),
	LITERAL("70 ff ."),
	LITERAL("0x 0 0"),
	LITERAL("70 - 0"),
	/* out of range */
	LITERAL("-70 ff 1"),
	LITERAL("70 -1 1"),
	LITERAL("70 ff -1"),
	LITERAL("70 100000000 0"),
	LITERAL("70 0 100000000"),
	LITERAL("100000070 ff 1"),
	LITERAL("70 ff ffffffffffffffff"),
	LITERAL("70 ff 10000000000000001"),
	/* offsets */
	LITERAL("61 ff 1"),
	LITERAL("62 ff 1"),
	LITERAL("63 ff 1"),
	LITERAL("1000 ff 1"),
	LITERAL("2070 ff 1"),
	LITERAL("fffffffc ff 1"),
	/* not one line */
	LITERAL("70 ff 1\n\n"),
	LITERAL("\n70 ff 1"),
	LITERAL("70\nff 1"),
	LITERAL("70 ff\n1"),
	LITERAL("70\t\nff 1"),
	LITERAL("70 ff 1\n74 ff 1\n"),
	LITERAL("70 ff 1\n74"),
	LITERAL("70 ff 1\0"),
	LITERAL("70 ff\0 1"),
	LITERAL("\0"),
	LITERAL("70 ff 1 \0 0"),
	/* 64 characters and more */
	LITERAL("000000000000000000000000000000000000000000000000000000070 ff 001"),
	LITERAL("70 ff                                                          1"),
	LITERAL("70 ff 1                                                         \t\n"),
};

static int write_line(int permit, const char *text, size_t len, off_t at)
{
	ssize_t done = pwrite(permit, text, len, at);

	return done < 0 ? -errno : done == (ssize_t)len ? 0 : -EIO;
}

TEST_F(permit, malformed_lines_change_nothing)
{
	static const char line[] = "70 ff 1\n";
	char long_line[3 * PAGE_SIZE], sized[32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, write_line(self->permit, good[i].text,
					good[i].len, 0)) {
			TH_LOG("\"%s\"", good[i].text);
		}
		EXPECT_LIST("070 000000ff 00000001\n");
		ASSERT_EQ(0, PERMIT(0x70, 0, 0));
	}

	ASSERT_EQ(0, PERMIT(0x78, 0x10, 0));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, write_line(self->permit, bad[i].text,
					      bad[i].len, 0)) {
			TH_LOG("line %u: \"%s\"", i, bad[i].text);
		}
	}
	snprintf(sized, sizeof(sized), "%x 1 1", variant->size);
	EXPECT_EQ(-EINVAL, write_line(self->permit, sized, strlen(sized), 0));
	/* Neither the beginning nor the end of a line is one. */
	for (i = 1; i < strlen("70 ff "); i++)
		EXPECT_EQ(-EINVAL, write_line(self->permit, line, i, 0));
	for (i = strlen("70"); i < strlen(line); i++)
		EXPECT_EQ(-EINVAL, write_line(self->permit, line + i,
					      strlen(line) - i, i));
	/* Sysfs hands it on in pieces. */
	memset(long_line, ' ', sizeof(long_line));
	memcpy(long_line, line, strlen(line) - 1);
	EXPECT_EQ(-EINVAL, write_line(self->permit, long_line,
				      sizeof(long_line), 0));
	EXPECT_LIST("078 00000010 00000000\n");
}

/* A script writes line after line to what it has opened once. */
TEST_F(permit, lines_can_follow_each_other)
{
	static const char first[] = "70 ff 1\n", second[] = "78 f 0\n";

	EXPECT_EQ(0, write_line(self->permit, first, strlen(first), 0));
	EXPECT_EQ(0, write_line(self->permit, second, strlen(second),
				strlen(first)));
	EXPECT_LIST("070 000000ff 00000001\n078 0000000f 00000000\n");
}

/* What stays closed */

/* Each bit alone, for reading and for writing: only those of @open pass. */
static unsigned int wrongly_answered(int permit, unsigned int off, uint32_t open)
{
	unsigned int bit, wrong = 0;

	for (bit = 0; bit < 32; bit++) {
		int want = open >> bit & 1 ? 0 : -EINVAL;

		wrong += permit_write(permit, off, 1U << bit, 0) != want;
		wrong += permit_write(permit, off, 0, 1U << bit) != want;
	}
	if (open)
		wrong += permit_write(permit, off, open, open) != 0;
	if (~open) {
		wrong += permit_write(permit, off, ALL, ALL) != -EINVAL;
		wrong += permit_write(permit, off, ALL, 0) != -EINVAL;
		wrong += permit_write(permit, off, 0, ALL) != -EINVAL;
	}
	return wrong + (permit_write(permit, off, 0, 0) != 0);
}

FIXTURE(locked)
{
	struct device dev;
	int permit;
};

FIXTURE_VARIANT(locked)
{
	enum which which;
};

FIXTURE_VARIANT_ADD(locked, edu)
{
	.which = EDU,
};

FIXTURE_VARIANT_ADD(locked, nvme)
{
	.which = NVME,
};

FIXTURE_VARIANT_ADD(locked, e1000e)
{
	.which = E1000E,
};

FIXTURE_VARIANT_ADD(locked, virtio_rng)
{
	.which = VIRTIO_RNG,
};

FIXTURE_VARIANT_ADD(locked, xhci)
{
	.which = XHCI,
};

FIXTURE_VARIANT_ADD(locked, nvme_vf)
{
	.which = NVME_VF,
};

FIXTURE_VARIANT_ADD(locked, nvme_pf)
{
	.which = NVME_PF,
};

FIXTURE_SETUP(locked)
{
	char path[64];

	/* A driver may have it that has virtual ones of it, too. */
	if (variant->which == NVME_PF) {
		ASSERT_EQ(0, device_find(NVME_PF, self->dev.bdf));
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/sriov_numvfs", self->dev.bdf);
		ASSERT_EQ(0, write_file(path, "0"));
	}
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(locked)
{
	permits_withdraw(self->permit);
	close(self->permit);
}

static void expect_locked(struct __test_metadata *_metadata, int permit,
			  unsigned int off, uint32_t open)
{
	EXPECT_EQ(0, wrongly_answered(permit, off, open)) {
		TH_LOG("at %#x", off);
	}
}

#define EXPECT_LOCKED(off, open) \
	expect_locked(_metadata, self->permit, off, open)

TEST_F(locked, header_stays_closed)
{
	unsigned int off;

	/* Status is not the command register. */
	EXPECT_LOCKED(PCI_COMMAND, 0xffff0000);
	for (off = PCI_BASE_ADDRESS_0; off <= PCI_BASE_ADDRESS_5; off += 4)
		EXPECT_LOCKED(off, 0);
	EXPECT_LOCKED(PCI_ROM_ADDRESS, 0);
	EXPECT_LOCKED(PCI_CAPABILITY_LIST, 0xffffff00);
	EXPECT_LIST("");
}

/* Whole capabilities of the kernel's; hidden or not. */
TEST_F(locked, capabilities_stay_closed)
{
	static const struct {
		uint8_t id;
		unsigned int len;
	} std[] = {
		{ PCI_CAP_ID_PM, 8 },
		{ PCI_CAP_ID_MSIX, 12 },
	};
	static const struct {
		uint16_t id;
		unsigned int len;
	} ext[] = {
		{ PCI_EXT_CAP_ID_ATS, 8 },
		{ PCI_EXT_CAP_ID_SRIOV, 0x40 },
		{ PCI_EXT_CAP_ID_PRI, 0x10 },
		{ PCI_EXT_CAP_ID_PASID, 8 },
	};
	unsigned int i, at, off, msi, seen = 0;

	for (i = 0; i < ARRAY_SIZE(std); i++) {
		at = raw_cap(&self->dev, std[i].id);
		for (off = at; at && off < at + std[i].len; off += 4, seen++)
			EXPECT_LOCKED(off, 0);
	}
	for (i = 0; i < ARRAY_SIZE(ext); i++) {
		at = raw_ext_cap(&self->dev, ext[i].id);
		for (off = at; at && off < at + ext[i].len; off += 4, seen++)
			EXPECT_LOCKED(off, 0);
	}
	/* With a 64-bit address, and data in 16 bits, as all of these have it. */
	msi = raw_cap(&self->dev, PCI_CAP_ID_MSI);
	for (off = msi; msi && off < msi + PCI_MSI_DATA_64; off += 4, seen++)
		EXPECT_LOCKED(off, 0);
	at = raw_cap(&self->dev, PCI_CAP_ID_EXP);
	if (at)
		EXPECT_LOCKED(at + PCI_EXP_DEVCTL, 0xffff0000);
	EXPECT_LT(0, seen);
	EXPECT_LIST("");
}

/* Of all others the first two bytes, and of extended ones all four. */
TEST_F(locked, links_stay_closed)
{
	unsigned int at, seen = 0;
	uint32_t header;

	at = raw_read16(&self->dev, PCI_CAPABILITY_LIST) & 0xff;
	for (; at; at = header >> 8 & 0xff, seen++) {
		header = raw_read16(&self->dev, at);
		EXPECT_EQ(-EINVAL, permit_write(self->permit, at, 0x1, 0));
		EXPECT_EQ(-EINVAL, permit_write(self->permit, at, 0, 0x8000));
		EXPECT_EQ(-EINVAL, permit_write(self->permit, at, 0, 0x0100));
		EXPECT_EQ(-EINVAL, permit_write(self->permit, at, 0, ALL));
		if ((header & 0xff) == PCI_CAP_ID_VNDR)
			EXPECT_LOCKED(at, 0xffff0000);
	}
	for (at = PCI_CFG_SPACE_SIZE; at; at = PCI_EXT_CAP_NEXT(header)) {
		header = raw_read32(&self->dev, at);
		if (!header || header == ALL)
			break;
		EXPECT_LOCKED(at, 0);
		seen++;
	}
	EXPECT_LT(0, seen);
	EXPECT_LIST("");
}

/* Many */

TEST_F_TIMEOUT(permit, as_many_as_there_are_dwords, 300)
{
	static const size_t chunks[] = { 1, 7, 21, 22, 23, 100, 4095, 8191 };
	static char list[LIST_SIZE], again[LIST_SIZE];
	static bool permitted[CONFIG_DWORDS];
	unsigned int at, i, given = 0;
	ssize_t len;

	for (at = 0; at < variant->size; at += 4) {
		permitted[at / 4] = !PERMIT(at, ALL, 0);
		given += permitted[at / 4];
	}
	/* All but the kernel's. */
	EXPECT_LT(variant->size / 4 - 32, given);
	EXPECT_GT(variant->size / 4 - 8, given);
	len = permit_list(self->permit, list, sizeof(list));
	ASSERT_EQ(given * LINE, len);
	for (i = 0; i < given; i++) {
		at = strtoul(list + i * LINE, NULL, 16);
		ASSERT_TRUE(permitted[at / 4]);
		EXPECT_EQ(0, strncmp(list + i * LINE + 3, " ffffffff 00000000\n",
				     LINE - 3));
		EXPECT_EQ(RAW(at), READ(at));
	}

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		size_t done = 0;
		ssize_t n;

		if (len / chunks[i] > MOST_READS)
			continue;
		memset(again, 0, sizeof(again));
		while ((n = pread(self->permit, again + done,
				  chunks[i] < sizeof(again) - done ?
				  chunks[i] : sizeof(again) - done, done)) > 0)
			done += n;
		EXPECT_EQ(0, n);
		EXPECT_EQ(len, (ssize_t)done);
		EXPECT_EQ(0, memcmp(list, again, sizeof(list))) {
			TH_LOG("in chunks of %zu", chunks[i]);
		}
		EXPECT_EQ(0, pread(self->permit, again, chunks[i], len));
		EXPECT_EQ(0, pread(self->permit, again, chunks[i], 1L << 40));
	}

	/* Over and over in the same place, which costs nothing. */
	for (i = 0; i < 5000; i++)
		ASSERT_EQ(0, PERMIT(self->off, i & 1 ? ALL : 0xff, i));
	ASSERT_EQ(0, PERMIT(self->off, ALL, 0));
	len = permit_list(self->permit, again, sizeof(again));
	EXPECT_EQ(0, memcmp(list, again, sizeof(list)));
}

/*
 * What it is made for: the registers of virtio's vendor-specific capability are a
 * window into the BARs, which stays shut until an administrator opens it.
 */

#define VIRTIO_CFG_PCI	5	/* cfg_type, at 3 */
#define VIRTIO_BAR	4
#define VIRTIO_OFFSET	8
#define VIRTIO_LENGTH	12
#define VIRTIO_DATA	16

FIXTURE(window)
{
	struct device dev;
	int permit;
	unsigned int at;
};

/* The capability of that type; raw_cap() finds the first of the vendor. */
static unsigned int find_window(const struct device *dev)
{
	unsigned int at = raw_cap(dev, PCI_CAP_ID_VNDR);

	for (; at; at = raw_read16(dev, at) >> 8 & 0xff)
		if ((raw_read16(dev, at) & 0xff) == PCI_CAP_ID_VNDR &&
		    raw_read16(dev, at + 2) >> 8 == VIRTIO_CFG_PCI)
			break;
	return at;
}

FIXTURE_SETUP(window)
{
	ASSERT_EQ(0, device_prepare(VIRTIO_RNG, &self->dev));
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	self->at = find_window(&self->dev);
	ASSERT_NE(0, self->at);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
}

FIXTURE_TEARDOWN(window)
{
	device_close(&self->dev);
	permits_withdraw(self->permit);
}

TEST_F(window, opens_with_permits)
{
	uint32_t want;

	/* The size of the entropy source's queue: not 0, and not all ones. */
	ASSERT_EQ(0, uvfio_region_read(self->dev.fd, VFIO_PCI_BAR4_REGION_INDEX,
				       0x18, &want, sizeof(want)));
	ASSERT_NE(0, want);

	WRITE(self->at + VIRTIO_BAR, 1, 4);
	WRITE(self->at + VIRTIO_OFFSET, 4, 0x18);
	WRITE(self->at + VIRTIO_LENGTH, 4, 2);
	EXPECT_EQ(0, RAW(self->at + VIRTIO_BAR));
	EXPECT_EQ(0, RAW(self->at + VIRTIO_OFFSET));
	EXPECT_EQ(0, READ(self->at + VIRTIO_DATA));

	ASSERT_EQ(0, PERMIT(self->at + VIRTIO_BAR, 0, 0xff));
	ASSERT_EQ(0, PERMIT(self->at + VIRTIO_OFFSET, 0, ALL));
	ASSERT_EQ(0, PERMIT(self->at + VIRTIO_LENGTH, 0, 0x7));
	WRITE(self->at + VIRTIO_BAR, 1, 4);
	WRITE(self->at + VIRTIO_OFFSET, 4, 0x18);
	WRITE(self->at + VIRTIO_LENGTH, 4, 2);
	EXPECT_EQ(want & 0xffff, READ(self->at + VIRTIO_DATA) & 0xffff);
	WRITE(self->at + VIRTIO_OFFSET, 4, 0);
	WRITE(self->at + VIRTIO_LENGTH, 4, 0);
	WRITE(self->at + VIRTIO_BAR, 1, 0);
}

/* They end with the binding, also under their user and in a race with it. */

FIXTURE(binding)
{
	struct device dev;
	int permit;
	int root;
};

FIXTURE_SETUP(binding)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	self->permit = permit_open(&self->dev);
	ASSERT_LE(0, self->permit);
	self->root = raw_open(&self->dev);
	ASSERT_LE(0, self->root);
}

FIXTURE_TEARDOWN(binding)
{
	device_close(&self->dev);
	permits_withdraw(self->permit);
	close(self->root);
	close(self->dev.raw);
	close(self->permit);
}

static int rebind(struct device *dev, int *permit)
{
	int ret;

	ret = device_unbind(dev->bdf);
	if (ret)
		return ret;
	close(dev->raw);
	close(*permit);
	ret = device_prepare(EDU, dev);
	if (ret)
		return ret;
	*permit = permit_open(dev);
	return *permit < 0 ? *permit : 0;
}

TEST_F(binding, ends_permits)
{
	int old;

	ASSERT_EQ(0, PERMIT(0x60, ALL, ALL));
	EXPECT_LIST("060 ffffffff ffffffff\n");
	old = dup(self->permit);
	ASSERT_EQ(0, rebind(&self->dev, &self->permit));
	EXPECT_LIST("");
	EXPECT_EQ(-ENODEV, permit_write(old, 0x60, ALL, ALL));
	EXPECT_LIST("");
	close(old);

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	EXPECT_EQ(0, READ(0x60));
	device_close(&self->dev);
}

#define RACED	0x60
#define RACED_VALUE 0x5aa55aa5

struct race {
	int permit;
	uint64_t end;
	unsigned int rounds, failures;
};

/* Gives and takes what two lines say of one dword. */
static void *give_and_take(void *data)
{
	struct race *race = data;

	while (now_ms() < race->end) {
		if (permit_write(race->permit, RACED, 0xffff0000, 0) ||
		    permit_write(race->permit, RACED, ALL, 0xf) ||
		    permit_write(race->permit, RACED, 0, 0))
			race->failures++;
		race->rounds++;
	}
	return NULL;
}

static void *list_them(void *data)
{
	static const char * const lists[] = {
		"", "060 ffff0000 00000000\n", "060 ffffffff 0000000f\n",
	};
	struct race *race = data;
	char list[64];
	unsigned int i;

	while (now_ms() < race->end) {
		ssize_t len = pread(race->permit, list, sizeof(list) - 1, 0);

		list[len > 0 ? len : 0] = '\0';
		for (i = 0; i < ARRAY_SIZE(lists); i++)
			if (!strcmp(list, lists[i]))
				break;
		race->failures += len < 0 || i == ARRAY_SIZE(lists);
		race->rounds++;
	}
	return NULL;
}

/* Whatever the order, a dword is seen as one of the lines has it, or none. */
TEST_F(binding, races_of_permits_with_the_user)
{
	struct race writer = {
		.permit = self->permit,
		.end = now_ms() + RACE_MS,
	};
	struct race reader = writer;
	unsigned int seen[3] = { 0 };
	pthread_t threads[2];
	uint32_t value;

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	RAW_WRITE(RACED, RACED_VALUE);
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, give_and_take, &writer));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, list_them, &reader));
	while (now_ms() < writer.end) {
		value = READ(RACED);
		if (value == 0)
			seen[0]++;
		else if (value == (RACED_VALUE & 0xffff0000))
			seen[1]++;
		else if ((value & ~0xfU) == (RACED_VALUE & ~0xfU))
			seen[2]++;
		else
			ASSERT_EQ(RACED_VALUE, value);
		ASSERT_EQ(0, config_write(self->dev.fd, RACED, 4, seen[2]));
		if (seen[2] % 16 == 15) {
			device_close(&self->dev);
			ASSERT_EQ(0, device_open_attached(&self->dev, -1));
		}
	}
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	EXPECT_EQ(0, writer.failures);
	EXPECT_EQ(0, reader.failures);
	EXPECT_LT(0, reader.rounds);
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
	EXPECT_LT(0, seen[2]);
	EXPECT_EQ(RACED_VALUE & ~0xfU, RAW(RACED) & ~0xfU);
}

/* An ordinary user, who takes the device as often as it can be had. */
static void use_for_ever(const char *bdf)
{
	struct device dev = { .fd = -1 };

	if (drop_privileges(TEST_UID))
		_exit(1);
	snprintf(dev.bdf, sizeof(dev.bdf), "%s", bdf);
	for (;;) {
		if (device_node(dev.bdf, dev.node, sizeof(dev.node)) ||
		    device_open_attached(&dev, -1)) {
			device_close(&dev);
			continue;
		}
		while (!config_write(dev.fd, RACED, 4, 0xffffffff) &&
		       config_read(dev.fd, RACED, 4) != CONFIG_FAILED)
			;
		device_close(&dev);
	}
}

/* An administrator who does the same with the list. */
static void permit_for_ever(const char *bdf)
{
	struct device dev = { .fd = -1 };
	static char list[LIST_SIZE];
	unsigned int i;
	int permit;

	snprintf(dev.bdf, sizeof(dev.bdf), "%s", bdf);
	for (;;) {
		if (device_node(dev.bdf, dev.node, sizeof(dev.node)))
			continue;
		permit = permit_open(&dev);
		if (permit < 0)
			continue;
		for (i = 0; !permit_write(permit, 0x50 + i % 40 * 4, ALL, i);
		     i++)
			permit_list(permit, list, sizeof(list));
		close(permit);
	}
}

TEST_F(binding, races_of_permits_with_unbind)
{
	void (*const run[])(const char *bdf) = {
		use_for_ever, permit_for_ever, permit_for_ever,
	};
	pid_t pids[ARRAY_SIZE(run)];
	uint64_t end = now_ms() + RACE_MS;
	unsigned int i, rounds = 0;
	int status;

	for (i = 0; i < ARRAY_SIZE(run); i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i])
			run[i](self->dev.bdf);
	}
	for (; now_ms() < end || rounds < LEAST_ROUNDS; rounds++) {
		ASSERT_EQ(0, rebind(&self->dev, &self->permit));
		usleep(rounds % 8 * 10000);
	}
	for (i = 0; i < ARRAY_SIZE(run); i++) {
		kill(pids[i], SIGKILL);
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	ASSERT_EQ(0, rebind(&self->dev, &self->permit));
	EXPECT_LIST("");
}

TEST_HARNESS_MAIN
