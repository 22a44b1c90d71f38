/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual function of the test machine's NVMe controller with SR-IOV.
 */
#ifndef UVFIO_TEST_VF_H
#define UVFIO_TEST_VF_H

/*
 * As root: make the function, unless it is there, and a working controller of
 * it. The physical function has to stay with the kernel's nvme driver for as
 * long as that is to last: a reset of its controller takes the virtual one
 * offline, and what is read from BAR 0 then is zero. Returns 0 or -errno.
 */
int vf_create(char *bdf);

#endif /* UVFIO_TEST_VF_H */
