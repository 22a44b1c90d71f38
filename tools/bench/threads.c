// SPDX-License-Identifier: GPL-2.0
/*
 * How well operations of two threads, on a CPU each, go side by side: how much
 * longer both take together than one of them does alone. This is time of the
 * clock, thus noisy: each round does the one right after the other, the median
 * counts, and threads that share nothing show what the machine itself makes of
 * it.
 */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define THREADS		2
#define ROUNDS		9
#define REPEAT		8	/* so that a round is longer than a time slice */
#define SIZE		0x4000000UL	/* 64 MiB */

struct thread {
	pthread_t id;
	unsigned int cpu;
	const struct driver *driver;
	struct device *dev;
	char *memory;
	int (*operation)(const struct thread *thread);
	pthread_barrier_t *barrier;
	double start, end;
	int ret;
};

static int compute(const struct thread *thread)
{
	volatile unsigned int i;

	(void)thread;
	for (i = 0; i < 20000000; i++)
		;
	return 0;
}

static int map_and_unmap(const struct thread *thread)
{
	uint64_t iova = IOVA + thread->cpu * SIZE;
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < REPEAT; i++) {
		ret = thread->driver->dma_map(thread->dev, thread->memory, SIZE,
					      iova);
		if (!ret)
			ret = thread->driver->dma_unmap(thread->dev, iova,
							SIZE);
	}
	return ret;
}

static double seconds(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_MONOTONIC, &time))
		err(1, "clock_gettime");
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void *run_thread(void *arg)
{
	struct thread *thread = arg;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(thread->cpu, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		err(1, "CPU %u", thread->cpu);

	pthread_barrier_wait(thread->barrier);
	thread->start = seconds();
	thread->ret = thread->operation(thread);
	thread->end = seconds();
	return NULL;
}

/* The time from when the first of @count threads starts until the last ends. */
static double run(struct thread *threads, unsigned int count,
		  int (*operation)(const struct thread *thread))
{
	pthread_barrier_t barrier;
	double start, end;
	unsigned int i;

	pthread_barrier_init(&barrier, NULL, count);
	for (i = 0; i < count; i++) {
		threads[i].barrier = &barrier;
		threads[i].operation = operation;
		if (pthread_create(&threads[i].id, NULL, run_thread,
				   &threads[i]))
			errx(1, "no thread");
	}
	for (i = 0; i < count; i++) {
		pthread_join(threads[i].id, NULL);
		if (threads[i].ret)
			errx(1, "two threads: %s", strerror(-threads[i].ret));
		if (i == 0 || start > threads[i].start)
			start = threads[i].start;
		if (i == 0 || end < threads[i].end)
			end = threads[i].end;
	}
	pthread_barrier_destroy(&barrier);
	return end - start;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Prints the ratio of two threads to one, if the driver @can do the operation. */
static void measure_both(const char *name, bool can, struct thread *threads,
			 int (*operation)(const struct thread *thread))
{
	double ratios[ROUNDS], one;
	unsigned int i;

	printf("two threads to one: %s\t", name);
	if (!can) {
		printf("-\t-\tx\n");
		return;
	}
	for (i = 0; i < ROUNDS; i++) {
		one = run(threads, 1, operation);
		ratios[i] = run(threads, THREADS, operation) / one;
	}
	qsort(ratios, ROUNDS, sizeof(*ratios), compare);
	printf("%.2f\t-\tx\n", ratios[ROUNDS / 2]);
}

void measure_threads(const struct driver *driver, struct device *dev)
{
	struct thread threads[THREADS];
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		threads[i] = (struct thread) {
			.cpu = i,
			.driver = driver,
			.dev = dev,
			.memory = allocate(ADJACENT, SIZE),
		};
	measure_both("nothing shared", true, threads, compute);
	measure_both("map, unmap 64 MiB", driver->can & CAN_DMA,
		     threads, map_and_unmap);
}
