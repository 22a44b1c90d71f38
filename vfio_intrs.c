// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts: the INTx line, MSI and MSI-X vectors, each to an eventfd.
 *
 * One mode at a time is in use (udev->irq_index). A vector is requested when it
 * gets its first eventfd. The handler reads the vector's trigger, so an eventfd is
 * replaced by exchanging that pointer; the old one is dropped when
 * synchronize_irq() has seen the last handler that may hold it. free_irq() does
 * the same for a vector that goes away.
 *
 * INTx is a level: it stays asserted until the device is served, which a process
 * cannot do in the handler. So each firing masks it, and the user unmasks it. The
 * hardware's interrupt disable bit is set whenever the line has no handler here:
 * an interrupt that nobody takes would make the kernel disable the line for every
 * device on it.
 */
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

static const char * const mode_name[] = {
	[VFIO_PCI_INTX_IRQ_INDEX] = "intx",
	[VFIO_PCI_MSI_IRQ_INDEX] = "msi",
	[VFIO_PCI_MSIX_IRQ_INDEX] = "msix",
};

/* How many vectors the device has in a mode; 0: not that mode. */
static unsigned int max_vectors(struct uvfio_dev *udev, u32 index)
{
	switch (index) {
	case VFIO_PCI_INTX_IRQ_INDEX:
		return udev->has_intx;
	case VFIO_PCI_MSI_IRQ_INDEX:
		return udev->num_msi;
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return udev->num_msix;
	default:
		return 0;
	}
}

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
	udev->irq_index = -1;
}

int uvfio_irqs_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_irq_info *info = &cmd->irq_info;

	if (info->index > VFIO_PCI_MSIX_IRQ_INDEX)
		return -EINVAL;

	info->flags = VFIO_IRQ_INFO_EVENTFD;
	if (info->index == VFIO_PCI_INTX_IRQ_INDEX)
		info->flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else
		info->flags |= VFIO_IRQ_INFO_NORESIZE;
	info->count = max_vectors(udev, info->index);
	return 0;
}

/* The INTx line */

/*
 * What the command register's interrupt disable bit has to be. The user's own
 * bit is virtual: it adds to ours and never clears it. Some devices stop MSI with
 * that bit as well; while MSI is on, they have no INTx to disable.
 */
bool uvfio_intx_disabled(struct uvfio_dev *udev)
{
	lockdep_assert_held(&udev->cmd_lock);

	if (udev->irq_index > VFIO_PCI_INTX_IRQ_INDEX &&
	    udev->pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG)
		return false;
	if (udev->intx_maskable && udev->intx_masked)
		return true;
	return !udev->intx_armed || udev->intx_disabled || udev->in_reset;
}

static void __intx_update(struct uvfio_dev *udev)
{
	lockdep_assert_held(&udev->cmd_lock);
	pci_intx(udev->pdev, !uvfio_intx_disabled(udev));
}

/* Brings the hardware's bit in line with the state that it follows from. */
void uvfio_intx_update(struct uvfio_dev *udev)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	__intx_update(udev);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

static void intx_set_armed(struct uvfio_dev *udev, bool armed)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	udev->intx_armed = armed;
	__intx_update(udev);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/* A line without the disable bit is masked at the interrupt controller. */
static void __intx_set_masked(struct uvfio_dev *udev, bool masked)
{
	lockdep_assert_held(&udev->cmd_lock);

	if (udev->intx_masked == masked)
		return;
	udev->intx_masked = masked;
	if (udev->intx_maskable)
		__intx_update(udev);
	else if (masked)
		disable_irq_nosync(udev->pdev->irq);
	else
		enable_irq(udev->pdev->irq);
}

static void intx_set_masked(struct uvfio_dev *udev, bool masked)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	__intx_set_masked(udev, masked);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/* For a line whose handler is gone: with it went the controller's mask. */
static void intx_forget_masked(struct uvfio_dev *udev)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	udev->intx_masked = false;
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/*
 * True if it was ours, and then it is masked. A disabled line has not fired; in
 * reset the device would read as all-ones, which looks like it had.
 */
static bool __intx_take(struct uvfio_dev *udev)
{
	lockdep_assert_held(&udev->cmd_lock);

	if (!udev->intx_maskable) {
		__intx_set_masked(udev, true);
		return true;
	}
	if (uvfio_intx_disabled(udev) || !pci_check_and_mask_intx(udev->pdev))
		return false;

	udev->intx_masked = true;
	return true;
}

