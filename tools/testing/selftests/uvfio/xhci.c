// SPDX-License-Identifier: GPL-2.0
/*
 * A user driver of a USB controller; see xhci.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"
#include "xhci.h"

/* Registers in BAR 0; those of MSI-X are behind them. */
#define REGISTERS_SIZE		0x3000
#define HCSPARAMS1		0x04
#define MAX_PORTS(params)	((params) >> 24)
#define HCSPARAMS2		0x08
#define MAX_SCRATCHPADS		0xfbe00000u
#define HCCPARAMS1		0x10
#define LARGE_CONTEXTS		0x4
#define DBOFF			0x14
#define RTSOFF			0x18

/* Operational ones */
#define USBCMD			0x00
#define USBCMD_RUN		0x1
#define USBCMD_RESET		0x2
#define USBCMD_INTERRUPTS	0x4
#define USBSTS			0x04
#define USBSTS_HALTED		0x1
#define USBSTS_NOT_READY	0x800
#define CRCR			0x18
#define DCBAAP			0x30
#define CONFIG			0x38
#define PORTSC(port)		(0x3f0 + 0x10 * (port))
#define PORTSC_CONNECTED	0x1
#define PORTSC_ENABLED		0x2
#define PORTSC_RESET		0x10
#define PORTSC_POWER		0x200
#define PORTSC_SPEED		0x3c00

/* Runtime ones, of an interrupter */
#define IMAN(vector)		(0x20 + 0x20 * (vector))
#define IMAN_PENDING		0x1	/* write: acknowledge */
#define IMAN_ENABLE		0x2
#define ERSTSZ(vector)		(IMAN(vector) + 0x08)
#define ERSTBA(vector)		(IMAN(vector) + 0x10)
#define ERDP(vector)		(IMAN(vector) + 0x18)
#define ERDP_BUSY		0x8	/* write: acknowledge */

/* In a TRB, and an event is one */
#define TRB_CYCLE		0x1
#define TRB_TOGGLE		0x2
#define TRB_INTERRUPT		0x20
#define TRB_IMMEDIATE		0x40
#define TRB_IN			0x10000
#define TRB_IN_FOLLOWS		0x30000
#define TRB_TYPE(type)		((type) << 10)
#define TRB_TYPE_MASK		TRB_TYPE(0x3fu)
#define TRB_SETUP		TRB_TYPE(2)
#define TRB_DATA		TRB_TYPE(3)
#define TRB_STATUS		TRB_TYPE(4)
#define TRB_LINK		TRB_TYPE(6)
#define TRB_ENABLE_SLOT		TRB_TYPE(9)
#define TRB_ADDRESS_DEVICE	TRB_TYPE(11)
#define TRB_PORT_BANDWIDTH	TRB_TYPE(21)
#define TRB_COMMAND_DONE	TRB_TYPE(33u)
#define TRB_SLOT(slot)		((uint32_t)(slot) << 24)
#define TRB_VECTOR(vector)	((uint32_t)(vector) << 22)
#define EVENT_SUCCESS(event)	((event)->status >> 24 == 1)

#define RING_TRBS		(PAGE_SIZE / sizeof(struct xhci_trb))

#define DESCRIPTOR_SIZE		18
#define DESCRIPTOR_TYPE		1
/* From the device, GET_DESCRIPTOR: that of the device */
#define GET_DESCRIPTOR \
	(0x80 | 6 << 8 | DESCRIPTOR_TYPE << 24 | (uint64_t)DESCRIPTOR_SIZE << 48)

/* The memory that the controller reaches, in pages */
enum {
	DEVICES,	/* where the state of each is */
	SEGMENTS,	/* where the events of each interrupter go */
	COMMANDS,
	TRANSFERS,
	INPUT,
	STATE,
	DATA,
	EVENTS,
	PAGES = EVENTS + XHCI_VECTORS
};

#define MEMORY_IOVA	0x30000000ULL
#define IOVA(page)	(MEMORY_IOVA + (page) * PAGE_SIZE)

/* Each interrupter has one, of one segment, on a cache line of its own. */
struct segment {
	uint64_t iova;
	uint32_t trbs;
	uint32_t reserved[13];
};

/* Of 32 bytes each */
struct input {
	uint32_t control[8];
	uint32_t slot[8];
	uint32_t endpoint[8];
};

static void *page(struct xhci *self, unsigned int number)
{
	return self->memory + number * PAGE_SIZE;
}

static void ring_init(struct xhci *self, struct xhci_ring *ring,
		      unsigned int number)
{
	ring->trbs = page(self, number);
	ring->iova = IOVA(number);
	ring->next = 0;
	ring->cycle = TRB_CYCLE;
}

