# SPDX-License-Identifier: Apache-2.0
include backends/common/local.mk
include backends/cuda/local.mk
include backends/hip/local.mk
include backends/sim/local.mk
