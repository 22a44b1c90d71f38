/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A user driver of a USB controller with the USB device that is plugged into it: a
 * ring of commands, one of transfers, and for each of its interrupters, which are
 * its interrupt vectors, one of events.
 */
#ifndef UVFIO_TEST_XHCI_H
#define UVFIO_TEST_XHCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XHCI_VECTORS	16

/* What every ring consists of */
struct xhci_trb {
	uint64_t parameter;
	uint32_t status;
	uint32_t control;
};

struct xhci_ring {
	struct xhci_trb *trbs;
	uint64_t iova;
	unsigned int next;
	uint32_t cycle;		/* of those that are new, at the moment */
};

struct xhci {
	int fd;
	void *regs;
	size_t operational, runtime, doorbells;	/* where these registers are */
	uint8_t *memory;
	struct xhci_ring commands, transfers, events[XHCI_VECTORS];
	unsigned int slot;			/* what it calls the device */
};

/* @fd is attached. The controller runs then, and goes on until it is reset. */
int xhci_start(struct xhci *self, int fd);
void xhci_stop(struct xhci *self);

/* QEMU sends MSI-X only for what was enabled after that was: call it then. */
void xhci_enable_interrupts(struct xhci *self);

/*
 * Work, at the end of which is an event: a command, always for vector 0, and a
 * request to the USB device, for any. It ends before another one may begin.
 */
void xhci_command(struct xhci *self);
void xhci_request(struct xhci *self, unsigned int vector);

/* Whether the last one has brought what it was to bring; only once. */
bool xhci_command_worked(struct xhci *self);
bool xhci_request_worked(struct xhci *self);

/*
 * Take the events of a vector, of which the first has interrupted, and let the next
 * one do so. Returns how many there were; -EIO: one of them tells of an error.
 */
int xhci_serve(struct xhci *self, unsigned int vector);

#endif /* UVFIO_TEST_XHCI_H */
