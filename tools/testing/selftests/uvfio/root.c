// SPDX-License-Identifier: GPL-2.0
/*
 * A process that stays root; see root.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "common.h"
#include "root.h"

/* Write @text to a file or, without a path, say how many pages are pinned. */
struct order {
	char path[96];
	char text[16];
};

static void obey(int sock)
{
	struct order order;
	long ret;

	while (read(sock, &order, sizeof(order)) == sizeof(order)) {
		ret = *order.path ? write_file(order.path, order.text) :
				    pages_pinned();
		if (write(sock, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
}

int root_start(void)
{
	int sock[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -errno;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock[0]);
		obey(sock[1]);
		_exit(0);
	}
	close(sock[1]);
	return pid < 0 ? -errno : sock[0];
}

static long order(int root, const char *path, const char *text)
{
	struct order order = { 0 };
	long ret;

	snprintf(order.path, sizeof(order.path), "%s", path);
	snprintf(order.text, sizeof(order.text), "%s", text);
	if (write(root, &order, sizeof(order)) != sizeof(order) ||
	    read(root, &ret, sizeof(ret)) != sizeof(ret))
		return -EIO;
	return ret;
}

int root_write(int root, const char *path, const char *text)
{
	return order(root, path, text);
}

int root_unbind(int root, const char *bdf)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind",
		 bdf);
	return root_write(root, path, bdf);
}

bool root_sees_pinned(int root, long pages)
{
	uint64_t end = now_ms() + WAIT_MS;
	long seen;

	while ((seen = order(root, "", "")) != pages) {
		if (now_ms() > end) {
			printf("# %ld pages are pinned, not %ld\n", seen, pages);
			return false;
		}
		usleep(5000);
	}
	return true;
}
