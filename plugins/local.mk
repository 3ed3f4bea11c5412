# SPDX-License-Identifier: Apache-2.0
include plugins/store/sqlite/local.mk
