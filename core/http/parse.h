/* SPDX-License-Identifier: Apache-2.0 */
/* parse.h - HTTP/1.1 heads and chunked bodies, parsed in place, without memory of its own.
 *
 * Strict where leniency is a hole (RFC 9112): bare LF, obs-fold, space before a colon, two framings, a second
 * Host and their kin are refused, with the answer that the client gets. */
#ifndef CORE_HTTP_PARSE_H
#define CORE_HTTP_PARSE_H

#include <stdbool.h>
#include <sluice/types.h>

enum { HTTP_HEADERS_MAX = 100, HTTP_LINE_MAX = 8 * 1024, HTTP_HEAD_MAX = 32 * 1024, HTTP_EXTENSIONS_MAX = 1024 };

/* Why a message is refused: the status to answer with, a stable code, a sentence. Static text. */
struct http_reject {
	int status;       /* 400, 414, 417, 431, 501, 505 */
	const char *code; /* "invalid_framing", "invalid_header", "uri_too_long", "headers_too_large" ... */
	const char *message;
};

struct http_header {
	sl_str name, value; /* value without surrounding white space */
};

struct http_head {
	/* request */
	sl_str method, target; /* target as it came */
	sl_str path, query;    /* parts of target; query without '?', absent when there is none */
	/* response */
	int status;
	/* both */
	int minor;              /* HTTP/1.minor, 0 or 1 */
	bool keep_alive;        /* by version and Connection */
	bool connection_close;  /* Connection has the word close */
	bool connection_names;  /* Connection names other headers */
	bool chunked;
	bool expect_continue;   /* Expect: 100-continue */
	bool has_length;
	uint64_t content_length;
	size_t length;          /* bytes of the head, blank line included */
	unsigned n_headers;
	struct http_header headers[HTTP_HEADERS_MAX];
};

enum http_parse { HTTP_REJECTED = -1, HTTP_INCOMPLETE = 0, HTTP_COMPLETE = 1 };

/* Parses a request head at data[0..len). INCOMPLETE: read more (and call again with all bytes; a head above the
 * limits is REJECTED as soon as that is known). Spans in *out point into data. One leading CRLF is skipped and
 * counted in out->length. The path is not decoded. */
enum http_parse http_parse_request(const char *data, size_t len, struct http_head *out, struct http_reject *why);

/* The same for an engine's response. REJECTED means 502 upstream_protocol; why->message says what was wrong.
 * Of two equal lengths one is taken; transfer codings other than chunked, 101 and two framings are refused.
 * A response without length and chunked coding has a body up to the end of the connection, unless bodiless. */
enum http_parse http_parse_response(const char *data, size_t len, struct http_head *out, struct http_reject *why);

/* Do these bytes begin a HEAD request? Also of a head that is refused or not whole: its answer has no body either. */
bool http_is_head_request(sl_str data);

/* The first header of that name (any case), absent {NULL,0} when there is none. */
sl_str http_header(const struct http_head *head, const char *name);
/* Hop by hop (RFC 9110 7.6.1), or named by the head's own Connection header: not to be passed on. */
bool http_is_hop_header(const struct http_head *head, sl_str name);

/* Decoder of a chunked body. Zero-initialised is the start. */
struct http_chunked {
	uint64_t left;       /* of the current chunk */
	uint32_t state;
	uint32_t extensions; /* bytes of extensions so far */
	uint32_t trailers;   /* bytes of trailers so far */
};

/* Reads on from data[0..len). Sets *used to the bytes consumed and *piece to a part of the body inside data
 * (len 0: none in what was consumed). One piece a call at most: call again while it returns INCOMPLETE and *used
 * is above 0. COMPLETE: the body and its trailers (dropped) have ended right behind the consumed bytes. REJECTED:
 * *piece is what came before the fault, *used is 0. */
enum http_parse http_chunked_read(struct http_chunked *c, const char *data, size_t len, size_t *used, sl_str *piece,
                                  struct http_reject *why);

#endif
