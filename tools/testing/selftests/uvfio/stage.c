// SPDX-License-Identifier: GPL-2.0
/*
 * The stage for tests of revocation; see stage.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"
#include "stage.h"

int stage_start(struct stage *stage)
{
	int ret;

	ret = device_prepare(EDU, &stage->dev);
	if (ret)
		return ret;
	ret = memory_pool();
	if (ret)
		return ret;
	ret = monitor_open();
	if (ret)
		return ret;
	stage->pagemap = pagemap_open();
	if (stage->pagemap < 0)
		return stage->pagemap;
	ret = drop_privileges(TEST_UID);
	if (ret)
		return ret;
	stage->domain = uvfio_domain_open();
	if (stage->domain < 0)
		return stage->domain;
	ret = device_open_attached(&stage->dev, stage->domain);
	if (ret)
		return ret;
	ret = edu_start(&stage->edu, stage->dev.fd);
	if (ret)
		return ret;
	stage->scratch = dma_alloc(PAGE_SIZE);
	return uvfio_dma_map(stage->domain, stage->scratch, PAGE_SIZE,
			     SCRATCH_IOVA, RW);
}

void stage_end(struct stage *stage)
{
	edu_stop(&stage->edu);
	device_close(&stage->dev);
	close(stage->domain);
	close(stage->pagemap);
	dma_free(stage->scratch, PAGE_SIZE);
}

int device_write(struct stage *stage, uint64_t iova, int byte)
{
	int ret = edu_fill(&stage->edu, SCRATCH_IOVA, stage->scratch, byte);

	return ret ? ret : edu_store(&stage->edu, iova, 0, BYTES);
}

int device_read(struct stage *stage, uint64_t iova)
{
	int ret = edu_load(&stage->edu, iova, 0, BYTES);

	return ret ? ret : edu_store(&stage->edu, SCRATCH_IOVA, 0, BYTES);
}

bool reaches(struct stage *stage, uint8_t *page, uint64_t iova)
{
	return edu_reach(&stage->edu, SCRATCH_IOVA, stage->scratch, iova,
			 page) == RW;
}

bool reads_nothing(struct stage *stage, uint64_t iova)
{
	memset(stage->scratch, OLD, PAGE_SIZE);
	return !device_read(stage, iova) &&
	       !memchr(stage->scratch, OLD, BYTES) &&
	       !memchr(stage->scratch, NEW, BYTES);
}

int device_write_ends(struct stage *stage, uint64_t iova, size_t size)
{
	int ret = device_write(stage, iova, DEVICE);

	return ret ? ret : edu_store(&stage->edu, iova + size - BYTES, 0, BYTES);
}

struct witness witness_of(int pagemap, const uint8_t *address, size_t size)
{
	return (struct witness) {
		.first = page_address(pagemap, address),
		.last = page_address(pagemap, address + size - PAGE_SIZE) +
			PAGE_SIZE - BYTES,
	};
}

int witness_sees(const struct witness *witness)
{
	int first = monitor_has(witness->first, DEVICE);
	int last = monitor_has(witness->last, DEVICE);

	return first < 0 ? first : last < 0 ? last : first + last;
}

struct account account_of(int fd)
{
	return (struct account) {
		.vm_pin = vm_pin(),
		.pinned = fdinfo_number(fd, "pinned"),
		.revoked = fdinfo_number(fd, "revoked"),
		.mappings = fdinfo_number(fd, "mappings"),
	};
}

bool account_is(int fd, const struct account *want)
{
	struct account now = account_of(fd);

	return now.vm_pin == want->vm_pin && now.pinned == want->pinned &&
	       now.revoked == want->revoked && now.mappings == want->mappings;
}

static void account_print(const char *word, const struct account *account)
{
	printf("# account %s: VmPin %ld kB, %lld pinned, %lld revoked, %lld mappings\n",
	       word, account->vm_pin, account->pinned, account->revoked,
	       account->mappings);
}

bool account_becomes(int fd, const struct account *want)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (!account_is(fd, want)) {
		struct account now = account_of(fd);

		if (now_ms() > end) {
			account_print("is", &now);
			account_print("not", want);
			return false;
		}
		usleep(5000);
	}
	return true;
}

struct account account_less(struct account account, size_t bytes)
{
	account.vm_pin -= bytes >> 10;
	account.pinned -= bytes;
	account.revoked += bytes;
	return account;
}

bool has_lost(int fd, const struct account *before, size_t bytes)
{
	struct account want = account_less(*before, bytes);

	return account_becomes(fd, &want);
}

int nvme_stage_start(struct nvme_stage *stage)
{
	int ret;

	stage->domain = uvfio_domain_open();
	if (stage->domain < 0)
		return stage->domain;
	ret = device_open_attached(&stage->dev, stage->domain);
	return ret ? ret : nvme_start(&stage->nvme, stage->dev.fd);
}

void nvme_stage_end(struct nvme_stage *stage)
{
	nvme_close(&stage->nvme);
	close(stage->domain);
}