static bool intx_take(struct uvfio_dev *udev)
{
	unsigned long flags;
	bool ours;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	ours = __intx_take(udev);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
	return ours;
}

static irqreturn_t intx_handler(int irq, void *data)
{
	struct uvfio_dev *udev = data;
	struct eventfd_ctx *trigger;

	if (!intx_take(udev))
		return IRQ_NONE;

	trigger = READ_ONCE(udev->vectors[0].trigger);
	if (trigger)
		eventfd_signal(trigger);
	return IRQ_HANDLED;
}

static irqreturn_t msi_handler(int irq, void *data)
{
	struct uvfio_vector *vector = data;
	struct eventfd_ctx *trigger = READ_ONCE(vector->trigger);

	if (trigger)
		eventfd_signal(trigger);
	return IRQ_HANDLED;
}

/* Vectors */

static int vector_request(struct uvfio_dev *udev, unsigned int i,
			  struct eventfd_ctx *trigger)
{
	struct uvfio_vector *vector = &udev->vectors[i];
	struct pci_dev *pdev = udev->pdev;
	int ret;

	vector->name = kasprintf(GFP_KERNEL_ACCOUNT, "uvfio-%s[%u](%s)",
				 mode_name[udev->irq_index], i, pci_name(pdev));
	if (!vector->name)
		return -ENOMEM;

	WRITE_ONCE(vector->trigger, trigger);
	if (udev->irq_index == VFIO_PCI_INTX_IRQ_INDEX) {
		vector->irq = pdev->irq;
		/* PROBE: a line that is in use is no news to the log. */
		ret = request_irq(vector->irq, intx_handler,
				  udev->intx_maskable ? IRQF_SHARED :
							IRQF_PROBE_SHARED,
				  vector->name, udev);
	} else {
		vector->irq = pci_irq_vector(pdev, i);
		ret = request_irq(vector->irq, msi_handler, 0, vector->name,
				  vector);
	}
	if (ret) {
		WRITE_ONCE(vector->trigger, NULL);
		kfree(vector->name);
		vector->name = NULL;
		return ret;
	}

	if (udev->irq_index == VFIO_PCI_INTX_IRQ_INDEX)
		intx_set_armed(udev, true);
	return 0;
}

static void vector_release(struct uvfio_dev *udev, struct uvfio_vector *vector)
{
	bool intx = udev->irq_index == VFIO_PCI_INTX_IRQ_INDEX;

	if (intx)
		intx_set_armed(udev, false);
	free_irq(vector->irq, intx ? (void *)udev : vector);
	if (intx)
		intx_forget_masked(udev);
	kfree(vector->name);
	vector->name = NULL;
}

/*
 * Without an eventfd, INTx stays disabled and an MSI-X vector masked. MSI may
 * have no mask; freeing the vector would leave the device sending its message to
 * address 0, which is a DMA into the user's memory. So that one stays requested,
 * and the handler drops what comes.
 */
static void vector_disconnect(struct uvfio_dev *udev,
			      struct uvfio_vector *vector)
{
	if (udev->irq_index == VFIO_PCI_MSI_IRQ_INDEX)
		synchronize_irq(vector->irq);
	else
		vector_release(udev, vector);
}

/* For the same reason the device stops sending before its vectors go. */
static void msi_stop(struct pci_dev *pdev)
{
	u16 control;

	pci_read_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, &control);
	pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
			      control & ~PCI_MSI_FLAGS_ENABLE);
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

/* No partial success: fewer vectors than asked for is -ENOSPC. */
static int mode_enable(struct uvfio_dev *udev, u32 index, unsigned int count)
{
	struct uvfio_vector *vectors;
	int ret = 0;

	vectors = kcalloc(count, sizeof(*vectors), GFP_KERNEL_ACCOUNT);
	if (!vectors)
		return -ENOMEM;

	if (index != VFIO_PCI_INTX_IRQ_INDEX)
		ret = vectors_alloc(udev->pdev, index, count);
	if (ret) {
		kfree(vectors);
		return ret;
	}

	udev->vectors = vectors;
	udev->num_vectors = count;
	udev->irq_index = index;
	uvfio_intx_update(udev);
	return 0;
}

/**
 * uvfio_irqs_disable - tear the mode in use down, if any
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 *
 * No handler runs and no eventfd is held when it returns.
 */
