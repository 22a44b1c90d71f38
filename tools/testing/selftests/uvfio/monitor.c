// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's monitor; see monitor.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common.h"
#include "monitor.h"

#define PROMPT		"(qemu) "
#define LINE		256	/* no command is longer */

#define TABLE_BITS	9	/* of an address, for each level of the tables */
#define TABLE_MASK	((1u << TABLE_BITS) - 1)
#define PAGE_BITS	12
#define CR4_LA57	0x1000	/* five levels, not four */

static int monitor = -1;

int monitor_open(void)
{
	struct termios raw;

	monitor = open("/dev/ttyS3",
		       O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (monitor < 0)
		return -errno;
	if (tcgetattr(monitor, &raw))
		return -errno;
	cfmakeraw(&raw);
	return tcsetattr(monitor, TCSANOW, &raw) ? -errno : 0;
}

static int transmit(const char *text)
{
	size_t len = strlen(text);
	ssize_t ret;

	while (len) {
		ret = write(monitor, text, len);
		if (ret < 0 && errno != EAGAIN)
			return -errno;
		if (ret > 0) {
			text += ret;
			len -= ret;
		}
	}
	return 0;
}

/*
 * Take everything up to and including @end; store as much of what is before it
 * as there is room for. This does not sleep: while the process is on its CPU, so are
 * its page tables, see monitor_pte().
 */
static int receive(const char *end, char *text, size_t size)
{
	uint64_t deadline = now_ms() + WAIT_MS;
	size_t len = strlen(end), count = 0;
	char last[LINE] = { 0 };

	while (memcmp(last, end, len)) {
		memmove(last, last + 1, len - 1);
		while (read(monitor, last + len - 1, 1) != 1) {
			if (now_ms() > deadline)
				return -ETIMEDOUT;
		}
		deadline = now_ms() + WAIT_MS;
		if (count < size)
			text[count] = last[len - 1];
		count++;
	}
	count -= len;
	if (size)
		text[count < size ? count : size - 1] = '\0';
	return 0;
}

/*
 * The monitor is made for people: it shows its line anew for each character
 * that arrives, clears what is behind the line, and prompts when it is done. An
 * empty line comes first, to end what another process may have left behind.
 */
int monitor_command(const char *command, char *answer, size_t size)
{
	char line[LINE], echo[LINE];
	int ret;

	if (snprintf(line, LINE, "\n%s\n", command) >= LINE ||
	    snprintf(echo, LINE, "%s\033[K\r\n", command) >= LINE)
		return -E2BIG;
	ret = transmit(line);
	if (!ret)
		ret = receive(echo, NULL, 0);
	return ret ? ret : receive(PROMPT, answer, size);
}

/* The number behind @name in what the monitor says. */
static int find_number(const char *answer, const char *name, uint64_t *value)
{
	const char *number = strstr(answer, name);
	char *end;

	if (!number)
		return -ENOMSG;
	number += strlen(name);
	*value = strtoull(number, &end, 16);
	return end == number ? -ENOMSG : 0;
}

/* @size: 'g' for 8 bytes, 'w' for 4 */
static int read_physical_as(char size, uint64_t address, uint64_t *value)
{
	char command[64], answer[128];
	int ret;

	snprintf(command, sizeof(command), "xp /1%cx 0x%llx", size,
		 (unsigned long long)address);
	ret = monitor_command(command, answer, sizeof(answer));
	return ret ? ret : find_number(answer, ": ", value);
}

int monitor_physical(uint64_t address, uint64_t *value)
{
	return read_physical_as('g', address, value);
}

int monitor_has(uint64_t address, uint8_t byte)
{
	uint64_t value;
	int ret = monitor_physical(address, &value);

	return ret ? ret : value == byte * 0x0101010101010101ULL;
}

/* The root of page tables, and which bits of an address it is indexed by. */
struct tables {
	uint64_t root;
	unsigned int shift;
};

/* Those that the first CPU uses, the one that the monitor shows. */
static int find_tables(struct tables *tables)
{
	uint64_t cr3 = 0, cr4 = 0;
	char registers[8192];
	int ret;

	ret = monitor_command("info registers", registers, sizeof(registers));
	if (!ret)
		ret = find_number(registers, "CR3=", &cr3);
	if (!ret)
		ret = find_number(registers, "CR4=", &cr4);
	tables->root = cr3 & PTE_ADDRESS;
	tables->shift = PAGE_BITS + (cr4 & CR4_LA57 ? 4 : 3) * TABLE_BITS;
	return ret;
}

/* An entry leads somewhere with any bit of @present; it has @huge of @huge_mask... */
struct entries {
	uint64_t present;
	uint64_t huge_mask, huge;	/* ... when it maps what a table would */
};

static const struct entries cpu_entries = { PTE_PRESENT, PTE_HUGE, PTE_HUGE };

static int walk(struct tables at, const struct entries *entries,
		uint64_t address, uint64_t *pte, uint64_t *size)
{
	uint64_t index;
	int ret;

	for (;; at.shift -= TABLE_BITS) {
		index = address >> at.shift & TABLE_MASK;
		ret = monitor_physical(at.root + index * sizeof(*pte), pte);
		if (ret)
			return ret;
		if (!(*pte & entries->present))
			return -EFAULT;
		if (at.shift == PAGE_BITS ||
		    (*pte & entries->huge_mask) == entries->huge) {
			*size = 1ULL << at.shift;
			return 0;
		}
		at.root = *pte & PTE_ADDRESS;
	}
}

/* Whether they lead to a value that nobody else has. */
static bool are_ours(struct tables tables)
{
	static volatile uint64_t secret;
	uint64_t pte, size, offset, value;

	secret = (uint64_t)getpid() << 32 ^ now_ms();
	if (walk(tables, &cpu_entries, (uintptr_t)&secret, &pte, &size))
		return false;
	offset = (uintptr_t)&secret & (size - 1);
	return !monitor_physical((pte & PTE_ADDRESS & -size) + offset, &value) &&
	       value == secret;
}

int monitor_pte(const void *address, uint64_t *pte, uint64_t *size)
{
	uint64_t deadline = now_ms() + WAIT_MS;
	struct tables tables;
	cpu_set_t before, first;
	int ret;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_getaffinity(0, sizeof(before), &before) ||
	    sched_setaffinity(0, sizeof(first), &first))
		return -errno;
	/* Another process may have its turn there just then. */
	do {
		ret = now_ms() > deadline ? -ETIMEDOUT : find_tables(&tables);
	} while (!ret && !are_ours(tables));
	if (!ret)
		ret = walk(tables, &cpu_entries, (uintptr_t)address, pte, size);
	sched_setaffinity(0, sizeof(before), &before);
	return ret;
}

