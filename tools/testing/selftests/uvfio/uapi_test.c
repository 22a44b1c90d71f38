// SPDX-License-Identifier: GPL-2.0
/*
 * The rules that hold for every ioctl, each tested on all of them from one
 * table: what argsz, flags and pointers are accepted, how far results are
 * written, what there is before a domain is attached, and that nothing else
 * exists. A new ioctl is one new row.
 *
 * Also built for 32 bit: no layout may depend on that.
 */
#include <linux/uvfio.h>	/* first: it must compile on its own */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "test.h"

/* More than any argument has. */
#define ARG_ROOM	256
#define GARBAGE		0xa5

#define NVME_INTMS	0xc

#define MAPPED_IOVA	0x1000000
#define FREE_IOVA	0x2000000

/* The layout is the same for 32 and 64 bit. */
static_assert(sizeof(struct uvfio_domain_set) == 12, "");
static_assert(offsetof(struct uvfio_irq_affinity, cpus) == 24, "");
static_assert(sizeof(struct uvfio_irq_timer) == 16, "");
static_assert(sizeof(struct vfio_region_info) == 32, "");
static_assert(sizeof(struct vfio_irq_info) == 16, "");
static_assert(sizeof(struct vfio_irq_set) == 20, "");
static_assert(offsetof(struct vfio_device_ioeventfd, fd) == 24, "");
static_assert(sizeof(struct vfio_iommu_type1_dma_map) == 32, "");
static_assert(sizeof(struct vfio_iommu_type1_dma_unmap) == 24, "");
static_assert(offsetof(struct vfio_iommu_type1_info, cap_offset) == 16, "");
static_assert(offsetof(struct vfio_device_info, cap_offset) == 16, "");

union argument {
	uint8_t bytes[ARG_ROOM];
	struct {
		uint32_t argsz;
		uint32_t flags;
	};
	struct vfio_region_info region;
	struct vfio_irq_info irq;
	struct vfio_irq_set irq_set;
	struct vfio_device_ioeventfd ioeventfd;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct uvfio_domain_set domain;
	struct uvfio_irq_affinity affinity;
	struct uvfio_irq_timer timer;
};

/* What a row's functions work on. */
struct target {
	int device;
	int domain;
	void *memory;	/* mapped at MAPPED_IOVA before each UNMAP */
	void *memory2;	/* for MAP to map */
	int event;
};

enum where {
	ON_DEVICE = 1,
	ON_DOMAIN = 2,
};

struct call {
	const char *name;
	unsigned long number;
	enum where where;
	uint32_t least;		/* bytes up to the last mandatory member */
	uint32_t size;		/* bytes of the struct; 0: no struct */
	uint32_t flags_in;	/* flags that exist as input */
	bool flags_out;		/* flags are a result, input is ignored */
	bool results;		/* more than argsz is written back */
	bool early;		/* works before a domain is attached */
	unsigned long value;	/* the argument where there is no struct */
	/* Fill in what makes the call succeed; undo what it did then. */
	void (*fill)(union argument *arg, struct target *target);
	void (*undo)(struct target *target);
};

static void fill_region(union argument *arg, struct target *target)
{
	(void)target;
	arg->region.index = VFIO_PCI_BAR0_REGION_INDEX;
}

static void fill_irq(union argument *arg, struct target *target)
{
	(void)target;
	arg->irq.index = VFIO_PCI_MSIX_IRQ_INDEX;
}

static void fill_irq_set(union argument *arg, struct target *target)
{
	(void)target;
	arg->irq_set.flags = VFIO_IRQ_SET_DATA_NONE |
			     VFIO_IRQ_SET_ACTION_TRIGGER;
	arg->irq_set.index = VFIO_PCI_MSIX_IRQ_INDEX;
}

/* A bit of NVMe's interrupt mask: of no effect here. */
static void fill_ioeventfd(union argument *arg, struct target *target)
{
	struct vfio_region_info info;

	if (uvfio_region(target->device, VFIO_PCI_BAR0_REGION_INDEX, &info))
		return;
	arg->ioeventfd.flags = VFIO_DEVICE_IOEVENTFD_32;
	arg->ioeventfd.offset = info.offset + NVME_INTMS;
	arg->ioeventfd.data = 1;
	arg->ioeventfd.fd = target->event;
}

