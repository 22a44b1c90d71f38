// SPDX-License-Identifier: GPL-2.0
/* Until v6.7: the place in a file of huge pages is counted in huge pages. */
#include <linux/pagemap.h>

pgoff_t probe(struct vm_area_struct *vma)
{
	return linear_hugepage_index(vma, 0);
}
