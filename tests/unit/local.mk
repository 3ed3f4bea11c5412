# SPDX-License-Identifier: Apache-2.0
if HAVE_CRITERION
include tests/unit/base/local.mk
include tests/unit/fleet/local.mk
include tests/unit/route/local.mk
endif
