// SPDX-License-Identifier: GPL-2.0
/*
 * The front: the module, the nodes /dev/vfioN and /dev/uiommu, the one table of
 * ioctls and the one of regions.
 *
 * File operations here only carry data between the user and the kernel and find
 * who is to answer; what they call takes kernel pointers, so another front end
 * can call it too. No lock is held while user memory is touched.
 */
#include <linux/cdev.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "uvfio.h"

static dev_t uvfio_devt;
static DEFINE_IDA(uvfio_ida);

/* User memory */

/* What is as large as a register goes without the ado of copying. */

static int fetch_data(void *data, void __user *user, size_t len)
{
	switch (len) {
	case 4:
		return get_user(*(u32 *)data, (u32 __user *)user);
	case 8:
		return get_user(*(u64 *)data, (u64 __user *)user);
	default:
		return copy_from_user(data, user, len) ? -EFAULT : 0;
	}
}

static int return_data(const void *data, void __user *user, size_t len)
{
	switch (len) {
	case 4:
		return put_user(*(const u32 *)data, (u32 __user *)user);
	case 8:
		return put_user(*(const u64 *)data, (u64 __user *)user);
	default:
		return copy_to_user(user, data, len) ? -EFAULT : 0;
	}
}

/* Ioctls */

/* Which file answers a call: one number can mean two things. */
enum uvfio_node {
	ON_DEVICE = BIT(0),
	ON_DOMAIN = BIT(1),
};

/* Not a function for each: an indirect call costs as much as a small copy. */
enum uvfio_tail {
	TAIL_NONE,
	TAIL_IRQ_DATA,
	TAIL_CPUS,
};

