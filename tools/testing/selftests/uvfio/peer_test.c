// SPDX-License-Identifier: GPL-2.0
/*
 * Peer to peer: what a process has mapped of one device, another may reach, as
 * long as the process itself could. What takes a BAR from the process takes it
 * from the device; the IOVA stays taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "dma.h"
#include "monitor.h"
#include "root.h"
#include "test.h"

#define PROBE_IOVA	0x100000ULL
#define IOVA		0x4000000ULL
#define HIGH_IOVA	0x140000000ULL
#define FOUR_GIB	0x100000000ULL

#define BAR		VFIO_PCI_BAR2_REGION_INDEX
#define BAR_SIZE	(64 * MIB)
#define LAST		(BAR_SIZE - PAGE_SIZE)

#define RACE_MS		30000
#define HIT_MS		120000	/* to hit a revocation at all */

FIXTURE(peer)
{
	struct probe probe;
	struct device peer;
	struct device disk2;
	int root;		/* of root_start() */
	int fd;			/* the probe's domain, which is not the peer's */
	uint8_t *bar;		/* the peer's */
	long pinned;
	long long charged;	/* in bytes, to the domain */
};

static uint8_t *memory_of(struct device *peer)
{
	if (uvfio_command(peer->fd, PCI_COMMAND_MEMORY, 0))
		return MAP_FAILED;
	return bar_map(peer->fd, BAR, 0, BAR_SIZE);
}

FIXTURE_SETUP(peer)
{
	ASSERT_EQ(0, probe_prepare(&self->probe));
	ASSERT_EQ(0, device_prepare(IVSHMEM, &self->peer));
	ASSERT_EQ(0, device_prepare(NVME2, &self->disk2));
	ASSERT_EQ(0, monitor_open());
	self->root = root_start();
	ASSERT_LE(0, self->root);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, probe_start(&self->probe, PROBE_IOVA));
	self->fd = self->probe.domain;
	ASSERT_EQ(0, device_open_attached(&self->peer, -1));
	self->bar = memory_of(&self->peer);
	ASSERT_NE(MAP_FAILED, (void *)self->bar);
	self->pinned = vm_pin();
	self->charged = fdinfo_number(self->fd, "pinned");
	ASSERT_LE(0, self->charged);
}

FIXTURE_TEARDOWN(peer)
{
	EXPECT_EQ(self->pinned, vm_pin());
	close(self->root);
	device_close(&self->peer);
	device_close(&self->disk2);
	probe_stop(&self->probe);
}

static bool nothing_is_pinned(struct _test_data_peer *self)
{
	return vm_pin() == self->pinned &&
	       fdinfo_number(self->fd, "pinned") == self->charged;
}

TEST_F(peer, memory_is_reached)
{
	/* It is more than the process may pin. */
	ASSERT_LT(MEMLOCK_BYTES, BAR_SIZE);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->bar, BAR_SIZE, IOVA, RW));
	EXPECT_TRUE(nothing_is_pinned(self));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, self->bar));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + 33 * MIB,
				  self->bar + 33 * MIB));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + LAST, self->bar + LAST));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 2 * MIB));

	/* By the other device, a piece that is no large page. */
	ASSERT_EQ(0, uvfio_dma_map(self->probe.edu_dev.fd,
				   self->bar + 3 * PAGE_SIZE, 5 * PAGE_SIZE,
				   HIGH_IOVA, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA + 4 * PAGE_SIZE,
				  self->bar + 7 * PAGE_SIZE));
	EXPECT_EQ(0, probe_reach(&self->probe, HIGH_IOVA + 5 * PAGE_SIZE,
				 self->bar + 8 * PAGE_SIZE));

	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, self->bar, PAGE_SIZE,
					 IOVA + LAST, RW));
	EXPECT_EQ((int64_t)BAR_SIZE, uvfio_dma_unmap(self->fd, IOVA, BAR_SIZE));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA, self->bar));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + LAST, self->bar + LAST));
	EXPECT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA,
				  self->bar + 3 * PAGE_SIZE));
}

