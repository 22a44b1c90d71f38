/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of uvfio.ko share: the device, the interface of each file, and
 * the one statement of lock order and lifetimes.
 */
#ifndef UVFIO_H
#define UVFIO_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/hrtimer.h>
#include <linux/irqbypass.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/uvfio.h>

#include "compat.h"

/**
 * DOC: Locks
 *
 * ::
 *
 *   udev->user_lock            all that users do under device_lock (mutex)
 *   device_lock(pdev)          control: open, release, reset, every ioctl that is
 *                              answered by the device, probe, remove
 *     irqbypass's lock         and KVM's below it, which may wait for a guest's
 *                              memory: so not below mem_rwsem (mutex)
 *     group_lock               attach and detach, all devices (mutex)
 *       domain->table_rwsem    W for attaching to the page table
 *     udev->mem_rwsem          data: R for region access and BAR faults; W for
 *                              writes of config space, permits, vectors, and
 *                              both ends of resets and of power transitions
 *       i_mmap_rwsem           taken by unmap_mapping_range()
 *       udev->peer_lock        its BARs in IOMMUs (mutex)
 *         domain->table_rwsem
 *       udev->cmd_lock         command register and INTx state (spin, hard irq)
 *   mmap_lock                  mmap() and faults come with it held, and mapping a
 *                              BAR for other devices takes it
 *     udev->mem_rwsem
 *       udev->fault_lock       page table entries of BARs (mutex)
 *   an eventfd's queue lock    listeners come with it held (spin); they try for
 *     udev->mem_rwsem          this one and leave it to a work item otherwise
 *     udev->cmd_lock           so no eventfd is signalled with this one held
 *
 *   domain->table_rwsem        R for whatever looks at the page table, iommu_map()
 *                              and iommu_unmap()
 *     memory reclaim           from any allocation that may wait
 *       mmu notifiers          with whatever the memory management holds
 *         space->lock          what a process has mapped in a domain (mutex)
 *           table_rwsem        R, but only tried for
 *   udev->peer_lock
 *     domain->map_lock         mappings and windows of a domain (mutex); a leaf
 *
 * Reclaim can come out of any of our locks, and enters the mapper by space->lock. So
 * with that one held nothing is allocated that is waited for, no page is locked, and
 * no other lock is waited for; nor is map_lock held over an allocation.
 *
 * No user memory is touched with any of these held, except that mmap_lock is the
 * core's: a page that userfaultfd or FUSE holds back must not hold back an
 * unbind. So arguments are copied before the first lock and results after the
 * last, region data goes through a buffer, and pages are pinned with no lock.
 *
 * device_lock and not a mutex of our own, because the PCI core brackets resets
 * (reset_prepare, reset_done) and remove() with it: whatever holds it sees the
 * device neither vanish nor reset. It must not be taken below sysfs attributes,
 * which device_del() waits for with device_lock held. user_lock is where users
 * queue for it: one at a time competes with an admin, however many threads ask
 * for a reset.
 */

/**
 * DOC: Lifetimes
 *
 * struct uvfio_dev lives from probe to the last put of its struct device, which
 * the open file and the character device hold; the file holds the module. Until
 * probe() has succeeded, and from remove() on, @gone is set and nothing but that
 * memory is used: the pci_dev pointer stays valid (a reference is held) but
 * belongs to someone else. There is one open file at a time, and while it has
 * mappings it is not released, so at most one address_space has PTEs of the BARs.
 *
 * struct uvfio_domain lives while an open /dev/uiommu, an attached device, a
 * running map or unmap call or the verifier of a space holds it; mappings and pins
 * end with it at the latest. A struct uvfio_space, which listens to a process's
 * memory, lives as long as its domain has use for it or a mapping of that process is
 * there; the notifier is gone from the memory management before it is freed. What
 * the device of a BAR holds is its struct, not the device: unbinding it takes the
 * BAR out of every domain.
 *
 * struct uvfio_vector lives from its first use until the user is gone: its handler
 * has ended by then, with free_irq(), and KVM has let go of it as a producer.
 */

#define UVFIO_REGION_SHIFT	40
#define UVFIO_REGION_OFFSET(i)	((u64)(i) << UVFIO_REGION_SHIFT)

