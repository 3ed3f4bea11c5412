/* SPDX-License-Identifier: Apache-2.0 */
/* test_sse.c - events, whole and in every split. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "core/http/sse.h"

static const char *const streams[] = {
	"data: a\n\ndata: b\n\n",
	"data: a\r\n\r\ndata: b\r\n\r\n",
	"data: a\r\rdata: b\r\rx",
	"data: a\n\r\ndata: b\r\n\n",
	"data: a\r\n\rdata: b\n\rdata: c\n\n",
	": ping\n\n\n\r\n\rdata: a\n\n",
	"\357\273\277data: a\n\n",
	"event: x\ndata: {\ndata: }\nid: 4\n\n:c\n\n",
	"data\n\ndata:\n\n",
	"data: \xe4\xb8\xad\xe6\x96\x87 and a long line that is not over after sixteen bytes\n\n",
	"\n\n\n\n",
	"data: never ended\n",
};
enum { ENDS_MAX = 16 };

/* Ends of the events when the stream arrives in parts of `step` bytes. The buffer is exactly as large as what has
 * come, and what was taken leaves it. */
static unsigned ends(sl_str text, size_t step, size_t ends_at[ENDS_MAX])
{
	size_t have = 0, scanned = 0, taken = 0;
	unsigned n = 0;
	while (have < text.len) {
		have = have + step < text.len ? have + step : text.len;
		bool last = have == text.len;
		for (;;) {
			size_t len = have - taken;
			char *part = malloc(len ? len : 1);
			cr_assert_not_null(part);
			memcpy(part, text.ptr + taken, len);
			size_t event = sse_event(part, len, &scanned, last);
			free(part);
			if (!event)
				break;
			cr_assert(event <= len && n < ENDS_MAX);
			cr_assert_eq(scanned, 0);
			taken += event;
			ends_at[n++] = taken;
		}
		cr_assert_leq(scanned, have - taken);
	}
	return n;
}

Test(sse, every_split)
{
	for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
		sl_str text = str_of(streams[i]);
		size_t whole[ENDS_MAX] = { 0 };
		unsigned n = ends(text, text.len, whole);
		for (size_t step = 1; step < text.len; step++) {
			size_t split[ENDS_MAX] = { 0 };
			cr_assert_eq(ends(text, step, split), n, "stream %zu in steps of %zu", i, step);
			cr_assert_arr_eq(split, whole, sizeof whole, "stream %zu in steps of %zu", i, step);
		}
	}
}

Test(sse, where_events_end)
{
	static const struct { const char *text; bool last; size_t end; } cases[] = {
		{ "data: a\n\ndata: b\n\n", false, 9 },
		{ "data: a\r\n\r\nx", false, 11 },
		{ "data: a\r\r", false, 0 },  /* LF may follow */
		{ "data: a\r\r", true, 9 },
		{ "data: a\r\rx", false, 9 },
		{ "data: a\r\r\nx", false, 10 },
		{ "data: a\n", false, 0 },
		{ "data: a\n", true, 0 },     /* an event that is not ended does not count */
		{ "\n\ndata: a\n\n", false, 11 },
		{ "\n\n", true, 0 },
		{ "", true, 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t scanned = 0;
		cr_expect_eq(sse_event(cases[i].text, strlen(cases[i].text), &scanned, cases[i].last), cases[i].end, "case %zu", i);
	}
}

Test(sse, what_events_carry)
{
	static const struct { const char *event, *data; } cases[] = {
		{ "data: a\n\n", "a" },
		{ "data:a\r\n\r\n", "a" },
		{ "data:  a \n\n", " a " },
		{ "\ndata: a\r\r", "a" },
		{ "data\n\n", "" },
		{ "data:\n\n", "" },
		{ "data: a\ndata: b\ndata\n\n", "a\nb\n" },
		{ "data\ndata: b\n\n", "\nb" },
		{ ": ping\n\n", NULL },
		{ "event: error\ndata: {}\n\n", "{}" },
		{ "data: {}\nevent:a\nevent: b\n\n", "{}" },
		{ "database: x\nData: y\n data: z\n\n", NULL },
		{ "\357\273\277data: a\n\n", "a" },
		{ "events: a\nevent\n\n", NULL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char scratch[64];
		sl_str event = str_of(cases[i].event), data = sse_data(event, scratch);
		cr_expect_eq(data.ptr == NULL, cases[i].data == NULL, "case %zu: data is there or not", i);
		cr_expect(str_eq(data, str_of(cases[i].data)), "case %zu: data '%.*s'", i, STR_ARG(data));
	}
	sl_str event = STR("data: a\n\n");
	cr_expect_eq(sse_data(event, NULL).ptr, event.ptr + 6, "one line is a span of the event");
}
