# SPDX-License-Identifier: Apache-2.0
include plugins/auth/jwt/local.mk
include plugins/auth/keys/local.mk
include plugins/auth/peercred/local.mk
include plugins/launcher/exec/local.mk
include plugins/scheduler/fair/local.mk
include plugins/scheduler/fair/placement.mk
include plugins/scheduler/fifo/local.mk
include plugins/store/sqlite/local.mk