/*
 * Behind the standard regions, the BARs once more, for write-combining mmap(). A
 * 32-bit process has 44 bits for offsets of mmap(), so there is room for 16.
 */
#define UVFIO_WC_REGION(bar)	(VFIO_PCI_NUM_REGIONS + (bar))
#define UVFIO_NUM_REGIONS	UVFIO_WC_REGION(PCI_STD_NUM_BARS)

#define UVFIO_MAX_VECTORS	2048	/* MSI-X Table Size field: 11 bits */

struct seq_file;
struct uvfio_domain;
struct uvfio_intx_listener;
struct uvfio_reg;

/*
 * A Base Address Register, or that of the expansion ROM, as the user sees it; @len
 * 0: absent, or taken.
 */
struct uvfio_bar {
	resource_size_t start, len;
	bool port;		/* I/O space */
	bool prefetchable;	/* may be mapped write-combining */
	u8 width;		/* of accesses at most */
	bool mappable;		/* memory space, on pages of its own */
	struct resource rest;	/* of the last page; no parent: not needed */
	void __iomem *io;	/* set on first access, until remove */
};

/* An interrupt vector; with INTx, vector 0 is the line. */
struct uvfio_vector {
	struct eventfd_ctx *trigger;	/* ref; NULL: not connected */
	unsigned long count;		/* of interrupts; its handler's to write */
	struct uvfio_dev *udev;
	struct list_head list;		/* uvfio_dev.vectors_in_use */
	u32 index;			/* VFIO_PCI_*_IRQ_INDEX */
	unsigned int nr;
	int irq;
	bool requested;
	bool fresh;			/* requested by the call under way */
	bool masked;			/* by its user; the line is elsewhere */
	bool off;			/* disabled: it is masked, or not connected */
	bool bypass;			/* @producer is registered; device_lock */
	bool bypass_due;		/* is to be; device_lock */
	bool steered;			/* the user gave it @cpus */
	char name[48];			/* in /proc/interrupts */
	struct irq_bypass_producer producer;
	unsigned long cpus[];		/* a cpumask */
};

/* A signal from the kernel, by the indices that follow those of modes. */
struct uvfio_event {
	struct eventfd_ctx *trigger;	/* ref; NULL: not connected */
	unsigned long count;		/* of signals, but for loopback */
};

#define UVFIO_NUM_IRQS		(UVFIO_TIMER_IRQ_INDEX + 1)
#define UVFIO_EVENT(index)	((index) - VFIO_PCI_ERR_IRQ_INDEX)
#define UVFIO_NUM_EVENTS	UVFIO_EVENT(UVFIO_NUM_IRQS)

struct uvfio_timer {
	struct hrtimer hrtimer;		/* runs while @event is connected */
	struct uvfio_event *event;
	u64 period_ns;			/* 0: off */
};

/* Calls a function when an eventfd is signalled; see vfio_listener.c. */
struct uvfio_listener {
	struct eventfd_ctx *eventfd;		/* ref */
	wait_queue_head_t *queue;		/* the eventfd's */
	wait_queue_entry_t wait;
	struct work_struct work;
	bool (*signalled)(struct uvfio_listener *listener, bool may_sleep);
};

struct uvfio_dev {
	struct device dev;
	struct cdev cdev;
	struct pci_dev *pdev;			/* ref */
	int id;					/* the N of /dev/vfioN */

	struct mutex user_lock;			/* taken before device_lock */
	struct rw_semaphore mem_rwsem;
	/* To write: device_lock and mem_rwsem for write. To read: either. */
	struct uvfio_domain *domain;		/* ref */
	bool gone;				/* not bound yet, or no more */
	bool in_reset;				/* or power state changes; cmd_lock too */
	u16 decodes;				/* command bits IO, MEMORY in force */
	struct address_space *mapping;		/* fixed while open */

	struct mutex fault_lock;		/* small against large pages */

	struct mutex peer_lock;			/* and what peer_maps hold */
	struct list_head peer_maps;		/* BARs in domains; peer_lock */
	atomic_t num_peer_maps;			/* and those about to be there */

