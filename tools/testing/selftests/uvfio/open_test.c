// SPDX-License-Identifier: GPL-2.0
/*
 * Who can open a device, who shares it, and what is left when the last one is
 * gone, however that comes about.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "edu.h"
#include "test.h"

#define IOVA	0x100000

FIXTURE(open)
{
	struct device dev;
};

FIXTURE_SETUP(open)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
}

FIXTURE_TEARDOWN(open)
{
	device_close(&self->dev);
}

/* Everything a driver does: registers, DMA both ways and an interrupt. */
static int drive(int fd)
{
	struct edu edu = { 0 };
	uint8_t *memory = NULL;
	int event = -1, ret;

	ret = edu_start(&edu, fd);
	if (ret)
		goto out;
	edu_write(&edu, EDU_LIVENESS, 0x12345678);
	if (edu_read(&edu, EDU_LIVENESS) != ~0x12345678u) {
		ret = -EIO;
		goto out;
	}

	ret = -ENOMEM;
	memory = dma_alloc(PAGE_SIZE);
	event = event_new();
	if (!memory || event < 0)
		goto out;
	ret = uvfio_irq_eventfds(fd, VFIO_PCI_MSI_IRQ_INDEX, 0, &event, 1);
	if (ret)
		goto out;
	ret = uvfio_dma_map(fd, memory, PAGE_SIZE, IOVA, VFIO_DMA_MAP_FLAG_READ |
			    VFIO_DMA_MAP_FLAG_WRITE);
	if (ret)
		goto out;
	ret = edu_fill(&edu, IOVA, memory, 0x5a);
	if (ret)
		goto out;
	memset(memory, 0, PAGE_SIZE);
	ret = edu_store_irq(&edu, IOVA, 0, EDU_BUFFER_SIZE);
	if (ret)
		goto out;
	if (!event_wait(event, WAIT_MS))
		ret = -ETIMEDOUT;
	else if (!is_filled(memory, 0x5a, EDU_BUFFER_SIZE))
		ret = -EIO;
	edu_write(&edu, EDU_IRQ_ACK, EDU_DMA_IRQ);
	uvfio_irq_disable(fd, VFIO_PCI_MSI_IRQ_INDEX);
	if (uvfio_dma_unmap(fd, IOVA, PAGE_SIZE) != PAGE_SIZE && !ret)
		ret = -EIO;
out:
	edu_stop(&edu);
	dma_free(memory, PAGE_SIZE);
	if (event >= 0)
		close(event);
	return ret;
}

/* The child's exit status, or -1 when it was killed. */
static int wait_child(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* The whole point: a process that has nothing but the node drives a device. */
TEST_F(open, unprivileged_process_drives_a_device)
{
	char path[128];

	EXPECT_TRUE(is_unprivileged(TEST_UID));
	EXPECT_EQ(0, process_status("CapEff"));
	EXPECT_EQ(0, process_status("CapPrm"));
	EXPECT_EQ(0, process_status("CapBnd"));
	EXPECT_EQ(1, process_status("NoNewPrivs"));

	/* It cannot reach the device in any of the usual ways. */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0",
		 self->dev.bdf);
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_EQ(EACCES, errno);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
		 self->dev.bdf);
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_EQ(EACCES, errno);
	EXPECT_GT(0, device_unbind(self->dev.bdf));

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	EXPECT_EQ(0, drive(self->dev.fd));
	EXPECT_TRUE(is_unprivileged(TEST_UID));
}

TEST_F(open, device_opens_once)
{
	pid_t pid;

	ASSERT_EQ(0, device_open(&self->dev));
	EXPECT_EQ(-EBUSY, uvfio_open(self->dev.node));
	EXPECT_EQ(-1, open(self->dev.node, O_RDONLY));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, open(self->dev.node, O_WRONLY | O_NONBLOCK));
	EXPECT_EQ(EBUSY, errno);

	/* Another process, too, and a refused one takes nothing away. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(uvfio_open(self->dev.node) == -EBUSY ? 0 : 1);
	EXPECT_EQ(0, wait_child(pid));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_EQ(0, drive(self->dev.fd));

	device_close(&self->dev);
	EXPECT_EQ(0, device_open(&self->dev));
}

/* State of one user is not there for the next: each starts without a domain. */
TEST_F(open, each_open_starts_anew)
{
	uint16_t word;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, device_open(&self->dev));
		EXPECT_EQ(-EUNATCH, uvfio_config_read16(self->dev.fd, 0,
							&word));
		ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
		EXPECT_EQ(0, drive(self->dev.fd));
		device_close(&self->dev);
	}
}

