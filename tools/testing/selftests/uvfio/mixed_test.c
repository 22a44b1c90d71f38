// SPDX-License-Identifier: GPL-2.0
/*
 * A machine with an IOMMU that does not translate for all devices: a domain is for
 * those that it confines or for the others, never for both.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "dma.h"
#include "test.h"

#define PARAM	"/sys/module/uvfio/parameters/enable_unsafe_noiommu"

/* As root all the time: it takes a capability to attach the unconfined one. */
FIXTURE(mixed)
{
	struct device confined;
	struct device free;
	int domain;
	int other;		/* a domain, too */
	int kmsg;
	void *page;
};

FIXTURE_SETUP(mixed)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->confined));
	ASSERT_EQ(0, device_prepare(EDU_BYPASS, &self->free));
	ASSERT_EQ(0, write_file(PARAM, "1"));
	ASSERT_EQ(0, device_open(&self->confined));
	ASSERT_EQ(0, device_open(&self->free));
	self->domain = uvfio_domain_open();
	self->other = uvfio_domain_open();
	ASSERT_LE(0, self->domain);
	ASSERT_LE(0, self->other);
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	self->page = dma_alloc(PAGE_SIZE);
	ASSERT_NE(NULL, self->page);
}

FIXTURE_TEARDOWN(mixed)
{
	device_close(&self->confined);
	device_close(&self->free);
	close(self->domain);
	close(self->other);
	dma_free(self->page, PAGE_SIZE);
	EXPECT_EQ(0, write_file(PARAM, "0"));
}

static bool has_extension(int domain)
{
	return ioctl(domain, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU) == 1;
}

TEST_F(mixed, confined_comes_first)
{
	uint64_t iova;

	ASSERT_EQ(0, uvfio_attach(self->confined.fd, self->domain));
	EXPECT_EQ(-EINVAL, uvfio_attach(self->free.fd, self->domain));
	EXPECT_TRUE(kmsg_has(self->kmsg, self->free.bdf, "no IOMMU"));
	EXPECT_TRUE(fdinfo_is(self->free.fd, "domain", "none"));
	EXPECT_TRUE(fdinfo_is(self->domain, "iommu", "translated"));
	EXPECT_FALSE(has_extension(self->domain));
	/* As ever: the caller picks the address. */
	EXPECT_EQ(0, uvfio_dma_map(self->domain, self->page, PAGE_SIZE,
				   0x100000, RW));

	EXPECT_EQ(0, uvfio_attach(self->free.fd, self->other));
	EXPECT_TRUE(fdinfo_is(self->other, "iommu", "noiommu"));
	EXPECT_TRUE(has_extension(self->other));
	EXPECT_EQ(-EINVAL, uvfio_dma_map(self->other, self->page, PAGE_SIZE,
					 0x100000, RW));
	EXPECT_EQ(0, uvfio_dma_map_anywhere(self->other, self->page, PAGE_SIZE,
					    RW, &iova));
}

/* Also when no device is attached any more. */
TEST_F(mixed, free_comes_first)
{
	ASSERT_EQ(0, uvfio_attach(self->free.fd, self->domain));
	EXPECT_EQ(-EINVAL, uvfio_attach(self->confined.fd, self->domain));
	EXPECT_TRUE(kmsg_has(self->kmsg, self->confined.bdf,
			     "without an IOMMU"));
	ASSERT_EQ(0, uvfio_detach(self->free.fd));
	EXPECT_EQ(-EINVAL, uvfio_attach(self->confined.fd, self->domain));
	EXPECT_TRUE(fdinfo_is(self->domain, "iommu", "noiommu"));

	EXPECT_EQ(0, uvfio_attach(self->confined.fd, self->other));
	EXPECT_EQ(0, uvfio_attach(self->free.fd, self->domain));
}

TEST_F(mixed, free_is_refused_as_without_any)
{
	ASSERT_EQ(0, write_file(PARAM, "0"));
	EXPECT_EQ(-EPERM, uvfio_attach(self->free.fd, -1));
	EXPECT_TRUE(kmsg_has(self->kmsg, self->free.bdf,
			     "enable_unsafe_noiommu"));
	EXPECT_EQ(0, uvfio_attach(self->confined.fd, -1));
}

static bool attribute_is(const struct device *dev, const char *name,
			 const char *value)
{
	char path[128], text[64];

	snprintf(path, sizeof(path), "/sys/class/uvfio/%s/%s",
		 strrchr(dev->node, '/') + 1, name);
	return !read_file(path, text, sizeof(text)) && !strcmp(text, value);
}

TEST_F(mixed, attributes_tell_them_apart)
{
	EXPECT_TRUE(attribute_is(&self->free, "group", "none"));
	EXPECT_TRUE(attribute_is(&self->free, "iommu", "none"));
	EXPECT_FALSE(attribute_is(&self->confined, "group", "none"));
	EXPECT_TRUE(attribute_is(&self->confined, "iommu", "dmar0"));
}

int main(int argc, char **argv)
{
	char bdf[16];

	if (device_find(EDU_BYPASS, bdf))
		return skip_all("this machine has no device without an IOMMU");
	return test_harness_run(argc, argv);
}
