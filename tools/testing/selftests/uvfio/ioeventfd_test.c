// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO_DEVICE_IOEVENTFD: that a signal writes what was asked for and nothing
 * else, as long as it may, from wherever the signal comes.
 *
 * ivshmem's BAR 2 is memory and shows each byte that was written; pci-testdev
 * counts the writes; edu can signal an eventfd itself, by an interrupt.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <sys/syscall.h>
#include <linux/aio_abi.h>

#include "e1000e.h"
#include "edu.h"
#include "test.h"

/* As many as a device can have. */
#define LIMIT		1000
#define PATTERN		0x8877665544332211ULL

/* Not for a signal to come, as event_wait() is: that it is gone. */
static bool event_consumed(int fd)
{
	uint64_t end = now_ms() + WAIT_MS;
	uint64_t count;

	while (read(fd, &count, sizeof(count)) == sizeof(count)) {
		if (now_ms() > end)
			return false;
	}
	return errno == EAGAIN;
}

static uint32_t load(const volatile void *at)
{
	return __atomic_load_n((const volatile uint32_t *)at, __ATOMIC_ACQUIRE);
}

/* What a signal does may be left to a kernel thread. */
static bool becomes(const volatile void *at, uint32_t value)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (load(at) != value) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static bool stays(const volatile void *at, uint32_t value)
{
	usleep(QUIET_MS * 1000);
	return load(at) == value;
}

/* ivshmem: memory */

FIXTURE(memory)
{
	struct device dev;
	volatile void *bar;
	int event;
};

#define MEMORY_BAR	VFIO_PCI_BAR2_REGION_INDEX
#define MEMORY_SIZE	0x10000

FIXTURE_SETUP(memory)
{
	ASSERT_EQ(0, device_prepare(IVSHMEM, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_bar_map(self->dev.fd, MEMORY_BAR, 0, MEMORY_SIZE,
				   &self->bar));
	memset((void *)self->bar, 0xee, MEMORY_SIZE);
	self->event = event_new();
	ASSERT_LE(0, self->event);
}

FIXTURE_TEARDOWN(memory)
{
	munmap((void *)self->bar, MEMORY_SIZE);
	close(self->event);
	device_close(&self->dev);
}

/*
 * Making room in a full eventfd wakes who waits for that, here a request whose end
 * signals the very same eventfd: with its lock held.
 */
TEST_F(memory, room_that_is_made_may_be_filled_at_once)
{
	const uint64_t full = UINT64_MAX - 1;
	const struct timespec limit = { .tv_sec = WAIT_MS / 1000 };
	struct iocb request = {}, *requests = &request;
	aio_context_t context = 0;
	struct io_event event;
	int fd = event_new();

	if (!file_exists("/proc/sys/fs/aio-max-nr"))
		SKIP(return, "this kernel has no aio");

	ASSERT_LE(0, fd);
	ASSERT_EQ(8, write(fd, &full, sizeof(full)));
	ASSERT_EQ(0, syscall(SYS_io_setup, 1, &context));
	request.aio_lio_opcode = IOCB_CMD_POLL;
	request.aio_fildes = fd;
	request.aio_buf = POLLOUT;
	request.aio_flags = IOCB_FLAG_RESFD;
	request.aio_resfd = fd;
	ASSERT_EQ(1, syscall(SYS_io_submit, context, 1, &requests));
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4, fd));
	EXPECT_EQ(1, syscall(SYS_io_getevents, context, 1, 1, &event, &limit));
}

TEST_F(memory, each_size_writes_its_bytes)
{
	const uint64_t data = PATTERN;
	const uint8_t *bytes = (uint8_t *)self->bar;
	unsigned int size, at;

	for (size = 1; size <= 8; size *= 2) {
		for (at = 0; at < 64; at += size) {
			memset((void *)self->bar, 0xee, 128);
			ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR,
						     at + 32, data, size,
						     self->event));
			EXPECT_TRUE(is_filled(bytes, 0xee, 128));
			ASSERT_EQ(0, event_signal(self->event));
			ASSERT_TRUE(event_consumed(self->event));
			/* Removing waits for what is under way. */
			ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR,
						     at + 32, data, size, -1));
			EXPECT_EQ(0, memcmp(bytes + 32 + at, &data, size));
			EXPECT_TRUE(is_filled(bytes, 0xee, 32 + at));
			EXPECT_TRUE(is_filled(bytes + 32 + at + size, 0xee,
					      128 - 32 - at - size));
		}
	}
}

