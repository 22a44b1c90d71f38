// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of every kind that is mapped for DMA; see memory.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"

#define CHUNK_SIZE	(8UL << 20)

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

/* An entry of /proc/PID/pagemap. */
#define PRESENT		0x8000000000000000ULL
#define FRAME_MASK	0x007fffffffffffffULL

int memory_pool(void)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%d", POOL_PAGES);
	ret = write_file("/proc/sys/vm/nr_hugepages", text);
	if (ret)
		return ret;
	ret = read_file("/proc/sys/vm/nr_hugepages", text, sizeof(text));
	if (ret)
		return ret;
	if (atoi(text) != POOL_PAGES)
		return -ENOMEM;
	return write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
			  "advise");
}

/* Frame numbers, one for each page of 4 KiB; 0: there is no page. */
static void frames_of(int pagemap, const void *address, size_t size,
		      uint64_t *frames)
{
	size_t count = size / PAGE_SIZE, bytes = count * sizeof(*frames), i;
	off_t at = (uintptr_t)address / PAGE_SIZE * sizeof(*frames);

	if (pread(pagemap, frames, bytes, at) != (ssize_t)bytes)
		memset(frames, 0, bytes);
	for (i = 0; i < count; i++)
		frames[i] = frames[i] & PRESENT ? frames[i] & FRAME_MASK : 0;
}

static bool has_pool(enum memory_kind kind)
{
	return kind == HUGETLB || kind == SHARED_HUGETLB;
}

static bool has_file(enum memory_kind kind)
{
	return kind == SHARED || kind == SHARED_THP ||
	       kind == SHARED_HUGETLB || kind == COPIED;
}

static bool is_huge(int pagemap, const uint8_t *address)
{
	uint64_t frames[HUGE_SIZE / PAGE_SIZE];
	size_t i;

	frames_of(pagemap, address, HUGE_SIZE, frames);
	if (!frames[0] || frames[0] % ARRAY_SIZE(frames))
		return false;
	for (i = 1; i < ARRAY_SIZE(frames); i++)
		if (frames[i] != frames[i - 1] + 1)
			return false;
	return true;
}

bool memory_is_as_meant(int pagemap, const struct memory *memory)
{
	size_t at;

	if (memory->kind != THP && memory->kind != SHARED_THP &&
	    !has_pool(memory->kind))
		return true;
	for (at = 0; at < memory->size; at += HUGE_SIZE)
		if (!is_huge(pagemap, memory->base + at))
			return false;
	return true;
}

void *memory_reserve(size_t size)
{
	uint8_t *start = mmap(NULL, size + 2 * HUGE_SIZE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);

	/* What is left on both sides keeps others at a distance. */
	return start == MAP_FAILED ? NULL :
	       start + HUGE_SIZE - (uintptr_t)start % HUGE_SIZE;
}

/*
 * mmap() to @at. Each page of the pool gets an area of its own: 6.1 does not hold a
 * lock that it says it does when it splits one, and complains with lockdep.
 */
static int map_at(uint8_t *at, size_t size, enum memory_kind kind, int flags,
		  int file)
{
	size_t step = has_pool(kind) ? HUGE_SIZE : size, done;

	for (done = 0; done < size; done += step)
		if (mmap(at + done, step, PROT_READ | PROT_WRITE, flags, file,
			 file < 0 ? 0 : done) == MAP_FAILED)
			return -errno;
	return 0;
}

/* Memory without a file, in pages as @kind has them. */
static int map_anonymous(uint8_t *at, size_t size, enum memory_kind kind,
			 int flags)
{
	int advice = kind == THP || kind == SHARED_THP ? MADV_HUGEPAGE :
							 MADV_NOHUGEPAGE;
	int ret;

	if (has_pool(kind))
		flags |= MAP_HUGETLB;
	ret = map_at(at, size, kind, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1);
	if (ret || has_pool(kind))
		return ret;
	return madvise(at, size, advice) ? -errno : 0;
}

static int make_file(struct memory *memory)
{
	int kind = memory->kind == SHARED_HUGETLB ? MFD_HUGETLB : 0;
	int flags = memory->kind == COPIED ? MAP_PRIVATE : MAP_SHARED;

	memory->file = memfd_create("memory", MFD_CLOEXEC | kind);
	if (memory->file < 0 || ftruncate(memory->file, memory->size))
		return -errno;
	memory->view = mmap(NULL, memory->size, PROT_READ | PROT_WRITE,
			    MAP_SHARED, memory->file, 0);
	if (memory->view == MAP_FAILED)
		return -errno;
	if (memory->kind == SHARED_THP &&
	    madvise(memory->view, memory->size, MADV_HUGEPAGE))
		return -errno;
	memset(memory->view, 0, memory->size);
	return map_at(memory->base, memory->size, memory->kind,
		      flags | MAP_FIXED, memory->file);
}

