// SPDX-License-Identifier: GPL-2.0
/*
 * The administrator's side: binding and unbinding, also under a user who has
 * everything in use, loading and unloading the module, and what the kernel log
 * says where an administrator has to act.
 *
 * The tests run as root and have the device used by an unprivileged child.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "dma.h"
#include "test.h"

#define IOVA		0x100000
#define PAGES		16
#define PROMPT_MS	5000

#define SYSFS_DRIVER	"/sys/bus/pci/drivers/uvfio"
#define SYSFS_PARAMS	"/sys/module/uvfio/parameters"

/* Loading and unloading */

static const char *module_path(void)
{
	const char *path = getenv("MODULE");

	return path ? path : "/lib/uvfio.ko";
}

static bool uvfio_loaded(void)
{
	return file_exists("/sys/module/uvfio");
}

static int uvfio_load(const char *parameters)
{
	return module_load(module_path(), parameters);
}

static int uvfio_unload(void)
{
	return module_unload("uvfio");
}

/* A domain that an unbind took from its user is freed in the background. */
static int uvfio_unload_soon(void)
{
	int ret = uvfio_unload(), i;

	for (i = 0; ret == -EWOULDBLOCK && i < 100; i++) {
		usleep(50000);
		ret = uvfio_unload();
	}
	return ret;
}

static int set_override(const char *bdf, const char *driver)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 bdf);
	return write_file(path, driver);
}

/* Without a driver, and without a wish for one. */
static void release_device(const char *bdf)
{
	char name[64];

	if (!device_driver(bdf, name, sizeof(name)))
		device_unbind(bdf);
	set_override(bdf, "\n");
}

static bool driven_by(const char *bdf, const char *driver)
{
	char name[64];

	return !device_driver(bdf, name, sizeof(name)) && !strcmp(name, driver);
}

/* A child and the two pipes to take turns with it. */

struct user {
	pid_t pid;
	int say;
	int hear;
};

static bool say(int fd)
{
	return write(fd, "", 1) == 1;
}

static bool hear(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&pollfd, 1, 3 * WAIT_MS) == 1 && read(fd, &byte, 1) == 1;
}

/* As fork(); in the child @user is the way to the parent. */
static pid_t user_fork(struct user *user)
{
	int down[2], up[2];

	if (pipe(down) || pipe(up))
		return -1;
	user->pid = fork();
	if (user->pid) {
		user->say = down[1];
		user->hear = up[0];
		close(down[0]);
		close(up[1]);
	} else {
		user->say = up[1];
		user->hear = down[0];
		close(down[1]);
		close(up[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return user->pid;
}

/* 0 when all that the child expected came true. */
static int user_wait(struct user *user)
{
	uint64_t end = now_ms() + 3 * WAIT_MS;
	int status;

	while (waitpid(user->pid, &status, WNOHANG) == 0) {
		if (now_ms() > end) {
			kill(user->pid, SIGKILL);
			waitpid(user->pid, &status, 0);
			return -ETIMEDOUT;
		}
		usleep(10000);
	}
	close(user->say);
	close(user->hear);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The child ends here: its EXPECT_s are the parent's business. */
#define USER_EXIT()	_exit(_metadata->passed ? 0 : 1)

FIXTURE(life)
{
	struct device dev;
	struct user user;
	int kmsg;
};

FIXTURE_VARIANT(life)
{
	enum which which;
	unsigned int irq;
	size_t map;		/* of BAR 0 */
	bool private;		/* the domain */
};

FIXTURE_VARIANT_ADD(life, nvme)
{
	.which = NVME,
	.irq = VFIO_PCI_MSIX_IRQ_INDEX,
	.map = 2 * PAGE_SIZE,
};

FIXTURE_VARIANT_ADD(life, nvme_private)
{
	.which = NVME,
	.irq = VFIO_PCI_MSIX_IRQ_INDEX,
	.map = 2 * PAGE_SIZE,
	.private = true,
};

FIXTURE_VARIANT_ADD(life, edu)
{
	.which = EDU,
	.irq = VFIO_PCI_INTX_IRQ_INDEX,
	.map = EDU_BAR_SIZE,
};

FIXTURE_VARIANT_ADD(life, edu_private)
{
	.which = EDU,
	.irq = VFIO_PCI_MSI_IRQ_INDEX,
	.map = EDU_BAR_SIZE,
	.private = true,
};

FIXTURE_SETUP(life)
{
	if (!uvfio_loaded())
		ASSERT_EQ(0, uvfio_load(""));
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(life)
{
	device_close(&self->dev);
	close(self->dev.raw);
	close(self->kmsg);
}

/* Everything that an open device can have. */
struct usage {
	int fd;
	int domain;		/* -1: private */
	void *bar;
	size_t bar_size;
	uint8_t *memory;
	int event;
};

static int use(struct usage *usage, struct device *dev, bool private,
	       unsigned int irq, size_t bar_size)
{
	int ret;

	usage->domain = private ? -1 : uvfio_domain_open();
	ret = device_open_attached(dev, usage->domain);
	if (ret)
		return ret;
	usage->fd = dev->fd;
	ret = uvfio_command(dev->fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
			    0);
	if (ret)
		return ret;
	usage->bar_size = bar_size;
	usage->bar = bar_map(dev->fd, VFIO_PCI_BAR0_REGION_INDEX, 0, bar_size);
	if (usage->bar == MAP_FAILED)
		return -errno;
	if (read_faults(usage->bar, NULL))
		return -EIO;
	usage->memory = dma_alloc(PAGES * PAGE_SIZE);
	ret = uvfio_dma_map(dev->fd, usage->memory, PAGES * PAGE_SIZE, IOVA,
			    RW);
	if (ret)
		return ret;
	usage->event = event_new();
	return uvfio_irq_eventfds(dev->fd, irq, 0, &usage->event, 1);
}

static int do_ioctl(int fd, unsigned long number, void *arg)
{
	return ioctl(fd, number, arg) < 0 ? -errno : 0;
}

/* Every call there is, with arguments that would do: all answer -ENODEV. */
static unsigned int calls_still_answered(struct usage *usage)
{
	struct vfio_device_info device = { .argsz = sizeof(device) };
	struct vfio_region_info region = { .argsz = sizeof(region) };
	struct vfio_irq_info irq = { .argsz = sizeof(irq) };
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
	};
	struct uvfio_domain_set domain = {
		.argsz = sizeof(domain),
		.domain_fd = -1,
	};
	struct vfio_iommu_type1_info info = { .argsz = 20 };
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = RW,
		.vaddr = (uintptr_t)usage->memory,
		.iova = 2 * IOVA,
		.size = PAGE_SIZE,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = IOVA,
		.size = PAGES * PAGE_SIZE,
	};
	const struct {
		unsigned long number;
		void *arg;
	} calls[] = {
		{ VFIO_DEVICE_GET_INFO, &device },
		{ VFIO_DEVICE_GET_REGION_INFO, &region },
		{ VFIO_DEVICE_GET_IRQ_INFO, &irq },
		{ VFIO_DEVICE_SET_IRQS, &set },
		{ VFIO_DEVICE_RESET, NULL },
		{ UVFIO_DOMAIN_SET, &domain },
		{ UVFIO_DOMAIN_UNSET, NULL },
		{ UVFIO_IOMMU_GET_INFO, &info },
		{ UVFIO_MAP_DMA, &map },
		{ UVFIO_UNMAP_DMA, &unmap },
	};
	static const unsigned int regions[] = {
		VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
	};
	unsigned int i, answered = 0;
	uint64_t offset;
	uint32_t value = 0;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		if (do_ioctl(usage->fd, calls[i].number, calls[i].arg) !=
		    -ENODEV)
			answered |= 1u << i;
	}
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		offset = (uint64_t)regions[i] << 40;
		if (pread(usage->fd, &value, 4, offset) != -1 ||
		    errno != ENODEV)
			answered |= 0x1000u << i;
		if (pwrite(usage->fd, &value, 4, offset) != -1 ||
		    errno != ENODEV)
			answered |= 0x4000u << i;
	}
	if (mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, usage->fd, 0) !=
	    MAP_FAILED || errno != ENODEV)
		answered |= 0x10000;
	return answered;
}

