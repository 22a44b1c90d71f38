// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI side: probe and remove, what happens to the hardware when a user comes
 * and goes, reset, revocation.
 *
 * A bound device that nobody uses is quiet: bus mastering off, INTx disabled, the
 * config state of bind time. Attaching to a domain opens it to its user;
 * quiesce() is the way back, for detach, close and remove alike: first the state
 * that every access checks changes and BAR mappings are zapped, both under
 * mem_rwsem, so that from then on only the device itself is left to be stopped.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

static char *ids;
module_param(ids, charp, 0444);
MODULE_PARM_DESC(ids,
		 "Devices to bind at load: vendor:device[:subvendor:subdevice[:class[:mask]]],... (hex)");

/* The command register */

static void command_update(struct uvfio_dev *udev, u16 clear, u16 set)
{
	unsigned long flags;
	u16 command;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	pci_read_config_word(udev->pdev, PCI_COMMAND, &command);
	command = (command & ~clear) | set;
	pci_write_config_word(udev->pdev, PCI_COMMAND, command);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

static u16 command_read(struct uvfio_dev *udev)
{
	u16 command;

	pci_read_config_word(udev->pdev, PCI_COMMAND, &command);
	return command;
}

/*
 * A device that its user made reset itself has forgotten its addresses; it must
 * not come back at others. For whoever is about to turn decoding on; while @command
 * has it on, nothing was forgotten.
 */
static void bars_restore(struct uvfio_dev *udev, u16 command)
{
	unsigned int i;

	device_lock_assert(&udev->pdev->dev);

	if (command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY) ||
	    udev->pdev->is_virtfn)
		return;
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		pci_write_config_dword(udev->pdev, PCI_BASE_ADDRESS_0 + 4 * i,
				       udev->bar_regs[i]);
}

/* Memory decoding on, for whoever writes the MSI-X table; returns how it was. */
static u16 decode_on(struct uvfio_dev *udev)
{
	u16 command = command_read(udev);

	if (udev->pdev->no_command_memory || command & PCI_COMMAND_MEMORY)
		return PCI_COMMAND_MEMORY;
	bars_restore(udev, command);
	command_update(udev, 0, PCI_COMMAND_MEMORY);
	return 0;
}

static void decode_as(struct uvfio_dev *udev, u16 before)
{
	if (!before)
		command_update(udev, PCI_COMMAND_MEMORY, 0);
}

/* What of BARs can be reached with this command register. */
static void decodes_set(struct uvfio_dev *udev, u16 command)
{
	lockdep_assert_held_write(&udev->mem_rwsem);

	if (udev->in_reset || udev->pdev->current_state != PCI_D0)
		command = 0;
	udev->decodes = command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	uvfio_msix_update(udev);
}

/* The same after something else than the user may have changed it. */
static void decodes_update(struct uvfio_dev *udev)
{
	u16 command;

	if (uvfio_gate(udev))
		return;
	command = uvfio_config_command(udev);
	/* A device that did not come back has nothing to reach. */
	decodes_set(udev, PCI_POSSIBLE_ERROR(command) ? 0 : command);
}

/* The user writes the command register. */
static void command_write(struct uvfio_dev *udev, u16 value)
{
	const u16 theirs = PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
			   PCI_COMMAND_MASTER;
	unsigned long flags;
	u16 command;

	lockdep_assert_held_write(&udev->mem_rwsem);

	/* What ends does so before the device acts on it. */
	decodes_set(udev, value & udev->decodes);
	if (!(value & PCI_COMMAND_MEMORY))
		uvfio_bars_zap(udev);

	/* cmd_lock is for the one bit that handlers change: it is made anew. */
	command = command_read(udev);
	bars_restore(udev, command);
	spin_lock_irqsave(&udev->cmd_lock, flags);
	command &= ~(theirs | PCI_COMMAND_INTX_DISABLE);
	command |= value & theirs;
	command |= uvfio_intx_command(udev, value);
	pci_write_config_word(udev->pdev, PCI_COMMAND, command);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
	decodes_set(udev, value);
}

/* Reset and power */

