// SPDX-License-Identifier: GPL-2.0
/*
 * Revocation, where it is not one process that loses one page: every page of a
 * large mapping tried by an NVMe controller, memory that several devices have,
 * processes that leave their memory in a domain that others keep, and all of it
 * while it is just being mapped.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "stage.h"
#include "test.h"

FIXTURE(nvme)
{
	struct nvme_stage stage;
	struct memory memory;
};

FIXTURE_VARIANT(nvme)
{
	struct loss loss;
};

FIXTURE_VARIANT_ADD(nvme, munmap) {
	.loss = { ON_ANON, LOSE(munmap, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(nvme, dontneed) {
	.loss = { ON_ANON, LOSE(dontneed, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(nvme, thp_munmap_page) {
	.loss = { ON_THP, LOSE(munmap, PAGES(300), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(nvme, thp_dontneed_page) {
	.loss = { ON_THP, LOSE(dontneed, PAGES(300), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(nvme, thp_mremap_page) {
	.loss = { ON_THP, LOSE(mremap, PAGES(300), PAGES(1)) },
};

FIXTURE_VARIANT_ADD(nvme, thp_dontneed_across) {
	.loss = { ON_THP, LOSE(dontneed, PAGES(500), PAGES(20)) },
};

FIXTURE_VARIANT_ADD(nvme, hugetlb_dontneed) {
	.loss = { ON_HUGETLB, LOSE(dontneed, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(nvme, shared_punch) {
	.loss = { ON_SHARED, LOSE(punching, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(nvme, shared_huge_punch) {
	.loss = { ON_SHARED_HUGE, LOSE(punching, HUGES(1), HUGES(1)) },
};

FIXTURE_SETUP(nvme)
{
	const struct loss *loss = &variant->loss;
	int pagemap;

	ASSERT_EQ(0, memory_pool());
	pagemap = pagemap_open();
	ASSERT_EQ(0, device_prepare(NVME, &self->stage.dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, nvme_stage_start(&self->stage));
	ASSERT_EQ(0, memory_make(&self->memory, loss->kind, loss->size, OLD));
	ASSERT_TRUE(memory_is_as_meant(pagemap, &self->memory));
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->memory.base,
				   loss->size, NVME_IOVA, RW));
}

FIXTURE_TEARDOWN(nvme)
{
	nvme_stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
	memory_free(&self->memory);
}

/* Every single page: those that were lost, and no other. */
TEST_F(nvme, sees_what_is_left)
{
	const struct loss *loss = &variant->loss;
	const size_t start = loss->start, length = loss->length;
	struct account before = account_of(self->stage.domain);
	unsigned int wrong = 0, dead = 0;
	uint8_t *base = self->memory.base;
	int seen, want;
	size_t at;

	ASSERT_EQ((int)RW, disk_reach(&self->stage.nvme, NVME_IOVA + start,
				      base + start));
	memset(base + start, OLD, length);
	ASSERT_EQ(0, loss->lose(&self->memory, start, length));
	if (!loss->at_once)
		EXPECT_TRUE(has_lost(self->stage.domain, &before, length));
	ASSERT_EQ(0, memory_again(&self->memory, start, length, NEW));

	for (at = 0; at < loss->size; at += PAGE_SIZE) {
		seen = disk_reach(&self->stage.nvme, NVME_IOVA + at, base + at);
		want = at >= start && at - start < length ? 0 : RW;
		dead += !seen;
		if (seen != want && wrong++ < 10)
			TH_LOG("page %zu: reached by %d, not %d",
			       at / PAGE_SIZE, seen, want);
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(length / PAGE_SIZE, dead);
	EXPECT_TRUE(has_lost(self->stage.domain, &before, length));
}

/* The same memory twice in one domain, and once in that of another device. */

FIXTURE(thrice)
{
	struct stage stage;
	struct nvme_stage other;
	struct memory memory;
};

FIXTURE_VARIANT(thrice)
{
	struct loss loss;
};

FIXTURE_VARIANT_ADD(thrice, munmap) {
	.loss = { .kind = ANON, .size = PAGES(16),
		  LOSE(munmap, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(thrice, dontneed) {
	.loss = { .kind = ANON, .size = PAGES(16),
		  LOSE(dontneed, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(thrice, thp_dontneed) {
	.loss = { .kind = THP, .size = HUGES(1),
		  LOSE(dontneed, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(thrice, shared_punch) {
	.loss = { .kind = SHARED, .size = PAGES(16),
		  LOSE(punching, PAGES(5), PAGES(3)) },
};

FIXTURE_VARIANT_ADD(thrice, copied_munmap) {
	.loss = { .kind = COPIED, .size = PAGES(16),
		  LOSE(munmap, PAGES(5), PAGES(3)) },
};

FIXTURE_SETUP(thrice)
{
	const struct loss *loss = &variant->loss;

	ASSERT_EQ(0, device_prepare(NVME, &self->other.dev));
	ASSERT_EQ(0, stage_start(&self->stage));
	ASSERT_EQ(0, nvme_stage_start(&self->other));
	ASSERT_EQ(0, memory_make(&self->memory, loss->kind, loss->size, OLD));
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->memory.base,
				   loss->size, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->stage.domain, self->memory.base,
				   loss->size, IOVA2, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->other.domain, self->memory.base,
				   loss->size, NVME_IOVA, RW));
}

FIXTURE_TEARDOWN(thrice)
{
	stage_end(&self->stage);
	nvme_stage_end(&self->other);
	EXPECT_EQ(0, vm_pin());
	memory_free(&self->memory);
}

TEST_F(thrice, is_lost_to_all)
{
	const struct loss *loss = &variant->loss;
	const size_t length = loss->length, end = loss->start + length;
	struct account mine = account_of(self->stage.domain);
	struct account theirs = account_of(self->other.domain);
	uint8_t *gone = self->memory.base + loss->start;
	uint8_t *next = self->memory.base + end;
	uint64_t iova = NVME_IOVA + loss->start;
	unsigned int i;

	ASSERT_EQ(0, loss->lose(&self->memory, loss->start, length));
	mine = account_less(mine, 2 * length);
	mine.vm_pin -= length >> 10;
	EXPECT_TRUE(account_becomes(self->stage.domain, &mine));
	theirs = account_less(theirs, length);
	theirs.vm_pin = mine.vm_pin;
	EXPECT_TRUE(account_becomes(self->other.domain, &theirs));
	ASSERT_EQ(0, memory_again(&self->memory, loss->start, length, NEW));

	EXPECT_TRUE(reads_nothing(&self->stage, IOVA + loss->start));
	EXPECT_TRUE(reads_nothing(&self->stage, IOVA2 + loss->start));
	ASSERT_EQ(0, device_write(&self->stage, IOVA + loss->start, DEVICE));
	ASSERT_EQ(0, edu_store(&self->stage.edu, IOVA2 + loss->start, 0,
			       BYTES));
	EXPECT_TRUE(is_filled(gone, NEW, length));
	EXPECT_TRUE(reaches(&self->stage, next, IOVA + end));
	EXPECT_TRUE(reaches(&self->stage, next, IOVA2 + end));
	for (i = 0; i < length / PAGE_SIZE; i++)
		EXPECT_EQ(0, disk_reach(&self->other.nvme, iova + PAGES(i),
					gone + PAGES(i)));
	EXPECT_EQ((int)RW, disk_reach(&self->other.nvme, iova - PAGE_SIZE,
				      gone - PAGE_SIZE));
	EXPECT_EQ((int)RW, disk_reach(&self->other.nvme, iova + length, next));
}

/* Whoever mapped it goes, someone else keeps the device and the domain. */

enum leave {
	EXIT,
	EXEC,
	KILLED,
};

FIXTURE(owner)
{
	struct stage stage;
	int fd;			/* as the owner has it */
	pid_t pid;
	int sock;
	struct witness *witness;	/* shared with the owner */
};

FIXTURE_VARIANT(owner)
{
	struct loss loss;	/* of all there is */
	enum leave leave;
	bool has_device;	/* instead of the domain */
};

FIXTURE_VARIANT_ADD(owner, exits) {
	.loss = { ON_ANON },
	.leave = EXIT,
};

FIXTURE_VARIANT_ADD(owner, execs) {
	.loss = { ON_ANON },
	.leave = EXEC,
};

FIXTURE_VARIANT_ADD(owner, is_killed) {
	.loss = { ON_ANON },
	.leave = KILLED,
};

FIXTURE_VARIANT_ADD(owner, of_device_exits) {
	.loss = { ON_ANON },
	.leave = EXIT,
	.has_device = true,
};

FIXTURE_VARIANT_ADD(owner, of_device_execs) {
	.loss = { ON_ANON },
	.leave = EXEC,
	.has_device = true,
};

FIXTURE_VARIANT_ADD(owner, of_thp_exits) {
	.loss = { ON_THP },
	.leave = EXIT,
};

FIXTURE_VARIANT_ADD(owner, of_thp_execs) {
	.loss = { ON_THP },
	.leave = EXEC,
};

FIXTURE_VARIANT_ADD(owner, of_hugetlb_exits) {
	.loss = { ON_HUGETLB },
	.leave = EXIT,
};

FIXTURE_VARIANT_ADD(owner, of_hugetlb_execs) {
	.loss = { ON_HUGETLB },
	.leave = EXEC,
};

FIXTURE_VARIANT_ADD(owner, of_shared_exits) {
	.loss = { ON_SHARED },
	.leave = EXIT,
};

FIXTURE_VARIANT_ADD(owner, of_shared_execs) {
	.loss = { ON_SHARED },
	.leave = EXEC,
};

FIXTURE_VARIANT_ADD(owner, of_shared_huge_exits) {
	.loss = { ON_SHARED_HUGE },
	.leave = EXIT,
};

FIXTURE_VARIANT_ADD(owner, of_copied_is_killed) {
	.loss = { ON_COPIED },
	.leave = KILLED,
};

static void owner_run(int sock, enum memory_kind kind, size_t size,
		      struct witness *witness)
{
	int pagemap = pagemap_open(), fd;
	struct memory memory;
	char order;

	if (drop_privileges(TEST_UID))
		return;
	fd = fd_receive(sock);
	if (fd < 0 || memory_make(&memory, kind, size, OLD))
		return;
	*witness = witness_of(pagemap, memory.base, size);
	if (uvfio_dma_map(fd, memory.base, size, IOVA, RW) ||
	    write(sock, "", 1) != 1 || read(sock, &order, 1) != 1)
		return;
	if (order == EXEC)
		execl("/bin/busybox", "busybox", "sleep", "1000", NULL);
}

FIXTURE_SETUP(owner)
{
	int sock[2];

	self->witness = mmap(NULL, sizeof(*self->witness),
			     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	ASSERT_NE(MAP_FAILED, self->witness);
	ASSERT_EQ(0, memory_pool());
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				sock));
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (!self->pid) {
		close(sock[0]);
		owner_run(sock[1], variant->loss.kind, variant->loss.size, self->witness);
		_exit(0);
	}
	close(sock[1]);
	self->sock = sock[0];
	ASSERT_EQ(0, stage_start(&self->stage));
	self->fd = variant->has_device ? self->stage.dev.fd :
					 self->stage.domain;
}

FIXTURE_TEARDOWN(owner)
{
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
}

static void owner_leave(pid_t pid, int sock, enum leave leave)
{
	char order = leave;

	if (leave == KILLED)
		kill(pid, SIGKILL);
	else if (write(sock, &order, 1) != 1)
		return;
	/* Its end is closed with the process, or by exec. */
	while (read(sock, &order, 1) > 0)
		;
	if (leave != EXEC)
		waitpid(pid, NULL, 0);
}

TEST_F(owner, leaves_nothing)
{
	const size_t size = variant->loss.size;
	const uint64_t last = IOVA + size - BYTES;
	struct account before = account_of(self->stage.domain), want = before;
	struct memory mine;
	struct heir heir;
	char byte;

	ASSERT_EQ(0, fd_send(self->sock, self->fd));
	ASSERT_EQ(1, read(self->sock, &byte, 1));
	want.pinned += size;
	want.mappings++;
	EXPECT_TRUE(account_is(self->stage.domain, &want));
	ASSERT_EQ(0, device_read(&self->stage, last));
	EXPECT_TRUE(is_filled(self->stage.scratch, OLD, BYTES));
	ASSERT_EQ(0, device_write_ends(&self->stage, IOVA, size));
	ASSERT_EQ(2, witness_sees(self->witness));
	ASSERT_EQ(0, device_write(&self->stage, IOVA, OLD));
	ASSERT_EQ(0, edu_store(&self->stage.edu, last, 0, BYTES));
	ASSERT_EQ(0, witness_sees(self->witness));
	EXPECT_EQ((long)(size >> 10), process_status_of(self->pid, "VmPin"));

	owner_leave(self->pid, self->sock, variant->leave);
	want.pinned = before.pinned;
	want.revoked = size;
	EXPECT_TRUE(account_becomes(self->stage.domain, &want));
	if (variant->leave == EXEC)
		EXPECT_EQ(0, process_status_of(self->pid, "VmPin"));
	heir_take(&heir, variant->loss.kind, NEW);

	EXPECT_TRUE(reads_nothing(&self->stage, IOVA));
	EXPECT_TRUE(reads_nothing(&self->stage, last));
	ASSERT_EQ(0, device_write_ends(&self->stage, IOVA, size));
	EXPECT_EQ(0, witness_sees(self->witness));
	EXPECT_TRUE(heir_is_untouched(&heir));
	heir_free(&heir);

	/* Its IOVA is the domain's until it is unmapped, by whomever. */
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, self->stage.scratch,
					 PAGE_SIZE, IOVA, RW));
	EXPECT_EQ((int64_t)size, uvfio_dma_unmap(self->fd, IOVA, size));
	before.revoked = size;
	EXPECT_TRUE(account_is(self->stage.domain, &before));
	ASSERT_EQ(0, memory_make(&mine, ANON, PAGE_SIZE, NEW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, mine.base, PAGE_SIZE, IOVA, RW));
	EXPECT_TRUE(reaches(&self->stage, mine.base, IOVA));
	memory_free(&mine);
}

/*
 * When the pool is empty and the process that it was reserved for cannot have a copy
 * of a page that it shares with its children, it takes the page from them. What they
 * have instead of it stays theirs.
 */

FIXTURE(kin)
{
	struct stage stage;
	struct memory memory;	/* a page of the pool; the parent's */
	struct memory rest;	/* of the pool */
	int rich, poor;		/* sockets to children, for one order each */
	pid_t pids[2];
};

static bool kin_wait(int sock)
{
	char byte;

	return read(sock, &byte, 1) == 1;
}

static bool kin_tell(int sock)
{
	return write(sock, "", 1) == 1;
}

/* The child maps its copy for DMA, or has none and looks at it when it is told to. */
static int kin_run(const struct memory *memory, int domain, bool rich, int sock)
{
	if (rich) {
		memset(memory->base, NEW, memory->size);
		if (uvfio_dma_map(domain, memory->base, memory->size, IOVA, RW))
			return 1;
	}
	if (!kin_tell(sock) || !kin_wait(sock))
		return 1;
	return is_filled(memory->base, rich ? NEW : OLD, memory->size) ? 0 : 1;
}

static pid_t kin_start(const struct memory *memory, int domain, bool rich,
		       int *sock)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return -1;
	pid = fork();
	if (!pid) {
		close(pair[0]);
		_exit(kin_run(memory, domain, rich, pair[1]));
	}
	close(pair[1]);
	*sock = pair[0];
	return kin_wait(*sock) ? pid : -1;
}

static int kin_end(int sock, pid_t pid)
{
	int status = -1;

	if (kin_tell(sock))
		waitpid(pid, &status, 0);
	close(sock);
	return status;
}

FIXTURE_SETUP(kin)
{
	ASSERT_EQ(0, memory_pool());
	ASSERT_EQ(0, stage_start(&self->stage));
	ASSERT_EQ(0, memory_make(&self->memory, HUGETLB, HUGE_SIZE, OLD));
	self->pids[0] = kin_start(&self->memory, self->stage.domain, true,
				  &self->rich);
	ASSERT_LT(0, self->pids[0]);
	self->pids[1] = kin_start(&self->memory, self->stage.domain, false,
				  &self->poor);
	ASSERT_LT(0, self->pids[1]);
	ASSERT_EQ(0, memory_make(&self->rest, HUGETLB, HUGES(POOL_PAGES - 2),
				 OLD));
}

FIXTURE_TEARDOWN(kin)
{
	memory_free(&self->rest);
	memory_free(&self->memory);
	stage_end(&self->stage);
}

TEST_F(kin, keeps_a_page_of_its_own)
{
	struct account before = account_of(self->stage.domain);
	int status;

	/* There is none for a copy, so the poor one's goes. */
	self->memory.base[0] = DEVICE;
	status = kin_end(self->poor, self->pids[1]);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGBUS, WTERMSIG(status));

	/* Enough for a worker. */
	usleep(200000);
	EXPECT_TRUE(account_is(self->stage.domain, &before));
	ASSERT_EQ(0, device_read(&self->stage, IOVA));
	EXPECT_TRUE(is_filled(self->stage.scratch, NEW, BYTES));
	EXPECT_EQ(0, kin_end(self->rich, self->pids[0]));
	EXPECT_TRUE(fdinfo_becomes(self->stage.domain, "revoked",
				   before.revoked + HUGE_SIZE));
}

/* Leaving while a thread maps, at ever later moments: it all ends. */

#define LEAVE_BYTES	(6UL << 20)
#define LEAVE_ROUNDS	40

FIXTURE(leaving)
{
	struct stage stage;
	bool *mapped;		/* shared with those who leave */
	struct account before;
};

FIXTURE_VARIANT(leaving)
{
	enum leave leave;
	enum memory_kind kind;
};

FIXTURE_VARIANT_ADD(leaving, by_exit) { .leave = EXIT, .kind = ANON };

FIXTURE_VARIANT_ADD(leaving, by_exec) { .leave = EXEC, .kind = ANON };

FIXTURE_VARIANT_ADD(leaving, by_signal) { .leave = KILLED, .kind = ANON };

FIXTURE_VARIANT_ADD(leaving, thp_by_exit) { .leave = EXIT, .kind = THP };

FIXTURE_VARIANT_ADD(leaving, thp_by_exec) { .leave = EXEC, .kind = THP };

FIXTURE_SETUP(leaving)
{
	ASSERT_EQ(0, stage_start(&self->stage));
	self->mapped = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mapped);
	self->before = account_of(self->stage.domain);
}

FIXTURE_TEARDOWN(leaving)
{
	stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
}

struct mapper {
	int domain;
	uint8_t *memory;
	bool *mapped;
};

static void *map_much(void *data)
{
	struct mapper *mapper = data;

	if (!uvfio_dma_map(mapper->domain, mapper->memory, LEAVE_BYTES, IOVA,
			   RW))
		__atomic_store_n(mapper->mapped, true, __ATOMIC_RELAXED);
	return NULL;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static void spin_us(unsigned int us)
{
	uint64_t end = now_us() + us;

	while (now_us() < end)
		;
}

/* Memory that is made only when it is pinned, so that mapping takes long. */
static uint8_t *fresh_memory(enum memory_kind kind)
{
	uint8_t *memory = memory_reserve(LEAVE_BYTES);

	if (mprotect(memory, LEAVE_BYTES, PROT_READ | PROT_WRITE) ||
	    madvise(memory, LEAVE_BYTES,
		    kind == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		return NULL;
	return memory;
}

static void leave_while_mapping(int domain, bool *mapped,
				enum memory_kind kind, enum leave leave,
				unsigned int us, bool wait)
{
	struct mapper mapper = {
		.domain = domain,
		.memory = fresh_memory(kind),
		.mapped = mapped,
	};
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_create(&thread, NULL, map_much, &mapper);
	spin_us(us);
	while (wait && !__atomic_load_n(mapped, __ATOMIC_RELAXED))
		usleep(100);
	if (leave == KILLED)
		kill(getpid(), SIGKILL);
	else if (leave == EXEC)
		execl("/bin/true", "true", NULL);
	_exit(0);
}

/* How long it takes to map it, for nobody leaves. */
static unsigned int mapping_takes(int domain, enum memory_kind kind)
{
	uint8_t *memory = fresh_memory(kind);
	uint64_t start = now_us(), us;

	if (uvfio_dma_map(domain, memory, LEAVE_BYTES, IOVA, RW))
		return 0;
	us = now_us() - start;
	uvfio_dma_unmap(domain, IOVA, LEAVE_BYTES);
	munmap(memory, LEAVE_BYTES);
	return us;
}

TEST_F(leaving, while_mapping)
{
	int domain = self->stage.domain, cut_short = 0, i;
	unsigned int us = mapping_takes(domain, variant->kind);
	struct account want = self->before;
	uint8_t *page = dma_alloc(PAGE_SIZE);
	uint64_t end;
	int64_t ret;
	pid_t pid;

	ASSERT_LT(0, us);
	for (i = 0; i < LEAVE_ROUNDS; i++) {
		*self->mapped = false;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			leave_while_mapping(domain, self->mapped, variant->kind,
					    variant->leave,
					    us * 2 * i / LEAVE_ROUNDS,
					    i >= LEAVE_ROUNDS - 4);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		cut_short += !*self->mapped;

		end = now_ms() + WAIT_MS;
		while (fdinfo_number(domain, "pinned") != want.pinned &&
		       now_ms() < end)
			usleep(1000);
		EXPECT_EQ(want.pinned, fdinfo_number(domain, "pinned"));
		ret = uvfio_dma_unmap(domain, IOVA, LEAVE_BYTES);
		/* All of it, or nothing. */
		EXPECT_TRUE(ret == 0 || ret == (int64_t)LEAVE_BYTES);
		EXPECT_EQ(want.mappings, fdinfo_number(domain, "mappings"));
	}
	TH_LOG("%d of %d maps of %u us were cut short", cut_short, i, us);
	EXPECT_LT(0, cut_short);
	EXPECT_GT(LEAVE_ROUNDS, cut_short);
	ASSERT_EQ(0, uvfio_dma_map(domain, page, PAGE_SIZE, IOVA, RW));
	EXPECT_TRUE(reaches(&self->stage, page, IOVA));
}

/* One maps while another takes the memory away. */

#define RACE_MS		3000

FIXTURE(race)
{
	struct nvme_stage stage;
	struct account before;
};

FIXTURE_VARIANT(race)
{
	struct loss loss;
};

FIXTURE_VARIANT_ADD(race, munmap) {
	.loss = { .kind = ANON, .size = PAGES(64),
		  LOSE(munmap, PAGES(20), PAGES(4)) },
};

FIXTURE_VARIANT_ADD(race, dontneed) {
	.loss = { .kind = ANON, .size = PAGES(64),
		  LOSE(dontneed, PAGES(20), PAGES(4)) },
};

FIXTURE_VARIANT_ADD(race, map_over) {
	.loss = { .kind = ANON, .size = PAGES(64),
		  LOSE(mapping_over, PAGES(20), PAGES(4)) },
};

FIXTURE_VARIANT_ADD(race, mremap) {
	.loss = { .kind = ANON, .size = PAGES(64),
		  LOSE(mremap, PAGES(20), PAGES(4)) },
};

FIXTURE_VARIANT_ADD(race, thp_dontneed) {
	.loss = { .kind = THP, .size = HUGES(1),
		  LOSE(dontneed, PAGES(20), PAGES(4)) },
};

FIXTURE_VARIANT_ADD(race, hugetlb_dontneed) {
	.loss = { .kind = HUGETLB, .size = HUGES(2),
		  LOSE(dontneed, HUGES(1), HUGES(1)) },
};

FIXTURE_VARIANT_ADD(race, shared_punch) {
	.loss = { .kind = SHARED, .size = PAGES(64),
		  LOSE(punching, PAGES(20), PAGES(4)) },
};

FIXTURE_VARIANT_ADD(race, copied_dontneed) {
	.loss = { .kind = COPIED, .size = PAGES(64),
		  LOSE(dontneed, PAGES(20), PAGES(4)) },
};

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, memory_pool());
	ASSERT_EQ(0, device_prepare(NVME, &self->stage.dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, nvme_stage_start(&self->stage));
	self->before = account_of(self->stage.domain);
}

FIXTURE_TEARDOWN(race)
{
	nvme_stage_end(&self->stage);
	EXPECT_EQ(0, vm_pin());
}

struct loser {
	pthread_t thread;
	pthread_barrier_t *start;
	struct memory *memory;
	const struct loss *loss;
	unsigned int us;
	int ret;
	bool stop;		/* for lose_over_and_over() */
	unsigned int rounds;
};

static void *lose_once(void *data)
{
	struct loser *loser = data;

	pthread_barrier_wait(loser->start);
	spin_us(loser->us);
	loser->ret = loser->loss->lose(loser->memory, loser->loss->start,
					  loser->loss->length);
	return NULL;
}

/*
 * How many pages of a range the device has as the process has them; -1: others. Of
 * huge pages, which are whole, some parts stand for all.
 */
static long pages_seen(struct nvme *nvme, struct memory *memory, size_t start,
		       size_t length)
{
	const size_t step = memory->kind == HUGETLB ? PAGES(128) : PAGES(1);
	long same = 0;
	size_t at;
	int reach;

	for (at = start; at < start + length; at += step) {
		reach = disk_reach(nvme, NVME_IOVA + at, memory->base + at);
		if (reach && reach != RW)
			return -1;
		if (reach)
			same += step / PAGE_SIZE;
	}
	return same;
}

/*
 * After a race: what the device has must be what the process has, or nothing, and
 * what is pinned must be what the device has. A worker may still be about to take
 * away what is pinned, but is the process's no more.
 */
static long race_outcome(struct nvme_stage *stage, struct memory *memory,
			 const struct loss *loss,
			 const struct account *before)
{
	const size_t rest = loss->size - loss->length;
	uint64_t end = now_ms() + 5000;
	long long pinned;
	long same;

	do {
		same = pages_seen(&stage->nvme, memory, loss->start,
				  loss->length);
		pinned = fdinfo_number(stage->domain, "pinned") -
			 before->pinned;
		if (same >= 0 && pinned == (long long)(rest + PAGES(same)))
			return same;
	} while (now_ms() < end);
	printf("# %ld pages are seen, %lld bytes pinned\n", same, pinned);
	return -1;
}

/* When who begins, in a race: at random, and now and then surely one of them. */
struct times {
	unsigned int map_us;
	unsigned int lose_us;
};

static struct times race_times(int round, unsigned int takes)
{
	switch (round % 4) {
	case 0:
		return (struct times) { .lose_us = 4 * takes };
	case 1:
		return (struct times) { .map_us = 4 * takes };
	default:
		return (struct times) {
			.map_us = rand() % (takes + 1),
			.lose_us = rand() % (2 * takes + 1),
		};
	}
}

/* One round; how many of the pages are left, -EFAULT: no mapping, else -1. */
static long race_round(struct nvme_stage *stage, const struct loss *loss,
		       const struct account *before, struct times times)
{
	pthread_barrier_t start;
	struct memory memory;
	struct loser loser = {
		.start = &start,
		.memory = &memory,
		.loss = loss,
		.us = times.lose_us,
	};
	long same;
	int ret;

	pthread_barrier_init(&start, NULL, 2);
	if (memory_make(&memory, loss->kind, loss->size, OLD))
		return -1;
	pthread_create(&loser.thread, NULL, lose_once, &loser);
	pthread_barrier_wait(&start);
	spin_us(times.map_us);
	ret = uvfio_dma_map(stage->domain, memory.base, loss->size,
			    NVME_IOVA, RW);
	pthread_join(loser.thread, NULL);
	if (loser.ret || memory_again(&memory, loss->start, loss->length,
				      NEW) ||
	    (ret && ret != -EFAULT))
		return -1;
	same = ret ? ret : race_outcome(stage, &memory, loss, before);
	if (!ret && (uvfio_dma_unmap(stage->domain, NVME_IOVA, loss->size) !=
		     (int64_t)loss->size))
		same = -1;
	memory_free(&memory);
	pthread_barrier_destroy(&start);
	return same;
}

static unsigned int race_map_takes(int domain,
				   const struct loss *loss)
{
	struct memory memory;
	uint64_t start, us;

	if (memory_make(&memory, loss->kind, loss->size, OLD))
		return 0;
	start = now_us();
	if (uvfio_dma_map(domain, memory.base, loss->size, NVME_IOVA, RW))
		return 0;
	us = now_us() - start;
	uvfio_dma_unmap(domain, NVME_IOVA, loss->size);
	memory_free(&memory);
	return us + 1;
}

TEST_F(race, of_map_and_loss)
{
	const struct loss *loss = &variant->loss;
	unsigned int takes = race_map_takes(self->stage.domain, loss);
	uint64_t end = now_ms() + RACE_MS;
	int rounds, lost = 0;
	long left;

	ASSERT_LT(0, takes);
	srand(1);
	for (rounds = 0; rounds < 12 || now_ms() < end; rounds++) {
		left = race_round(&self->stage, loss, &self->before,
				  race_times(rounds, takes));
		if (left == -1) {
			EXPECT_NE(-1, left) {
				TH_LOG("round %d", rounds);
			}
			break;
		}
		lost += !left;
		EXPECT_EQ(self->before.pinned,
			  fdinfo_number(self->stage.domain, "pinned"));
		EXPECT_EQ(self->before.vm_pin, vm_pin());
	}
	TH_LOG("%d rounds, in %d the memory was lost after it was mapped",
	       rounds, lost);
	/* It went both ways. */
	EXPECT_LT(0, lost);
	EXPECT_GT(rounds, lost);
}

static void *lose_over_and_over(void *data)
{
	struct loser *loser = data;
	const size_t start = loser->loss->start;
	const size_t length = loser->loss->length;

	while (!loser->ret && !__atomic_load_n(&loser->stop, __ATOMIC_RELAXED)) {
		loser->ret = loser->loss->lose(loser->memory, start, length);
		if (!loser->ret)
			loser->ret = memory_again(loser->memory, start, length,
						  NEW);
		loser->rounds++;
	}
	return NULL;
}

/* Long enough, and until a loss has met what is mapped, which may take longer. */
static bool is_over(int domain, uint64_t end)
{
	return now_ms() > end && (fdinfo_number(domain, "revoked") ||
				  now_ms() > end + WAIT_MS);
}

/* Over and over; then, when it is quiet, all is as with the first map. */
TEST_F(race, of_maps_and_losses)
{
	const struct loss *loss = &variant->loss;
	uint64_t end = now_ms() + RACE_MS;
	int domain = self->stage.domain, mapped = 0;
	long long revoked;
	struct memory memory;
	struct loser loser = {
		.memory = &memory,
		.loss = loss,
	};
	int64_t ret;

	ASSERT_EQ(0, memory_make(&memory, loss->kind, loss->size, OLD));
	ASSERT_EQ(0, pthread_create(&loser.thread, NULL, lose_over_and_over,
				    &loser));
	while (!is_over(domain, end)) {
		ret = uvfio_dma_map(domain, memory.base, loss->size,
				    NVME_IOVA, RW);
		if (ret == -EFAULT)
			continue;
		ASSERT_EQ(0, ret);
		mapped++;
		spin_us(rand() % 100);
		ASSERT_EQ((int64_t)loss->size,
			  uvfio_dma_unmap(domain, NVME_IOVA, loss->size));
	}
	__atomic_store_n(&loser.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(loser.thread, NULL));
	EXPECT_EQ(0, loser.ret);
	revoked = fdinfo_number(domain, "revoked");
	TH_LOG("mapped %d times, lost %u times, %lld bytes revoked", mapped,
	       loser.rounds, revoked);
	EXPECT_LT(0, mapped);
	EXPECT_LT(0, revoked);
	EXPECT_EQ(self->before.pinned, fdinfo_number(domain, "pinned"));
	EXPECT_EQ(self->before.mappings, fdinfo_number(domain, "mappings"));
	EXPECT_EQ(self->before.vm_pin, vm_pin());

	ASSERT_EQ(0, uvfio_dma_map(domain, memory.base, loss->size,
				   NVME_IOVA, RW));
	EXPECT_EQ((long)(loss->size / PAGE_SIZE),
		  pages_seen(&self->stage.nvme, &memory, 0, loss->size));
	EXPECT_EQ((int64_t)loss->size,
		  uvfio_dma_unmap(domain, NVME_IOVA, loss->size));
	memory_free(&memory);
}

TEST_HARNESS_MAIN