static bool vm_pin_becomes(long kb)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (vm_pin() != kb) {
		if (now_ms() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/* Unbound under a user who has all in use: prompt, and final for the user. */
TEST_F(life, unbind_revokes)
{
	struct user *user = &self->user;
	long pinned = pages_pinned();
	uint64_t start;
	uint32_t *bar;

	ASSERT_LE(0, user_fork(user));
	if (!user->pid) {
		struct usage usage;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		/* The control: all of this is answered now. */
		EXPECT_NE(0x1ffffu, calls_still_answered(&usage));
		device_close(&self->dev);
		munmap(usage.bar, usage.bar_size);
		if (usage.domain >= 0)
			close(usage.domain);
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		bar = usage.bar;
		ASSERT_FALSE(read_faults(bar, NULL));
		ASSERT_TRUE(say(user->say));
		ASSERT_TRUE(hear(user->hear));

		EXPECT_EQ(0, calls_still_answered(&usage));
		EXPECT_TRUE(read_faults(bar, NULL));
		EXPECT_TRUE(write_faults(bar + 1, 0));
		/* A page that was never touched before. */
		EXPECT_TRUE(read_faults(bar + PAGE_SIZE / 4, NULL));
		EXPECT_FALSE(event_wait(usage.event, QUIET_MS));
		if (variant->private) {
			/* It went with the device. */
			EXPECT_TRUE(vm_pin_becomes(0));
		} else {
			/* It is the user's own: mappings stay, work goes on. */
			EXPECT_EQ(PAGES * 4, vm_pin());
			EXPECT_EQ(PAGES * PAGE_SIZE,
				  uvfio_dma_unmap(usage.domain, IOVA,
						  PAGES * PAGE_SIZE));
			EXPECT_EQ(0, vm_pin());
		}
		device_close(&self->dev);
		USER_EXIT();
	}

	ASSERT_TRUE(hear(user->hear));
	EXPECT_TRUE(raw_bus_master(&self->dev));
	EXPECT_EQ(pinned + PAGES, pages_pinned());
	start = now_ms();
	EXPECT_EQ(0, device_unbind(self->dev.bdf));
	EXPECT_GT(PROMPT_MS, now_ms() - start);
	EXPECT_FALSE(raw_bus_master(&self->dev));
	EXPECT_FALSE(file_exists(self->dev.node));
	EXPECT_TRUE(say(user->say));
	EXPECT_EQ(0, user_wait(user));
	EXPECT_EQ(pinned, pages_pinned());
}

/* The next user need not wait for the revoked one to notice. */
TEST_F(life, rebind_while_the_old_fd_is_open)
{
	struct user *user = &self->user, next;
	int i;

	ASSERT_LE(0, user_fork(user));
	if (!user->pid) {
		struct usage usage;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		for (i = 0; i < 2; i++) {
			ASSERT_TRUE(say(user->say));
			ASSERT_TRUE(hear(user->hear));
			EXPECT_EQ(0, calls_still_answered(&usage));
			EXPECT_TRUE(read_faults(usage.bar, NULL));
			EXPECT_FALSE(event_wait(usage.event, 0));
		}
		device_close(&self->dev);
		munmap(usage.bar, usage.bar_size);
		ASSERT_TRUE(say(user->say));
		USER_EXIT();
	}

	ASSERT_TRUE(hear(user->hear));
	ASSERT_EQ(0, device_unbind(self->dev.bdf));
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	EXPECT_TRUE(say(user->say));
	ASSERT_TRUE(hear(user->hear));

	ASSERT_LE(0, user_fork(&next));
	if (!next.pid) {
		struct usage usage;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		for (i = 0; i < 2; i++) {
			ASSERT_TRUE(say(next.say));
			ASSERT_TRUE(hear(next.hear));
			EXPECT_FALSE(read_faults(usage.bar, NULL));
			EXPECT_EQ(PAGES * 4, vm_pin());
			EXPECT_EQ(1, uvfio_irq_count(usage.fd,
						     VFIO_PCI_INTX_IRQ_INDEX));
		}
		USER_EXIT();
	}
	ASSERT_TRUE(hear(next.hear));
	EXPECT_TRUE(raw_bus_master(&self->dev));
	/* The old user looks at it again, and closes. */
	EXPECT_TRUE(say(user->say));
	ASSERT_TRUE(hear(user->hear));
	EXPECT_EQ(0, user_wait(user));
	EXPECT_TRUE(raw_bus_master(&self->dev));
	EXPECT_TRUE(say(next.say));
	ASSERT_TRUE(hear(next.hear));
	EXPECT_TRUE(say(next.say));
	EXPECT_EQ(0, user_wait(&next));
	EXPECT_FALSE(raw_bus_master(&self->dev));
}

/* Threads that are in every kind of call when the device goes. */

struct load {
	struct usage *usage;
	pthread_t thread[4];
	unsigned int irq;
	unsigned int unexpected;
};

static bool expected(struct load *load, int ret)
{
	if (ret && ret != -ENODEV)
		__atomic_fetch_add(&load->unexpected, 1, __ATOMIC_RELAXED);
	return !ret;
}

static void *load_dma(void *data)
{
	struct load *load = data;
	uint64_t iova = 2 * IOVA;
	int64_t ret;

	do {
		ret = uvfio_dma_map(load->usage->fd, load->usage->memory,
				    PAGES * PAGE_SIZE, iova, RW);
		if (!expected(load, ret))
			break;
		ret = uvfio_dma_unmap(load->usage->fd, iova,
				      PAGES * PAGE_SIZE);
	} while (expected(load, ret == PAGES * PAGE_SIZE ? 0 : (int)ret));
	return NULL;
}

static void *load_regions(void *data)
{
	struct load *load = data;
	uint32_t value;
	ssize_t done;

	do {
		done = pread(load->usage->fd, &value, 4, 0);
		if (!expected(load, done == 4 ? 0 : -errno))
			break;
		done = pread(load->usage->fd, &value, 4,
			     (uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40);
	} while (expected(load, done == 4 ? 0 : -errno));
	return NULL;
}

static void *load_irqs(void *data)
{
	struct load *load = data;
	static const int none = -1;
	int ret;

	do {
		ret = uvfio_irq_eventfds(load->usage->fd, load->irq, 0, &none,
					 1);
		if (!expected(load, ret))
			break;
		ret = uvfio_irq_eventfds(load->usage->fd, load->irq, 0,
					 &load->usage->event, 1);
	} while (expected(load, ret));
	return NULL;
}

static void *load_info(void *data)
{
	struct load *load = data;
	struct vfio_region_info info;

	while (expected(load, uvfio_region(load->usage->fd, 0, &info)))
		;
	return NULL;
}

TEST_F(life, unbind_under_load)
{
	void *(*const loads[])(void *) = {
		load_dma, load_regions, load_irqs, load_info,
	};
	struct user *user = &self->user;
	long pinned = pages_pinned();
	uint64_t start;
	unsigned int i;
	int round;

	for (round = 0; round < 5; round++) {
		ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
		ASSERT_LE(0, user_fork(user));
		if (!user->pid) {
			struct usage usage;
			struct load load = {
				.usage = &usage,
				.irq = variant->irq,
			};

			ASSERT_EQ(0, drop_privileges(TEST_UID));
			ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
					 variant->irq, variant->map));
			for (i = 0; i < ARRAY_SIZE(loads); i++)
				ASSERT_EQ(0, pthread_create(&load.thread[i],
							    NULL, loads[i],
							    &load));
			/* The main thread's own: until it faults. */
			ASSERT_TRUE(say(user->say));
			while (!read_faults(usage.bar, NULL))
				;
			for (i = 0; i < ARRAY_SIZE(loads); i++)
				ASSERT_EQ(0, pthread_join(load.thread[i],
							  NULL));
			EXPECT_EQ(0, load.unexpected);
			EXPECT_EQ(0, calls_still_answered(&usage));
			USER_EXIT();
		}
		ASSERT_TRUE(hear(user->hear));
		usleep(20000 * round);
		start = now_ms();
		EXPECT_EQ(0, device_unbind(self->dev.bdf));
		EXPECT_GT(PROMPT_MS, now_ms() - start);
		EXPECT_EQ(0, user_wait(user));
		EXPECT_FALSE(raw_bus_master(&self->dev));
		close(self->dev.raw);
	}
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	EXPECT_EQ(pinned, pages_pinned());
}

/* A surprise: the device leaves the bus altogether, and comes again. */
TEST_F(life, removal_revokes)
{
	struct user *user = &self->user;
	char path[128];
	uint64_t start;

	ASSERT_LE(0, user_fork(user));
	if (!user->pid) {
		struct usage usage;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		ASSERT_TRUE(say(user->say));
		ASSERT_TRUE(hear(user->hear));
		EXPECT_EQ(0, calls_still_answered(&usage));
		EXPECT_TRUE(read_faults(usage.bar, NULL));
		USER_EXIT();
	}
	ASSERT_TRUE(hear(user->hear));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove",
		 self->dev.bdf);
	start = now_ms();
	EXPECT_EQ(0, write_file(path, "1"));
	EXPECT_GT(PROMPT_MS, now_ms() - start);
	EXPECT_FALSE(file_exists(self->dev.node));
	EXPECT_TRUE(say(user->say));
	EXPECT_EQ(0, user_wait(user));

	ASSERT_EQ(0, write_file("/sys/bus/pci/rescan", "1"));
	close(self->dev.raw);
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_LE(0, user_fork(user));
	if (!user->pid) {
		struct usage usage;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		USER_EXIT();
	}
	EXPECT_EQ(0, user_wait(user));
}

