// SPDX-License-Identifier: GPL-2.0
/*
 * The INTx line.
 *
 * It is a level: it stays asserted until the device is served, which a process
 * cannot do in the handler. So each firing masks it, and the user unmasks it, by
 * a call or by an eventfd. Unmasked while it is asserted, it fires again, so none
 * is lost; one that was not asserted does not fire, so none is invented.
 *
 * What silences it is the interrupt disable bit of the command register, which
 * leaves others on the line alone. A device that lacks this (PCI before 2.3) or has
 * it broken is silenced at the interrupt controller, and has to have the line for
 * itself. The bit is set whenever the line has no handler here: an interrupt that
 * nobody takes would make the kernel disable the line for every device on it.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "uvfio.h"

struct uvfio_intx_listener {
	struct uvfio_listener listener;
	struct uvfio_dev *udev;
	bool mask;		/* what a signal does, or unmask */
};

/* Whether or not it is masked. */
static bool intx_off(struct uvfio_dev *udev)
{
	lockdep_assert_held(&udev->cmd_lock);

	return !udev->intx_armed || udev->intx_disabled || udev->in_reset;
}

static bool intx_silent(struct uvfio_dev *udev)
{
	return intx_off(udev) || udev->intx_masked;
}

/*
 * What the command register's interrupt disable bit has to be. The user's own
 * bit is virtual: it adds to ours and never clears it. Some devices stop MSI with
 * that bit as well; while MSI is on, they have no INTx to disable.
 */
static bool intx_disable_bit(struct uvfio_dev *udev)
{
	if (udev->irq_index > VFIO_PCI_INTX_IRQ_INDEX &&
	    udev->pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG)
		return false;
	/* Where it may be broken, masking is left to the controller. */
	return udev->intx_maskable ? intx_silent(udev) : intx_off(udev);
}

/* A line without the disable bit, at the interrupt controller. */
static void intx_line_update(struct uvfio_dev *udev)
{
	bool off;

	lockdep_assert_held(&udev->cmd_lock);

	if (udev->intx_maskable)
		return;
	off = intx_silent(udev);
	if (off == udev->intx_line_off)
		return;
	udev->intx_line_off = off;
	if (off)
		disable_irq_nosync(udev->pdev->irq);
	else
		enable_irq(udev->pdev->irq);
}

/* Brings the hardware in line with the state that it follows from. */
static void __intx_update(struct uvfio_dev *udev)
{
	lockdep_assert_held(&udev->cmd_lock);
	pci_intx(udev->pdev, !intx_disable_bit(udev));
	intx_line_update(udev);
}

void uvfio_intx_update(struct uvfio_dev *udev)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	__intx_update(udev);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/* In reset the line is not believed to have fired because all reads as ones. */
void uvfio_intx_set_reset(struct uvfio_dev *udev, bool in_reset)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	udev->in_reset = in_reset;
	__intx_update(udev);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/*
 * The user writes the command register's bit; cmd_lock. Returns the one that is to
 * be written, and then the line follows.
 */
u16 uvfio_intx_command(struct uvfio_dev *udev, u16 value)
{
	lockdep_assert_held(&udev->cmd_lock);

	udev->intx_disabled = value & PCI_COMMAND_INTX_DISABLE;
	intx_line_update(udev);
	return intx_disable_bit(udev) ? PCI_COMMAND_INTX_DISABLE : 0;
}

static void intx_set_armed(struct uvfio_dev *udev, bool armed)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	udev->intx_armed = armed;
	__intx_update(udev);
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

static void intx_set_masked(struct uvfio_dev *udev, bool masked)
{
	unsigned long flags;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	if (udev->intx_masked != masked) {
		udev->intx_masked = masked;
		/* Config space does not answer in reset; its end is an update. */
		if (!udev->in_reset)
			__intx_update(udev);
	}
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
}

/**
 * uvfio_intx_mask - mask or unmask the line for its user
 * @udev: mem_rwsem, and INTx is the mode in use
 * @masked: true: no handler runs any more when this returns
 */
void uvfio_intx_mask(struct uvfio_dev *udev, bool masked)
{
	lockdep_assert_held(&udev->mem_rwsem);

	intx_set_masked(udev, masked);
	/* Also for a handler that is a thread, as those of real time are. */
	if (masked && udev->intx_armed)
		synchronize_irq(udev->pdev->irq);
}

