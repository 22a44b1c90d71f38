// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts of e1000e on request; see e1000e.h.
 */
#include "e1000e.h"

void e1000e_write(void *bar, unsigned int reg, uint32_t value)
{
	__atomic_store_n((uint32_t *)((char *)bar + reg), value,
			 __ATOMIC_RELEASE);
}

/*
 * The device's own reset, because its throttling timers outlive the interrupt
 * that they hold back, and QEMU does not survive one that ends in another mode.
 */
void e1000e_setup(void *bar)
{
	e1000e_write(bar, E1000E_CTRL, E1000E_CTRL_RST);
	e1000e_write(bar, E1000E_IMC, ~0u);
	e1000e_write(bar, E1000E_ICR, ~0u);
	e1000e_write(bar, E1000E_IVAR, E1000E_IVAR_ALL);
	e1000e_write(bar, E1000E_EIAC, E1000E_CAUSES);
	e1000e_write(bar, E1000E_IMS, E1000E_CAUSES);
}
