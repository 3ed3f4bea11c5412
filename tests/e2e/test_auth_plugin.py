# SPDX-License-Identifier: Apache-2.0
"""A site's own auth plugin, built against the installed headers alone: answers that come later, twice, or never."""
import json
import os
import socket
import subprocess
import threading
import time

import pytest
from conftest import model
from sluice_site import ROOT, Site

SOURCE = r'''
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sluice/auth.h>

struct later { const sl_host *host; sl_token token; int twice, refuse; };

static const sl_host *the_host;

static void *answer(void *arg)
{
	struct later *l = arg;
	sl_identity who = { .size = sizeof who, .roles = SL_ROLE_INFER, .uid = UINT32_MAX, .gid = UINT32_MAX };
	sl_error no = { .code = SL_EAUTH, .text = "Not you." };
	strcpy(who.tenant, "default");
	usleep(100000);
	if (l->refuse)
		l->host->token_fail(l->host, l->token, &no);
	else
		l->host->token_done(l->host, l->token, &who, sizeof who);
	if (l->twice)
		l->host->count(l->host, l->host->token_done(l->host, l->token, &who, sizeof who) == SL_ESTALE ? "stale" : "taken", 1);
	free(l);
	return NULL;
}

static int open_plugin(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) conf; (void) error;
	the_host = host;
	*self = &the_host;
	return SL_OK;
}

static void close_plugin(void *self) { (void) self; }

static int has(sl_str s, const char *word) { return s.ptr && s.len == strlen(word) && memcmp(s.ptr, word, s.len) == 0; }

static int authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out, sl_error *error)
{
	(void) self; (void) out; (void) error;
	int never = has(request->api_key, "never"), twice = has(request->api_key, "twice"), refuse = has(request->api_key, "refuse");
	if (!never && !twice && !refuse && !has(request->api_key, "late"))
		return SL_NOT_MINE;
	if (never)
		return SL_PENDING;
	struct later *l = malloc(sizeof *l);
	*l = (struct later){ the_host, token, twice, refuse };
	pthread_t thread;
	if (pthread_create(&thread, NULL, answer, l) == 0)
		pthread_detach(thread);
	return SL_PENDING;
}

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = authenticate };
SL_EXPORT const sl_plugin sluice_plugin = { SL_PLUGIN_HEAD(SL_KIND_AUTH), .name = "slow", .version = "1", .summary = "slow",
	.open = open_plugin, .close = close_plugin, .ops = &ops };
'''
BODY = {"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def slow(engine):
    with Site("") as s:
        source = s.write("slow.c", SOURCE)
        plugin = os.path.join(s.folder, "slow.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-pthread", "-I", os.path.join(ROOT, "include"), "-o", plugin, source], check=True)
        os.chmod(plugin, 0o755)
        s.configure(f'workers(2)\nplugin "auth/{plugin}" {{}}\nplugin "auth/keys" {{}}\nplugin "auth/peercred" {{}}\n' + model(engine))
        s.start()
        yield s


def ask(s, key):
    return s.http("POST", "/v1/chat/completions", BODY, {"x-api-key": key}, timeout=20)


def test_later(slow):
    assert [ask(slow, "late")[0] for _ in range(3)] == [200] * 3
    status, _, data = ask(slow, "refuse")
    assert status == 401 and b"Not you." in data
    key = slow.key()
    assert slow.chat(key, max_tokens=2)[0] == 200, "what is not its own goes to the next"


def test_many_at_once(slow):
    got = []
    threads = [threading.Thread(target=lambda: got.append(ask(slow, "late")[0])) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [200] * 40


def test_twice_is_counted_and_harmless(slow):
    assert ask(slow, "twice")[0] == 200
    time.sleep(0.3)
    assert slow.metric("sluice_plugin_events_total", event="stale") >= 1


def test_never_is_bounded(slow):
    begin = time.monotonic()
    status, _, data = ask(slow, "never")
    assert status == 503 and json.loads(data)["error"]["code"] == "auth_unavailable"
    assert time.monotonic() - begin < 10


def test_client_gone_meanwhile(slow):
    body = json.dumps(BODY).encode()
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", slow.port))
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: late\r\ncontent-type: application/json\r\n"
                  b"content-length: %d\r\n\r\n" % len(body) + body)
        s.close()
    time.sleep(0.5)
    assert ask(slow, "late")[0] == 200 and slow.process.poll() is None
