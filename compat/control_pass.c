// SPDX-License-Identifier: GPL-2.0
/* Must compile everywhere; if not, no other answer means anything. */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/iommu.h>

int probe(struct pci_dev *pdev)
{
	return pci_enable_device(pdev);
}