/* An administrator's reset: what is mapped faults or works, nothing breaks. */
TEST_F(life, reset_from_sysfs_is_survived)
{
	struct user *user = &self->user;
	char path[128];
	int i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset",
		 self->dev.bdf);
	if (variant->which == EDU) {
		/* The kernel offers no reset where there is none. */
		EXPECT_FALSE(file_exists(path));
		return;
	}
	ASSERT_LE(0, user_fork(user));
	if (!user->pid) {
		struct usage usage;
		struct pollfd told = { .events = POLLIN };

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		ASSERT_TRUE(say(user->say));
		told.fd = user->hear;
		while (!poll(&told, 1, 0))
			read_faults(usage.bar, NULL);
		ASSERT_TRUE(hear(user->hear));
		ASSERT_FALSE(read_faults(usage.bar, NULL));
		EXPECT_EQ(0, uvfio_irq_disable(usage.fd, variant->irq));
		USER_EXIT();
	}
	ASSERT_TRUE(hear(user->hear));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, write_file(path, "1"));
		EXPECT_FALSE(raw_bus_master(&self->dev));
	}
	EXPECT_TRUE(say(user->say));
	EXPECT_EQ(0, user_wait(user));
}

/* While there is a user of any kind, the module stays. */
TEST_F(life, module_in_use_cannot_be_unloaded)
{
	struct user *user = &self->user;
	int domain, step;

	ASSERT_LE(0, user_fork(user));
	if (!user->pid) {
		struct usage usage;

		ASSERT_EQ(0, drop_privileges(TEST_UID));
		/* An open device, */
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		ASSERT_TRUE(say(user->say));
		ASSERT_TRUE(hear(user->hear));
		/* only a mapping of it, */
		device_close(&self->dev);
		if (usage.domain >= 0)
			close(usage.domain);
		ASSERT_TRUE(say(user->say));
		ASSERT_TRUE(hear(user->hear));
		/* a domain, */
		munmap(usage.bar, usage.bar_size);
		domain = uvfio_domain_open();
		ASSERT_LE(0, domain);
		ASSERT_TRUE(say(user->say));
		ASSERT_TRUE(hear(user->hear));
		/* a revoked device. */
		ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
				 variant->irq, variant->map));
		close(domain);
		if (usage.domain >= 0)
			close(usage.domain);
		ASSERT_TRUE(say(user->say));
		ASSERT_TRUE(hear(user->hear));
		EXPECT_EQ(0, calls_still_answered(&usage));
		USER_EXIT();
	}
	for (step = 0; step < 4; step++) {
		ASSERT_TRUE(hear(user->hear));
		if (step == 3)
			EXPECT_EQ(0, device_unbind(self->dev.bdf));
		EXPECT_EQ(-EWOULDBLOCK, uvfio_unload()) {
			TH_LOG("step %d", step);
			kill(user->pid, SIGKILL);
		}
		EXPECT_TRUE(uvfio_loaded());
		EXPECT_TRUE(say(user->say));
	}
	EXPECT_EQ(0, user_wait(user));
	EXPECT_EQ(0, uvfio_unload_soon());
	EXPECT_FALSE(uvfio_loaded());
	EXPECT_EQ(0, uvfio_load(""));
}