	/* device_lock */
	bool opened;
	bool dirty;				/* not reset since it was used */
	bool no_reset;				/* none has ever worked */
	u16 reset_memory;			/* decoded before the reset */
	bool vpd_broken;			/* for this user */
	struct pci_saved_state *pristine;	/* as found at bind */
	struct list_head ioeventfds;
	unsigned int num_ioeventfds;

	/* Fixed at probe, but for uvfio_bar.io. */
	struct uvfio_bar bars[PCI_ROM_RESOURCE + 1];
	int msix_bar;				/* -1: none */
	u32 msix_table;				/* its register that says so */
	u64 msix_start, msix_end;		/* bytes of the table, end exclusive */
	u32 bar_regs[PCI_STD_NUM_BARS];		/* as in config space */
	u64 region_size[UVFIO_NUM_REGIONS];
	bool has_intx;
	bool intx_maskable;			/* PCI 2.3 interrupt disable bit */
	u16 num_msi, num_msix;
	bool msix_dynamic;			/* vectors can be added singly */

	/* mem_rwsem */
	struct uvfio_reg *regs;			/* by config dword */
	struct xarray permits;			/* struct permit, likewise */

	/* device_lock and mem_rwsem for write */
	int irq_index;				/* VFIO_PCI_*_IRQ_INDEX, -1: none */
	unsigned int num_vectors;		/* that can be used in this mode */
	struct xarray vectors;			/* struct uvfio_vector */
	struct list_head vectors_in_use;	/* those that the mode's end is for */
	struct uvfio_intx_listener *intx_mask_listener, *intx_unmask_listener;
	struct uvfio_event events[UVFIO_NUM_EVENTS];
	struct uvfio_timer timer;

	spinlock_t cmd_lock;			/* and hardware's command */
	bool intx_armed;			/* the line has a handler */
	bool intx_masked;			/* by a firing or by the user */
	bool intx_disabled;			/* the user's command register bit */
	bool intx_line_off;			/* at the interrupt controller, or not ours */
};

/* Capability chain of a GET_*INFO call, built by the handler. */
struct uvfio_caps {
	void *buf;
	u32 size, last;		/* bytes; where the last one is */
};

/* One ioctl call, as its handler sees it: no user pointer but @vaddr of a map. */
struct uvfio_cmd {
	union {
		unsigned long value;	/* of calls that take no struct */
		u32 argsz;
		struct vfio_device_info device_info;
		struct vfio_region_info region_info;
		struct vfio_irq_info irq_info;
		struct vfio_irq_set irq_set;
		struct vfio_device_ioeventfd ioeventfd;
		struct vfio_iommu_type1_info iommu_info;
		struct vfio_iommu_type1_dma_map map;
		struct vfio_iommu_type1_dma_unmap unmap;
		struct uvfio_domain_set domain_set;
		struct uvfio_irq_affinity irq_affinity;
		struct uvfio_irq_timer irq_timer;
	};
	void *data;		/* what follows the struct */
	unsigned int done;	/* of what is done in turns */
	struct uvfio_domain *domain;	/* ref, put when all is unlocked */
	struct uvfio_caps caps;
	bool unchanged;		/* there are no results to return */
};

/*
 * The state of an open device, design-wise the one gate: every entry that reaches
 * a device passes here with device_lock or mem_rwsem held.
 */
static inline int uvfio_gate(struct uvfio_dev *udev)
{
	if (udev->gone)
		return -ENODEV;
	return udev->domain ? 0 : -EUNATCH;
}

/* vfio_main.c */
struct uvfio_dev *uvfio_dev_alloc(struct pci_dev *pdev);
int uvfio_dev_register(struct uvfio_dev *udev);
void uvfio_dev_unregister(struct uvfio_dev *udev);
int uvfio_caps_add(struct uvfio_caps *caps, u32 base,
		   struct vfio_info_cap_header *cap, size_t size);

