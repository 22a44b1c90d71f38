// SPDX-License-Identifier: GPL-2.0
/*
 * usage: bench [-p OPERATION | -t] DRIVER NVME NODE IVSHMEM NODE EDU NODE
 *
 * Count the instructions that operations take on one driver and print a line for
 * each: its name, the number per operation, the target, and "x" if the number is
 * a ratio to another of this driver's, all separated by tabs. A number of "-" is
 * an operation that the driver does not have; one that fails ends the program.
 *
 * The time stamp counter has to count instructions (vm/run -c). A figure is the
 * median of some rounds, each of which repeats its operation and divides; what
 * the loop itself and the system call take is in it.
 *
 * With -p, have QEMU log one round of an operation, see tools/bench/profile; with
 * -t, print how well two threads go side by side, which needs real time instead.
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
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "bench.h"

#define LARGE		0x4000000UL	/* 64 MiB */
#define LARGE_PAGES	(LARGE / PAGE)

/* Mappings that make a domain crowded: pages with a hole behind each. */
#define CROWD		60000
#define CROWD_IOVA	0x100000000UL
#define CROWD_STEP	(2 * PAGE)
#define CROWD_HOLE	(CROWD_IOVA + CROWD / 2 * CROWD_STEP + PAGE)

/* Memory to see what mapping it holds; of each GiB that is a quarter. */
#define HOLDING		0x10000000UL	/* 256 MiB */
#define HOLDING_IN_GIB	4
#define HOLDING_STEP	0x40000000UL

#define MAP_A_PAGE	"DMA map, 4 KiB"

#define MAX_ROUNDS	9
#define MAX_FIGURES	64

/* Registers of the NVMe controller's BAR 0 that can be accessed any time. */
#define NVME_VS		0x08
#define NVME_INTMS	0x0c

static const struct driver *const drivers[] = {
	&uvfio_driver, &vfio_pci_driver, &uio_driver,
};

/* A target holds from the kernel of its column on, until one replaces it. */
static const struct {
	unsigned int major, minor;
} kernels[KERNELS] = { { 6, 1 }, { 6, 12 }, { 7, 2 } };

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
	void *address = b->memory[ADJACENT] + LARGE;
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
	char *memory = b->memory[m->memory];
	unsigned int i, calls = m->len == PAGE ? m->ops : 1;
	uint64_t start;
	int ret;

	costs[0] = 0;
	costs[1] = 0;
	for (i = 0; i < calls; i++) {
		start = now();
		ret = b->driver->dma_map(&b->nvme, memory + i * m->len, m->len,
					 m->iova);
		if (ret)
			return ret;
		costs[0] += now() - start;

		start = now();
		ret = b->driver->dma_unmap(&b->nvme, m->iova, m->len);
		if (ret)
			return ret;
		costs[1] += now() - start;
	}
	return 0;
}

static int crowd(struct bench *b, const struct measurement *m)
{
	char *memory = b->memory[m->memory];
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < CROWD; i++)
		ret = b->driver->dma_map(&b->nvme,
					 memory + i % LARGE_PAGES * PAGE, PAGE,
					 CROWD_IOVA + i * CROWD_STEP);
	return ret;
}

static int disperse(struct bench *b, const struct measurement *m)
{
	(void)m;
	return b->driver->dma_unmap(&b->nvme, CROWD_IOVA, CROWD * CROWD_STEP);
}

static int take_memory(struct bench *b, const struct measurement *m)
{
	b->holding = allocate(m->memory, HOLDING);
	return 0;
}

static int return_memory(struct bench *b, const struct measurement *m)
{
	(void)m;
	return munmap(b->holding, HOLDING) ? -errno : 0;
}

/*
 * Always at another IOVA: page tables may stay where something was mapped. Each
 * end counts pages that come and go by themselves, some tens of KiB.
 */
