# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += core/lease/liblease.a
core_lease_liblease_a_SOURCES = \
	core/lease/charge.c core/lease/cohort.c core/lease/cohort.h \
	core/lease/device.c core/lease/device.h \
	core/lease/lease.c core/lease/lease.h \
	core/lease/plan.c core/lease/plan.h core/lease/plan_check.c core/lease/plan_why.c \
	core/lease/record.c \
	core/lease/terms.c core/lease/terms.h
