// SPDX-License-Identifier: GPL-2.0
/*
 * usage: bench DRIVER NVME NODE IVSHMEM NODE
 *
 * Count the instructions that operations take on one driver and print a line for
 * each: its name, the number per operation, and the target, all separated by
 * tabs. A number of "-" is an operation that the driver does not have; one that
 * fails ends the program.
 *
 * The time stamp counter has to count instructions (vm/run -c). A figure is the
 * median of some rounds, each of which repeats its operation and divides; what
 * the loop itself and the system call take is in it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "bench.h"

#define PAGE		0x1000UL
#define HUGE_PAGE	0x200000UL
#define LARGE		0x4000000UL	/* 64 MiB */
#define LARGE_PAGES	(LARGE / PAGE)
#define IOVA		0x40000000UL

#define ROUNDS		9
#define MAX_COSTS	4

/* Registers of the NVMe controller's BAR 0 that can be accessed any time. */
#define NVME_VS		0x08
#define NVME_INTMS	0x0c

static const struct driver *const drivers[] = {
	&uvfio_driver, &vfio_pci_driver, &uio_driver,
};

struct bench {
	const struct driver *driver;
	struct device nvme, ivshmem;
	struct place zero, null;
	char *small_pages, *huge_pages;		/* LARGE bytes of each */
};

struct measurement {
	/* what a round yields, one cost each; the target is that of the first */
	const char *names[MAX_COSTS];
	double target;		/* the ratio to reach, if any */
	unsigned int needs;	/* of the driver */
	/* stores costs, each of all @ops, that it repeats or that make it up */
	int (*round)(struct bench *b, const struct measurement *m,
		     uint64_t *costs);
	unsigned int ops;
	/* for it to use */
	enum { CONFIG, REGISTERS, MEMORY, ZERO, NUL } place;
	uint64_t offset;
	size_t len;
	bool huge;
};

static uint64_t now(void)
{
	uint32_t low, high;

	__asm__ __volatile__("rdtsc" : "=a" (low), "=d" (high) :: "memory");
	return low | (uint64_t)high << 32;
}

/*
 * One instruction has to be one tick. The best of some tries: interrupts and what
 * is left to do after boot come in between, here and in the rounds.
 */
static void check_counting(void)
{
	const uint64_t instructions = 200000;
	uint64_t best = UINT64_MAX, start, loops;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		loops = instructions / 2;
		start = now();
		__asm__ __volatile__("1: dec %0; jnz 1b" : "+r" (loops));
		start = now() - start;
		if (best > start)
			best = start;
	}
	if (best < instructions || best > instructions + 10)
		errx(1, "no instruction counter: %llu ticks for %llu",
		     (unsigned long long)best,
		     (unsigned long long)instructions);
}

static const struct place *place_of(struct bench *b,
				    const struct measurement *m)
{
	switch (m->place) {
	case CONFIG:
		return &b->nvme.regions[VFIO_PCI_CONFIG_REGION_INDEX];
	case REGISTERS:
		return &b->nvme.regions[VFIO_PCI_BAR0_REGION_INDEX];
	case MEMORY:
		return &b->ivshmem.regions[VFIO_PCI_BAR2_REGION_INDEX];
	case ZERO:
		return &b->zero;
	default:
		return &b->null;
	}
}

/* A transfer that is not complete has no errno. */
static int check_len(ssize_t done, size_t len)
{
	if (done < 0)
		return -errno;
	return (size_t)done == len ? 0 : -EIO;
}

static int read_round(struct bench *b, const struct measurement *m,
		      uint64_t *costs)
{
	const struct place *place = place_of(b, m);
	uint64_t offset = place->offset + m->offset;
	size_t expected = m->place == NUL ? 0 : m->len;
	char buffer[PAGE];
	uint64_t start;
	unsigned int i;
	ssize_t done;

	start = now();
	for (i = 0; i < m->ops; i++) {
		done = pread(place->fd, buffer, m->len, offset);
		if (done != (ssize_t)expected)
			return check_len(done, expected);
	}
	costs[0] = now() - start;
	return 0;
}

/* Writes what is there. */
static int write_round(struct bench *b, const struct measurement *m,
		       uint64_t *costs)
{
	const struct place *place = place_of(b, m);
	uint64_t offset = place->offset + m->offset;
	char buffer[PAGE];
	uint64_t start;
	unsigned int i;
	ssize_t done;

	done = pread(place->fd, buffer, m->len, offset);
	if (done != (ssize_t)m->len)
		return check_len(done, m->len);
	start = now();
	for (i = 0; i < m->ops; i++) {
		done = pwrite(place->fd, buffer, m->len, offset);
		if (done != (ssize_t)m->len)
			return check_len(done, m->len);
	}
	costs[0] = now() - start;
	return 0;
}