static void undo_ioeventfd(struct target *target)
{
	uvfio_ioeventfd(target->device, VFIO_PCI_BAR0_REGION_INDEX, NVME_INTMS,
			1, 4, -1);
}

static void fill_map(union argument *arg, struct target *target)
{
	arg->map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	arg->map.vaddr = (uintptr_t)target->memory2;
	arg->map.iova = FREE_IOVA;
	arg->map.size = PAGE_SIZE;
}

static void undo_map(struct target *target)
{
	uvfio_dma_unmap(target->domain, FREE_IOVA, PAGE_SIZE);
}

static void fill_unmap(union argument *arg, struct target *target)
{
	/* There already unless the last call unmapped it. */
	uvfio_dma_map(target->domain, target->memory, PAGE_SIZE, MAPPED_IOVA,
		      VFIO_DMA_MAP_FLAG_READ);
	arg->unmap.iova = MAPPED_IOVA;
	arg->unmap.size = PAGE_SIZE;
}

static void fill_domain(union argument *arg, struct target *target)
{
	uvfio_detach(target->device);
	arg->domain.domain_fd = target->domain;
}

static void undo_domain(struct target *target)
{
	/* -EBUSY if the call did what it should. */
	uvfio_attach(target->device, target->domain);
}

static void fill_affinity(union argument *arg, struct target *target)
{
	(void)target;
	arg->affinity.index = VFIO_PCI_MSIX_IRQ_INDEX;
	arg->affinity.count = 1;
	arg->affinity.size = sizeof(arg->affinity.cpus[0]);
	arg->affinity.cpus[0] = 1;
}

static void fill_timer(union argument *arg, struct target *target)
{
	(void)target;
	arg->timer.period_ns = UVFIO_TIMER_MIN_NS;
}

#define CALL(call)	.name = #call, .number = call

#define DEVICE_INFO \
	.least = 16, .size = 20, .flags_out = true, .results = true

#define IOMMU_INFO \
	.least = 16, .size = 20, .flags_out = true, .results = true

#define MAP \
	.least = 32, .size = 32, \
	.flags_in = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, \
	.fill = fill_map, .undo = undo_map

#define UNMAP \
	.least = 24, .size = 24, \
	.flags_in = VFIO_DMA_UNMAP_FLAG_ALL, \
	.results = true, .fill = fill_unmap