int memory_make(struct memory *memory, enum memory_kind kind, size_t size,
		int byte)
{
	int ret;

	memset(memory, 0, sizeof(*memory));
	memory->kind = kind;
	memory->size = size;
	memory->file = -1;
	memory->base = memory_reserve(size);
	if (!memory->base)
		return -ENOMEM;
	ret = has_file(kind) ? make_file(memory) :
			       map_anonymous(memory->base, size, kind,
					     MAP_FIXED);
	if (!ret)
		memset(memory->base, byte, size);
	return ret;
}

void memory_free(struct memory *memory)
{
	munmap(memory->base, memory->size);
	if (memory->view)
		munmap(memory->view, memory->size);
	if (memory->moved)
		munmap(memory->moved, memory->moved_size);
	if (memory->file >= 0)
		close(memory->file);
}

static int result(int ret)
{
	return ret ? -errno : 0;
}

int lose_by_munmap(struct memory *memory, size_t start, size_t size)
{
	memory->vacant = true;
	return result(munmap(memory->base + start, size));
}

int lose_by_mapping_over(struct memory *memory, size_t start, size_t size)
{
	return map_anonymous(memory->base + start, size, memory->kind,
			     MAP_FIXED);
}

static int move(struct memory *memory, size_t start, size_t size, int flags)
{
	void *to = memory->moved;

	/* What went there before ends, if there is any. */
	if (!to)
		to = memory_reserve(size);
	if (!to)
		return -ENOMEM;
	if (mremap(memory->base + start, size, size,
		   MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) == MAP_FAILED)
		return -errno;
	memory->moved = to;
	memory->moved_size = size;
	return 0;
}

int lose_by_mremap(struct memory *memory, size_t start, size_t size)
{
	memory->vacant = true;
	return move(memory, start, size, 0);
}

int lose_by_mremap_dontunmap(struct memory *memory, size_t start, size_t size)
{
	return move(memory, start, size, MREMAP_DONTUNMAP);
}

int lose_by_shrinking(struct memory *memory, size_t start, size_t size)
{
	if (start + size != memory->size)
		return -EINVAL;
	memory->vacant = true;
	return result(mremap(memory->base, memory->size, start, 0) ==
		      MAP_FAILED);
}

int lose_by_dontneed(struct memory *memory, size_t start, size_t size)
{
	return result(madvise(memory->base + start, size, MADV_DONTNEED));
}

int lose_by_madv_remove(struct memory *memory, size_t start, size_t size)
{
	return result(madvise(memory->base + start, size, MADV_REMOVE));
}

int lose_by_punching(struct memory *memory, size_t start, size_t size)
{
	return result(fallocate(memory->file,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				start, size));
}

int lose_by_truncating(struct memory *memory, size_t start, size_t size)
{
	if (start + size != memory->size)
		return -EINVAL;
	return result(ftruncate(memory->file, start));
}

int memory_again(struct memory *memory, size_t start, size_t size, int byte)
{
	uint8_t *at = memory->base + start;
	int ret = 0;

	if (memory->vacant)
		ret = map_anonymous(at, size, memory->kind,
				    MAP_FIXED_NOREPLACE);
	else if (memory->file >= 0)
		ret = result(ftruncate(memory->file, memory->size));
	if (ret)
		return ret;
	memory->vacant = false;
	memset(at, byte, size);
	return 0;
}

/* What one CPU frees, that CPU allocates first: look at each. */
static void run_on(unsigned int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

static bool heir_grow(struct heir *heir, enum memory_kind kind)
{
	size_t size = heir->chunk_size;
	uint8_t *chunk;

	chunk = memory_reserve(size);
	/* The pool has no more at some time. */
	if (!chunk || map_anonymous(chunk, size, kind, MAP_FIXED))
		return false;
	memset(chunk, heir->byte, size);
	heir->chunks[heir->count++] = chunk;
	return true;
}

void heir_take(struct heir *heir, enum memory_kind kind, int byte)
{
	cpu_set_t before;

	memset(heir, 0, sizeof(*heir));
	heir->byte = byte;
	heir->chunk_size = has_pool(kind) ? HUGE_SIZE : CHUNK_SIZE;
	sched_getaffinity(0, sizeof(before), &before);
	do {
		run_on(heir->count % sysconf(_SC_NPROCESSORS_ONLN));
	} while (heir_grow(heir, kind) &&
		 heir->count < ARRAY_SIZE(heir->chunks));
	sched_setaffinity(0, sizeof(before), &before);
}

bool heir_is_untouched(const struct heir *heir)
{
	unsigned int i;

	for (i = 0; i < heir->count; i++)
		if (heir->chunks[i][0] != (uint8_t)heir->byte ||
		    memcmp(heir->chunks[i], heir->chunks[i] + 1,
			   heir->chunk_size - 1))
			return false;
	return true;
}

void heir_free(struct heir *heir)
{
	while (heir->count)
		munmap(heir->chunks[--heir->count], heir->chunk_size);
}
