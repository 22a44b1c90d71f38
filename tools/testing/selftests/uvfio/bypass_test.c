// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts for a guest: where a vector and a KVM guest's interrupt have one
 * eventfd, the kernel introduces them to each other (irqbypass), so that hardware
 * can deliver without the host. KVM says by a call whose vector it is connected to,
 * and no longer; probes in it tell. The guest has no CPU: that an interrupt is
 * pending is what its interrupt controller says.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "irq.h"
#include "test.h"

#ifdef __aarch64__

int main(void)
{
	return skip_all("no virtualisation inside this machine");
}

#else

#define PROBES		TRACING "/kprobe_events"
#define PROBES_ENABLED	TRACING "/events/uvfio_test/enable"

/*
 * The functions' second argument is the producer, whose interrupt number is behind
 * a list's two pointers and the eventfd.
 */
#define ALL_PROBES \
	"p:uvfio_test/added kvm_arch_irq_bypass_add_producer irq=+24(%si):s32\n" \
	"p:uvfio_test/removed kvm_arch_irq_bypass_del_producer irq=+24(%si):s32\n" \
	"p:uvfio_test/offered irq_bypass_register_consumer\n"
#define NO_PROBES \
	"-:uvfio_test/added\n-:uvfio_test/removed\n-:uvfio_test/offered\n"

/* The guest's interrupt lines, of its first 8259. */
#define LINE		5
#define OTHER_LINE	6

/* What the probes have seen. */
struct seen {
	int added, removed, offered;
	int irq;	/* of the one added last */
};

static void look(int trace, struct seen *seen)
{
	char text[8192], *line, *rest;
	ssize_t len;

	while ((len = read(trace, text, sizeof(text) - 1)) > 0) {
		text[len] = '\0';
		for (line = strtok_r(text, "\n", &rest); line;
		     line = strtok_r(NULL, "\n", &rest)) {
			if (strstr(line, ": added: ")) {
				seen->added++;
				seen->irq = atoi(strstr(line, "irq=") + 4);
			}
			seen->removed += !!strstr(line, ": removed: ");
			seen->offered += !!strstr(line, ": offered: ");
		}
	}
}

/* The guest */

/* As any user, who may open /dev/kvm. */
static int guest_new(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), guest;

	if (kvm < 0)
		return -errno;
	guest = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
	if (guest < 0 || ioctl(guest, KVM_CREATE_IRQCHIP, 0))
		return -errno;
	return guest;
}

static int guest_listens(int guest, int event, unsigned int line)
{
	struct kvm_irqfd irqfd = { .fd = event, .gsi = line };

	return ioctl(guest, KVM_IRQFD, &irqfd) ? -errno : 0;
}

static int guest_ignores(int guest, int event, unsigned int line)
{
	struct kvm_irqfd irqfd = {
		.fd = event,
		.gsi = line,
		.flags = KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(guest, KVM_IRQFD, &irqfd) ? -errno : 0;
}

/* Whether an interrupt is pending; it is taken. */
static bool guest_takes(int guest, unsigned int line)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	uint8_t bit = 1 << line;

	if (ioctl(guest, KVM_GET_IRQCHIP, &chip) || !(chip.chip.pic.irr & bit))
		return false;
	chip.chip.pic.irr &= ~bit;
	return !ioctl(guest, KVM_SET_IRQCHIP, &chip);
}