static const struct call calls[] = {
	{
		CALL(VFIO_DEVICE_GET_INFO), .where = ON_DEVICE,
		DEVICE_INFO, .early = true,
	}, {
		CALL(VFIO_DEVICE_GET_REGION_INFO), .where = ON_DEVICE,
		.least = 32, .size = 32,
		.flags_out = true, .results = true, .early = true,
		.fill = fill_region,
	}, {
		CALL(VFIO_DEVICE_GET_IRQ_INFO), .where = ON_DEVICE,
		.least = 16, .size = 16,
		.flags_out = true, .results = true, .early = true,
		.fill = fill_irq,
	}, {
		CALL(VFIO_DEVICE_SET_IRQS), .where = ON_DEVICE,
		.least = 20, .size = 20,
		.flags_in = VFIO_IRQ_SET_DATA_TYPE_MASK |
			    VFIO_IRQ_SET_ACTION_TYPE_MASK,
		.fill = fill_irq_set,
	}, {
		CALL(VFIO_DEVICE_IOEVENTFD), .where = ON_DEVICE,
		.least = 28, .size = 28,
		.flags_in = VFIO_DEVICE_IOEVENTFD_SIZE_MASK,
		.fill = fill_ioeventfd, .undo = undo_ioeventfd,
	}, {
		/* With the one word of CPUs. */
		CALL(UVFIO_IRQ_SET_AFFINITY), .where = ON_DEVICE,
		.least = 32, .size = 32, .fill = fill_affinity,
	}, {
		CALL(UVFIO_IRQ_TIMER), .where = ON_DEVICE,
		.least = 16, .size = 16, .fill = fill_timer,
	}, {
		CALL(VFIO_DEVICE_RESET), .where = ON_DEVICE,
	}, {
		CALL(UVFIO_DOMAIN_SET), .where = ON_DEVICE,
		.least = 12, .size = 12,
		.early = true, .fill = fill_domain, .undo = undo_domain,
	}, {
		CALL(UVFIO_DOMAIN_UNSET), .where = ON_DEVICE,
		.undo = undo_domain,
	}, {
		CALL(UVFIO_IOMMU_GET_INFO), .where = ON_DEVICE | ON_DOMAIN,
		IOMMU_INFO,
	}, {
		CALL(UVFIO_MAP_DMA), .where = ON_DEVICE | ON_DOMAIN, MAP,
	}, {
		CALL(UVFIO_UNMAP_DMA), .where = ON_DEVICE | ON_DOMAIN, UNMAP,
	}, {
		CALL(VFIO_GET_API_VERSION), .where = ON_DOMAIN, .early = true,
	}, {
		CALL(VFIO_CHECK_EXTENSION), .where = ON_DOMAIN, .early = true,
		.value = VFIO_TYPE1v2_IOMMU,
	}, {
		CALL(VFIO_SET_IOMMU), .where = ON_DOMAIN, .early = true,
		.value = VFIO_TYPE1v2_IOMMU,
	}, {
		CALL(VFIO_IOMMU_GET_INFO), .where = ON_DOMAIN, IOMMU_INFO,
	}, {
		CALL(VFIO_IOMMU_MAP_DMA), .where = ON_DOMAIN, MAP,
	}, {
		CALL(VFIO_IOMMU_UNMAP_DMA), .where = ON_DOMAIN, UNMAP,
	},
};

static const struct call *const calls_end = calls + ARRAY_SIZE(calls);

FIXTURE(uapi)
{
	struct device dev;
	struct target target;
	/* Two pages, the second one without access. */
	uint8_t *guarded;
};

/* The variants are the two nodes. */
FIXTURE_VARIANT(uapi)
{
	enum where where;
};

FIXTURE_VARIANT_ADD(uapi, device)
{
	.where = ON_DEVICE,
};

FIXTURE_VARIANT_ADD(uapi, domain)
{
	.where = ON_DOMAIN,
};

FIXTURE_SETUP(uapi)
{
	self->target.domain = -1;
	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));

	ASSERT_EQ(0, device_open(&self->dev));
	self->target.device = self->dev.fd;
	self->target.domain = uvfio_domain_open();
	ASSERT_LE(0, self->target.domain);
	self->target.event = event_new();
	ASSERT_LE(0, self->target.event);
	self->target.memory = dma_alloc(PAGE_SIZE);
	ASSERT_NE(NULL, self->target.memory);
	self->target.memory2 = dma_alloc(PAGE_SIZE);
	ASSERT_NE(NULL, self->target.memory2);
	self->guarded = dma_alloc(2 * PAGE_SIZE);
	ASSERT_NE(NULL, self->guarded);
	ASSERT_EQ(0, mprotect(self->guarded + PAGE_SIZE, PAGE_SIZE, PROT_NONE));
}

FIXTURE_TEARDOWN(uapi)
{
	device_close(&self->dev);
	close(self->target.domain);
	close(self->target.event);
	dma_free(self->target.memory, PAGE_SIZE);
	dma_free(self->target.memory2, PAGE_SIZE);
	dma_free(self->guarded, 2 * PAGE_SIZE);
}

/* 0 or -errno, unlike ioctl(). */
static int issue(const struct call *call, int fd, void *arg)
{
	int ret = call->size ? ioctl(fd, call->number, arg) :
			       ioctl(fd, call->number, call->value);

	return ret < 0 ? -errno : ret;
}

static void fill(const struct call *call, struct target *target,
		 union argument *arg, uint32_t argsz)
{
	memset(arg, GARBAGE, sizeof(*arg));
	memset(arg, 0, call->size);
	arg->argsz = argsz;
	if (call->fill)
		call->fill(arg, target);
}

static void undo(const struct call *call, struct target *target)
{
	if (call->undo)
		call->undo(target);
}

