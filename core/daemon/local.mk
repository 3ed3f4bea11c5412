# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += sluiced
sluiced_SOURCES = \
	core/daemon/daemon.h \
	core/daemon/fit.c \
	core/daemon/main.c \
	core/daemon/options.c \
	core/daemon/plugins.c \
	core/daemon/prices.c \
	core/daemon/privileges.c \
	core/daemon/reload.c \
	core/daemon/restore.c \
	core/daemon/restore_charges.c \
	core/daemon/rooms.c \
	core/daemon/terms.c \
	core/daemon/watchdog.c
sluiced_LDADD = \
	core/control/libcontrol.a core/gateway/libgateway.a core/gateway/libmessages.a core/gateway/libbody.a core/fleet/libfleet.a core/pool/libpool.a \
	core/lease/liblease.a core/ledger/libledger.a core/route/libroute.a core/identity/libidentity.a core/policy/libpolicy.a \
	core/conf/libconf.a core/quota/libquota.a core/sandbox/libsandbox.a core/plugin/libplugin.a core/http/libhttp.a \
	core/loop/libloop.a core/base/libbase.a $(UV_LIBS) $(JANSSON_LIBS) $(LUA_LIBS) $(CRYPTO_LIBS) -ldl -lm
