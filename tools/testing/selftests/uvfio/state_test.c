// SPDX-License-Identifier: GPL-2.0
/*
 * What people can see of domains: fdinfo of both nodes, the attributes of a device
 * in sysfs, and the tracepoints. All of it as root.
 */
#include <fcntl.h>
#include <stdarg.h>

#include "dma.h"
#include "test.h"

#define IOVA		0x100000ULL
#define PAGES		4
#define TEXT		8192

FIXTURE(state)
{
	struct device dev, dev2;
	int domain;
	uint8_t *memory;
	char text[TEXT];
};

FIXTURE_SETUP(state)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, device_prepare(EDU2, &self->dev2));
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, device_open(&self->dev2));
	self->domain = uvfio_domain_open();
	ASSERT_LE(0, self->domain);
	self->memory = dma_alloc(PAGES * PAGE_SIZE);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(state)
{
	device_close(&self->dev);
	device_close(&self->dev2);
	close(self->domain);
	dma_free(self->memory, PAGES * PAGE_SIZE);
}

/* The whole file, or nothing. */
static const char *text_of(char *text, const char *format, ...)
{
	char path[128];
	ssize_t len = 0, n;
	va_list args;
	int fd;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, text + len, TEXT - 1 - len)) > 0)
		len += n;
	text[len] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

/* Whether a line "key:\tvalue" is there; both are formatted. */
static bool says(const char *text, const char *format, ...)
{
	char line[256];
	const char *at;
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (at = strstr(text, line); at; at = strstr(at + 1, line)) {
		if ((at == text || at[-1] == '\n') &&
		    at[strlen(line)] == '\n')
			return true;
	}
	return false;
}

static const char *attribute(char *text, const struct device *dev,
			     const char *name)
{
	return text_of(text, "/sys/class/uvfio/%s/%s",
		       strrchr(dev->node, '/') + 1, name);
}

static unsigned long long domain_of(char *text, int fd)
{
	unsigned long long id = 0;

	text_of(text, "/proc/self/fdinfo/%d", fd);
	if (strstr(text, "domain:"))
		sscanf(strstr(text, "domain:"), "domain: %llu", &id);
	return id;
}

TEST_F(state, fdinfo_before_a_domain_is_set)
{
	text_of(self->text, "/proc/self/fdinfo/%d", self->dev.fd);
	EXPECT_TRUE(says(self->text, "domain:\tnone"));
	EXPECT_EQ(NULL, strstr(self->text, "mappings:"));

	text_of(self->text, "/proc/self/fdinfo/%d", self->domain);
	EXPECT_TRUE(says(self->text, "iommu:\tnone"));
	EXPECT_TRUE(says(self->text, "devices:\t"));
	EXPECT_TRUE(says(self->text, "mappings:\t0"));
	EXPECT_TRUE(says(self->text, "pinned:\t0"));
	EXPECT_TRUE(says(self->text, "revoked:\t0"));
	EXPECT_EQ(NULL, strstr(self->text, "window:"));
}

TEST_F(state, fdinfo_tells_what_a_domain_is)
{
	unsigned long long id = domain_of(self->text, self->domain);
	char both[64];

	ASSERT_LT(0, id);
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, self->domain));
	ASSERT_EQ(0, uvfio_dma_map(self->domain, self->memory, 3 * PAGE_SIZE,
				   IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->dev.fd, self->memory, PAGE_SIZE,
				   2 * IOVA, RW));

	/* Both nodes say the same. */
	text_of(self->text, "/proc/self/fdinfo/%d", self->dev2.fd);
	EXPECT_TRUE(says(self->text, "domain:\t%llu", id));
	text_of(self->text, "/proc/self/fdinfo/%d", self->domain);
	EXPECT_TRUE(says(self->text, "domain:\t%llu", id));
	EXPECT_TRUE(says(self->text, "iommu:\ttranslated"));
	EXPECT_TRUE(says(self->text, "mappings:\t2"));
	EXPECT_TRUE(says(self->text, "pinned:\t%lu", 4 * PAGE_SIZE));
	EXPECT_TRUE(says(self->text, "revoked:\t0"));
	EXPECT_NE(NULL, strstr(self->text, "\nwindow:\t0x"));
	snprintf(both, sizeof(both), "devices:\t%s %s", self->dev.bdf,
		 self->dev2.bdf);
	if (!says(self->text, both)) {
		snprintf(both, sizeof(both), "devices:\t%s %s", self->dev2.bdf,
			 self->dev.bdf);
		EXPECT_TRUE(says(self->text, both));
	}

	/* A page of the first mapping, and of the second. */
	ASSERT_EQ(0, munmap(self->memory, PAGE_SIZE));
	text_of(self->text, "/proc/self/fdinfo/%d", self->domain);
	EXPECT_TRUE(says(self->text, "mappings:\t2"));
	EXPECT_TRUE(says(self->text, "pinned:\t%lu", 2 * PAGE_SIZE));
	EXPECT_TRUE(says(self->text, "revoked:\t%lu", 2 * PAGE_SIZE));

	ASSERT_EQ(0, uvfio_detach(self->dev2.fd));
	text_of(self->text, "/proc/self/fdinfo/%d", self->domain);
	EXPECT_TRUE(says(self->text, "devices:\t%s", self->dev.bdf));
}