static int target_fd(const struct target *target, enum where where)
{
	return where == ON_DEVICE ? target->device : target->domain;
}

/* Rows whose result is no errno: the version, an extension that is there. */
static int success(const struct call *call)
{
	switch (call->number) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return 1;
	default:
		return 0;
	}
}

/* @detail: what was varied */
#define EXPECT_CALL(expected, seen, detail) \
	({ \
		EXPECT_EQ(expected, seen) { \
			TH_LOG("%s with %ld", call->name, (long)(detail)); \
		} \
	})

TEST_F(uapi, short_argsz_is_refused)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg, before;
	uint32_t argsz;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		if (!call->size || !(call->where & variant->where))
			continue;
		for (argsz = 0; argsz < call->least; argsz++) {
			fill(call, &self->target, &arg, argsz);
			before = arg;
			EXPECT_CALL(-EINVAL, issue(call, fd, &arg), argsz);
			/* A refusal writes nothing. */
			EXPECT_CALL(0, memcmp(&before, &arg, sizeof(arg)),
				    argsz);
		}
		/* The control: it was the size. */
		fill(call, &self->target, &arg, call->least);
		EXPECT_CALL(0, issue(call, fd, &arg), call->least);
		undo(call, &self->target);
	}
}

TEST_F(uapi, nothing_beyond_argsz_is_touched)
{
	int fd = target_fd(&self->target, variant->where);
	union argument arg, before;
	const struct call *call;
	uint32_t argsz;
	void *last;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		if (!call->size || !(call->where & variant->where))
			continue;
		for (argsz = call->least; argsz <= call->size + 8; argsz++) {
			fill(call, &self->target, &arg, argsz);
			before = arg;
			EXPECT_CALL(0, issue(call, fd, &arg), argsz);
			EXPECT_CALL(0, memcmp(before.bytes + argsz,
					      arg.bytes + argsz,
					      sizeof(arg) - argsz), argsz);
			undo(call, &self->target);

			/* With no memory behind it at all. */
			fill(call, &self->target, &arg, argsz);
			last = self->guarded + PAGE_SIZE - argsz;
			memcpy(last, &arg, argsz);
			EXPECT_CALL(0, issue(call, fd, last), argsz);
			undo(call, &self->target);
		}
	}
}

/* What a caller with newer headers sends: the tail is not looked at. */
TEST_F(uapi, long_argsz_with_garbage_is_accepted)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		if (!call->size || !(call->where & variant->where))
			continue;
		fill(call, &self->target, &arg, ARG_ROOM);
		EXPECT_CALL(0, issue(call, fd, &arg), ARG_ROOM);
		undo(call, &self->target);

		/* Results may have capabilities behind them, others nothing. */
		if (!call->flags_out)
			EXPECT_CALL(true, is_filled(arg.bytes + call->size,
						    GARBAGE, ARG_ROOM -
						    call->size), ARG_ROOM);

		/* A size that no buffer has: only a number to the kernel. */
		fill(call, &self->target, &arg, UINT32_MAX);
		EXPECT_CALL(0, issue(call, fd, &arg), UINT32_MAX);
		undo(call, &self->target);
	}
}

TEST_F(uapi, bad_pointer_is_refused)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg;
	size_t i;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		uint8_t *end = self->guarded + PAGE_SIZE;
		void *bad[] = {
			/* argsz is readable, the rest is not */
			end - 4,
			end - call->least + 1,
			end,
			NULL,
			(void *)-4096L,
			(void *)-1L,
			(void *)(1UL << (sizeof(long) * 8 - 1)),
		};

		if (!call->size || !(call->where & variant->where))
			continue;
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			fill(call, &self->target, &arg, call->size);
			if (i < 2)
				memcpy(bad[i], &arg, end - (uint8_t *)bad[i]);
			EXPECT_CALL(-EFAULT, issue(call, fd, bad[i]), i);
		}
		EXPECT_CALL(0, issue(call, fd, &arg), 0);
		undo(call, &self->target);
	}
}

