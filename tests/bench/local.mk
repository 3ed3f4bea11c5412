# SPDX-License-Identifier: Apache-2.0
# race.py and count.py build load and engine themselves, as neither is needed in a plain build.
EXTRA_DIST += tests/bench/engine.c tests/bench/load.c
dist_noinst_SCRIPTS += tests/bench/race.py tests/bench/count.py