/*
 * While the device cannot answer: registers are EIO, mappings SIGBUS, and the line
 * is not believed to have fired because all reads as ones. No lock is held for as
 * long as that takes, but device_lock.
 */
static void set_in_reset(struct uvfio_dev *udev, bool in_reset)
{
	guard(rwsem_write)(&udev->mem_rwsem);
	uvfio_intx_set_reset(udev, in_reset);
	decodes_update(udev);
	if (in_reset)
		uvfio_bars_zap(udev);
}

/* Whether the device comes back from D3hot as after a reset. */
static bool power_up_resets(struct pci_dev *pdev)
{
	u16 control;

	pci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &control);
	return pdev->current_state == PCI_D3hot &&
	       !(control & PCI_PM_CTRL_NO_SOFT_RESET);
}

/*
 * Config space works in D3hot, and what it has is what comes back; decoding is on
 * for restoring because that writes the MSI-X table, if it is in use.
 */
static void power_up(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	bool resets = power_up_resets(pdev);
	u16 memory;

	if (!resets) {
		pci_set_power_state(pdev, PCI_D0);
		return;
	}

	memory = decode_on(udev);
	pci_save_state(pdev);
	pci_set_power_state(pdev, PCI_D0);
	if (pdev->current_state == PCI_D0)
		pci_restore_state(pdev);
	decode_as(udev, memory);
}

/* From a low-power state it goes to a lower one or back to D0, and no other way. */
static bool power_reachable(struct pci_dev *pdev, pci_power_t state)
{
	if (state == PCI_D0)
		return pdev->current_state != PCI_D0;
	if ((state == PCI_D1 && !pdev->d1_support) ||
	    (state == PCI_D2 && !pdev->d2_support))
		return false;
	return (__force int)state <= (__force int)PCI_D3hot &&
	       (__force int)state > (__force int)pdev->current_state;
}

/* Where it does not, the core would log each attempt. */
static bool power_answers(struct pci_dev *pdev)
{
	u16 control;

	pci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &control);
	return !PCI_POSSIBLE_ERROR(control);
}

/* The kernel makes the transition: it knows the delays. */
static void power_set(struct uvfio_dev *udev, pci_power_t state)
{
	struct pci_dev *pdev = udev->pdev;

	device_lock_assert(&pdev->dev);

	if (pdev->pm_cap && power_reachable(pdev, state) &&
	    power_answers(pdev)) {
		set_in_reset(udev, true);
		if (state == PCI_D0)
			power_up(udev);
		else
			pci_set_power_state(pdev, state);
		set_in_reset(udev, false);
	}
	/* Also if somebody else has changed it: a suspend of the machine. */
	uvfio_config_set_power(udev, pdev->current_state);
}

/*
 * The PCI core calls these two, with device_lock held, around the resets that keep
 * config state: ours, an admin's through sysfs, a sibling's bus reset.
 */
static void uvfio_pci_reset_prepare(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	/* The core wakes it up, too, but does not bring back what it lost. */
	if (pdev->current_state != PCI_D0)
		power_set(udev, PCI_D0);
	set_in_reset(udev, true);
	/* Before the core saves the register: this is how it is afterwards. */
	command_update(udev, PCI_COMMAND_MASTER, 0);
	udev->reset_memory = decode_on(udev);
}

static void uvfio_pci_reset_done(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	decode_as(udev, udev->reset_memory);
	set_in_reset(udev, false);
}

/*
 * For its user a suspend of the machine is a reset. Bus mastering goes off before
 * the IOMMU does, and the core, which leaves a driver with these alone, does not
 * enable INTx behind our back.
 */
static int uvfio_pci_suspend(struct device *dev)
{
	uvfio_pci_reset_prepare(to_pci_dev(dev));
	return 0;
}

