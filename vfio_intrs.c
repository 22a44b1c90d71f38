// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts: what a user says of them by VFIO_DEVICE_SET_IRQS and its like is
 * checked here and carried out by vfio_vectors.c, vfio_intx.c and vfio_events.c.
 */
#include <linux/cpumask.h>
#include <linux/eventfd.h>
#include <linux/log2.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "uvfio.h"

/* After pci_enable_device(), which finds the INTx line. */
void uvfio_irqs_init(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	u8 pin;

	pci_read_config_byte(pdev, PCI_INTERRUPT_PIN, &pin);
	/* A virtual function has no line, whatever the two say. */
	udev->has_intx = !pdev->is_virtfn && pin >= 1 && pin <= 4 &&
			 pdev->irq && pdev->irq != IRQ_NOTCONNECTED;
	udev->intx_maskable = pci_intx_mask_supported(pdev);
	udev->num_msi = max(pci_msi_vec_count(pdev), 0);
	udev->num_msix = udev->msix_bar < 0 ? 0 : pci_msix_vec_count(pdev);
	udev->msix_dynamic = udev->num_msix && pci_msix_can_alloc_dyn(pdev);
	udev->irq_index = -1;
	uvfio_events_init(udev);
}

/* How many the device has of an index; 0: none. */
static unsigned int count_of(struct uvfio_dev *udev, u32 index)
{
	switch (index) {
	case VFIO_PCI_INTX_IRQ_INDEX:
		return udev->has_intx;
	case VFIO_PCI_MSI_IRQ_INDEX:
		return udev->num_msi;
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return udev->num_msix;
	default:
		return index < UVFIO_NUM_IRQS ?
			uvfio_event_count(udev, index) : 0;
	}
}

static bool has_all(struct uvfio_dev *udev, u32 index, unsigned int start,
		    unsigned int count)
{
	unsigned int there = count_of(udev, index);

	return start < there && count <= there - start;
}

int uvfio_irqs_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_irq_info *info = &cmd->irq_info;

	info->count = count_of(udev, info->index);
	/* Modes are told of also where they are not there. */
	if (info->index > VFIO_PCI_MSIX_IRQ_INDEX && !info->count)
		return -EINVAL;

	info->flags = VFIO_IRQ_INFO_EVENTFD;
	if (info->index == VFIO_PCI_INTX_IRQ_INDEX)
		info->flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else if (info->index != VFIO_PCI_MSIX_IRQ_INDEX || !udev->msix_dynamic)
		info->flags |= VFIO_IRQ_INFO_NORESIZE;
	return 0;
}

/* VFIO_DEVICE_SET_IRQS */

/* Whether the @i-th of a call is meant: with DATA_BOOL, it can say so. */
bool uvfio_irq_is_meant(const struct vfio_irq_set *set, const void *data,
			unsigned int i)
{
	return set->flags & VFIO_IRQ_SET_DATA_NONE || ((const u8 *)data)[i];
}

static void put_triggers(struct eventfd_ctx **triggers, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (triggers[i])
			eventfd_ctx_put(triggers[i]);
	kfree(triggers);
}

/* The eventfds of @count descriptors, NULL for -1; all or none. */
static struct eventfd_ctx **get_triggers(const s32 *fds, unsigned int count)
{
	struct eventfd_ctx **triggers, *trigger;
	unsigned int i;

	triggers = kcalloc(count, sizeof(*triggers), GFP_KERNEL_ACCOUNT);
	if (!triggers)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < count; i++) {
		if (fds[i] == -1)
			continue;
		trigger = eventfd_ctx_fdget(fds[i]);
		if (IS_ERR(trigger)) {
			put_triggers(triggers, i);
			return ERR_CAST(trigger);
		}
		triggers[i] = trigger;
	}
	return triggers;
}

static int set_eventfds(struct uvfio_dev *udev, const struct vfio_irq_set *set,
			const s32 *fds)
{
	struct eventfd_ctx **triggers;
	int ret = 0;

	if (!set->count)
		return -EINVAL;

	triggers = get_triggers(fds, set->count);
	if (IS_ERR(triggers))
		return PTR_ERR(triggers);

	if (set->index <= VFIO_PCI_MSIX_IRQ_INDEX) {
		ret = uvfio_vectors_connect(udev, set, triggers);
	} else {
		uvfio_event_trigger(udev, set->index, triggers[0]);
		triggers[0] = NULL;
	}
	put_triggers(triggers, set->count);
	return ret;
}

/* Count 0: nothing is armed any more. */
static int set_none(struct uvfio_dev *udev, const struct vfio_irq_set *set)
{
	if (set->start)
		return -EINVAL;
	if (set->index > VFIO_PCI_MSIX_IRQ_INDEX)
		uvfio_event_trigger(udev, set->index, NULL);
	else if (udev->irq_index == set->index)
		uvfio_vectors_disable(udev);
	return 0;
}

static int set_masks(struct uvfio_dev *udev, const struct vfio_irq_set *set,
		     const void *data, bool masked)
{
	bool intx = set->index == VFIO_PCI_INTX_IRQ_INDEX;

	if (set->index > VFIO_PCI_MSIX_IRQ_INDEX || !set->count ||
	    !uvfio_vectors_have(udev, set))
		return -EINVAL;

	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return intx ? uvfio_intx_listen(udev, *(const s32 *)data,
						masked) : -EINVAL;
	if (!intx)
		return uvfio_vectors_mask(udev, set, data, masked);
	if (uvfio_irq_is_meant(set, data, 0))
		uvfio_intx_mask(udev, masked);
	return 0;
}

