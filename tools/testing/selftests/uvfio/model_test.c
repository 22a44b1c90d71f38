// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings against a model of them. Several threads and a child of the process do
 * at random what can be done to memory and to mappings of it: map, unmap, unmap
 * from the process, drop, move, punch holes, fork, end. Each keeps a model of its
 * part, which says of every call what it has to return, and in the end of every
 * IOVA whether a device reaches which page there. All of them are tried, by an NVMe
 * controller: an edu would take a tenth of a second for each.
 *
 * A few seconds, with a kernel that checks its locks 60; STRESS_SECONDS in the
 * environment is for other times. MODEL_SEED has the threads do what they did with
 * that seed before, though not at the same time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "dma.h"
#include "test.h"

#define PROBE_IOVA	0x100000ULL

#define THREADS		3
#define WORKERS		(THREADS + 1)	/* the last one is the child's */
#define ROUND_MS	10000

/* Memory of a worker: private pages, then those of a file. */
#define PRIVATE		1024U
#define SHARED		512U
#define AREA		(PRIVATE + SHARED)
#define HUGE		512U		/* pages of a huge page */

/* Each worker has IOVAs of its own, besides those that the kernel picks. */
#define SLICE_START	0x20000000ULL
#define SLICE		4096U		/* pages */

#define RECORDS		64U
#define MOST_RESERVED	1000U		/* pages, for the time that a check takes */

/* A mapping: @pages pages at @iova, of what then was at @first in the area. */
struct record {
	uint64_t iova;
	unsigned int first;
	unsigned int pages;
	uint32_t flags;
	uint32_t generation[HUGE];	/* of each page when it was mapped */
};

struct worker {
	pthread_t thread;
	unsigned int number;
	int domain;
	int file;		/* of the shared pages */
	uint64_t random;
	uint8_t *area;		/* aligned like a huge page, as the next two */
	uint8_t *spare;		/* where pages are moved to and back */
	uint64_t slice;		/* IOVA */
	bool stop;

	/* The model. A page that was lost has got another generation. */
	uint32_t generation[AREA];
	bool present[AREA];
	struct record records[RECORDS];
	unsigned int count;	/* of records */
	unsigned int reserved;	/* pages in them */

	unsigned long done, refused, wrong;
	char complaint[160];	/* the first */
};

static void complain(struct worker *worker, const char *format, ...)
{
	va_list arguments;

	if (worker->wrong++)
		return;
	va_start(arguments, format);
	vsnprintf(worker->complaint, sizeof(worker->complaint), format,
		  arguments);
	va_end(arguments);
}

/* Below @limit; xorshift64. */
static unsigned int random_below(struct worker *worker, unsigned int limit)
{
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return (worker->random >> 32) % limit;
}

/* Mostly few pages, sometimes a huge page, which is then aligned. */
struct range {
	unsigned int first, pages;
};

static struct range random_range(struct worker *worker, unsigned int start,
				 unsigned int count)
{
	unsigned int kind = random_below(worker, 10);
	struct range range;

	if (kind == 0) {
		range.pages = HUGE;
		range.first = start + random_below(worker, count / HUGE) * HUGE;
		return range;
	}
	range.pages = 1 + random_below(worker, kind < 5 ? 8 : 64);
	range.first = start + random_below(worker, count - range.pages + 1);
	return range;
}

static struct range random_part(struct worker *worker)
{
	return random_below(worker, 3) ? random_range(worker, 0, PRIVATE) :
					 random_range(worker, PRIVATE, SHARED);
}

static uint8_t *page_at(struct worker *worker, unsigned int page)
{
	return worker->area + page * PAGE_SIZE;
}

static bool all_present(struct worker *worker, struct range range)
{
	unsigned int i;

	for (i = 0; i < range.pages; i++)
		if (!worker->present[range.first + i])
			return false;
	return true;
}