TEST_F(memory, ends_when_it_is_removed)
{
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
				     self->event));
	ASSERT_EQ(0, event_signal(self->event));
	EXPECT_TRUE(becomes(self->bar, 1));
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4, -1));
	uvfio_write32(self->bar, 0, 2);
	ASSERT_EQ(0, event_signal(self->event));
	EXPECT_TRUE(stays(self->bar, 2));
	/* From now on the eventfd is one as any other. */
	EXPECT_TRUE(event_wait(self->event, 0));
}

/* What tells one from another: place, data and size. */
TEST_F(memory, one_of_each)
{
	int other = event_new();

	ASSERT_LE(0, other);
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
				     self->event));
	EXPECT_EQ(-EEXIST, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
					   self->event));
	EXPECT_EQ(-EEXIST, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
					   other));
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 2, 4, other));
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 2, other));
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 4, 1, 4, other));

	EXPECT_EQ(-ENODEV, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 3, 4,
					   -1));
	EXPECT_EQ(-ENODEV, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 1,
					   -1));
	EXPECT_EQ(-ENODEV, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 8, 1, 4,
					   -1));
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4, -1));
	EXPECT_EQ(-ENODEV, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
					   -1));
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
				     self->event));

	/* The others are still there. */
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4, -1));
	ASSERT_EQ(0, event_signal(other));
	EXPECT_TRUE(becomes((char *)self->bar + 4, 1));
	close(other);
}

TEST_F(memory, so_many_and_no_more)
{
	unsigned int i;

	/* All on one eventfd: a signal is for all of them. */
	for (i = 0; i < LIMIT; i++)
		ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, i * 8,
					     i, 4, self->event));
	EXPECT_EQ(-ENOSPC, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, i * 8, i,
					   4, self->event));
	ASSERT_EQ(0, event_signal(self->event));
	for (i = 0; i < LIMIT; i++)
		ASSERT_TRUE(becomes((char *)self->bar + i * 8, i));
	EXPECT_EQ(0xeeeeeeee, uvfio_read32(self->bar, i * 8));

	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 8 * 500, 500, 4,
				     -1));
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, i * 8, i, 4,
				     self->event));
	EXPECT_EQ(-ENOSPC, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 8 * 500,
					   500, 4, self->event));
}

static void *write_event(void *fd)
{
	uint64_t one = 1;
	ssize_t n = write(*(int *)fd, &one, sizeof(one));

	return (void *)n;
}

/* A counter that is full lets nobody write; now it does, and goes on doing so. */
TEST_F(memory, full_counter_is_one_signal)
{
	const uint64_t full = UINT64_MAX - 1;
	int event = eventfd(0, EFD_CLOEXEC);
	pthread_t thread;
	void *written;
	int i;

	ASSERT_LE(0, event);
	ASSERT_EQ(8, write(event, &full, sizeof(full)));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_event, &event));
	/* Time to get there, for what is tested below. */
	usleep(QUIET_MS * 1000);

	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4, event));
	EXPECT_TRUE(becomes(self->bar, 1));
	ASSERT_EQ(0, pthread_join(thread, &written));
	EXPECT_EQ(8, (ssize_t)written);

	for (i = 0; i < 3; i++) {
		uvfio_write32(self->bar, 0, 0);
		ASSERT_EQ(8, write(event, &full, sizeof(full)));
		EXPECT_TRUE(becomes(self->bar, 1));
	}
	close(event);
}

