// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO_DEVICE_IOEVENTFD: a signal on an eventfd writes a register. What it is made
 * for is KVM, which turns a guest's write to a doorbell into such a signal.
 *
 * A write is one of uvfio_bar_write(), under the same lock and past the same gate
 * as one by system call; where that one would be refused, this one is dropped.
 */
#include <linux/list.h>
#include <linux/nospec.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

/* As many as vfio-pci allows. */
#define MAX_IOEVENTFDS	1000

struct ioeventfd {
	struct uvfio_listener listener;
	struct list_head list;
	struct uvfio_dev *udev;
	struct vfio_device_ioeventfd arg;	/* what tells it from others */
	unsigned int bar;
	__le64 data;
};

/* The size flags are the sizes. */
static size_t write_len(const struct vfio_device_ioeventfd *arg)
{
	return arg->flags & VFIO_DEVICE_IOEVENTFD_SIZE_MASK;
}

static u64 write_off(const struct vfio_device_ioeventfd *arg)
{
	return arg->offset & (UVFIO_REGION_OFFSET(1) - 1);
}

static bool ioeventfd_signalled(struct uvfio_listener *listener, bool may_sleep)
{
	struct ioeventfd *entry = container_of(listener, struct ioeventfd,
					       listener);
	struct uvfio_dev *udev = entry->udev;

	/* Ports are slow, many can share an eventfd, and interrupts are off. */
	if (!may_sleep && udev->bars[entry->bar].port)
		return false;

	if (may_sleep)
		down_read(&udev->mem_rwsem);
	else if (!down_read_trylock(&udev->mem_rwsem))
		return false;
	if (!uvfio_gate(udev))
		uvfio_bar_write(udev, entry->bar, write_off(&entry->arg),
				&entry->data, write_len(&entry->arg));
	up_read(&udev->mem_rwsem);
	return true;
}

static struct ioeventfd *ioeventfd_find(struct uvfio_dev *udev,
					const struct vfio_device_ioeventfd *arg)
{
	struct ioeventfd *entry;

	list_for_each_entry(entry, &udev->ioeventfds, list) {
		if (entry->arg.offset == arg->offset &&
		    entry->arg.data == arg->data &&
		    entry->arg.flags == arg->flags)
			return entry;
	}
	return NULL;
}

static int ioeventfd_add(struct uvfio_dev *udev, unsigned int bar,
			 const struct vfio_device_ioeventfd *arg)
{
	struct ioeventfd *entry;
	int ret;

	if (udev->num_ioeventfds == MAX_IOEVENTFDS)
		return -ENOSPC;

	entry = kzalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	if (!entry)
		return -ENOMEM;

	entry->udev = udev;
	entry->bar = bar;
	entry->arg = *arg;
	entry->data = cpu_to_le64(arg->data);
	INIT_WORK(&entry->listener.work, uvfio_listener_work);
	ret = uvfio_listener_start(&entry->listener, arg->fd,
				   ioeventfd_signalled);
	if (ret) {
		kfree(entry);
		return ret;
	}

	list_add(&entry->list, &udev->ioeventfds);
	udev->num_ioeventfds++;
	return 0;
}

static void ioeventfd_remove(struct ioeventfd *entry)
{
	uvfio_listener_stop(&entry->listener);
	entry->udev->num_ioeventfds--;
	list_del(&entry->list);
	kfree(entry);
}

/**
 * uvfio_ioeventfd_set - VFIO_DEVICE_IOEVENTFD
 * @udev: device_lock, past the gate
 * @cmd: the arguments
 */
int uvfio_ioeventfd_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct vfio_device_ioeventfd *arg = &cmd->ioeventfd;
	u64 bar = arg->offset >> UVFIO_REGION_SHIFT;
	struct ioeventfd *entry;
	int ret;

	device_lock_assert(&udev->pdev->dev);

	if (arg->flags & ~VFIO_DEVICE_IOEVENTFD_SIZE_MASK ||
	    !is_power_of_2(arg->flags) || bar > VFIO_PCI_BAR5_REGION_INDEX ||
	    arg->fd < -1)
		return -EINVAL;

	bar = array_index_nospec(bar, PCI_STD_NUM_BARS);
	ret = uvfio_bar_write_prepare(udev, bar, write_off(arg), write_len(arg));
	if (ret)
		return ret;

	entry = ioeventfd_find(udev, arg);
	if (arg->fd >= 0)
		return entry ? -EEXIST : ioeventfd_add(udev, bar, arg);
	if (!entry)
		return -ENODEV;
	ioeventfd_remove(entry);
	return 0;
}

/**
 * uvfio_ioeventfds_remove - all of a device, when its user has to go
 * @udev: device_lock, nobody past the gate
 */
void uvfio_ioeventfds_remove(struct uvfio_dev *udev)
{
	struct ioeventfd *entry, *next;

	device_lock_assert(&udev->pdev->dev);

	list_for_each_entry_safe(entry, next, &udev->ioeventfds, list)
		ioeventfd_remove(entry);
}