/*
 * The tables of a device, in the domain that it is attached to: @id is the bus in
 * the upper byte, device and function in the lower.
 */
#ifdef __aarch64__

/* The SMMUv3's registers, and fields of what they lead to. */
#define SMMU_STREAMS		0x9050080
#define SMMU_STREAMS_CONFIG	0x9050088
#define SMMU_TWO_LEVELS(config)	((config) >> 16 & 1)
#define SMMU_SPLIT(config)	((config) >> 6 & 31)	/* bits of the second */
#define SMMU_ADDRESS		0x000fffffffffffc0ULL
#define SMMU_SPAN		31	/* of an entry of the first; 0: none */
#define SMMU_STREAM_SIZE	64
#define SMMU_TRANSLATES(stream)	(((stream) & 15) == 11)	/* by one stage */
#define SMMU_BITS(context)	(64 - ((context) & 63))	/* of an IOVA */
#define SMMU_READ_ONLY		0x80ULL

static const struct entries iova_entries = { 1, 2, 0 };

static int find_stream(unsigned int id, uint64_t *stream)
{
	uint64_t table = 0, config = 0;
	int ret;

	ret = monitor_physical(SMMU_STREAMS, &table);
	if (!ret)
		ret = read_physical_as('w', SMMU_STREAMS_CONFIG, &config);
	if (!ret && SMMU_TWO_LEVELS(config)) {
		ret = monitor_physical((table & SMMU_ADDRESS) +
				    (id >> SMMU_SPLIT(config)) * 8, &table);
		if (!ret && !(table & SMMU_SPAN))
			return -EFAULT;
		id &= (1 << SMMU_SPLIT(config)) - 1;
	}
	if (ret)
		return ret;
	return monitor_physical((table & SMMU_ADDRESS) + id * SMMU_STREAM_SIZE,
			     stream);
}

static int find_iova_tables(unsigned int id, struct tables *tables)
{
	uint64_t stream = 0, context = 0;
	int ret;

	ret = find_stream(id, &stream);
	if (!ret && !SMMU_TRANSLATES(stream))
		ret = -EFAULT;
	if (!ret)
		ret = monitor_physical(stream & SMMU_ADDRESS, &context);
	if (!ret)
		ret = monitor_physical((stream & SMMU_ADDRESS) + 8, &tables->root);
	tables->root &= PTE_ADDRESS;
	tables->shift = PAGE_BITS + (SMMU_BITS(context) - PAGE_BITS - 1) /
				    TABLE_BITS * TABLE_BITS;
	return ret;
}

static uint64_t iova_pte(uint64_t entry)
{
	return (entry & IOVA_ADDRESS) | IOVA_READ |
	       (entry & SMMU_READ_ONLY ? 0 : IOVA_WRITE);
}

#else

/* VT-d: the register that leads to the root table, and an entry of a context. */
#define VTD_ROOT_TABLE	0xfed90020
#define VTD_PRESENT	1
#define VTD_LEVELS(hi)	((hi) % 8 + 2)

static const struct entries iova_entries = {
	IOVA_READ | IOVA_WRITE, PTE_HUGE, PTE_HUGE
};

static int find_iova_tables(unsigned int id, struct tables *tables)
{
	uint64_t root, context, low = 0, high = 0;
	int ret;

	ret = monitor_physical(VTD_ROOT_TABLE, &root);
	if (!ret)
		ret = monitor_physical((root & PTE_ADDRESS) + (id >> 8) * 16, &context);
	if (!ret && !(context & VTD_PRESENT))
		ret = -EFAULT;
	if (!ret)
		ret = monitor_physical((context & PTE_ADDRESS) +
				       (id & 0xff) * 16, &low);
	if (!ret)
		ret = monitor_physical((context & PTE_ADDRESS) +
				       (id & 0xff) * 16 + 8, &high);
	if (!ret && !(low & VTD_PRESENT))
		ret = -EFAULT;
	tables->root = low & PTE_ADDRESS;
	tables->shift = PAGE_BITS + (VTD_LEVELS(high) - 1) * TABLE_BITS;
	return ret;
}

static uint64_t iova_pte(uint64_t entry)
{
	return entry;
}

#endif

int monitor_iova(const char *bdf, uint64_t iova, uint64_t *pte, uint64_t *size)
{
	unsigned int bus, device, function;
	struct tables tables;
	int ret;

	if (sscanf(bdf, "%*x:%x:%x.%u", &bus, &device, &function) != 3)
		return -EINVAL;
	ret = find_iova_tables(bus << 8 | device << 3 | function, &tables);
	if (ret)
		return ret;
	if (iova >> (tables.shift + TABLE_BITS))
		return -EFAULT;
	ret = walk(tables, &iova_entries, iova, pte, size);
	*pte = iova_pte(*pte);
	return ret;
}
