/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two registers of each kind of device, to see how it is: one whose value tells
 * the device from one that is asleep, in reset or gone, and one that keeps what is
 * written until the device is reset.
 */
#ifndef UVFIO_TEST_REGISTERS_H
#define UVFIO_TEST_REGISTERS_H

#include <stdbool.h>

#include "common.h"

/* Memory decoding is on. */
bool device_answers(int fd, enum which which);
int device_mark(int fd, enum which which);
bool device_is_marked(int fd, enum which which);

/* The first page of the BAR with the registers; MAP_FAILED as from mmap(). */
void *registers_map(int fd, enum which which);
/* Where in it the one is that device_answers() reads, and its value. */
unsigned int register_known(enum which which, uint32_t *value);

#endif /* UVFIO_TEST_REGISTERS_H */