/* The last one leads back to the first. Three to a transfer fit exactly. */
static void ring_put(struct xhci_ring *ring, uint64_t parameter,
		     uint32_t status, uint32_t control)
{
	struct xhci_trb *trb = &ring->trbs[ring->next++];

	trb->parameter = parameter;
	trb->status = status;
	__atomic_store_n(&trb->control, control | ring->cycle,
			 __ATOMIC_RELEASE);
	if (ring->next == RING_TRBS - 1) {
		ring_put(ring, ring->iova, 0, TRB_LINK | TRB_TOGGLE);
		ring->next = 0;
		ring->cycle ^= TRB_CYCLE;
	}
}

static bool event_take_next(struct xhci_ring *ring, struct xhci_trb *event)
{
	struct xhci_trb *trb = &ring->trbs[ring->next];
	uint32_t control = __atomic_load_n(&trb->control, __ATOMIC_ACQUIRE);

	if ((control & TRB_CYCLE) != ring->cycle)
		return false;
	*event = *trb;
	ring->next = (ring->next + 1) % RING_TRBS;
	if (!ring->next)
		ring->cycle ^= TRB_CYCLE;
	return true;
}

static void ring_doorbell(struct xhci *self, unsigned int slot,
			  uint32_t target)
{
	uvfio_dma_wmb();
	uvfio_write32(self->regs, self->doorbells + 4 * slot, target);
}

int xhci_serve(struct xhci *self, unsigned int vector)
{
	struct xhci_ring *ring = &self->events[vector];
	struct xhci_trb event;
	int count = 0;
	bool fine = true;

	uvfio_write32(self->regs, self->runtime + IMAN(vector),
		      IMAN_PENDING | IMAN_ENABLE);
	for (; event_take_next(ring, &event); count++)
		fine &= EVENT_SUCCESS(&event);
	uvfio_write64(self->regs, self->runtime + ERDP(vector),
		      (ring->iova + ring->next * sizeof(event)) | ERDP_BUSY);
	return fine ? count : -EIO;
}

void xhci_enable_interrupts(struct xhci *self)
{
	unsigned int i;

	for (i = 0; i < XHCI_VECTORS; i++)
		uvfio_write32(self->regs, self->runtime + IMAN(i), IMAN_ENABLE);
}

/* The percentages that are left of the bandwidth of each port */
void xhci_command(struct xhci *self)
{
	ring_put(&self->commands, IOVA(DATA), 0, TRB_PORT_BANDWIDTH);
	ring_doorbell(self, 0, 0);
}

bool xhci_command_worked(struct xhci *self)
{
	uint8_t *percent = page(self, DATA);
	bool worked = percent[1] > 0 && percent[1] <= 100;

	memset(percent, 0, PAGE_SIZE);
	return worked;
}

void xhci_request(struct xhci *self, unsigned int vector)
{
	ring_put(&self->transfers, GET_DESCRIPTOR, 8,
		 TRB_SETUP | TRB_IMMEDIATE | TRB_IN_FOLLOWS);
	ring_put(&self->transfers, IOVA(DATA), DESCRIPTOR_SIZE,
		 TRB_DATA | TRB_IN);
	ring_put(&self->transfers, 0, TRB_VECTOR(vector),
		 TRB_STATUS | TRB_INTERRUPT);
	ring_doorbell(self, self->slot, 1);
}

bool xhci_request_worked(struct xhci *self)
{
	uint8_t *descriptor = page(self, DATA);
	bool worked = descriptor[0] == DESCRIPTOR_SIZE &&
		      descriptor[1] == DESCRIPTOR_TYPE;

	memset(descriptor, 0, PAGE_SIZE);
	return worked;
}

/* Setting up, without interrupts */

static int wait_register(struct xhci *self, size_t offset, uint32_t mask,
			 uint32_t value)
{
	uint64_t end = now_ms() + WAIT_MS;

	while ((uvfio_read32(self->regs, offset) & mask) != value) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return 0;
}

static int registers_map(struct xhci *self)
{
	void *regs = bar_map(self->fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
			     REGISTERS_SIZE);

	if (regs == MAP_FAILED)
		return -errno;
	self->regs = regs;
	self->operational = uvfio_read32(regs, 0) & 0xff;
	self->runtime = uvfio_read32(regs, RTSOFF);
	self->doorbells = uvfio_read32(regs, DBOFF);
	/* Neither is what any controller of QEMU wants. */
	if (uvfio_read32(regs, HCSPARAMS2) & MAX_SCRATCHPADS ||
	    uvfio_read32(regs, HCCPARAMS1) & LARGE_CONTEXTS)
		return -ENOTSUP;
	return 0;
}

static int controller_reset(struct xhci *self)
{
	size_t command = self->operational + USBCMD;
	size_t status = self->operational + USBSTS;
	int ret;

	uvfio_write32(self->regs, command, 0);
	ret = wait_register(self, status, USBSTS_HALTED, USBSTS_HALTED);
	if (ret)
		return ret;
	uvfio_write32(self->regs, command, USBCMD_RESET);
	ret = wait_register(self, command, USBCMD_RESET, 0);
	return ret ?: wait_register(self, status, USBSTS_NOT_READY, 0);
}

