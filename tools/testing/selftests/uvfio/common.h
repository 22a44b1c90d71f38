/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What all uvfio tests share: finding and binding the test machine's devices,
 * becoming an ordinary user, and looking at the device from the side, as the
 * administrator sees it.
 *
 * Functions return 0 (or what they are asked for) on success, else -errno.
 */
#ifndef UVFIO_TEST_COMMON_H
#define UVFIO_TEST_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/pci_regs.h>
#include <linux/uvfio.h>

#include "uvfio.h"

#define TEST_UID	1000
#define OTHER_UID	1001

/* Generous: emulated machines are slow and shared. */
#define WAIT_MS		20000
/* Long enough for an interrupt or a DMA that must not come to show itself. */
#define QUIET_MS	100

#define PAGE_SIZE	4096UL

#define TRACING		"/sys/kernel/tracing"	/* from tracing_mount() on */
#define HUGE_SIZE	(2UL << 20)
#define MEMLOCK_BYTES	(8UL << 20)

/*
 * What interrupts are written to, where no memory of the user's can be: their
 * addresses on x86; for an SMMU, where Linux maps the doorbell of the ITS.
 */
#ifdef __aarch64__
#define IS_AARCH64	true
#define MSI_START	0x8000000ULL
#define MSI_END		0x8100000ULL
#else
#define IS_AARCH64	false
#define MSI_START	0xfee00000ULL
#define MSI_END		0xfef00000ULL
#endif

/* The devices of the test machine; where there are two, in bus order. */
enum which {
	NVME,		/* each NVMe controller has an IOMMU group of its own */
	NVME2,
	EDU,		/* on the root bus, a group of its own */
	EDU2,		/* behind the bridge: one group with it and TESTDEV */
	TESTDEV,
	E1000E,
	BRIDGE,
	IVSHMEM,	/* BAR 0 smaller than a page, BAR 2 64 MiB of memory */
	VIRTIO_RNG,
	VIRTIO_SERIAL,	/* with 2048 MSI-X vectors */
	XHCI,
	NEC_XHCI,	/* with 16 MSI vectors */
	NVME_PF,	/* has SR-IOV */
	NVME_VF,	/* not there before vf_create(), see vf.h */
	SMALL1,		/* two functions of one device: one group */
	SMALL2,
	HUGE_IVSHMEM,	/* BAR 2 1 GiB of memory */
	EDU3,		/* on the root bus, too: a group of its own */
	EDU_NEIGHBOUR,	/* there, too: its interrupt line is EDU's */
	VIRTIO_AER,	/* as VIRTIO_RNG, and reports errors */
	EDU_BYPASS,	/* the IOMMU does not translate for it: no group */
};

struct device {
	char bdf[16];
	char node[32];	/* /dev/vfioN */
	int raw;	/* the real config space, from sysfs, opened as root */
	int fd;		/* set by device_open() */
};

/* As root: */
int device_find(enum which which, char *bdf);
int device_driver(const char *bdf, char *name, size_t size);
int device_unbind(const char *bdf);
int device_bind(const char *bdf, const char *driver);
int device_give(const char *node, uid_t uid);
int module_load(const char *path, const char *parameters);
int module_unload(const char *name);
int module_probe(const char *name);
int tracing_mount(void);
int trace_open(void);
bool driver_available(const char *module, const char *driver);
int device_prepare(enum which which, struct device *dev);
int raw_open(const struct device *dev);
int permit_open(const struct device *dev);
int permit_write(int permit, uint32_t off, uint32_t read, uint32_t write);
int kmsg_open(void);
long pages_pinned(void);
int pagemap_open(void);

/* As anyone: */
int device_node(const char *bdf, char *node, size_t size);
int device_open(struct device *dev);
int device_open_attached(struct device *dev, int domain);
void device_close(struct device *dev);

uint16_t raw_read16(const struct device *dev, unsigned int offset);
uint32_t raw_read32(const struct device *dev, unsigned int offset);
bool raw_bus_master(const struct device *dev);
int raw_write(int root, unsigned int off, size_t len, uint32_t value);

/* What config_read() returns for an error, and no register of a test device is. */
#define CONFIG_FAILED	0xeeeeeeeeU

uint32_t config_read(int fd, unsigned int off, size_t len);
int config_write(int fd, unsigned int off, size_t len, uint32_t value);

int drop_privileges(uid_t uid);
int drop_privileges_limited(uid_t uid, size_t bytes);
bool is_unprivileged(uid_t uid);

int write_file(const char *path, const char *text);
int read_file(const char *path, char *text, size_t size);
bool file_exists(const char *path);

bool kmsg_has(int kmsg, const char *first, const char *second);

long process_status_of(pid_t pid, const char *field);
long process_status(const char *field);
bool fdinfo_find(int fd, const char *key, char *value, size_t size);
long long fdinfo_number(int fd, const char *key);
bool fdinfo_is(int fd, const char *key, const char *value);
bool fdinfo_becomes(int fd, const char *key, long long value);
uint64_t page_address(int pagemap, const void *address);

int event_new(void);
int events_new(int *events, unsigned int count);
bool event_wait(int fd, int timeout_ms);
int event_signal(int fd);

void *dma_alloc(size_t size);
void *huge_alloc(size_t size);
void *small_alloc(size_t size);
void dma_free(void *address, size_t size);
bool is_filled(const void *address, int byte, size_t size);

void *bar_map(int fd, unsigned int bar, uint64_t offset, size_t size);
bool read_faults(const void *address, uint32_t *value);
bool write_faults(void *address, uint32_t value);

int fd_send(int sock, int fd);
int fd_receive(int sock);

uint64_t now_ms(void);
uint64_t stress_ms(unsigned int seconds, unsigned int checking_seconds);

#endif /* UVFIO_TEST_COMMON_H */