/* It does not matter which domain the peer is in, nor how it is mapped. */
TEST_F(peer, memory_is_reached_in_one_domain)
{
	struct vfio_region_info info;
	volatile void *wc;

	munmap(self->bar, BAR_SIZE);
	ASSERT_EQ(0, uvfio_detach(self->peer.fd));
	ASSERT_EQ(0, uvfio_attach(self->peer.fd, self->fd));
	self->bar = memory_of(&self->peer);
	ASSERT_NE(MAP_FAILED, (void *)self->bar);
	ASSERT_EQ(0, uvfio_bar_map_wc(self->peer.fd, BAR, 0, BAR_SIZE, &wc));
	ASSERT_EQ(0, uvfio_region(self->peer.fd, BAR, &info));
	ASSERT_EQ(BAR_SIZE, info.size);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, (void *)wc, BAR_SIZE, IOVA, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, self->bar));
	EXPECT_TRUE(nothing_is_pinned(self));
	munmap((void *)wc, BAR_SIZE);
	EXPECT_TRUE(fdinfo_becomes(self->fd, "revoked", BAR_SIZE));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA, self->bar));
}

TEST_F(peer, registers_are_reached)
{
	struct probe *probe = &self->probe;
	uint64_t cap, seen;

	cap = uvfio_read64(probe->disk.bar, NVME_CAP);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, (void *)probe->disk.bar, PAGE_SIZE,
				   IOVA, READ));
	EXPECT_TRUE(nothing_is_pinned(self));
	EXPECT_TRUE(probe_maps(probe, IOVA, PAGE_SIZE));
	memset(probe->page, 0x5a, PAGE_SIZE);
	ASSERT_EQ(0, edu_load(&probe->edu, IOVA + NVME_CAP, 0, sizeof(cap)));
	ASSERT_EQ(0, edu_store(&probe->edu, PROBE_IOVA, 0, sizeof(cap)));
	memcpy(&seen, probe->page, sizeof(seen));
	EXPECT_EQ(cap, seen);
}

TEST_F(peer, anywhere_suits_large_pages)
{
	uint64_t iova;

	ASSERT_EQ(0, uvfio_dma_map_anywhere(self->fd, self->bar, BAR_SIZE, RW,
					    &iova));
	EXPECT_LE(FOUR_GIB, iova);
	EXPECT_EQ((uintptr_t)self->bar % (2 * MIB), iova % (2 * MIB));
	EXPECT_TRUE(probe_maps(&self->probe, iova, 2 * MIB));
	EXPECT_EQ(RW, probe_reach(&self->probe, iova + LAST, self->bar + LAST));
}

/* The device may do what the process may, and what it asked for. */
TEST_F(peer, protection_is_respected)
{
	struct vfio_region_info info;
	uint8_t *ro;

	ASSERT_EQ(0, uvfio_region(self->peer.fd, BAR, &info));
	ro = mmap(NULL, BAR_SIZE, PROT_READ, MAP_SHARED, self->peer.fd,
		  info.offset);
	ASSERT_NE(MAP_FAILED, (void *)ro);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, ro, MIB, IOVA, WRITE));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, ro, PAGE_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, ro, BAR_SIZE, IOVA, READ));
	EXPECT_EQ(READ, probe_reach(&self->probe, IOVA, self->bar));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->bar, PAGE_SIZE, HIGH_IOVA,
				   READ));
	EXPECT_EQ(READ, probe_reach(&self->probe, HIGH_IOVA, self->bar));

	ASSERT_EQ(0, mprotect(ro + MIB, MIB, PROT_NONE));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, ro + MIB, PAGE_SIZE,
					 HIGH_IOVA + MIB, READ));
	EXPECT_TRUE(probe_maps(&self->probe, HIGH_IOVA + MIB, 0));
}

/* A range is inside one area of the process, all of it. */
TEST_F(peer, range_is_in_one_area)
{
	uint8_t *bar = self->bar;
	void *anonymous;

	ASSERT_EQ(0, munmap(bar + LAST, PAGE_SIZE));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, bar + BAR_SIZE - MIB, MIB,
					 IOVA, RW));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, bar + LAST, PAGE_SIZE, IOVA,
					 RW));
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, bar + LAST - PAGE_SIZE,
					 2 * PAGE_SIZE, IOVA, RW));
	anonymous = mmap(bar + LAST, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(bar + LAST, anonymous);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, bar + LAST - PAGE_SIZE,
					 2 * PAGE_SIZE, IOVA, RW));
	/* The other way round: memory, then a BAR. */
	anonymous = mmap(bar, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(bar, anonymous);
	EXPECT_EQ(-EFAULT, uvfio_dma_map(self->fd, bar, 2 * PAGE_SIZE, IOVA,
					 RW));
	EXPECT_TRUE(nothing_is_pinned(self));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));

	EXPECT_EQ(0, uvfio_dma_map(self->fd, bar + PAGE_SIZE,
				   BAR_SIZE - 2 * PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, bar + PAGE_SIZE));
	EXPECT_EQ((int64_t)(BAR_SIZE - 2 * PAGE_SIZE),
		  uvfio_dma_unmap(self->fd, IOVA, BAR_SIZE));
}

