/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - where something listens. */
#include "core/http/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"

static int parse_unix(sl_str path, struct http_address *out, sl_error *error)
{
	if (path.len == 0 || path.ptr[0] != '/' || memchr(path.ptr, 0, path.len))
		return error_set(error, SL_EINVAL, "unix:%.*s: write the socket's full path, as in unix:/run/x.sock", STR_ARG(path));
	if (path.len >= sizeof out->un.sun_path)
		return error_set(error, SL_EINVAL, "unix:%.*s: the path of a socket has at most %zu bytes", STR_ARG(path),
		                 sizeof out->un.sun_path - 1);
	out->un.sun_family = AF_UNIX;
	str_copy(out->un.sun_path, sizeof out->un.sun_path, path);
	out->len = (socklen_t) sizeof out->un;
	str_copy(out->host, sizeof out->host, STR("localhost"));
	return SL_OK;
}

/* "host:port" or "[v6]:port" taken apart; *port is absent where there is none. False: malformed. */
static bool split(sl_str text, sl_str *host, sl_str *port)
{
	const char *end = text.ptr + text.len, *colon;
	if (text.len && text.ptr[0] == '[') {
		const char *close = memchr(text.ptr, ']', text.len);
		if (!close)
			return false;
		*host = (sl_str){ text.ptr + 1, (size_t) (close - text.ptr) - 1 };
		colon = close + 1;
		if (colon < end && *colon != ':')
			return false;
	} else {
		colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
		colon = colon ? colon : end;
		*host = (sl_str){ text.ptr, (size_t) (colon - text.ptr) };
	}
	*port = colon < end ? (sl_str){ colon + 1, (size_t) (end - colon) - 1 } : (sl_str){ NULL, 0 };
	return host->len > 0;
}

static int resolve(sl_str text, sl_str host, const char *service, struct http_address *out, sl_error *error)
{
	char name[256];
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	if (!str_copy(name, sizeof name, host) || strlen(name) != host.len)
		return error_set(error, SL_EINVAL, "%.*s: this is no name of a host", STR_ARG(text));
	int rc = getaddrinfo(name, service, &hints, &found);
	if (rc != 0)
		return error_set(error, SL_EINVAL, "%.*s: cannot find %s: %s", STR_ARG(text), name, gai_strerror(rc));
	if (found->ai_addrlen > sizeof out->v6) {
		freeaddrinfo(found);
		return error_set(error, SL_EINVAL, "%.*s: %s has an address of an unknown kind", STR_ARG(text), name);
	}
	memcpy(&out->any, found->ai_addr, found->ai_addrlen);
	out->len = found->ai_addrlen;
	freeaddrinfo(found);
	return SL_OK;
}

static int parse_host(sl_str text, sl_str authority, uint64_t default_port, struct http_address *out, sl_error *error)
{
	sl_str host, port;
	uint64_t number = default_port;
	char service[8];
	if (!split(authority, &host, &port))
		return error_set(error, SL_EINVAL, "%.*s: write HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080, or unix:/PATH",
		                 STR_ARG(text));
	if (!port.ptr && default_port == 0)
		return error_set(error, SL_EINVAL, "%.*s: the port is missing: write HOST:PORT, as in 127.0.0.1:8080, or unix:/PATH",
		                 STR_ARG(text));
	if (port.ptr && !str_to_u64(port, 65535, &number))
		return error_set(error, SL_EINVAL, "%.*s: '%.*s' is no port: it is a number up to 65535", STR_ARG(text),
		                 STR_ARG(port));
	if (!str_copy(out->host, sizeof out->host, authority))
		return error_set(error, SL_EINVAL, "%.*s: the name of the host is too long", STR_ARG(text));
	snprintf(service, sizeof service, "%u", (unsigned) number);
	return resolve(text, host, service, out, error);
}

/* The path of http://host/base, which goes in front of every request's path. */
static int parse_base(sl_str text, sl_str base, struct http_address *out, sl_error *error)
{
	while (base.len && base.ptr[base.len - 1] == '/')
		base.len--;
	for (size_t i = 0; i < base.len; i++)
		if (base.ptr[i] <= ' ' || base.ptr[i] == 0x7f || strchr("?#\\", base.ptr[i]))
			return error_set(error, SL_EINVAL, "%.*s: the path has a character that cannot stand there", STR_ARG(text));
	if (!str_copy(out->base, sizeof out->base, base))
		return error_set(error, SL_EINVAL, "%.*s: the path has more than %zu bytes", STR_ARG(text), sizeof out->base - 1);
	return SL_OK;
}

/* Letters of a scheme count in both cases. */
static bool starts_nocase(sl_str text, sl_str prefix)
{
	return text.len >= prefix.len && str_eq_nocase((sl_str){ text.ptr, prefix.len }, prefix);
}

/* The length of a scheme other than ours, as in ftp://; 0: there is none. */
static size_t other_scheme(sl_str text)
{
	size_t n = 0;
	while (n < text.len && ((text.ptr[n] | 0x20) >= 'a' && (text.ptr[n] | 0x20) <= 'z'))
		n++;
	return n && text.len - n >= 3 && memcmp(text.ptr + n, "://", 3) == 0 ? n : 0;
}

int http_address_parse(sl_str text, struct http_address *out, sl_error *error)
{
	memset(out, 0, sizeof *out);
	if (str_starts(text, STR("unix:")))
		return parse_unix((sl_str){ text.ptr + 5, text.len - 5 }, out, error);
	if (starts_nocase(text, STR("https://")))
		return error_set(error, SL_ENOTSUP, "%.*s: TLS is not spoken here: name an http:// address, such as that of a "
		                 "local proxy that speaks it", STR_ARG(text));
	bool http = starts_nocase(text, STR("http://"));
	size_t scheme = http ? 0 : other_scheme(text);
	if (scheme)
		return error_set(error, SL_ENOTSUP, "%.*s: '%.*s' is not spoken here: write http://HOST:PORT/PATH, HOST:PORT or unix:/PATH",
		                 STR_ARG(text), (int) scheme, text.ptr);
	if (!http)
		return parse_host(text, text, 0, out, error);
	sl_str rest = { text.ptr + 7, text.len - 7 };
	const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
	size_t n = slash ? (size_t) (slash - rest.ptr) : rest.len;
	if (n && memchr(rest.ptr, '@', n))
		return error_set(error, SL_EINVAL, "an http:// address cannot carry a user's name or password");
	int rc = parse_base(text, (sl_str){ rest.ptr + n, rest.len - n }, out, error);
	return rc != SL_OK ? rc : parse_host(text, (sl_str){ rest.ptr, n }, 80, out, error);
}

void http_address_text(const struct http_address *address, char *out, size_t room)
{
	char name[INET6_ADDRSTRLEN] = "";
	switch (address->any.sa_family) {
	case AF_UNIX:
		snprintf(out, room, "unix:%s", address->un.sun_path);
		break;
	case AF_INET:
		inet_ntop(AF_INET, &address->v4.sin_addr, name, sizeof name);
		snprintf(out, room, "%s:%u", name, ntohs(address->v4.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &address->v6.sin6_addr, name, sizeof name);
		snprintf(out, room, "[%s]:%u", name, ntohs(address->v6.sin6_port));
		break;
	default:
		snprintf(out, room, "(no address)");
	}
}
