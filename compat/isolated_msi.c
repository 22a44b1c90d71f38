// SPDX-License-Identifier: GPL-2.0
/* Since v6.3: interrupt isolation is asked of the device. */
#include <linux/msi.h>

bool probe(struct device *dev)
{
	return msi_device_has_isolated_msi(dev);
}
