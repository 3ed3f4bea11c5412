# SPDX-License-Identifier: Apache-2.0
# Parts that several backends are built with; a plugin of its own it is not.
common_backend_sources = \
	backends/common/helper.c backends/common/helper.h \
	backends/common/text.c backends/common/text.h