static void lose(struct worker *worker, struct range range, bool present)
{
	unsigned int i;

	for (i = 0; i < range.pages; i++) {
		worker->generation[range.first + i]++;
		worker->present[range.first + i] = present;
	}
}

static bool is_live(struct worker *worker, struct record *record,
		    unsigned int page)
{
	return record->generation[page] ==
	       worker->generation[record->first + page];
}

/* Mapping */

static bool overlaps(struct worker *worker, uint64_t iova, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < worker->count; i++) {
		struct record *record = &worker->records[i];

		if (iova < record->iova + record->pages * PAGE_SIZE &&
		    record->iova < iova + pages * PAGE_SIZE)
			return true;
	}
	return false;
}

static uint64_t random_place(struct worker *worker, struct range range)
{
	unsigned int page;

	/* Half of them suit large pages. */
	if (random_below(worker, 2))
		page = random_below(worker, SLICE / HUGE - 1) * HUGE +
		       range.first % HUGE;
	else
		page = random_below(worker, SLICE - range.pages + 1);
	return worker->slice + page * PAGE_SIZE;
}

static void add_record(struct worker *worker, uint64_t iova,
		       struct range range, uint32_t flags)
{
	struct record *record = &worker->records[worker->count++];

	record->iova = iova;
	record->first = range.first;
	record->pages = range.pages;
	record->flags = flags;
	memcpy(record->generation, worker->generation + range.first,
	       range.pages * sizeof(*record->generation));
	worker->reserved += range.pages;
}

static void do_map(struct worker *worker)
{
	static const uint32_t ways[] = { RW, RW, READ, WRITE };
	uint32_t flags = ways[random_below(worker, ARRAY_SIZE(ways))];
	struct range range = random_below(worker, 8) ?
		random_part(worker) : random_range(worker, 0, AREA);
	uint8_t *start = page_at(worker, range.first);
	size_t size = range.pages * PAGE_SIZE;
	bool present, taken = false;
	uint64_t iova;
	int ret;

	/* A cut may need one more. */
	if (worker->count >= RECORDS - 2 ||
	    worker->reserved + range.pages > MOST_RESERVED)
		return;
	present = all_present(worker, range);
	if (random_below(worker, 4)) {
		iova = random_place(worker, range);
		taken = overlaps(worker, iova, range.pages);
		ret = uvfio_dma_map(worker->domain, start, size, iova, flags);
	} else {
		ret = uvfio_dma_map_anywhere(worker->domain, start, size, flags,
					     &iova);
	}

	if (!ret) {
		if (!present || taken || overlaps(worker, iova, range.pages))
			complain(worker, "mapped, present %d, taken %d",
				 present, taken);
		add_record(worker, iova, range, flags);
		worker->done++;
	} else if ((ret == -EEXIST && taken) || (ret == -EFAULT && !present)) {
		worker->refused++;
	} else {
		complain(worker, "map of %u at %u: %d, present %d, taken %d",
			 range.pages, range.first, ret, present, taken);
	}
}

/* Takes pages @from .. @end - 1 out of a record; the last one may move. */
static void cut_record(struct worker *worker, unsigned int number,
		       unsigned int from, unsigned int end)
{
	struct record *record = &worker->records[number], *rest;
	unsigned int behind = record->pages - end;

	worker->reserved -= end - from;
	if (behind && from) {
		rest = &worker->records[worker->count++];
		*rest = *record;
		record->pages = from;
		record = rest;
		from = 0;
	}
	if (behind) {
		record->iova += end * PAGE_SIZE;
		record->first += end;
		memmove(record->generation, record->generation + end,
			behind * sizeof(*record->generation));
		record->pages = behind;
	} else if (from) {
		record->pages = from;
	} else {
		*record = worker->records[--worker->count];
	}
}

