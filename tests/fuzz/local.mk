# SPDX-License-Identifier: Apache-2.0
# With --enable-fuzzing the targets are fuzzers; without it they go once over their corpora in `make check`.
fuzz_targets = tests/fuzz/fuzz_http tests/fuzz/fuzz_sse tests/fuzz/fuzz_body tests/fuzz/fuzz_messages
if ENABLE_AUTH_JWT
fuzz_targets += tests/fuzz/fuzz_jwt
endif
if FUZZING
noinst_PROGRAMS += $(fuzz_targets)
fuzz_main =
else
check_PROGRAMS += $(fuzz_targets)
fuzz_main = tests/fuzz/replay.c tests/unit/tap.h
endif
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/replay.c
dist_noinst_SCRIPTS += tests/fuzz/run.sh
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz_http.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_http_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_http_LDADD = core/http/libhttp.a core/base/libbase.a
tests_fuzz_fuzz_sse_SOURCES = tests/fuzz/fuzz_sse.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_sse_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_sse_LDADD = core/http/libhttp.a core/base/libbase.a
tests_fuzz_fuzz_body_SOURCES = tests/fuzz/fuzz_body.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_body_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_body_LDADD = core/gateway/libbody.a core/base/libbase.a $(JANSSON_LIBS)
tests_fuzz_fuzz_messages_SOURCES = tests/fuzz/fuzz_messages.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_messages_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_messages_LDADD = core/gateway/libmessages.a core/gateway/libbody.a core/base/libbase.a $(JANSSON_LIBS)
tests_fuzz_fuzz_jwt_SOURCES = tests/fuzz/fuzz_jwt.c tests/fuzz/fuzz.h $(jwt_parts) $(fuzz_main)
tests_fuzz_fuzz_jwt_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_jwt_LDADD = $(JANSSON_LIBS) $(CRYPTO_LIBS)
