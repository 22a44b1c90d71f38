// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark's interrupts, by the calls that uvfio and vfio-pci have alike.
 *
 * An interrupt of the NVMe controller comes when QEMU's other thread gets to it, and
 * a program that slept until then would count the scheduler, too. So it does not
 * sleep: what is counted is the interruption of a loop, from its last instruction
 * to its next one, when the eventfd can be read. The edu device interrupts at once,
 * in the instruction that writes its register, so all of that can be counted.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <uvfio.h>

#include "../../samples/nvme/nvme.h"
#include "../testing/selftests/uvfio/edu.h"
#include "bench.h"

#define VECTORS		64
#define ENTRIES		16	/* of each of the admin queues */
#define TRIES		250	/* each of which the next tick ends */
#define TICKS_US	12000	/* three of them */

/* What the controller reaches. */
enum { COMMANDS, COMPLETIONS, DATA, PAGES };

static int events[VECTORS];

static struct {
	volatile void *bar;
	char *memory;
	unsigned int stride, tail, head, phase;
} nvme;

static volatile void *edu;

static bool take_event(int event)
{
	uint64_t count;

	return read(event, &count, sizeof(count)) == sizeof(count);
}

/*
 * What was put off until the next tick is done, so that it comes into no count by
 * chance: RCU frees what vectors had; and once in a second, or in 1024 interrupts,
 * randomness is taken from them, of which those until that tick are the cheaper.
 */
static void let_ticks_pass(void)
{
	usleep(TICKS_US);
}

/* For as long as the program runs. Reading one without a signal fails. */
int make_events(struct bench *b, const struct measurement *m)
{
	unsigned int i;

	(void)b;
	(void)m;
	for (i = 0; i < VECTORS && !events[i]; i++) {
		events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (events[i] < 0)
			return -errno;
	}
	return 0;
}

int arm(struct bench *b, const struct measurement *m)
{
	int ret = make_events(b, m);

	return ret ?: uvfio_irq_eventfds(b->nvme.fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					 events, m->vectors);
}

int disarm(struct bench *b, const struct measurement *m)
{
	(void)m;
	return uvfio_irq_disable(b->nvme.fd, VFIO_PCI_MSIX_IRQ_INDEX);
}

int arm_round(struct bench *b, const struct measurement *m, uint64_t *costs)
{
	uint64_t start;
	unsigned int i;
	int ret;

	costs[0] = 0;
	costs[1] = 0;
	for (i = 0; i < m->ops; i += m->vectors) {
		let_ticks_pass();
		start = now();
		ret = uvfio_irq_eventfds(b->nvme.fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					 events, m->vectors);
		if (ret)
			return ret;
		costs[0] += now() - start;

		let_ticks_pass();
		start = now();
		ret = uvfio_irq_disable(b->nvme.fd, VFIO_PCI_MSIX_IRQ_INDEX);
		if (ret)
			return ret;
		costs[1] += now() - start;
	}
	return 0;
}

int loopback_round(struct bench *b, const struct measurement *m,
		   uint64_t *costs)
{
	uint64_t start;
	unsigned int i;
	int ret;

	start = now();
	for (i = 0; i < m->ops; i++) {
		ret = uvfio_irq_trigger(b->nvme.fd, VFIO_PCI_MSIX_IRQ_INDEX, 0,
					m->vectors);
		if (ret)
			return ret;
		if (!take_event(events[0]))
			return -errno;
	}
	costs[0] = now() - start;
	return 0;
}