TEST_F(peer, unmap_cuts)
{
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->bar, BAR_SIZE, IOVA, RW));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA + MIB, PAGE_SIZE));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + MIB, self->bar + MIB));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, self->bar));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + MIB + PAGE_SIZE,
				  self->bar + MIB + PAGE_SIZE));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + LAST, self->bar + LAST));
	EXPECT_EQ((int64_t)(BAR_SIZE - PAGE_SIZE),
		  uvfio_dma_unmap(self->fd, IOVA, BAR_SIZE));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + LAST, self->bar + LAST));
}

/* How the process loses the BAR */

/* Before: the whole BAR is at IOVA, a page of it at HIGH_IOVA. */
static void map_whole(struct __test_metadata *_metadata,
		      struct _test_data_peer *self)
{
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->bar, BAR_SIZE, IOVA, RW));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->bar + 5 * PAGE_SIZE,
				   PAGE_SIZE, HIGH_IOVA, RW));
	ASSERT_EQ(RW, probe_reach(&self->probe, IOVA, self->bar));
	ASSERT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA,
				  self->bar + 5 * PAGE_SIZE));
}

/*
 * After: nothing of it is reached, by the looks of @view, which is the BAR; the
 * IOVA is taken until it is unmapped, and then it works again.
 */
static void expect_revoked(struct __test_metadata *_metadata,
			   struct _test_data_peer *self, uint8_t *view)
{
	ASSERT_NE(MAP_FAILED, (void *)view);
	EXPECT_TRUE(fdinfo_becomes(self->fd, "revoked", BAR_SIZE + PAGE_SIZE));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA + LAST, 0));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA, view));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + 7 * MIB, view + 7 * MIB));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + LAST, view + LAST));
	EXPECT_EQ(0, probe_reach(&self->probe, HIGH_IOVA,
				 view + 5 * PAGE_SIZE));
	EXPECT_TRUE(nothing_is_pinned(self));

	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, view, PAGE_SIZE, IOVA, RW));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, view, PAGE_SIZE, IOVA + LAST,
					 RW));
	EXPECT_EQ((int64_t)BAR_SIZE, uvfio_dma_unmap(self->fd, IOVA, BAR_SIZE));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, HIGH_IOVA, PAGE_SIZE));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, view, BAR_SIZE, IOVA, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, view));
}

/* The view is made before: at the same address it would be the same again. */
TEST_F(peer, munmap_revokes)
{
	uint8_t *view = memory_of(&self->peer);

	map_whole(_metadata, self);
	ASSERT_EQ(0, munmap(self->bar, BAR_SIZE));
	expect_revoked(_metadata, self, view);
}

/* Only what was unmapped; a look at the BAR needs another area. */
TEST_F(peer, munmap_of_a_part_revokes_that)
{
	uint8_t *view = memory_of(&self->peer);

	ASSERT_NE(MAP_FAILED, (void *)view);
	map_whole(_metadata, self);
	ASSERT_EQ(0, munmap(self->bar + MIB, PAGE_SIZE));
	ASSERT_EQ(0, munmap(self->bar + 4 * MIB, 3 * MIB));
	EXPECT_TRUE(fdinfo_becomes(self->fd, "revoked", PAGE_SIZE + 3 * MIB));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA + MIB, 0));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA + 4 * MIB, 0));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA + MIB + PAGE_SIZE,
			       PAGE_SIZE));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + MIB, view + MIB));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + 4 * MIB, view + 4 * MIB));
	EXPECT_EQ(0, probe_reach(&self->probe, IOVA + 7 * MIB - PAGE_SIZE,
				 view + 7 * MIB - PAGE_SIZE));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + MIB - PAGE_SIZE,
				  view + MIB - PAGE_SIZE));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + MIB + PAGE_SIZE,
				  view + MIB + PAGE_SIZE));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + 7 * MIB,
				  view + 7 * MIB));
	EXPECT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA,
				  view + 5 * PAGE_SIZE));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, view, PAGE_SIZE, IOVA + MIB,
					 RW));
	EXPECT_EQ((int64_t)BAR_SIZE, uvfio_dma_unmap(self->fd, IOVA, BAR_SIZE));
}