TEST_F(open, domains_are_many)
{
	int a = uvfio_domain_open(), b = uvfio_domain_open();

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	ASSERT_EQ(0, device_open_attached(&self->dev, a));
	EXPECT_EQ(0, drive(self->dev.fd));
	ASSERT_EQ(0, uvfio_detach(self->dev.fd));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, b));
	EXPECT_EQ(0, drive(self->dev.fd));
	close(a);
	close(b);
}

TEST_F(open, dup_shares_the_device)
{
	int copy;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	copy = dup(self->dev.fd);
	ASSERT_LE(0, copy);
	device_close(&self->dev);

	EXPECT_EQ(-EBUSY, uvfio_open(self->dev.node));
	EXPECT_EQ(0, drive(copy));
	close(copy);
	EXPECT_EQ(0, device_open(&self->dev));
}

/* The device stays the child's when the parent closes it. */
TEST_F(open, fork_shares_the_device)
{
	int go[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		_exit(drive(self->dev.fd) ? 2 : 0);
	}
	device_close(&self->dev);
	EXPECT_EQ(-EBUSY, uvfio_open(self->dev.node));
	EXPECT_EQ(1, write(go[1], "", 1));
	EXPECT_EQ(0, wait_child(pid));
	EXPECT_EQ(0, device_open(&self->dev));
}

/* What a process mapped stays mapped when only a child of it exits. */
TEST_F(open, mappings_outlive_a_child)
{
	struct edu edu;
	uint8_t *memory = dma_alloc(PAGE_SIZE);
	pid_t pid;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, madvise(memory, PAGE_SIZE, MADV_DONTFORK));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, edu_start(&edu, self->dev.fd));
	ASSERT_EQ(0, uvfio_dma_map(self->dev.fd, memory, PAGE_SIZE, IOVA,
				   VFIO_DMA_MAP_FLAG_READ |
				   VFIO_DMA_MAP_FLAG_WRITE));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	EXPECT_EQ(0, wait_child(pid));

	EXPECT_EQ(0, edu_fill(&edu, IOVA, memory, 0x77));
	memset(memory, 0, PAGE_SIZE);
	EXPECT_EQ(0, edu_store(&edu, IOVA, 0, EDU_BUFFER_SIZE));
	EXPECT_TRUE(is_filled(memory, 0x77, EDU_BUFFER_SIZE));
	edu_stop(&edu);
	dma_free(memory, PAGE_SIZE);
}

/* A child maps its own memory through the shared device and pays itself. */
TEST_F(open, mapping_is_charged_to_who_maps)
{
	long kb = process_status("VmPin");
	int done[2], go[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, pipe(done));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		void *memory = dma_alloc(16 * PAGE_SIZE);
		long own = process_status("VmPin");

		close(done[0]);
		close(go[1]);
		if (uvfio_dma_map(self->dev.fd, memory, 16 * PAGE_SIZE, IOVA,
				  VFIO_DMA_MAP_FLAG_READ))
			_exit(1);
		if (process_status("VmPin") != own + 64)
			_exit(2);
		if (write(done[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(3);
		if (process_status("VmPin") != own)
			_exit(4);
		_exit(0);
	}
	close(done[1]);
	EXPECT_EQ(1, read(done[0], &byte, 1));
	EXPECT_EQ(kb, process_status("VmPin"));
	/* The parent may unmap it: the domain is the same one. */
	EXPECT_EQ(16 * PAGE_SIZE, uvfio_dma_unmap(self->dev.fd, IOVA,
						  16 * PAGE_SIZE));
	EXPECT_EQ(kb, process_status("VmPin"));
	EXPECT_EQ(1, write(go[1], "", 1));
	EXPECT_EQ(0, wait_child(pid));
}

/* These start as root, to have two users that cannot open each other's. */
FIXTURE(nodes)
{
	struct device dev;
};

FIXTURE_SETUP(nodes)
{
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
}

FIXTURE_TEARDOWN(nodes)
{
	device_close(&self->dev);
}

TEST_F(nodes, start_out_closed_to_users)
{
	struct stat st;

	/* A fresh node, as nobody's rule has touched it. */
	ASSERT_EQ(0, device_unbind(self->dev.bdf));
	ASSERT_EQ(-1, stat(self->dev.node, &st));
	ASSERT_EQ(0, device_bind(self->dev.bdf, "uvfio"));
	ASSERT_EQ(0, device_node(self->dev.bdf, self->dev.node,
				 sizeof(self->dev.node)));
	ASSERT_EQ(0, stat(self->dev.node, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_uid);
	EXPECT_EQ(0, st.st_gid);

	ASSERT_EQ(0, stat("/dev/uiommu", &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0666, st.st_mode & 07777);

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	EXPECT_EQ(-EACCES, device_open(&self->dev));
	EXPECT_LE(0, uvfio_domain_open());
}

TEST_F(nodes, have_the_promised_names)
{
	char path[128], target[128];
	const char *name = strrchr(self->dev.node, '/') + 1;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/uvfio/%s",
		 self->dev.bdf, name);
	EXPECT_TRUE(file_exists(path));
	snprintf(path, sizeof(path), "/sys/class/uvfio/%s/dev", name);
	EXPECT_EQ(0, read_file(path, target, sizeof(target)));
	snprintf(path, sizeof(path), "/sys/class/uvfio/%s/device/vendor", name);
	EXPECT_EQ(0, read_file(path, target, sizeof(target)));
	EXPECT_STREQ("0x1234", target);
}

TEST_F(nodes, belong_to_one_user)
{
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (drop_privileges(OTHER_UID))
			_exit(1);
		_exit(device_open(&self->dev) == -EACCES ? 0 : 2);
	}
	EXPECT_EQ(0, wait_child(pid));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	EXPECT_EQ(0, device_open(&self->dev));
}

/* Holding the descriptor is all the right that there is, and enough. */
TEST_F(nodes, descriptor_can_be_passed_on)
{
	int pair[2], fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pair[0]);
		if (drop_privileges(OTHER_UID))
			_exit(1);
		if (uvfio_open(self->dev.node) != -EACCES)
			_exit(2);
		fd = fd_receive(pair[1]);
		if (fd < 0)
			_exit(3);
		if (uvfio_attach(fd, -1))
			_exit(4);
		_exit(drive(fd) ? 5 : 0);
	}
	close(pair[1]);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, fd_send(pair[0], self->dev.fd));
	device_close(&self->dev);
	EXPECT_EQ(0, wait_child(pid));
	EXPECT_EQ(0, device_open(&self->dev));
}

