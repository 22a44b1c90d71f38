// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts of USB controllers that work: commands, and requests to a USB device,
 * each of which asks for the vector that its end is told by. One controller has
 * INTx and 16 vectors of MSI-X, the other MSI as well, 16 vectors, too.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "irq.h"
#include "test.h"
#include "xhci.h"

static const char * const mode_name[] = {
	[VFIO_PCI_INTX_IRQ_INDEX] = "intx",
	[VFIO_PCI_MSI_IRQ_INDEX] = "msi",
	[VFIO_PCI_MSIX_IRQ_INDEX] = "msix",
};

/* How many signals there are, as soon as there is one */
static uint64_t signals(int event, int timeout_ms)
{
	struct pollfd pollfd = { .fd = event, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) == 1 ? event_take(event) : 0;
}

static bool all_quiet(const int *event, unsigned int count)
{
	unsigned int i;
	bool quiet = true;

	usleep(QUIET_MS * 1000);
	for (i = 0; i < count; i++)
		quiet &= !event_take(event[i]);
	return quiet;
}

static int start(struct device *dev, enum which which, struct xhci *xhci,
		 int *event)
{
	int i, ret;

	xhci->regs = NULL;
	xhci->memory = NULL;
	ret = device_prepare(which, dev);
	ret = ret ?: drop_privileges(TEST_UID);
	ret = ret ?: device_open_attached(dev, -1);
	ret = ret ?: xhci_start(xhci, dev->fd);
	for (i = 0; !ret && i < XHCI_VECTORS; i++) {
		event[i] = event_new();
		ret = event[i] < 0 ? event[i] : 0;
	}
	return ret;
}

FIXTURE(vectors)
{
	struct device dev;
	struct xhci xhci;
	int fd;
	int event[XHCI_VECTORS];
};

FIXTURE_VARIANT(vectors)
{
	enum which which;
	unsigned int index;
};

FIXTURE_VARIANT_ADD(vectors, msix)
{
	.which = XHCI,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
};

FIXTURE_VARIANT_ADD(vectors, nec_msix)
{
	.which = NEC_XHCI,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
};

FIXTURE_VARIANT_ADD(vectors, nec_msi)
{
	.which = NEC_XHCI,
	.index = VFIO_PCI_MSI_IRQ_INDEX,
};

FIXTURE_SETUP(vectors)
{
	ASSERT_EQ(0, start(&self->dev, variant->which, &self->xhci,
			   self->event));
	self->fd = self->dev.fd;
	ASSERT_EQ(XHCI_VECTORS, uvfio_irq_count(self->fd, variant->index));
	ASSERT_EQ(0, uvfio_irq_eventfds(self->fd, variant->index, 0,
					self->event, XHCI_VECTORS));
	xhci_enable_interrupts(&self->xhci);
}

FIXTURE_TEARDOWN(vectors)
{
	xhci_stop(&self->xhci);
	device_close(&self->dev);
}

#define CONNECT(vector, event) \
	({ \
		int __event = (event); \
		uvfio_irq_eventfds(self->fd, variant->index, vector, &__event, \
				   1); \
	})
#define MASK(start, count) \
	uvfio_irq_mask(self->fd, variant->index, start, count)
#define UNMASK(start, count) \
	uvfio_irq_unmask(self->fd, variant->index, start, count)
#define REQUEST(vector)	xhci_request(&self->xhci, vector)
#define ALL_QUIET()	all_quiet(self->event, XHCI_VECTORS)

/* Its end has been told, by one event, and it was really done. */
#define EXPECT_SERVED(vector) \
	do { \
		EXPECT_EQ(1, xhci_serve(&self->xhci, vector)); \
		EXPECT_TRUE(xhci_request_worked(&self->xhci)); \
	} while (0)

#define EXPECT_WORKS(vector, event) \
	do { \
		unsigned int __vector = (vector); \
		REQUEST(__vector); \
		EXPECT_EQ(1, signals(event, WAIT_MS)); \
		EXPECT_SERVED(__vector); \
	} while (0)

#define ROUNDS		20

