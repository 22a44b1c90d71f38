// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that interrupt when they are told to; see irq.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "irq.h"

int interrupter_start(struct interrupter *self, enum which which,
		      const struct device *dev, unsigned int index)
{
	int ret;

	self->fd = dev->fd;
	self->index = index;
	ret = uvfio_attach(self->fd, -1);
	if (ret)
		return ret;
	if (which != E1000E)
		return edu_start(&self->edu, self->fd);

	ret = uvfio_command(self->fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
			    0);
	if (ret)
		return ret;
	self->e1000e = bar_map(self->fd, VFIO_PCI_BAR0_REGION_INDEX, 0,
			       E1000E_BAR_SIZE);
	if (self->e1000e == MAP_FAILED) {
		self->e1000e = NULL;
		return -errno;
	}
	e1000e_setup(self->e1000e);
	return 0;
}

void interrupter_stop(struct interrupter *self)
{
	edu_stop(&self->edu);
	if (self->e1000e)
		munmap(self->e1000e, E1000E_BAR_SIZE);
	self->e1000e = NULL;
}

void irq_fire(struct interrupter *self, unsigned int vector)
{
	if (!self->e1000e) {
		edu_write(&self->edu, EDU_IRQ_RAISE, 1);
		return;
	}
	/* An MSI-X interrupt disables its cause. */
	e1000e_write(self->e1000e, E1000E_IMS, E1000E_CAUSE(vector));
	e1000e_write(self->e1000e, E1000E_ICS, E1000E_CAUSE(vector));
}

void irq_ack(struct interrupter *self)
{
	if (!self->e1000e) {
		edu_write(&self->edu, EDU_IRQ_ACK,
			  edu_read(&self->edu, EDU_IRQ_STATUS));
		return;
	}
	e1000e_setup(self->e1000e);
	usleep(E1000E_SETTLE_US);
}

int irq_finish(struct interrupter *self)
{
	irq_ack(self);
	return self->index == VFIO_PCI_INTX_IRQ_INDEX ?
		uvfio_intx_unmask(self->fd) : 0;
}

static void *fire_on(void *data)
{
	struct firing *self = data;

	while (!__atomic_load_n(&self->end, __ATOMIC_ACQUIRE)) {
		irq_fire(self->source, self->vector);
		/* Not armed just now: refused, and no matter. */
		if (self->finish)
			irq_finish(self->source);
	}
	return NULL;
}

int firing_start(struct firing *self)
{
	return pthread_create(&self->thread, NULL, fire_on, self);
}

int firing_stop(struct firing *self)
{
	__atomic_store_n(&self->end, true, __ATOMIC_RELEASE);
	return pthread_join(self->thread, NULL);
}

int event_drain(int event)
{
	int count = 0;

	while (event_wait(event, QUIET_MS))
		count++;
	return count;
}

uint64_t event_take(int event)
{
	uint64_t count;

	return read(event, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

bool irq_state(int fd, const char *mode, unsigned int nr,
	       struct irq_state *state)
{
	char key[32], value[128];

	snprintf(key, sizeof(key), "%s[%u]", mode, nr);
	return fdinfo_find(fd, key, value, sizeof(value)) &&
	       sscanf(value,
		      "irq=%d count=%lu masked=%d cpus=%31s effective=%31s",
		      &state->irq, &state->count, &state->masked, state->cpus,
		      state->effective) == 5;
}

/* The numbers behind "45:", one for each CPU that has a column. */
static bool parse_taken(const char *line, const bool *online, long *taken)
{
	const char *at = strchr(line, ':');
	char *end;
	int cpu;

	for (cpu = 0; at && cpu < IRQ_CPUS; cpu++) {
		taken[cpu] = -1;
		if (!online[cpu])
			continue;
		taken[cpu] = strtol(at + 1, &end, 10);
		at = end;
	}
	return at;
}

bool irq_taken(const char *bdf, const char *mode, unsigned int nr,
	       long taken[IRQ_CPUS])
{
	char line[512], name[64];
	bool online[IRQ_CPUS], found = false;
	FILE *file;
	int cpu;

	file = fopen("/proc/interrupts", "re");
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	for (cpu = 0; cpu < IRQ_CPUS; cpu++) {
		snprintf(name, sizeof(name), " CPU%d ", cpu);
		online[cpu] = strstr(line, name);
	}
	/* The last on its line, unless several share that. */
	snprintf(name, sizeof(name), " uvfio-%s[%u](%s)", mode, nr, bdf);
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, name) && parse_taken(line, online, taken);
	fclose(file);
	return found;
}

int irq_connect(int fd, unsigned int index, unsigned int vector, int event)
{
	return uvfio_irq_eventfds(fd, index, vector, &event, 1);
}

int set_irqs(int fd, uint32_t flags, uint32_t index, uint32_t start,
	     uint32_t count, const void *data, size_t size)
{
	union {
		struct vfio_irq_set set;
		uint8_t bytes[256];
	} arg;

	memset(&arg, 0, sizeof(arg));
	arg.set.argsz = sizeof(arg.set) + size;
	arg.set.flags = flags;
	arg.set.index = index;
	arg.set.start = start;
	arg.set.count = count;
	if (size)
		memcpy(arg.bytes + sizeof(arg.set), data, size);
	return ioctl(fd, VFIO_DEVICE_SET_IRQS, &arg) ? -errno : 0;
}
