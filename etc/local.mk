# SPDX-License-Identifier: Apache-2.0
# Paths that configure knows only as make variables are put in here.
units = etc/sluiced.service etc/sluice-agent.service
systemdsystemunit_DATA += $(units)
EXTRA_DIST += etc/sluiced.service.in etc/sluice-agent.service.in etc/sluice.sysusers
CLEANFILES += $(units)
$(units): %: $(srcdir)/%.in Makefile
	@$(MKDIR_P) etc
	$(AM_V_GEN)sed -e 's|[@]sbindir[@]|$(sbindir)|g' -e 's|[@]sysconfdir[@]|$(sysconfdir)|g' \
		-e 's|[@]localstatedir[@]|$(localstatedir)|g' -e 's|[@]runstatedir[@]|$(runstatedir)|g' \
		$(srcdir)/$@.in >$@.new && mv $@.new $@

# Installed under the name of the package, as systemd wants it.
sysusers = etc/sluice.conf
sysusers_DATA += $(sysusers)
CLEANFILES += $(sysusers)
$(sysusers): $(srcdir)/etc/sluice.sysusers
	@$(MKDIR_P) etc
	$(AM_V_GEN)cp $(srcdir)/etc/sluice.sysusers $@