/* A page that its owner holds back must not hold back an unbind. */

enum held {
	HELD_MEMORY,		/* that is being pinned */
	HELD_ARGUMENT,		/* of an ioctl */
	HELD_READ_BUFFER,
	HELD_WRITE_BUFFER,
	HELD_END,
};

struct blocked {
	pthread_t thread;
	struct usage *usage;
	enum held held;
	void *page;
	int64_t ret;
	bool done;
};

static void *call_and_block(void *data)
{
	struct blocked *blocked = data;
	int fd = blocked->usage->fd;

	switch (blocked->held) {
	case HELD_MEMORY:
		blocked->ret = uvfio_dma_map(fd, blocked->page, PAGE_SIZE,
					     2 * IOVA, RW);
		break;
	case HELD_ARGUMENT:
		blocked->ret = do_ioctl(fd, UVFIO_MAP_DMA, blocked->page);
		break;
	case HELD_READ_BUFFER:
		blocked->ret = pread(fd, blocked->page, 4, 0);
		break;
	default:
		blocked->ret = pwrite(fd, blocked->page, 4, 0);
		break;
	}
	__atomic_store_n(&blocked->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* An empty page that stays so until the owner of the result fills it. */
static int hold_page(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)page, .len = PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static bool release_page(int fd, void *page)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)page, .len = PAGE_SIZE },
	};

	return !ioctl(fd, UFFDIO_ZEROPAGE, &zero);
}

