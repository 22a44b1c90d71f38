// SPDX-License-Identifier: GPL-2.0
/*
 * Vectors steered to CPUs. That a CPU takes a vector's interrupts is seen in
 * /proc/interrupts: the column of that CPU grows by what the eventfd got, and no
 * other one does.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "irq.h"
#include "nvme.h"
#include "root.h"
#include "test.h"

#define SHOTS		10
#define STEERS		3000
#define SHOTS_LEAST	300	/* while it is steered so often */
#define CPU1_ONLINE	"/sys/devices/system/cpu/cpu1/online"

#define CPU(n)		(1ULL << (n))
#define BOTH		(CPU(0) | CPU(1))

/* A device, whose vectors fire one by one, and what of it is in use. */
struct source {
	enum which which;
	unsigned int index;
	const char *mode;	/* the same in words */
	unsigned int vectors;	/* that are armed */
	unsigned int vector;	/* one that fires */
	struct device dev;
	struct interrupter interrupter;
	struct nvme nvme;
	int event[E1000E_VECTORS];
	uint64_t signals;	/* of that vector so far */
};

FIXTURE(affinity)
{
	struct source source;
	int root;
};

FIXTURE_VARIANT(affinity)
{
	enum which which;
	unsigned int index;
	const char *mode;
	unsigned int vectors;
	unsigned int vector;
};

FIXTURE_VARIANT_ADD(affinity, edu_msi)
{
	.which = EDU,
	.index = VFIO_PCI_MSI_IRQ_INDEX,
	.mode = "msi",
	.vectors = 1,
	.vector = 0,
};

FIXTURE_VARIANT_ADD(affinity, e1000e_msix)
{
	.which = E1000E,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
	.mode = "msix",
	.vectors = E1000E_VECTORS,
	.vector = 2,
};

/* Its first vector is that of its set-up, the second that of data. */
FIXTURE_VARIANT_ADD(affinity, nvme_msix)
{
	.which = NVME,
	.index = VFIO_PCI_MSIX_IRQ_INDEX,
	.mode = "msix",
	.vectors = 2,
	.vector = 1,
};

/* The driver of the samples, which arms the vectors itself, with its own eventfds. */
static int disk_start(struct source *source)
{
	int ret;

	ret = nvme_start(&source->nvme, dup(source->dev.fd));
	source->event[0] = source->nvme.admin.eventfd;
	source->event[1] = source->nvme.io.eventfd;
	source->signals = 0;
	return ret;
}

static void disk_stop(struct source *source)
{
	if (!source->nvme.bar)
		return;
	uvfio_dma_unmap(source->dev.fd, source->nvme.iova,
			source->nvme.memory_length);
	nvme_close(&source->nvme);
	source->nvme.bar = NULL;
}

/* The device is open. What it is at first: attached, with nothing armed. */
static int source_start(struct source *source)
{
	if (source->which == NVME)
		return uvfio_attach(source->dev.fd, -1);
	return interrupter_start(&source->interrupter, source->which,
				 &source->dev, source->index);
}

static void source_stop(struct source *source)
{
	if (source->interrupter.e1000e)
		irq_ack(&source->interrupter);
	interrupter_stop(&source->interrupter);
	disk_stop(source);
}

static int source_arm(struct source *source)
{
	if (source->which == NVME && !source->nvme.bar)
		return disk_start(source);
	return uvfio_irq_eventfds(source->dev.fd, source->index, 0,
				  source->event, source->vectors);
}

static int source_disarm(struct source *source)
{
	if (source->which == E1000E)
		irq_ack(&source->interrupter);
	return uvfio_irq_disable(source->dev.fd, source->index);
}

static uint64_t source_signals(struct source *source)
{
	if (source->which == NVME)
		return nvme_interrupts(&source->nvme);
	source->signals += event_take(source->event[source->vector]);
	return source->signals;
}