static int holding_round(struct bench *b, const struct measurement *m,
			 uint64_t *costs)
{
	uint64_t before = free_pages(), mapped;
	int ret;

	(void)m;
	b->holding_iova += HOLDING_STEP;
	ret = b->driver->dma_map(&b->nvme, b->holding, HOLDING,
				 b->holding_iova);
	if (ret)
		return ret;
	mapped = free_pages();
	if (before > mapped)
		costs[0] = (before - mapped) * (PAGE / 1024) * HOLDING_IN_GIB;
	else
		costs[0] = 0;
	return b->driver->dma_unmap(&b->nvme, b->holding_iova, HOLDING);
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
	{ .costs = { { "floor: pread of /dev/null, 0 of 4 bytes" } },
	  .round = read_round, .ops = 1000, .place = NUL, .len = 4 },
	{ .costs = { { "floor: pread of /dev/zero, 4 bytes" } },
	  .round = read_round, .ops = 1000, .place = ZERO, .len = 4 },

	{ .costs = { { "config read, 4 bytes at 0, identity", { 0.75 } } },
	  .round = read_round, .ops = 1000, .place = CONFIG, .len = 4 },
	{ .costs = { { "config read, 4 bytes at 4, status", { 0.75 } } },
	  .round = read_round, .ops = 1000, .place = CONFIG, .len = 4,
	  .offset = PCI_COMMAND },
	{ .costs = { { "config read, 256 bytes at 0", { 0.30 } } },
	  .round = read_round, .ops = 200, .place = CONFIG, .len = 256 },
	{ .costs = { { "config write, 4 bytes at 4, unchanged" } },
	  .round = write_round, .ops = 1000, .place = CONFIG, .len = 4,
	  .offset = PCI_COMMAND },

	{ .costs = { { "BAR pread, 4 bytes", { 0.90 } } },
	  .needs = CAN_PREAD_BAR,
	  .round = read_round, .ops = 1000, .place = REGISTERS, .len = 4,
	  .offset = NVME_VS },
	{ .costs = { { "BAR pwrite, 4 bytes" } },
	  .needs = CAN_PREAD_BAR,
	  .round = write_round, .ops = 1000, .place = REGISTERS, .len = 4,
	  .offset = NVME_INTMS },
	{ .costs = { { "BAR mmap and first touch, 4 KiB" },
		     { "BAR munmap, 4 KiB" } },
	  .round = mmap_round, .ops = 100, .place = MEMORY, .len = PAGE },
	{ .costs = { { "BAR mmap and first touch, 64 MiB" },
		     { "BAR munmap, 64 MiB" } },
	  .round = mmap_round, .ops = 1, .place = MEMORY, .len = LARGE },

	{ .costs = { { MAP_A_PAGE }, { "DMA unmap, 4 KiB" } },
	  .sum = { "DMA map and unmap, 4 KiB", { 0.50 } },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = 100, .len = PAGE, .iova = IOVA },
	{ .costs = { { "DMA map, 4 KiB, 60000 mappings there", { 1.30 },
		       .base = MAP_A_PAGE },
		     { "DMA unmap, 4 KiB, 60000 mappings there" } },
	  .needs = CAN_DMA, .prepare = crowd, .clean_up = disperse,
	  .round = dma_round, .ops = 100, .len = PAGE, .iova = CROWD_HOLE },
	{ .costs = { { "DMA map, 64 MiB of 4 KiB pages, per page",
		       { 0.36, 0.45 } },
		     { "DMA unmap, 64 MiB of 4 KiB pages, per page",
		       { 0.30, 0.25, 0.28 } } },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = LARGE_PAGES, .len = LARGE, .iova = IOVA,
	  .memory = ADJACENT },
	{ .costs = { { "DMA map, 64 MiB of scattered pages, each" },
		     { "DMA unmap, 64 MiB of scattered pages, each" } },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = LARGE_PAGES, .len = LARGE, .iova = IOVA,
	  .memory = SCATTERED },
	{ .costs = { { "DMA map, 64 MiB of THP, per 4 KiB",
		       { 0.20, [2] = 0.70 } },
		     { "DMA unmap, 64 MiB of THP, per 4 KiB", { 0.02 } } },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = LARGE_PAGES, .len = LARGE, .iova = IOVA,
	  .memory = THP },
	{ .costs = { { "DMA map, 64 MiB of hugetlb, per 4 KiB",
		       { 0.20, [2] = 0.70 } },
		     { "DMA unmap, 64 MiB of hugetlb, per 4 KiB",
		       { 0.02 } } },
	  .needs = CAN_DMA,
	  .round = dma_round, .ops = LARGE_PAGES, .len = LARGE, .iova = IOVA,
	  .memory = HUGETLB },

	{ .costs = { { "KiB held for a GiB of 4 KiB pages" } },
	  .needs = CAN_DMA, .prepare = take_memory, .clean_up = return_memory,
	  .round = holding_round, .rounds = 3, .ops = 1,
	  .memory = ADJACENT },
	{ .costs = { { "KiB held for a GiB of scattered pages" } },
	  .needs = CAN_DMA, .prepare = take_memory, .clean_up = return_memory,
	  .round = holding_round, .rounds = 3, .ops = 1,
	  .memory = SCATTERED },
	{ .costs = { { "KiB held for a GiB of THP" } },
	  .needs = CAN_DMA, .prepare = take_memory, .clean_up = return_memory,
	  .round = holding_round, .rounds = 3, .ops = 1,
	  .memory = THP },

	{ .costs = { { "MSI-X loopback and eventfd read", { 1.00 } } },
	  .needs = CAN_SET_IRQS, .prepare = arm, .clean_up = disarm,
	  .round = loopback_round, .ops = 200, .vectors = 1 },
	{ .costs = { { "NVMe interrupt, until the eventfd has it",
		       { 1.00 } } },
	  .needs = CAN_SET_IRQS | CAN_DMA,
	  .prepare = start_controller, .clean_up = stop_controller,
	  .round = interrupt_round, .ops = 10, .vectors = 1 },
	{ .costs = { { "MSI-X arm, 1 vector", { 1.00 } },
		     { "MSI-X tear down, 1 vector", { 1.00 } } },
	  .needs = CAN_SET_IRQS, .prepare = make_events,
	  .round = arm_round, .ops = 10, .vectors = 1 },
	{ .costs = { { "MSI-X arm, 64 vectors, each", { 1.00 } },
		     { "MSI-X tear down, 64 vectors, each", { 1.00 } } },
	  .needs = CAN_SET_IRQS, .prepare = make_events,
	  .round = arm_round, .ops = 128, .vectors = 64 },
	{ .costs = { { "INTx fire, read, serve and unmask", { 1.00 } } },
	  .needs = CAN_SET_IRQS, .prepare = start_edu, .clean_up = stop_edu,
	  .round = intx_round, .ops = 100 },

	{ .costs = { { "open and attach" },
		     { "open and attach, without waiting" },
		     { "close" },
		     { "close, without waiting" } },
	  .needs = CAN_OPEN,
	  .round = open_round, .ops = 1 },
};