/* Until the kernel waits for the page; false: it went on without. */
static bool wait_held(struct blocked *blocked, int uffd)
{
	struct pollfd pollfd = { .fd = uffd, .events = POLLIN };
	uint64_t end = now_ms() + WAIT_MS;

	while (poll(&pollfd, 1, 10) != 1) {
		if (__atomic_load_n(&blocked->done, __ATOMIC_ACQUIRE) ||
		    now_ms() > end)
			return false;
	}
	return true;
}

TEST_F(life, held_page_does_not_delay_unbind)
{
	struct user *user = &self->user;
	long pinned = pages_pinned();
	enum held held;
	uint64_t start;

	if (!file_exists("/proc/sys/vm/unprivileged_userfaultfd"))
		SKIP(return, "this kernel has no userfaultfd");
	for (held = 0; held < HELD_END; held++) {
		ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
		ASSERT_LE(0, user_fork(user));
		if (!user->pid) {
			struct blocked blocked = { .held = held };
			struct usage usage;
			int uffd;

			blocked.usage = &usage;
			blocked.page = mmap(NULL, PAGE_SIZE,
					    PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			/* Holding the kernel back takes root, to begin with. */
			uffd = hold_page(blocked.page);
			ASSERT_LE(0, uffd);
			ASSERT_EQ(0, drop_privileges(TEST_UID));
			ASSERT_EQ(0, use(&usage, &self->dev, variant->private,
					 variant->irq, variant->map));
			ASSERT_EQ(0, pthread_create(&blocked.thread, NULL,
						    call_and_block, &blocked));
			/* Older kernels do not wait when they pin for long. */
			if (!wait_held(&blocked, uffd)) {
				ASSERT_EQ(HELD_MEMORY, held);
				ASSERT_EQ(-EFAULT, blocked.ret);
			}
			ASSERT_TRUE(say(user->say));
			ASSERT_TRUE(hear(user->hear));
			EXPECT_EQ(0, calls_still_answered(&usage));
			ASSERT_TRUE(release_page(uffd, blocked.page));
			ASSERT_EQ(0, pthread_join(blocked.thread, NULL));
			/* It may still succeed on the domain, not the device. */
			if (held == HELD_WRITE_BUFFER)
				EXPECT_EQ(-1, blocked.ret);
			USER_EXIT();
		}
		ASSERT_TRUE(hear(user->hear));
		start = now_ms();
		EXPECT_EQ(0, device_unbind(self->dev.bdf));
		EXPECT_GT(PROMPT_MS, now_ms() - start) {
			TH_LOG("case %d", held);
		}
		EXPECT_TRUE(say(user->say));
		EXPECT_EQ(0, user_wait(user));
		close(self->dev.raw);
	}
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	EXPECT_EQ(pinned, pages_pinned());
}

/* To the kernel's own driver and back. */

FIXTURE(admin)
{
	struct device dev;
	int kmsg;
};

FIXTURE_SETUP(admin)
{
	if (!uvfio_loaded())
		ASSERT_EQ(0, uvfio_load(""));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(admin)
{
	close(self->kmsg);
	if (!uvfio_loaded())
		EXPECT_EQ(0, uvfio_load(""));
}

/* The disk of a controller that the kernel drives, once it is there. */
static int open_disk(const char *bdf)
{
	uint64_t end = now_ms() + WAIT_MS;
	char path[128], disk[32];
	int i, fd;

	while (now_ms() < end) {
		for (i = 0; i < 8; i++) {
			snprintf(path, sizeof(path),
				 "/sys/bus/pci/devices/%s/nvme/nvme%d", bdf, i);
			snprintf(disk, sizeof(disk), "/dev/nvme%dn1", i);
			if (!file_exists(path))
				continue;
			fd = open(disk, O_RDONLY | O_CLOEXEC);
			if (fd >= 0)
				return fd;
		}
		usleep(50000);
	}
	return -ETIMEDOUT;
}

static int write_block_as_user(struct device *dev, const char *text)
{
	struct nvme nvme;
	int ret;

	ret = nvme_open(&nvme, dev->node);
	if (!ret) {
		memset(nvme_buffer(&nvme, 0), 0, nvme.block_size);
		strcpy(nvme_buffer(&nvme, 0), text);
		ret = nvme_write(&nvme, 0, 0);
	}
	if (!ret)
		ret = nvme_flush(&nvme);
	nvme_close(&nvme);
	return ret;
}

TEST_F(admin, kernel_driver_takes_over_and_gives_back)
{
	char block[512], text[32];
	struct user user;
	int fd, i;

	if (!driver_available("nvme", "nvme"))
		SKIP(return, "this kernel has no nvme driver");
	for (i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "round %d", i);
		ASSERT_EQ(0, device_prepare(NVME, &self->dev));
		ASSERT_LE(0, user_fork(&user));
		if (!user.pid) {
			ASSERT_EQ(0, drop_privileges(TEST_UID));
			ASSERT_EQ(0, write_block_as_user(&self->dev, text));
			USER_EXIT();
		}
		ASSERT_EQ(0, user_wait(&user));
		close(self->dev.raw);

		ASSERT_EQ(0, device_bind(self->dev.bdf, "nvme"));
		fd = open_disk(self->dev.bdf);
		ASSERT_LE(0, fd);
		ASSERT_EQ((ssize_t)sizeof(block),
			  read(fd, block, sizeof(block)));
		close(fd);
		EXPECT_STREQ(text, block);
	}
	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
}

/* The controller's configuration register, as root finds it without a driver. */
static uint32_t unbound_nvme_config(const char *bdf)
{
	uint8_t command[2] = { PCI_COMMAND_MEMORY, 0 };
	uint32_t value = ~0u;
	char path[128];
	int config, bar;
	void *map;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	config = open(path, O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", bdf);
	bar = open(path, O_RDWR | O_CLOEXEC | O_SYNC);
	if (pwrite(config, command, 2, PCI_COMMAND) == 2) {
		map = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, bar, 0);
		if (map != MAP_FAILED) {
			value = __atomic_load_n((uint32_t *)((char *)map +
							     NVME_CC),
						__ATOMIC_RELAXED);
			munmap(map, PAGE_SIZE);
		}
	}
	close(config);
	close(bar);
	return value;
}

/* However its user went: it is not left running for whoever comes next. */
TEST_F(admin, device_is_reset_after_its_user)
{
	bool kill_it, unbind_it;
	struct user user;
	uint32_t value;
	int way;

	for (way = 0; way < 4; way++) {
		kill_it = way & 1;
		unbind_it = way & 2;
		ASSERT_EQ(0, device_prepare(NVME, &self->dev));
		ASSERT_LE(0, user_fork(&user));
		if (!user.pid) {
			struct nvme nvme;

			ASSERT_EQ(0, drop_privileges(TEST_UID));
			ASSERT_EQ(0, nvme_open(&nvme, self->dev.node));
			/* The control: it runs. */
			EXPECT_TRUE(uvfio_read32(nvme.bar, NVME_CC) &
				    NVME_CC_EN);
			ASSERT_TRUE(say(user.say));
			ASSERT_TRUE(hear(user.hear));
			USER_EXIT();
		}
		ASSERT_TRUE(hear(user.hear));
		if (unbind_it)
			ASSERT_EQ(0, device_unbind(self->dev.bdf));
		ASSERT_TRUE(kill_it ? !kill(user.pid, SIGKILL) : say(user.say));
		EXPECT_EQ(kill_it ? -SIGKILL : 0, user_wait(&user));
		if (!unbind_it)
			ASSERT_EQ(0, device_unbind(self->dev.bdf));
		value = unbound_nvme_config(self->dev.bdf);
		EXPECT_NE(~0u, value);
		EXPECT_EQ(0, value & NVME_CC_EN) {
			TH_LOG("way %d", way);
		}
		close(self->dev.raw);
	}
	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
}

TEST_F(admin, bridge_is_refused)
{
	char bdf[16];

	ASSERT_EQ(0, device_find(BRIDGE, bdf));
	release_device(bdf);
	ASSERT_EQ(0, set_override(bdf, "uvfio"));
	EXPECT_GT(0, write_file(SYSFS_DRIVER "/bind", bdf));
	EXPECT_FALSE(driven_by(bdf, "uvfio"));
	EXPECT_TRUE(kmsg_has(self->kmsg, bdf, "bridge"));
	set_override(bdf, "\n");
}

/* The group has a member that the kernel drives: the log says which. */
TEST_F(admin, busy_group_names_the_culprit)
{
	struct device sibling;
	struct user user;
	int i;

	if (!driver_available("uio_pci_generic", "uio_pci_generic"))
		SKIP(return, "this kernel has no uio_pci_generic");
	ASSERT_EQ(0, device_prepare(SMALL1, &self->dev));
	ASSERT_EQ(0, device_find(SMALL2, sibling.bdf));
	ASSERT_EQ(0, device_bind(sibling.bdf, "uio_pci_generic"));

	ASSERT_LE(0, user_fork(&user));
	if (!user.pid) {
		ASSERT_EQ(0, drop_privileges(TEST_UID));
		ASSERT_EQ(0, device_open(&self->dev));
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(i ? 0 : -EBUSY,
				  uvfio_attach(self->dev.fd, -1));
			ASSERT_TRUE(say(user.say));
			ASSERT_TRUE(hear(user.hear));
		}
		/* The other way round nobody gets in, and nothing happens. */
		EXPECT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY,
					   0));
		USER_EXIT();
	}
	ASSERT_TRUE(hear(user.hear));
	EXPECT_TRUE(kmsg_has(self->kmsg, sibling.bdf, "uio_pci_generic"));
	ASSERT_EQ(0, device_unbind(sibling.bdf));
	EXPECT_TRUE(say(user.say));

	ASSERT_TRUE(hear(user.hear));
	EXPECT_NE(0, device_bind(sibling.bdf, "uio_pci_generic"));
	EXPECT_FALSE(driven_by(sibling.bdf, "uio_pci_generic"));
	EXPECT_TRUE(say(user.say));
	EXPECT_EQ(0, user_wait(&user));

	EXPECT_EQ(0, device_bind(sibling.bdf, "uio_pci_generic"));
	EXPECT_EQ(0, device_bind(sibling.bdf, "uvfio"));
}

