# SPDX-License-Identifier: Apache-2.0
# The web page: served as it stands here, without a step in between.
sluicepage_DATA = \
	page/api.js \
	page/app.js \
	page/chart.js \
	page/dom.js \
	page/format.js \
	page/home.js \
	page/icon.svg \
	page/index.html \
	page/keys.js \
	page/models.js \
	page/playground.js \
	page/pool.js \
	page/style.css \
	page/theme.js \
	page/usage.js
EXTRA_DIST += $(sluicepage_DATA)
