/* SPDX-License-Identifier: Apache-2.0 */
/* test_address.c - addresses as people write them. */
#include <criterion/criterion.h>

#include "core/base/str.h"
#include "core/http/address.h"

Test(address, good)
{
	static const struct { const char *text, *back, *host, *base; } cases[] = {
		{ "127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080", "" },
		{ "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0", "" },
		{ "[::1]:65535", "[::1]:65535", "[::1]:65535", "" },
		{ "unix:/run/sluice/x.sock", "unix:/run/sluice/x.sock", "localhost", "" },
		{ "http://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "" },
		{ "http://127.0.0.1:9/", "127.0.0.1:9", "127.0.0.1:9", "" },
		{ "http://127.0.0.1:9/openai/v2//", "127.0.0.1:9", "127.0.0.1:9", "/openai/v2" },
		{ "http://[::1]/a", "[::1]:80", "[::1]", "/a" },
		{ "Http://127.0.0.1:9/A", "127.0.0.1:9", "127.0.0.1:9", "/A" },
		{ "HTTP://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct http_address address;
		sl_error error = { 0 };
		char back[128];
		cr_assert_eq(http_address_parse(str_of(cases[i].text), &address, &error), SL_OK, "%s: %s", cases[i].text, error.text);
		http_address_text(&address, back, sizeof back);
		cr_expect_str_eq(back, cases[i].back, "%s: %s", cases[i].text, back);
		cr_expect_str_eq(address.host, cases[i].host, "%s: %s", cases[i].text, address.host);
		cr_expect_str_eq(address.base, cases[i].base, "%s: %s", cases[i].text, address.base);
		cr_expect(address.len > 0 && address.len <= sizeof address.un, "%s", cases[i].text);
	}
}

Test(address, bad)
{
	static const struct { const char *text, *word; } cases[] = {
		{ "", "HOST:PORT" }, { ":8080", "HOST:PORT" }, { "8080", "port is missing" }, { "127.0.0.1", "port is missing" },
		{ "127.0.0.1:", "no port" }, { "127.0.0.1:http", "no port" }, { "127.0.0.1:65536", "no port" }, { "127.0.0.1:-1", "no port" },
		{ "[::1:80", "HOST:PORT" }, { "[::1]80", "HOST:PORT" }, { "[]:80", "HOST:PORT" }, { "::1:80", "HOST:PORT" },
		{ "unix:", "full path" }, { "unix:run/x", "full path" }, { "https://a", "TLS" }, { "HTTPS://a", "TLS" },
		{ "ftp://host/x", "'ftp' is not spoken here: write http://" }, { "ws://127.0.0.1:80", "'ws' is not spoken" }, { "http://", "HOST:PORT" },
		{ "http:///x", "HOST:PORT" }, { "http://u:secret@127.0.0.1/", "password" }, { "http://127.0.0.1/a b", "path" },
		{ "http://127.0.0.1/a?b", "path" }, { "127.0.0.256.1:80", "cannot find" },
		{ "unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678", "at most" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct http_address address;
		sl_error error = { 0 };
		cr_assert_neq(http_address_parse(str_of(cases[i].text), &address, &error), SL_OK, "%s", cases[i].text);
		if (strcmp(cases[i].text, "::1:80") != 0)
			cr_expect_not_null(strstr(error.text, cases[i].word), "%s: %s", cases[i].text, error.text);
		cr_expect_null(strstr(error.text, "secret"), "no password in an error");
	}
}
