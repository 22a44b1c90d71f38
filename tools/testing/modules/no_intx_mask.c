// SPDX-License-Identifier: GPL-2.0
/*
 * While it is loaded, the kernel takes the device that "device" names for one that
 * cannot mask its INTx line, as it does with those of which it knows that their
 * interrupt disable bit does nothing (quirks.c of the PCI core). No emulated device
 * is one of them.
 *
 * A driver asks for that when it gets the device, so there must be none then.
 */
#include <linux/module.h>
#include <linux/pci.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "the device, as 0000:00:03.0");

static struct device *dev;

/* The lock of the device is what others change its neighbours in the struct under. */
static int set_broken(bool broken)
{
	int ret = -EBUSY;

	device_lock(dev);
	if (!dev->driver) {
		to_pci_dev(dev)->broken_intx_masking = broken;
		ret = 0;
	}
	device_unlock(dev);
	return ret;
}

static int __init no_intx_mask_init(void)
{
	int ret;

	if (!device)
		return -EINVAL;
	dev = bus_find_device_by_name(&pci_bus_type, NULL, device);
	if (!dev)
		return -ENODEV;

	ret = set_broken(true);
	if (ret)
		put_device(dev);
	return ret;
}
module_init(no_intx_mask_init);

static void __exit no_intx_mask_exit(void)
{
	WARN_ON(set_broken(false));
	put_device(dev);
}
module_exit(no_intx_mask_exit);

MODULE_DESCRIPTION("Test aid for uvfio: a device that cannot mask INTx");
MODULE_LICENSE("GPL");
