/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The judge of what a user's writes to config space do: raw config space, as the
 * administrator sees it, before and after each.
 *
 * It knows two sets of bits. Those that the module's own table grants to the
 * user: a mistake in the code that writes shows as a change of any other bit. And
 * those that no table may ever grant, found by a walk of its own: so does a
 * mistake in the table.
 */
#ifndef UVFIO_TEST_JUDGE_H
#define UVFIO_TEST_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "caps.h"
#include "common.h"

#define CONFIG_DWORDS	(PCI_CFG_SPACE_EXP_SIZE / 4)

struct judge {
	int raw;			/* as device.raw */
	unsigned int size;		/* of config space */
	struct uvfio_reg regs[CONFIG_DWORDS];	/* the table, laid over it */
	uint32_t granted[CONFIG_DWORDS];
	uint32_t never[CONFIG_DWORDS];
	uint32_t seen[CONFIG_DWORDS];	/* as it was when last looked at */
	bool watched[CONFIG_DWORDS];	/* looked at after each write */
	unsigned int pm, exp;		/* capabilities; 0: the device has none */
	bool can_reset;			/* by Function Level Reset */
	unsigned int looks;
	bool thorough;			/* look at all of it each time */
};

/* A write of the user's, of 1 to 4 bytes anywhere. */
struct write {
	unsigned int off, len;
	uint32_t value;
};

/* What has changed and should not have. */
struct change {
	unsigned int at;
	uint32_t before, after, allowed;
};

int judge_init(struct judge *judge, const struct device *dev);
void judge_grant(struct judge *judge, unsigned int off, uint32_t bits);
bool judge_says_reset(const struct judge *judge, const struct write *write);
bool judge_sees(struct judge *judge, const struct write *write,
		struct change *change);

/* Where in raw config space; 0: not there. */
unsigned int raw_cap(const struct device *dev, uint8_t id);
unsigned int raw_ext_cap(const struct device *dev, uint16_t id);

#endif /* UVFIO_TEST_JUDGE_H */