/* Loopback: the user's eventfds are signalled as if the device had interrupted. */

static int trigger(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct vfio_irq_set *set = &cmd->irq_set;

	if (set->index <= VFIO_PCI_MSIX_IRQ_INDEX)
		return uvfio_vectors_trigger(udev, cmd);
	if (uvfio_irq_is_meant(set, cmd->data, 0) &&
	    !uvfio_event_loopback(udev, set->index) &&
	    set->flags & VFIO_IRQ_SET_DATA_NONE)
		return -EINVAL;
	return 0;
}

static int check_set(struct uvfio_dev *udev, const struct vfio_irq_set *set)
{
	u32 data = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	u32 action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;

	if (set->flags != (data | action) || !is_power_of_2(data) ||
	    !is_power_of_2(action) ||
	    !has_all(udev, set->index, set->start, set->count))
		return -EINVAL;
	return 0;
}

/**
 * uvfio_irqs_set_shared - what of VFIO_DEVICE_SET_IRQS takes no control
 * @udev: mem_rwsem for read, past the gate
 * @cmd: the arguments
 *
 * -EAGAIN: it is one for uvfio_irqs_set(). -ERESTART: call it again, it goes on.
 */
int uvfio_irqs_set_shared(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct vfio_irq_set *set = &cmd->irq_set;
	int ret;

	lockdep_assert_held(&udev->mem_rwsem);

	ret = check_set(udev, set);
	if (ret)
		return ret;
	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD || !set->count)
		return -EAGAIN;
	if (set->flags & VFIO_IRQ_SET_ACTION_TRIGGER)
		return trigger(udev, cmd);
	/* The line's mask is not in the device's memory, as those of vectors. */
	if (set->index == VFIO_PCI_INTX_IRQ_INDEX)
		return set_masks(udev, set, cmd->data,
				 set->flags & VFIO_IRQ_SET_ACTION_MASK);
	return -EAGAIN;
}

/**
 * uvfio_irqs_set - VFIO_DEVICE_SET_IRQS, but for uvfio_irqs_set_shared()
 * @udev: device_lock, mem_rwsem for write; for vectors, memory decoding is on
 * @cmd: the arguments, which that one has checked
 *
 * A call that fails leaves every vector as it was.
 */
int uvfio_irqs_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct vfio_irq_set *set = &cmd->irq_set;
	const void *data = cmd->data;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (!(set->flags & VFIO_IRQ_SET_ACTION_TRIGGER))
		return set_masks(udev, set, data,
				 set->flags & VFIO_IRQ_SET_ACTION_MASK);
	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return set_eventfds(udev, set, data);
	return set->flags & VFIO_IRQ_SET_DATA_NONE ? set_none(udev, set) :
						     -EINVAL;
}

/* CPUs */

/* Those that follow the arguments; one that is not there is nobody's to use. */
static int cpus_from_user(const struct uvfio_irq_affinity *arg,
			  const u64 *words, struct cpumask *cpus)
{
	unsigned int i, cpu;
	u64 word;

	for (i = 0; i < arg->size / sizeof(*words); i++) {
		for (word = words[i]; word; word &= word - 1) {
			cpu = i * BITS_PER_TYPE(word) + __ffs64(word);
			if (cpu >= nr_cpu_ids)
				return -EPERM;
			cpumask_set_cpu(cpu, cpus);
		}
	}
	if (!cpumask_subset(cpus, &current->cpus_mask))
		return -EPERM;
	return cpumask_intersects(cpus, cpu_online_mask) ? 0 : -EINVAL;
}

/**
 * uvfio_irqs_steer_shared - check the arguments of UVFIO_IRQ_SET_AFFINITY
 * @udev: mem_rwsem for read, past the gate
 * @cmd: the arguments
 *
 * -EAGAIN: they are some for uvfio_irqs_steer().
 */
int uvfio_irqs_steer_shared(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct uvfio_irq_affinity *arg = &cmd->irq_affinity;

	/* INTx is a line, which others may have to share. */
	if ((arg->index != VFIO_PCI_MSI_IRQ_INDEX &&
	     arg->index != VFIO_PCI_MSIX_IRQ_INDEX) || arg->flags ||
	    !arg->count || !has_all(udev, arg->index, arg->start, arg->count))
		return -EINVAL;
	return -EAGAIN;
}

/**
 * uvfio_irqs_steer - UVFIO_IRQ_SET_AFFINITY
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 * @cmd: the arguments, which uvfio_irqs_steer_shared() has checked
 *
 * Vectors that are not requested yet come to their CPUs when they are.
 */
int uvfio_irqs_steer(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct uvfio_irq_affinity *arg = &cmd->irq_affinity;
	cpumask_var_t cpus;
	int ret;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (!zalloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;

	ret = cpus_from_user(arg, cmd->data, cpus);
	if (!ret)
		ret = uvfio_vectors_steer(udev, arg, cpus);
	free_cpumask_var(cpus);
	return ret;
}

/**
 * uvfio_irqs_show - what is armed, a line each in fdinfo
 * @m: the file
 * @udev: mem_rwsem
 */
void uvfio_irqs_show(struct seq_file *m, struct uvfio_dev *udev)
{
	uvfio_vectors_show(m, udev);
	uvfio_events_show(m, udev);
}

/**
 * uvfio_irqs_release - the user has to go, or is gone
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 *
 * No handler runs and no eventfd is held when it returns.
 */
void uvfio_irqs_release(struct uvfio_dev *udev)
{
	uvfio_vectors_release(udev);
	uvfio_events_release(udev);
}