/* Once, and it has arrived; false: it has not. */
static bool source_fire(struct source *source)
{
	uint64_t before = source_signals(source), end = now_ms() + WAIT_MS;

	if (source->which != NVME)
		irq_fire(&source->interrupter, source->vector);
	else if (nvme_read(&source->nvme, 0, 0))
		return false;
	while (source_signals(source) == before) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	/* It turns a cause off that it has told; irq_ack() would take long. */
	if (source->which == E1000E)
		e1000e_write(source->interrupter.e1000e, E1000E_IMS,
			     E1000E_CAUSES);
	else if (source->which == EDU)
		irq_ack(&source->interrupter);
	return true;
}

/* Several times, and all of them on @cpu. */
static bool source_fires_on(struct source *source, int cpu)
{
	long before[IRQ_CPUS], after[IRQ_CPUS], signals;
	unsigned int i;
	bool right;

	if (!irq_taken(source->dev.bdf, source->mode, source->vector, before))
		return false;
	signals = source_signals(source);
	for (i = 0; i < SHOTS; i++)
		if (!source_fire(source))
			return false;
	/* For those that e1000e repeats, and until a move is over. */
	usleep(QUIET_MS * 1000);
	signals = source_signals(source) - signals;
	if (!irq_taken(source->dev.bdf, source->mode, source->vector, after))
		return false;
	right = source->which == E1000E ? signals >= SHOTS : signals == SHOTS;
	for (i = 0; i < IRQ_CPUS; i++)
		right = right && after[i] - before[i] ==
				 ((int)i == cpu ? signals : 0);
	if (!right)
		printf("# CPU %d was to take %ld: CPU 0 took %ld, CPU 1 %ld\n",
		       cpu, signals, after[0] - before[0],
		       after[1] - before[1]);
	return right;
}

static int steer(struct source *source, uint64_t cpus)
{
	return uvfio_irq_affinity(source->dev.fd, source->index,
				  source->vector, 1, &cpus, 1);
}

/* By fdinfo, a vector may go to @cpus; where it goes is one of them. */
static bool vector_may(struct source *source, unsigned int vector,
		       const char *cpus)
{
	struct irq_state state;

	return irq_state(source->dev.fd, source->mode, vector, &state) &&
	       !strcmp(state.cpus, cpus) &&
	       (!strcmp(state.effective, cpus) || !strcmp(cpus, "0-1"));
}

/* Where the vector goes to by fdinfo, -1: nowhere. */
static int vector_effective(struct source *source, unsigned int vector)
{
	struct irq_state state;

	return irq_state(source->dev.fd, source->mode, vector, &state) ?
		       atoi(state.effective) : -1;
}

static const char * const only[] = { "0", "1" };

static bool source_is_on(struct source *source, int cpu)
{
	return vector_may(source, source->vector, only[cpu]) &&
	       source_fires_on(source, cpu);
}

#define STEER(cpus)	steer(&self->source, cpus)
#define ARM()		source_arm(&self->source)
#define DISARM()	source_disarm(&self->source)
#define FIRES_ON(cpu)	source_fires_on(&self->source, cpu)
#define MAY(cpus)	vector_may(&self->source, self->source.vector, cpus)
#define IS_ON(cpu)	source_is_on(&self->source, cpu)

FIXTURE_SETUP(affinity)
{
	struct source *source = &self->source;

	source->which = variant->which;
	source->index = variant->index;
	source->mode = variant->mode;
	source->vectors = variant->vectors;
	source->vector = variant->vector;
	ASSERT_EQ(0, device_prepare(source->which, &source->dev));
	self->root = root_start();
	ASSERT_LE(0, self->root);
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, events_new(source->event, E1000E_VECTORS));
	ASSERT_EQ(0, device_open(&source->dev));
	ASSERT_EQ(0, source_start(source));
}

FIXTURE_TEARDOWN(affinity)
{
	root_write(self->root, CPU1_ONLINE, "1");
	source_stop(&self->source);
	device_close(&self->source.dev);
}

