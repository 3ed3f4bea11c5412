# SPDX-License-Identifier: Apache-2.0
"""An engine that misbehaves on demand: the first message says how, as words.

    n=5          five tokens            gap=0.01     seconds between them
    fault=...    see Engine.answer      status=500   answers with that status
Everything that it was sent is kept in `requests` (head bytes, body bytes)."""
import asyncio
import json
import os
import threading


class Engine:
    def __init__(self, unix=None):
        self.unix = unix
        self.requests = []
        self.open = 0
        self.cancelled = 0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait(5)

    def run(self):
        asyncio.set_event_loop(self.loop)

        async def start():
            if self.unix:
                self.server = await asyncio.start_unix_server(self.serve, self.unix)
                os.chmod(self.unix, 0o666)
            else:
                self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
                self.port = self.server.sockets[0].getsockname()[1]
            self.ready.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()

    @property
    def url(self):
        return f"unix:{self.unix}" if self.unix else f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    async def serve(self, reader, writer):
        try:
            while await self.one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cancelled += 1
        finally:
            try:
                writer.close()
            except Exception:
                pass

    async def one(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        body = await reader.readexactly(length)
        self.requests.append((head, body))
        doc = json.loads(body) if body else {}
        content = ""
        if doc.get("messages"):
            content = doc["messages"][0].get("content") or ""
        elif isinstance(doc.get("prompt"), str):
            content = doc["prompt"]
        words = dict(w.split("=", 1) for w in str(content).split() if "=" in w)
        self.open += 1
        try:
            return await self.answer(head, doc, words, reader, writer)
        finally:
            self.open -= 1

    async def answer(self, head, doc, words, reader, writer):
        fault = words.get("fault")
        n = min(int(words.get("n", 5)), doc.get("max_tokens") or 1 << 30)
        gap = float(words.get("gap", 0))
        path = head.split(b" ")[1].decode()

        def plain(status, data, extra=""):
            if not isinstance(data, bytes):
                data = json.dumps(data).encode()
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(data)}\r\n\r\n".encode() + data)

        if path == "/health":
            plain(200, {"status": "ok"})
            await writer.drain()
            return True
        if fault == "never":
            await reader.read()  # until the other side gives up
            return False
        if fault == "odd":  # status=302, with headers of its own
            plain(int(words["status"]), {}, "location: http://10.0.0.1/x\r\nx-engine-node: n7\r\nset-cookie: a=b\r\nopenai-version: 1\r\ncache-control: no-store\r\n")
            await writer.drain()
            return False
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "cl-te":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
            await writer.drain()
            return False
        if fault == "garbage":
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")
            await writer.drain()
            return False
        if fault == "big-head":
            writer.write(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70000 + b"\r\n\r\n")
            await writer.drain()
            return False
        if fault == "endless-1xx":
            for _ in range(1000):
                writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n")
                await writer.drain()
            return False
        if fault == "no-json":
            plain(200, b"{malformed json: <<<")
            await writer.drain()
            return True
        if fault == "html502":
            data = b"<html>bad gateway</html>"
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
            await writer.drain()
            return True
        if "status" in words:
            plain(int(words["status"]), {"error": {"message": "as asked", "type": "x", "param": None, "code": int(words["status"])}},
                  "retry-after: 1\r\n")
            await writer.drain()
            return True
        if path.endswith("/embeddings"):
            plain(200, {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}], "model": doc["model"],
                        "usage": {"prompt_tokens": 7, "total_tokens": 7}})
            await writer.drain()
            return True
        usage = {"prompt_tokens": 11, "completion_tokens": n, "total_tokens": 11 + n, "prompt_tokens_details": {"cached_tokens": 4}}
        if words.get("usage") == "negative":
            usage = {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12}
        chat = path.endswith("/chat/completions")
        if not doc.get("stream"):
            if gap:
                await asyncio.sleep(gap * n)
            text = " ".join(f"t{i}" for i in range(n))
            choice = {"index": 0, "finish_reason": "length"}
            choice.update({"message": {"role": "assistant", "content": text}} if chat else {"text": text})
            answer = {"id": "x", "object": "chat.completion" if chat else "text_completion", "created": 1, "model": doc["model"],
                      "choices": [choice]}
            if words.get("usage") != "none":
                answer["usage"] = usage
            if "pad" in words:
                answer["choices"][0]["pad"] = "p" * int(words["pad"])
            if fault == "short":
                data = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (len(data) + 50) + data)
                await writer.drain()
                return False
            plain(200, answer)
            await writer.drain()
            return True
        return await self.stream(doc, words, writer, n, gap, usage, chat)

    async def stream(self, doc, words, writer, n, gap, usage, chat):
        fault = words.get("fault")
        cut = int(words.get("at", 2))
        split = int(words.get("split", 0))
        held = []  # "together": what comes before a bad chunk leaves in one piece with it
        write = held.append if words.get("together") else writer.write
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

        async def event(data, end=b"\n\n"):
            if not isinstance(data, bytes):
                data = json.dumps(data, separators=(",", ":")).encode()
            text = b"data: " + data + end
            pieces = [text[i:i + split] for i in range(0, len(text), split)] if split else [text]
            for p in pieces:
                write(b"%x\r\n%s\r\n" % (len(p), p))
                await writer.drain()
                if split:
                    await asyncio.sleep(0)

        def chunk(delta, finish=None):
            choice = {"index": 0, "finish_reason": finish}
            choice.update({"delta": delta} if chat else {"text": delta.get("content", "")})
            return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": doc["model"], "choices": [choice]}

        await event(chunk({"role": "assistant", "content": ""}))
        for i in range(n):
            if fault and i == cut:
                if fault == "fin":
                    writer.write(b"0\r\n\r\n")
                    await writer.drain()
                    return False
                if fault == "close":
                    return False
                if fault == "rst":
                    writer.transport.abort()
                    return False
                if fault == "silence":
                    await asyncio.sleep(60)
                if fault == "huge":
                    await event(b'{"x":"' + b"y" * (1200 * 1024) + b'"}')
                if fault == "bad-chunk":
                    writer.write(b"".join(held) + b"zz\r\nhello\r\n")
                    await writer.drain()
                    return False
                if fault == "error":
                    await event({"error": {"message": "engine broke", "type": "server_error", "code": 500}})
            await event(chunk({"content": f"t{i} "}))
            if words.get("ping"):
                writer.write(b"8\r\n: ping\n\n\r\n")
            if gap:
                await asyncio.sleep(gap)
        if fault != "no-finish":
            await event(chunk({}, "length"))
        if (doc.get("stream_options") or {}).get("include_usage") and words.get("usage") != "none":
            await event({"id": "x", "choices": [], "usage": usage})
        if fault not in ("no-done", "no-finish"):
            await event(b"[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