struct uvfio_op {
	unsigned int nr;
	u8 node;
	bool no_domain;		/* answered before a domain is set */
	u8 tail;		/* enum uvfio_tail: what follows the struct */
	bool out;		/* the struct returns results ... */
	u8 first_out;		/* ... from this member on */
	u8 min;			/* bytes of the mandatory members; 0: no struct */
	u8 size;		/* bytes of the members known here */
	u8 cap_offset;		/* where that member is; 0: no capabilities */
	/*
	 * First, with mem_rwsem for read alone; -EAGAIN: it is one for @device,
	 * -ERESTART: there is more to do, when others had their turn.
	 */
	int (*shared)(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
	/* One of the two; what a device passes on to its domain has @domain. */
	int (*device)(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
	int (*domain)(struct uvfio_domain *domain, struct uvfio_cmd *cmd);
};

static int device_reset(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	return uvfio_pci_reset(udev);
}

static struct uvfio_domain *domain_from_fd(int fd);

static int device_domain_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct uvfio_domain_set *arg = &cmd->domain_set;
	struct uvfio_domain *domain;

	if (arg->flags || arg->domain_fd < -1)
		return -EINVAL;

	domain = arg->domain_fd == -1 ? uvfio_domain_alloc() :
					domain_from_fd(arg->domain_fd);
	if (IS_ERR(domain))
		return PTR_ERR(domain);

	cmd->domain = domain;
	return uvfio_pci_attach(udev, domain);
}

static int device_domain_unset(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	cmd->domain = uvfio_pci_detach(udev);
	return 0;
}

/* The business of its flags. */
static int irq_data_len(const struct vfio_irq_set *set)
{
	if (set->count > UVFIO_MAX_VECTORS)
		return -EINVAL;
	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return set->count * sizeof(s32);
	if (set->flags & VFIO_IRQ_SET_DATA_BOOL)
		return set->count;
	return 0;
}

static int cpus_len(const struct uvfio_irq_affinity *arg)
{
	if (!arg->size || arg->size % sizeof(arg->cpus[0]) ||
	    arg->size > UVFIO_MAX_CPUS / BITS_PER_BYTE)
		return -EINVAL;
	return arg->size;
}

#define ARG(type, last) \
	.min = offsetofend(type, last), .size = sizeof(type)
#define ARG_CAPS(type, last) \
	.min = offsetofend(type, last), .size = offsetofend(type, cap_offset), \
	.cap_offset = offsetof(type, cap_offset)

static const struct uvfio_op uvfio_ops[] = {
	/* First what is called often. */
	{ UVFIO_MAP_DMA, ON_DEVICE | ON_DOMAIN, .out = true,
	  ARG(struct vfio_iommu_type1_dma_map, size),
	  .first_out = offsetof(struct vfio_iommu_type1_dma_map, iova),
	  .domain = uvfio_domain_map },
	{ UVFIO_UNMAP_DMA, ON_DEVICE | ON_DOMAIN, .out = true,
	  ARG(struct vfio_iommu_type1_dma_unmap, size),
	  .first_out = offsetof(struct vfio_iommu_type1_dma_unmap, size),
	  .domain = uvfio_domain_unmap },

	{ VFIO_DEVICE_GET_INFO, ON_DEVICE, .no_domain = true, .out = true,
	  ARG_CAPS(struct vfio_device_info, num_irqs),
	  .device = uvfio_pci_info },
	{ VFIO_DEVICE_GET_REGION_INFO, ON_DEVICE, .no_domain = true, .out = true,
	  ARG(struct vfio_region_info, offset),
	  .cap_offset = offsetof(struct vfio_region_info, cap_offset),
	  .device = uvfio_region_info },
	{ VFIO_DEVICE_GET_IRQ_INFO, ON_DEVICE, .no_domain = true, .out = true,
	  ARG(struct vfio_irq_info, count),
	  .device = uvfio_irqs_info },
	{ VFIO_DEVICE_SET_IRQS, ON_DEVICE,
	  ARG(struct vfio_irq_set, count), .tail = TAIL_IRQ_DATA,
	  .shared = uvfio_irqs_set_shared, .device = uvfio_pci_set_irqs },
	{ UVFIO_IRQ_SET_AFFINITY, ON_DEVICE,
	  ARG(struct uvfio_irq_affinity, size), .tail = TAIL_CPUS,
	  .shared = uvfio_irqs_steer_shared, .device = uvfio_pci_steer_irqs },
	{ UVFIO_IRQ_TIMER, ON_DEVICE,
	  ARG(struct uvfio_irq_timer, period_ns),
	  .device = uvfio_timer_set },
	{ VFIO_DEVICE_IOEVENTFD, ON_DEVICE,
	  ARG(struct vfio_device_ioeventfd, fd),
	  .device = uvfio_ioeventfd_set },
	{ VFIO_DEVICE_RESET, ON_DEVICE,
	  .device = device_reset },
	{ UVFIO_DOMAIN_SET, ON_DEVICE, .no_domain = true,
	  ARG(struct uvfio_domain_set, domain_fd),
	  .device = device_domain_set },
	{ UVFIO_DOMAIN_UNSET, ON_DEVICE,
	  .device = device_domain_unset },

	{ UVFIO_IOMMU_GET_INFO, ON_DEVICE | ON_DOMAIN, .out = true,
	  ARG_CAPS(struct vfio_iommu_type1_info, iova_pgsizes),
	  .domain = uvfio_domain_info },

	{ VFIO_GET_API_VERSION, ON_DOMAIN,
	  .domain = uvfio_domain_api_version },
	{ VFIO_CHECK_EXTENSION, ON_DOMAIN,
	  .domain = uvfio_domain_check_extension },
	{ VFIO_SET_IOMMU, ON_DOMAIN,
	  .domain = uvfio_domain_set_iommu },
	{ VFIO_IOMMU_GET_INFO, ON_DOMAIN, .out = true,
	  ARG_CAPS(struct vfio_iommu_type1_info, iova_pgsizes),
	  .domain = uvfio_domain_info },
	{ VFIO_IOMMU_MAP_DMA, ON_DOMAIN,
	  ARG(struct vfio_iommu_type1_dma_map, size),
	  .domain = uvfio_domain_map_type1 },
	{ VFIO_IOMMU_UNMAP_DMA, ON_DOMAIN, .out = true,
	  ARG(struct vfio_iommu_type1_dma_unmap, size),
	  .domain = uvfio_domain_unmap_type1 },
};

static const struct uvfio_op *op_find(enum uvfio_node node, unsigned int nr)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(uvfio_ops); i++)
		if (uvfio_ops[i].nr == nr && uvfio_ops[i].node & node)
			return &uvfio_ops[i];
	return NULL;
}

