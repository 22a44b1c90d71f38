/* SPDX-License-Identifier: GPL-2.0 */
/*
 * To be included by each test program, once: the kernel's test harness, which
 * defines variables, with time limits for an emulated machine.
 */
#ifndef UVFIO_TEST_H
#define UVFIO_TEST_H

#include <kselftest_harness.h>

#include "common.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	180

/* In place of all tests, for main(): SKIP() in the setup of a fixture skips none. */
static inline int skip_all(const char *reason)
{
	ksft_print_header();
	ksft_set_plan(1);
	ksft_test_result_skip("%s\n", reason);
	return 0;
}

#endif /* UVFIO_TEST_H */
