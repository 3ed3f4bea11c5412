# SPDX-License-Identifier: Apache-2.0
# Paths that configure knows only as make variables are put in here.
systemdsystemunit_DATA += etc/sluice-agent.service
EXTRA_DIST += etc/sluice-agent.service.in
CLEANFILES += etc/sluice-agent.service
etc/sluice-agent.service: etc/sluice-agent.service.in Makefile
	@$(MKDIR_P) etc
	$(AM_V_GEN)sed -e 's|[@]sbindir[@]|$(sbindir)|g' -e 's|[@]sysconfdir[@]|$(sysconfdir)|g' \
		-e 's|[@]localstatedir[@]|$(localstatedir)|g' -e 's|[@]runstatedir[@]|$(runstatedir)|g' \
		$(srcdir)/etc/sluice-agent.service.in >$@.new && mv $@.new $@