static bool guest_waits(int guest, unsigned int line, unsigned int timeout_ms)
{
	uint64_t end = now_ms() + timeout_ms;

	while (!guest_takes(guest, line)) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

/* The interrupt number of a vector, by its name; -1: it has none. */
static int vector_irq(const char *bdf, const char *mode, unsigned int vector)
{
	char name[64], line[512];
	int irq = -1;
	FILE *file;

	snprintf(name, sizeof(name), "uvfio-%s[%u](%s)", mode, vector, bdf);
	file = fopen("/proc/interrupts", "re");
	if (!file)
		return -1;
	while (irq < 0 && fgets(line, sizeof(line), file)) {
		if (strstr(line, name))
			irq = atoi(line);
	}
	fclose(file);
	return irq;
}

struct rig {
	struct device dev;
	struct interrupter device;
	int trace;
	int guest;
	int event;
	int other;
	struct seen seen;
};

static int set_up(struct rig *rig, enum which which, unsigned int index)
{
	int ret = device_prepare(which, &rig->dev);

	rig->trace = trace_open();
	if (ret || rig->trace < 0)
		return ret ? ret : rig->trace;
	ret = drop_privileges(TEST_UID);
	if (!ret)
		ret = device_open(&rig->dev);
	if (!ret)
		ret = interrupter_start(&rig->device, which, &rig->dev, index);
	rig->guest = guest_new();
	/* The last test's end is not this one's. */
	look(rig->trace, &rig->seen);
	rig->event = event_new();
	rig->other = event_new();
	return ret ? ret : rig->guest < 0 ? rig->guest : 0;
}

FIXTURE(bypass)
{
	struct rig rig;
};

FIXTURE_SETUP(bypass)
{
	ASSERT_EQ(0, set_up(&self->rig, E1000E, VFIO_PCI_MSIX_IRQ_INDEX));
}

FIXTURE_TEARDOWN(bypass)
{
	interrupter_stop(&self->rig.device);
	device_close(&self->rig.dev);
}

/* So many were connected, and disconnected, since it was last asked. */
#define EXPECT_CONNECTED(n_added, n_removed) \
	do { \
		rig->seen = (struct seen){ .irq = -1 }; \
		look(rig->trace, &rig->seen); \
		EXPECT_EQ((n_added), rig->seen.added); \
		EXPECT_EQ((n_removed), rig->seen.removed); \
	} while (0)

/* And the one added is that of the vector. */
#define EXPECT_CONNECTED_TO(vector) \
	do { \
		int __irq = vector_irq(rig->dev.bdf, "msix", (vector)); \
		EXPECT_CONNECTED(1, 0); \
		EXPECT_LT(0, __irq); \
		EXPECT_EQ(__irq, rig->seen.irq); \
	} while (0)

#define ARM(vector, event) \
	irq_connect(rig->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX, (vector), (event))
#define LISTEN(event)		guest_listens(rig->guest, (event), LINE)
#define IGNORE(event)		guest_ignores(rig->guest, (event), LINE)

/* All vectors enabled, none of them with an eventfd. */
static int enable(const struct device *dev)
{
	return irq_connect(dev->fd, VFIO_PCI_MSIX_IRQ_INDEX, E1000E_VECTORS - 1,
			   -1);
}

/* e1000e may repeat an interrupt, until it is served. */
static bool reaches_guest(struct rig *rig, unsigned int vector,
			  unsigned int line, unsigned int timeout_ms)
{
	bool reached;

	irq_fire(&rig->device, vector);
	reached = guest_waits(rig->guest, line, timeout_ms);
	irq_ack(&rig->device);
	guest_takes(rig->guest, line);
	return reached;
}

static bool reaches_host(struct rig *rig, unsigned int vector, int event)
{
	bool reached;

	irq_fire(&rig->device, vector);
	reached = event_wait(event, WAIT_MS);
	irq_ack(&rig->device);
	event_wait(event, 0);
	return reached;
}

#define REACHES_GUEST(vector)	reaches_guest(rig, (vector), LINE, WAIT_MS)
#define PASSES_GUEST_BY(vector)	(!reaches_guest(rig, (vector), LINE, QUIET_MS))
#define REACHES_HOST(vector, event)	reaches_host(rig, (vector), (event))

TEST_F(bypass, whoever_comes_first)
{
	struct rig *rig = &self->rig;
	int i;

	ASSERT_EQ(0, enable(&rig->dev));
	for (i = 0; i < 2; i++) {
		/* Alone, neither is connected to anything. */
		ASSERT_EQ(0, ARM(1, rig->event));
		EXPECT_CONNECTED(0, 0);
		EXPECT_TRUE(REACHES_HOST(1, rig->event));
		ASSERT_EQ(0, LISTEN(rig->event));
		EXPECT_CONNECTED_TO(1);
		EXPECT_TRUE(REACHES_GUEST(1));
		EXPECT_FALSE(event_wait(rig->event, 0));
		ASSERT_EQ(0, IGNORE(rig->event));
		EXPECT_CONNECTED(0, 1);
		EXPECT_TRUE(REACHES_HOST(1, rig->event));
		ASSERT_EQ(0, ARM(1, -1));
		EXPECT_CONNECTED(0, 0);

		ASSERT_EQ(0, LISTEN(rig->event));
		EXPECT_CONNECTED(0, 0);
		ASSERT_EQ(0, ARM(2, rig->event));
		EXPECT_CONNECTED_TO(2);
		EXPECT_TRUE(REACHES_GUEST(2));
		EXPECT_TRUE(PASSES_GUEST_BY(1));
		ASSERT_EQ(0, ARM(2, -1));
		EXPECT_CONNECTED(0, 1);
		EXPECT_TRUE(PASSES_GUEST_BY(2));
		ASSERT_EQ(0, IGNORE(rig->event));
		EXPECT_CONNECTED(0, 0);
	}
}

TEST_F(bypass, follows_the_eventfd)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, enable(&rig->dev));
	ASSERT_EQ(0, LISTEN(rig->event));
	ASSERT_EQ(0, ARM(0, rig->event));
	EXPECT_CONNECTED_TO(0);
	/* Replaced by one that no guest listens to. */
	ASSERT_EQ(0, ARM(0, rig->other));
	EXPECT_CONNECTED(0, 1);
	EXPECT_TRUE(REACHES_HOST(0, rig->other));
	ASSERT_EQ(0, ARM(0, rig->event));
	EXPECT_CONNECTED_TO(0);
	EXPECT_TRUE(REACHES_GUEST(0));
	/* By one that is another interrupt of the guest's. */
	ASSERT_EQ(0, guest_listens(rig->guest, rig->other, OTHER_LINE));
	EXPECT_CONNECTED(0, 0);
	ASSERT_EQ(0, ARM(0, rig->other));
	EXPECT_CONNECTED(1, 1);
	EXPECT_TRUE(reaches_guest(rig, 0, OTHER_LINE, WAIT_MS));
	EXPECT_FALSE(guest_takes(rig->guest, LINE));
	/* By itself: it may be taken off meanwhile, but not in the end. */
	ASSERT_EQ(0, ARM(0, rig->other));
	look(rig->trace, &rig->seen);
	EXPECT_EQ(rig->seen.added, rig->seen.removed);
	EXPECT_TRUE(reaches_guest(rig, 0, OTHER_LINE, WAIT_MS));
	/* And the two change places, with two vectors. */
	ASSERT_EQ(0, ARM(3, rig->event));
	EXPECT_CONNECTED_TO(3);
	EXPECT_TRUE(REACHES_GUEST(3));
}