TEST_F(affinity, interrupts_come_where_they_are_steered)
{
	int i, cpu;

	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(MAY("0-1"));
	EXPECT_TRUE(FIRES_ON(vector_effective(&self->source,
					      self->source.vector)));
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(0, STEER(CPU(i % 2)));
		EXPECT_TRUE(IS_ON(i % 2));
	}
	/* Where it is already. */
	EXPECT_EQ(0, STEER(CPU(1)));
	EXPECT_TRUE(IS_ON(1));
	/* Any of these: the kernel says which. */
	EXPECT_EQ(0, STEER(BOTH));
	EXPECT_TRUE(MAY("0-1"));
	cpu = vector_effective(&self->source, self->source.vector);
	EXPECT_TRUE(FIRES_ON(cpu));
}

/*
 * The kernel moves a vector again only when an interrupt has come by the new way and
 * the old one is cleared away. Steered before, it follows a few interrupts later.
 */
TEST_F(affinity, the_last_word_counts)
{
	int i, cpu;

	ASSERT_EQ(0, ARM());
	for (cpu = 0; cpu < 2; cpu++) {
		for (i = 0; i < 5; i++) {
			EXPECT_EQ(0, STEER(CPU(!cpu)));
			EXPECT_EQ(0, STEER(CPU(cpu)));
		}
		for (i = 0; i < 3; i++) {
			EXPECT_TRUE(source_fire(&self->source));
			usleep(QUIET_MS * 1000);
		}
		EXPECT_TRUE(IS_ON(cpu));
	}
}

TEST_F(affinity, can_be_set_before_arming)
{
	int cpu;

	for (cpu = 0; cpu < 2; cpu++) {
		EXPECT_EQ(0, STEER(CPU(!cpu)));
		EXPECT_EQ(0, STEER(CPU(cpu)));
		EXPECT_FALSE(MAY(only[cpu]));
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(cpu));
		ASSERT_EQ(0, DISARM());
	}
}

/* On both CPUs in turn: on one of them the vector would be by chance. */
TEST_F(affinity, outlives_arming)
{
	static const int none = -1;
	struct source *source = &self->source;
	int cpu;

	ASSERT_EQ(0, ARM());
	for (cpu = 0; cpu < 2; cpu++) {
		EXPECT_EQ(0, STEER(CPU(cpu)));
		EXPECT_TRUE(IS_ON(cpu));
		ASSERT_EQ(0, uvfio_irq_eventfds(source->dev.fd, source->index,
						source->vector, &none, 1));
		EXPECT_FALSE(MAY(only[cpu]));
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(cpu));
		/* Another eventfd, here the same one. */
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(cpu));
		ASSERT_EQ(0, DISARM());
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(cpu));
		/* Steered while it is not armed. */
		ASSERT_EQ(0, uvfio_irq_eventfds(source->dev.fd, source->index,
						source->vector, &none, 1));
		EXPECT_EQ(0, STEER(CPU(!cpu)));
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(!cpu));
	}
}

/* All is as before but for the device itself, which is set up anew. */
static int reset(struct source *source)
{
	int ret;

	if (source->which == NVME)
		disk_stop(source);
	else
		irq_ack(&source->interrupter);
	ret = uvfio_reset(source->dev.fd);
	if (ret)
		return ret;
	if (source->which == NVME)
		return disk_start(source);
	ret = uvfio_command(source->dev.fd,
			    PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	if (!ret)
		irq_ack(&source->interrupter);
	return ret;
}

TEST_F(affinity, outlives_reset)
{
	int cpu;

	if (variant->which == EDU)
		SKIP(return, "edu has no reset");
	ASSERT_EQ(0, ARM());
	for (cpu = 0; cpu < 2; cpu++) {
		EXPECT_EQ(0, STEER(CPU(cpu)));
		EXPECT_TRUE(IS_ON(cpu));
		ASSERT_EQ(0, reset(&self->source));
		EXPECT_TRUE(IS_ON(cpu));
	}
}

/* Nor is what was said before it is armed there for the next one. */
TEST_F(affinity, ends_with_its_user)
{
	struct source *source = &self->source;
	int cpu, way;

	for (way = 0; way < 4; way++) {
		cpu = way % 2;
		EXPECT_EQ(0, STEER(CPU(cpu)));
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(cpu));
		EXPECT_EQ(0, STEER(CPU(cpu)));
		source_stop(source);
		if (way < 2) {
			ASSERT_EQ(0, uvfio_detach(source->dev.fd));
		} else {
			device_close(&source->dev);
			ASSERT_EQ(0, device_open(&source->dev));
		}
		EXPECT_EQ(-EUNATCH, STEER(CPU(cpu)));
		ASSERT_EQ(0, source_start(source));
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(MAY("0-1"));
		EXPECT_TRUE(FIRES_ON(vector_effective(source, source->vector)));
		source_stop(source);
		ASSERT_EQ(0, uvfio_detach(source->dev.fd));
		ASSERT_EQ(0, source_start(source));
	}
}