static int tail_len(const struct uvfio_op *op, const struct uvfio_cmd *cmd)
{
	switch (op->tail) {
	case TAIL_IRQ_DATA:
		return irq_data_len(&cmd->irq_set);
	case TAIL_CPUS:
		return cpus_len(&cmd->irq_affinity);
	default:
		return 0;
	}
}

/* What follows the struct. */
static int fetch_tail(const struct uvfio_op *op, struct uvfio_cmd *cmd,
		      void __user *arg)
{
	int len = tail_len(op, cmd);
	void *data;

	if (len <= 0)
		return len;
	if (cmd->argsz < op->min + len)
		return -EINVAL;

	data = memdup_user(arg + op->min, len);
	if (IS_ERR(data))
		return PTR_ERR(data);
	cmd->data = data;
	return 0;
}

/* By words: for a struct that is less than what a checked copy costs. */
static int fetch_struct(void *data, void __user *user, size_t len)
{
	for (; len >= sizeof(u64); len -= sizeof(u64)) {
		if (get_user(*(u64 *)data, (u64 __user *)user))
			return -EFAULT;
		data += sizeof(u64);
		user += sizeof(u64);
	}
	return len ? fetch_data(data, user, len) : 0;
}

/* Reads argsz, then as much of the struct as both sides have; once each. */
static int fetch_args(const struct uvfio_op *op, struct uvfio_cmd *cmd,
		      void __user *arg)
{
	u32 argsz;

	if (!op->min) {
		cmd->value = (unsigned long)arg;
		return 0;
	}

	if (get_user(argsz, (u32 __user *)arg))
		return -EFAULT;
	if (argsz < op->min)
		return -EINVAL;
	if (fetch_struct(cmd, arg, min_t(u32, argsz, op->size)))
		return -EFAULT;
	cmd->argsz = argsz;

	return op->tail ? fetch_tail(op, cmd, arg) : 0;
}

/* The chain goes out whole or not at all; argsz tells what it would take. */
static int return_caps(const struct uvfio_op *op, struct uvfio_cmd *cmd,
		       void __user *arg)
{
	u32 base = ALIGN(op->size, sizeof(u64));
	u32 *cap_offset = (void *)cmd + op->cap_offset;

	*cap_offset = 0;
	if (!cmd->caps.size)
		return 0;
	if (cmd->argsz < base + cmd->caps.size) {
		cmd->argsz = base + cmd->caps.size;
		return 0;
	}
	*cap_offset = base;
	return copy_to_user(arg + base, cmd->caps.buf, cmd->caps.size) ?
		-EFAULT : 0;
}

/* Writes back what fits. */
static int return_args(const struct uvfio_op *op, struct uvfio_cmd *cmd,
		       void __user *arg)
{
	u32 size = min_t(u32, cmd->argsz, op->size);
	int ret;

	if (!op->out || cmd->unchanged)
		return 0;

	if (op->cap_offset) {
		ret = return_caps(op, cmd, arg);
		if (ret)
			return ret;
	}
	return return_data((void *)cmd + op->first_out, arg + op->first_out,
			   size - op->first_out);
}

/**
 * uvfio_caps_add - append a capability to the chain of a GET_*INFO call
 * @caps: the chain
 * @base: where in the user's buffer the chain will begin, in bytes
 * @cap: the capability, id and version filled in
 * @size: its bytes
 */