/* True if it was ours, and then it is masked. A silent line has not fired. */
static bool intx_take(struct uvfio_dev *udev)
{
	unsigned long flags;
	bool ours;

	spin_lock_irqsave(&udev->cmd_lock, flags);
	ours = !intx_silent(udev) &&
	       (!udev->intx_maskable || pci_check_and_mask_intx(udev->pdev));
	if (ours) {
		udev->intx_masked = true;
		intx_line_update(udev);
	}
	spin_unlock_irqrestore(&udev->cmd_lock, flags);
	return ours;
}

static irqreturn_t intx_handler(int irq, void *data)
{
	struct uvfio_vector *vector = data;

	if (!intx_take(vector->udev))
		return IRQ_NONE;

	uvfio_vector_fire(vector);
	return IRQ_HANDLED;
}

/**
 * uvfio_intx_request - have the line
 * @vector: its trigger and name in place
 *
 * -EBUSY: the device cannot mask it, and others have it; or somebody else has it
 * for himself.
 */
int uvfio_intx_request(struct uvfio_vector *vector)
{
	struct uvfio_dev *udev = vector->udev;
	/* PROBE: that a line is in use is told below, with the reason. */
	unsigned long flags = IRQF_PROBE_SHARED;
	int ret;

	flags |= udev->intx_maskable ? IRQF_SHARED : IRQF_NO_AUTOEN;
	ret = request_irq(vector->irq, intx_handler, flags, vector->name,
			  vector);
	if (ret == -EBUSY)
		pci_notice_ratelimited(udev->pdev, "INTx refused: interrupt %d is in use and cannot be shared, because %s; use MSI, unbind the other device or move one of them to another slot\n",
				       vector->irq, udev->intx_maskable ?
				       "its driver has it exclusively" :
				       "this device cannot mask it");
	if (ret)
		return ret;

	/* At once, not when it fires the next time. */
	if (!udev->intx_maskable)
		irq_set_status_flags(vector->irq, IRQ_DISABLE_UNLAZY);
	intx_set_armed(udev, true);
	return 0;
}

/*
 * Silent before nobody takes it: a level that stays would interrupt on and on. What
 * the user masked stays so for the next request.
 */
void uvfio_intx_free(struct uvfio_vector *vector)
{
	struct uvfio_dev *udev = vector->udev;

	intx_set_armed(udev, false);
	free_irq(vector->irq, vector);
}

/* Masking by eventfd */

static bool intx_signalled(struct uvfio_listener *listener, bool may_sleep)
{
	struct uvfio_intx_listener *self =
		container_of(listener, struct uvfio_intx_listener, listener);

	intx_set_masked(self->udev, self->mask);
	return true;
}

static void intx_listener_stop(struct uvfio_intx_listener *self)
{
	if (!self)
		return;
	uvfio_listener_stop(&self->listener);
	kfree(self);
}

static struct uvfio_intx_listener *intx_listener_start(struct uvfio_dev *udev,
						       int fd, bool mask)
{
	struct uvfio_intx_listener *self;
	int ret;

	self = kzalloc(sizeof(*self), GFP_KERNEL_ACCOUNT);
	if (!self)
		return ERR_PTR(-ENOMEM);

	self->udev = udev;
	self->mask = mask;
	INIT_WORK(&self->listener.work, uvfio_listener_work);
	ret = uvfio_listener_start(&self->listener, fd, intx_signalled);
	if (ret) {
		kfree(self);
		return ERR_PTR(ret);
	}
	return self;
}

/**
 * uvfio_intx_listen - mask or unmask the line when an eventfd is signalled
 * @udev: device_lock, mem_rwsem for write, and INTx is the mode in use
 * @fd: the eventfd, in place of the one before; -1: none
 * @mask: or unmask
 *
 * Return: -EBADF, @fd is not open; -EINVAL, it is no eventfd; -ENOMEM.
 */
int uvfio_intx_listen(struct uvfio_dev *udev, int fd, bool mask)
{
	struct uvfio_intx_listener **place, *listener = NULL;

	lockdep_assert_held_write(&udev->mem_rwsem);

	if (fd < -1)
		return -EBADF;
	if (fd >= 0) {
		listener = intx_listener_start(udev, fd, mask);
		if (IS_ERR(listener))
			return PTR_ERR(listener);
	}
	place = mask ? &udev->intx_mask_listener : &udev->intx_unmask_listener;
	swap(*place, listener);
	intx_listener_stop(listener);
	return 0;
}

/**
 * uvfio_intx_stop - INTx is not the mode in use any more
 * @udev: device_lock, mem_rwsem for write; the line is not requested
 */
void uvfio_intx_stop(struct uvfio_dev *udev)
{
	uvfio_intx_listen(udev, -1, true);
	uvfio_intx_listen(udev, -1, false);
	intx_set_masked(udev, false);
}