/* Always at the same address, so that it takes the same page tables. */
static int mmap_round(struct bench *b, const struct measurement *m,
		      uint64_t *costs)
{
	const struct place *place = place_of(b, m);
	void *address = b->small_pages + LARGE;
	volatile char *map;
	uint64_t start;
	unsigned int i;
	size_t at;

	costs[0] = 0;
	costs[1] = 0;
	for (i = 0; i < m->ops; i++) {
		start = now();
		map = mmap(address, m->len, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED_NOREPLACE, place->fd,
			   place->offset);
		if (map == MAP_FAILED)
			return -errno;
		for (at = 0; at < m->len; at += PAGE)
			(void)map[at];
		costs[0] += now() - start;

		start = now();
		if (munmap(address, m->len))
			return -errno;
		costs[1] += now() - start;
	}
	return 0;
}

/* A page at a time, or all of the memory at once. */
static int dma_round(struct bench *b, const struct measurement *m,
		     uint64_t *costs)
{
	char *memory = m->huge ? b->huge_pages : b->small_pages;
	unsigned int i, calls = m->len == PAGE ? m->ops : 1;
	uint64_t start;
	int ret;

	costs[0] = 0;
	costs[1] = 0;
	for (i = 0; i < calls; i++) {
		start = now();
		ret = b->driver->dma_map(&b->nvme, memory + i * m->len, m->len,
					 IOVA);
		if (ret)
			return ret;
		costs[0] += now() - start;

		start = now();
		ret = b->driver->dma_unmap(&b->nvme, IOVA, m->len);
		if (ret)
			return ret;
		costs[1] += now() - start;
	}
	return 0;
}

/* Time on the CPU, in nanoseconds and thus instructions, too. */
static uint64_t cpu_time(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time))
		err(1, "clock_gettime");
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* The device is open before and after. */
static int open_round(struct bench *b, const struct measurement *m,
		      uint64_t *costs)
{
	uint64_t start[2];
	unsigned int i;
	int ret = 0;

	memset(costs, 0, MAX_COSTS * sizeof(*costs));
	for (i = 0; !ret && i < m->ops; i++) {
		start[0] = now();
		start[1] = cpu_time();
		b->driver->close(&b->nvme);
		costs[3] += cpu_time() - start[1];
		costs[2] += now() - start[0];

		start[0] = now();
		start[1] = cpu_time();
		ret = b->driver->open(&b->nvme);
		costs[1] += cpu_time() - start[1];
		costs[0] += now() - start[0];
	}
	return ret ?: b->driver->locate(&b->nvme);
}

static const struct measurement measurements[] = {
	{ .names = { "floor: pread of /dev/null, 0 of 4 bytes" },
	  .round = read_round, .ops = 1000, .place = NUL, .len = 4 },
	{ .names = { "floor: pread of /dev/zero, 4 bytes" },
	  .round = read_round, .ops = 1000, .place = ZERO, .len = 4 },

	{ .names = { "config read, 4 bytes at 0, identity" }, .target = 0.75,
	  .round = read_round, .ops = 1000, .place = CONFIG, .len = 4 },
	{ .names = { "config read, 4 bytes at 4, status" }, .target = 0.75,
	  .round = read_round, .ops = 1000, .place = CONFIG, .len = 4,
	  .offset = PCI_COMMAND },
	{ .names = { "config read, 256 bytes at 0" }, .target = 0.30,
	  .round = read_round, .ops = 200, .place = CONFIG, .len = 256 },
	{ .names = { "config write, 4 bytes at 4, unchanged" },
	  .round = write_round, .ops = 1000, .place = CONFIG, .len = 4,
	  .offset = PCI_COMMAND },

	{ .names = { "BAR pread, 4 bytes" }, .target = 0.90,
	  .needs = CAN_PREAD_BAR,
	  .round = read_round, .ops = 1000, .place = REGISTERS, .len = 4,
	  .offset = NVME_VS },
	{ .names = { "BAR pwrite, 4 bytes" },
	  .needs = CAN_PREAD_BAR,
	  .round = write_round, .ops = 1000, .place = REGISTERS, .len = 4,
	  .offset = NVME_INTMS },
	{ .names = { "BAR mmap and first touch, 4 KiB",
		     "BAR munmap, 4 KiB" },
	  .round = mmap_round, .ops = 100, .place = MEMORY, .len = PAGE },
	{ .names = { "BAR mmap and first touch, 64 MiB",
		     "BAR munmap, 64 MiB" },
	  .round = mmap_round, .ops = 1, .place = MEMORY, .len = LARGE },

	{ .names = { "DMA map, 4 KiB",
		     "DMA unmap, 4 KiB" },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = 100, .len = PAGE },
	{ .names = { "DMA map, 64 MiB of 4 KiB pages, per page",
		     "DMA unmap, 64 MiB of 4 KiB pages, per page" },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = LARGE_PAGES, .len = LARGE },
	{ .names = { "DMA map, 64 MiB of huge pages, per 4 KiB",
		     "DMA unmap, 64 MiB of huge pages, per 4 KiB" },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = LARGE_PAGES, .len = LARGE, .huge = true },

	{ .names = { "open and attach",
		     "open and attach, without waiting",
		     "close",
		     "close, without waiting" },
	  .needs = CAN_OPEN,
	  .round = open_round, .ops = 1 },
};

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* NULL: the driver does not have this. */
static void print_cost(const struct measurement *m, unsigned int i,
		       uint64_t *costs)
{
	printf("%s\t", m->names[i]);
	if (costs) {
		qsort(costs, ROUNDS, sizeof(*costs), compare);
		printf("%.1f\t", (double)costs[ROUNDS / 2] / m->ops);
	} else {
		printf("-\t");
	}
	if (m->target && i == 0)
		printf("%.2f\n", m->target);
	else
		printf("-\n");
}