int uvfio_caps_add(struct uvfio_caps *caps, u32 base,
		   struct vfio_info_cap_header *cap, size_t size)
{
	size_t padded = ALIGN(size, sizeof(u64));
	struct vfio_info_cap_header *last;
	void *buf;

	buf = krealloc(caps->buf, caps->size + padded, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;

	memset(buf + caps->size, 0, padded);
	memcpy(buf + caps->size, cap, size);
	if (caps->size) {
		last = buf + caps->last;
		last->next = base + caps->size;
	}
	caps->buf = buf;
	caps->last = caps->size;
	caps->size += padded;
	return 0;
}

/* Users queue before device_lock, so that one of them at a time competes for it. */
static int control_lock(struct uvfio_dev *udev)
{
	if (mutex_lock_killable(&udev->user_lock))
		return -EINTR;
	device_lock(&udev->pdev->dev);
	return 0;
}

static void control_unlock(struct uvfio_dev *udev)
{
	device_unlock(&udev->pdev->dev);
	mutex_unlock(&udev->user_lock);
}

/* A reference, which keeps the domain whatever happens to the device. */
static struct uvfio_domain *domain_of_device(struct uvfio_dev *udev)
{
	int ret;

	guard(rwsem_read)(&udev->mem_rwsem);
	ret = uvfio_gate(udev);
	return ret ? ERR_PTR(ret) : uvfio_domain_get(udev->domain);
}

/* True: the caller has to go. */
static bool others_turn(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}

static int run_shared(const struct uvfio_op *op, struct uvfio_dev *udev,
		      struct uvfio_cmd *cmd)
{
	int ret;

	guard(rwsem_read)(&udev->mem_rwsem);
	ret = uvfio_gate(udev);
	return ret ?: op->shared(udev, cmd);
}

/*
 * DMA calls run without the device: they can take long, and a page that the user
 * holds back must not hold back the device's lock.
 */
static int run_on_device(const struct uvfio_op *op, struct uvfio_dev *udev,
			 struct uvfio_cmd *cmd)
{
	struct uvfio_domain *domain;
	int ret;

	if (op->domain) {
		domain = domain_of_device(udev);
		if (IS_ERR(domain))
			return PTR_ERR(domain);
		cmd->domain = domain;
		return op->domain(domain, cmd);
	}

	if (op->shared) {
		do {
			ret = run_shared(op, udev, cmd);
		} while (ret == -ERESTART && !others_turn());
		if (ret != -EAGAIN)
			return ret == -ERESTART ? -EINTR : ret;
	}

	ret = control_lock(udev);
	if (ret)
		return ret;
	ret = uvfio_gate(udev);
	if (ret == -EUNATCH && op->no_domain)
		ret = 0;
	if (!ret)
		ret = op->device(udev, cmd);
	control_unlock(udev);
	return ret;
}

static long uvfio_ioctl(enum uvfio_node node, void *object, unsigned int nr,
			void __user *arg)
{
	const struct uvfio_op *op = op_find(node, nr);
	struct uvfio_cmd cmd = {};
	int ret;

	if (!op)
		return -ENOTTY;

	ret = fetch_args(op, &cmd, arg);
	if (!ret)
		ret = node == ON_DEVICE ? run_on_device(op, object, &cmd) :
					  op->domain(object, &cmd);
	if (!ret)
		ret = return_args(op, &cmd, arg);

	kfree(cmd.data);
	kfree(cmd.caps.buf);
	uvfio_domain_put(cmd.domain);
	return ret;
}

/* Regions */

/* Everything here is called with mem_rwsem held for read and past the gate. */
struct uvfio_region {
	bool control;		/* but write() with device_lock and no mem_rwsem */
	bool exclusive;		/* but read() with mem_rwsem held for write */
	u64 (*size)(struct uvfio_dev *udev, unsigned int index);
	int (*read)(struct uvfio_dev *udev, unsigned int index, u64 off,
		    void *buf, size_t len);
	int (*write)(struct uvfio_dev *udev, unsigned int index, u64 off,
		     const void *buf, size_t len);
	int (*mmap)(struct uvfio_dev *udev, unsigned int index,
		    struct vm_area_struct *vma);
};

#define BAR_REGION { false, false, uvfio_bar_size, uvfio_bar_read, \
		     uvfio_bar_write, uvfio_bar_mmap }

