// SPDX-License-Identifier: GPL-2.0
/*
 * What all uvfio tests share; see common.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common.h"
#include "vf.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define PCI_DRIVERS	"/sys/bus/pci/drivers"

static const struct {
	unsigned int vendor;
	unsigned int device;
	unsigned int nth;
} known[] = {
	[NVME]		= { 0x1b36, 0x0010, 0 },
	[NVME2]		= { 0x1b36, 0x0010, 1 },
	[EDU]		= { 0x1234, 0x11e8, 0 },
	[EDU2]		= { 0x1234, 0x11e8, 3 },
	[TESTDEV]	= { 0x1b36, 0x0005, 0 },
	[E1000E]	= { 0x8086, 0x10d3, 0 },
	[BRIDGE]	= { 0x1b36, 0x000e, 0 },
	[IVSHMEM]	= { 0x1af4, 0x1110, 0 },
	[VIRTIO_RNG]	= { 0x1af4, 0x1044, 0 },
	[VIRTIO_SERIAL]	= { 0x1af4, 0x1043, 0 },
	[XHCI]		= { 0x1b36, 0x000d, 0 },
	[NEC_XHCI]	= { 0x1033, 0x0194, 0 },
	[NVME_PF]	= { 0x1b36, 0x0010, 2 },
	[NVME_VF]	= { 0x1b36, 0x0010, 3 },
	[SMALL1]	= { 0x1b36, 0x0005, 1 },
	[SMALL2]	= { 0x1b36, 0x0005, 2 },
	[HUGE_IVSHMEM]	= { 0x1af4, 0x1110, 1 },
	[EDU3]		= { 0x1234, 0x11e8, 1 },
	[EDU_NEIGHBOUR]	= { 0x1234, 0x11e8, 2 },
	[VIRTIO_AER]	= { 0x1af4, 0x1044, 1 },
	[EDU_BYPASS]	= { 0x1234, 0x11e8, 4 },
};

int write_file(const char *path, const char *text)
{
	ssize_t len = strlen(text);
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

int read_file(const char *path, char *text, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	close(fd);
	if (len < 0)
		return -errno;
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

bool file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static unsigned int device_attr(const char *bdf, const char *name)
{
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, name);
	if (read_file(path, text, sizeof(text)))
		return 0;
	return strtoul(text, NULL, 0);
}

int device_find(enum which which, char *bdf)
{
	unsigned int nth = known[which].nth;
	struct dirent **entries;
	int i, n, ret = -ENODEV;

	n = scandir(PCI_DEVICES, &entries, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (ret && name[0] != '.' &&
		    device_attr(name, "vendor") == known[which].vendor &&
		    device_attr(name, "device") == known[which].device &&
		    nth-- == 0) {
			snprintf(bdf, sizeof(((struct device *)0)->bdf), "%.15s",
				 name);
			ret = 0;
		}
		free(entries[i]);
	}
	free(entries);
	return ret;
}

/* -ENOENT: no driver */
int device_driver(const char *bdf, char *name, size_t size)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", bdf);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = '\0';
	snprintf(name, size, "%s", strrchr(target, '/') + 1);
	return 0;
}

int device_unbind(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", bdf);
	return write_file(path, bdf);
}

/* Take @bdf from whatever drives it and give it to @driver. */
int device_bind(const char *bdf, const char *driver)
{
	char path[PATH_MAX], name[64];
	int ret;

	ret = device_driver(bdf, name, sizeof(name));
	if (!ret && !strcmp(name, driver))
		return 0;
	if (!ret) {
		ret = device_unbind(bdf);
		if (ret)
			return ret;
	}
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	ret = write_file(path, driver);
	if (ret)
		return ret;
	ret = write_file("/sys/bus/pci/drivers_probe", bdf);
	if (ret)
		return ret;
	ret = device_driver(bdf, name, sizeof(name));
	if (ret)
		return ret;
	return strcmp(name, driver) ? -EBUSY : 0;
}

int device_node(const char *bdf, char *node, size_t size)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int ret = -ENOENT;
	DIR *dir;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/uvfio", bdf);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(node, size, "/dev/%s", entry->d_name);
		ret = 0;
	}
	closedir(dir);
	return ret;
}

/* What an administrator's udev rule does. */
int device_give(const char *node, uid_t uid)
{
	return chown(node, uid, uid) ? -errno : 0;
}