static int memory_map(struct xhci *self)
{
	self->memory = dma_alloc(PAGES * PAGE_SIZE);
	if (!self->memory)
		return -ENOMEM;
	return uvfio_dma_map(self->fd, self->memory, PAGES * PAGE_SIZE,
			     MEMORY_IOVA, VFIO_DMA_MAP_FLAG_READ |
			     VFIO_DMA_MAP_FLAG_WRITE);
}

static void events_start(struct xhci *self, unsigned int vector)
{
	struct segment *segment = (struct segment *)page(self, SEGMENTS) +
				  vector;
	struct xhci_ring *ring = &self->events[vector];
	size_t runtime = self->runtime;

	ring_init(self, ring, EVENTS + vector);
	segment->iova = ring->iova;
	segment->trbs = RING_TRBS;
	uvfio_write32(self->regs, runtime + ERSTSZ(vector), 1);
	uvfio_write64(self->regs, runtime + ERDP(vector), ring->iova);
	uvfio_write64(self->regs, runtime + ERSTBA(vector),
		      IOVA(SEGMENTS) + vector * sizeof(*segment));
}

static void controller_run(struct xhci *self)
{
	size_t operational = self->operational;
	unsigned int i;

	ring_init(self, &self->commands, COMMANDS);
	ring_init(self, &self->transfers, TRANSFERS);
	for (i = 0; i < XHCI_VECTORS; i++)
		events_start(self, i);
	uvfio_write32(self->regs, operational + CONFIG, 1);
	uvfio_write64(self->regs, operational + DCBAAP, IOVA(DEVICES));
	uvfio_write64(self->regs, operational + CRCR,
		      self->commands.iova | TRB_CYCLE);
	uvfio_write32(self->regs, operational + USBCMD,
		      USBCMD_RUN | USBCMD_INTERRUPTS);
}

/* Returns the slot that its event names. */
static int command_run(struct xhci *self, uint64_t parameter, uint32_t control)
{
	uint64_t end = now_ms() + WAIT_MS;
	struct xhci_trb event = { 0 };

	ring_put(&self->commands, parameter, 0, control);
	ring_doorbell(self, 0, 0);
	while ((event.control & TRB_TYPE_MASK) != TRB_COMMAND_DONE) {
		if (event_take_next(&self->events[0], &event))
			continue;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return EVENT_SUCCESS(&event) ? (int)(event.control >> 24) : -EIO;
}

/* The first port with something in it, which is ready then; 0: none. */
static unsigned int port_start(struct xhci *self)
{
	unsigned int count = MAX_PORTS(uvfio_read32(self->regs, HCSPARAMS1));
	unsigned int port;
	size_t offset;

	for (port = 1; port <= count; port++) {
		offset = self->operational + PORTSC(port);
		if (!(uvfio_read32(self->regs, offset) & PORTSC_CONNECTED))
			continue;
		uvfio_write32(self->regs, offset, PORTSC_POWER | PORTSC_RESET);
		return wait_register(self, offset, PORTSC_ENABLED,
				     PORTSC_ENABLED) ? 0 : port;
	}
	return 0;
}

static int device_start(struct xhci *self)
{
	struct input *input = page(self, INPUT);
	uint64_t *states = page(self, DEVICES);
	unsigned int port = port_start(self);
	uint32_t speed;
	int ret;

	if (!port)
		return -ENODEV;
	ret = command_run(self, 0, TRB_ENABLE_SLOT);
	if (ret < 0)
		return ret;
	self->slot = ret;
	states[self->slot] = IOVA(STATE);

	speed = uvfio_read32(self->regs, self->operational + PORTSC(port)) &
		PORTSC_SPEED;
	input->control[1] = 0x3;		/* slot and endpoint */
	input->slot[0] = speed << 10 | 1 << 27;	/* one endpoint */
	input->slot[1] = port << 16;
	/* Control, packets of 64 bytes, three attempts */
	input->endpoint[1] = 64 << 16 | 4 << 3 | 3 << 1;
	input->endpoint[2] = self->transfers.iova | TRB_CYCLE;
	input->endpoint[4] = 8;
	ret = command_run(self, IOVA(INPUT),
			  TRB_ADDRESS_DEVICE | TRB_SLOT(self->slot));
	return ret < 0 ? ret : 0;
}

int xhci_start(struct xhci *self, int fd)
{
	unsigned int i;
	int ret;

	memset(self, 0, sizeof(*self));
	self->fd = fd;
	ret = uvfio_command(fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	ret = ret ?: registers_map(self);
	ret = ret ?: controller_reset(self);
	ret = ret ?: memory_map(self);
	if (ret)
		return ret;
	controller_run(self);
	ret = device_start(self);
	for (i = 0; i < XHCI_VECTORS; i++)
		xhci_serve(self, i);
	return ret;
}

void xhci_stop(struct xhci *self)
{
	if (self->regs)
		munmap(self->regs, REGISTERS_SIZE);
	self->regs = NULL;
	if (self->memory)
		dma_free(self->memory, PAGES * PAGE_SIZE);
	self->memory = NULL;
}
