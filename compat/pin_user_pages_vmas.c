// SPDX-License-Identifier: GPL-2.0
/*
 * Until v6.5, which dropped the last argument, nothing refuses to pin pages of a
 * file system with dirty tracking for writing.
 */
#include <linux/mm.h>

long probe(unsigned long addr, struct page **pages)
{
	return pin_user_pages(addr, 1, FOLL_WRITE, pages, NULL);
}