TEST_F(affinity, vectors_are_steered_one_by_one)
{
	struct source *source = &self->source;
	uint64_t cpus;
	unsigned int i;
	int cpu;

	if (source->vectors < 4)
		SKIP(return, "the device has too few vectors");
	ASSERT_EQ(0, ARM());
	for (cpu = 0; cpu < 2; cpu++) {
		cpus = CPU(cpu);
		ASSERT_EQ(0, uvfio_irq_affinity(source->dev.fd, source->index,
						0, source->vectors, &cpus, 1));
		for (source->vector = 0; source->vector < source->vectors;
		     source->vector++)
			EXPECT_TRUE(IS_ON(cpu));
		cpus = CPU(!cpu);
		ASSERT_EQ(0, uvfio_irq_affinity(source->dev.fd, source->index,
						1, 2, &cpus, 1));
		for (i = 0; i < source->vectors; i++) {
			source->vector = i;
			EXPECT_TRUE(IS_ON(i == 1 || i == 2 ? !cpu : cpu));
		}
	}
}

static int stay_on(uint64_t cpus)
{
	cpu_set_t set;
	int cpu;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < IRQ_CPUS; cpu++)
		if (cpus & CPU(cpu))
			CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static void *steer_from_cpu1(void *data)
{
	struct source *source = data;

	return (void *)(intptr_t)(stay_on(CPU(1)) == 0 &&
				  steer(source, CPU(0)) == -EPERM &&
				  steer(source, BOTH) == -EPERM &&
				  steer(source, CPU(1)) == 0);
}

TEST_F(affinity, is_among_the_cpus_of_the_thread)
{
	pthread_t thread;
	void *right;
	int cpu;

	ASSERT_EQ(0, ARM());
	EXPECT_EQ(0, STEER(BOTH));
	for (cpu = 0; cpu < 2; cpu++) {
		ASSERT_EQ(0, stay_on(CPU(cpu)));
		EXPECT_EQ(0, STEER(CPU(cpu)));
		EXPECT_EQ(-EPERM, STEER(CPU(!cpu)));
		EXPECT_EQ(-EPERM, STEER(BOTH));
		EXPECT_TRUE(IS_ON(cpu));
		ASSERT_EQ(0, stay_on(BOTH));
		EXPECT_EQ(0, STEER(CPU(!cpu)));
		EXPECT_TRUE(IS_ON(!cpu));
	}
	/* The thread that calls, and not the process. */
	ASSERT_EQ(0, stay_on(CPU(0)));
	EXPECT_EQ(0, STEER(CPU(0)));
	EXPECT_TRUE(IS_ON(0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, steer_from_cpu1,
				    &self->source));
	ASSERT_EQ(0, pthread_join(thread, &right));
	EXPECT_NE(NULL, right);
	EXPECT_TRUE(IS_ON(1));
}

/* All that the argument can say. */
struct request {
	struct uvfio_irq_affinity arg;
	uint64_t cpus[UVFIO_MAX_CPUS / 64 + 1];
};

static int ask(struct source *source, const struct request *request)
{
	return ioctl(source->dev.fd, UVFIO_IRQ_SET_AFFINITY, request) ?
		       -errno : 0;
}

