/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - one transfer of libcurl at a time; and files. */
#include "plugins/auth/jwt/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fetch {
	CURLM *multi;
	CURL *easy;  /* of the transfer that is under way, NULL: none */
	char *ca_file;
	unsigned timeout_ms;
	size_t len;
	char words[CURL_ERROR_SIZE]; /* libcurl's own about a failure */
	char text[DOCUMENT_MAX];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct fetch *fetch_new(const char *ca_file, unsigned timeout_ms)
{
	pthread_once(&once, init_library);
	struct fetch *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	f->timeout_ms = timeout_ms;
	f->multi = curl_multi_init();
	f->ca_file = ca_file ? strdup(ca_file) : NULL;
	if (f->multi && (!ca_file || f->ca_file))
		return f;
	fetch_free(f);
	return NULL;
}

static void drop(struct fetch *f)
{
	if (!f->easy)
		return;
	curl_multi_remove_handle(f->multi, f->easy);
	curl_easy_cleanup(f->easy);
	f->easy = NULL;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	drop(f);
	curl_multi_cleanup(f->multi);
	free(f->ca_file);
	free(f);
}

bool fetch_url_allowed(const char *url)
{
	static const char *const local[] = { "localhost", "127.0.0.1", "[::1]" };
	char *scheme = NULL, *host = NULL, *user = NULL;
	bool allowed = false;
	CURLU *parts = curl_url();
	if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_NO_USER) {
		allowed = strcmp(scheme, "https") == 0;
		for (size_t i = 0; i < sizeof local / sizeof local[0] && strcmp(scheme, "http") == 0; i++)
			allowed = allowed || strcmp(host, local[i]) == 0;
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(parts);
	return allowed;
}

static size_t on_bytes(char *data, size_t one, size_t n, void *arg)
{
	struct fetch *f = arg;
	if (n > sizeof f->text - f->len) {
		snprintf(f->words, sizeof f->words, "the document is longer than %d bytes", DOCUMENT_MAX);
		return 0; /* n is not 0 here, so this is an error */
	}
	memcpy(f->text + f->len, data, one * n);
	f->len += n;
	return n;
}

static int failed(sl_error *error, const char *words)
{
	snprintf(error->text, sizeof error->text, "%s", words);
	return error->code = SL_EUPSTREAM;
}

int fetch_start(struct fetch *f, const char *url, sl_error *error)
{
	drop(f);
	f->len = 0;
	f->words[0] = '\0';
	CURL *e = curl_easy_init();
	bool set = e && curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_USERAGENT, "sluice") == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long) f->timeout_ms) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->words) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK &&
	           curl_easy_setopt(e, CURLOPT_WRITEDATA, f) == CURLE_OK;
	if (set && f->ca_file)
		set = curl_easy_setopt(e, CURLOPT_CAINFO, f->ca_file) == CURLE_OK;
	if (!set || curl_multi_add_handle(f->multi, e) != CURLM_OK) {
		curl_easy_cleanup(e);
		return failed(error, "libcurl cannot make the request");
	}
	f->easy = e;
	return SL_OK;
}

static enum fetch_state end(struct fetch *f, CURLcode result, sl_error *error)
{
	long status = 0;
	char words[48];
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	drop(f);
	if (result != CURLE_OK) {
		failed(error, f->words[0] ? f->words : curl_easy_strerror(result));
		return FETCH_FAILED;
	}
	if (status == 200)
		return FETCH_DONE;
	snprintf(words, sizeof words, "the answer is HTTP status %ld", status);
	failed(error, words);
	return FETCH_FAILED;
}

enum fetch_state fetch_step(struct fetch *f, sl_error *error)
{
	int n;
	CURLMcode code = curl_multi_perform(f->multi, &n);
	if (code != CURLM_OK) {
		drop(f);
		failed(error, curl_multi_strerror(code));
		return FETCH_FAILED;
	}
	for (CURLMsg *message; (message = curl_multi_info_read(f->multi, &n));)
		if (message->msg == CURLMSG_DONE && message->easy_handle == f->easy)
			return end(f, message->data.result, error);
	return FETCH_RUNNING;
}

sl_str fetch_text(const struct fetch *f)
{
	return (sl_str){ f->text, f->len };
}

void fetch_wait(struct fetch *f, unsigned ms)
{
	curl_multi_poll(f->multi, NULL, 0, (int) ms, NULL);
}

void fetch_wake(struct fetch *f)
{
	curl_multi_wakeup(f->multi);
}

const char *fetch_file(const char *path, char *text, size_t *len)
{
	struct stat st;
	const char *why = NULL;
	ssize_t n = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return strerror(errno);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		why = "it is no regular file";
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		why = "others than its owner can write it; chmod 0644 it";
	for (*len = 0; !why && n > 0 && *len < DOCUMENT_MAX; *len += n > 0 ? (size_t) n : 0)
		n = read(fd, text + *len, DOCUMENT_MAX - *len);
	if (!why && n < 0)
		why = strerror(errno);
	else if (!why && *len == DOCUMENT_MAX)
		why = "it is too long";
	close(fd);
	return why;
}
