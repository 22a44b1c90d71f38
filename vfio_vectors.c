// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupt vectors, each to an eventfd: those of MSI and MSI-X, and the INTx line,
 * which is one here, though what is special about it is in vfio_intx.c.
 *
 * One mode at a time is in use (udev->irq_index). A vector is requested when it
 * gets its first eventfd. The handler reads the vector's trigger, so an eventfd is
 * replaced by exchanging that pointer; the old one is dropped when the last handler
 * that may hold it is over, which disabling the vector waits for, and so does
 * synchronize_irq() of the line, and free_irq().
 *
 * What a user says of a vector stays with it: its mask until the mode is torn
 * down, its CPUs until the user goes. So does what was counted.
 *
 * With interrupts come writes to the MSI-X table, from other CPUs too. A device
 * that does not decode memory must not get any, so then it is not to interrupt: see
 * uvfio_msix_update().
 */
#include <linux/cpumask.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "uvfio.h"
#include "trace.h"

static const char * const mode_name[] = {
	[VFIO_PCI_INTX_IRQ_INDEX] = "intx",
	[VFIO_PCI_MSI_IRQ_INDEX] = "msi",
	[VFIO_PCI_MSIX_IRQ_INDEX] = "msix",
};

/* Vectors: an object for each that was ever used, until the user goes */

static unsigned long vector_key(u32 index, unsigned int nr)
{
	return index * UVFIO_MAX_VECTORS + nr;
}

static struct uvfio_vector *vector_find(struct uvfio_dev *udev, u32 index,
					unsigned int nr)
{
	return xa_load(&udev->vectors, vector_key(index, nr));
}

static struct uvfio_vector *vector_alloc(struct uvfio_dev *udev, u32 index,
					 unsigned int nr)
{
	struct uvfio_vector *vector;
	int ret;

	vector = kzalloc(sizeof(*vector) + cpumask_size(), GFP_KERNEL_ACCOUNT);
	if (!vector)
		return ERR_PTR(-ENOMEM);

	vector->udev = udev;
	vector->index = index;
	vector->nr = nr;
	INIT_LIST_HEAD(&vector->list);
	ret = xa_err(xa_store(&udev->vectors, vector_key(index, nr), vector,
			      GFP_KERNEL_ACCOUNT));
	if (ret) {
		kfree(vector);
		return ERR_PTR(ret);
	}
	return vector;
}

static struct uvfio_vector *vector_get(struct uvfio_dev *udev, u32 index,
				       unsigned int nr)
{
	return vector_find(udev, index, nr) ?: vector_alloc(udev, index, nr);
}

/* For use in the mode that is on; what it has then ends with that. */
static struct uvfio_vector *vector_use(struct uvfio_dev *udev, u32 index,
				       unsigned int nr)
{
	struct uvfio_vector *vector = vector_get(udev, index, nr);

	if (!IS_ERR(vector) && list_empty(&vector->list))
		list_add(&vector->list, &udev->vectors_in_use);
	return vector;
}

/* @get: vector_use(), or vector_get() for what outlasts the mode */
static int vectors_get(struct uvfio_dev *udev, u32 index, unsigned int start,
		       unsigned int count,
		       struct uvfio_vector *(*get)(struct uvfio_dev *udev,
						   u32 index, unsigned int nr))
{
	struct uvfio_vector *vector;
	unsigned int i;

	for (i = 0; i < count; i++) {
		vector = get(udev, index, start + i);
		if (IS_ERR(vector))
			return PTR_ERR(vector);
	}
	return 0;
}

/*
 * What every handler does with an interrupt that is the vector's: one without an
 * eventfd has no handler, or is off.
 */
void uvfio_vector_fire(struct uvfio_vector *vector)
{
	vector->count++;
	trace_uvfio_irq(vector);
	eventfd_signal(READ_ONCE(vector->trigger));
}

static noinline irqreturn_t msi_handler_traced(struct uvfio_vector *vector)
{
	uvfio_vector_fire(vector);
	return IRQ_HANDLED;
}

/* The same, with nothing kept for a tracepoint that is off. */
static irqreturn_t msi_handler(int irq, void *data)
{
	struct uvfio_vector *vector = data;

	if (trace_uvfio_irq_enabled())
		return msi_handler_traced(vector);
	vector->count++;
	eventfd_signal(READ_ONCE(vector->trigger));
	return IRQ_HANDLED;
}