/* One that would move the vector to CPU 1, but for what the caller does to it. */
static struct request *request_new(struct source *source)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->arg.argsz = sizeof(*request);
	request->arg.index = source->index;
	request->arg.start = source->vector;
	request->arg.count = 1;
	request->arg.size = 8;
	request->cpus[0] = CPU(1);
	return request;
}

#define ASK()	ask(&self->source, request)

TEST_F(affinity, malformed_is_refused)
{
	struct source *source = &self->source;
	uint32_t count = uvfio_irq_count(source->dev.fd, source->index);
	struct request *request = request_new(source);
	struct uvfio_irq_affinity *arg = &request->arg;
	const struct {
		uint32_t *member;
		uint32_t value;
	} wrong[] = {
		{ &arg->argsz, 0 },
		{ &arg->argsz, sizeof(*arg) - 1 },
		{ &arg->argsz, sizeof(*arg) },
		{ &arg->argsz, sizeof(*arg) + 7 },
		{ &arg->flags, 1 },
		{ &arg->flags, 1U << 31 },
		{ &arg->index, VFIO_PCI_INTX_IRQ_INDEX },
		{ &arg->index, VFIO_PCI_ERR_IRQ_INDEX },
		{ &arg->index, VFIO_PCI_REQ_IRQ_INDEX },
		{ &arg->index, UVFIO_TIMER_IRQ_INDEX },
		{ &arg->index, UVFIO_TIMER_IRQ_INDEX + 1 },
		{ &arg->index, UINT32_MAX },
		{ &arg->start, count },
		{ &arg->start, UINT32_MAX },
		{ &arg->count, 0 },
		{ &arg->count, count + 1 - source->vector },
		{ &arg->count, UINT32_MAX },
		{ &arg->count, -source->vector },
		{ &arg->size, 0 },
		{ &arg->size, 1 },
		{ &arg->size, 7 },
		{ &arg->size, 12 },
		{ &arg->size, UVFIO_MAX_CPUS / 8 + 8 },
		{ &arg->size, UINT32_MAX - 7 },
	};
	unsigned int i;
	uint32_t right;

	ASSERT_NE(NULL, request);
	ASSERT_EQ(0, ARM());
	ASSERT_EQ(0, STEER(CPU(0)));
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		right = *wrong[i].member;
		*wrong[i].member = wrong[i].value;
		EXPECT_EQ(-EINVAL, ASK()) {
			TH_LOG("number %u", i);
		}
		*wrong[i].member = right;
		EXPECT_TRUE(MAY("0"));
	}
	EXPECT_EQ(-1, ioctl(source->dev.fd, UVFIO_IRQ_SET_AFFINITY, NULL));
	EXPECT_EQ(EFAULT, errno);
	/* So much for what is wrong; the rest was right. */
	EXPECT_TRUE(IS_ON(0));
	EXPECT_EQ(0, ASK());
	EXPECT_TRUE(IS_ON(1));
	free(request);
}

/* None, and some that there are not. */
TEST_F(affinity, cpus_have_to_be_there)
{
	static const struct {
		unsigned int word;
		uint64_t cpus;
		int error;
	} wrong[] = {
		{ 0, 0, EINVAL },
		{ 0, CPU(2), EPERM },
		{ 0, CPU(63), EPERM },
		{ 0, CPU(1) | CPU(2), EPERM },
		{ 1, 1, EPERM },
		{ UVFIO_MAX_CPUS / 64 - 1, CPU(63), EPERM },
	};
	struct request *request = request_new(&self->source);
	unsigned int i;

	ASSERT_NE(NULL, request);
	ASSERT_EQ(0, ARM());
	ASSERT_EQ(0, STEER(CPU(0)));
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		request->arg.size = (wrong[i].word + 1) * 8;
		request->cpus[wrong[i].word] = wrong[i].cpus;
		EXPECT_EQ(-wrong[i].error, ASK()) {
			TH_LOG("number %u", i);
		}
		EXPECT_TRUE(MAY("0"));
		request->cpus[wrong[i].word] = 0;
		request->cpus[0] = CPU(1);
	}
	EXPECT_TRUE(IS_ON(0));
	/* As many words as there can be; and what is behind them is nobody's. */
	request->arg.size = UVFIO_MAX_CPUS / 8;
	request->cpus[UVFIO_MAX_CPUS / 64] = 1;
	EXPECT_EQ(0, ASK());
	EXPECT_TRUE(IS_ON(1));
	free(request);
}