TEST_F(peer, mremap_revokes)
{
	uint8_t *moved;

	map_whole(_metadata, self);
	moved = mremap(self->bar, BAR_SIZE, BAR_SIZE,
		       MREMAP_MAYMOVE | MREMAP_FIXED,
		       self->bar + 2 * BAR_SIZE);
	if (moved == MAP_FAILED)
		SKIP(return, "this kernel does not move it");
	expect_revoked(_metadata, self, moved);
}

/* A child's areas are its own, whatever it does to them. */
TEST_F(peer, munmap_by_a_child_does_not_revoke)
{
	int status;
	pid_t pid;

	map_whole(_metadata, self);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(munmap(self->bar, BAR_SIZE / 2) ? 1 : 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, self->bar));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA + LAST, self->bar + LAST));
}

/* Who mapped it has ended; the device is still open. */
TEST_F(peer, exit_revokes)
{
	uint8_t *view = memory_of(&self->peer);
	int ready[2], status;
	char byte;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, (void *)view);
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* The probe is the parent's. */
		if (uvfio_dma_map(self->fd, self->bar, BAR_SIZE, IOVA, RW) ||
		    uvfio_dma_map(self->fd, self->bar + 5 * PAGE_SIZE,
				  PAGE_SIZE, HIGH_IOVA, RW) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(RW, probe_reach(&self->probe, IOVA, view));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	expect_revoked(_metadata, self, view);
}

TEST_F(peer, memory_decoding_off_revokes)
{
	map_whole(_metadata, self);
	ASSERT_EQ(0, uvfio_command(self->peer.fd, 0, PCI_COMMAND_MEMORY));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));
	EXPECT_TRUE(probe_maps(&self->probe, HIGH_IOVA, 0));
	/* What would not answer is not mapped. */
	EXPECT_GT(0, uvfio_dma_map(self->fd, self->bar, PAGE_SIZE,
				   HIGH_IOVA + MIB, RW));
	EXPECT_TRUE(probe_maps(&self->probe, HIGH_IOVA + MIB, 0));
	ASSERT_EQ(0, uvfio_command(self->peer.fd, PCI_COMMAND_MEMORY, 0));
	/* The same area shows the BAR again, to the process. */
	expect_revoked(_metadata, self, self->bar);
}

TEST_F(peer, detaching_the_peer_revokes)
{
	map_whole(_metadata, self);
	ASSERT_EQ(0, uvfio_detach(self->peer.fd));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));
	EXPECT_TRUE(probe_maps(&self->probe, HIGH_IOVA, 0));
	EXPECT_GT(0, uvfio_dma_map(self->fd, self->bar, PAGE_SIZE,
				   HIGH_IOVA + MIB, RW));
	ASSERT_EQ(0, uvfio_attach(self->peer.fd, -1));
	expect_revoked(_metadata, self, memory_of(&self->peer));
}

/* The last that knew the device is gone: who has it next has it alone. */
TEST_F(peer, closing_the_peer_revokes)
{
	map_whole(_metadata, self);
	ASSERT_EQ(0, munmap(self->bar, BAR_SIZE));
	device_close(&self->peer);
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));
	ASSERT_EQ(0, device_open_attached(&self->peer, -1));
	expect_revoked(_metadata, self, memory_of(&self->peer));
}

