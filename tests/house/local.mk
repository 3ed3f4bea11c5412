# SPDX-License-Identifier: Apache-2.0
dist_check_SCRIPTS += tests/house/configure.sh tests/house/style.sh
TESTS += tests/house/configure.sh tests/house/style.sh
