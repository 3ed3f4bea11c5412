# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/pool/libpool.a
core_pool_libpool_a_SOURCES = \
	core/pool/agent.c core/pool/budget.c core/pool/change.c core/pool/charge.c core/pool/inner.h core/pool/mark.c core/pool/pace.c \
	core/pool/pause.c \
	core/pool/pool.c core/pool/pool.h core/pool/request.c \
	core/pool/round.c core/pool/settle.c core/pool/show.c core/pool/start.c core/pool/watch.c