/* While the device cannot be reached, signals are for nothing. */
TEST_F(memory, decoding_off_drops_signals)
{
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
				     self->event));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, 0, PCI_COMMAND_MEMORY));
	ASSERT_EQ(0, event_signal(self->event));
	ASSERT_TRUE(event_consumed(self->event));
	/* A new one is accepted. */
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 4, 1, 4,
				     self->event));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_TRUE(stays(self->bar, 0xeeeeeeee));

	ASSERT_EQ(0, event_signal(self->event));
	EXPECT_TRUE(becomes(self->bar, 1));
	EXPECT_TRUE(becomes((char *)self->bar + 4, 1));
}

TEST_F(memory, ends_with_the_attachment)
{
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
				     self->event));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_EQ(0, event_signal(self->event));
	EXPECT_TRUE(event_wait(self->event, 0));
	EXPECT_EQ(-EUNATCH, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
					    self->event));

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	ASSERT_EQ(0, event_signal(self->event));
	EXPECT_TRUE(stays(self->bar, 0xeeeeeeee));
	EXPECT_EQ(-ENODEV, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
					   -1));
}

/* The next user of the device is not disturbed by the one before. */
TEST_F(memory, ends_with_the_descriptor)
{
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
				     self->event));
	munmap((void *)self->bar, MEMORY_SIZE);
	device_close(&self->dev);
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_bar_map(self->dev.fd, MEMORY_BAR, 0, MEMORY_SIZE,
				   &self->bar));
	uvfio_write32(self->bar, 0, 2);
	ASSERT_EQ(0, event_signal(self->event));
	EXPECT_TRUE(stays(self->bar, 2));
	EXPECT_TRUE(event_wait(self->event, 0));
}

TEST_F(memory, bad_eventfds_are_refused)
{
	int closed = event_new(), file = open("/dev/null", O_RDWR | O_CLOEXEC);
	int bad[] = { closed, file, self->dev.fd, -2, INT32_MIN };
	int errors[] = { -EBADF, -EINVAL, -EINVAL, -EINVAL, -EINVAL };
	unsigned int i;

	close(closed);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(errors[i], uvfio_ioeventfd(self->dev.fd, MEMORY_BAR,
						     0, 1, 4, bad[i]));
	/* Nothing is left of them. */
	EXPECT_EQ(-ENODEV, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, 4,
					   -1));
	close(file);
}

TEST_F(memory, sizes_are_one_at_a_time)
{
	unsigned int size;

	for (size = 0; size < 256; size++) {
		bool good = size == 1 || size == 2 || size == 4 || size == 8;

		EXPECT_EQ(good ? 0 : -EINVAL,
			  uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0, 1, size,
					  self->event));
	}
	for (; size; size <<= 1)
		EXPECT_EQ(-EINVAL, uvfio_ioeventfd(self->dev.fd, MEMORY_BAR, 0,
						   1, size | 4, self->event));
}

/* Where there is nothing to be written, or not in one piece. */

FIXTURE(places)
{
	struct device dev;
	int event;
};

FIXTURE_SETUP(places)
{
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	self->event = event_new();
	ASSERT_LE(0, self->event);
}

FIXTURE_TEARDOWN(places)
{
	close(self->event);
	device_close(&self->dev);
}

TEST_F(places, misaligned)
{
	unsigned int size, at;

	for (size = 1; size <= 8; size *= 2) {
		for (at = 0; at < 16; at++)
			EXPECT_EQ(at % size ? -EINVAL : 0,
				  uvfio_ioeventfd(self->dev.fd,
						  VFIO_PCI_BAR0_REGION_INDEX,
						  E1000E_RDBAL + at, 0, size,
						  self->event));
	}
}

TEST_F(places, ends_of_bars)
{
	struct vfio_region_info info;
	unsigned int bar, size;

	for (bar = 0; bar <= VFIO_PCI_BAR5_REGION_INDEX; bar++) {
		bool port = bar == VFIO_PCI_BAR2_REGION_INDEX;

		ASSERT_EQ(0, uvfio_region(self->dev.fd, bar, &info));
		for (size = 1; size <= 8; size *= 2) {
			bool fits = info.size && !(port && size == 8);

			EXPECT_EQ(fits ? 0 : -EINVAL,
				  uvfio_ioeventfd(self->dev.fd, bar,
						  info.size - size, 0, size,
						  self->event));
			EXPECT_EQ(-EINVAL,
				  uvfio_ioeventfd(self->dev.fd, bar, info.size,
						  0, size, self->event));
			EXPECT_EQ(-EINVAL,
				  uvfio_ioeventfd(self->dev.fd, bar,
						  (1ULL << 40) - size, 0, size,
						  self->event));
		}
	}
}