#define WC_REGION { .mmap = uvfio_bar_mmap }

static const struct uvfio_region uvfio_regions[UVFIO_NUM_REGIONS] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = BAR_REGION,
	[VFIO_PCI_BAR1_REGION_INDEX] = BAR_REGION,
	[VFIO_PCI_BAR2_REGION_INDEX] = BAR_REGION,
	[VFIO_PCI_BAR3_REGION_INDEX] = BAR_REGION,
	[VFIO_PCI_BAR4_REGION_INDEX] = BAR_REGION,
	[VFIO_PCI_BAR5_REGION_INDEX] = BAR_REGION,
	[VFIO_PCI_ROM_REGION_INDEX] = {
		.exclusive = true,
		.size = uvfio_bar_size,
		.read = uvfio_rom_read,
		.write = uvfio_rom_write,
	},
	[VFIO_PCI_CONFIG_REGION_INDEX] = {
		.control = true,
		.size = uvfio_config_size,
		.read = uvfio_config_read,
		.write = uvfio_pci_config_write,
	},
	[UVFIO_WC_REGION(0)] = WC_REGION,
	[UVFIO_WC_REGION(1)] = WC_REGION,
	[UVFIO_WC_REGION(2)] = WC_REGION,
	[UVFIO_WC_REGION(3)] = WC_REGION,
	[UVFIO_WC_REGION(4)] = WC_REGION,
	[UVFIO_WC_REGION(5)] = WC_REGION,
};

static const struct uvfio_region *region_at(loff_t pos, unsigned int *index)
{
	u64 i = (u64)pos >> UVFIO_REGION_SHIFT;

	if (i >= ARRAY_SIZE(uvfio_regions))
		return NULL;

	*index = array_index_nospec(i, ARRAY_SIZE(uvfio_regions));
	return &uvfio_regions[*index];
}

/* Past the gate; in reset there is nothing to reach. */
static int region_access(const struct uvfio_region *region,
			 struct uvfio_dev *udev, unsigned int index, u64 off,
			 void *buf, size_t len, bool write)
{
	int ret;

	lockdep_assert_held(&udev->mem_rwsem);
	ret = uvfio_gate(udev);
	if (ret)
		return ret;
	if (udev->in_reset)
		return -EIO;
	return write ? region->write(udev, index, off, buf, len) :
		       region->read(udev, index, off, buf, len);
}

static noinline int region_control_write(const struct uvfio_region *region,
					 struct uvfio_dev *udev,
					 unsigned int index, u64 off,
					 const void *buf, size_t len)
{
	int ret;

	ret = control_lock(udev);
	if (ret)
		return ret;
	ret = uvfio_gate(udev);
	if (!ret)
		ret = region->write(udev, index, off, buf, len);
	control_unlock(udev);
	return ret;
}

/* Inline: handing on seven arguments costs as much as what a register takes. */
static __always_inline int region_turn(const struct uvfio_region *region,
				       struct uvfio_dev *udev,
				       unsigned int index, u64 off, void *buf,
				       size_t len, bool write)
{
	if (write && region->control)
		return region_control_write(region, udev, index, off, buf, len);

	if (!write && region->exclusive) {
		guard(rwsem_write)(&udev->mem_rwsem);
		return region_access(region, udev, index, off, buf, len, write);
	}

	guard(rwsem_read)(&udev->mem_rwsem);
	return region_access(region, udev, index, off, buf, len, write);
}

/*
 * The two ways of a turn: a register, which is what drivers read and write all
 * the time, and up to TURN bytes in a buffer that is costly to set up. User memory
 * is touched outside of every lock.
 */

