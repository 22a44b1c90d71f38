// SPDX-License-Identifier: GPL-2.0
/*
 * Registers against everything that takes them away: memory decoding, resets,
 * large pages that come and go. A touch of a mapping works or is SIGBUS, a system
 * call works or is EIO, the kernel has nothing to say (CVE-2020-12888), and after
 * it the device is as good as before.
 *
 * A few seconds each, with a kernel that checks its locks 30. STRESS_SECONDS in the
 * environment is for other times.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "e1000e.h"
#include "test.h"

#define KIB		1024UL
#define MIB		(1024 * KIB)

/* What a thread has seen; both of the first two is what is asked for. */
struct outcome {
	unsigned long worked;
	unsigned long refused;
	unsigned long wrong;
};

FIXTURE(stress)
{
	struct device dev;
	uint8_t *map;
	bool stop;
	struct outcome transfers, rom, decoding, resets;
};

FIXTURE_VARIANT(stress)
{
	enum which which;
	unsigned int bar;
	size_t size;		/* that is mapped */
	unsigned int keeps;	/* a register that keeps 20 bits */
	size_t step, span;	/* one is in each step up to span; 0: only one */
	bool has_reset;
	bool has_rom;
};

FIXTURE_VARIANT_ADD(stress, registers)
{
	.which = E1000E,
	.bar = VFIO_PCI_BAR0_REGION_INDEX,
	.size = 128 * KIB,
	.keeps = E1000E_RDBAL,
	.has_reset = true,
	.has_rom = true,
};

FIXTURE_VARIANT_ADD(stress, queues)
{
	.which = NVME,
	.bar = VFIO_PCI_BAR0_REGION_INDEX,
	.size = 8 * KIB,
	.keeps = 0x28,		/* ASQ */
	.has_reset = true,
};

FIXTURE_VARIANT_ADD(stress, memory)
{
	.which = IVSHMEM,
	.bar = VFIO_PCI_BAR2_REGION_INDEX,
	.size = 64 * MIB,
	.step = 65 * 4 * KIB,
	.span = 64 * MIB,
};

#ifdef __LP64__
FIXTURE_VARIANT_ADD(stress, huge)
{
	.which = HUGE_IVSHMEM,
	.bar = VFIO_PCI_BAR2_REGION_INDEX,
	.size = 1024 * MIB,
	.step = 65 * 4 * KIB,
	.span = 64 * MIB,	/* to have the host find memory is slow */
};
#endif

struct load {
	int fd;
	bool *stop;
	const struct _fixture_variant_stress *variant;
	struct outcome *outcome;
};

static bool goes_on(struct load *load, int ret, int refusal)
{
	if (!ret)
		load->outcome->worked++;
	else if (ret == refusal)
		load->outcome->refused++;
	else
		load->outcome->wrong++;
	return !__atomic_load_n(load->stop, __ATOMIC_RELAXED);
}

static void *load_transfers(void *data)
{
	struct load *load = data;
	uint32_t values[32] = { 0 };
	size_t at = 0;

	while (goes_on(load, uvfio_region_read(load->fd, load->variant->bar,
					       load->variant->keeps + at,
					       values, sizeof(values)), -EIO) &&
	       goes_on(load, uvfio_region_write(load->fd, load->variant->bar,
						load->variant->keeps + at,
						values, 4), -EIO))
		at = load->variant->step ?
			(at + load->variant->step) % load->variant->span : 0;
	return NULL;
}

/* What was read is the ROM: it has a signature. */
static int read_rom(int fd)
{
	uint8_t bytes[512];
	int ret = uvfio_region_read(fd, VFIO_PCI_ROM_REGION_INDEX, 0, bytes,
				    sizeof(bytes));

	if (ret)
		return ret;
	return bytes[0] == 0x55 && bytes[1] == 0xaa ? 0 : -EILSEQ;
}

static void *load_rom(void *data)
{
	struct load *load = data;

	while (goes_on(load, read_rom(load->fd), -EIO))
		usleep(1000);
	return NULL;
}

static void *load_decoding(void *data)
{
	struct load *load = data;
	uint16_t set = 0;

	do {
		set ^= PCI_COMMAND_MEMORY;
		usleep(rand() % 20000);
	} while (goes_on(load, uvfio_command(load->fd, set,
					     PCI_COMMAND_MEMORY ^ set), -EIO));
	return NULL;
}

static void *load_resets(void *data)
{
	struct load *load = data;

	do {
		usleep(rand() % 10000);
	} while (goes_on(load, uvfio_reset(load->fd), -EIO));
	return NULL;
}

/* In a process of its own, with what it has inherited and with new mappings. */
static int load_mappings(int fd, const struct _fixture_variant_stress *variant,
			 uint8_t *inherited)
{
	uint64_t end = now_ms() + stress_ms(3, 30);
	uint32_t value, missing = 0;
	uint8_t *map;

	while (now_ms() < end) {
		map = bar_map(fd, variant->bar, 0, variant->size);
		if (map == MAP_FAILED)
			return 1;
		if (!read_faults(map + variant->keeps, &value) && value == ~0u)
			missing++;
		if (!read_faults(inherited + variant->keeps, &value) &&
		    value == ~0u)
			missing++;
		/* A piece is left, which goes with the process. */
		munmap(map + 4 * KIB, variant->size - 4 * KIB);
		munmap(map, 4 * KIB);
	}
	return missing ? 2 : 0;
}

