/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that stays root, for what a test needs of root after it has become an
 * ordinary user. Functions return 0 (or what they are asked for) or -errno.
 */
#ifndef UVFIO_TEST_ROOT_H
#define UVFIO_TEST_ROOT_H

#include <stdbool.h>

/* As root: a descriptor for the others. The process ends when it is closed. */
int root_start(void);

/* As write_file() and device_unbind() do. */
int root_write(int root, const char *path, const char *text);
int root_unbind(int root, const char *bdf);

/* That pages_pinned() is @pages, soon: a worker may have to give the last one back. */
bool root_sees_pinned(int root, long pages);

#endif /* UVFIO_TEST_ROOT_H */
