// SPDX-License-Identifier: GPL-2.0
/*
 * Accounting: what is pinned is charged to who pinned it, to the page, whatever
 * else goes on; to the limit and not beyond; and when nobody maps any more,
 * nothing is charged to anybody and no page is left pinned.
 *
 * The fixture stays root and watches; who maps is an unprivileged child.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "dma.h"
#include "test.h"

#define IOVA		0x10000000ULL
#define PAGES		16
#define THREADS		4

FIXTURE(account)
{
	struct device dev;
	int domain;		/* the device is in it */
	long machine;		/* pages that are pinned for anybody */
};

FIXTURE_SETUP(account)
{
	self->machine = pages_pinned();
	ASSERT_LE(0, self->machine);
	ASSERT_EQ(0, device_prepare(EDU, &self->dev));
	self->domain = uvfio_domain_open();
	ASSERT_LE(0, self->domain);
	ASSERT_EQ(0, device_open_attached(&self->dev, self->domain));
}

FIXTURE_TEARDOWN(account)
{
	device_close(&self->dev);
	close(self->domain);
	EXPECT_EQ(self->machine, pages_pinned());
}

/* Nothing is pinned in the domain any more, soon. */
static bool is_given_back(struct _test_data_account *self)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (fdinfo_number(self->domain, "pinned") ||
	       pages_pinned() != self->machine) {
		if (now_ms() > end)
			return false;
		usleep(10000);
	}
	return true;
}

static int limit_pages(unsigned int pages)
{
	struct rlimit limit = { pages * PAGE_SIZE, MEMLOCK_BYTES };

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
}

/* A child that has become the user, and does what is to be tested. */
static pid_t user_fork(void)
{
	pid_t pid = fork();

	if (!pid && drop_privileges(TEST_UID))
		_exit(2);
	return pid;
}

static bool ends_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && !status;
}

/* Threads that share a limit */

struct mapper {
	pthread_t thread;
	pthread_barrier_t *start;
	int fd;
	uint8_t *memory;
	uint64_t iova;
	unsigned int pages;	/* of each mapping */
	unsigned int mapped;	/* mappings */
	int error;		/* that was the last */
	bool stop;
	unsigned int wrong;
};

static void *map_until_refused(void *data)
{
	struct mapper *mapper = data;
	size_t size = mapper->pages * PAGE_SIZE;

	pthread_barrier_wait(mapper->start);
	do {
		mapper->error = uvfio_dma_map(mapper->fd, mapper->memory, size,
					      mapper->iova +
					      mapper->mapped * size, RW);
	} while (!mapper->error && ++mapper->mapped < 1000);
	return NULL;
}

