# SPDX-License-Identifier: Apache-2.0
if HAVE_CRITERION
include tests/unit/base/local.mk
include tests/unit/http/local.mk
include tests/unit/gateway/local.mk
include tests/unit/cli/local.mk
endif
