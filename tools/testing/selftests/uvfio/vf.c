// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual function; see vf.h.
 *
 * Linux makes it, but for NVMe that is half of it: the controller in it is
 * "secondary" to that of the physical function, and answers nothing before that
 * one has given it queues and vectors and has called it online, by the commands
 * of "Virtualization Enhancements" in the NVM Express Base Specification.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>

#include "common.h"
#include "vf.h"

#define IDENTIFY		0x06
#define IDENTIFY_SECONDARY	0x15	/* CNS */

#define MANAGE			0x1c	/* "Virtualization Management" */
#define ASSIGN			8u	/* its actions */
#define ONLINE			9u
#define QUEUES			0u	/* its resources */
#define VECTORS			1u

#define FIRST_VF		1

/* "Secondary Controller List" */
struct secondary_list {
	uint8_t	count;
	uint8_t	reserved[31];
	struct secondary {
		uint16_t id;
		uint16_t primary;
		uint8_t	state;		/* bit 0: online */
		uint8_t	reserved[3];
		uint16_t function;	/* from 1 */
		uint16_t queues;
		uint16_t vectors;
		uint8_t	reserved2[18];
	} controllers[127];
};

static_assert(sizeof(struct secondary) == 32, "");
static_assert(sizeof(struct secondary_list) == 4096, "");

/* The kernel's node of the controller in @pf, which is there when it works. */
static int controller_open(const char *pf)
{
	char path[PATH_MAX], state[32];
	struct dirent *entry;
	int fd = -ENOENT;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nvme", pf);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (fd < 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "nvme", 4))
			continue;
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/nvme/%s/state", pf,
			 entry->d_name);
		if (read_file(path, state, sizeof(state)) ||
		    strcmp(state, "live"))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

static int admin_command(int nvme, struct nvme_admin_cmd command)
{
	int ret = ioctl(nvme, NVME_IOCTL_ADMIN_CMD, &command);

	if (ret < 0)
		return -errno;
	return ret ? -EIO : 0;	/* the controller's status, 0 is success */
}

static int manage(int nvme, const struct secondary *controller,
		  unsigned int action, unsigned int resource,
		  unsigned int count)
{
	return admin_command(nvme, (struct nvme_admin_cmd) {
		.opcode = MANAGE,
		.cdw10 = controller->id << 16 | resource << 8 | action,
		.cdw11 = count,
	});
}

/* One queue for I/O beside that for administration, each with its vector. */
static int bring_online(int nvme, const struct secondary *controller)
{
	int ret;

	ret = manage(nvme, controller, ASSIGN, QUEUES, 2);
	if (!ret)
		ret = manage(nvme, controller, ASSIGN, VECTORS, 2);
	if (!ret)
		ret = manage(nvme, controller, ONLINE, 0, 0);
	return ret;
}

static int enable_controller(int nvme)
{
	struct secondary_list list = { 0 };
	unsigned int i;
	int ret;

	ret = admin_command(nvme, (struct nvme_admin_cmd) {
		.opcode = IDENTIFY,
		.addr = (uintptr_t)&list,
		.data_len = sizeof(list),
		.cdw10 = IDENTIFY_SECONDARY,
	});
	if (ret)
		return ret;
	for (i = 0; i < list.count; i++) {
		if (list.controllers[i].function != FIRST_VF)
			continue;
		if (list.controllers[i].state & 1)
			return 0;
		return bring_online(nvme, &list.controllers[i]);
	}
	return -ENODEV;
}

static int enable_function(const char *pf)
{
	char path[PATH_MAX], count[32];
	int ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs",
		 pf);
	ret = read_file(path, count, sizeof(count));
	if (ret || strcmp(count, "0"))
		return ret;

	/* The nvme driver is not to wait for a controller that is offline. */
	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/sriov_drivers_autoprobe", pf);
	ret = write_file(path, "0");
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs",
		 pf);
	return write_file(path, "1");
}

int vf_create(char *bdf)
{
	uint64_t deadline = now_ms() + WAIT_MS;
	char pf[sizeof(((struct device *)0)->bdf)];
	int nvme, ret;

	if (!driver_available("nvme", "nvme"))
		return -ENOENT;
	ret = device_find(NVME_PF, pf);
	if (!ret)
		ret = device_bind(pf, "nvme");
	if (!ret)
		ret = enable_function(pf);
	if (ret)
		return ret;

	/* The driver starts the controller in the background. */
	while ((nvme = controller_open(pf)) < 0 && now_ms() < deadline)
		usleep(10000);
	if (nvme < 0)
		return nvme;
	ret = enable_controller(nvme);
	close(nvme);
	return ret ? ret : device_find(NVME_VF, bdf);
}
