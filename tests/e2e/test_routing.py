# SPDX-License-Identifier: Apache-2.0
"""Which replica gets a request: conversations go where their prefix is, and elsewhere when that is overloaded."""
import random
import threading

import pytest

from cache_engine import CacheEngine
from sluice_site import Site

HEAD = 'log { level = "info" }\n'


def site_of(engines, extra=""):
    urls = ", ".join(f'"{e.url}"' for e in engines)
    return Site(HEAD + f'model "m" {{ engine = "vllm", endpoints = {{ {urls} }}, concurrency = 32{extra} }}\n').start()


@pytest.fixture
def engines():
    made = [CacheEngine() for _ in range(3)]
    yield made
    for e in made:
        e.stop()


def words(seed, n):
    r = random.Random(seed)
    return " ".join(r.choice(["alpha", "beta", "gamma", "delta", "omega"]) + str(r.randrange(1000)) for _ in range(n))


class Chat:
    """A conversation that grows with each turn."""

    def __init__(self, site, key, seed, system=""):
        self.site, self.key, self.seed = site, key, seed
        self.messages = [{"role": "system", "content": system}] if system else []

    def turn(self, stream=True):
        self.messages.append({"role": "user", "content": words((self.seed, len(self.messages)).__repr__(), 120)})
        status, _, data = self.site.chat(self.key, messages=self.messages, stream=stream)
        assert status == 200, data
        self.messages.append({"role": "assistant", "content": "abcd"})


def test_conversations_stay_with_their_prefix(engines):
    with site_of(engines) as site:
        key = site.key()
        chats = [Chat(site, key, i) for i in range(6)]
        for turn in range(5):
            for c in chats:
                c.turn(stream=turn != 3)
        total, cached = sum(e.input for e in engines), sum(e.cached for e in engines)
        # Turns 2 to 5 find all of the turns before: (1 + 2 + 3 + 4) of 15 parts.
        assert cached / total > 0.6, (total, cached)
        told = site.metric("sluice_prefix_tokens_total", model="m", source="told")
        predicted = site.metric("sluice_prefix_tokens_total", model="m", source="predicted")
        assert told == cached
        assert abs(predicted - told) < 0.15 * told, (predicted, told)
        assert site.metric("sluice_first_token_prediction_error_ratio_count", model="m") == 24


def test_round_robin_does_not(engines):
    with site_of(engines, ', route = "round_robin"') as site:
        key = site.key()
        chats = [Chat(site, key, i) for i in range(4)]
        for _ in range(3):
            for c in chats:
                c.turn()
        total, cached = sum(e.input for e in engines), sum(e.cached for e in engines)
        assert cached / total < 0.3, (total, cached)


def test_a_shared_prefix_spreads_when_its_replica_is_overloaded(engines):
    with site_of(engines) as site:
        key = site.key()
        system = words("shared", 300)
        Chat(site, key, 0, system).turn()
        assert sorted(e.served for e in engines) == [0, 0, 1]
        threads = [threading.Thread(target=Chat(site, key, 1 + i, system).turn) for i in range(24)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sum(e.served for e in engines) == 25
        assert min(e.served for e in engines) >= 3, [e.served for e in engines]


def test_a_restarted_replica_is_believed_to_hold_nothing(engines):
    with site_of(engines[:2]) as site:
        key = site.key()
        chat = Chat(site, key, 1)
        for _ in range(3):
            chat.turn()
        home = max(engines[:2], key=lambda e: e.served)
        other = engines[0] if home is engines[1] else engines[1]
        assert (home.served, other.served) == (3, 0)
        home.stop()
        chat.turn()  # cannot be reached there: the other one takes it
        assert other.served == 1
        home.start()
        before = site.metric("sluice_prefix_tokens_total", model="m", source="predicted")
        cached = other.cached
        chat.turn()
        assert (home.served, other.served) == (3, 2), "the prefix is at the other one now"
        assert other.cached > cached
        assert site.metric("sluice_prefix_tokens_total", model="m", source="predicted") > before


def test_what_the_engine_tells_corrects_what_is_believed():
    engine = CacheEngine(blocks=100)
    try:
        with site_of([engine], ", index = 100000") as site:
            key = site.key()
            chats = [Chat(site, key, i) for i in range(8)]
            for _ in range(6):  # far more than it holds
                for c in chats:
                    c.turn()
            predicted = site.metric("sluice_prefix_tokens_total", model="m", source="predicted")
            for _ in range(2):
                for c in chats:
                    c.turn()
            late = site.metric("sluice_prefix_tokens_total", model="m", source="predicted") - predicted
            prompt = sum(len(str(c.messages)) for c in chats) / 4 * 2
            assert late < 0.5 * prompt, "it has learned that nothing stays there"
    finally:
        engine.stop()


def test_tools_in_front_are_a_part_of_the_prefix(engines):
    def tools(name):
        return [{"type": "function", "function": {"name": name, "description": words(name, 50), "parameters": {}}}]

    with site_of(engines[:1]) as site:
        key = site.key()
        message = [{"role": "user", "content": words("t", 100)}]
        for name in ("one", "two", "one"):
            before = site.metric("sluice_prefix_tokens_total", model="m", source="predicted")
            assert site.chat(key, messages=message, tools=tools(name))[0] == 200
            gained = site.metric("sluice_prefix_tokens_total", model="m", source="predicted") - before
            assert (gained > 0) == (len(site.usage_rows()) == 3), name
