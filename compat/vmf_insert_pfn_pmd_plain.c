// SPDX-License-Identifier: GPL-2.0
/* Since v6.17: frame numbers have no type of their own. */
#include <linux/mm.h>

vm_fault_t probe(struct vm_fault *vmf, unsigned long pfn)
{
	return vmf_insert_pfn_pmd(vmf, pfn, false);
}