TEST_F(affinity, cpus_can_go_offline)
{
	struct source *source = &self->source;

	ASSERT_EQ(0, ARM());
	EXPECT_EQ(0, STEER(CPU(1)));
	EXPECT_TRUE(IS_ON(1));
	ASSERT_EQ(0, root_write(self->root, CPU1_ONLINE, "0"));
	/* It is the kernel's to find another one. */
	EXPECT_EQ(0, vector_effective(source, source->vector));
	EXPECT_TRUE(FIRES_ON(0));

	EXPECT_EQ(-EINVAL, STEER(CPU(1)));
	EXPECT_EQ(0, STEER(BOTH));
	EXPECT_EQ(0, vector_effective(source, source->vector));
	EXPECT_TRUE(FIRES_ON(0));
	/* The one that is left is no less than before. */
	EXPECT_EQ(0, STEER(CPU(0)));
	EXPECT_TRUE(IS_ON(0));

	ASSERT_EQ(0, root_write(self->root, CPU1_ONLINE, "1"));
	EXPECT_TRUE(IS_ON(0));
	EXPECT_EQ(0, STEER(CPU(1)));
	EXPECT_TRUE(IS_ON(1));
}

/* Armed when its only CPU is away, it works all the same, and is back with it. */
TEST_F(affinity, an_offline_cpu_is_no_reason_to_fail)
{
	ASSERT_EQ(0, ARM());
	EXPECT_EQ(0, STEER(CPU(1)));
	ASSERT_EQ(0, DISARM());
	ASSERT_EQ(0, root_write(self->root, CPU1_ONLINE, "0"));
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(FIRES_ON(0));
	ASSERT_EQ(0, DISARM());
	ASSERT_EQ(0, root_write(self->root, CPU1_ONLINE, "1"));
	ASSERT_EQ(0, ARM());
	EXPECT_TRUE(IS_ON(1));
}

TEST_F(affinity, the_administrator_can_move_them)
{
	struct source *source = &self->source;
	struct irq_state state;
	char path[64];
	int cpu;

	ASSERT_EQ(0, ARM());
	for (cpu = 0; cpu < 2; cpu++) {
		EXPECT_EQ(0, STEER(CPU(cpu)));
		EXPECT_TRUE(IS_ON(cpu));
		ASSERT_TRUE(irq_state(source->dev.fd, source->mode,
				      source->vector, &state));
		snprintf(path, sizeof(path), "/proc/irq/%d/smp_affinity",
			 state.irq);
		EXPECT_EQ(-EACCES, write_file(path, cpu ? "1" : "2"));
		ASSERT_EQ(0, root_write(self->root, path, cpu ? "1" : "2"));
		EXPECT_TRUE(IS_ON(!cpu));
		ASSERT_EQ(0, DISARM());
		ASSERT_EQ(0, ARM());
		EXPECT_TRUE(IS_ON(cpu));
	}
}

struct shots {
	struct source *source;
	uint64_t fired;
	bool lost;
	bool end;
};