/* All rings have been round then. */
TEST_F(vectors, each_end_is_one_interrupt)
{
	struct irq_state state;
	unsigned int i, round;

	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < XHCI_VECTORS; i++)
			EXPECT_WORKS(i, self->event[i]);
	for (i = 0; i < 300; i++) {
		xhci_command(&self->xhci);
		EXPECT_EQ(1, signals(self->event[0], WAIT_MS));
		EXPECT_EQ(1, xhci_serve(&self->xhci, 0));
		EXPECT_TRUE(xhci_command_worked(&self->xhci));
	}
	/* All at once */
	for (i = 0; i < XHCI_VECTORS; i++)
		REQUEST(i);
	for (i = 0; i < XHCI_VECTORS; i++) {
		EXPECT_EQ(1, signals(self->event[i], WAIT_MS));
		EXPECT_EQ(1, xhci_serve(&self->xhci, i));
	}
	EXPECT_TRUE(ALL_QUIET());
	for (i = 0; i < XHCI_VECTORS; i++) {
		ASSERT_TRUE(irq_state(self->fd, mode_name[variant->index], i,
				      &state));
		EXPECT_EQ(ROUNDS + 1 + (i ? 0 : 300), state.count);
	}
}

/* Until it is served, the controller interrupts once, whatever else ends. */
TEST_F(vectors, the_first_end_stands_for_more)
{
	unsigned int i;

	for (i = 0; i < XHCI_VECTORS; i++) {
		REQUEST(i);
		EXPECT_EQ(1, signals(self->event[i], WAIT_MS));
		REQUEST(i);
		REQUEST(i);
	}
	EXPECT_TRUE(ALL_QUIET());
	for (i = 0; i < XHCI_VECTORS; i++) {
		EXPECT_EQ(3, xhci_serve(&self->xhci, i));
		EXPECT_TRUE(xhci_request_worked(&self->xhci) || i);
		EXPECT_WORKS(i, self->event[i]);
	}
}

TEST_F(vectors, a_masked_one_keeps_one)
{
	unsigned int i, round;

	/* All, and twice is once. */
	EXPECT_EQ(0, MASK(0, XHCI_VECTORS));
	for (round = 0; round < 2; round++) {
		for (i = 0; i < XHCI_VECTORS; i++) {
			REQUEST(i);
			EXPECT_SERVED(i);
		}
	}
	EXPECT_TRUE(ALL_QUIET());
	EXPECT_EQ(0, UNMASK(0, XHCI_VECTORS));
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_EQ(1, signals(self->event[i], WAIT_MS));
	EXPECT_TRUE(ALL_QUIET());

	/* Every other, and the rest goes on. */
	for (i = 0; i < XHCI_VECTORS; i += 2)
		EXPECT_EQ(0, MASK(i, 1));
	for (i = 0; i < XHCI_VECTORS; i++)
		REQUEST(i);
	for (i = 1; i < XHCI_VECTORS; i += 2)
		EXPECT_EQ(1, signals(self->event[i], WAIT_MS));
	EXPECT_TRUE(ALL_QUIET());
	for (i = 0; i < XHCI_VECTORS; i += 2) {
		EXPECT_EQ(0, UNMASK(i, 1));
		EXPECT_EQ(1, signals(self->event[i], WAIT_MS));
	}
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_EQ(1, xhci_serve(&self->xhci, i));

	/* Where nothing ended there is nothing to come. */
	EXPECT_EQ(0, MASK(0, XHCI_VECTORS));
	EXPECT_EQ(0, UNMASK(0, XHCI_VECTORS));
	EXPECT_TRUE(ALL_QUIET());
	EXPECT_TRUE(xhci_request_worked(&self->xhci));
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_WORKS(i, self->event[i]);
}

TEST_F(vectors, eventfds_come_and_go)
{
	const unsigned int tried[] = { 0, 7, XHCI_VECTORS - 1 };
	unsigned int i, j, vector;
	int other = event_new();

	ASSERT_LE(0, other);
	for (i = 0; i < ARRAY_SIZE(tried); i++) {
		vector = tried[i];
		/* Another, while the first stays quiet */
		EXPECT_EQ(0, CONNECT(vector, other));
		EXPECT_WORKS(vector, other);
		EXPECT_EQ(0, event_take(self->event[vector]));

		/* None: what comes meanwhile waits, and others do not. */
		EXPECT_EQ(0, CONNECT(vector, -1));
		for (j = 0; j < 2; j++) {
			REQUEST(vector);
			EXPECT_SERVED(vector);
		}
		for (j = 0; j < XHCI_VECTORS; j++) {
			if (j != vector)
				EXPECT_WORKS(j, self->event[j]);
		}
		EXPECT_FALSE(event_wait(other, QUIET_MS));
		EXPECT_EQ(0, event_take(self->event[vector]));
		EXPECT_EQ(0, CONNECT(vector, self->event[vector]));
		EXPECT_EQ(1, signals(self->event[vector], WAIT_MS));
		EXPECT_WORKS(vector, self->event[vector]);

		/* What is masked comes to whom it belongs to in the end. */
		EXPECT_EQ(0, MASK(vector, 1));
		REQUEST(vector);
		EXPECT_SERVED(vector);
		EXPECT_EQ(0, CONNECT(vector, -1));
		EXPECT_EQ(0, CONNECT(vector, other));
		EXPECT_FALSE(event_wait(other, QUIET_MS));
		EXPECT_EQ(0, UNMASK(vector, 1));
		EXPECT_EQ(1, signals(other, WAIT_MS));
		EXPECT_EQ(0, CONNECT(vector, self->event[vector]));
		EXPECT_WORKS(vector, self->event[vector]);
	}
	EXPECT_TRUE(ALL_QUIET());
	EXPECT_FALSE(event_wait(other, 0));
	close(other);
}