void uvfio_irqs_disable(struct uvfio_dev *udev)
{
	int index = udev->irq_index;
	unsigned int i;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (index < 0)
		return;

	if (index == VFIO_PCI_MSI_IRQ_INDEX)
		msi_stop(udev->pdev);
	for (i = 0; i < udev->num_vectors; i++) {
		struct uvfio_vector *vector = &udev->vectors[i];

		if (vector->name)
			vector_release(udev, vector);
		if (vector->trigger)
			eventfd_ctx_put(vector->trigger);
	}
	kfree(udev->vectors);
	udev->vectors = NULL;
	udev->num_vectors = 0;
	udev->irq_index = -1;
	uvfio_intx_update(udev);
	if (index != VFIO_PCI_INTX_IRQ_INDEX)
		vectors_free(udev->pdev);
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

/*
 * Gives vectors @start.. the eventfds in @triggers and puts there what each had
 * before. All of them or none: what can fail comes first. A vector is requested
 * with its eventfd in place, or an interrupt that waits for it would be lost.
 */
static int exchange_triggers(struct uvfio_dev *udev, unsigned int start,
			     struct eventfd_ctx **triggers, unsigned int count)
{
	struct uvfio_vector *vectors = udev->vectors + start;
	struct eventfd_ctx *old;
	unsigned int i;
	int ret;

	for (i = 0; i < count; i++) {
		vectors[i].fresh = triggers[i] && !vectors[i].name;
		if (!vectors[i].fresh)
			continue;
		ret = vector_request(udev, start + i, triggers[i]);
		if (ret)
			goto err_release;
	}

	for (i = 0; i < count; i++) {
		if (vectors[i].fresh) {
			triggers[i] = NULL;
			continue;
		}
		old = vectors[i].trigger;
		WRITE_ONCE(vectors[i].trigger, triggers[i]);
		if (old && triggers[i])
			synchronize_irq(vectors[i].irq);
		else if (old)
			vector_disconnect(udev, &vectors[i]);
		triggers[i] = old;
	}
	return 0;

err_release:
	while (i--) {
		if (!vectors[i].fresh)
			continue;
		WRITE_ONCE(vectors[i].trigger, NULL);
		vector_disconnect(udev, &vectors[i]);
	}
	return ret;
}

static int set_eventfds(struct uvfio_dev *udev, const struct vfio_irq_set *set,
			const s32 *fds)
{
	struct eventfd_ctx **triggers;
	bool enabled = false;
	int ret = 0;

	triggers = get_triggers(fds, set->count);
	if (IS_ERR(triggers))
		return PTR_ERR(triggers);

	if (udev->irq_index < 0) {
		ret = mode_enable(udev, set->index, set->start + set->count);
		enabled = !ret;
	} else if (udev->irq_index != set->index ||
		   set->start + set->count > udev->num_vectors) {
		ret = -EINVAL;
	}
	if (!ret)
		ret = exchange_triggers(udev, set->start, triggers, set->count);
	if (ret && enabled)
		uvfio_irqs_disable(udev);

	put_triggers(triggers, set->count);
	return ret;
}

static int set_intx_mask(struct uvfio_dev *udev, const struct vfio_irq_set *set,
			 bool masked)
{
	if (set->index != VFIO_PCI_INTX_IRQ_INDEX || set->count != 1 ||
	    udev->irq_index != VFIO_PCI_INTX_IRQ_INDEX ||
	    !udev->vectors[0].trigger)
		return -EINVAL;

	intx_set_masked(udev, masked);
	return 0;
}

/**
 * uvfio_irqs_set - VFIO_DEVICE_SET_IRQS
 * @udev: device_lock, mem_rwsem for write and memory decoding on
 * @set: the arguments
 * @data: what follows them: of the length that the flags and the count give
 *
 * A call that fails leaves every vector as it was.
 */
int uvfio_irqs_set(struct uvfio_dev *udev, const struct vfio_irq_set *set,
		   const void *data)
{
	unsigned int max = max_vectors(udev, set->index);

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (set->start >= max || set->count > max - set->start)
		return -EINVAL;

	switch (set->flags) {
	case VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER:
		return set->count ? set_eventfds(udev, set, data) : -EINVAL;
	case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER:
		if (set->count || set->start)
			return -EINVAL;
		if (udev->irq_index == set->index)
			uvfio_irqs_disable(udev);
		return 0;
	case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK:
		return set_intx_mask(udev, set, true);
	case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK:
		return set_intx_mask(udev, set, false);
	default:
		return -EINVAL;
	}
}