static void *fire_on(void *data)
{
	struct shots *shots = data;
	bool lost = false;

	while (!lost && !__atomic_load_n(&shots->end, __ATOMIC_ACQUIRE)) {
		lost = !source_fire(shots->source);
		__atomic_add_fetch(&shots->fired, 1, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&shots->lost, lost, __ATOMIC_RELEASE);
	return NULL;
}

/* There and back, for as long as it takes to see much of both. */
static bool steer_under_fire(struct shots *shots)
{
	uint64_t end = now_ms() + 3 * WAIT_MS, fired = 0;
	int i;

	for (i = 0; i < STEERS || fired < SHOTS_LEAST; i++) {
		fired = __atomic_load_n(&shots->fired, __ATOMIC_ACQUIRE);
		if (steer(shots->source, CPU(i % 2)) || now_ms() > end ||
		    __atomic_load_n(&shots->lost, __ATOMIC_ACQUIRE))
			return false;
		/* Now and then a move can be completed, of either kind. */
		if (i % 9 == 0)
			usleep(5000);
	}
	printf("# %llu interrupts, steered %d times\n",
	       (unsigned long long)fired, i);
	return true;
}

/*
 * Each is waited for, so none has to stand for two. What a CPU takes while another
 * is still busy with the one before is not in /proc/interrupts.
 */
TEST_F(affinity, none_is_lost_on_the_way)
{
	struct source *source = &self->source;
	struct shots shots = { .source = source };
	long taken[IRQ_CPUS];
	struct irq_state before, after;
	uint64_t signals;
	pthread_t thread;
	int i;

	ASSERT_EQ(0, ARM());
	usleep(QUIET_MS * 1000);
	signals = source_signals(source);
	ASSERT_TRUE(irq_state(source->dev.fd, source->mode, source->vector,
			      &before));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fire_on, &shots));
	EXPECT_TRUE(steer_under_fire(&shots));
	__atomic_store_n(&shots.end, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	usleep(QUIET_MS * 1000);
	signals = source_signals(source) - signals;
	ASSERT_TRUE(irq_state(source->dev.fd, source->mode, source->vector,
			      &after));
	EXPECT_FALSE(shots.lost);
	/* e1000e repeats some. */
	EXPECT_LE(shots.fired, signals);
	if (source->which != E1000E)
		EXPECT_EQ(shots.fired, signals);
	EXPECT_EQ(signals, after.count - before.count);
	/* Both had their share, or nothing has been moved. */
	ASSERT_TRUE(irq_taken(source->dev.bdf, source->mode, source->vector,
			      taken));
	EXPECT_LE(10, taken[0]);
	EXPECT_LE(10, taken[1]);
	/* It was under way when it was steered last. */
	EXPECT_EQ(0, STEER(CPU(1)));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(source_fire(source));
		usleep(QUIET_MS * 1000);
	}
	EXPECT_TRUE(IS_ON(1));
}

/* What nobody steers: of so many vectors, each CPU has some. */
TEST(vectors_are_spread)
{
	struct source source = { .mode = "msix" };
	unsigned int i, on[IRQ_CPUS] = { 0 };
	int count, cpu, fds[128];

	ASSERT_EQ(0, device_prepare(NVME, &source.dev));
	ASSERT_EQ(0, drop_privileges(TEST_UID));
	ASSERT_EQ(0, device_open_attached(&source.dev, -1));
	count = uvfio_irq_count(source.dev.fd, VFIO_PCI_MSIX_IRQ_INDEX);
	ASSERT_LE(16, count);
	ASSERT_GE((int)ARRAY_SIZE(fds), count);
	fds[0] = event_new();
	ASSERT_LE(0, fds[0]);
	for (i = 1; i < (unsigned int)count; i++)
		fds[i] = fds[0];
	ASSERT_EQ(0, uvfio_irq_eventfds(source.dev.fd, VFIO_PCI_MSIX_IRQ_INDEX,
					0, fds, count));
	for (i = 0; i < (unsigned int)count; i++) {
		EXPECT_TRUE(vector_may(&source, i, "0-1"));
		cpu = vector_effective(&source, i);
		ASSERT_LE(0, cpu);
		ASSERT_GT(IRQ_CPUS, cpu);
		on[cpu]++;
	}
	printf("# of %d vectors, CPU 0 has %u, CPU 1 has %u\n", count, on[0],
	       on[1]);
	EXPECT_LE((unsigned int)count / 4, on[0]);
	EXPECT_LE((unsigned int)count / 4, on[1]);
	device_close(&source.dev);
}

TEST_HARNESS_MAIN