TEST_F(peer, unbinding_the_peer_revokes)
{
	map_whole(_metadata, self);
	ASSERT_EQ(0, root_unbind(self->root, self->peer.bdf));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA + LAST, 0));
	EXPECT_TRUE(probe_maps(&self->probe, HIGH_IOVA, 0));
	EXPECT_GT(0, uvfio_dma_map(self->fd, self->bar, PAGE_SIZE,
				   HIGH_IOVA + MIB, RW));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, self->probe.page, PAGE_SIZE,
					 IOVA, RW));
	EXPECT_EQ((int64_t)BAR_SIZE, uvfio_dma_unmap(self->fd, IOVA, BAR_SIZE));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, HIGH_IOVA, PAGE_SIZE));
	/* The domain, and those who are in it, are as before. */
	ASSERT_EQ(0, uvfio_dma_map(self->fd, self->probe.page, PAGE_SIZE,
				   HIGH_IOVA, RW));
	EXPECT_EQ(RW, probe_reach(&self->probe, HIGH_IOVA, self->probe.page));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, HIGH_IOVA, PAGE_SIZE));
}

/* Whether the edu device reads NVMe's capabilities at @iova. */
static bool reads_cap(struct probe *probe, uint64_t iova, uint64_t cap)
{
	uint64_t seen;

	memset(probe->page, 0x5a, PAGE_SIZE);
	if (edu_load(&probe->edu, probe->iova, 0, sizeof(seen)) ||
	    edu_load(&probe->edu, iova + NVME_CAP, 0, sizeof(seen)) ||
	    edu_store(&probe->edu, probe->iova, 0, sizeof(seen)))
		return false;
	memcpy(&seen, probe->page, sizeof(seen));
	return seen == cap;
}