int module_load(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, parameters, 0))
		ret = -errno;
	close(fd);
	return ret;
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

/* One of the kernel's own, with what it depends on. */
int module_probe(const char *name)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		execlp("modprobe", "modprobe", name, NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && !status ? 0 : -ENOENT;
}

int tracing_mount(void)
{
	if (file_exists(TRACING "/trace"))
		return 0;
	return mount("tracefs", TRACING, "tracefs", 0, NULL) ? -errno : 0;
}

/* What is traced from now on. */
int trace_open(void)
{
	int ret, fd;

	ret = tracing_mount();
	if (!ret)
		ret = write_file(TRACING "/trace", "");
	if (ret)
		return ret;
	fd = open(TRACING "/trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A driver of the kernel's; false: this kernel does not have it. */
bool driver_available(const char *module, const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI_DRIVERS "/%s", driver);
	if (!file_exists(path))
		module_probe(module);
	return file_exists(path);
}

/*
 * Bind the device and give it to the test user. The module stays loaded from
 * one test program to the next, run.sh loads it.
 */
int device_prepare(enum which which, struct device *dev)
{
	char path[PATH_MAX];
	int ret;

	dev->fd = -1;
	ret = which == NVME_VF ? vf_create(dev->bdf) :
				 device_find(which, dev->bdf);
	if (ret)
		return ret;
	ret = device_bind(dev->bdf, "uvfio");
	if (ret)
		return ret;
	ret = device_node(dev->bdf, dev->node, sizeof(dev->node));
	if (ret)
		return ret;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", dev->bdf);
	dev->raw = open(path, O_RDONLY | O_CLOEXEC);
	if (dev->raw < 0)
		return -errno;
	return device_give(dev->node, TEST_UID);
}

/* Raw config space, also to write to it. */
int raw_open(const struct device *dev)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", dev->bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The bound device's config_permit; who has it open is root from then on. */
int permit_open(const struct device *dev)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/uvfio/%s/config_permit",
		 dev->bdf, strrchr(dev->node, '/') + 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int permit_write(int permit, uint32_t off, uint32_t read, uint32_t write)
{
	char line[64];
	int len;

	len = snprintf(line, sizeof(line), "%x %x %x\n", off, read, write);
	return pwrite(permit, line, len, 0) == len ? 0 : -errno;
}

int device_open(struct device *dev)
{
	dev->fd = uvfio_open(dev->node);
	return dev->fd < 0 ? dev->fd : 0;
}

int device_open_attached(struct device *dev, int domain)
{
	int ret;

	ret = device_open(dev);
	if (ret)
		return ret;
	return uvfio_attach(dev->fd, domain);
}

void device_close(struct device *dev)
{
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

uint16_t raw_read16(const struct device *dev, unsigned int offset)
{
	uint8_t b[2] = { 0xff, 0xff };

	/* A failed read looks like a missing device and no test expects it. */
	if (pread(dev->raw, b, sizeof(b), offset) != sizeof(b))
		return 0xffff;
	return b[0] | b[1] << 8;
}

uint32_t raw_read32(const struct device *dev, unsigned int offset)
{
	return raw_read16(dev, offset) |
	       (uint32_t)raw_read16(dev, offset + 2) << 16;
}

bool raw_bus_master(const struct device *dev)
{
	return raw_read16(dev, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

/* @root: from raw_open() */
int raw_write(int root, unsigned int off, size_t len, uint32_t value)
{
	return pwrite(root, &value, len, off) == (ssize_t)len ? 0 : -EIO;
}

/* One register as its user sees it, of 1 to 4 bytes. */
uint32_t config_read(int fd, unsigned int off, size_t len)
{
	uint32_t value = 0;

	if (uvfio_region_read(fd, VFIO_PCI_CONFIG_REGION_INDEX, off, &value,
			      len))
		return CONFIG_FAILED;
	return value;
}

int config_write(int fd, unsigned int off, size_t len, uint32_t value)
{
	return uvfio_region_write(fd, VFIO_PCI_CONFIG_REGION_INDEX, off, &value,
				  len);
}

/*
 * Become @uid for good: no capability in any set, no way back, and the memory
 * limit of a login.
 */
int drop_privileges(uid_t uid)
{
	return drop_privileges_limited(uid, MEMLOCK_BYTES);
}

/* The same, allowed to lock so much memory. */
int drop_privileges_limited(uid_t uid, size_t bytes)
{
	struct rlimit memlock = { bytes, bytes };
	int cap;

	if (setrlimit(RLIMIT_MEMLOCK, &memlock))
		return -errno;
	for (cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap))
			return -errno;
	}
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid))
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/*
	 * Changing uid hid /proc/self, which a login shell's child has, and
	 * no child may keep a device open when a failed test has ended.
	 */
	if (prctl(PR_SET_DUMPABLE, 1) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return is_unprivileged(uid) ? 0 : -EPERM;
}

bool is_unprivileged(uid_t uid)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uid_t ruid, euid, suid;
	int i, cap;

	if (!uid || getresuid(&ruid, &euid, &suid) || ruid != uid ||
	    euid != uid || suid != uid)
		return false;
	if (syscall(SYS_capget, &header, data))
		return false;
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		if (data[i].effective || data[i].permitted ||
		    data[i].inheritable)
			return false;
	}
	for (cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		if (prctl(PR_CAPBSET_READ, cap) ||
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0))
			return false;
	}
	return setuid(0) == -1 && errno == EPERM;
}

