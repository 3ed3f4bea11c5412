# SPDX-License-Identifier: Apache-2.0
# Libraries of the vendors, as far as the backends call them, with devices that a script describes.
noinst_HEADERS += tests/fake/script.h
fake_ldflags = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nonexistent
check_LTLIBRARIES += tests/fake/nvml.la tests/fake/driver.la
tests_fake_nvml_la_SOURCES = tests/fake/nvml.c
tests_fake_nvml_la_LDFLAGS = $(fake_ldflags)
tests_fake_nvml_la_LIBADD = $(JANSSON_LIBS)
tests_fake_driver_la_SOURCES = tests/fake/driver.c
tests_fake_driver_la_LDFLAGS = $(fake_ldflags)
tests_fake_driver_la_LIBADD = $(JANSSON_LIBS)
check_LTLIBRARIES += tests/fake/hip.la tests/fake/wrong.la
tests_fake_hip_la_SOURCES = tests/fake/hip.c
tests_fake_hip_la_LDFLAGS = $(fake_ldflags)
tests_fake_wrong_la_SOURCES = tests/fake/wrong.c
tests_fake_wrong_la_LDFLAGS = $(fake_ldflags)

dist_check_SCRIPTS += tests/fake/backends.sh
TESTS += tests/fake/backends.sh
EXTRA_DIST += tests/fake/backends_test.py

if ENABLE_BACKEND_CUDA
check_PROGRAMS += tests/fake/test_suspend
tests_fake_test_suspend_SOURCES = tests/fake/test_suspend.c
tests_fake_test_suspend_LDADD = core/plugin/libplugin.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS) $(XXHASH_LIBS) -ldl
endif