/* How many pages the threads have mapped when none gets any more. */
static unsigned int share_limit(struct __test_metadata *_metadata, int fd,
				uint8_t *memory, const unsigned int *pages)
{
	struct mapper mappers[THREADS] = { 0 };
	pthread_barrier_t start;
	unsigned int i, sum = 0;

	pthread_barrier_init(&start, NULL, THREADS);
	for (i = 0; i < THREADS; i++) {
		mappers[i].start = &start;
		mappers[i].fd = fd;
		mappers[i].memory = memory;
		mappers[i].iova = IOVA + i * 4 * MIB;
		mappers[i].pages = pages[i];
		EXPECT_EQ(0, pthread_create(&mappers[i].thread, NULL,
					    map_until_refused, &mappers[i]));
	}
	for (i = 0; i < THREADS; i++) {
		EXPECT_EQ(0, pthread_join(mappers[i].thread, NULL));
		EXPECT_EQ(-ENOMEM, mappers[i].error);
		sum += mappers[i].mapped * mappers[i].pages;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

TEST_F(account, limit_is_shared_by_threads)
{
	static const unsigned int alike[THREADS] = { 1, 1, 1, 1 };
	static const unsigned int unlike[THREADS] = { 1, 3, 2, 5 };
	unsigned int i;
	pid_t pid;

	pid = user_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(PAGES * PAGE_SIZE);

		ASSERT_NE(NULL, memory);
		ASSERT_EQ(0, limit_pages(101));
		for (i = 0; i < 30; i++) {
			/* The last page is for a single one, in any case. */
			EXPECT_EQ(101, share_limit(_metadata, self->domain,
						   memory, i % 2 ? alike :
								   unlike));
			EXPECT_EQ(101 * 4, vm_pin());
			EXPECT_EQ(101 * (long)PAGE_SIZE,
				  fdinfo_number(self->domain, "pinned"));
			EXPECT_EQ(101 * (int64_t)PAGE_SIZE,
				  unmap_all(self->domain, 0, 0));
			EXPECT_EQ(0, vm_pin());
		}
		_exit(_metadata->passed ? 0 : 1);
	}
	EXPECT_TRUE(ends_well(pid));
	ASSERT_TRUE(is_given_back(self));
}

/* Maps and unmaps until it is told to stop. */
static void *map_and_unmap(void *data)
{
	struct mapper *mapper = data;
	size_t size = mapper->pages * PAGE_SIZE;

	while (!__atomic_load_n(&mapper->stop, __ATOMIC_RELAXED)) {
		if (uvfio_dma_map(mapper->fd, mapper->memory, size,
				  mapper->iova, RW)) {
			mapper->wrong++;
			break;
		}
		__atomic_add_fetch(&mapper->mapped, 1, __ATOMIC_RELAXED);
		if (uvfio_dma_unmap(mapper->fd, mapper->iova, size) !=
		    (int64_t)size)
			mapper->wrong++;
	}
	return NULL;
}

static int mappers_start(struct mapper *mappers, int fd, uint8_t *memory)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		mappers[i].fd = fd;
		mappers[i].pages = PAGES / THREADS;
		mappers[i].memory = memory + i * mappers[i].pages * PAGE_SIZE;
		mappers[i].iova = IOVA + i * 2 * MIB;
		if (pthread_create(&mappers[i].thread, NULL, map_and_unmap,
				   &mappers[i]))
			return -EAGAIN;
	}
	return 0;
}

static unsigned int mappers_stop(struct mapper *mappers)
{
	unsigned int i, wrong = 0;

	for (i = 0; i < THREADS; i++)
		__atomic_store_n(&mappers[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++) {
		pthread_join(mappers[i].thread, NULL);
		wrong += mappers[i].wrong + !mappers[i].mapped;
	}
	return wrong;
}

static bool all_have_mapped(struct mapper *mappers)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		if (!__atomic_load_n(&mappers[i].mapped, __ATOMIC_RELAXED))
			return false;
	return true;
}

/* A child inherits memory, and none of what was pinned. */
TEST_F(account, fork_takes_no_charge_along)
{
	pid_t pid, inner;
	int i;

	pid = user_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(PAGES * PAGE_SIZE);
		struct mapper mappers[THREADS] = { 0 };

		ASSERT_EQ(0, mappers_start(mappers, self->domain, memory));
		for (i = 0; i < 50; i++) {
			inner = fork();
			ASSERT_LE(0, inner);
			if (!inner) {
				/* Copies of its own are written and freed. */
				memset(memory, i, PAGES * PAGE_SIZE);
				munmap(memory, PAGES / 2 * PAGE_SIZE);
				_exit(vm_pin() ? 1 : 0);
			}
			EXPECT_TRUE(ends_well(inner));
		}
		EXPECT_EQ(0, mappers_stop(mappers));
		EXPECT_EQ(0, vm_pin());
		_exit(_metadata->passed ? 0 : 1);
	}
	EXPECT_TRUE(ends_well(pid));
	ASSERT_TRUE(is_given_back(self));
}

/* How a process with threads that map can end, */
enum end { EXIT, KILL, EXEC, EXEC_BY_THREAD };

static void *exec_something(void *data)
{
	(void)data;
	execl("/bin/true", "true", NULL);
	_exit(3);
}

static void end_now(enum end end)
{
	pthread_t thread;

	switch (end) {
	case EXIT:
		_exit(0);
	case KILL:
		kill(getpid(), SIGKILL);
		break;
	case EXEC:
		exec_something(NULL);
		break;
	case EXEC_BY_THREAD:
		/* It becomes the process, all others end. */
		pthread_create(&thread, NULL, exec_something, NULL);
	}
	pause();
}

FIXTURE(ending)
{
	struct _test_data_account account;
};

FIXTURE_VARIANT(ending)
{
	enum end end;
};