/* The eventfds alone: nothing has ended. */
TEST_F(vectors, loopback)
{
	uint8_t some[XHCI_VECTORS];
	unsigned int i;

	for (i = 0; i < XHCI_VECTORS; i++)
		some[i] = i % 3 == 0;
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, variant->index, 0,
				       XHCI_VECTORS));
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_EQ(1, event_take(self->event[i]));
	EXPECT_EQ(0, set_irqs(self->fd, BOOL_TRIGGER, variant->index, 0,
			      XHCI_VECTORS, some, sizeof(some)));
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_EQ(some[i], event_take(self->event[i]));
	for (i = 0; i < XHCI_VECTORS; i++) {
		EXPECT_EQ(0, xhci_serve(&self->xhci, i));
		EXPECT_WORKS(i, self->event[i]);
	}
}

/* Where fdinfo says that it is, and where the CPUs say that they took it. */
static bool works_on(struct xhci *xhci, const char *bdf, const char *mode,
		     unsigned int vector, const int *event, unsigned int cpu)
{
	long before[IRQ_CPUS], after[IRQ_CPUS];
	struct irq_state state;
	char effective[8];

	snprintf(effective, sizeof(effective), "%u", cpu);
	if (!irq_state(xhci->fd, mode, vector, &state) ||
	    strcmp(effective, state.effective) ||
	    !irq_taken(bdf, mode, vector, before))
		return false;
	xhci_request(xhci, vector);
	return signals(event[vector], WAIT_MS) == 1 &&
	       xhci_serve(xhci, vector) == 1 &&
	       irq_taken(bdf, mode, vector, after) &&
	       after[cpu] == before[cpu] + 1 && after[!cpu] == before[!cpu];
}

#define STEER(start, count, cpu) \
	({ \
		uint64_t __cpus = 1ULL << (cpu); \
		uvfio_irq_affinity(self->fd, variant->index, start, count, \
				   &__cpus, 1); \
	})
#define WORKS_ON(vector, cpu) \
	works_on(&self->xhci, self->dev.bdf, mode_name[variant->index], \
		 vector, self->event, cpu)

TEST_F(vectors, each_can_be_on_each_cpu)
{
	unsigned int cpu, i;

	for (cpu = 0; cpu < IRQ_CPUS; cpu++) {
		EXPECT_EQ(0, STEER(0, XHCI_VECTORS, cpu));
		for (i = 0; i < XHCI_VECTORS; i++)
			EXPECT_TRUE(WORKS_ON(i, cpu));
		/* What comes while the other CPU is at it would be its. */
		EXPECT_TRUE(ALL_QUIET());
	}
	/* One by one, the neighbours elsewhere */
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_EQ(0, STEER(i, 1, i % IRQ_CPUS));
	for (i = 0; i < XHCI_VECTORS; i++)
		EXPECT_TRUE(WORKS_ON(i, i % IRQ_CPUS));
	EXPECT_TRUE(ALL_QUIET());
}

/* Of all modes, the line, which has one vector */

FIXTURE(modes)
{
	struct device dev;
	struct xhci xhci;
	int fd;
	int event[XHCI_VECTORS];
};

static int arm(int fd, unsigned int index, const int *event)
{
	return uvfio_irq_eventfds(fd, index, 0, event,
				  uvfio_irq_count(fd, index));
}

FIXTURE_VARIANT(modes)
{
	enum which which;
	int msi;
};

FIXTURE_VARIANT_ADD(modes, qemu)
{
	.which = XHCI,
};

FIXTURE_VARIANT_ADD(modes, nec)
{
	.which = NEC_XHCI,
	.msi = XHCI_VECTORS,
};

FIXTURE_SETUP(modes)
{
	ASSERT_EQ(0, start(&self->dev, variant->which, &self->xhci,
			   self->event));
	self->fd = self->dev.fd;
}