TEST_F(places, other_regions)
{
	struct vfio_device_ioeventfd arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_IOEVENTFD_32,
		.fd = self->event,
	};
	uint64_t region;

	/* The ROM, config space, VGA, write-combining BARs, and nothing at all. */
	for (region = VFIO_PCI_ROM_REGION_INDEX; region < 1 << 24;
	     region = region < 32 ? region + 1 : region * 2) {
		arg.offset = region << 40;
		EXPECT_EQ(-1, ioctl(self->dev.fd, VFIO_DEVICE_IOEVENTFD, &arg));
		EXPECT_EQ(EINVAL, errno);
	}
}

/* 5 vectors at the start of BAR 3. */
TEST_F(places, msix_table)
{
	const unsigned int end = 5 * PCI_MSIX_ENTRY_SIZE;
	unsigned int size, at;

	for (size = 1; size <= 8; size *= 2) {
		for (at = 0; at < end + 16; at += size)
			EXPECT_EQ(at < end ? -EINVAL : 0,
				  uvfio_ioeventfd(self->dev.fd,
						  VFIO_PCI_BAR3_REGION_INDEX,
						  at, 0, size, self->event));
	}
}

/* pci-testdev: counts the bytes that arrive where it wants one. */

#define TESTDEV_OFFSET	4
#define TESTDEV_DATA	8
#define TESTDEV_COUNT	12

FIXTURE(counter)
{
	struct device dev;
	int event;
	uint32_t target;
	uint8_t data;
};

FIXTURE_VARIANT(counter)
{
	unsigned int bar;
	int event_flags;
};

FIXTURE_VARIANT_ADD(counter, memory)
{
	.bar = VFIO_PCI_BAR0_REGION_INDEX,
};

FIXTURE_VARIANT_ADD(counter, port)
{
	.bar = VFIO_PCI_BAR1_REGION_INDEX,
};

FIXTURE_VARIANT_ADD(counter, semaphore)
{
	.bar = VFIO_PCI_BAR0_REGION_INDEX,
	.event_flags = EFD_SEMAPHORE,
};

FIXTURE_SETUP(counter)
{
	uint8_t zero = 0;

	ASSERT_EQ(0, device_prepare(TESTDEV, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd,
				   PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 0));
	ASSERT_EQ(0, uvfio_region_write(self->dev.fd, variant->bar, 0, &zero,
					1));
	ASSERT_EQ(0, uvfio_region_read(self->dev.fd, variant->bar,
				       TESTDEV_OFFSET, &self->target, 4));
	ASSERT_EQ(0, uvfio_region_read(self->dev.fd, variant->bar,
				       TESTDEV_DATA, &self->data, 1));
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK |
				 variant->event_flags);
	ASSERT_LE(0, self->event);
}

FIXTURE_TEARDOWN(counter)
{
	close(self->event);
	device_close(&self->dev);
}

static uint32_t testdev_count(int fd, unsigned int bar)
{
	uint32_t count;

	if (uvfio_region_read(fd, bar, TESTDEV_COUNT, &count, 4))
		return ~0u;
	return count;
}

/*
 * Nothing is in the way of a write to memory, so that none is left to be done
 * later; ports are always written later.
 */
static bool counted(int fd, unsigned int bar, uint32_t count)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (bar == VFIO_PCI_BAR1_REGION_INDEX && now_ms() < end &&
	       testdev_count(fd, bar) != count)
		usleep(1000);
	return testdev_count(fd, bar) == count;
}