/* The kernel's number for it, which is allocated where that can be done singly. */
static int vector_number(struct uvfio_vector *vector)
{
	struct uvfio_dev *udev = vector->udev;
	struct pci_dev *pdev = udev->pdev;
	struct msi_map map;
	int irq;

	if (vector->index == VFIO_PCI_INTX_IRQ_INDEX)
		return pdev->irq;

	irq = pci_irq_vector(pdev, vector->nr);
	if (irq >= 0 || !udev->msix_dynamic)
		return irq;

	map = pci_msix_alloc_irq_at(pdev, vector->nr, NULL);
	return map.index < 0 ? map.index : map.virq;
}

/*
 * What it sends meanwhile stays pending, in the device or, where that cannot mask
 * or has sent it already, in the kernel.
 */
static void vector_set_off(struct uvfio_vector *vector, bool off)
{
	if (vector->off == off)
		return;
	vector->off = off;
	if (off)
		disable_irq(vector->irq);
	else
		enable_irq(vector->irq);
}

/* One that is masked or still has to come to its CPUs does not begin by itself. */
static int msi_request(struct uvfio_vector *vector)
{
	int ret;

	vector->off = vector->masked || vector->steered;
	/*
	 * To be masked in the device at once and not when it interrupts the next
	 * time: then its memory may not be decoded any more. Nor does it have to be
	 * watched for being nobody's, as lines are: it always is the user's.
	 */
	irq_set_status_flags(vector->irq,
			     IRQ_DISABLE_UNLAZY | IRQ_IS_POLLED);
	ret = request_irq(vector->irq, msi_handler,
			  vector->off ? IRQF_NO_AUTOEN : 0, vector->name,
			  vector);
	if (ret)
		vector->off = false;
	return ret;
}

/*
 * Not before it is requested: then the kernel would put it elsewhere if its CPUs
 * have no room, and log that. Without any of them online it chooses.
 */
static int msi_begin(struct uvfio_vector *vector)
{
	if (vector->steered &&
	    irq_set_affinity(vector->irq, to_cpumask(vector->cpus)) == -ENOSPC)
		return -ENOSPC;
	vector_set_off(vector, vector->masked);
	return 0;
}

static int vector_request(struct uvfio_vector *vector,
			  struct eventfd_ctx *trigger)
{
	int ret;

	vector->irq = vector_number(vector);
	if (vector->irq < 0)
		return vector->irq;

	snprintf(vector->name, sizeof(vector->name), "uvfio-%s[%u](%s)",
		 mode_name[vector->index], vector->nr,
		 pci_name(vector->udev->pdev));
	WRITE_ONCE(vector->trigger, trigger);
	ret = vector->index == VFIO_PCI_INTX_IRQ_INDEX ?
		uvfio_intx_request(vector) : msi_request(vector);
	if (ret) {
		WRITE_ONCE(vector->trigger, NULL);
		return ret;
	}
	vector->requested = true;
	if (vector->index == VFIO_PCI_INTX_IRQ_INDEX)
		return 0;

	ret = msi_begin(vector);
	/* It stays requested, as one without an eventfd. */
	if (ret)
		WRITE_ONCE(vector->trigger, NULL);
	vector->bypass_due = !ret;
	return ret;
}

static void vector_release(struct uvfio_vector *vector)
{
	if (vector->index == VFIO_PCI_INTX_IRQ_INDEX)
		uvfio_intx_free(vector);
	else
		free_irq(vector->irq, vector);
	vector->requested = false;
	vector->off = false;
}

static void vector_mask(struct uvfio_vector *vector, bool masked)
{
	vector->masked = masked;
	if (vector->requested)
		vector_set_off(vector, masked || !vector->trigger);
}

/*
 * The device may have reset itself by means of its own and so have forgotten its
 * MSI-X table, of which the user cannot know the contents.
 */
static void msix_rewrite(struct uvfio_vector *vector)
{
	struct msi_msg msg;

	get_cached_msi_msg(vector->irq, &msg);
	pci_write_msi_msg(vector->irq, &msg);
}

/*
 * Off while it is done, so that none is lost in between, and off without an
 * eventfd. To free it instead would lose what is on its way to a CPU, and have a
 * device without masks send its message to address 0: a DMA into the user's memory.
 */