FIXTURE_TEARDOWN(modes)
{
	xhci_stop(&self->xhci);
	device_close(&self->dev);
}

#define INTX		VFIO_PCI_INTX_IRQ_INDEX
#define ARM(index)	arm(self->fd, index, self->event)
#define FIRES()		(signals(self->event[0], WAIT_MS) == 1)

TEST_F(modes, those_that_it_has)
{
	EXPECT_EQ(1, uvfio_irq_count(self->fd, INTX));
	EXPECT_EQ(variant->msi,
		  uvfio_irq_count(self->fd, VFIO_PCI_MSI_IRQ_INDEX));
	EXPECT_EQ(XHCI_VECTORS,
		  uvfio_irq_count(self->fd, VFIO_PCI_MSIX_IRQ_INDEX));
}

TEST_F(modes, the_line_is_a_level)
{
	int i;

	/* It was asserted before anyone listened. */
	REQUEST(0);
	EXPECT_TRUE(ALL_QUIET());
	ASSERT_EQ(0, ARM(INTX));
	EXPECT_TRUE(FIRES());
	EXPECT_SERVED(0);
	EXPECT_EQ(0, uvfio_intx_unmask(self->fd));

	for (i = 0; i < 5; i++) {
		REQUEST(0);
		EXPECT_TRUE(FIRES());
		/* It has masked itself; more can end. */
		REQUEST(0);
		EXPECT_TRUE(ALL_QUIET());
		/* Unmasked and not served, it fires again. */
		EXPECT_EQ(0, uvfio_intx_unmask(self->fd));
		EXPECT_TRUE(FIRES());
		EXPECT_EQ(2, xhci_serve(&self->xhci, 0));
		EXPECT_TRUE(xhci_request_worked(&self->xhci));
		/* Served and not unmasked, it waits. */
		REQUEST(0);
		EXPECT_TRUE(ALL_QUIET());
		EXPECT_EQ(0, uvfio_intx_unmask(self->fd));
		EXPECT_TRUE(FIRES());
		EXPECT_SERVED(0);
		/* Both, and there is nothing to come. */
		EXPECT_EQ(0, uvfio_intx_unmask(self->fd));
		EXPECT_TRUE(ALL_QUIET());
	}
	EXPECT_EQ(0, uvfio_irq_trigger(self->fd, INTX, 0, 1));
	EXPECT_EQ(1, event_take(self->event[0]));
	EXPECT_EQ(0, xhci_serve(&self->xhci, 0));
}

/* Commands and requests are told by one line; those for other vectors are not. */
TEST_F(modes, the_line_is_vector_0)
{
	unsigned int i;

	ASSERT_EQ(0, ARM(INTX));
	for (i = 1; i < XHCI_VECTORS; i++) {
		REQUEST(i);
		EXPECT_SERVED(i);
	}
	EXPECT_TRUE(ALL_QUIET());
	for (i = 0; i < 300; i++) {
		if (i % 2)
			REQUEST(0);
		else
			xhci_command(&self->xhci);
		EXPECT_TRUE(FIRES());
		EXPECT_EQ(1, xhci_serve(&self->xhci, 0));
		EXPECT_TRUE(i % 2 ? xhci_request_worked(&self->xhci) :
				    xhci_command_worked(&self->xhci));
		EXPECT_EQ(0, uvfio_intx_unmask(self->fd));
	}
	EXPECT_TRUE(ALL_QUIET());
}

/* Each after each other one and after itself; the controller knows nothing of it. */
TEST_F(modes, follow_each_other_while_it_runs)
{
	static const unsigned int order[] = { 0, 0, 1, 1, 2, 2, 0, 2, 1, 0 };
	unsigned int i, vector, count, tried = 0;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		count = uvfio_irq_count(self->fd, order[i]);
		if (!count)
			continue;
		tried++;
		ASSERT_EQ(0, ARM(order[i]));
		xhci_enable_interrupts(&self->xhci);
		for (vector = 0; vector < count; vector++)
			EXPECT_WORKS(vector, self->event[vector]);
		if (order[i] == INTX)
			EXPECT_EQ(0, uvfio_intx_unmask(self->fd));
		EXPECT_TRUE(ALL_QUIET());
		ASSERT_EQ(0, uvfio_irq_disable(self->fd, order[i]));
		/* It works on, and tells nobody. */
		for (vector = 0; vector < XHCI_VECTORS; vector++) {
			REQUEST(vector);
			EXPECT_SERVED(vector);
		}
		EXPECT_TRUE(ALL_QUIET());
	}
	EXPECT_EQ(variant->msi ? 10 : 7, tried);
}

TEST_HARNESS_MAIN