static double target_of(const struct cost *cost)
{
	unsigned int major, minor, i;
	struct utsname kernel;
	double target = 0;

	if (uname(&kernel) ||
	    sscanf(kernel.release, "%u.%u", &major, &minor) != 2)
		errx(1, "which kernel is this?");
	for (i = 0; i < KERNELS; i++)
		if (cost->target[i] &&
		    (major > kernels[i].major ||
		     (major == kernels[i].major && minor >= kernels[i].minor)))
			target = cost->target[i];
	return target;
}

static void print_target(const struct cost *cost)
{
	double target = target_of(cost);

	if (target)
		printf("\t%.2f", target);
	else
		printf("\t-");
}

/* What was printed, for those that are told in relation to it. */
static struct {
	const char *name;
	double figure;
} figures[MAX_FIGURES];

static double figure_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < MAX_FIGURES; i++)
		if (figures[i].name && !strcmp(figures[i].name, name))
			return figures[i].figure;
	errx(1, "not measured: %s", name);
}

static void keep_figure(const char *name, double figure)
{
	unsigned int i = 0;

	while (figures[i].name)
		if (++i == MAX_FIGURES)
			errx(1, "more costs than MAX_FIGURES");
	figures[i].name = name;
	figures[i].figure = figure;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static unsigned int rounds_of(const struct measurement *m)
{
	return m->rounds ?: MAX_ROUNDS;
}

/* NULL: the driver does not have this. */
static void print_cost(const struct measurement *m, const struct cost *cost,
		       uint64_t *rounds)
{
	double figure = 0;

	printf("%s\t", cost->name);
	if (rounds) {
		qsort(rounds, rounds_of(m), sizeof(*rounds), compare);
		figure = (double)rounds[rounds_of(m) / 2] / m->ops;
		keep_figure(cost->name, figure);
		printf("%.1f", figure);
	} else {
		printf("-");
	}
	if (!cost->base) {
		print_target(cost);
		printf("\t-\n");
		return;
	}

	printf("\t-\t-\n  to that of: %s\t", cost->base);
	if (rounds)
		printf("%.2f", figure / figure_of(cost->base));
	else
		printf("-");
	print_target(cost);
	printf("\tx\n");
}

static void check(const struct measurement *m, int ret)
{
	if (ret)
		errx(1, "%s: %s", m->costs[0].name, strerror(-ret));
}

static void measure(struct bench *b, const struct measurement *m)
{
	uint64_t costs[MAX_COSTS][MAX_ROUNDS], sums[MAX_ROUNDS];
	bool can = (b->driver->can & m->needs) == m->needs;
	uint64_t round[MAX_COSTS] = {};
	unsigned int i, j;

	if (can && m->prepare)
		check(m, m->prepare(b, m));
	for (j = 0; can && j < rounds_of(m); j++) {
		check(m, m->round(b, m, round));
		for (i = 0; i < MAX_COSTS; i++)
			costs[i][j] = round[i];
		sums[j] = round[0] + round[1];
	}
	if (can && m->clean_up)
		check(m, m->clean_up(b, m));

	for (i = 0; i < MAX_COSTS && m->costs[i].name; i++)
		print_cost(m, &m->costs[i], can ? costs[i] : NULL);
	if (m->sum.name)
		print_cost(m, &m->sum, can ? sums : NULL);
}

/* The same once, when it has settled, with a log of all that it executes. */
static void profile(struct bench *b, const struct measurement *m)
{
	uint64_t costs[MAX_COSTS];
	unsigned int i;

	if (m->prepare)
		check(m, m->prepare(b, m));
	for (i = 1; i < rounds_of(m); i++)
		check(m, m->round(b, m, costs));
	log_start();
	check(m, m->round(b, m, costs));
	log_stop();

	printf("%u", m->ops);
	for (i = 0; i < MAX_COSTS && m->costs[i].name; i++)
		printf("\t%s\t%llu", m->costs[i].name,
		       (unsigned long long)costs[i]);
	printf("\n");
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

static void measure_all(struct bench *b)
{
	size_t i;

	for (i = 0; i < sizeof(measurements) / sizeof(*measurements); i++)
		measure(b, &measurements[i]);
}

/* @operation is the first of its costs. */
static void profile_one(struct bench *b, const char *operation)
{
	size_t i;

	for (i = 0; i < sizeof(measurements) / sizeof(*measurements); i++)
		if (!strcmp(operation, measurements[i].costs[0].name)) {
			profile(b, &measurements[i]);
			return;
		}
	errx(2, "no such operation: %s", operation);
}

static const struct driver *find_driver(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
		if (!strcmp(name, drivers[i]->name))
			return drivers[i];
	errx(2, "unknown driver %s", name);
}

int main(int argc, char **argv)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const char *operation = NULL;
	struct bench b = { .holding_iova = CROWD_IOVA };
	bool threads = false;
	int option;
	size_t i;

	while ((option = getopt(argc, argv, "p:t")) != -1) {
		if (option == 'p')
			operation = optarg;
		else if (option == 't')
			threads = true;
		else
			return 2;
	}
	argv += optind;
	if (argc - optind != 7)
		errx(2, "usage: bench [-p OPERATION | -t] DRIVER NVME NODE IVSHMEM NODE EDU NODE");
	b.driver = find_driver(argv[0]);

	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		err(1, "setrlimit");
	open_place(&b.zero, "/dev/zero");
	open_place(&b.null, "/dev/null");
	for (i = 0; i < MEMORY_KINDS; i++)
		b.memory[i] = allocate(i, LARGE);
	open_device(&b, &b.nvme, argv[1], argv[2]);
	open_device(&b, &b.ivshmem, argv[3], argv[4]);
	open_device(&b, &b.edu, argv[5], argv[6]);
	if (b.ivshmem.regions[VFIO_PCI_BAR2_REGION_INDEX].size < LARGE)
		errx(1, "%s: no BAR 2 of 64 MiB", b.ivshmem.bdf);

	if (!threads)
		check_counting();
	if (threads)
		measure_threads(b.driver, &b.nvme);
	else if (operation)
		profile_one(&b, operation);
	else
		measure_all(&b);

	b.driver->close(&b.edu);
	b.driver->close(&b.ivshmem);
	b.driver->close(&b.nvme);
	return 0;
}