static void msi_exchange(struct uvfio_vector *vector,
			 struct eventfd_ctx *trigger)
{
	vector_set_off(vector, true);
	WRITE_ONCE(vector->trigger, trigger);
	if (!trigger)
		return;

	if (vector->index == VFIO_PCI_MSIX_IRQ_INDEX)
		msix_rewrite(vector);
	vector_set_off(vector, vector->masked);
	vector->bypass_due = true;
}

/* The line is let go without an eventfd: it may be others', too. */
static void intx_exchange(struct uvfio_vector *vector,
			  struct eventfd_ctx *trigger)
{
	if (!trigger)
		vector_release(vector);
	WRITE_ONCE(vector->trigger, trigger);
	if (trigger)
		synchronize_irq(vector->irq);
}

/* A vector that is requested gets another eventfd, or none: the old one returns. */
static struct eventfd_ctx *vector_exchange(struct uvfio_vector *vector,
					   struct eventfd_ctx *trigger)
{
	struct eventfd_ctx *old = vector->trigger;

	if (vector->index == VFIO_PCI_INTX_IRQ_INDEX)
		intx_exchange(vector, trigger);
	else
		msi_exchange(vector, trigger);
	return old;
}

/* Bypass: KVM may have hardware deliver a vector to its guest. */

/*
 * KVM looks for a producer with the eventfd that it injects from. Of several vectors
 * with one eventfd the first is it; the others are handled as ever.
 */
static void bypass_start(struct uvfio_vector *vector)
{
	if (IS_ENABLED(CONFIG_IRQ_BYPASS_MANAGER) && vector->trigger)
		vector->bypass = !irq_bypass_register_producer(&vector->producer,
							       vector->trigger,
							       vector->irq);
	vector->bypass_due = false;
}

static void bypass_stop(struct uvfio_vector *vector)
{
	if (IS_ENABLED(CONFIG_IRQ_BYPASS_MANAGER) && vector->bypass)
		irq_bypass_unregister_producer(&vector->producer);
	/* To come back, if what is going to be done does not end it. */
	vector->bypass_due = vector->bypass;
	vector->bypass = false;
}

/**
 * uvfio_vectors_bypass_stop - before eventfds of vectors change
 * @udev: device_lock, mem_rwsem not held
 * @index: the mode
 * @start: the first vector
 * @count: how many
 */
void uvfio_vectors_bypass_stop(struct uvfio_dev *udev, u32 index,
			       unsigned int start, unsigned int count)
{
	struct uvfio_vector *vector;
	unsigned int i;

	device_lock_assert(&udev->pdev->dev);

	for (i = 0; i < count; i++) {
		vector = vector_find(udev, index, start + i);
		if (vector)
			bypass_stop(vector);
	}
}

/**
 * uvfio_vectors_bypass_stop_all - before all vectors go
 * @udev: device_lock, mem_rwsem not held
 */
void uvfio_vectors_bypass_stop_all(struct uvfio_dev *udev)
{
	struct uvfio_vector *vector;

	device_lock_assert(&udev->pdev->dev);

	list_for_each_entry(vector, &udev->vectors_in_use, list)
		bypass_stop(vector);
}

/**
 * uvfio_vectors_bypass_start - after they have changed
 * @udev: device_lock, mem_rwsem not held
 */
void uvfio_vectors_bypass_start(struct uvfio_dev *udev)
{
	struct uvfio_vector *vector;

	device_lock_assert(&udev->pdev->dev);

	list_for_each_entry(vector, &udev->vectors_in_use, list)
		if (vector->bypass_due)
			bypass_start(vector);
}

/* Modes */

/* The device stops sending before its vectors go: see msi_exchange(). */
static void msi_stop(struct pci_dev *pdev)
{
	u16 control;

	pci_read_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, &control);
	pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
			      control & ~PCI_MSI_FLAGS_ENABLE);
}

/* Whoever may be about to write the table has done so. */
static void msix_settle(struct uvfio_dev *udev)
{
	struct uvfio_vector *vector;

	list_for_each_entry(vector, &udev->vectors_in_use, list)
		if (vector->requested)
			synchronize_irq(vector->irq);
}