FIXTURE_SETUP(stress)
{
	ASSERT_EQ(0, device_prepare(variant->which, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	self->map = bar_map(self->dev.fd, variant->bar, 0, variant->size);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(stress)
{
	munmap(self->map, variant->size);
	device_close(&self->dev);
}

/* The main thread's part, since only one can wait for SIGBUS. */
static struct outcome touch(uint8_t *map,
			    const struct _fixture_variant_stress *variant)
{
	uint64_t end = now_ms() + stress_ms(3, 30);
	struct outcome outcome = { 0 };
	uint32_t value, i = 0;
	size_t at = 0;

	while (now_ms() < end) {
		/* Whether large pages are wanted changes all the time, too. */
		if (i++ % 64 == 0)
			prctl(PR_SET_THP_DISABLE, i / 64 % 2, 0, 0, 0);
		if (variant->step)
			at = (at + variant->step) % variant->span;
		if (write_faults(map + at + variant->keeps, i << 12) ||
		    read_faults(map + at + variant->keeps, &value))
			outcome.refused++;
		else if (value == ~0u)
			outcome.wrong++;
		else
			outcome.worked++;
	}
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	return outcome;
}

TEST_F_TIMEOUT(stress, registers_come_and_go, 300)
{
	struct load loads[] = {
		{ .outcome = &self->transfers }, { .outcome = &self->decoding },
		{ .outcome = &self->resets }, { .outcome = &self->rom },
	};
	void *(*const run[])(void *data) = {
		load_transfers, load_decoding,
		variant->has_reset ? load_resets : NULL,
		variant->has_rom ? load_rom : NULL,
	};
	pthread_t thread[ARRAY_SIZE(loads)];
	struct outcome outcome;
	uint32_t value;
	unsigned int i;
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(load_mappings(self->dev.fd, variant, self->map));
	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		loads[i].fd = self->dev.fd;
		loads[i].stop = &self->stop;
		loads[i].variant = variant;
		if (run[i])
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, run[i],
						    &loads[i]));
	}
	outcome = touch(self->map, variant);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(loads); i++)
		if (run[i])
			EXPECT_EQ(0, pthread_join(thread[i], NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));

	TH_LOG("touched %lu, SIGBUS %lu; calls %lu, EIO %lu; ROM %lu, EIO %lu",
	       outcome.worked, outcome.refused, self->transfers.worked,
	       self->transfers.refused, self->rom.worked, self->rom.refused);
	TH_LOG("decoding %lu times, reset %lu times", self->decoding.worked,
	       self->resets.worked);
	EXPECT_LT(0, outcome.worked);
	EXPECT_LT(0, outcome.refused);
	EXPECT_LT(0, self->transfers.worked);
	EXPECT_LT(0, self->transfers.refused);
	EXPECT_LT(0, self->decoding.worked);
	EXPECT_EQ(variant->has_reset, self->resets.worked > 0);
	EXPECT_EQ(variant->has_rom, self->rom.worked > 0);
	EXPECT_EQ(0, outcome.wrong + self->transfers.wrong +
		  self->decoding.wrong + self->resets.wrong + self->rom.wrong);

	/* And now in peace. */
	if (variant->has_reset)
		EXPECT_EQ(0, uvfio_reset(self->dev.fd));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
	ASSERT_FALSE(write_faults(self->map + variant->keeps, 0x12345000));
	ASSERT_FALSE(read_faults(self->map + variant->keeps, &value));
	EXPECT_EQ(0x12345000, value);
	ASSERT_EQ(0, uvfio_region_read(self->dev.fd, variant->bar,
				       variant->keeps, &value, 4));
	EXPECT_EQ(0x12345000, value);
}

/* The ROM answers for moments only, and meanwhile nobody is at a BAR. */

FIXTURE(rom)
{
	struct device dev;
};

FIXTURE_SETUP(rom)
{
	ASSERT_EQ(0, device_prepare(E1000E, &self->dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&self->dev, -1));
	ASSERT_EQ(0, uvfio_command(self->dev.fd, PCI_COMMAND_MEMORY, 0));
}

FIXTURE_TEARDOWN(rom)
{
	device_close(&self->dev);
}

static void *load_rom_without_pause(void *data)
{
	struct load *load = data;

	/* Nothing takes the ROM away, so there is no refusal. */
	while (goes_on(load, read_rom(load->fd), 0))
		;
	return NULL;
}

/* Who uses a BAR meanwhile does not notice. */
TEST_F(rom, does_not_disturb_mappings)
{
	struct outcome outcome = { 0 };
	bool stop = false;
	struct load load = {
		.fd = self->dev.fd,
		.stop = &stop,
		.outcome = &outcome,
	};
	uint64_t end = now_ms() + 1000;
	volatile void *bar;
	pthread_t thread;
	uint32_t i = 0;

	ASSERT_EQ(0, uvfio_bar_map(self->dev.fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
				   128 * KIB, &bar));
	ASSERT_EQ(0, pthread_create(&thread, NULL, load_rom_without_pause,
				    &load));
	while (now_ms() < end) {
		i += 0x10;
		uvfio_write32(bar, E1000E_RDBAL, i);
		if (uvfio_read32(bar, E1000E_RDBAL) != i)
			break;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	EXPECT_EQ(0, pthread_join(thread, NULL));
	EXPECT_LE(end, now_ms());
	EXPECT_LT(0, i);
	EXPECT_LT(0, outcome.worked);
	EXPECT_EQ(0, outcome.wrong);
	munmap((void *)bar, 128 * KIB);
}

TEST_HARNESS_MAIN
