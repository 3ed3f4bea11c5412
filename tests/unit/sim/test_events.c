/* SPDX-License-Identifier: Apache-2.0 */
/* test_events.c - the earliest event first, equal ones in their order. */
#include <criterion/criterion.h>

#include "core/sim/events.h"

Test(events, come_by_time_then_by_the_order_they_were_put)
{
	struct sim_events events = { 0 };
	struct sim_event event, last = { .at = -1 };
	uint32_t n = 0;
	for (uint32_t i = 0; i < 5000; i++) {
		cr_assert(sim_events_put(&events, (int64_t) (i * UINT32_C(2654435761) % 97), 1, i));
		if (i % 3 == 0) { /* between them some go out */
			cr_assert(sim_events_next(&events, &event));
			n++;
		}
	}
	for (; sim_events_next(&events, &event); n++) {
		cr_assert(event.at > last.at || (event.at == last.at && event.job > last.job));
		last = event;
	}
	cr_expect_eq(n, 5000);
	sim_events_free(&events);
}