/* vfio_pci.c */
int uvfio_pci_register_driver(void);
void uvfio_pci_unregister_driver(void);
int uvfio_pci_open(struct uvfio_dev *udev);
struct uvfio_domain *uvfio_pci_close(struct uvfio_dev *udev);
int uvfio_pci_attach(struct uvfio_dev *udev, struct uvfio_domain *domain);
struct uvfio_domain *uvfio_pci_detach(struct uvfio_dev *udev);
int uvfio_pci_reset(struct uvfio_dev *udev);
int uvfio_pci_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_pci_set_irqs(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_pci_steer_irqs(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_pci_config_write(struct uvfio_dev *udev, unsigned int index, u64 off,
			   const void *buf, size_t len);

/* vfio_bars.c */
void uvfio_bars_claim(struct uvfio_dev *udev);
void uvfio_bars_release(struct uvfio_dev *udev);
void uvfio_bars_zap(struct uvfio_dev *udev);
int uvfio_region_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
u64 uvfio_bar_size(struct uvfio_dev *udev, unsigned int index);
int uvfio_bar_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		   void *buf, size_t len);
int uvfio_bar_write(struct uvfio_dev *udev, unsigned int index, u64 off,
		    const void *buf, size_t len);
int uvfio_bar_write_prepare(struct uvfio_dev *udev, unsigned int index, u64 off,
			    size_t len);
int uvfio_bar_mmap(struct uvfio_dev *udev, unsigned int region,
		   struct vm_area_struct *vma);
int uvfio_rom_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		   void *buf, size_t len);
int uvfio_rom_write(struct uvfio_dev *udev, unsigned int index, u64 off,
		    const void *buf, size_t len);

struct uvfio_dev *uvfio_bar_hold(unsigned long vaddr, u64 size, bool write,
				 phys_addr_t *phys);
void uvfio_bar_unhold(struct uvfio_dev *udev);
bool uvfio_bar_is_at(struct uvfio_dev *udev, struct vm_area_struct *vma,
		     unsigned long address, phys_addr_t phys);

/* vfio_listener.c */
int uvfio_listener_start(struct uvfio_listener *listener, int fd,
			 bool (*signalled)(struct uvfio_listener *listener,
					   bool may_sleep));
void uvfio_listener_stop(struct uvfio_listener *listener);
void uvfio_listener_work(struct work_struct *work);

/* vfio_ioeventfd.c */
int uvfio_ioeventfd_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
void uvfio_ioeventfds_remove(struct uvfio_dev *udev);

/* vfio_config.c */

/* What a write asks the kernel to do, with one argument. */
enum uvfio_config_todo {
	UVFIO_CONFIG_DONE,
	UVFIO_CONFIG_COMMAND,	/* the register's new value */
	UVFIO_CONFIG_POWER,	/* the power state */
	UVFIO_CONFIG_VPD,	/* the address to read */
	UVFIO_CONFIG_RESET,
};

int uvfio_config_init(struct uvfio_dev *udev);
void uvfio_config_free(struct uvfio_dev *udev);
u64 uvfio_config_size(struct uvfio_dev *udev, unsigned int index);
int uvfio_config_read(struct uvfio_dev *udev, unsigned int index, u64 off,
		      void *buf, size_t len);
enum uvfio_config_todo uvfio_config_write(struct uvfio_dev *udev, u64 off,
					  const void *buf, size_t len, u32 *arg);
u16 uvfio_config_command(struct uvfio_dev *udev);
void uvfio_config_set_power(struct uvfio_dev *udev, pci_power_t state);
void uvfio_config_vpd(struct uvfio_dev *udev, u64 off, u16 addr);
void uvfio_config_forget(struct uvfio_dev *udev);
extern const struct attribute_group uvfio_config_group;

/* vfio_iommu.c, vfio_maps.c */
int uvfio_iommu_init(void);
void uvfio_iommu_exit(void);
struct uvfio_domain *uvfio_domain_alloc(void);
struct uvfio_domain *uvfio_domain_get(struct uvfio_domain *domain);
void uvfio_domain_put(struct uvfio_domain *domain);
void uvfio_domain_put_deferred(struct uvfio_domain *domain);
int uvfio_domain_attach(struct uvfio_domain *domain, struct pci_dev *pdev);
void uvfio_domain_detach(struct uvfio_domain *domain, struct pci_dev *pdev);
void uvfio_domain_show(struct seq_file *m, struct uvfio_domain *domain);
extern const struct attribute_group uvfio_iommu_group;
int uvfio_domain_info(struct uvfio_domain *domain, struct uvfio_cmd *cmd);
int uvfio_domain_map(struct uvfio_domain *domain, struct uvfio_cmd *cmd);
int uvfio_domain_map_type1(struct uvfio_domain *domain, struct uvfio_cmd *cmd);
int uvfio_domain_unmap(struct uvfio_domain *domain, struct uvfio_cmd *cmd);
int uvfio_domain_unmap_type1(struct uvfio_domain *domain,
			     struct uvfio_cmd *cmd);