/* What the kernel wrote there meanwhile went nowhere: the CPU may be another one. */
static void msix_rewrite_all(struct uvfio_dev *udev)
{
	struct uvfio_vector *vector;

	list_for_each_entry(vector, &udev->vectors_in_use, list)
		if (vector->requested)
			msix_rewrite(vector);
}

/**
 * uvfio_msix_update - no interrupts from a device that decodes no memory
 * @udev: device_lock, mem_rwsem for write
 *
 * Interrupts that come when the CPUs of a vector change have the kernel mask it in
 * the table for a moment. What the device has to say stays pending meanwhile. To be
 * called after decoding has come, and before it goes.
 */
void uvfio_msix_update(struct uvfio_dev *udev)
{
	bool decodes = udev->decodes & PCI_COMMAND_MEMORY;
	struct pci_dev *pdev = udev->pdev;
	u16 control;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (udev->irq_index != VFIO_PCI_MSIX_IRQ_INDEX)
		return;

	pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, &control);
	if (decodes != !!(control & PCI_MSIX_FLAGS_MASKALL))
		return;

	if (decodes)
		msix_rewrite_all(udev);
	pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
			      control ^ PCI_MSIX_FLAGS_MASKALL);
	if (!decodes)
		msix_settle(udev);
}

/*
 * The PCI core clears the INTx disable bit when MSI goes off, and its user could
 * have a device assert an interrupt just then that nobody handles, time and again,
 * until the kernel gives up the line that others share. This flag tells the core
 * to leave the bit to us.
 */
static int vectors_alloc(struct pci_dev *pdev, u32 index, unsigned int count)
{
	unsigned int flag = index == VFIO_PCI_MSI_IRQ_INDEX ? PCI_IRQ_MSI :
							      PCI_IRQ_MSIX;
	pci_dev_flags_t flags = pdev->dev_flags;
	int ret;

	pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	ret = pci_alloc_irq_vectors(pdev, count, count, flag);
	pdev->dev_flags = flags;
	return ret < 0 ? ret : 0;
}

static void vectors_free(struct pci_dev *pdev)
{
	pci_dev_flags_t flags = pdev->dev_flags;

	pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	pci_free_irq_vectors(pdev);
	pdev->dev_flags = flags;
}

/* Where the INTx disable bit is one of MSI, too, it depends on the mode. */
static void msi_toggled(struct uvfio_dev *udev)
{
	if (udev->pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG)
		uvfio_intx_update(udev);
}

/* Where one can be added at any time: those from 0 that are used, 0 in any case. */
static unsigned int vectors_at_first(const struct vfio_irq_set *set,
				     struct eventfd_ctx **triggers)
{
	unsigned int i;

	if (set->start)
		return 1;
	for (i = 1; i < set->count && triggers[i]; i++)
		;
	return i;
}

/* No partial success: fewer vectors than asked for is -ENOSPC. */
static int mode_enable(struct uvfio_dev *udev, const struct vfio_irq_set *set,
		       struct eventfd_ctx **triggers)
{
	bool dynamic = set->index == VFIO_PCI_MSIX_IRQ_INDEX &&
		       udev->msix_dynamic;
	unsigned int count = set->start + set->count;
	int ret = 0;

	if (set->index != VFIO_PCI_INTX_IRQ_INDEX)
		ret = vectors_alloc(udev->pdev, set->index, dynamic ?
				    vectors_at_first(set, triggers) : count);
	if (ret)
		return ret;

	udev->num_vectors = dynamic ? udev->num_msix : count;
	udev->irq_index = set->index;
	msi_toggled(udev);
	return 0;
}

/**
 * uvfio_vectors_disable - tear the mode in use down, if any
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 */
void uvfio_vectors_disable(struct uvfio_dev *udev)
{
	struct uvfio_vector *vector, *next;
	int index = udev->irq_index;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (index < 0)
		return;

	/* While MSI still is what the device sends. */
	udev->num_vectors = 0;
	udev->irq_index = -1;
	msi_toggled(udev);
	if (index == VFIO_PCI_MSI_IRQ_INDEX)
		msi_stop(udev->pdev);
	list_for_each_entry_safe(vector, next, &udev->vectors_in_use, list) {
		if (vector->requested)
			vector_release(vector);
		if (vector->trigger)
			eventfd_ctx_put(vector->trigger);
		vector->trigger = NULL;
		vector->masked = false;
		list_del_init(&vector->list);
	}
	if (index == VFIO_PCI_INTX_IRQ_INDEX)
		uvfio_intx_stop(udev);
	else
		vectors_free(udev->pdev);
}

