// SPDX-License-Identifier: GPL-2.0
/*
 * Two registers of each kind of device, to see how it is; see registers.h.
 */
#include "edu.h"
#include "nvme.h"
#include "registers.h"

static const struct {
	unsigned int bar;
	unsigned int known;
	uint32_t known_value;
	unsigned int scratch;
	uint32_t scratch_value;
} registers[] = {
	[NVME] = {	/* Version; Controller Configuration, not enabled */
		VFIO_PCI_BAR0_REGION_INDEX, 0x08, 0x00010400,
		NVME_CC, NVME_CC_IOSQES | NVME_CC_IOCQES,
	},
	[EDU] = {	/* the address of a DMA transfer */
		VFIO_PCI_BAR0_REGION_INDEX, EDU_ID, EDU_ID_VALUE,
		EDU_DMA_SOURCE, 0x12345678,
	},
	[E1000E] = {	/* VLAN Ether Type; Flow Control Transmit Timer Value */
		VFIO_PCI_BAR0_REGION_INDEX, 0x38, 0x00008100,
		0x170, 0x5678,
	},
	[VIRTIO_RNG] = {	/* no vector for config, 16 bits; device status */
		VFIO_PCI_BAR4_REGION_INDEX, 0x10, 0x0000ffff,
		0x14, 1,
	},
	[VIRTIO_AER] = {	/* as VIRTIO_RNG */
		VFIO_PCI_BAR4_REGION_INDEX, 0x10, 0x0000ffff,
		0x14, 1,
	},
	[XHCI] = {	/* version and length of its capabilities; DCBAAP */
		VFIO_PCI_BAR0_REGION_INDEX, 0x00, 0x01000040,
		0x70, 0x12345640,
	},
	[NVME_VF] = {	/* as NVME */
		VFIO_PCI_BAR0_REGION_INDEX, 0x08, 0x00010400,
		NVME_CC, NVME_CC_IOSQES | NVME_CC_IOCQES,
	},
};

static bool reads_as(int fd, unsigned int bar, unsigned int offset,
		     uint32_t expected)
{
	uint32_t value = 0;

	return !uvfio_region_read(fd, bar, offset, &value, sizeof(value)) &&
	       value == expected;
}

bool device_answers(int fd, enum which which)
{
	return reads_as(fd, registers[which].bar, registers[which].known,
			registers[which].known_value);
}

int device_mark(int fd, enum which which)
{
	return uvfio_region_write(fd, registers[which].bar,
				  registers[which].scratch,
				  &registers[which].scratch_value,
				  sizeof(uint32_t));
}

bool device_is_marked(int fd, enum which which)
{
	return reads_as(fd, registers[which].bar, registers[which].scratch,
			registers[which].scratch_value);
}

void *registers_map(int fd, enum which which)
{
	return bar_map(fd, registers[which].bar, 0, PAGE_SIZE);
}

unsigned int register_known(enum which which, uint32_t *value)
{
	*value = registers[which].known_value;
	return registers[which].known;
}