void uvfio_maps_revoke_peer(struct uvfio_dev *udev);
int uvfio_domain_api_version(struct uvfio_domain *domain,
			     struct uvfio_cmd *cmd);
int uvfio_domain_check_extension(struct uvfio_domain *domain,
				 struct uvfio_cmd *cmd);
int uvfio_domain_set_iommu(struct uvfio_domain *domain, struct uvfio_cmd *cmd);

/* vfio_intrs.c */
void uvfio_irqs_init(struct uvfio_dev *udev);
int uvfio_irqs_info(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_irqs_set_shared(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_irqs_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_irqs_steer_shared(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_irqs_steer(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
void uvfio_irqs_show(struct seq_file *m, struct uvfio_dev *udev);
void uvfio_irqs_release(struct uvfio_dev *udev);
bool uvfio_irq_is_meant(const struct vfio_irq_set *set, const void *data,
			unsigned int i);

/* vfio_vectors.c */
bool uvfio_vectors_have(struct uvfio_dev *udev, const struct vfio_irq_set *set);
int uvfio_vectors_connect(struct uvfio_dev *udev,
			  const struct vfio_irq_set *set,
			  struct eventfd_ctx **triggers);
int uvfio_vectors_mask(struct uvfio_dev *udev, const struct vfio_irq_set *set,
		       const void *data, bool masked);
int uvfio_vectors_trigger(struct uvfio_dev *udev, struct uvfio_cmd *cmd);
int uvfio_vectors_steer(struct uvfio_dev *udev,
			const struct uvfio_irq_affinity *arg,
			const struct cpumask *cpus);
void uvfio_vectors_disable(struct uvfio_dev *udev);
void uvfio_vectors_release(struct uvfio_dev *udev);
void uvfio_vectors_bypass_stop(struct uvfio_dev *udev, u32 index,
			       unsigned int start, unsigned int count);
void uvfio_vectors_bypass_stop_all(struct uvfio_dev *udev);
void uvfio_vectors_bypass_start(struct uvfio_dev *udev);
void uvfio_vectors_show(struct seq_file *m, struct uvfio_dev *udev);
void uvfio_vector_fire(struct uvfio_vector *vector);
void uvfio_msix_update(struct uvfio_dev *udev);

/* vfio_intx.c */
int uvfio_intx_request(struct uvfio_vector *vector);
void uvfio_intx_free(struct uvfio_vector *vector);
void uvfio_intx_mask(struct uvfio_dev *udev, bool masked);
int uvfio_intx_listen(struct uvfio_dev *udev, int fd, bool mask);
void uvfio_intx_stop(struct uvfio_dev *udev);
void uvfio_intx_update(struct uvfio_dev *udev);
void uvfio_intx_set_reset(struct uvfio_dev *udev, bool in_reset);
u16 uvfio_intx_command(struct uvfio_dev *udev, u16 value);

/* vfio_events.c */
void uvfio_events_init(struct uvfio_dev *udev);
unsigned int uvfio_event_count(struct uvfio_dev *udev, u32 index);
void uvfio_event_trigger(struct uvfio_dev *udev, u32 index,
			 struct eventfd_ctx *trigger);
bool uvfio_event_loopback(struct uvfio_dev *udev, u32 index);
void uvfio_event_signal(struct uvfio_dev *udev, u32 index);
void uvfio_events_release(struct uvfio_dev *udev);
void uvfio_events_show(struct seq_file *m, struct uvfio_dev *udev);
int uvfio_timer_set(struct uvfio_dev *udev, struct uvfio_cmd *cmd);

#endif /* UVFIO_H */