/* The ways to bind. */

TEST_F(admin, new_id_binds)
{
	char bdf[16];

	ASSERT_EQ(0, device_find(TESTDEV, bdf));
	release_device(bdf);
	ASSERT_FALSE(driven_by(bdf, "uvfio"));
	ASSERT_EQ(0, write_file(SYSFS_DRIVER "/new_id", "1b36 0005"));
	EXPECT_TRUE(driven_by(bdf, "uvfio"));
	EXPECT_EQ(0, write_file(SYSFS_DRIVER "/remove_id", "1b36 0005"));
	EXPECT_EQ(0, device_unbind(bdf));
	EXPECT_GT(0, write_file(SYSFS_DRIVER "/bind", bdf));
	EXPECT_FALSE(driven_by(bdf, "uvfio"));
}

TEST_F(admin, bind_and_unbind_work)
{
	char bdf[16], node[32];
	int i;

	ASSERT_EQ(0, device_find(TESTDEV, bdf));
	release_device(bdf);
	ASSERT_EQ(0, set_override(bdf, "uvfio"));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, write_file(SYSFS_DRIVER "/bind", bdf));
		EXPECT_TRUE(driven_by(bdf, "uvfio"));
		ASSERT_EQ(0, device_node(bdf, node, sizeof(node)));
		EXPECT_TRUE(file_exists(node));
		ASSERT_EQ(0, write_file(SYSFS_DRIVER "/unbind", bdf));
		EXPECT_FALSE(driven_by(bdf, "uvfio"));
		EXPECT_FALSE(file_exists(node));
	}
}

