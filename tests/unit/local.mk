# SPDX-License-Identifier: Apache-2.0
if HAVE_CRITERION
include tests/unit/base/local.mk
include tests/unit/identity/local.mk
include tests/unit/ledger/local.mk
include tests/unit/quota/local.mk
include tests/unit/store/local.mk
include tests/bench/rooms.mk
include tests/unit/fleet/local.mk
include tests/unit/control/local.mk
include tests/unit/route/local.mk
include tests/unit/http/local.mk
include tests/unit/gateway/local.mk
include tests/unit/cli/local.mk
include tests/unit/agent/local.mk
include tests/unit/sandbox/local.mk
include tests/unit/conf/local.mk
include tests/unit/policy/local.mk
include tests/unit/lease/local.mk
include tests/unit/sim/local.mk
include tests/unit/fair/placement.mk
include tests/unit/pool/local.mk
include tests/unit/plugin/local.mk
include tests/unit/jwt/local.mk
endif
include tests/abi/local.mk
