# SPDX-License-Identifier: Apache-2.0
# Every test prints TAP: Criterion ones by --tap=-, plain ones (tests/unit/tap.h) because they do nothing else.
# tests/run-one.sh turns what a sanitizer finds into a failure, which Criterion alone would not.
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_LOG_DRIVER_FLAGS = --ignore-exit --comments
LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/run-one.sh
AM_TESTS_ENVIRONMENT = top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)'; export top_srcdir top_builddir;
dist_check_SCRIPTS += tests/run-one.sh
dist_noinst_SCRIPTS += tests/install.sh tests/run.sh tests/gpu/run.sh
TESTS += $(check_PROGRAMS)
UNIT_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)

include tests/unit/local.mk
include tests/cli/local.mk
include tests/fake/local.mk
include tests/fault/local.mk
include tests/fuzz/local.mk
include tests/bench/local.mk
include tests/e2e/local.mk
include tests/house/local.mk