TEST_F(uapi, results_need_writable_memory)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		if (!call->results || !(call->where & variant->where))
			continue;
		fill(call, &self->target, &arg, call->size);
		memcpy(self->guarded, &arg, sizeof(arg));
		ASSERT_EQ(0, mprotect(self->guarded, PAGE_SIZE, PROT_READ));
		EXPECT_CALL(-EFAULT, issue(call, fd, self->guarded), 0);
		ASSERT_EQ(0, mprotect(self->guarded, PAGE_SIZE,
				      PROT_READ | PROT_WRITE));
		fill(call, &self->target, &arg, call->size);
		memcpy(self->guarded, &arg, sizeof(arg));
		EXPECT_CALL(0, issue(call, fd, self->guarded), 1);
	}
}

TEST_F(uapi, unknown_flags_are_refused)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg;
	uint32_t flag;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		if (!call->size || !(call->where & variant->where))
			continue;
		for (flag = 1; flag; flag <<= 1) {
			if (call->flags_in & flag)
				continue;
			fill(call, &self->target, &arg, call->size);
			arg.flags |= flag;
			/* Where flags are a result, input is no matter. */
			EXPECT_CALL(call->flags_out ? 0 : -EINVAL,
				    issue(call, fd, &arg), flag);
			if (call->flags_out && flag == 1u << 31)
				EXPECT_CALL(0, arg.flags & flag, flag);
		}
		fill(call, &self->target, &arg, call->size);
		EXPECT_CALL(0, issue(call, fd, &arg), 0);
		undo(call, &self->target);
	}
}

static bool is_known(unsigned long number, enum where where)
{
	const struct call *call;

	for (call = calls; call < calls_end; call++) {
		if (call->number == number && call->where & where)
			return true;
	}
	return false;
}

/* Every number of the two types, in each direction and some sizes. */
TEST_F(uapi, nothing_else_exists)
{
	static const unsigned int types[] = { VFIO_TYPE, UVFIO_TYPE };
	int fd = target_fd(&self->target, variant->where);
	unsigned int attached, type, dir, nr, size;
	union argument arg;

	for (attached = 0; attached < 2; attached++) {
		if (attached)
			ASSERT_EQ(0, uvfio_attach(self->target.device,
						  self->target.domain));
		for (nr = 0; nr < 256 * 4 * 3 * ARRAY_SIZE(types); nr++) {
			unsigned long number;

			type = types[nr / 256 / 4 / 3];
			size = nr / 256 / 4 % 3 * 16;
			dir = nr / 256 % 4;
			number = _IOC(dir, type, nr % 256, size);
			if (is_known(number, variant->where))
				continue;
			memset(&arg, 0, sizeof(arg));
			arg.argsz = sizeof(arg);
			errno = 0;
			ASSERT_EQ(-1, ioctl(fd, number, &arg)) {
				TH_LOG("number 0x%lx", number);
			}
			ASSERT_EQ(ENOTTY, errno) {
				TH_LOG("number 0x%lx", number);
			}
		}
	}
}

/* Type1 numbers are those of device calls: each node knows only its own. */
TEST_F(uapi, each_node_has_its_own_calls)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg;

	ASSERT_EQ(0, uvfio_attach(self->target.device, self->target.domain));
	for (call = calls; call < calls_end; call++) {
		if (call->where & variant->where ||
		    is_known(call->number, variant->where))
			continue;
		fill(call, &self->target, &arg, call->size);
		EXPECT_CALL(-ENOTTY, issue(call, fd, &arg), 0);
		undo(call, &self->target);
	}
}

TEST_F(uapi, without_a_domain_calls_are_refused)
{
	int fd = target_fd(&self->target, variant->where);
	union argument arg, before;
	const struct call *call;
	int again;

	/* Before a domain is attached, and after it is gone again. */
	for (again = 0; again < 2; again++) {
		for (call = calls; call < calls_end; call++) {
			if (!(call->where & variant->where))
				continue;
			fill(call, &self->target, &arg, call->size);
			before = arg;
			EXPECT_CALL(call->early ? success(call) : -EUNATCH,
				    issue(call, fd, &arg), again);
			if (!call->early)
				EXPECT_CALL(0, memcmp(&before, &arg,
						      sizeof(arg)), again);
			uvfio_detach(self->target.device);
		}
		/* A domain that had a device once keeps its page table. */
		if (variant->where == ON_DOMAIN)
			break;
		ASSERT_EQ(0, uvfio_attach(self->target.device,
					  self->target.domain));
		ASSERT_EQ(0, uvfio_detach(self->target.device));
	}
}

