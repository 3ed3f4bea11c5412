# SPDX-License-Identifier: Apache-2.0
# Against an installed tree, by tests/run.sh. fake_control.py serves tests/cli too.
EXTRA_DIST += \
	tests/e2e/browser.mjs \
	tests/e2e/cache_engine.py \
	tests/e2e/conftest.py \
	tests/e2e/door_engine.py \
	tests/e2e/fake_control.py \
	tests/e2e/fake_engine.py \
	tests/e2e/issuer.py \
	tests/e2e/sluice_site.py \
	tests/e2e/test_aimock.py \
	tests/e2e/test_bad_input.py \
	tests/e2e/test_bill.py \
	tests/e2e/test_budget.py \
	tests/e2e/test_check.py \
	tests/e2e/test_clients.py \
	tests/e2e/test_fair.py \
	tests/e2e/test_install.py \
	tests/e2e/test_crash.py \
	tests/e2e/test_engines.py \
	tests/e2e/test_jwt.py \
	tests/e2e/test_limits.py \
	tests/e2e/test_lost.py \
	tests/e2e/test_messages.py \
	tests/e2e/test_operating.py \
	tests/e2e/test_output.py \
	tests/e2e/test_own_use.py \
	tests/e2e/test_page.py \
	tests/e2e/test_pool.py \
	tests/e2e/test_pool_crash.py \
	tests/e2e/test_pool_tree.py \
	tests/e2e/test_reload.py \
	tests/e2e/test_responses.py \
	tests/e2e/test_retention.py \
	tests/e2e/test_routing.py \
	tests/e2e/test_suspend.py \
	tests/e2e/test_upstream.py
