/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices that interrupt when they are told to: edu and e1000e, by the line, MSI
 * or MSI-X.
 */
#ifndef UVFIO_TEST_IRQ_H
#define UVFIO_TEST_IRQ_H

#include <pthread.h>

#include "common.h"
#include "e1000e.h"
#include "edu.h"

struct interrupter {
	int fd;
	unsigned int index;	/* the mode in use, or to be used */
	struct edu edu;
	void *e1000e;		/* BAR 0; NULL: it is an edu */
};

/* Attached, registers mapped, nothing pending, nothing armed. */
int interrupter_start(struct interrupter *self, enum which which,
		      const struct device *dev, unsigned int index);
void interrupter_stop(struct interrupter *self);

/* Make the device interrupt; with a level, until irq_ack(). */
void irq_fire(struct interrupter *self, unsigned int vector);
void irq_ack(struct interrupter *self);

/* Serve the device and let the line fire again. */
int irq_finish(struct interrupter *self);

/* A thread that has it interrupt on and on. */
struct firing {
	struct interrupter *source;
	unsigned int vector;
	bool finish;		/* irq_finish() each time, armed or not */
	/* private: */
	pthread_t thread;
	bool end;
};

int firing_start(struct firing *self);
int firing_stop(struct firing *self);

/* How many more signals come until it is quiet. */
int event_drain(int event);

/* All signals that an eventfd, which does not block, has got since it was asked. */
uint64_t event_take(int event);

/* What fdinfo says of a vector, such as number 3 of "msix"; false: it is not armed. */
struct irq_state {
	int irq;
	unsigned long count;
	int masked;
	char cpus[32], effective[32];	/* lists such as 0-1 */
};

bool irq_state(int fd, const char *mode, unsigned int nr,
	       struct irq_state *state);

/*
 * What /proc/interrupts says of it: how many each CPU took, -1 of one that is not
 * online. False: no device has a vector of that name.
 */
#define IRQ_CPUS	2

bool irq_taken(const char *bdf, const char *mode, unsigned int nr,
	       long taken[IRQ_CPUS]);

/* One vector to an eventfd, or to none: -1. */
int irq_connect(int fd, unsigned int index, unsigned int vector, int event);

/* SET_IRQS as it is, with whatever the caller wants in it. */
int set_irqs(int fd, uint32_t flags, uint32_t index, uint32_t start,
	     uint32_t count, const void *data, size_t size);

#define EVENTFD_TRIGGER \
	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define EVENTFD_MASK	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_MASK)
#define EVENTFD_UNMASK	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK)
#define NONE_TRIGGER	(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define BOOL_TRIGGER	(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER)
#define BOOL_MASK	(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_MASK)
#define BOOL_UNMASK	(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_UNMASK)

#endif /* UVFIO_TEST_IRQ_H */
