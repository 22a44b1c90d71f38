// SPDX-License-Identifier: GPL-2.0
/*
 * A small NVMe driver in user space, made to be read and copied.
 *
 * The order of things here is that of any driver on /dev/vfioN: open,
 * attach to a domain, look at the device, map registers, map memory, connect
 * interrupts, and only then let the device act. There is no clean-up order to
 * get right: when the descriptor is closed, or the process killed, the kernel
 * stops the device's DMA, resets it and gives the memory back, in that order.
 *
 * If the device disappears (unbound, unplugged), calls fail with ENODEV and
 * touching the register mapping raises SIGBUS, which ends this program: that
 * is all it could do anyway.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../lib/uvfio.h"
#include "nvme.h"

/*
 * Where the device sees our memory. The address space is the device's own, so
 * any address will do that lies in a usable window (UVFIO_IOMMU_GET_INFO lists
 * them); on x86 all below 4 GiB is one but for a hole at 0xfee00000.
 */
#define MEMORY_IOVA	0x10000000

/* All of our memory fits one. */
#define HUGE_PAGE	0x200000

/* One mapping holds everything, in pages of the size that the device uses. */
enum {
	PAGE_ADMIN_COMMANDS,
	PAGE_ADMIN_COMPLETIONS,
	PAGE_IO_COMMANDS,
	PAGE_IO_COMPLETIONS,
	PAGE_DATA,
	/* rounded up so that the length suits any page size of the CPU */
	PAGES = (PAGE_DATA + NVME_BUFFERS + 15) / 16 * 16
};

/* How long a command may take; a device that exceeds this is broken. */
#define COMMAND_MS	5000
#define SHUTDOWN_MS	5000

#define NAMESPACE	1