/* What a call that unmaps such a range has to return. */
static uint64_t cut_model(struct worker *worker, uint64_t start, uint64_t end)
{
	uint64_t bytes = 0, from, to;
	unsigned int i = 0, count;

	while (i < worker->count) {
		struct record *record = &worker->records[i];

		from = start > record->iova ? start : record->iova;
		to = record->iova + record->pages * PAGE_SIZE;
		to = end < to ? end : to;
		if (from >= to) {
			i++;
			continue;
		}
		bytes += to - from;
		count = worker->count;
		cut_record(worker, i, (from - record->iova) / PAGE_SIZE,
			   (to - record->iova) / PAGE_SIZE);
		if (worker->count >= count)
			i++;
	}
	return bytes;
}

static void do_unmap(struct worker *worker)
{
	unsigned int pages, from, kind = random_below(worker, 5);
	struct record *record;
	uint64_t start, size;
	int64_t ret, want;

	if (!worker->count)
		return;
	record = &worker->records[random_below(worker, worker->count)];
	if (kind == 0) {
		/* All that is in some part of the slice. */
		pages = 1 + random_below(worker, SLICE / 4);
		start = worker->slice +
			random_below(worker, SLICE - pages + 1) * PAGE_SIZE;
	} else if (kind < 3 || worker->count >= RECORDS - 1) {
		start = record->iova;
		pages = record->pages;
	} else {
		from = random_below(worker, record->pages);
		start = record->iova + from * PAGE_SIZE;
		pages = 1 + random_below(worker, record->pages - from);
	}
	size = pages * PAGE_SIZE;
	/* At both ends a record may be cut in two. */
	if (worker->count >= RECORDS - 2 && kind == 0)
		return;
	ret = uvfio_dma_unmap(worker->domain, start, size);
	want = cut_model(worker, start, start + size);
	if (ret != want)
		complain(worker, "unmap of %u pages: %lld, not %lld", pages,
			 (long long)ret, (long long)want);
	worker->done++;
}

/* Memory */

