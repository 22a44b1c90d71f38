// SPDX-License-Identifier: GPL-2.0
/*
 * nvme - drive an NVMe controller through /dev/vfioN, without any privilege.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nvme.h"

static int parse_number(const char *text, unsigned long long max,
			unsigned long long *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (!errno && end != text && !*end && *text != '-' && *value <= max)
		return 0;
	fprintf(stderr, "nvme: not a number in 0 .. %llu: %s\n", max,
		text);
	return -EINVAL;
}

static int info(struct nvme *nvme, char **args)
{
	(void)args;
	printf("model     %s\n", nvme->model);
	printf("serial    %s\n", nvme->serial);
	printf("firmware  %s\n", nvme->firmware);
	printf("capacity  %llu blocks of %u bytes, %.1f MiB\n",
	       nvme->blocks, nvme->block_size,
	       (double)nvme->blocks * nvme->block_size / (1 << 20));
	return 0;
}

static int read_text(struct nvme *nvme, char **args)
{
	const char *data = nvme_buffer(nvme, 0);
	unsigned long long block;
	unsigned int i;
	int ret;

	ret = parse_number(args[0], nvme->blocks - 1, &block);
	if (!ret)
		ret = nvme_read(nvme, block, 0);
	if (ret)
		return ret;
	/* a disk holds anything: keep control characters off the terminal */
	for (i = 0; i < nvme->block_size && data[i]; i++)
		putchar(data[i] >= ' ' && data[i] <= '~' ? data[i] : '.');
	putchar('\n');
	return 0;
}

static int write_text(struct nvme *nvme, char **args)
{
	char *data = nvme_buffer(nvme, 0);
	size_t length = strlen(args[1]);
	unsigned long long block;
	int ret;

	if (length > nvme->block_size) {
		fprintf(stderr, "nvme: the text is longer than a block\n");
		return -EINVAL;
	}
	memset(data, 0, nvme->block_size);
	memcpy(data, args[1], length);

	ret = parse_number(args[0], nvme->blocks - 1, &block);
	if (!ret)
		ret = nvme_write(nvme, block, 0);
	if (!ret)
		ret = nvme_flush(nvme);
	return ret;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static unsigned long long random_block(struct nvme *nvme)
{
	return ((unsigned long long)random() << 31 | random()) % nvme->blocks;
}

static int bench(struct nvme *nvme, char **args)
{
	unsigned long long interrupts = nvme_interrupts(nvme);
	unsigned int buffers[NVME_BUFFERS];
	unsigned int in_flight = 0;
	unsigned long long seconds;
	unsigned long long reads = 0;
	double start, time;
	int count, ret, i;

	ret = parse_number(args[0], 3600, &seconds);
	if (ret)
		return ret;
	srandom(getpid());
	start = now();
	for (; in_flight < NVME_BUFFERS; in_flight++)
		nvme_start_read(nvme, random_block(nvme), in_flight);

	/* a finished read makes room for the next until the time is up */
	do {
		count = nvme_wait_reads(nvme, buffers);
		if (count < 0)
			return count;
		reads += count;
		in_flight -= count;
		time = now() - start;
		for (i = 0; time < seconds && i < count; i++, in_flight++)
			nvme_start_read(nvme, random_block(nvme), buffers[i]);
	} while (in_flight);

	interrupts = nvme_interrupts(nvme) - interrupts;
	printf("%llu random reads of %u bytes in %.2f s, %u at a time\n",
	       reads, nvme->block_size, time, NVME_BUFFERS);
	printf("%.0f IOPS, %llu interrupts taken\n", reads / time,
	       interrupts);
	return 0;
}

static const struct command {
	const char *name;
	int args;
	int (*run)(struct nvme *nvme, char **args);
	const char *usage;
} commands[] = {
	{ "info", 0, info,
	  "nvme info DEVICE               show model, serial number, capacity" },
	{ "read", 1, read_text,
	  "nvme read DEVICE BLOCK         show the text in a block" },
	{ "write", 2, write_text,
	  "nvme write DEVICE BLOCK TEXT   fill a block with a text" },
	{ "bench", 1, bench,
	  "nvme bench DEVICE SECONDS      read random blocks, show the speed" },
	{ }
};

static const struct command *find_command(int argc, char **argv)
{
	size_t i;

	for (i = 0; argc > 2 && commands[i].name; i++)
		if (!strcmp(argv[1], commands[i].name) &&
		    argc - 3 == commands[i].args)
			return &commands[i];
	for (i = 0; commands[i].name; i++)
		fprintf(stderr, "%s %s\n", i ? "      " : "usage:",
			commands[i].usage);
	fprintf(stderr, "DEVICE is a node such as /dev/vfio0.\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const struct command *command = find_command(argc, argv);
	struct nvme nvme;
	int ret;

	ret = nvme_open(&nvme, argv[2]);
	if (!ret)
		ret = command->run(&nvme, argv + 3);
	nvme_close(&nvme);
	return ret ? 1 : 0;
}