static int fail(int error, const char *what)
{
	fprintf(stderr, "nvme: %s: %s\n", what, strerror(-error));
	return error;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void *page(struct nvme *nvme, unsigned int number)
{
	return nvme->memory + (size_t)number * nvme->page_size;
}

static uint64_t page_iova(struct nvme *nvme, unsigned int number)
{
	return nvme->iova + (uint64_t)number * nvme->page_size;
}

void *nvme_buffer(struct nvme *nvme, unsigned int buffer)
{
	return page(nvme, PAGE_DATA + buffer);
}

/*
 * Queues. Commands go into memory, then a doorbell tells the device how far.
 * Completions come into memory, then an interrupt tells us to look; the phase
 * tag, which the device flips each time round, shows which ones are new.
 */

static void ring(struct nvme *nvme, unsigned int doorbell, unsigned int value)
{
	uvfio_write32(nvme->bar, NVME_DOORBELLS + doorbell * nvme->stride,
		      value);
}

void nvme_submit(struct nvme *nvme, struct nvme_queue *queue,
		 const struct nvme_command *command)
{
	queue->commands[queue->tail] = *command;
	queue->tail = (queue->tail + 1) % nvme->entries;
	uvfio_dma_wmb();
	ring(nvme, 2 * queue->id, queue->tail);
}

unsigned int nvme_reap(struct nvme *nvme, struct nvme_queue *queue,
		       struct nvme_completion *done, unsigned int max)
{
	unsigned int count = 0;

	while (count < max) {
		volatile struct nvme_completion *entry =
			&queue->completions[queue->head];

		if ((entry->status & 1) != queue->phase)
			break;
		/* the rest of the entry, and the data, only after the tag */
		uvfio_dma_rmb();
		done[count++] = *entry;
		queue->head = (queue->head + 1) % nvme->entries;
		if (!queue->head)
			queue->phase ^= 1;
	}
	if (count)
		ring(nvme, 2 * queue->id + 1, queue->head);
	return count;
}

/* The eventfd counts how often the vector fired since it was read last. */
static int take_interrupts(struct nvme_queue *queue)
{
	uint64_t count = 0;

	if (read(queue->eventfd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	queue->interrupts += count;
	return 0;
}

static int wait_interrupt(struct nvme_queue *queue, int64_t deadline)
{
	struct pollfd poll_fd = { .fd = queue->eventfd, .events = POLLIN };
	int64_t left = deadline - now_ms();
	int ret;

	/* interrupts that bring nothing must not keep us here for ever */
	if (left <= 0)
		return -ETIMEDOUT;
	ret = poll(&poll_fd, 1, left);
	if (ret < 0)
		return errno == EINTR ? 0 : -errno;
	if (!ret)
		return -ETIMEDOUT;
	return take_interrupts(queue);
}

/* At least one completion; returns how many or -errno. */
static int wait_completions(struct nvme *nvme, struct nvme_queue *queue,
			    struct nvme_completion *done, unsigned int max)
{
	int64_t deadline = now_ms() + COMMAND_MS;
	unsigned int count;
	int ret;

	for (;;) {
		/*
		 * Look before sleeping: the interrupt of these completions may
		 * have been taken together with earlier ones.
		 */
		count = nvme_reap(nvme, queue, done, max);
		if (count)
			return count;
		ret = wait_interrupt(queue, deadline);
		if (ret)
			return fail(ret, "wait for a completion interrupt");
	}
}

static int check(const struct nvme_completion *done, const char *what)
{
	unsigned int status = done->status >> 1;

	if (!status)
		return 0;
	fprintf(stderr, "nvme: %s: the device reports type %u, code 0x%02x\n",
		what, status >> 8 & 7, status & 0xff);
	return -EIO;
}

int nvme_run(struct nvme *nvme, struct nvme_queue *queue,
	     const struct nvme_command *command, const char *what)
{
	struct nvme_completion done;
	int ret;

	nvme_submit(nvme, queue, command);
	ret = wait_completions(nvme, queue, &done, 1);
	if (ret < 0)
		return fail(ret, what);
	return check(&done, what);
}

/* Reading and writing. */

static struct nvme_command block_command(struct nvme *nvme, uint8_t opcode,
					 uint64_t block, unsigned int buffer)
{
	/* dword 12 is the number of blocks less one */
	return (struct nvme_command) {
		.opcode = opcode,
		.id = buffer,
		.namespace = NAMESPACE,
		.data = page_iova(nvme, PAGE_DATA + buffer),
		.dword10 = block,
		.dword11 = block >> 32,
	};
}

int nvme_read(struct nvme *nvme, uint64_t block, unsigned int buffer)
{
	struct nvme_command command =
		block_command(nvme, NVME_READ, block, buffer);

	return nvme_run(nvme, &nvme->io, &command, "read");
}

int nvme_write(struct nvme *nvme, uint64_t block, unsigned int buffer)
{
	struct nvme_command command =
		block_command(nvme, NVME_WRITE, block, buffer);

	return nvme_run(nvme, &nvme->io, &command, "write");
}

int nvme_flush(struct nvme *nvme)
{
	struct nvme_command command = {
		.opcode = NVME_FLUSH,
		.namespace = NAMESPACE,
	};

	return nvme_run(nvme, &nvme->io, &command, "flush");
}

void nvme_start_read(struct nvme *nvme, uint64_t block, unsigned int buffer)
{
	struct nvme_command command =
		block_command(nvme, NVME_READ, block, buffer);

	nvme_submit(nvme, &nvme->io, &command);
}

int nvme_wait_reads(struct nvme *nvme, unsigned int *buffers)
{
	struct nvme_completion done[NVME_BUFFERS];
	int count, ret, i;

	count = wait_completions(nvme, &nvme->io, done, NVME_BUFFERS);
	for (i = 0; i < count; i++) {
		ret = check(&done[i], "read");
		if (ret)
			return ret;
		/* the id comes from the device: an index only if it is one */
		if (done[i].id >= NVME_BUFFERS)
			return fail(-EPROTO, "read: unknown command completed");
		buffers[i] = done[i].id;
	}
	return count;
}

unsigned long long nvme_interrupts(struct nvme *nvme)
{
	/* some completions were there before anyone slept */
	take_interrupts(&nvme->io);
	return nvme->io.interrupts;
}

/* Setting up. */

static int open_device(struct nvme *nvme, const char *path)
{
	int ret;

	nvme->device = uvfio_open(path);
	if (nvme->device < 0)
		return fail(nvme->device, path);

	/* Nothing but questions about regions works before this. */
	ret = uvfio_attach(nvme->device, -1);
	if (ret == -ENOTTY)
		return fail(ret, "not a device of uvfio");
	if (ret)
		return fail(ret, "attach to a domain (the kernel log says why)");
	return 0;
}

static int check_device(struct nvme *nvme)
{
	uint32_t class;
	int ret;

	ret = uvfio_config_read32(nvme->device, PCI_CLASS_REVISION, &class);
	if (ret)
		return fail(ret, "read the class code");
	if (class >> 8 != 0x010802)
		return fail(-ENODEV, "not an NVMe controller");

	ret = uvfio_command(nvme->device, PCI_COMMAND_MEMORY, 0);
	if (ret)
		return fail(ret, "turn memory decoding on");
	return 0;
}

static int map_registers(struct nvme *nvme)
{
	size_t page_size = sysconf(_SC_PAGESIZE);
	unsigned int entries;
	uint64_t cap;
	int ret;

	/*
	 * Not all of the BAR: the MSI-X table is often behind the doorbells,
	 * and pages that hold it are refused.
	 */
	nvme->bar_length = (NVME_DOORBELLS + NVME_DOORBELLS_MAPPED +
			    page_size - 1) / page_size * page_size;
	ret = uvfio_bar_map(nvme->device, VFIO_PCI_BAR0_REGION_INDEX, 0,
			    nvme->bar_length, &nvme->bar);
	if (ret)
		return fail(ret, "map the registers");

	cap = uvfio_read64(nvme->bar, NVME_CAP);
	entries = NVME_CAP_MQES(cap) + 1;
	nvme->entries = entries < NVME_ENTRIES ? entries : NVME_ENTRIES;
	nvme->timeout_ms = (NVME_CAP_TO(cap) + 1) * 500;
	nvme->stride = 4u << NVME_CAP_DSTRD(cap);
	nvme->page_shift = NVME_CAP_MPSMIN(cap);
	nvme->page_size = 4096u << nvme->page_shift;
	/* a queue of n entries holds n - 1; two queue pairs, four doorbells */
	if (nvme->entries <= NVME_BUFFERS ||
	    4 * nvme->stride > NVME_DOORBELLS_MAPPED)
		return fail(-ENOTSUP, "the queues or doorbells do not suit");
	return 0;
}

/*
 * From where a huge page can begin, so that the memory is physically contiguous if
 * the kernel has one to spare: without an IOMMU it has to be.
 */
static int allocate_memory(struct nvme *nvme)
{
	size_t before;

	nvme->room_length = 2 * HUGE_PAGE;
	nvme->room = mmap(NULL, nvme->room_length, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (nvme->room == MAP_FAILED) {
		nvme->room = NULL;
		return fail(-errno, "allocate memory");
	}
	before = -(uintptr_t)nvme->room % HUGE_PAGE;
	nvme->memory = nvme->room + before;
	madvise(nvme->memory, HUGE_PAGE, MADV_HUGEPAGE);
	return 0;
}

static int map_memory(struct nvme *nvme)
{
	const uint32_t flags = VFIO_DMA_MAP_FLAG_READ |
			       VFIO_DMA_MAP_FLAG_WRITE;
	int ret;

	nvme->memory_length = (size_t)PAGES * nvme->page_size;
	ret = allocate_memory(nvme);
	if (ret)
		return ret;

	/* The device reaches these pages and, in all the system, no other. */
	nvme->iova = MEMORY_IOVA;
	ret = uvfio_dma_map(nvme->device, nvme->memory, nvme->memory_length,
			    nvme->iova, flags);
	/* Unless there is no IOMMU: then addresses are not ours to choose. */
	if (ret == -EINVAL)
		ret = uvfio_dma_map_anywhere(nvme->device, nvme->memory,
					     nvme->memory_length, flags,
					     &nvme->iova);
	if (ret == -ENOMEM)
		return fail(ret, "map memory for DMA (compare ulimit -l)");
	if (ret)
		return fail(ret, "map memory for DMA");
	return 0;
}

static int init_queue(struct nvme *nvme, struct nvme_queue *queue,
		      unsigned int id, unsigned int first_page)
{
	queue->id = id;
	queue->commands = page(nvme, first_page);
	queue->completions = page(nvme, first_page + 1);
	queue->phase = 1;	/* fresh memory is 0: nothing completed yet */
	queue->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->eventfd < 0)
		return fail(-errno, "make an eventfd");
	return 0;
}

/* Queue n completes on MSI-X vector n, each vector has an eventfd. */
static int connect_interrupts(struct nvme *nvme)
{
	int eventfds[2];
	int ret;

	ret = init_queue(nvme, &nvme->admin, 0, PAGE_ADMIN_COMMANDS);
	if (ret)
		return ret;
	ret = init_queue(nvme, &nvme->io, 1, PAGE_IO_COMMANDS);
	if (ret)
		return ret;

	ret = uvfio_irq_count(nvme->device, VFIO_PCI_MSIX_IRQ_INDEX);
	if (ret < 0)
		return fail(ret, "count the MSI-X vectors");
	if (ret < 2)
		return fail(-ENOTSUP, "fewer than two MSI-X vectors");

	eventfds[0] = nvme->admin.eventfd;
	eventfds[1] = nvme->io.eventfd;
	ret = uvfio_irq_eventfds(nvme->device, VFIO_PCI_MSIX_IRQ_INDEX, 0,
				 eventfds, 2);
	if (ret)
		return fail(ret, "connect the interrupts");
	return 0;
}

/* Wait until the bits of CSTS in @mask are @value. */
static int wait_status(struct nvme *nvme, uint32_t mask, uint32_t value,
		       unsigned int timeout_ms)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int64_t deadline = now_ms() + timeout_ms;
	uint32_t status;

	for (;;) {
		status = uvfio_read32(nvme->bar, NVME_CSTS);
		if (status == NVME_CSTS_GONE)
			return -ENODEV;
		if ((status & mask) == value)
			return 0;
		if (value && (status & NVME_CSTS_CFS))
			return -EIO;
		if (now_ms() > deadline)
			return -ETIMEDOUT;
		nanosleep(&millisecond, NULL);
	}
}

/* "Controller Initialization" */
static int start_controller(struct nvme *nvme)
{
	int ret;

	/*
	 * The kernel resets a device after each user, so the controller is off,
	 * unless the device is of the few that have no reset.
	 */
	uvfio_write32(nvme->bar, NVME_CC, 0);
	ret = wait_status(nvme, NVME_CSTS_RDY, 0, nvme->timeout_ms);
	if (ret)
		return fail(ret, "wait for the controller to stop");

	uvfio_write32(nvme->bar, NVME_AQA,
		      (nvme->entries - 1) << 16 | (nvme->entries - 1));
	uvfio_write64(nvme->bar, NVME_ASQ, page_iova(nvme, PAGE_ADMIN_COMMANDS));
	uvfio_write64(nvme->bar, NVME_ACQ,
		      page_iova(nvme, PAGE_ADMIN_COMPLETIONS));

	/* From here on the device may do DMA, to our memory only. */
	ret = uvfio_command(nvme->device, PCI_COMMAND_MASTER, 0);
	if (ret)
		return fail(ret, "turn bus mastering on");
	uvfio_write32(nvme->bar, NVME_CC,
		      NVME_CC_EN | NVME_CC_MPS(nvme->page_shift) |
		      NVME_CC_IOSQES | NVME_CC_IOCQES);
	ret = wait_status(nvme, NVME_CSTS_RDY, NVME_CSTS_RDY, nvme->timeout_ms);
	if (ret)
		return fail(ret, "wait for the controller to start");
	return 0;
}

/* Text in identify data is padded with blanks; ours ends at the last word. */
static void copy_text(char *to, const char *from, size_t length)
{
	while (length && (from[length - 1] == ' ' || !from[length - 1]))
		length--;
	memcpy(to, from, length);
	to[length] = '\0';
}

static int read_identity(struct nvme *nvme)
{
	struct nvme_command command = {
		.opcode = NVME_IDENTIFY,
		.data = page_iova(nvme, PAGE_DATA),
		.dword10 = NVME_IDENTIFY_CONTROLLER,
	};
	const char *data = nvme_buffer(nvme, 0);
	unsigned int shift;
	uint32_t format;
	int ret;

	ret = nvme_run(nvme, &nvme->admin, &command, "identify the controller");
	if (ret)
		return ret;
	copy_text(nvme->model, data + NVME_ID_MODEL, NVME_ID_MODEL_LENGTH);
	copy_text(nvme->serial, data + NVME_ID_SERIAL, NVME_ID_SERIAL_LENGTH);
	copy_text(nvme->firmware, data + NVME_ID_FIRMWARE,
		  NVME_ID_FIRMWARE_LENGTH);

	command.namespace = NAMESPACE;
	command.dword10 = NVME_IDENTIFY_NAMESPACE;
	ret = nvme_run(nvme, &nvme->admin, &command, "identify the namespace");
	if (ret)
		return ret;
	memcpy(&nvme->blocks, data + NVME_ID_NSZE, sizeof(nvme->blocks));
	if (!nvme->blocks)
		return fail(-ENXIO, "namespace 1 does not exist");
	memcpy(&format, data + NVME_ID_LBAF + 4 * (data[NVME_ID_FLBAS] & 0xf),
	       sizeof(format));
	shift = NVME_LBAF_SHIFT(format);
	/* one page, hence one PRP entry, must do for a block */
	if (shift < 9 || shift > 12 + nvme->page_shift ||
	    NVME_LBAF_METADATA(format))
		return fail(-ENOTSUP, "block format");
	nvme->block_size = 1u << shift;
	return 0;
}

static int create_io_queues(struct nvme *nvme)
{
	uint32_t size_and_id = (nvme->entries - 1) << 16 | nvme->io.id;
	/* dword 11 = 0 asks for one queue of each kind */
	const struct nvme_command number = {
		.opcode = NVME_SET_FEATURES,
		.dword10 = NVME_FEATURE_QUEUES,
	};
	const struct nvme_command completions = {
		.opcode = NVME_CREATE_CQ,
		.data = page_iova(nvme, PAGE_IO_COMPLETIONS),
		.dword10 = size_and_id,
		.dword11 = nvme->io.id << 16 |	/* the vector */
			   NVME_QUEUE_INTERRUPTS | NVME_QUEUE_CONTIGUOUS,
	};
	const struct nvme_command commands = {
		.opcode = NVME_CREATE_SQ,
		.data = page_iova(nvme, PAGE_IO_COMMANDS),
		.dword10 = size_and_id,
		.dword11 = nvme->io.id << 16 |	/* the completion queue */
			   NVME_QUEUE_CONTIGUOUS,
	};
	int ret;

	ret = nvme_run(nvme, &nvme->admin, &number, "set the number of queues");
	if (ret)
		return ret;
	ret = nvme_run(nvme, &nvme->admin, &completions,
		       "create the completion queue");
	if (ret)
		return ret;
	return nvme_run(nvme, &nvme->admin, &commands,
			"create the submission queue");
}

static void init(struct nvme *nvme, int device)
{
	memset(nvme, 0, sizeof(*nvme));
	nvme->device = device;
	nvme->admin.eventfd = -1;
	nvme->io.eventfd = -1;
}

static int start(struct nvme *nvme)
{
	int (*const steps[])(struct nvme *nvme) = {
		check_device,
		map_registers,
		map_memory,
		connect_interrupts,
		start_controller,
		read_identity,
		create_io_queues,
		NULL
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && steps[i]; i++)
		ret = steps[i](nvme);
	return ret;
}

int nvme_open(struct nvme *nvme, const char *path)
{
	int ret;

	init(nvme, -1);
	ret = open_device(nvme, path);
	return ret ? ret : start(nvme);
}

int nvme_start(struct nvme *nvme, int device)
{
	init(nvme, device);
	return start(nvme);
}

/*
 * "Controller Shutdown": the kernel is about to reset the device, and a drive
 * keeps what is in its volatile cache only when it was told beforehand.
 */
static void shut_down(struct nvme *nvme)
{
	uint32_t config = uvfio_read32(nvme->bar, NVME_CC);
	int ret;

	if (config == NVME_CSTS_GONE || !(config & NVME_CC_EN))
		return;
	uvfio_write32(nvme->bar, NVME_CC,
		      (config & ~NVME_CC_SHN_MASK) | NVME_CC_SHN_NORMAL);
	ret = wait_status(nvme, NVME_CSTS_SHST_MASK, NVME_CSTS_SHST_DONE,
			  SHUTDOWN_MS);
	if (ret)
		fail(ret, "shut the controller down");
}

void nvme_close(struct nvme *nvme)
{
	if (nvme->bar) {
		shut_down(nvme);
		munmap((void *)nvme->bar, nvme->bar_length);
	}
	/*
	 * The device first: until it is closed it may still write to the
	 * memory. Unless fork() or dup() left another descriptor of it, this
	 * ends every mapping and interrupt.
	 */
	if (nvme->device >= 0)
		close(nvme->device);
	if (nvme->room)
		munmap(nvme->room, nvme->room_length);
	if (nvme->admin.eventfd >= 0)
		close(nvme->admin.eventfd);
	if (nvme->io.eventfd >= 0)
		close(nvme->io.eventfd);
}