static int turn_register(const struct uvfio_region *region,
			 struct uvfio_dev *udev, unsigned int index, u64 off,
			 void __user *user, size_t len, bool write)
{
	u64 value = 0;
	int ret;

	if (write) {
		ret = fetch_data(&value, user, len);
		if (ret)
			return ret;
	}
	ret = region_turn(region, udev, index, off, &value, len, write);
	if (ret || write)
		return ret;
	return return_data(&value, user, len);
}

/* Bytes that one turn carries at most, keeping @off's alignment. */
#define TURN	256

static noinline int turn_buffer(const struct uvfio_region *region,
				struct uvfio_dev *udev, unsigned int index,
				u64 off, void __user *user, size_t len,
				bool write)
{
	u8 buf[TURN];
	int ret;

	if (write && copy_from_user(buf, user, len))
		return -EFAULT;
	ret = region_turn(region, udev, index, off, buf, len, write);
	if (!ret && !write && copy_to_user(user, buf, len))
		ret = -EFAULT;
	return ret;
}

/* In as many turns as it takes: bytes done, or -errno if none was. */
static ssize_t turns(const struct uvfio_region *region, struct uvfio_dev *udev,
		     unsigned int index, u64 off, void __user *user, size_t len,
		     bool write)
{
	size_t done = 0, n;
	int ret = 0;

	while (done < len) {
		n = min_t(size_t, len - done, TURN - (off + done) % sizeof(u64));
		ret = turn_buffer(region, udev, index, off + done, user + done,
				  n, write);
		if (ret)
			break;
		done += n;

		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	return done ?: ret;
}

/* No byte to transfer: the state comes first, then the position. */
static int transfer_nothing(struct uvfio_dev *udev, u64 off, u64 size)
{
	int ret;

	guard(rwsem_read)(&udev->mem_rwsem);
	ret = uvfio_gate(udev);
	if (ret)
		return ret;
	return off < size ? 0 : -EINVAL;
}

static ssize_t transfer(struct uvfio_dev *udev, void __user *user, size_t len,
			loff_t *pos, bool write)
{
	u64 off = *pos & (UVFIO_REGION_OFFSET(1) - 1), size;
	const struct uvfio_region *region;
	unsigned int index = 0;
	ssize_t done;

	region = region_at(*pos, &index);
	size = region ? udev->region_size[index] : 0;
	if (!len || off >= size)
		return transfer_nothing(udev, off, size);

	len = min_t(u64, len, size - off);
	if (len > sizeof(u64))
		done = turns(region, udev, index, off, user, len, write);
	else
		done = turn_register(region, udev, index, off, user, len, write)
			?: len;
	if (done > 0)
		*pos += done;
	return done;
}

static ssize_t uvfio_device_read(struct file *file, char __user *user,
				 size_t len, loff_t *pos)
{
	return transfer(file->private_data, user, len, pos, false);
}

static ssize_t uvfio_device_write(struct file *file, const char __user *user,
				  size_t len, loff_t *pos)
{
	return transfer(file->private_data, (void __user *)user, len, pos, true);
}

static int uvfio_device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct uvfio_dev *udev = file->private_data;
	const struct uvfio_region *region;
	unsigned int index = 0;
	int ret;

	region = region_at((u64)vma->vm_pgoff << PAGE_SHIFT, &index);

	guard(rwsem_read)(&udev->mem_rwsem);
	ret = uvfio_gate(udev);
	if (ret)
		return ret;
	if (!region || !region->mmap)
		return -EINVAL;
	return region->mmap(udev, index, vma);
}

/* /dev/vfioN */

static int uvfio_device_open(struct inode *inode, struct file *file)
{
	struct uvfio_dev *udev = container_of(inode->i_cdev, struct uvfio_dev,
					      cdev);
	int ret;

	ret = control_lock(udev);
	if (ret)
		return ret;
	if (udev->gone)
		ret = -ENODEV;
	else if (udev->opened)
		ret = -EBUSY;
	else
		ret = uvfio_pci_open(udev);
	if (!ret) {
		udev->opened = true;
		udev->mapping = file->f_mapping;	/* no domain: nobody reads it */
		file->private_data = udev;
		get_device(&udev->dev);
	}
	control_unlock(udev);
	return ret;
}