TEST_F(peer, reset_revokes)
{
	volatile void *bar;
	uint64_t cap;

	ASSERT_EQ(0, device_open_attached(&self->disk2, -1));
	ASSERT_EQ(0, uvfio_command(self->disk2.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_EQ(0, uvfio_bar_map(self->disk2.fd, VFIO_PCI_BAR0_REGION_INDEX,
				   0, PAGE_SIZE, &bar));
	cap = uvfio_read64(bar, NVME_CAP);
	ASSERT_EQ(0, uvfio_dma_map(self->fd, (void *)bar, PAGE_SIZE, IOVA,
				   READ));
	ASSERT_TRUE(reads_cap(&self->probe, IOVA, cap));

	ASSERT_EQ(0, uvfio_reset(self->disk2.fd));
	EXPECT_TRUE(probe_maps(&self->probe, IOVA, 0));
	ASSERT_EQ(0, uvfio_command(self->disk2.fd, PCI_COMMAND_MEMORY, 0));
	EXPECT_EQ(cap, uvfio_read64(bar, NVME_CAP));
	EXPECT_FALSE(reads_cap(&self->probe, IOVA, cap));
	EXPECT_EQ(-EEXIST, uvfio_dma_map(self->fd, (void *)bar, PAGE_SIZE, IOVA,
					 READ));
	EXPECT_EQ(PAGE_SIZE, uvfio_dma_unmap(self->fd, IOVA, PAGE_SIZE));
	ASSERT_EQ(0, uvfio_dma_map(self->fd, (void *)bar, PAGE_SIZE, IOVA,
				   READ));
	EXPECT_TRUE(reads_cap(&self->probe, IOVA, cap));
	munmap((void *)bar, PAGE_SIZE);
}

/* Races */

struct switcher {
	pthread_t thread;
	int fd;
	bool stop;
	unsigned int turns;
	unsigned int wrong;
};

/* Memory decoding on and off; in the end it is off. */
static void *switch_decoding(void *data)
{
	struct switcher *switcher = data;

	do {
		if (uvfio_command(switcher->fd, PCI_COMMAND_MEMORY, 0))
			switcher->wrong++;
		usleep(rand() % 2000);
		if (uvfio_command(switcher->fd, 0, PCI_COMMAND_MEMORY))
			switcher->wrong++;
		__atomic_add_fetch(&switcher->turns, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&switcher->stop, __ATOMIC_RELAXED));
	return NULL;
}

/* What came of the maps that raced with revocations. */
struct outcome {
	unsigned int mapped, refused;
	unsigned int hit;	/* a revocation came to its end meanwhile */
	long long revoked;	/* in bytes */
};

#define RACERS		24
#define RACER_SIZE(i)	((i) % 2 ? PAGE_SIZE : MIB)

/* All that was mapped is revoked in the end, which is when decoding is off. */
static void race_round(struct __test_metadata *_metadata,
		       struct _test_data_peer *self, struct outcome *outcome)
{
	struct switcher switcher = { .fd = self->peer.fd };
	unsigned int i, turns;
	bool there[RACERS];
	int ret;

	ASSERT_EQ(0, pthread_create(&switcher.thread, NULL, switch_decoding,
				    &switcher));
	for (i = 0; i < RACERS; i++) {
		turns = __atomic_load_n(&switcher.turns, __ATOMIC_RELAXED);
		ret = uvfio_dma_map(self->fd, self->bar + i * MIB,
				    RACER_SIZE(i), HIGH_IOVA + i * MIB, RW);
		outcome->hit += turns != __atomic_load_n(&switcher.turns,
							 __ATOMIC_RELAXED);
		there[i] = !ret;
		outcome->mapped += !ret;
		outcome->refused += ret == -EIO;
		EXPECT_TRUE(!ret || ret == -EIO) {
			TH_LOG("%d", ret);
		}
		usleep(rand() % 500);
	}
	__atomic_store_n(&switcher.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(switcher.thread, NULL));
	EXPECT_EQ(0, switcher.wrong);
	for (i = 0; i < RACERS; i++) {
		uint64_t size = there[i] ? RACER_SIZE(i) : 0;

		outcome->revoked += size;
		EXPECT_EQ((int64_t)size,
			  uvfio_dma_unmap(self->fd, HIGH_IOVA + i * MIB, MIB));
	}
	EXPECT_EQ(outcome->revoked, fdinfo_number(self->fd, "revoked"));
}

/* Ten times, or as often as a slow machine can in half a minute. */
TEST_F(peer, nothing_is_mapped_behind_a_revocation)
{
	struct outcome outcome = { 0 };
	uint64_t start = now_ms(), ms;
	unsigned int rounds = 0;

	do {
		race_round(_metadata, self, &outcome);
		rounds++;
		ms = now_ms() - start;
	} while (_metadata->passed &&
		 (outcome.hit ? rounds < 10 && ms < RACE_MS : ms < HIT_MS));
	TH_LOG("%u rounds in %llu ms: mapped %u, refused %u, hit %u", rounds,
	       (unsigned long long)ms, outcome.mapped, outcome.refused,
	       outcome.hit);
	EXPECT_LT(0, outcome.mapped);
	EXPECT_LT(0, outcome.refused);
	EXPECT_LT(0, outcome.hit);
}

/* No room left: only a BAR is large enough to fill what is below 4 GiB. */

FIXTURE(full)
{
	struct probe probe;
	struct device peer;
	uint8_t *bar, *memory;
	int fd;
};

/* IOVAs start .. end, end exclusive, of which no mapping has any. */
static int fill(int fd, uint8_t *bar, uint64_t start, uint64_t end)
{
	uint64_t size;
	int ret = 0;

	for (; !ret && start < end; start += size) {
		size = GIB - start % GIB;
		if (size > end - start)
			size = end - start;
		ret = uvfio_dma_map(fd, bar + start % GIB, size, start, READ);
	}
	return ret;
}

/* All below 4 GiB but the page at 0, which is never picked, and what is taken. */
static int fill_all(struct probe *probe, uint8_t *bar)
{
	const struct {
		uint64_t start, end;
	} taken[] = {
		{ PROBE_IOVA, PROBE_IOVA + PAGE_SIZE },
		{ DISK_IOVA_START - probe->disk.memory_length,
		  DISK_IOVA_START },
		{ MSI_START, MSI_END },
		{ FOUR_GIB, FOUR_GIB },
	};
	uint64_t pos = PAGE_SIZE;
	unsigned int i, next;
	int ret = 0;

	while (!ret && pos < FOUR_GIB) {
		next = ARRAY_SIZE(taken) - 1;
		for (i = 0; i < ARRAY_SIZE(taken); i++)
			if (taken[i].start >= pos &&
			    taken[i].start < taken[next].start)
				next = i;
		ret = fill(probe->domain, bar, pos, taken[next].start);
		pos = taken[next].end;
	}
	return ret;
}

FIXTURE_SETUP(full)
{
	ASSERT_EQ(0, probe_prepare(&self->probe));
	ASSERT_EQ(0, device_prepare(HUGE_IVSHMEM, &self->peer));
	ASSERT_EQ(0, drop_privileges_limited(TEST_UID, 64 * MIB));
	ASSERT_EQ(0, probe_start(&self->probe, PROBE_IOVA));
	self->fd = self->probe.domain;
	ASSERT_EQ(0, device_open_attached(&self->peer, -1));
	ASSERT_EQ(0, uvfio_command(self->peer.fd, PCI_COMMAND_MEMORY, 0));
	self->bar = bar_map(self->peer.fd, BAR, 0, GIB);
	ASSERT_NE(MAP_FAILED, (void *)self->bar);
	self->memory = dma_alloc(4 * MIB);
	ASSERT_NE(NULL, self->memory);
	ASSERT_EQ(0, fill_all(&self->probe, self->bar));
}

FIXTURE_TEARDOWN(full)
{
	device_close(&self->peer);
	probe_stop(&self->probe);
}

static int map_below(int fd, void *memory, size_t size, uint64_t *iova)
{
	return uvfio_dma_map_anywhere(fd, memory, size,
				      RW | UVFIO_DMA_MAP_BELOW_4G, iova);
}

TEST_F(full, has_no_room)
{
	uint8_t *memory = self->memory;
	const uint64_t hole = 0x20123000, holes = 0x30000000;
	uint64_t iova;
	int fd = self->fd;
	long pinned = vm_pin();

	EXPECT_EQ(-ENOSPC, map_below(fd, memory, PAGE_SIZE, &iova));
	EXPECT_EQ(0, iova);
	EXPECT_EQ(pinned, vm_pin());
	/* Above there is, and 0 is only for who asks for it. */
	EXPECT_EQ(0, uvfio_dma_map_anywhere(fd, memory, PAGE_SIZE, RW, &iova));
	EXPECT_LE(FOUR_GIB, iova);
	EXPECT_EQ(0, uvfio_dma_map(fd, memory, PAGE_SIZE, 0, RW));

	/* Each hole is found, and only once. */
	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, hole, PAGE_SIZE));
	EXPECT_EQ(-ENOSPC, map_below(fd, memory, 2 * PAGE_SIZE, &iova));
	EXPECT_EQ(0, map_below(fd, memory, PAGE_SIZE, &iova));
	EXPECT_EQ(hole, iova);
	EXPECT_EQ(RW, probe_reach(&self->probe, iova, memory));
	EXPECT_EQ(-ENOSPC, map_below(fd, memory, PAGE_SIZE, &iova));

	/* Of two holes, the one that is large enough. */
	ASSERT_EQ(PAGE_SIZE, uvfio_dma_unmap(fd, hole, PAGE_SIZE));
	ASSERT_EQ(3 * PAGE_SIZE, uvfio_dma_unmap(fd, holes, 3 * PAGE_SIZE));
	EXPECT_EQ(0, map_below(fd, memory, 3 * PAGE_SIZE, &iova));
	EXPECT_EQ(holes, iova);
	EXPECT_EQ(0, map_below(fd, memory, PAGE_SIZE, &iova));
	EXPECT_EQ(hole, iova);
	EXPECT_EQ(-ENOSPC, map_below(fd, memory, PAGE_SIZE, &iova));
}