TEST_F(admin, ids_parameter_binds)
{
	static const enum which devices[] = { EDU, EDU2, TESTDEV, NVME };
	char bdf[4][16], text[64];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, device_find(devices[i], bdf[i]));
		release_device(bdf[i]);
	}
	ASSERT_EQ(0, uvfio_unload_soon());

	/* Wrong, it keeps the module out, and the log says what it is. */
	EXPECT_EQ(-EINVAL, uvfio_load("ids=1234:11e8,nonsense"));
	EXPECT_FALSE(uvfio_loaded());
	EXPECT_TRUE(kmsg_has(self->kmsg, "uvfio", "nonsense"));
	EXPECT_FALSE(file_exists("/dev/uiommu"));
	EXPECT_FALSE(file_exists("/sys/class/uvfio"));
	EXPECT_FALSE(driven_by(bdf[0], "uvfio"));

	ASSERT_EQ(0, uvfio_load("ids=1234:11e8,1b36:0005"));
	EXPECT_TRUE(driven_by(bdf[0], "uvfio"));
	EXPECT_TRUE(driven_by(bdf[1], "uvfio"));
	EXPECT_TRUE(driven_by(bdf[2], "uvfio"));
	EXPECT_FALSE(driven_by(bdf[3], "uvfio"));
	EXPECT_EQ(0, read_file(SYSFS_PARAMS "/ids", text, sizeof(text)));
	EXPECT_STREQ("1234:11e8,1b36:0005", text);
	ASSERT_EQ(0, uvfio_unload_soon());
	EXPECT_EQ(0, uvfio_load(""));
	EXPECT_FALSE(driven_by(bdf[0], "uvfio"));
}

TEST_F(admin, parameters_are_the_administrators)
{
	static const struct {
		const char *name;
		const char *value;
	} parameters[] = {
		{ SYSFS_PARAMS "/allow_unsafe_interrupts", "N" },
		{ SYSFS_PARAMS "/dma_entry_limit", "65535" },
	};
	char text[64];
	struct stat st;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parameters); i++) {
		ASSERT_EQ(0, read_file(parameters[i].name, text,
				       sizeof(text)));
		EXPECT_STREQ(parameters[i].value, text);
		ASSERT_EQ(0, stat(parameters[i].name, &st));
		EXPECT_EQ(0, st.st_uid);
		EXPECT_EQ(0, st.st_mode & 022);
	}
}

