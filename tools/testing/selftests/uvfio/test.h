/* SPDX-License-Identifier: GPL-2.0 */
/*
 * To be included by each test program, once: the kernel's test harness, which
 * defines variables, with time limits for an emulated machine.
 */
#ifndef UVFIO_TEST_H
#define UVFIO_TEST_H

#include <err.h>

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

/*
 * Runs the tests in a process of their own, because the harness ends the one that
 * it is in: for a main() that has something to undo afterwards.
 */
static inline int run_tests(int argc, char **argv)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		exit(test_harness_run(argc, argv));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		errx(2, "the tests have not run to their end");
	return WEXITSTATUS(status);
}

#endif /* UVFIO_TEST_H */