/* New pages, or a new view of those of the file. */
static void give(struct worker *worker, unsigned int page, unsigned int pages)
{
	int prot = PROT_READ | PROT_WRITE;
	uint8_t *start = page_at(worker, page);
	void *map;

	if (page < PRIVATE)
		map = mmap(start, pages * PAGE_SIZE, prot, MAP_PRIVATE |
			   MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	else
		map = mmap(start, pages * PAGE_SIZE, prot,
			   MAP_SHARED | MAP_FIXED, worker->file,
			   (page - PRIVATE) * PAGE_SIZE);
	if (map != start)
		complain(worker, "mmap: %d", errno);
	if (page < PRIVATE)
		madvise(start, pages * PAGE_SIZE, MADV_HUGEPAGE);
}

static void do_munmap(struct worker *worker)
{
	struct range range = random_part(worker);
	bool over = random_below(worker, 2);

	if (over)
		give(worker, range.first, range.pages);
	else if (munmap(page_at(worker, range.first), range.pages * PAGE_SIZE))
		complain(worker, "munmap: %d", errno);
	lose(worker, range, over);
	worker->done++;
}

/* So that there are not too many holes. */
static void do_give(struct worker *worker)
{
	unsigned int page = random_below(worker, AREA), i;

	for (i = 0; i < 64; i++, page = (page + 1) % AREA) {
		if (worker->present[page])
			continue;
		give(worker, page, 1);
		worker->present[page] = true;
	}
}

static void do_touch(struct worker *worker)
{
	struct range range = random_part(worker);
	unsigned int i;

	for (i = range.first; i < range.first + range.pages; i++)
		if (worker->present[i])
			page_at(worker, i)[i % PAGE_SIZE] = i;
}

static void do_dontneed(struct worker *worker)
{
	struct range range = random_part(worker);
	/* What nobody lost is only marked as not needed. */
	bool lazily = range.first < PRIVATE && !random_below(worker, 4);

	if (!all_present(worker, range))
		return;
	if (madvise(page_at(worker, range.first), range.pages * PAGE_SIZE,
		    lazily ? MADV_FREE : MADV_DONTNEED))
		complain(worker, "madvise: %d", errno);
	/* Pages of a file come back as they were. */
	if (!lazily && range.first < PRIVATE)
		lose(worker, range, true);
	worker->done++;
}

static void do_punch(struct worker *worker)
{
	struct range range = random_range(worker, PRIVATE, SHARED);
	unsigned int i;

	if (fallocate(worker->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (range.first - PRIVATE) * PAGE_SIZE,
		      range.pages * PAGE_SIZE))
		complain(worker, "fallocate: %d", errno);
	for (i = 0; i < range.pages; i++)
		worker->generation[range.first + i]++;
	worker->done++;
}

/* Elsewhere in the private part, over what is there. */
static void do_move(struct worker *worker)
{
	struct range from = random_range(worker, 0, PRIVATE), to = from;
	size_t size = from.pages * PAGE_SIZE;
	void *moved;

	to.first = from.pages == HUGE ? (from.first + HUGE) % PRIVATE :
			random_below(worker, PRIVATE - from.pages + 1);
	if (!all_present(worker, from) ||
	    (to.first < from.first + from.pages &&
	     from.first < to.first + to.pages))
		return;
	moved = mremap(page_at(worker, from.first), size, size,
		       MREMAP_MAYMOVE | MREMAP_FIXED,
		       page_at(worker, to.first));
	/* EFAULT: it is two areas. What was at the target is lost anyway. */
	if (moved == MAP_FAILED && errno != EFAULT)
		complain(worker, "mremap: %d", errno);
	if (moved != MAP_FAILED)
		lose(worker, from, false);
	else if (munmap(page_at(worker, to.first), size))
		complain(worker, "munmap: %d", errno);
	lose(worker, to, moved != MAP_FAILED);
	worker->done++;
}

/* Away and back: the file's pages, at the same address. */
static void do_move_shared(struct worker *worker)
{
	struct range range = random_range(worker, PRIVATE, SHARED);
	uint8_t *start = page_at(worker, range.first);
	size_t size = range.pages * PAGE_SIZE;
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	if (!all_present(worker, range))
		return;
	if (mremap(start, size, size, flags, worker->spare) == MAP_FAILED) {
		if (errno != EFAULT)
			complain(worker, "mremap: %d", errno);
		return;
	}
	if (mremap(worker->spare, size, size, flags, start) != start)
		complain(worker, "mremap back: %d", errno);
	lose(worker, range, true);
	worker->done++;
}

/* What a child does to its copy is nothing to its parent's mappings. */
static void do_fork(struct worker *worker)
{
	struct range range = random_range(worker, 0, PRIVATE);
	bool present = all_present(worker, range);
	uint8_t *start = page_at(worker, range.first);
	int status;
	pid_t pid;

	if (random_below(worker, 8))
		return;
	pid = fork();
	if (!pid) {
		if (present)
			memset(start, 0xf0, range.pages * PAGE_SIZE);
		munmap(start, range.pages * PAGE_SIZE / 2);
		madvise(worker->area, PRIVATE * PAGE_SIZE, MADV_DONTNEED);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		complain(worker, "a fork failed");
	worker->done++;
}

static void *work(void *data)
{
	void (*const things[])(struct worker *worker) = {
		do_map, do_map, do_map, do_map, do_map, do_map, do_unmap,
		do_unmap, do_munmap, do_give, do_give, do_touch, do_touch,
		do_dontneed, do_punch, do_move, do_move_shared, do_fork,
	};
	struct worker *worker = data;

	while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED) &&
	       !worker->wrong)
		things[random_below(worker, ARRAY_SIZE(things))](worker);
	return NULL;
}

/* Checking */

FIXTURE(model)
{
	struct probe probe;
	struct device edu2;
	struct worker *workers;	/* the child has them, too */
	uint8_t *bystander;	/* memory that has to do with nothing */
	long pinned;
	long long own;		/* bytes pinned in the domain by the probe */
	long long own_mappings;
	uint64_t seed;
};

