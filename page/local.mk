# SPDX-License-Identifier: Apache-2.0
# The web page: served as it stands here, without a step in between.
sluicepage_DATA = \
	page/index.html
EXTRA_DIST += $(sluicepage_DATA)