/* Until the controller is ready, or is not. */
static int wait_ready(uint32_t ready)
{
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		if ((uvfio_read32(nvme.bar, NVME_CSTS) & NVME_CSTS_RDY) == ready)
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

static int enable_controller(struct bench *b)
{
	int ret = uvfio_command(b->nvme.fd, PCI_COMMAND_MASTER, 0);

	if (ret)
		return ret;
	nvme.stride = 4u << NVME_CAP_DSTRD(uvfio_read64(nvme.bar, NVME_CAP));
	nvme.tail = 0;
	nvme.head = 0;
	nvme.phase = 1;
	uvfio_write32(nvme.bar, NVME_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	uvfio_write64(nvme.bar, NVME_ASQ, IOVA + COMMANDS * PAGE);
	uvfio_write64(nvme.bar, NVME_ACQ, IOVA + COMPLETIONS * PAGE);
	uvfio_write32(nvme.bar, NVME_CC,
		      NVME_CC_EN | NVME_CC_IOSQES | NVME_CC_IOCQES);
	return wait_ready(NVME_CSTS_RDY);
}

int start_controller(struct bench *b, const struct measurement *m)
{
	int ret;

	nvme.memory = b->memory[ADJACENT];
	memset(nvme.memory, 0, PAGES * PAGE);
	ret = uvfio_bar_map(b->nvme.fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
			    NVME_DOORBELLS + NVME_DOORBELLS_MAPPED, &nvme.bar);
	if (!ret)
		ret = b->driver->dma_map(&b->nvme, nvme.memory, PAGES * PAGE,
					 IOVA);
	return ret ?: arm(b, m) ?: enable_controller(b);
}

int stop_controller(struct bench *b, const struct measurement *m)
{
	int ret;

	uvfio_write32(nvme.bar, NVME_CC, 0);
	ret = wait_ready(0);
	munmap((void *)nvme.bar, NVME_DOORBELLS + NVME_DOORBELLS_MAPPED);
	return ret ?: disarm(b, m) ?:
	       b->driver->dma_unmap(&b->nvme, IOVA, PAGES * PAGE);
}

static volatile uint32_t *doorbell(unsigned int number)
{
	return (uint32_t *)((char *)nvme.bar + NVME_DOORBELLS +
			    number * nvme.stride);
}

static void add_command(void)
{
	struct nvme_command *commands = (void *)nvme.memory + COMMANDS * PAGE;

	commands[nvme.tail] = (struct nvme_command) {
		.opcode = NVME_IDENTIFY,
		.data = IOVA + DATA * PAGE,
		.dword10 = NVME_IDENTIFY_CONTROLLER,
	};
	nvme.tail = (nvme.tail + 1) % ENTRIES;
	uvfio_dma_wmb();
}

/* What follows the interrupt: the one completion there is. */
static int take_completion(void)
{
	volatile struct nvme_completion *completions =
		(void *)nvme.memory + COMPLETIONS * PAGE;

	if (completions[nvme.head].status != nvme.phase)
		return -EIO;
	nvme.head = (nvme.head + 1) % ENTRIES;
	if (!nvme.head)
		nvme.phase ^= 1;
	*doorbell(1) = nvme.head;
	return 0;
}

/*
 * Rings and returns what the interrupt took, 0: there was none. The kernel's tick
 * may come first; it is counted as well, as it would be in any other row.
 */
static uint64_t interruption(volatile uint32_t *reg, uint32_t value, int event)
{
	volatile uint32_t nowhere;
	uint64_t cost = 0, start, waited;
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		start = now();
		waited = ring_and_spin(i ? &nowhere : reg, value);
		cost += now() - start - waited;
		if (take_event(event))
			return cost;
	}
	return 0;
}

int interrupt_round(struct bench *b, const struct measurement *m,
		    uint64_t *costs)
{
	uint64_t cost;
	unsigned int i;
	int ret = 0;

	(void)b;
	let_ticks_pass();
	costs[0] = 0;
	for (i = 0; !ret && i < m->ops; i++) {
		add_command();
		cost = interruption(doorbell(0), nvme.tail, events[0]);
		if (!cost)
			return -ETIMEDOUT;
		costs[0] += cost;
		ret = take_completion();
	}
	return ret;
}

/* It has no reset: what an earlier user has left has to go. */
int start_edu(struct bench *b, const struct measurement *m)
{
	int ret = make_events(b, m);

	if (!ret)
		ret = uvfio_bar_map(b->edu.fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
				    PAGE, &edu);
	if (ret)
		return ret;
	uvfio_write32(edu, EDU_IRQ_ACK, uvfio_read32(edu, EDU_IRQ_STATUS));
	return uvfio_irq_eventfds(b->edu.fd, VFIO_PCI_INTX_IRQ_INDEX, 0, events,
				  1);
}

int stop_edu(struct bench *b, const struct measurement *m)
{
	(void)m;
	munmap((void *)edu, PAGE);
	return uvfio_irq_disable(b->edu.fd, VFIO_PCI_INTX_IRQ_INDEX);
}

int intx_round(struct bench *b, const struct measurement *m, uint64_t *costs)
{
	uint64_t start;
	unsigned int i;
	int ret;

	let_ticks_pass();
	start = now();
	for (i = 0; i < m->ops; i++) {
		uvfio_write32(edu, EDU_IRQ_RAISE, 1);
		if (!take_event(events[0]))
			return -errno;
		uvfio_write32(edu, EDU_IRQ_ACK, 1);
		ret = uvfio_intx_unmask(b->edu.fd);
		if (ret)
			return ret;
	}
	costs[0] = now() - start;
	return 0;
}