static int uvfio_pci_resume(struct device *dev)
{
	uvfio_pci_reset_done(to_pci_dev(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(uvfio_pm_ops, uvfio_pci_suspend,
				uvfio_pci_resume);

/* The user learns of it, and what to do about it is for him to know. */
static pci_ers_result_t uvfio_pci_error_detected(struct pci_dev *pdev,
						 pci_channel_state_t state)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	uvfio_event_signal(udev, VFIO_PCI_ERR_IRQ_INDEX);
	return PCI_ERS_RESULT_CAN_RECOVER;
}

static const struct pci_error_handlers uvfio_err_handlers = {
	.error_detected = uvfio_pci_error_detected,
	.reset_prepare = uvfio_pci_reset_prepare,
	.reset_done = uvfio_pci_reset_done,
};

/*
 * -ENOTTY: there is no way to reset it, which shows only here when the one way
 * is a reset of a bus with other devices on it. The core also says ENOTTY of a
 * device that does not come back, so it is believed only of one that never could.
 * All else is -EIO, also for a device that was pulled out, which the core would
 * wait for.
 */
static int reset_function(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	int ret;

	device_lock_assert(&pdev->dev);

	if (!pci_device_is_present(pdev))
		return -EIO;

	pci_cfg_access_lock(pdev);
	ret = pci_reset_function_locked(pdev);
	pci_cfg_access_unlock(pdev);
	if (!ret)
		udev->no_reset = false;
	if (!ret || (ret == -ENOTTY && udev->no_reset))
		return ret;

	dev_warn_ratelimited(&pdev->dev, "reset failed (%d): nobody can open it until one succeeds; remove and rescan it, or power it off and on\n",
			     ret);
	return -EIO;
}

/**
 * uvfio_pci_reset - reset the function, keeping its config state
 * @udev: device_lock
 *
 * Bus mastering is off afterwards. -EINVAL: the device has no way to be reset.
 * -EIO: it did not come back from it.
 */
int uvfio_pci_reset(struct uvfio_dev *udev)
{
	int ret = reset_function(udev);

	return ret == -ENOTTY ? -EINVAL : ret;
}

/* Users come and go */

static void pristine_restore(struct uvfio_dev *udev)
{
	pci_load_saved_state(udev->pdev, udev->pristine);
	pci_restore_state(udev->pdev);
}

int uvfio_pci_open(struct uvfio_dev *udev)
{
	int ret;

	device_lock_assert(&udev->pdev->dev);

	if (!udev->dirty)
		return 0;

	/* A second try at what failed on close, restoring included. */
	ret = reset_function(udev);
	if (ret && ret != -ENOTTY)
		return ret;

	pristine_restore(udev);
	udev->dirty = false;
	return 0;
}

/*
 * Takes the device from its user. Whoever may still be at it: a system call or a
 * fault holds mem_rwsem for read, and after the exchange of the domain none gets
 * past the gate; a mapping is zapped; a handler ends in free_irq(); DMA ends with
 * bus mastering, or, what is under way, with the transactions waited for.
 * Returns the domain, still attached.
 */
static struct uvfio_domain *quiesce(struct uvfio_dev *udev)
{
	struct uvfio_domain *domain = udev->domain;
	u16 memory;

	device_lock_assert(&udev->pdev->dev);

	scoped_guard(rwsem_write, &udev->mem_rwsem) {
		udev->domain = NULL;
		uvfio_bars_zap(udev);
	}
	uvfio_vectors_bypass_stop_all(udev);
	power_set(udev, PCI_D0);
	scoped_guard(rwsem_write, &udev->mem_rwsem) {
		command_update(udev, PCI_COMMAND_MASTER, 0);
		memory = decode_on(udev);
		uvfio_irqs_release(udev);
		decode_as(udev, memory);
	}
	uvfio_ioeventfds_remove(udev);
	if (pci_device_is_present(udev->pdev))
		pci_wait_for_pending_transaction(udev->pdev);
	return domain;
}

/**
 * uvfio_pci_close - the last user of an open device is gone, or has to go
 * @udev: device_lock
 *
 * Return: the domain it was attached to, for the caller to put, or NULL.
 */
struct uvfio_domain *uvfio_pci_close(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	struct uvfio_domain *domain = NULL;

	device_lock_assert(&pdev->dev);

	if (udev->domain)
		domain = quiesce(udev);

	/* Reset with the domain still there: it confines what may be left. */
	if (udev->dirty && reset_function(udev) == 0)
		udev->dirty = false;
	if (domain)
		uvfio_domain_detach(domain, pdev);

	pristine_restore(udev);
	uvfio_config_forget(udev);
	udev->intx_disabled = false;	/* no line, nobody reads it */
	return domain;
}

int uvfio_pci_attach(struct uvfio_dev *udev, struct uvfio_domain *domain)
{
	int ret;

	device_lock_assert(&udev->pdev->dev);

	if (udev->domain)
		return -EBUSY;

	ret = uvfio_domain_attach(domain, udev->pdev);
	if (ret)
		return ret;

	guard(rwsem_write)(&udev->mem_rwsem);
	udev->domain = domain;
	udev->dirty = true;
	decodes_update(udev);
	return 0;
}

/* Returns the domain, for the caller to put. */
struct uvfio_domain *uvfio_pci_detach(struct uvfio_dev *udev)
{
	struct uvfio_domain *domain = quiesce(udev);

	uvfio_domain_detach(domain, udev->pdev);
	return domain;
}

/* Config space */

static int config_write_dword(struct uvfio_dev *udev, u64 off, const void *buf,
			      size_t len)
{
	enum uvfio_config_todo todo;
	u32 arg = 0;
	int ret = 0;

	scoped_guard(rwsem_write, &udev->mem_rwsem) {
		todo = uvfio_config_write(udev, off, buf, len, &arg);
		if (todo == UVFIO_CONFIG_COMMAND)
			command_write(udev, arg);
	}

	/* These take their time, and mem_rwsem themselves. */
	if (todo == UVFIO_CONFIG_POWER)
		power_set(udev, (__force pci_power_t)arg);
	else if (todo == UVFIO_CONFIG_VPD &&
		 udev->pdev->current_state == PCI_D0)
		uvfio_config_vpd(udev, round_down(off, 4), arg);
	else if (todo == UVFIO_CONFIG_RESET)
		ret = reset_function(udev);
	/* Where the kernel knows no way to reset it, nothing happens. */
	return ret == -ENOTTY ? 0 : ret;
}

/**
 * uvfio_pci_config_write - the user writes config space
 * @udev: device_lock, past the gate
 * @index: VFIO_PCI_CONFIG_REGION_INDEX
 * @off: where
 * @buf: what
 * @len: bytes
 *
 * -EIO: a reset that was asked for failed.
 */
int uvfio_pci_config_write(struct uvfio_dev *udev, unsigned int index, u64 off,
			   const void *buf, size_t len)
{
	size_t n;
	int ret;

	device_lock_assert(&udev->pdev->dev);

	for (; len; off += n, buf += n, len -= n) {
		n = min_t(size_t, len, 4 - off % 4);
		ret = config_write_dword(udev, off, buf, n);
		if (ret)
			return ret;
	}
	return 0;
}

/* Information */

int uvfio_pci_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	struct vfio_device_info *info = &cmd->device_info;

	info->flags = VFIO_DEVICE_FLAGS_PCI;
	if (!udev->no_reset)
		info->flags |= VFIO_DEVICE_FLAGS_RESET;
	info->num_regions = VFIO_PCI_NUM_REGIONS;
	info->num_irqs = UVFIO_NUM_IRQS;
	return 0;
}

/* Interrupts */

/* The kernel asks the device anew where the table is; it may answer anything. */
static bool msix_moved(struct uvfio_dev *udev)
{
	u32 table;

	pci_read_config_dword(udev->pdev, udev->pdev->msix_cap + PCI_MSIX_TABLE,
			      &table);
	return table != udev->msix_table ||
	       pci_msix_vec_count(udev->pdev) != udev->num_msix;
}

typedef int (*set_vectors_fn)(struct uvfio_dev *udev, struct uvfio_cmd *cmd);

static int set_vectors_in_d0(struct uvfio_dev *udev, u32 index,
			     set_vectors_fn set, struct uvfio_cmd *cmd)
{
	u16 memory;
	int ret;

	guard(rwsem_write)(&udev->mem_rwsem);

	/* Once it is on, the kernel knows where the table is. */
	if (index == VFIO_PCI_MSIX_IRQ_INDEX && udev->irq_index < 0 &&
	    udev->num_msix && msix_moved(udev))
		return -EIO;

	memory = decode_on(udev);
	ret = set(udev, cmd);
	/* The core has enabled it for a device that decodes. */
	if (!(udev->decodes & PCI_COMMAND_MEMORY))
		uvfio_msix_update(udev);
	decode_as(udev, memory);
	return ret;
}

/* Vectors are set up and torn down in registers that a sleeping device lacks. */
static int set_vectors(struct uvfio_dev *udev, u32 index, set_vectors_fn set,
		       struct uvfio_cmd *cmd)
{
	pci_power_t power = udev->pdev->current_state;
	int ret;

	if (power == PCI_D0)
		return set_vectors_in_d0(udev, index, set, cmd);

	power_set(udev, PCI_D0);
	ret = -EIO;
	if (udev->pdev->current_state == PCI_D0)
		ret = set_vectors_in_d0(udev, index, set, cmd);
	power_set(udev, power);
	return ret;
}

/* KVM hears of what a vector has lost before it is lost. */
static int set_bypassed_vectors(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	const struct vfio_irq_set *set = &cmd->irq_set;
	int ret;

	if (!(set->flags & VFIO_IRQ_SET_ACTION_TRIGGER))
		return set_vectors(udev, set->index, uvfio_irqs_set, cmd);

	if (set->count)
		uvfio_vectors_bypass_stop(udev, set->index, set->start,
					  set->count);
	else if (udev->irq_index == set->index)
		uvfio_vectors_bypass_stop_all(udev);
	ret = set_vectors(udev, set->index, uvfio_irqs_set, cmd);
	uvfio_vectors_bypass_start(udev);
	return ret;
}

int uvfio_pci_set_irqs(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	u32 index = cmd->irq_set.index;

	if (index == VFIO_PCI_MSI_IRQ_INDEX || index == VFIO_PCI_MSIX_IRQ_INDEX)
		return set_bypassed_vectors(udev, cmd);

	guard(rwsem_write)(&udev->mem_rwsem);
	return uvfio_irqs_set(udev, cmd);
}

int uvfio_pci_steer_irqs(struct uvfio_dev *udev, struct uvfio_cmd *cmd)
{
	return set_vectors(udev, cmd->irq_affinity.index, uvfio_irqs_steer, cmd);
}

/* The PCI driver */

/*
 * Hardware that is clean, answers and is quiet, and the state of it that every
 * user is to find. It stays enabled as long as it is bound: enabling turns INTx
 * on for a moment, which a user must not be able to repeat.
 */
static int pristine_save(struct uvfio_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;
	int ret;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;

	ret = -EIO;
	if (pdev->current_state != PCI_D0) {
		pci_warn(pdev, "it does not wake up (it is in %s)\n",
			 pci_power_name(pdev->current_state));
		goto err_disable;
	}

	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		pci_read_config_dword(pdev, PCI_BASE_ADDRESS_0 + 4 * i,
				      &udev->bar_regs[i]);
	command_update(udev, PCI_COMMAND_MASTER, PCI_COMMAND_INTX_DISABLE);
	udev->no_reset = true;
	ret = reset_function(udev);
	if (ret == -ENOTTY)
		pci_notice(pdev, "it has no way to be reset: what one user leaves in it, DMA under way too, the next one finds; give it to one user\n");
	else if (ret)
		goto err_disable;

	pci_save_state(pdev);
	udev->pristine = pci_store_saved_state(pdev);
	if (udev->pristine)
		return 0;

	ret = -ENOMEM;
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void pristine_drop(struct uvfio_dev *udev)
{
	kfree(udev->pristine);
	pci_disable_device(udev->pdev);
}

static void set_gone(struct uvfio_dev *udev, bool gone)
{
	guard(rwsem_write)(&udev->mem_rwsem);
	udev->gone = gone;
}

static int uvfio_pci_probe(struct pci_dev *pdev,
			   const struct pci_device_id *id)
{
	struct uvfio_dev *udev;
	int ret;

	if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL) {
		pci_warn(pdev, "refused: header type %u, and only type 0 functions can be given to a user; bridges stay with the kernel\n",
			 pdev->hdr_type);
		return -EINVAL;
	}

	if (pci_num_vf(pdev)) {
		pci_warn(pdev, "refused: its virtual functions are in use, and its user would reset them; write 0 to sriov_numvfs first\n");
		return -EBUSY;
	}

	udev = uvfio_dev_alloc(pdev);
	if (IS_ERR(udev))
		return PTR_ERR(udev);
	pci_set_drvdata(pdev, udev);

	uvfio_bars_claim(udev);
	ret = pristine_save(udev);
	if (ret)
		goto err_bars;
	uvfio_irqs_init(udev);
	ret = uvfio_config_init(udev);
	if (ret)
		goto err_pristine;
	ret = uvfio_dev_register(udev);
	if (ret)
		goto err_config;

	/* An early opener waits for device_lock, which probe() comes with. */
	set_gone(udev, false);
	return 0;

err_config:
	uvfio_config_free(udev);
err_pristine:
	pristine_drop(udev);
err_bars:
	uvfio_bars_release(udev);
	pci_set_drvdata(pdev, NULL);
	put_device(&udev->dev);
	return ret;
}

/*
 * Never waits for the user: an open file stays open and answers ENODEV. Once
 * @gone is set under mem_rwsem nobody is inside and nobody gets in again, and
 * what only they used can go.
 */
static void uvfio_pci_remove(struct pci_dev *pdev)
{
	struct uvfio_dev *udev = pci_get_drvdata(pdev);

	uvfio_event_signal(udev, VFIO_PCI_REQ_IRQ_INDEX);
	uvfio_dev_unregister(udev);
	set_gone(udev, true);
	if (udev->opened)
		uvfio_domain_put_deferred(uvfio_pci_close(udev));

	uvfio_config_free(udev);
	pristine_drop(udev);
	uvfio_bars_release(udev);
	pci_set_drvdata(pdev, NULL);
	put_device(&udev->dev);
}

static struct pci_driver uvfio_pci_driver = {
	.name = "uvfio",
	.id_table = NULL,	/* driver_override, new_id or the ids parameter */
	.probe = uvfio_pci_probe,
	.remove = uvfio_pci_remove,
	.err_handler = &uvfio_err_handlers,
	.driver.pm = pm_sleep_ptr(&uvfio_pm_ops),
	.driver_managed_dma = true,
};

static int add_id(char *id)
{
	unsigned int vendor, device, subvendor = PCI_ANY_ID;
	unsigned int subdevice = PCI_ANY_ID, class = 0, class_mask = 0;
	int fields;

	fields = sscanf(id, "%x:%x:%x:%x:%x:%x", &vendor, &device, &subvendor,
			&subdevice, &class, &class_mask);
	if (fields < 2)
		return -EINVAL;

	return pci_add_dynid(&uvfio_pci_driver, vendor, device, subvendor,
			     subdevice, class, class_mask, 0);
}

static int add_ids(void)
{
	char *list, *rest, *id;
	int ret = 0;

	if (!ids || !*ids)
		return 0;

	list = kstrdup(ids, GFP_KERNEL);
	if (!list)
		return -ENOMEM;

	rest = list;
	while (!ret && (id = strsep(&rest, ",")))
		if (*id)
			ret = add_id(id);
	if (ret)
		pr_err("uvfio: ids=%s: \"%s\" is not vendor:device[:subvendor:subdevice[:class[:mask]]] in hex\n",
		       ids, id);
	kfree(list);
	return ret;
}

int uvfio_pci_register_driver(void)
{
	int ret;

	ret = pci_register_driver(&uvfio_pci_driver);
	if (ret)
		return ret;

	ret = add_ids();
	if (ret)
		pci_unregister_driver(&uvfio_pci_driver);
	return ret;
}

void uvfio_pci_unregister_driver(void)
{
	pci_unregister_driver(&uvfio_pci_driver);
}