/* A call that is refused leaves the two connected, or not. */
TEST_F(bypass, refusal_changes_nothing)
{
	struct rig *rig = &self->rig;
	int fds[2] = { rig->other, -2 };

	ASSERT_EQ(0, enable(&rig->dev));
	ASSERT_EQ(0, LISTEN(rig->event));
	ASSERT_EQ(0, guest_listens(rig->guest, rig->other, OTHER_LINE));
	ASSERT_EQ(0, ARM(0, rig->event));
	EXPECT_CONNECTED_TO(0);
	EXPECT_EQ(-EBADF, uvfio_irq_eventfds(rig->dev.fd,
					     VFIO_PCI_MSIX_IRQ_INDEX, 0, fds,
					     2));
	EXPECT_EQ(-EINVAL, ARM(E1000E_VECTORS, rig->other));
	/* Taken off meanwhile by the first of them, and back. */
	EXPECT_CONNECTED(1, 1);
	EXPECT_TRUE(REACHES_GUEST(0));
}

enum way {
	DROPPED, TORN_DOWN, DETACHED, CLOSED, GUEST_GONE, GUEST_IGNORES, WAYS,
};

static int part(struct device *dev, int guest, int event, enum way way)
{
	switch (way) {
	case DROPPED:
		return irq_connect(dev->fd, VFIO_PCI_MSIX_IRQ_INDEX, 1, -1);
	case TORN_DOWN:
		return uvfio_irq_disable(dev->fd, VFIO_PCI_MSIX_IRQ_INDEX);
	case DETACHED:
		return uvfio_detach(dev->fd);
	case CLOSED:
		device_close(dev);
		return 0;
	case GUEST_GONE:
		return close(guest);
	default:
		return guest_ignores(guest, event, LINE);
	}
}

/* Each way to part is one, whatever comes after it. */
TEST_F(bypass, ends_with_either_side)
{
	struct rig *rig = &self->rig;
	enum way way;
	int event;

	for (way = DROPPED; way < WAYS; way++) {
		event = event_new();
		ASSERT_EQ(0, LISTEN(event));
		ASSERT_EQ(0, ARM(1, event));
		EXPECT_CONNECTED_TO(1);
		EXPECT_TRUE(REACHES_GUEST(1));
		if (way == DETACHED || way == CLOSED)
			interrupter_stop(&rig->device);
		ASSERT_EQ(0, part(&rig->dev, rig->guest, event, way));
		EXPECT_CONNECTED(0, 1);
		/* What is left of either side has the eventfd still. */
		close(event);

		if (way == CLOSED)
			ASSERT_EQ(0, device_open(&rig->dev));
		if (way == DETACHED || way == CLOSED)
			ASSERT_EQ(0, interrupter_start(&rig->device, E1000E,
						       &rig->dev,
						       VFIO_PCI_MSIX_IRQ_INDEX));
		if (way == GUEST_GONE)
			rig->guest = guest_new();
		ASSERT_LE(0, rig->guest);
		ASSERT_EQ(0, uvfio_irq_disable(rig->dev.fd,
					       VFIO_PCI_MSIX_IRQ_INDEX));
		EXPECT_CONNECTED(0, 0);
	}
}

