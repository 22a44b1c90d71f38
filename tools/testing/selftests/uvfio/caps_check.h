/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The walker of vfio_caps.c on a device that is made up, and what must hold
 * whatever that device says of itself. For caps_test and the fuzzer.
 */
#ifndef CAPS_CHECK_H
#define CAPS_CHECK_H

#include "caps.h"

/**
 * struct caps_device - config space in memory, and what the walker made of it
 * @size: PCI_CFG_SPACE_SIZE or PCI_CFG_SPACE_EXP_SIZE
 * @first: what the first read of a dword returns, as bytes
 * @later: what all others do, if @changes
 * @changes: the device does not answer the same twice
 * @hide_msix: as in struct uvfio_caps_walk
 * @regs: result, @size / 4 of them; caps_free() frees them
 * @rejected: result
 */
struct caps_device {
	u32 size;
	u8 first[PCI_CFG_SPACE_EXP_SIZE];
	u8 later[PCI_CFG_SPACE_EXP_SIZE];
	bool changes;
	bool hide_msix;
	struct uvfio_reg *regs;
	unsigned int rejected;

	/* private */
	bool was_read[PCI_CFG_SPACE_EXP_SIZE / 4];
	unsigned int reads;
	bool read_outside;
};

/*
 * Walks, and checks what came of it: "" or what is wrong. The text stays until
 * the next call.
 */
const char *caps_walk(struct caps_device *dev);
void caps_free(struct caps_device *dev);

/* The dword at @off of config space as the user reads it. */
u32 caps_user_read(const struct caps_device *dev, u32 off);

#endif /* CAPS_CHECK_H */
