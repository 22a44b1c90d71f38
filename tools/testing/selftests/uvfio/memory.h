/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory of every kind that is mapped for DMA, the ways in which a process loses
 * it, and who gets its pages next.
 */
#ifndef UVFIO_TEST_MEMORY_H
#define UVFIO_TEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"

#define HUGE_SIZE	(2UL << 20)

/* As many as memory_pool() makes. */
#define POOL_PAGES	12

enum memory_kind {
	ANON,		/* private, in pages of 4 KiB */
	THP,		/* private, in pages of 2 MiB that can be taken apart */
	HUGETLB,	/* private, in pages of 2 MiB of the pool */
	SHARED,		/* of a memfd */
	SHARED_THP,	/* of a memfd, in pages of 2 MiB as with THP */
	SHARED_HUGETLB,	/* of a memfd in pages of the pool */
	COPIED,		/* a private view of a memfd, written to */
};

struct memory {
	enum memory_kind kind;
	uint8_t *base;		/* on a boundary of 2 MiB */
	size_t size;
	int file;		/* -1: of no file */
	uint8_t *view;		/* of all of the file, NULL without */
	bool vacant;		/* nothing is where something was lost */
	uint8_t *moved;		/* where what mremap() moved is now, or NULL */
	size_t moved_size;
};

/* As root: what HUGETLB, SHARED_HUGETLB and SHARED_THP need. */
int memory_pool(void);

/* All of it is there and filled with @byte. */
int memory_make(struct memory *memory, enum memory_kind kind, size_t size,
		int byte);
void memory_free(struct memory *memory);

/* All of it is pages of 2 MiB, if it is of a kind that ought to be. */
bool memory_is_as_meant(int pagemap, const struct memory *memory);

/* An address range with nothing in it, on a boundary of 2 MiB. */
void *memory_reserve(size_t size);

/* Ways to lose a part of @memory; 0 or -errno. */
typedef int lose_fn(struct memory *memory, size_t start, size_t size);

lose_fn lose_by_munmap;
lose_fn lose_by_mapping_over;
lose_fn lose_by_mremap;
lose_fn lose_by_mremap_dontunmap;
lose_fn lose_by_shrinking;	/* up to the end of it */
lose_fn lose_by_dontneed;
lose_fn lose_by_madv_remove;
lose_fn lose_by_punching;
lose_fn lose_by_truncating;	/* up to the end of it */

/* What is lost of what, and how. */
struct loss {
	enum memory_kind kind;
	size_t size;
	lose_fn *lose;
	size_t start;
	size_t length;
	bool at_once;		/* it is done when the call returns */
};

/* The kinds, three huge pages at most: that is what memory limits allow. */
#define ON_ANON		.kind = ANON, .size = 16 * PAGE_SIZE, .at_once = true
#define ON_THP		.kind = THP, .size = 2 * HUGE_SIZE
#define ON_HUGETLB	.kind = HUGETLB, .size = 3 * HUGE_SIZE
#define ON_SHARED	.kind = SHARED, .size = 16 * PAGE_SIZE
#define ON_SHARED_THP	.kind = SHARED_THP, .size = 2 * HUGE_SIZE
#define ON_SHARED_HUGE	.kind = SHARED_HUGETLB, .size = 3 * HUGE_SIZE
#define ON_COPIED	.kind = COPIED, .size = 16 * PAGE_SIZE

#define LOSE(how, first, bytes) \
	.lose = lose_by_##how, .start = (first), .length = (bytes)

/* Have new memory, filled with @byte, where the process has lost some. */
int memory_again(struct memory *memory, size_t start, size_t size, int byte);

/* Whoever may get the pages that someone lost: a lot of fresh memory. */
struct heir {
	uint8_t *chunks[2];
	size_t chunk_size;
	unsigned int count;
	int byte;
};

/* Memory like @kind, filled with @byte, from what each of two CPUs has at hand. */
void heir_take(struct heir *heir, enum memory_kind kind, int byte);
bool heir_is_untouched(const struct heir *heir);
void heir_free(struct heir *heir);

#endif /* UVFIO_TEST_MEMORY_H */