/* A number means one domain for ever. */
TEST_F(state, domains_are_numbered)
{
	unsigned long long id = domain_of(self->text, self->domain), private;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	private = domain_of(self->text, self->dev.fd);
	EXPECT_LT(id, private);
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_LT(private, domain_of(self->text, self->dev.fd));
}

TEST_F(state, sysfs_tells_where_a_device_belongs)
{
	unsigned long long id = domain_of(self->text, self->domain);
	char path[128], target[128], line[32];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group",
		 self->dev.bdf);
	len = readlink(path, target, sizeof(target) - 1);
	ASSERT_LT(0, len);
	target[len] = '\0';
	snprintf(line, sizeof(line), "%s\n", strrchr(target, '/') + 1);
	EXPECT_STREQ(line, attribute(self->text, &self->dev, "group"));

	/* The name is that of a unit. */
	attribute(self->text, &self->dev, "iommu");
	self->text[strcspn(self->text, "\n")] = '\0';
	snprintf(path, sizeof(path), "/sys/class/iommu/%.64s", self->text);
	EXPECT_TRUE(file_exists(path));
	EXPECT_NE('\0', self->text[0]);

	EXPECT_STREQ("none\n", attribute(self->text, &self->dev, "domain"));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	snprintf(line, sizeof(line), "%llu\n", id);
	EXPECT_STREQ(line, attribute(self->text, &self->dev, "domain"));
	EXPECT_STREQ("none\n", attribute(self->text, &self->dev2, "domain"));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	EXPECT_STREQ("none\n", attribute(self->text, &self->dev, "domain"));
}

/* Usable addresses do not change with devices that take away the same. */
TEST_F(state, windows_are_as_before_when_a_device_has_left)
{
	static char before[TEXT];
	const char *windows;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	text_of(before, "/proc/self/fdinfo/%d", self->domain);
	windows = strstr(before, "window:");
	ASSERT_NE(NULL, windows);
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, self->domain));
	ASSERT_EQ(0, uvfio_detach(self->dev2.fd));
	text_of(self->text, "/proc/self/fdinfo/%d", self->domain);
	ASSERT_NE(NULL, strstr(self->text, "window:"));
	EXPECT_STREQ(windows, strstr(self->text, "window:"));
	/* The last one's stay, so that what is mapped suits the next. */
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	text_of(self->text, "/proc/self/fdinfo/%d", self->domain);
	ASSERT_NE(NULL, strstr(self->text, "window:"));
	EXPECT_STREQ(windows, strstr(self->text, "window:"));
}

TEST_F(state, tracepoints_tell_each_step)
{
	unsigned long long id = domain_of(self->text, self->domain);
	unsigned long vaddr = (uintptr_t)self->memory;
	char expected[160];

	ASSERT_EQ(0, tracing_mount());
	ASSERT_EQ(0, write_file(TRACING "/events/uvfio/enable", "1"));
	ASSERT_EQ(0, write_file(TRACING "/trace", ""));

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, self->domain));
	ASSERT_EQ(0, uvfio_dma_map(self->domain, self->memory, 2 * PAGE_SIZE,
				   IOVA, RW));
	ASSERT_EQ(0, munmap(self->memory, PAGE_SIZE));
	ASSERT_EQ(2 * PAGE_SIZE, uvfio_dma_unmap(self->domain, IOVA,
						 2 * PAGE_SIZE));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_EQ(0, write_file(TRACING "/events/uvfio/enable", "0"));
	/* Off, they tell nothing. */
	ASSERT_EQ(0, uvfio_attach(self->dev2.fd, self->domain));
	text_of(self->text, TRACING "/trace");

	snprintf(expected, sizeof(expected),
		 "uvfio_attach: domain=%llu device=%s", id, self->dev.bdf);
	EXPECT_NE(NULL, strstr(self->text, expected));
	snprintf(expected, sizeof(expected),
		 "uvfio_map: domain=%llu iova=%#llx size=%#lx vaddr=%#lx", id,
		 IOVA, 2 * PAGE_SIZE, vaddr);
	EXPECT_NE(NULL, strstr(self->text, expected));
	snprintf(expected, sizeof(expected),
		 "uvfio_revoke: domain=%llu iova=%#llx size=%#lx vaddr=%#lx pages=1",
		 id, IOVA, PAGE_SIZE, vaddr);
	EXPECT_NE(NULL, strstr(self->text, expected));
	snprintf(expected, sizeof(expected),
		 "uvfio_unmap: domain=%llu iova=%#llx size=%#lx", id, IOVA,
		 2 * PAGE_SIZE);
	EXPECT_NE(NULL, strstr(self->text, expected));
	snprintf(expected, sizeof(expected),
		 "uvfio_detach: domain=%llu device=%s", id, self->dev.bdf);
	EXPECT_NE(NULL, strstr(self->text, expected));
	EXPECT_EQ(NULL, strstr(self->text, self->dev2.bdf));
}

TEST_HARNESS_MAIN