/* Nor does it matter who opened it: root can hand a device out. */
TEST_F(nodes, descriptor_of_root_serves_a_user)
{
	ASSERT_EQ(0, device_open(&self->dev));
	ASSERT_EQ(0, drop_privileges(OTHER_UID));
	ASSERT_EQ(0, uvfio_attach(self->dev.fd, -1));
	EXPECT_EQ(0, drive(self->dev.fd));
}

/* What the victim does until it is killed: DMA and interrupts, all the time. */
static void work_forever(struct device *dev, int ready)
{
	uint8_t *memory = dma_alloc(64 * PAGE_SIZE);
	int event = event_new(), domain;
	struct edu edu;

	if (drop_privileges(TEST_UID))
		_exit(1);
	domain = uvfio_domain_open();
	if (device_open_attached(dev, domain) || edu_start(&edu, dev->fd) ||
	    uvfio_dma_map(domain, memory, 64 * PAGE_SIZE, IOVA,
			  VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) ||
	    uvfio_irq_eventfds(dev->fd, VFIO_PCI_MSI_IRQ_INDEX, 0, &event, 1) ||
	    write(ready, "", 1) != 1)
		_exit(2);
	for (;;)
		edu_store_irq(&edu, IOVA, 0, EDU_BUFFER_SIZE);
}

static int open_and_drive(struct device *dev)
{
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (drop_privileges(TEST_UID))
			_exit(1);
		if (device_open_attached(dev, -1))
			_exit(2);
		_exit(drive(dev->fd) ? 3 : 0);
	}
	return wait_child(pid);
}

/*
 * A process is killed in the middle of everything: DMA, mappings in the IOMMU
 * and of the BAR, armed interrupts. The next one finds the device ready.
 */
TEST_F(nodes, killed_process_leaves_nothing)
{
	long pinned = pages_pinned();
	int ready[2], status, i;
	char byte;
	pid_t pid;

	ASSERT_LE(0, pinned);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			work_forever(&self->dev, ready[1]);
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		EXPECT_TRUE(raw_bus_master(&self->dev));
		EXPECT_EQ(pinned + 64, pages_pinned());
		EXPECT_EQ(-EBUSY, uvfio_open(self->dev.node));

		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));

		/* At once: the kernel has let go when the parent knows. */
		EXPECT_FALSE(raw_bus_master(&self->dev));
		EXPECT_EQ(pinned, pages_pinned());
		EXPECT_EQ(0, open_and_drive(&self->dev));
		EXPECT_EQ(pinned, pages_pinned());
	}
}

/* The last open descriptor may be one in flight in a socket. */
TEST_F(nodes, descriptor_in_flight_dies_with_its_socket)
{
	int pair[2];

	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, fd_send(pair[0], self->dev.fd));
	device_close(&self->dev);
	EXPECT_EQ(-EBUSY, device_open(&self->dev));
	close(pair[0]);
	close(pair[1]);
	EXPECT_EQ(0, device_open(&self->dev));
}

TEST_HARNESS_MAIN
