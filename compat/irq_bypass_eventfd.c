// SPDX-License-Identifier: GPL-2.0
/* Since v6.17: producers and consumers meet by their eventfd. */
#include <linux/irqbypass.h>

int probe(struct irq_bypass_producer *producer, struct eventfd_ctx *eventfd)
{
	return irq_bypass_register_producer(producer, eventfd, 0);
}