/* The size and the pointer are checked before the state. */
TEST_F(uapi, argument_is_checked_before_the_state)
{
	int fd = target_fd(&self->target, variant->where);
	const struct call *call;
	union argument arg;

	for (call = calls; call < calls_end; call++) {
		if (!call->size || !(call->where & variant->where))
			continue;
		fill(call, &self->target, &arg, call->least - 1);
		EXPECT_CALL(-EINVAL, issue(call, fd, &arg), call->least - 1);
		EXPECT_CALL(-EFAULT, issue(call, fd, NULL), 0);
	}
}

/* The regions are not there either without a domain. */
FIXTURE(gate)
{
	struct device dev;
	struct vfio_region_info bar;
	struct vfio_region_info config;
};

FIXTURE_SETUP(gate)
{
	ASSERT_EQ(0, device_prepare(NVME, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX,
				  &self->bar));
	ASSERT_EQ(0, uvfio_region(self->dev.fd, VFIO_PCI_CONFIG_REGION_INDEX,
				  &self->config));
}

FIXTURE_TEARDOWN(gate)
{
	device_close(&self->dev);
}

#define EXPECT_ERRNO(error, result) \
	do { \
		EXPECT_EQ(-1, (long)(result)); \
		EXPECT_EQ(error, errno); \
	} while (0)

static void *map_page(int fd, uint64_t offset)
{
	return mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    offset);
}

TEST_F(gate, regions_are_closed_without_a_domain)
{
	int fd = self->dev.fd, again;
	uint64_t offset;
	uint32_t value = 0;
	unsigned int i;
	void *page;

	for (again = 0; again < 2; again++) {
		for (i = 0; i < VFIO_PCI_NUM_REGIONS + 2; i++) {
			offset = (uint64_t)i << 40;
			EXPECT_ERRNO(EUNATCH, pread(fd, &value, 4, offset));
			EXPECT_ERRNO(EUNATCH, pwrite(fd, &value, 4, offset));
			EXPECT_ERRNO(EUNATCH, map_page(fd, offset));
		}

		/* The control, and the way back. */
		ASSERT_EQ(0, uvfio_attach(fd, -1));
		ASSERT_EQ(0, uvfio_command(fd, PCI_COMMAND_MEMORY, 0));
		EXPECT_EQ(4, pread(fd, &value, 4, self->bar.offset));
		EXPECT_EQ(4, pread(fd, &value, 4, self->config.offset));
		EXPECT_EQ(raw_read32(&self->dev, 0), value);
		page = map_page(fd, self->bar.offset);
		ASSERT_NE(MAP_FAILED, page);
		EXPECT_FALSE(read_faults(page, NULL));
		ASSERT_EQ(0, uvfio_detach(fd));
		/* A mapping stays, what it shows does not. */
		EXPECT_TRUE(read_faults(page, NULL));
		EXPECT_TRUE(write_faults(page, 0));
		munmap(page, PAGE_SIZE);
	}
}

/* A mapping that saw its domain go sees the device again with the next one. */
TEST_F(gate, mapping_comes_back_with_a_domain)
{
	uint32_t before, after;
	void *page;

	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	page = map_page(self->dev.fd, self->bar.offset);
	ASSERT_NE(MAP_FAILED, page);
	ASSERT_FALSE(read_faults(page, &before));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_TRUE(read_faults(page, NULL));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_FALSE(read_faults(page, &after));
	EXPECT_EQ(before, after);
	munmap(page, PAGE_SIZE);
}