/* Whether the mode is in use and has these vectors. */
bool uvfio_vectors_have(struct uvfio_dev *udev, const struct vfio_irq_set *set)
{
	return udev->irq_index == set->index &&
	       set->start + set->count <= udev->num_vectors;
}

/*
 * Requests those vectors that are to have an eventfd and are not requested yet. All
 * of them or none. A vector is requested with its eventfd in place, or an interrupt
 * that waits for it would be lost.
 */
static int request_fresh(struct uvfio_dev *udev, const struct vfio_irq_set *set,
			 struct eventfd_ctx **triggers)
{
	struct uvfio_vector *vector;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < set->count; i++) {
		if (!triggers[i])
			continue;
		vector = vector_use(udev, set->index, set->start + i);
		if (IS_ERR(vector)) {
			ret = PTR_ERR(vector);
			break;
		}
		vector->fresh = !vector->requested;
		if (!vector->fresh)
			continue;
		ret = vector_request(vector, triggers[i]);
		if (ret)
			break;
	}
	if (!ret)
		return 0;

	while (i--) {
		vector = vector_find(udev, set->index, set->start + i);
		if (triggers[i] && vector->fresh)
			vector_exchange(vector, NULL);
	}
	return ret;
}

/* Gives vectors the eventfds in @triggers and puts there what is to be dropped. */
static int exchange_triggers(struct uvfio_dev *udev,
			     const struct vfio_irq_set *set,
			     struct eventfd_ctx **triggers)
{
	struct uvfio_vector *vector;
	unsigned int i;
	int ret;

	ret = request_fresh(udev, set, triggers);
	if (ret)
		return ret;

	for (i = 0; i < set->count; i++) {
		vector = vector_find(udev, set->index, set->start + i);
		if (triggers[i] && vector->fresh)
			triggers[i] = NULL;
		else if (vector && vector->requested)
			triggers[i] = vector_exchange(vector, triggers[i]);
	}
	return 0;
}

/**
 * uvfio_vectors_connect - give vectors their eventfds
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 * @set: which vectors; the mode is turned on if none is
 * @triggers: an eventfd for each, or NULL for none; on return those that are not
 *	connected, for the caller to put
 *
 * All of them or none. Return: -EINVAL, another mode is in use, or it has not as many
 * vectors; -ENOSPC, as many cannot be had; -EBUSY, the line cannot; -ENOMEM.
 */
int uvfio_vectors_connect(struct uvfio_dev *udev,
			  const struct vfio_irq_set *set,
			  struct eventfd_ctx **triggers)
{
	bool enable = udev->irq_index < 0;
	int ret = 0;

	if (enable)
		ret = mode_enable(udev, set, triggers);
	else if (!uvfio_vectors_have(udev, set))
		ret = -EINVAL;
	if (ret)
		return ret;

	ret = exchange_triggers(udev, set, triggers);
	if (ret && enable)
		uvfio_vectors_disable(udev);
	return ret;
}

/* Masks */

/**
 * uvfio_vectors_mask - mask or unmask vectors of MSI or MSI-X, which is in use
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 * @set: which
 * @data: which of these are meant
 * @masked: true: no handler runs any more when this returns
 */
int uvfio_vectors_mask(struct uvfio_dev *udev, const struct vfio_irq_set *set,
		       const void *data, bool masked)
{
	unsigned int i;
	int ret;

	ret = vectors_get(udev, set->index, set->start, set->count, vector_use);
	if (ret)
		return ret;

	for (i = 0; i < set->count; i++)
		if (uvfio_irq_is_meant(set, data, i))
			vector_mask(vector_find(udev, set->index,
						set->start + i), masked);
	return 0;
}

/* Loopback */

/**
 * uvfio_vectors_trigger - signal an eventfd as if the device had interrupted
 * @udev: mem_rwsem
 * @cmd: of which vectors, and which of these are meant
 *
 * -ERESTART: there are more. To signal takes as long as there are waiters, so it is
 * one at a time, and whoever wants the lock has it in between.
 */