static void measure(struct bench *b, const struct measurement *m)
{
	bool can = (b->driver->can & m->needs) == m->needs;
	uint64_t costs[MAX_COSTS][ROUNDS], round[MAX_COSTS];
	unsigned int i, j;
	int ret;

	for (j = 0; can && j < ROUNDS; j++) {
		ret = m->round(b, m, round);
		if (ret)
			errx(1, "%s: %s", m->names[0], strerror(-ret));
		for (i = 0; i < MAX_COSTS && m->names[i]; i++)
			costs[i][j] = round[i];
	}
	for (i = 0; i < MAX_COSTS && m->names[i]; i++)
		print_cost(m, i, can ? costs[i] : NULL);
}

/* How much of the mapping at @memory is in huge pages; -1: no such mapping. */
static long huge_kib(const void *memory)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	bool inside = false;
	long kib = -1;
	char line[512];
	void *start;

	if (!file)
		err(1, "/proc/self/smaps");
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%p-%*x", &start) == 1 && strchr(line, '-'))
			inside = start == memory;
		else if (inside)
			sscanf(line, "AnonHugePages: %ld", &kib);
	}
	fclose(file);
	return kib;
}

static char *allocate(bool huge)
{
	/* At an address of its own: no neighbour that the kernel would join. */
	char *hint = (char *)((huge ? 3UL : 1UL) << 40), *memory;

	memory = mmap(hint, LARGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (memory == MAP_FAILED ||
	    madvise(memory, LARGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "memory for DMA");
	memset(memory, 1, LARGE);
	if (huge_kib(memory) != (huge ? (long)LARGE / 1024 : 0))
		errx(1, "memory for DMA: not in pages of the size wanted");
	return memory;
}

static void open_place(struct place *place, const char *path)
{
	*place = (struct place) { .fd = open(path, O_RDWR | O_CLOEXEC) };
	if (place->fd < 0)
		err(1, "%s", path);
}

/* Memory space is on afterwards: not every driver does that by itself. */
static void open_device(struct bench *b, struct device *dev, const char *bdf,
			const char *node)
{
	const struct place *config =
		&dev->regions[VFIO_PCI_CONFIG_REGION_INDEX];
	uint16_t command;
	int ret;

	dev->bdf = bdf;
	dev->node = node;
	ret = b->driver->open(dev);
	if (!ret)
		ret = b->driver->locate(dev);
	if (ret)
		errx(1, "%s: %s", node, strerror(-ret));

	if (pread(config->fd, &command, 2, config->offset + PCI_COMMAND) != 2)
		err(1, "%s: command register", bdf);
	command |= PCI_COMMAND_MEMORY;
	if (pwrite(config->fd, &command, 2, config->offset + PCI_COMMAND) != 2)
		err(1, "%s: command register", bdf);
}

int main(int argc, char **argv)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct bench b = {};
	size_t i;

	for (i = 0; argc == 6 && i < sizeof(drivers) / sizeof(*drivers); i++)
		if (!strcmp(argv[1], drivers[i]->name))
			b.driver = drivers[i];
	if (!b.driver)
		errx(2, "usage: bench DRIVER NVME NODE IVSHMEM NODE");

	check_counting();
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		err(1, "setrlimit");
	open_place(&b.zero, "/dev/zero");
	open_place(&b.null, "/dev/null");
	b.small_pages = allocate(false);
	b.huge_pages = allocate(true);
	open_device(&b, &b.nvme, argv[2], argv[3]);
	open_device(&b, &b.ivshmem, argv[4], argv[5]);
	if (b.ivshmem.regions[VFIO_PCI_BAR2_REGION_INDEX].size < LARGE)
		errx(1, "%s: no BAR 2 of 64 MiB", b.ivshmem.bdf);

	for (i = 0; i < sizeof(measurements) / sizeof(*measurements); i++)
		measure(&b, &measurements[i]);

	b.driver->close(&b.ivshmem);
	b.driver->close(&b.nvme);
	return 0;
}
