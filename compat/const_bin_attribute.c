// SPDX-License-Identifier: GPL-2.0
/* Since v6.16: binary attributes are constant where they are used. */
#include <linux/sysfs.h>

static ssize_t probe_read(struct file *file, struct kobject *kobj,
			  const struct bin_attribute *attr, char *buf,
			  loff_t pos, size_t len)
{
	return 0;
}

static const struct bin_attribute probe_attr = {
	.read = probe_read,
};

static const struct bin_attribute *probe_attrs[] = {
	&probe_attr,
	NULL,
};

const struct attribute_group probe_group = {
	.bin_attrs = probe_attrs,
};
