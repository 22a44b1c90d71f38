// SPDX-License-Identifier: GPL-2.0
/*
 * The capability walker on whatever libFuzzer makes up. An input is a byte of
 * flags and the config space of a device, and with CHANGES what each dword is
 * when it is read again; what is missing of either is zero.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caps_check.h"

#define EXTENDED	1	/* 4096 bytes and not 256 */
#define HIDE_MSIX	2
#define CHANGES		4

static size_t fill(u8 *config, size_t size, const u8 *data, size_t len)
{
	if (len > size)
		len = size;
	if (len)
		memcpy(config, data, len);
	return len;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct caps_device dev = { 0 };
	const char *wrong;
	size_t used;

	if (!len)
		return 0;
	dev.size = *data & EXTENDED ? PCI_CFG_SPACE_EXP_SIZE :
				      PCI_CFG_SPACE_SIZE;
	dev.hide_msix = *data & HIDE_MSIX;
	dev.changes = *data & CHANGES;
	data++;
	len--;
	used = fill(dev.first, dev.size, data, len);
	fill(dev.later, dev.size, data + used, len - used);

	wrong = caps_walk(&dev);
	if (*wrong) {
		fprintf(stderr, "caps_fuzz: %s\n", wrong);
		abort();
	}
	caps_free(&dev);
	return 0;
}