/* 2 MiB are where their large pages can be, as long as there is such a place. */
TEST_F(full, is_aligned_if_it_can_be)
{
	const uint64_t hole = 0x20100000;	/* 1 MiB behind one of 2 MiB */
	const int64_t size = 2 * MIB;
	uint8_t *memory;
	uint64_t iova;
	int fd = self->fd;

	memory = (void *)(((uintptr_t)self->memory + size - 1) & -size);
	ASSERT_EQ(size, uvfio_dma_unmap(fd, hole, size));
	ASSERT_EQ(0, map_below(fd, memory, size, &iova));
	EXPECT_EQ(hole, iova);
	EXPECT_EQ(RW, probe_reach(&self->probe, hole + size - PAGE_SIZE,
				  memory + size - PAGE_SIZE));
	ASSERT_EQ(size, uvfio_dma_unmap(fd, hole, size));

	/* With room up to the next boundary. */
	ASSERT_EQ((int64_t)MIB, uvfio_dma_unmap(fd, hole + size, MIB));
	ASSERT_EQ(0, map_below(fd, memory, size, &iova));
	EXPECT_EQ(hole + MIB, iova);
	EXPECT_EQ(RW, probe_reach(&self->probe, hole + MIB, memory));
}

TEST_HARNESS_MAIN