TEST_F(counter, each_signal_is_one_write)
{
	uint64_t many = 1000;
	uint32_t i;

	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, variant->bar, self->target,
				     self->data, 1, self->event));
	EXPECT_EQ(0, testdev_count(self->dev.fd, variant->bar));
	for (i = 1; i <= 100; i++) {
		ASSERT_EQ(0, event_signal(self->event));
		ASSERT_TRUE(counted(self->dev.fd, variant->bar, i));
	}
	/* However high it counts. */
	ASSERT_EQ(8, write(self->event, &many, sizeof(many)));
	EXPECT_TRUE(counted(self->dev.fd, variant->bar, i));
}

TEST_F(counter, wrong_data_is_written_as_it_is)
{
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, variant->bar, self->target,
				     self->data ^ 1, 1, self->event));
	ASSERT_EQ(0, event_signal(self->event));
	usleep(QUIET_MS * 1000);
	EXPECT_EQ(0, testdev_count(self->dev.fd, variant->bar));
}

/* edu: a device whose interrupts signal the eventfd. */

FIXTURE(interrupt)
{
	struct device dev;
	struct edu edu;
	int event;
};

FIXTURE_SETUP(interrupt)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, edu_start(&self->edu, self->dev.fd));
	self->event = event_new();
	ASSERT_LE(0, self->event);
	ASSERT_EQ(0, uvfio_irq_eventfds(self->dev.fd, VFIO_PCI_MSI_IRQ_INDEX, 0,
					&self->event, 1));
}

FIXTURE_TEARDOWN(interrupt)
{
	edu_stop(&self->edu);
	device_close(&self->dev);
}

TEST_F(interrupt, writes_with_no_descriptor_left)
{
	const char *liveness = (char *)self->edu.regs + EDU_LIVENESS;
	uint32_t i;

	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				     EDU_LIVENESS, 0x12345678, 4, self->event));
	ASSERT_EQ(0, close(self->event));
	for (i = 0; i < 10; i++) {
		edu_write(&self->edu, EDU_LIVENESS, i);
		edu_write(&self->edu, EDU_IRQ_RAISE, 1);
		EXPECT_TRUE(becomes(liveness, ~0x12345678));
	}
	/* It can be ended without one, too. */
	EXPECT_EQ(0, uvfio_ioeventfd(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				     EDU_LIVENESS, 0x12345678, 4, -1));
	edu_write(&self->edu, EDU_LIVENESS, 0);
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(stays(liveness, ~0u));
}

/* Each interrupt makes the next one. The machine is busy and no more than that. */
TEST_F(interrupt, cannot_keep_a_cpu)
{
	uint64_t end;

	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				     EDU_IRQ_RAISE, 1, 4, self->event));
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	for (end = now_ms() + 2000; now_ms() < end; usleep(1000))
		ASSERT_EQ(EDU_ID_VALUE, edu_read(&self->edu, EDU_ID));
	ASSERT_EQ(0, uvfio_ioeventfd(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				     EDU_IRQ_RAISE, 1, 4, -1));

	/* With the circle broken, the eventfd is signalled no more. */
	while (event_wait(self->event, QUIET_MS))
		ASSERT_GT(end + WAIT_MS, now_ms());
	edu_write(&self->edu, EDU_IRQ_RAISE, 1);
	EXPECT_TRUE(event_wait(self->event, WAIT_MS));
}

/* All at once: who signals, and everything that keeps it from the device. */

#define BUSY_MS		3000

struct load {
	int device;
	int event;
	bool stop;
	unsigned int rounds;
	unsigned int unexpected;
};

static bool load_goes_on(struct load *load, int ret)
{
	if (ret)
		__atomic_fetch_add(&load->unexpected, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&load->rounds, 1, __ATOMIC_RELAXED);
	return !__atomic_load_n(&load->stop, __ATOMIC_RELAXED);
}

static void *load_signals(void *data)
{
	struct load *load = data;

	while (load_goes_on(load, event_signal(load->event)))
		;
	return NULL;
}

static void *load_decoding(void *data)
{
	struct load *load = data;
	uint16_t set = 0;
	int ret;

	do {
		set ^= PCI_COMMAND_MEMORY;
		ret = uvfio_command(load->device, set,
				    PCI_COMMAND_MEMORY ^ set);
		/* In reset, config space is not there to be read. */
	} while (load_goes_on(load, ret == -EIO ? 0 : ret));
	return NULL;
}

