# SPDX-License-Identifier: Apache-2.0
# race.py builds its load and its engine itself, as it needs neither of them in a plain build.
EXTRA_DIST += tests/bench/engine.c tests/bench/load.c
dist_noinst_SCRIPTS += tests/bench/race.py