FIXTURE_VARIANT_ADD(ending, by_exit) { .end = EXIT };
FIXTURE_VARIANT_ADD(ending, by_kill) { .end = KILL };
FIXTURE_VARIANT_ADD(ending, by_exec) { .end = EXEC };
FIXTURE_VARIANT_ADD(ending, by_exec_of_a_thread) { .end = EXEC_BY_THREAD };

FIXTURE_SETUP(ending)
{
	account_setup(_metadata, &self->account, NULL);
}

FIXTURE_TEARDOWN(ending)
{
	account_teardown(_metadata, &self->account, NULL);
}

/* ... while they map: what they had pinned is not, nobody is charged. */
TEST_F_TIMEOUT(ending, gives_back_what_is_being_mapped, 600)
{
	int domain = self->account.domain, status, i;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			uint8_t *memory = dma_alloc((PAGES + 4) * PAGE_SIZE);
			struct mapper mappers[THREADS] = { 0 };

			/* Not all of it comes and goes. */
			if (drop_privileges(TEST_UID) ||
			    uvfio_dma_map(domain, memory + PAGES * PAGE_SIZE,
					  4 * PAGE_SIZE, IOVA + 16 * MIB, RW) ||
			    mappers_start(mappers, domain, memory))
				_exit(1);
			while (!all_have_mapped(mappers))
				usleep(100);
			usleep(rand() % 3000 + i * 200);
			end_now(variant->end);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(variant->end == KILL ? SIGKILL : 0, status);
		ASSERT_TRUE(is_given_back(&self->account));
		/* Their places are taken until somebody says otherwise. */
		EXPECT_LE(1, fdinfo_number(domain, "mappings"));
		EXPECT_LE(4 * (int64_t)PAGE_SIZE, unmap_all(domain, 0, 0));
		EXPECT_EQ(0, fdinfo_number(domain, "mappings"));
	}
}

/* A program that was executed has nothing to do with what there was before. */
TEST_F(account, exec_takes_no_charge_along)
{
	int status, ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(PAGES * PAGE_SIZE);

		if (drop_privileges(TEST_UID) ||
		    uvfio_dma_map(self->domain, memory, PAGES * PAGE_SIZE, IOVA,
				  RW) || vm_pin() != 4 * PAGES)
			_exit(1);
		/* Its own file descriptors are close-on-exec, the pipe is not. */
		dup2(ready[1], 1);
		execl("/bin/sh", "sh", "-c",
		      "grep VmPin: /proc/self/status | grep -qw 0 && echo ok; sleep 60",
		      NULL);
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ('o', byte);
	ASSERT_TRUE(is_given_back(self));
	EXPECT_EQ(1, fdinfo_number(self->domain, "mappings"));
	EXPECT_EQ(PAGES * (int64_t)PAGE_SIZE,
		  uvfio_dma_unmap(self->domain, IOVA, PAGES * PAGE_SIZE));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
}

/* One domain, two processes: each pays for what it has mapped itself. */
TEST_F(account, processes_pay_for_their_own)
{
	int go[2], done[2];
	pid_t pid, inner;
	char byte;

	pid = user_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(PAGES * PAGE_SIZE);
		int fd = self->domain;

		ASSERT_EQ(0, uvfio_dma_map(fd, memory, 3 * PAGE_SIZE, IOVA,
					   RW));
		ASSERT_EQ(0, pipe(go));
		ASSERT_EQ(0, pipe(done));
		inner = fork();
		ASSERT_LE(0, inner);
		if (!inner) {
			EXPECT_EQ(0, vm_pin());
			EXPECT_EQ(0, uvfio_dma_map(fd, memory, 5 * PAGE_SIZE,
						   IOVA + 4 * MIB, RW));
			EXPECT_EQ(20, vm_pin());
			/* It may unmap what is not its own, too. */
			EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, IOVA,
							     PAGE_SIZE));
			EXPECT_EQ(20, vm_pin());
			EXPECT_EQ(1, write(done[1], "", 1));
			EXPECT_EQ(1, read(go[0], &byte, 1));
			EXPECT_EQ(16, vm_pin());
			_exit(_metadata->passed ? 0 : 1);
		}
		ASSERT_EQ(1, read(done[0], &byte, 1));
		EXPECT_EQ(8, vm_pin());
		EXPECT_EQ(7 * (long)PAGE_SIZE, fdinfo_number(fd, "pinned"));
		EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, IOVA + 4 * MIB,
						     PAGE_SIZE));
		EXPECT_EQ(8, vm_pin());
		ASSERT_EQ(1, write(go[1], "", 1));
		EXPECT_TRUE(ends_well(inner));
		EXPECT_EQ(8, vm_pin());
		EXPECT_TRUE(fdinfo_becomes(fd, "pinned", 2 * PAGE_SIZE));
		EXPECT_EQ(6 * (int64_t)PAGE_SIZE, unmap_all(fd, 0, 0));
		EXPECT_EQ(0, vm_pin());
		_exit(_metadata->passed ? 0 : 1);
	}
	EXPECT_TRUE(ends_well(pid));
	ASSERT_TRUE(is_given_back(self));
}