/* One of them is connected, at most; the other one's way is the eventfd. */
TEST_F(bypass, vectors_can_share_an_eventfd)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, enable(&rig->dev));
	ASSERT_EQ(0, LISTEN(rig->event));
	ASSERT_EQ(0, ARM(0, rig->event));
	EXPECT_CONNECTED_TO(0);
	ASSERT_EQ(0, ARM(1, rig->event));
	EXPECT_CONNECTED(0, 0);
	EXPECT_TRUE(REACHES_GUEST(0));
	EXPECT_TRUE(REACHES_GUEST(1));
	/* The one that is not connected goes and comes. */
	ASSERT_EQ(0, ARM(1, -1));
	EXPECT_CONNECTED(0, 0);
	EXPECT_TRUE(REACHES_GUEST(0));
	EXPECT_TRUE(PASSES_GUEST_BY(1));
	ASSERT_EQ(0, ARM(1, rig->event));
	EXPECT_CONNECTED(0, 0);
	/* What it kept pending. */
	usleep(E1000E_SETTLE_US);
	guest_takes(rig->guest, LINE);
	EXPECT_TRUE(REACHES_GUEST(1));
	/* The one that is goes; whether the other one takes its place, or not: */
	ASSERT_EQ(0, ARM(0, -1));
	look(rig->trace, &rig->seen);
	EXPECT_EQ(1, rig->seen.removed);
	EXPECT_TRUE(REACHES_GUEST(1));
	EXPECT_TRUE(PASSES_GUEST_BY(0));
	ASSERT_EQ(0, uvfio_irq_disable(rig->dev.fd, VFIO_PCI_MSIX_IRQ_INDEX));
	look(rig->trace, &rig->seen);
	EXPECT_EQ(rig->seen.added + 1, rig->seen.removed);
	/* And all of it once more, nothing being left. */
	ASSERT_EQ(0, ARM(1, rig->event));
	EXPECT_CONNECTED_TO(1);
	EXPECT_TRUE(REACHES_GUEST(1));
}

/* MSI is the same; INTx is not, because it has to be masked when it fires. */

FIXTURE(mode)
{
	struct rig rig;
};

FIXTURE_VARIANT(mode)
{
	unsigned int index;
	bool is_connected;
};

FIXTURE_VARIANT_ADD(mode, intx)
{
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.is_connected = false,
};

FIXTURE_VARIANT_ADD(mode, msi)
{
	.index = VFIO_PCI_MSI_IRQ_INDEX,
	.is_connected = true,
};

FIXTURE_SETUP(mode)
{
	ASSERT_EQ(0, set_up(&self->rig, EDU, variant->index));
}

FIXTURE_TEARDOWN(mode)
{
	interrupter_stop(&self->rig.device);
	device_close(&self->rig.dev);
}

TEST_F(mode, decides)
{
	struct rig *rig = &self->rig;
	int i;

	ASSERT_EQ(0, LISTEN(rig->event));
	ASSERT_EQ(0, uvfio_irq_eventfds(rig->dev.fd, variant->index, 0,
					&rig->event, 1));
	EXPECT_CONNECTED(variant->is_connected, 0);
	if (variant->is_connected)
		EXPECT_EQ(vector_irq(rig->dev.bdf, "msi", 0), rig->seen.irq);
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(REACHES_GUEST(0));
		EXPECT_FALSE(event_wait(rig->event, 0));
		EXPECT_EQ(0, irq_finish(&rig->device));
	}
	ASSERT_EQ(0, uvfio_irq_disable(rig->dev.fd, variant->index));
	EXPECT_CONNECTED(0, variant->is_connected);
}

/* KVM, for any user, and probes in it. */
static int prepare(void)
{
	int ret = module_probe("kvm_amd");

	if (!ret && chmod("/dev/kvm", 0666))
		ret = -errno;
	if (!ret)
		ret = tracing_mount();
	if (!ret)
		ret = write_file(PROBES, ALL_PROBES);
	return ret ? ret : write_file(PROBES_ENABLED, "1");
}

static void clean_up(void)
{
	write_file(PROBES_ENABLED, "0");
	write_file(PROBES, NO_PROBES);
}

/* From 6.12 on it is not, where the IOMMU cannot post interrupts. */
static bool kvm_is_interested(void)
{
	int guest = guest_new(), event = event_new(), trace = trace_open();
	struct seen seen = { 0 };

	if (guest < 0 || guest_listens(guest, event, LINE))
		errx(2, "no guest");
	close(guest);
	close(event);
	look(trace, &seen);
	close(trace);
	return seen.offered;
}

int main(int argc, char **argv)
{
	int ret = prepare();

	if (ret)
		errx(2, "no KVM, or no probes: %s", strerror(-ret));
	ret = kvm_is_interested() ?
		      run_tests(argc, argv) :
		      skip_all("KVM takes no producers: no posted interrupts");
	clean_up();
	return ret;
}

#endif