/* A refused attachment leaves the device as it was: without a domain. */
TEST_F(gate, bad_domain_is_refused)
{
	int closed = dup(0), null = open("/dev/null", O_RDWR);
	int fd = self->dev.fd, other;
	uint16_t word;

	ASSERT_LE(0, closed);
	ASSERT_LE(0, null);
	close(closed);

	EXPECT_EQ(-EBADF, uvfio_attach(fd, closed));
	EXPECT_EQ(-EINVAL, uvfio_attach(fd, -2));
	EXPECT_EQ(-EINVAL, uvfio_attach(fd, null));
	EXPECT_EQ(-EINVAL, uvfio_attach(fd, fd));
	EXPECT_EQ(-EUNATCH, uvfio_config_read16(fd, 0, &word));

	ASSERT_EQ(0, uvfio_attach(fd, -1));
	EXPECT_EQ(0, uvfio_config_read16(fd, 0, &word));

	/* Once is enough, whatever the domain. */
	other = uvfio_domain_open();
	ASSERT_LE(0, other);
	EXPECT_EQ(-EBUSY, uvfio_attach(fd, -1));
	EXPECT_EQ(-EBUSY, uvfio_attach(fd, other));
	EXPECT_EQ(0, uvfio_config_read16(fd, 0, &word));

	ASSERT_EQ(0, uvfio_detach(fd));
	EXPECT_EQ(-EUNATCH, uvfio_detach(fd));
	EXPECT_EQ(0, uvfio_attach(fd, other));
	close(other);
	close(null);
}

TEST_F(gate, device_info_is_true)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	ASSERT_EQ(0, ioctl(self->dev.fd, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI, info.flags & VFIO_DEVICE_FLAGS_PCI);
	/* NVMe has a function level reset. */
	EXPECT_EQ(VFIO_DEVICE_FLAGS_RESET,
		  info.flags & VFIO_DEVICE_FLAGS_RESET);
	EXPECT_LE(VFIO_PCI_NUM_REGIONS, info.num_regions);
	EXPECT_LE(VFIO_PCI_MSIX_IRQ_INDEX + 1, info.num_irqs);
}

FIXTURE(container)
{
	struct device dev;
	int fd;
};

FIXTURE_SETUP(container)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	self->fd = uvfio_domain_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(container)
{
	device_close(&self->dev);
	close(self->fd);
}

/* What a VFIO program asks a container before it maps anything. */
TEST_F(container, answers_like_vfio)
{
	struct vfio_iommu_type1_info info = { .argsz = 20 };

	EXPECT_EQ(VFIO_API_VERSION, ioctl(self->fd, VFIO_GET_API_VERSION));
	EXPECT_EQ(1, ioctl(self->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(1, ioctl(self->fd, VFIO_CHECK_EXTENSION,
			   VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, ioctl(self->fd, VFIO_CHECK_EXTENSION,
			   VFIO_SPAPR_TCE_IOMMU));
	EXPECT_EQ(0, ioctl(self->fd, VFIO_CHECK_EXTENSION, 12345));
	EXPECT_ERRNO(EINVAL, ioctl(self->fd, VFIO_SET_IOMMU,
				   VFIO_SPAPR_TCE_IOMMU));
	EXPECT_EQ(0, ioctl(self->fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	EXPECT_ERRNO(EUNATCH, ioctl(self->fd, VFIO_IOMMU_GET_INFO, &info));

	ASSERT_EQ(0, device_open_attached(&self->dev, self->fd));
	ASSERT_EQ(0, ioctl(self->fd, VFIO_IOMMU_GET_INFO, &info));
	EXPECT_EQ(VFIO_IOMMU_INFO_PGSIZES,
		  info.flags & VFIO_IOMMU_INFO_PGSIZES);
	EXPECT_EQ(PAGE_SIZE, info.iova_pgsizes & PAGE_SIZE);
	/* Smaller than a page cannot be mapped, so it is not promised. */
	EXPECT_EQ(0, info.iova_pgsizes & (PAGE_SIZE - 1));
	EXPECT_EQ(1, ioctl(self->fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL));
}

/* There are no bytes in a domain. */
TEST_F(container, has_no_data)
{
	char byte = 0;

	ASSERT_EQ(0, device_open_attached(&self->dev, self->fd));
	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED,
				   self->fd, 0));
	EXPECT_EQ(ENODEV, errno);
}

TEST_HARNESS_MAIN
