/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's monitor, which the test machine reaches by its fourth serial port:
 * what the hardware does, or has, where the kernel under test cannot say.
 * Functions return 0 or -errno.
 */
#ifndef UVFIO_TEST_MONITOR_H
#define UVFIO_TEST_MONITOR_H

#include <stddef.h>
#include <stdint.h>

#include "common.h"

/* As root, before the other functions, which then work as anyone. */
int monitor_open(void);

/*
 * Have the monitor run @command, wait until it is done, and store what it says,
 * with "\r\n" behind each line; what does not fit is dropped. About 50 kB of
 * answer come in a second.
 */
int monitor_command(const char *command, char *answer, size_t size);

/* The 8 bytes at a physical @address. */
int monitor_physical(uint64_t address, uint64_t *value);

/* Whether they are all @byte, or -errno: so neither 0 nor 1 is what a failure gives. */
int monitor_has(uint64_t address, uint8_t byte);

/* Of Arm's CPUs the monitor does not say where their page tables are. */
#define MONITOR_SEES_TABLES	(!IS_AARCH64)
#define NO_TABLES	"the monitor does not see page tables of this architecture"

/* Of an x86 page table entry that maps something: */
#define PTE_PRESENT		0x001ULL
#define PTE_WRITE		0x002ULL
#define PTE_USER		0x004ULL
#define PTE_TYPE		0x018ULL	/* PWT and PCD */
#define PTE_HUGE		0x080ULL	/* in an upper level */
#define PTE_ADDRESS		0x000ffffffffff000ULL

/* Values of PTE_TYPE as Linux programs the PAT. */
#define PTE_WRITE_BACK		0x000ULL
#define PTE_WRITE_COMBINING	0x008ULL
#define PTE_UNCACHED_MINUS	0x010ULL	/* what pgprot_noncached() is */
#define PTE_UNCACHED		0x018ULL

/*
 * The entry that maps @address for the calling process, or -EFAULT where none
 * does, as before the first access; and how much the entry maps: 4 KiB, 2 MiB
 * or 1 GiB.
 */
int monitor_pte(const void *address, uint64_t *pte, uint64_t *size);

/* Of an entry of an IOMMU's page tables, for any of them as VT-d has it: */
#define IOVA_READ		0x001ULL
#define IOVA_WRITE		0x002ULL
#define IOVA_ADDRESS		PTE_ADDRESS

/*
 * The same for what the device at @bdf, no bridge above which makes its requests
 * its own, reaches at @iova. This is what memory says, not what the IOMMU may
 * remember of it.
 */
int monitor_iova(const char *bdf, uint64_t iova, uint64_t *pte, uint64_t *size);

#endif /* UVFIO_TEST_MONITOR_H */
