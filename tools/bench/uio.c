// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark's back end for uio_pci_generic, which does interrupts only: the
 * rest is sysfs, there for root whatever the driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static int open_device(struct device *dev)
{
	dev->fd = open(dev->node, O_RDWR | O_CLOEXEC);
	return dev->fd < 0 ? -errno : 0;
}

static void close_device(struct device *dev)
{
	close(dev->fd);
}

/* A BAR that is not there has no file. */
static int locate_file(struct place *place, const char *bdf, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, name);
	place->fd = open(path, O_RDWR | O_CLOEXEC);
	if (place->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(place->fd, &st))
		return -errno;
	place->size = st.st_size;
	return 0;
}

static int locate_files(struct device *dev)
{
	char name[sizeof("resource0")];
	unsigned int i;
	int ret;

	for (i = 0; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
		snprintf(name, sizeof(name), "resource%u", i % 10);
		ret = locate_file(&dev->regions[i], dev->bdf, name);
		if (ret)
			return ret;
	}
	return locate_file(&dev->regions[VFIO_PCI_CONFIG_REGION_INDEX],
			   dev->bdf, "config");
}

const struct driver uio_driver = {
	.name = "uio_pci_generic",
	.open = open_device,
	.close = close_device,
	.locate = locate_files,
};
