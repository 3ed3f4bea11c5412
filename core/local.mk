# SPDX-License-Identifier: Apache-2.0
# Rooms in the order in which their arrows may point: a room uses only rooms above it.
include core/base/local.mk
include core/loop/local.mk
include core/http/local.mk
include core/plugin/local.mk
include core/sandbox/local.mk
include core/quota/local.mk
include core/conf/local.mk
include core/policy/local.mk
include core/identity/local.mk
include core/route/local.mk
include core/ledger/local.mk
include core/lease/local.mk
include core/sim/local.mk
include core/pool/local.mk
include core/fleet/local.mk
include core/gateway/local.mk
include core/control/local.mk
include core/daemon/local.mk
include core/agent/local.mk
include core/cli/local.mk
