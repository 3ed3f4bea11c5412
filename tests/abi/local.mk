# SPDX-License-Identifier: Apache-2.0
# Plugins that the loader must refuse, one thing wrong with each, and a few that it must take.
bad_ldflags = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nonexistent
noinst_HEADERS += tests/abi/bad/bad.h
check_LTLIBRARIES += \
	tests/abi/bad/answers.la \
	tests/abi/bad/caps.la \
	tests/abi/bad/check_hangs.la \
	tests/abi/bad/check_no.la \
	tests/abi/bad/crash.la \
	tests/abi/bad/exits.la \
	tests/abi/bad/good.la \
	tests/abi/bad/kind.la \
	tests/abi/bad/load_hangs.la \
	tests/abi/bad/magic.la \
	tests/abi/bad/major.la \
	tests/abi/bad/minor.la \
	tests/abi/bad/name.la \
	tests/abi/bad/needs.la \
	tests/abi/bad/no_name.la \
	tests/abi/bad/no_open.la \
	tests/abi/bad/no_symbol.la \
	tests/abi/bad/open_fails.la \
	tests/abi/bad/open_hangs.la \
	tests/abi/bad/ops_hole.la \
	tests/abi/bad/ops_null.la \
	tests/abi/bad/ops_small.la \
	tests/abi/bad/option_default.la \
	tests/abi/bad/option_twice.la \
	tests/abi/bad/option_type.la \
	tests/abi/bad/options.la \
	tests/abi/bad/reserved.la \
	tests/abi/bad/size_big.la \
	tests/abi/bad/size_small.la \
	tests/abi/bad/tiny.la \
	tests/abi/bad/undefined.la \
	tests/abi/1.0/old.la
tests_abi_bad_answers_la_SOURCES = tests/abi/bad/answers.c
tests_abi_bad_answers_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_caps_la_SOURCES = tests/abi/bad/caps.c
tests_abi_bad_caps_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_check_hangs_la_SOURCES = tests/abi/bad/check_hangs.c
tests_abi_bad_check_hangs_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_check_no_la_SOURCES = tests/abi/bad/check_no.c
tests_abi_bad_check_no_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_crash_la_SOURCES = tests/abi/bad/crash.c
tests_abi_bad_crash_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_exits_la_SOURCES = tests/abi/bad/exits.c
tests_abi_bad_exits_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_good_la_SOURCES = tests/abi/bad/good.c
tests_abi_bad_good_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_kind_la_SOURCES = tests/abi/bad/kind.c
tests_abi_bad_kind_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_load_hangs_la_SOURCES = tests/abi/bad/load_hangs.c
tests_abi_bad_load_hangs_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_magic_la_SOURCES = tests/abi/bad/magic.c
tests_abi_bad_magic_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_major_la_SOURCES = tests/abi/bad/major.c
tests_abi_bad_major_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_minor_la_SOURCES = tests/abi/bad/minor.c
tests_abi_bad_minor_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_name_la_SOURCES = tests/abi/bad/name.c
tests_abi_bad_name_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_needs_la_SOURCES = tests/abi/bad/needs.c
tests_abi_bad_needs_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_no_name_la_SOURCES = tests/abi/bad/no_name.c
tests_abi_bad_no_name_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_no_open_la_SOURCES = tests/abi/bad/no_open.c
tests_abi_bad_no_open_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_no_symbol_la_SOURCES = tests/abi/bad/no_symbol.c
tests_abi_bad_no_symbol_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_open_fails_la_SOURCES = tests/abi/bad/open_fails.c
tests_abi_bad_open_fails_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_open_hangs_la_SOURCES = tests/abi/bad/open_hangs.c
tests_abi_bad_open_hangs_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_ops_hole_la_SOURCES = tests/abi/bad/ops_hole.c
tests_abi_bad_ops_hole_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_ops_null_la_SOURCES = tests/abi/bad/ops_null.c
tests_abi_bad_ops_null_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_ops_small_la_SOURCES = tests/abi/bad/ops_small.c
tests_abi_bad_ops_small_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_option_default_la_SOURCES = tests/abi/bad/option_default.c
tests_abi_bad_option_default_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_option_twice_la_SOURCES = tests/abi/bad/option_twice.c
tests_abi_bad_option_twice_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_option_type_la_SOURCES = tests/abi/bad/option_type.c
tests_abi_bad_option_type_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_options_la_SOURCES = tests/abi/bad/options.c
tests_abi_bad_options_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_reserved_la_SOURCES = tests/abi/bad/reserved.c
tests_abi_bad_reserved_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_size_big_la_SOURCES = tests/abi/bad/size_big.c
tests_abi_bad_size_big_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_size_small_la_SOURCES = tests/abi/bad/size_small.c
tests_abi_bad_size_small_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_tiny_la_SOURCES = tests/abi/bad/tiny.c
tests_abi_bad_tiny_la_LDFLAGS = $(bad_ldflags)
tests_abi_bad_undefined_la_SOURCES = tests/abi/bad/undefined.c
tests_abi_bad_undefined_la_LDFLAGS = $(bad_ldflags)

# Built from the frozen headers alone: AM_CPPFLAGS would offer the present ones.
tests_abi_1_0_old_la_SOURCES = tests/abi/1.0/old.c
tests_abi_1_0_old_la_CPPFLAGS = -I$(top_srcdir)/tests/abi/1.0/include
tests_abi_1_0_old_la_LDFLAGS = $(bad_ldflags)
EXTRA_DIST += \
	tests/abi/1.0/include/sluice/auth.h \
	tests/abi/1.0/include/sluice/backend.h \
	tests/abi/1.0/include/sluice/launcher.h \
	tests/abi/1.0/include/sluice/plugin.h \
	tests/abi/1.0/include/sluice/scheduler.h \
	tests/abi/1.0/include/sluice/store.h \
	tests/abi/1.0/include/sluice/types.h

check_PROGRAMS += tests/abi/test_layout
tests_abi_test_layout_SOURCES = tests/abi/test_layout.c

dist_check_SCRIPTS += tests/abi/headers.sh tests/abi/out_of_tree.sh
TESTS += tests/abi/headers.sh tests/abi/out_of_tree.sh

# Says what plugin_check_file says, for out_of_tree.sh; no test of its own.
noinst_PROGRAMS += tests/abi/look
tests_abi_look_SOURCES = tests/abi/look.c
tests_abi_look_LDADD = core/plugin/libplugin.a core/base/libbase.a $(JANSSON_LIBS) $(CRYPTO_LIBS) $(XXHASH_LIBS)