/* Open as root; what the kernel logs from now on can be read by anyone then. */
int kmsg_open(void)
{
	int fd;

	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

/*
 * Whether one kernel log line since kmsg_open(), or since the line last found,
 * holds both strings.
 */
bool kmsg_has(int kmsg, const char *first, const char *second)
{
	char line[8192];
	ssize_t len;

	for (;;) {
		len = read(kmsg, line, sizeof(line) - 1);
		/* EPIPE: the ring buffer overtook us; go on with what is left */
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			return false;
		line[len] = '\0';
		if (strstr(line, first) && strstr(line, second))
			return true;
	}
}

/*
 * What is behind @key on the first line of a file such as /proc/self/status that
 * begins with it and a colon; false: there is none.
 */
static bool find_line(const char *path, const char *key, char *value,
		      size_t size)
{
	size_t len = strlen(key);
	bool found = false;
	char line[256];
	FILE *file;

	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		found = !strncmp(line, key, len) && line[len] == ':';
		if (found) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(value, size, "%s",
				 line + len + 1 + strspn(line + len + 1, " \t"));
		}
	}
	fclose(file);
	return found;
}

/* A number of /proc/PID/status, such as VmPin in kB; -1: no such field. */
long process_status_of(pid_t pid, const char *field)
{
	char path[64], value[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return find_line(path, field, value, sizeof(value)) ?
		       strtol(value, NULL, 10) : -1;
}

long process_status(const char *field)
{
	return process_status_of(getpid(), field);
}

bool fdinfo_find(int fd, const char *key, char *value, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return find_line(path, key, value, size);
}

/* Of a node of ours, what it says of its domain, in any base; -1: no number. */
long long fdinfo_number(int fd, const char *key)
{
	char value[64], *end;
	long long number;

	if (!fdinfo_find(fd, key, value, sizeof(value)))
		return -1;
	number = strtoll(value, &end, 0);
	return end == value ? -1 : number;
}

bool fdinfo_is(int fd, const char *key, const char *value)
{
	char found[256];

	return fdinfo_find(fd, key, found, sizeof(found)) &&
	       !strcmp(found, value);
}

/* As root, who alone sees addresses there; then page_address() works as anyone. */
int pagemap_open(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* The physical address of a page of this process; 0: it is not in memory. */
uint64_t page_address(int pagemap, const void *address)
{
	const uint64_t present = 1ULL << 63, frame = (1ULL << 55) - 1;
	uint64_t entry;

	if (pread(pagemap, &entry, sizeof(entry), (uintptr_t)address /
		  PAGE_SIZE * sizeof(entry)) != sizeof(entry) ||
	    !(entry & present))
		return 0;
	return (entry & frame) * PAGE_SIZE;
}

/* Waits for it; what the kernel does soon it need not have done at once. */
bool fdinfo_becomes(int fd, const char *key, long long value)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (fdinfo_number(fd, key) != value) {
		if (now_ms() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/*
 * As root: pages pinned for devices in the whole machine. Only the tests pin
 * there, so that this tells what a process left behind that no longer exists.
 */
long pages_pinned(void)
{
	long acquired = -1, released = -1, value;
	char name[64];
	FILE *file;

	/* Each CPU counts for itself: ask them all to add it up. */
	if (write_file("/proc/sys/vm/stat_refresh", "1"))
		return -1;
	file = fopen("/proc/vmstat", "re");
	if (!file)
		return -1;
	while (fscanf(file, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	fclose(file);
	return acquired < 0 || released < 0 ? -1 : acquired - released;
}

int event_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int events_new(int *events, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		events[i] = event_new();
		if (events[i] < 0)
			return events[i];
	}
	return 0;
}

/* Whether the eventfd was signalled; takes the signal. */
bool event_wait(int fd, int timeout_ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	uint64_t count;

	if (poll(&pollfd, 1, timeout_ms) != 1)
		return false;
	return read(fd, &count, sizeof(count)) == sizeof(count) && count;
}

int event_signal(int fd)
{
	const uint64_t one = 1;

	return write(fd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}

/* Memory of its own, so that it has no neighbour that a test could hit. */
void *dma_alloc(size_t size)
{
	void *address = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return address == MAP_FAILED ? NULL : address;
}

/* The same in huge pages, if the kernel has them to spare; @size is of those. */
void *huge_alloc(size_t size)
{
	uint8_t *room = mmap(NULL, size + HUGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (room == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)room & (HUGE_SIZE - 1);
	if (before)
		munmap(room, before);
	munmap(room + before + size, HUGE_SIZE - before);
	madvise(room + before, size, MADV_HUGEPAGE);
	memset(room + before, 0, size);
	return room + before;
}

/* The same in pages of 4 KiB, each of which comes when it is touched. */
void *small_alloc(size_t size)
{
	void *address = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (address == MAP_FAILED)
		return NULL;
	madvise(address, size, MADV_NOHUGEPAGE);
	return address;
}

void dma_free(void *address, size_t size)
{
	if (address)
		munmap(address, size);
}

bool is_filled(const void *address, int byte, size_t size)
{
	const uint8_t *p = address;
	size_t i;

	for (i = 0; i < size; i++) {
		/* A device may write at any time: read each byte anew. */
		if (__atomic_load_n(p + i, __ATOMIC_ACQUIRE) != (uint8_t)byte)
			return false;
	}
	return true;
}

/* MAP_FAILED and errno on failure, as from mmap() */
void *bar_map(int fd, unsigned int bar, uint64_t offset, size_t size)
{
	struct vfio_region_info info;
	int ret;

	ret = uvfio_region(fd, bar, &info);
	if (ret) {
		errno = -ret;
		return MAP_FAILED;
	}
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    info.offset + offset);
}

static sigjmp_buf fault_env;

static void fault_handler(int sig)
{
	siglongjmp(fault_env, sig);
}

/* Only SIGBUS counts: a wild pointer still kills the test. */
static void fault_catch(struct sigaction *saved)
{
	struct sigaction action = { .sa_handler = fault_handler };

	sigaction(SIGBUS, &action, saved);
}

bool read_faults(const void *address, uint32_t *value)
{
	struct sigaction saved;
	bool faulted = true;
	uint32_t seen = 0;

	fault_catch(&saved);
	if (!sigsetjmp(fault_env, 1)) {
		seen = __atomic_load_n((const uint32_t *)address,
				       __ATOMIC_RELAXED);
		if (value)
			*value = seen;
		sigaction(SIGBUS, &saved, NULL);
		return false;
	}
	sigaction(SIGBUS, &saved, NULL);
	return faulted;
}

bool write_faults(void *address, uint32_t value)
{
	struct sigaction saved;

	fault_catch(&saved);
	if (!sigsetjmp(fault_env, 1)) {
		__atomic_store_n((uint32_t *)address, value, __ATOMIC_RELAXED);
		sigaction(SIGBUS, &saved, NULL);
		return false;
	}
	sigaction(SIGBUS, &saved, NULL);
	return true;
}

int fd_send(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

int fd_receive(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/*
 * How long a stress test lasts: with a kernel that checks its locks, which is
 * there to find something, longer. STRESS_SECONDS is for other times.
 */
uint64_t stress_ms(unsigned int seconds, unsigned int checking_seconds)
{
	const char *wish = getenv("STRESS_SECONDS");

	if (wish && *wish)
		return strtoul(wish, NULL, 0) * 1000;
	return 1000 * (file_exists("/proc/lockdep") ? checking_seconds :
						      seconds);
}