static int uvfio_device_release(struct inode *inode, struct file *file)
{
	struct uvfio_dev *udev = file->private_data;
	struct uvfio_domain *domain = NULL;

	device_lock(&udev->pdev->dev);
	if (!udev->gone)
		domain = uvfio_pci_close(udev);
	udev->opened = false;
	udev->mapping = NULL;
	device_unlock(&udev->pdev->dev);

	uvfio_domain_put(domain);
	put_device(&udev->dev);
	return 0;
}

static long uvfio_device_ioctl(struct file *file, unsigned int nr,
			       unsigned long arg)
{
	return uvfio_ioctl(ON_DEVICE, file->private_data, nr,
			   (void __user *)arg);
}

static void uvfio_device_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct uvfio_dev *udev = file->private_data;
	struct uvfio_domain *domain = domain_of_device(udev);

	if (IS_ERR(domain)) {
		seq_puts(m, "domain:\tnone\n");
		return;
	}
	uvfio_domain_show(m, domain);
	uvfio_domain_put(domain);
	scoped_guard(rwsem_read, &udev->mem_rwsem)
		uvfio_irqs_show(m, udev);
}

static const struct file_operations uvfio_device_fops = {
	.owner = THIS_MODULE,
	.open = uvfio_device_open,
	.release = uvfio_device_release,
	.read = uvfio_device_read,
	.write = uvfio_device_write,
	.mmap = uvfio_device_mmap,
	/* A BAR's alignment in memory is kept, so that large pages fit. */
	.get_unmapped_area = thp_get_unmapped_area,
	.show_fdinfo = uvfio_device_show_fdinfo,
	.unlocked_ioctl = uvfio_device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* /dev/uiommu */

static int uvfio_uiommu_open(struct inode *inode, struct file *file)
{
	struct uvfio_domain *domain = uvfio_domain_alloc();

	if (IS_ERR(domain))
		return PTR_ERR(domain);

	file->private_data = domain;
	return 0;
}

static int uvfio_uiommu_release(struct inode *inode, struct file *file)
{
	uvfio_domain_put(file->private_data);
	return 0;
}

static long uvfio_uiommu_ioctl(struct file *file, unsigned int nr,
			       unsigned long arg)
{
	return uvfio_ioctl(ON_DOMAIN, file->private_data, nr,
			   (void __user *)arg);
}

static void uvfio_uiommu_show_fdinfo(struct seq_file *m, struct file *file)
{
	uvfio_domain_show(m, file->private_data);
}

static const struct file_operations uvfio_uiommu_fops = {
	.owner = THIS_MODULE,
	.open = uvfio_uiommu_open,
	.release = uvfio_uiommu_release,
	.show_fdinfo = uvfio_uiommu_show_fdinfo,
	.unlocked_ioctl = uvfio_uiommu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice uiommu_node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "uiommu",
	.mode = 0666,
	.fops = &uvfio_uiommu_fops,
};

/* A reference to the domain of an open /dev/uiommu. */
static struct uvfio_domain *domain_from_fd(int fd)
{
	struct uvfio_domain *domain = ERR_PTR(-EINVAL);
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op == &uvfio_uiommu_fops)
		domain = uvfio_domain_get(file->private_data);
	fput(file);
	return domain;
}

/* Devices */

static void device_free(struct device *dev)
{
	struct uvfio_dev *udev = container_of(dev, struct uvfio_dev, dev);

	pci_dev_put(udev->pdev);
	kfree(udev);
}

static const struct attribute_group *uvfio_dev_groups[] = {
	&uvfio_config_group,
	&uvfio_iommu_group,
	NULL,
};