int uvfio_vectors_trigger(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct vfio_irq_set *set = &cmd->irq_set;
	struct uvfio_vector *vector;

	if (!uvfio_vectors_have(udev, set))
		return -EINVAL;
	/* By the user himself, in the command register. */
	if (set->index == VFIO_PCI_INTX_IRQ_INDEX && udev->intx_disabled)
		return 0;

	if (uvfio_irq_is_meant(set, cmd->data, cmd->done)) {
		vector = vector_find(udev, set->index, set->start + cmd->done);
		if (vector && vector->trigger)
			eventfd_signal(vector->trigger);
	}
	return ++cmd->done < set->count ? -ERESTART : 0;
}

/* CPUs */

/* All of them or none; @before has room for where each was. */
static int vectors_move(struct uvfio_dev *udev,
			const struct uvfio_irq_affinity *arg,
			const struct cpumask *cpus, void *before)
{
	struct uvfio_vector *vector;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < arg->count && !ret; i++) {
		vector = vector_find(udev, arg->index, arg->start + i);
		if (!vector->requested)
			continue;
		cpumask_copy(before + i * cpumask_size(),
			     irq_get_affinity_mask(vector->irq));
		ret = irq_set_affinity(vector->irq, cpus);
	}
	if (!ret)
		return 0;

	while (i--) {
		vector = vector_find(udev, arg->index, arg->start + i);
		if (vector->requested)
			irq_set_affinity(vector->irq,
					 before + i * cpumask_size());
	}
	return ret;
}

/**
 * uvfio_vectors_steer - steer vectors to CPUs
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 * @arg: which vectors, of those that the device has
 * @cpus: where to, one of them online
 *
 * Vectors that are not requested yet come there when they are. All or none.
 */
int uvfio_vectors_steer(struct uvfio_dev *udev,
			const struct uvfio_irq_affinity *arg,
			const struct cpumask *cpus)
{
	struct uvfio_vector *vector;
	unsigned int i;
	void *before;
	int ret;

	before = kvcalloc(arg->count, cpumask_size(), GFP_KERNEL_ACCOUNT);
	if (!before)
		return -ENOMEM;

	/* To remember the CPUs in, also of those that are not requested. */
	ret = vectors_get(udev, arg->index, arg->start, arg->count, vector_get);
	if (!ret)
		ret = vectors_move(udev, arg, cpus, before);
	kvfree(before);
	if (ret)
		return ret;

	for (i = 0; i < arg->count; i++) {
		vector = vector_find(udev, arg->index, arg->start + i);
		cpumask_copy(to_cpumask(vector->cpus), cpus);
		vector->steered = true;
	}
	return 0;
}

/**
 * uvfio_vectors_release - the user has to go, or is gone
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 *
 * No handler runs and no eventfd is held when it returns.
 */
void uvfio_vectors_release(struct uvfio_dev *udev)
{
	struct uvfio_vector *vector;
	unsigned long key;

	uvfio_vectors_disable(udev);
	xa_for_each(&udev->vectors, key, vector)
		kfree(vector);
	xa_destroy(&udev->vectors);
}

/* fdinfo */

static void vector_show(struct seq_file *m, const struct uvfio_vector *vector)
{
	struct irq_data *data = irq_get_irq_data(vector->irq);

	seq_printf(m, "%s[%u]:\tirq=%d count=%lu masked=%d",
		   mode_name[vector->index], vector->nr, vector->irq,
		   READ_ONCE(vector->count), vector->index ? vector->masked :
		   READ_ONCE(vector->udev->intx_masked));
	if (data)
		seq_printf(m, " cpus=%*pbl effective=%*pbl",
			   cpumask_pr_args(irq_data_get_affinity_mask(data)),
			   cpumask_pr_args(irq_data_get_effective_affinity_mask(data)));
	seq_putc(m, '\n');
}

/**
 * uvfio_vectors_show - those that are armed, a line each
 * @m: the file
 * @udev: mem_rwsem
 */
void uvfio_vectors_show(struct seq_file *m, struct uvfio_dev *udev)
{
	struct uvfio_vector *vector;
	unsigned long key;

	lockdep_assert_held(&udev->mem_rwsem);

	xa_for_each(&udev->vectors, key, vector)
		if (vector->trigger)
			vector_show(m, vector);
}
