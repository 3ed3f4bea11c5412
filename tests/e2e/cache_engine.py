# SPDX-License-Identifier: Apache-2.0
"""An engine with a prefix cache: one prompt at a time, whose time goes by what of it is not cached; tells cached_tokens.

A token is four bytes of the messages as they came. The cache holds whole blocks of 16 tokens, and loses the tail of
the least recently used sequence first."""
import asyncio
import hashlib
import json
import threading

BLOCK = 64  # bytes


class CacheEngine:
    def __init__(self, blocks=2000, ms_per_token=0.05, tells=True):
        self.blocks, self.ms_per_token, self.tells = blocks, ms_per_token, tells
        self.cache = {}  # key -> None, in the order of eviction
        self.served = 0
        self.input = self.cached = 0
        self.port = 0
        self.start()

    def start(self):
        """Begins with an empty cache, on the same port as before."""
        self.cache.clear()
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ready,), daemon=True)
        self.thread.start()
        assert ready.wait(5)

    def run(self, ready):
        asyncio.set_event_loop(self.loop)

        async def listen():
            self.turn = asyncio.Lock()
            self.writers = set()
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=256)
            self.port = self.server.sockets[0].getsockname()[1]
            ready.set()

        self.loop.run_until_complete(listen())
        self.loop.run_forever()

    def stop(self):
        def end():
            self.server.close()
            for w in self.writers:
                w.transport.abort()
            self.loop.call_later(0.05, self.loop.stop)

        self.loop.call_soon_threadsafe(end)
        self.thread.join(5)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def keys(self, prompt):
        h, keys = hashlib.sha256(), []
        for i in range(0, len(prompt) - BLOCK + 1, BLOCK):
            h.update(prompt[i:i + BLOCK])
            keys.append(h.digest()[:12])
        return keys

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                               if line.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                if head.startswith(b"GET"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                await self.answer(json.loads(body), body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def answer(self, doc, body, writer):
        start = body.index(b"[", body.index(b'"messages"'))
        prompt = body[start:body.rindex(b"]") + 1]
        keys = self.keys(prompt)
        async with self.turn:
            hit = 0
            while hit < len(keys) and keys[hit] in self.cache:
                hit += 1
            tokens, cached = len(prompt) // 4, min(hit * BLOCK // 4, len(prompt) // 4 - 1)
            await asyncio.sleep((tokens - cached) * self.ms_per_token / 1000)
        for key in reversed(keys):  # the tail is evicted first
            self.cache.pop(key, None)
            self.cache[key] = None
        while len(self.cache) > self.blocks:
            self.cache.pop(next(iter(self.cache)))
        self.served += 1
        self.input += tokens
        self.cached += cached
        usage = {"prompt_tokens": tokens, "completion_tokens": 4, "total_tokens": tokens + 4}
        if self.tells:
            usage["prompt_tokens_details"] = {"cached_tokens": cached}

        def event(data):
            text = b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(text), text))

        if not doc.get("stream"):
            data = json.dumps({"id": "x", "object": "chat.completion", "model": doc["model"], "usage": usage,
                               "choices": [{"index": 0, "finish_reason": "stop",
                                            "message": {"role": "assistant", "content": "a b c d"}}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for i in range(4):
                event({"id": "x", "choices": [{"index": 0, "delta": {"content": "abcd"[i]},
                                               "finish_reason": "stop" if i == 3 else None}]})
                await asyncio.sleep(0.002)
            if (doc.get("stream_options") or {}).get("include_usage"):
                event({"id": "x", "choices": [], "usage": usage})
            event(b"[DONE]")
            writer.write(b"0\r\n\r\n")
        await writer.drain()