TEST_F(admin, lowest_number_is_taken)
{
	char first[32], second[32], again[32], bdf[2][16];

	ASSERT_EQ(0, device_find(EDU, bdf[0]));
	ASSERT_EQ(0, device_find(TESTDEV, bdf[1]));
	ASSERT_EQ(0, uvfio_unload_soon());
	release_device(bdf[0]);
	release_device(bdf[1]);
	ASSERT_EQ(0, uvfio_load(""));
	ASSERT_EQ(0, device_bind(bdf[0], "uvfio"));
	ASSERT_EQ(0, device_node(bdf[0], first, sizeof(first)));
	ASSERT_EQ(0, device_bind(bdf[1], "uvfio"));
	ASSERT_EQ(0, device_node(bdf[1], second, sizeof(second)));
	EXPECT_STRNE(first, second);
	ASSERT_EQ(0, device_unbind(bdf[0]));
	ASSERT_EQ(0, device_bind(bdf[0], "uvfio"));
	ASSERT_EQ(0, device_node(bdf[0], again, sizeof(again)));
	EXPECT_STREQ(first, again);
	EXPECT_LT(atoi(again + 9), atoi(second + 9));
}

static bool any_node(void)
{
	char node[32];
	int i;

	for (i = 0; i < 32; i++) {
		snprintf(node, sizeof(node), "/dev/vfio%d", i);
		if (file_exists(node))
			return true;
	}
	return false;
}

/* In use, then not, then unloaded: nothing of it is left. */
TEST_F(admin, unloading_leaves_nothing)
{
	static const enum which devices[] = { EDU, EDU2, TESTDEV, NVME, E1000E };
	long pinned = pages_pinned();
	struct device dev[5];
	struct user user;
	unsigned int i;
	int round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(devices); i++)
			ASSERT_EQ(0, device_prepare(devices[i], &dev[i]));
		ASSERT_TRUE(any_node());
		ASSERT_LE(0, user_fork(&user));
		if (!user.pid) {
			uint8_t *memory;
			int domain;

			ASSERT_EQ(0, drop_privileges(TEST_UID));
			domain = uvfio_domain_open();
			for (i = 0; i < ARRAY_SIZE(devices); i++) {
				ASSERT_EQ(0, device_open_attached(&dev[i],
								  domain));
				EXPECT_EQ(0, uvfio_command(dev[i].fd,
							   PCI_COMMAND_MASTER,
							   0));
			}
			memory = dma_alloc(PAGES * PAGE_SIZE);
			EXPECT_EQ(0, uvfio_dma_map(domain, memory,
						   PAGES * PAGE_SIZE, IOVA,
						   RW));
			USER_EXIT();
		}
		EXPECT_EQ(0, user_wait(&user));
		ASSERT_EQ(0, uvfio_unload_soon());
		EXPECT_FALSE(any_node());
		EXPECT_FALSE(file_exists("/dev/uiommu"));
		EXPECT_FALSE(file_exists("/sys/class/uvfio"));
		EXPECT_FALSE(file_exists("/sys/class/misc/uiommu"));
		EXPECT_FALSE(file_exists(SYSFS_DRIVER));
		EXPECT_EQ(pinned, pages_pinned());
		for (i = 0; i < ARRAY_SIZE(devices); i++) {
			EXPECT_EQ(-ENOENT, device_node(dev[i].bdf, dev[i].node,
						       sizeof(dev[i].node)));
			EXPECT_FALSE(raw_bus_master(&dev[i]));
			close(dev[i].raw);
		}
		ASSERT_EQ(0, uvfio_load(""));
	}
}

/* Opening races with binding: one is told something sensible, always. */
TEST_F(admin, open_races_with_unbind)
{
	struct user user;
	int i;

	ASSERT_EQ(0, device_prepare(TESTDEV, &self->dev));
	ASSERT_LE(0, user_fork(&user));
	if (!user.pid) {
		struct pollfd told = { .fd = user.hear, .events = POLLIN };
		unsigned int opened = 0, missed = 0;
		int fd;

		ASSERT_TRUE(say(user.say));
		while (!poll(&told, 1, 0)) {
			fd = uvfio_open(self->dev.node);
			if (fd < 0) {
				missed++;
				EXPECT_TRUE(fd == -ENOENT || fd == -ENODEV ||
					    fd == -ENXIO) {
					TH_LOG("%s", strerror(-fd));
				}
				continue;
			}
			opened++;
			uvfio_attach(fd, -1);
			close(fd);
		}
		EXPECT_LT(0, opened);
		EXPECT_LT(0, missed);
		USER_EXIT();
	}
	ASSERT_TRUE(hear(user.hear));
	for (i = 0; i < 50; i++) {
		usleep(2000);
		EXPECT_EQ(0, write_file(SYSFS_DRIVER "/unbind",
					self->dev.bdf));
		usleep(2000);
		EXPECT_EQ(0, write_file(SYSFS_DRIVER "/bind", self->dev.bdf));
	}
	EXPECT_TRUE(say(user.say));
	EXPECT_EQ(0, user_wait(&user));
}

TEST_HARNESS_MAIN