/* What is taken away by the process itself makes room at once. */
TEST_F(account, revoked_pages_make_room)
{
	pid_t pid;

	pid = user_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(2 * PAGES * PAGE_SIZE);
		int fd = self->domain, i;

		ASSERT_EQ(0, limit_pages(PAGES));
		ASSERT_EQ(0, uvfio_dma_map(fd, memory, PAGES * PAGE_SIZE, IOVA,
					   RW));
		for (i = 0; i < PAGES; i++) {
			EXPECT_EQ(-ENOMEM, uvfio_dma_map(fd, memory + PAGES *
							 PAGE_SIZE, PAGE_SIZE,
							 IOVA + 4 * MIB +
							 i * PAGE_SIZE, RW));
			ASSERT_EQ(0, i % 2 ? munmap(memory + i * PAGE_SIZE,
						    PAGE_SIZE) :
					     madvise(memory + i * PAGE_SIZE,
						     PAGE_SIZE,
						     MADV_DONTNEED));
			EXPECT_EQ(4 * (PAGES - 1), vm_pin());
			EXPECT_EQ((i + 1) * (long)PAGE_SIZE,
				  fdinfo_number(fd, "revoked"));
			EXPECT_EQ(0, uvfio_dma_map(fd, memory + PAGES *
						   PAGE_SIZE, PAGE_SIZE,
						   IOVA + 4 * MIB +
						   i * PAGE_SIZE, RW));
			EXPECT_EQ(4 * PAGES, vm_pin());
		}
		EXPECT_EQ(2 * PAGES * (int64_t)PAGE_SIZE, unmap_all(fd, 0, 0));
		EXPECT_EQ(0, vm_pin());
		_exit(_metadata->passed ? 0 : 1);
	}
	EXPECT_TRUE(ends_well(pid));
	ASSERT_TRUE(is_given_back(self));
}

/* Threads map what another thread unmaps from the process at the same time. */
struct remover {
	pthread_t thread;
	uint8_t *memory;
	bool stop;
};

static void *remove_memory(void *data)
{
	struct remover *remover = data;
	unsigned int i;

	for (i = 0; !__atomic_load_n(&remover->stop, __ATOMIC_RELAXED); i++) {
		uint8_t *page = remover->memory + i * 7 % PAGES * PAGE_SIZE;

		if (i % 2)
			madvise(page, PAGE_SIZE, MADV_DONTNEED);
		else
			mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	return NULL;
}

TEST_F(account, memory_may_go_while_it_is_mapped)
{
	pid_t pid;

	pid = user_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *memory = dma_alloc(PAGES * PAGE_SIZE);
		struct mapper mappers[THREADS] = { 0 };
		struct remover remover = { .memory = memory };

		ASSERT_EQ(0, pthread_create(&remover.thread, NULL,
					    remove_memory, &remover));
		ASSERT_EQ(0, mappers_start(mappers, self->domain, memory));
		usleep(stress_ms(2, 20) * 1000);
		EXPECT_EQ(0, mappers_stop(mappers));
		__atomic_store_n(&remover.stop, true, __ATOMIC_RELAXED);
		EXPECT_EQ(0, pthread_join(remover.thread, NULL));
		EXPECT_EQ(0, vm_pin());
		EXPECT_LT(0, fdinfo_number(self->domain, "revoked"));
		_exit(_metadata->passed ? 0 : 1);
	}
	EXPECT_TRUE(ends_well(pid));
	ASSERT_TRUE(is_given_back(self));
	EXPECT_EQ(0, fdinfo_number(self->domain, "mappings"));
}

TEST_HARNESS_MAIN
