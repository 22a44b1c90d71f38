// SPDX-License-Identifier: GPL-2.0
/* Since v6.18: the flags of a page have a type of their own. */
#include <linux/mm_types.h>

unsigned long probe(const struct page *page)
{
	return page->flags.f;
}