static struct class uvfio_class = {
	.name = "uvfio",
	.dev_release = device_free,
};

/**
 * uvfio_dev_alloc - the object of a bound device, not visible yet
 * @pdev: a reference is taken
 *
 * Undone by put_device().
 */
struct uvfio_dev *uvfio_dev_alloc(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = kzalloc(sizeof(*udev), GFP_KERNEL);

	if (!udev)
		return ERR_PTR(-ENOMEM);

	udev->gone = true;
	udev->pdev = pci_dev_get(pdev);
	mutex_init(&udev->user_lock);
	mutex_init(&udev->fault_lock);
	mutex_init(&udev->peer_lock);
	INIT_LIST_HEAD(&udev->peer_maps);
	init_rwsem(&udev->mem_rwsem);
	spin_lock_init(&udev->cmd_lock);
	udev->intx_line_off = true;	/* it is others' until it is requested */
	INIT_LIST_HEAD(&udev->ioeventfds);
	xa_init_flags(&udev->vectors, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&udev->vectors_in_use);
	device_initialize(&udev->dev);
	udev->dev.class = &uvfio_class;
	udev->dev.parent = &pdev->dev;
	udev->dev.groups = uvfio_dev_groups;
	cdev_init(&udev->cdev, &uvfio_device_fops);
	udev->cdev.owner = THIS_MODULE;
	return udev;
}

static void region_sizes_init(struct uvfio_dev *udev)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(uvfio_regions); i++)
		if (uvfio_regions[i].size)
			udev->region_size[i] = uvfio_regions[i].size(udev, i);
}

/* Gives the device its number and its node: users may come from here on. */
int uvfio_dev_register(struct uvfio_dev *udev)
{
	int ret;

	region_sizes_init(udev);
	udev->id = ida_alloc_max(&uvfio_ida, MINORMASK, GFP_KERNEL);
	if (udev->id < 0)
		return udev->id;

	udev->dev.devt = MKDEV(MAJOR(uvfio_devt), udev->id);
	ret = dev_set_name(&udev->dev, "vfio%d", udev->id);
	if (!ret)
		ret = cdev_device_add(&udev->cdev, &udev->dev);
	if (ret)
		ida_free(&uvfio_ida, udev->id);
	return ret;
}

/* New opens fail; who has the device open keeps the object, not the device. */
void uvfio_dev_unregister(struct uvfio_dev *udev)
{
	cdev_device_del(&udev->cdev, &udev->dev);
	ida_free(&uvfio_ida, udev->id);
}

static int __init uvfio_init(void)
{
	int ret;

	ret = uvfio_iommu_init();
	if (ret)
		return ret;
	ret = alloc_chrdev_region(&uvfio_devt, 0, MINORMASK + 1, "uvfio");
	if (ret)
		goto err_iommu;
	ret = class_register(&uvfio_class);
	if (ret)
		goto err_chrdev;
	ret = misc_register(&uiommu_node);
	if (ret)
		goto err_class;
	ret = uvfio_pci_register_driver();
	if (ret)
		goto err_misc;
	return 0;

err_misc:
	misc_deregister(&uiommu_node);
err_class:
	class_unregister(&uvfio_class);
err_chrdev:
	unregister_chrdev_region(uvfio_devt, MINORMASK + 1);
err_iommu:
	uvfio_iommu_exit();
	return ret;
}
module_init(uvfio_init);

static void __exit uvfio_exit(void)
{
	uvfio_pci_unregister_driver();
	misc_deregister(&uiommu_node);
	class_unregister(&uvfio_class);
	unregister_chrdev_region(uvfio_devt, MINORMASK + 1);
	ida_destroy(&uvfio_ida);
	uvfio_iommu_exit();
}
module_exit(uvfio_exit);

MODULE_DESCRIPTION("PCI devices for unprivileged processes, on one fd each");
MODULE_AUTHOR("uvfio maintainers");
MODULE_LICENSE("GPL");
