// SPDX-License-Identifier: GPL-2.0
/* Since v6.12: the accessors moved from asm/ to linux/. */
#include <linux/unaligned.h>

u32 probe(const void *p)
{
	return get_unaligned_le32(p);
}