#define BYSTANDER	(32 * MIB)

static int worker_prepare(struct worker *worker, unsigned int number,
			  int domain, uint64_t seed)
{
	uint8_t *start = mmap(NULL, (AREA + 2 * HUGE) * PAGE_SIZE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct range all = { 0, AREA };

	if (start == MAP_FAILED)
		return -ENOMEM;
	start += -(uintptr_t)start & (HUGE * PAGE_SIZE - 1);
	worker->number = number;
	worker->domain = domain;
	worker->area = start;
	worker->spare = start + AREA * PAGE_SIZE;
	worker->slice = SLICE_START + number * SLICE * PAGE_SIZE;
	/* Not 0, and not much like the others'. */
	worker->random = (seed + 1) * 0x9e3779b97f4a7c15ULL * (number + 1) | 1;
	worker->file = memfd_create("shared", MFD_CLOEXEC);
	if (worker->file < 0 ||
	    ftruncate(worker->file, SHARED * PAGE_SIZE))
		return -ENOMEM;
	give(worker, 0, PRIVATE);
	give(worker, PRIVATE, SHARED);
	lose(worker, all, true);
	return worker->wrong ? -ENOMEM : 0;
}

FIXTURE_SETUP(model)
{
	const char *seed = getenv("MODEL_SEED");
	unsigned int i;

	ASSERT_EQ(0, probe_prepare(&self->probe));
	ASSERT_EQ(0, device_prepare(EDU2, &self->edu2));
	ASSERT_EQ(0, drop_privileges_limited(TEST_UID, 64 * MIB));
	ASSERT_EQ(0, probe_start(&self->probe, PROBE_IOVA));
	ASSERT_EQ(0, device_open(&self->edu2));
	self->seed = seed && *seed ? strtoull(seed, NULL, 0) : now_ms();
	TH_LOG("MODEL_SEED=%llu", (unsigned long long)self->seed);
	self->bystander = dma_alloc(BYSTANDER);
	ASSERT_NE(NULL, self->bystander);
	memset(self->bystander, 0x99, BYSTANDER);
	/* Forks are dear enough. */
	ASSERT_EQ(0, madvise(self->bystander, BYSTANDER, MADV_DONTFORK));
	self->workers = mmap(NULL, WORKERS * sizeof(*self->workers),
			     PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->workers);
	for (i = 0; i < WORKERS; i++)
		ASSERT_EQ(0, worker_prepare(&self->workers[i], i,
					    self->probe.domain, self->seed));
	self->pinned = vm_pin();
	self->own = fdinfo_number(self->probe.domain, "pinned");
	self->own_mappings = fdinfo_number(self->probe.domain, "mappings");
	ASSERT_LT(0, self->own);
	ASSERT_LT(0, self->own_mappings);
}

FIXTURE_TEARDOWN(model)
{
	EXPECT_LE(0, unmap_all(self->probe.domain, 0, 0));
	EXPECT_EQ(0, vm_pin());
	device_close(&self->edu2);
	probe_stop(&self->probe);
}

/* What a page has when it is its owner's: 0x5a in every fourth byte. */
static uint32_t mark_of(struct worker *worker, unsigned int page)
{
	return (worker->number + 1) << 24 | page << 8 | 0x5a;
}

static bool is_marked(const void *page, uint32_t mark, size_t start, size_t end)
{
	const uint32_t *words = page;
	size_t i;

	for (i = start / 4; i < end / 4; i++)
		if (words[i] != mark)
			return false;
	return true;
}

static void mark_all(struct worker *worker)
{
	unsigned int page, i;
	uint32_t *words;

	for (page = 0; page < AREA; page++) {
		if (!worker->present[page])
			continue;
		words = (uint32_t *)page_at(worker, page);
		for (i = 0; i < PAGE_SIZE / 4; i++)
			words[i] = mark_of(worker, page);
	}
}

#define BLOCK		512
#define NOTHING		0xcc	/* on the disk where nothing was read */
#define WRITTEN		0xb7	/* what the device writes everywhere */
#define SEEN		1	/* blocks of the disk */
#define TO_WRITE	2

/* What the device reads at @iova is in the returned buffer. */
static uint8_t *device_reads(struct nvme *disk, uint64_t iova)
{
	uint8_t *own = nvme_buffer(disk, 0);

	memset(own, NOTHING, BLOCK);
	if (nvme_write(disk, SEEN, 0))
		return NULL;
	/* It may or may not report what it could not read. */
	nvme_write(disk, SEEN, disk_buffer(iova));
	return nvme_read(disk, SEEN, 0) ? NULL : own;
}

static bool is_nothing(const uint8_t *data)
{
	return is_filled(data, NOTHING, BLOCK) || is_filled(data, 0, BLOCK) ||
	       is_filled(data, 0xff, BLOCK);
}

/* Whether what is read is what the model says, at all IOVAs of a worker. */
static void check_reads(struct worker *worker, struct nvme *disk, bool dead)
{
	unsigned int i, page;

	for (i = 0; i < worker->count; i++) {
		struct record *record = &worker->records[i];

		for (page = 0; page < record->pages; page++) {
			bool live = !dead && is_live(worker, record, page);
			uint32_t mark = mark_of(worker, record->first + page);
			uint8_t *data = device_reads(disk, record->iova +
						     page * PAGE_SIZE);
			bool marked = data && is_marked(data, mark, 0, BLOCK);

			/* Some IOMMUs let read what may be written only. */
			if (live && marked)
				continue;
			if (data && is_nothing(data) &&
			    !(live && record->flags & READ))
				continue;
			complain(worker, "page %u of %u at %u, %s, reads %08x",
				 page, record->pages, record->first,
				 live ? "live" : "dead",
				 data ? *(uint32_t *)data : 0);
		}
	}
}

/* All that the device can write it does; so much the worse where it may not. */
static void write_all(struct worker *worker, struct nvme *disk, bool dead,
		      bool *written)
{
	unsigned int i, page;
	uint64_t iova;

	for (i = 0; i < worker->count; i++) {
		struct record *record = &worker->records[i];

		for (page = 0; page < record->pages; page++) {
			nvme_read(disk, TO_WRITE,
				  disk_buffer(record->iova + page * PAGE_SIZE));
			if (!dead && is_live(worker, record, page) &&
			    record->flags & WRITE)
				written[record->first + page] = true;
		}
	}
	/* Here and there where nothing is mapped. */
	for (i = 0; i < 32; i++) {
		iova = worker->slice +
		       random_below(worker, SLICE) * PAGE_SIZE;
		if (!overlaps(worker, iova, 1))
			nvme_read(disk, TO_WRITE, disk_buffer(iova));
	}
}

static void check_writes(struct worker *worker, const bool *written)
{
	unsigned int page;

	for (page = 0; page < AREA; page++) {
		size_t end = written[page] ? BLOCK : 0;
		uint8_t *start = page_at(worker, page);

		if (!worker->present[page])
			continue;
		if (!is_filled(start, WRITTEN, end) ||
		    !is_marked(start, mark_of(worker, page), end, PAGE_SIZE))
			complain(worker, "page %u was %swritten and has %02x",
				 page, written[page] ? "" : "not ", *start);
	}
}

static unsigned int count_live(struct worker *worker)
{
	unsigned int i, page, count = 0;

	for (i = 0; i < worker->count; i++)
		for (page = 0; page < worker->records[i].pages; page++)
			count += is_live(worker, &worker->records[i], page);
	return count;
}

static void check_all(struct __test_metadata *_metadata,
		      struct _test_data_model *self)
{
	static bool written[WORKERS][AREA];
	struct worker *workers = self->workers, *child = &workers[THREADS];
	struct nvme *disk = &self->probe.disk;
	unsigned int i, live = 0, records = 0;
	int domain = self->probe.domain;

	for (i = 0; i < WORKERS; i++) {
		records += workers[i].count;
		if (i < THREADS)
			live += count_live(&workers[i]);
	}
	EXPECT_EQ(self->own_mappings + records,
		  fdinfo_number(domain, "mappings"));
	EXPECT_TRUE(fdinfo_becomes(domain, "pinned",
				   self->own + live * (long long)PAGE_SIZE)) {
		TH_LOG("pinned %lld, not %lld",
		       fdinfo_number(domain, "pinned"),
		       self->own + live * (long long)PAGE_SIZE);
	}
	EXPECT_EQ(self->pinned + 4 * (long)live, vm_pin());

	memset(nvme_buffer(disk, 1), WRITTEN, BLOCK);
	ASSERT_EQ(0, nvme_write(disk, TO_WRITE, 1));
	memset(written, 0, sizeof(written));
	for (i = 0; i < THREADS; i++)
		mark_all(&workers[i]);
	for (i = 0; i < WORKERS; i++)
		check_reads(&workers[i], disk, i == THREADS);
	for (i = 0; i < WORKERS; i++)
		write_all(&workers[i], disk, i == THREADS, written[i]);
	for (i = 0; i < THREADS; i++)
		check_writes(&workers[i], written[i]);
	EXPECT_TRUE(is_filled(self->bystander, 0x99, BYSTANDER));
	TH_LOG("%u mappings, %u pages reached, child's %u in %u", records, live,
	       child->reserved, child->count);
	EXPECT_LT(0, live);
}

/* The child's model goes on in its next life, with other pages and no mappings. */
static void forget_child(struct __test_metadata *_metadata,
			 struct worker *child)
{
	unsigned int i, page;

	for (i = 0; i < child->count; i++) {
		struct record *record = &child->records[i];

		EXPECT_EQ((int64_t)(record->pages * PAGE_SIZE),
			  uvfio_dma_unmap(child->domain, record->iova,
					  record->pages * PAGE_SIZE));
	}
	child->count = 0;
	child->reserved = 0;
	/* Its parent has all of them, it has not done anything to them. */
	for (page = 0; page < AREA; page++)
		child->present[page] = true;
}

static void run_round(struct __test_metadata *_metadata,
		      struct _test_data_model *self, uint64_t end)
{
	struct worker *workers = self->workers;
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < WORKERS; i++)
		workers[i].stop = false;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		work(&workers[THREADS]);
		_exit(0);
	}
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work,
					    &workers[i]));
	/* A device more or less in the domain does not matter to the others. */
	while (now_ms() < end) {
		EXPECT_EQ(0, uvfio_attach(self->edu2.fd, self->probe.domain));
		usleep(100000);
		EXPECT_EQ(0, uvfio_detach(self->edu2.fd));
		usleep(100000);
	}
	for (i = 0; i < WORKERS; i++)
		__atomic_store_n(&workers[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_join(workers[i].thread, NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F_TIMEOUT(model, holds, 900)
{
	uint64_t end = now_ms() + stress_ms(4, 60), now;
	struct worker *worker;
	unsigned int i;

	while ((now = now_ms()) < end && _metadata->passed) {
		run_round(_metadata, self,
			  now + ROUND_MS < end ? now + ROUND_MS : end);
		check_all(_metadata, self);
		forget_child(_metadata, &self->workers[THREADS]);
		for (i = 0; i < WORKERS; i++) {
			worker = &self->workers[i];
			TH_LOG("%lu done, %lu refused, %u reserved",
			       worker->done, worker->refused, worker->reserved);
			EXPECT_LT(0, worker->done);
			EXPECT_EQ(0, worker->wrong) {
				TH_LOG("%s", worker->complaint);
			}
		}
	}
	EXPECT_LT(0, fdinfo_number(self->probe.domain, "revoked"));
}

TEST_HARNESS_MAIN
