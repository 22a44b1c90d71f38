// SPDX-License-Identifier: GPL-2.0
/* Memory to map for DMA, in pages of a known kind; and how much is free. */
#include <err.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd))
		err(1, "%s", path);
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

/*
 * Makes 4 KiB pages of huge ones, which stay where they are in memory. One that
 * somebody else has just hold of, such as khugepaged, is left out.
 */
static void split_pages(const char *memory, size_t size)
{
	unsigned int tries = 100;
	char range[64];

	snprintf(range, sizeof(range), "%d,0x%lx,0x%lx", getpid(),
		 (unsigned long)memory, (unsigned long)memory + size);
	do {
		write_file("/sys/kernel/debug/split_huge_pages", range);
	} while (huge_kib(memory) > 0 && tries-- && !usleep(10000));
}

/* Touches all pages, but with a stride not in their order. */
static void touch(char *memory, size_t pages, size_t stride)
{
	size_t i, page = 0;

	for (i = 0; i < pages; i++) {
		memory[page * PAGE] = 1;
		page = (page + stride) % pages;
	}
}

char *allocate(enum memory kind, size_t size)
{
	static unsigned long count;
	/* At an address of its own: no neighbour that the kernel would join. */
	void *hint = (void *)((2 * count++ + 1) << 40);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	bool huge = kind == THP || kind == ADJACENT;
	char *memory;

	if (kind == HUGETLB)
		flags |= MAP_HUGETLB;
	memory = mmap(hint, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "memory for DMA");
	if (kind != HUGETLB &&
	    madvise(memory, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "memory for DMA");

	touch(memory, size / PAGE, kind == SCATTERED ? 4099 : 1);
	if (kind == ADJACENT) {
		if (madvise(memory, size, MADV_NOHUGEPAGE))
			err(1, "memory for DMA");
		split_pages(memory, size);
	}
	if (huge_kib(memory) != (kind == THP ? (long)size / 1024 : 0))
		errx(1, "memory for DMA: not in pages of the size wanted");
	return memory;
}

/* What is kept back for objects that may come gives a wrong impression. */
static void shrink_slabs(void)
{
	glob_t files;
	size_t i;

	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &files))
		errx(1, "/sys/kernel/slab: no caches");
	for (i = 0; i < files.gl_pathc; i++)
		write_file(files.gl_pathv[i], "1");
	globfree(&files);
}

uint64_t free_pages(void)
{
	const char *path = "/proc/zoneinfo";
	uint64_t pages = 0;
	unsigned long n;
	char line[256];
	FILE *file;

	shrink_slabs();
	usleep(100000);		/* what is freed by workers and RCU */
	write_file("/proc/sys/vm/stat_refresh", "1");

	file = fopen(path, "r");
	if (!file)
		err(1, "%s", path);
	/* Those of the zones, and those that each CPU has in stock. */
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " nr_free_pages %lu", &n) == 1 ||
		    sscanf(line, " count: %lu", &n) == 1)
			pages += n;
	fclose(file);
	return pages;
}