static void *load_resets(void *data)
{
	struct load *load = data;

	while (load_goes_on(load, uvfio_reset(load->device)))
		;
	return NULL;
}

static void *load_changes(void *data)
{
	struct load *load = data;
	int event = load->event;
	int ret;

	do {
		ret = uvfio_ioeventfd(load->device, VFIO_PCI_BAR0_REGION_INDEX,
				      E1000E_RDBAL, 0x220, 4, event);
		event = event < 0 ? load->event : -1;
	} while (load_goes_on(load, ret));
	return NULL;
}

static void *(*const loads[])(void *data) = {
	load_signals, load_signals, load_decoding, load_resets, load_changes,
};

FIXTURE(busy)
{
	struct device dev;
	struct load load;
	pthread_t thread[ARRAY_SIZE(loads)];
};

FIXTURE_SETUP(busy)
{
	self->load.stop = false;
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
}

FIXTURE_TEARDOWN(busy)
{
	device_close(&self->dev);
}

/* With one ioeventfd that stays, and others that come and go. */
static int load_start(struct load *load, struct device *dev)
{
	int ret;

	ret = device_open_attached(dev, -1);
	if (ret)
		return ret;
	load->device = dev->fd;
	load->event = event_new();
	if (load->event < 0)
		return load->event;
	return uvfio_ioeventfd(dev->fd, VFIO_PCI_BAR0_REGION_INDEX,
			       E1000E_RDBAL, 0x110, 4, load->event);
}

TEST_F(busy, everything_at_once)
{
	volatile void *bar;
	unsigned int i;

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, load_start(&self->load, &self->dev));
	for (i = 0; i < ARRAY_SIZE(loads); i++)
		ASSERT_EQ(0, pthread_create(&self->thread[i], NULL, loads[i],
					    &self->load));
	usleep(BUSY_MS * 1000);
	__atomic_store_n(&self->load.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(loads); i++)
		EXPECT_EQ(0, pthread_join(self->thread[i], NULL));
	EXPECT_EQ(0, self->load.unexpected);
	EXPECT_LT(100, self->load.rounds);

	/* It works after that. */
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_bar_map(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
				   E1000E_BAR_SIZE, &bar));
	uvfio_ioeventfd(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX, E1000E_RDBAL,
			0x220, 4, -1);
	uvfio_write32(bar, E1000E_RDBAL, 0);
	ASSERT_EQ(0, event_signal(self->load.event));
	EXPECT_TRUE(becomes((char *)bar + E1000E_RDBAL, 0x110));
	munmap((void *)bar, E1000E_BAR_SIZE);
	close(self->load.event);
}

/* As root: the device goes while it is signalled. */
TEST_F(busy, device_goes)
{
	unsigned int i;
	char node[32];

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, load_start(&self->load, &self->dev));
		self->load.stop = false;
		ASSERT_EQ(0, pthread_create(&self->thread[0], NULL,
					    load_signals, &self->load));
		usleep(QUIET_MS * 1000);
		ASSERT_EQ(0, device_unbind(self->dev.bdf));
		EXPECT_EQ(-ENODEV, uvfio_reset(self->dev.fd));
		__atomic_store_n(&self->load.stop, true, __ATOMIC_RELAXED);
		EXPECT_EQ(0, pthread_join(self->thread[0], NULL));
		/* No longer consumed. */
		ASSERT_EQ(0, event_signal(self->load.event));
		EXPECT_TRUE(event_wait(self->load.event, 0));
		close(self->load.event);
		device_close(&self->dev);
		ASSERT_EQ(0, device_bind(self->dev.bdf, "uvfio"));
		ASSERT_EQ(0, device_node(self->dev.bdf, node, sizeof(node)));
		EXPECT_STREQ(self->dev.node, node);
	}
	EXPECT_EQ(0, self->load.unexpected);
}

TEST_HARNESS_MAIN
