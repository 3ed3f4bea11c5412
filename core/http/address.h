/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - where something listens: "127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock", "http://host:port/base". */
#ifndef CORE_HTTP_ADDRESS_H
#define CORE_HTTP_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sluice/types.h>

struct http_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	};
	socklen_t len;
	char host[280];  /* value of the Host header: "127.0.0.1:8080", "localhost" for a Unix socket */
	char base[128];  /* path prefix of an http:// address, without a trailing slash: "" or "/openai" */
};

/* Resolves names (blocking: configuration time only). https is refused with a sentence. */
int http_address_parse(sl_str text, struct http_address *out, sl_error *error);
/* For people: "127.0.0.1:8080" or "unix:/run/x.sock". */
void http_address_text(const struct http_address *address, char *out, size_t room);

#endif
