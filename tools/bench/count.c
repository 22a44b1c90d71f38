// SPDX-License-Identifier: GPL-2.0
/*
 * The count of instructions (vm/run -c), and QEMU's log of them (vm/run -l), which
 * its monitor turns on and off: the test machine reaches that by its fourth serial
 * port. Waiting is asleep here, without a time limit: a loop would fill the log,
 * and a machine that counts instructions skips the time in which it is idle.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "bench.h"

#define SHORTEST_INTERRUPT	200	/* and more than the loop below takes */

static int monitor = -1;

/* Nobody's part: in the log, a call of it is where something begins or ends. */
uint64_t now(void)
{
	uint32_t low, high;

	__asm__ __volatile__("rdtsc" : "=a" (low), "=d" (high) :: "memory");
	return low | (uint64_t)high << 32;
}

/*
 * Nor is the waiting in here, which ends when much has gone by between two looks at
 * the counter. When that is depends on QEMU's threads. So that how much it is does
 * not, each round is the same: all write somewhere, the second one to @reg.
 */
uint64_t ring_and_spin(volatile uint32_t *reg, uint32_t value)
{
	volatile uint32_t nowhere, *target = &nowhere;
	uint64_t first = __builtin_ia32_rdtsc(), last, next = first;

	do {
		last = next;
		*target = value;
		target = reg;
		reg = &nowhere;
		next = __builtin_ia32_rdtsc();
	} while (next - last < SHORTEST_INTERRUPT);
	return last - first;
}

static void monitor_open(void)
{
	struct termios raw;

	monitor = open("/dev/ttyS3", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (monitor < 0 || tcgetattr(monitor, &raw))
		err(1, "/dev/ttyS3");
	cfmakeraw(&raw);
	if (tcsetattr(monitor, TCSANOW, &raw))
		err(1, "/dev/ttyS3");
}

/* Takes everything up to and including @end. */
static void receive(const char *end)
{
	size_t len = strlen(end);
	char last[64] = { 0 };

	while (memcmp(last, end, len)) {
		memmove(last, last + 1, len - 1);
		if (read(monitor, last + len - 1, 1) != 1)
			err(1, "/dev/ttyS3");
	}
}

/*
 * It shows its line anew for each character, and prompts when it is done. An empty
 * line comes first, to end what the terminal may have echoed when it was opened.
 */
static void command(const char *line)
{
	char echo[64];

	snprintf(echo, sizeof(echo), "%s\033[K\r\n", line);
	if (dprintf(monitor, "\n%s\n", line) < 0)
		err(1, "/dev/ttyS3");
	receive(echo);
	receive("(qemu) ");
}

void log_start(void)
{
	if (monitor < 0)
		monitor_open();
	command("singlestep on");
	command("log exec,nochain");
}

void log_stop(void)
{
	command("log none");
	command("singlestep off");
}
