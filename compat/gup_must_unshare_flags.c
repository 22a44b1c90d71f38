// SPDX-License-Identifier: GPL-2.0
/*
 * Until v6.2, which gave this function its vma, a long-term pin for reading does
 * not unshare a private page: the process's next write goes to another one.
 */
#include <linux/mm.h>

bool probe(unsigned int flags, struct page *page)
{
	return gup_must_unshare(flags, page);
}
