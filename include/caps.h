/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What each bit of a device's config space is to its user.
 *
 * The table and the walker behind this (vfio_caps.c) know nothing of the kernel,
 * so that user space can test and fuzz them, compare the module with them, and
 * make the documentation from them.
 */
#ifndef UVFIO_CAPS_H
#define UVFIO_CAPS_H

#ifdef __KERNEL__
#include <linux/kernel.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif
#include <linux/pci_regs.h>

/* What a write does beyond changing bits; the kernel does it for the user. */
enum uvfio_reg_fn {
	UVFIO_REG_PLAIN,
	UVFIO_REG_COMMAND,	/* decoding, bus mastering, INTx */
	UVFIO_REG_POWER,	/* power state */
	UVFIO_REG_VPD,		/* address of Vital Product Data: a read of it */
	UVFIO_REG_VPD_DATA,	/* what that has returned */
	UVFIO_REG_DEVCTL,	/* read request size, FLR */
	UVFIO_REG_AF,		/* FLR */
};

/**
 * struct uvfio_reg - one dword of config space; bits in CPU order
 * @hw: they read as hardware; all others as @value
 * @value: meaningful where @hw is 0
 * @initial: @value as each user is to find it
 * @keep: the user writes them in @value
 * @write: the user writes them in hardware
 * @w1c: a 1 clears them in hardware, so what was read must not be written back
 * @lock: no permit opens them
 * @fn: enum uvfio_reg_fn
 * @start: a capability begins here
 * @claimed: part of a capability
 */
struct uvfio_reg {
	u32 hw;
	u32 value;
	u32 initial;
	u32 keep;
	u32 write;
	u32 w1c;
	u32 lock;
	u8 fn;
	bool start;
	bool claimed;
};

/* Dwords that a capability can begin at: from the header's end on. */
#define UVFIO_MAX_STD_CAPS \
	((PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / 4)
#define UVFIO_MAX_EXT_CAPS \
	((PCI_CFG_SPACE_EXP_SIZE - PCI_CFG_SPACE_SIZE) / 4)

/**
 * struct uvfio_caps_walk - input, output and scratch of uvfio_caps_walk()
 * @regs: @size / 4 of them, zeroed
 * @size: of config space, a multiple of 4: PCI_CFG_SPACE_SIZE or
 *	PCI_CFG_SPACE_EXP_SIZE, or what the kernel has cut it down to
 * @read: reads the aligned dword at @off of the device; it may answer anything
 * @context: for @read
 * @hide_msix: do not show MSI-X
 * @rejected: result: capabilities that were malformed, and hidden for it
 */
struct uvfio_caps_walk {
	struct uvfio_reg *regs;
	u32 size;
	u32 (*read)(void *context, u32 off);
	void *context;
	bool hide_msix;
	unsigned int rejected;

	/* private: in the order of the list that is being walked */
	struct {
		u32 header;
		u16 pos;
	} found[UVFIO_MAX_EXT_CAPS];
	unsigned int num_found;
};

void uvfio_caps_walk(struct uvfio_caps_walk *walk);
u32 uvfio_reg_effect(const struct uvfio_reg *reg);

#endif /* UVFIO_CAPS_H */
