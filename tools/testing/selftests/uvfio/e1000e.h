/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interrupts of e1000e on request: each of its five MSI-X vectors, or the line.
 */
#ifndef UVFIO_TEST_E1000E_H
#define UVFIO_TEST_E1000E_H

#include <stdint.h>

/* Registers in BAR 0; causes are bits, the same in most of them. */
#define E1000E_CTRL		0x00
#define E1000E_CTRL_RST		0x4000000
#define E1000E_ICR		0xc0	/* write: acknowledge */
#define E1000E_ICS		0xc8	/* write: set */
#define E1000E_IMS		0xd0	/* write: enable */
#define E1000E_IMC		0xd8	/* write: disable */
#define E1000E_EIAC		0xdc	/* to be cleared by their own MSI-X */
#define E1000E_IVAR		0xe4	/* cause to vector: 4 bits each */
#define E1000E_RDBAL		0x2800	/* keeps what is written to it */
#define E1000E_BAR_SIZE		0x20000
#define E1000E_CAUSE(vector)	(0x100000u << (vector))
#define E1000E_CAUSES		0x1f00000u
/* Causes 20 to 24 on vectors 0 to 4, each marked valid (bit 3). */
#define E1000E_IVAR_ALL		0xcba98u
#define E1000E_VECTORS		5
/*
 * It repeats and delays interrupts by timers of 128 us, and QEMU ends itself
 * when one runs out after the interrupt mode was changed. Emulated time does
 * not help there: this is for the host to get round to it.
 */
#define E1000E_SETTLE_US	100000

void e1000e_write(void *bar, unsigned int reg, uint32_t value);

/* Nothing pending, each vector with its cause, all of them enabled. */
void e1000e_setup(void *bar);

#endif /* UVFIO_TEST_E1000E_H */
