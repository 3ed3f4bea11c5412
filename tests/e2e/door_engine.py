# SPDX-License-Identifier: Apache-2.0
"""An engine that speaks every door natively, in the words of vLLM, and keeps count of what it has generated. What the
first message says, as words, is done: n=5 tokens, gap=0.01, fault=..., tool=NAME calls that tool, status=500."""
import asyncio
import json

from fake_engine import Engine

INPUT, CACHED = 20, 8  # tokens of every prompt, and those of them that were cached


def typed(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def words_of(doc):
    said = doc.get("messages") or doc.get("input") or doc.get("query") or ""
    if isinstance(said, list):
        said = next((m.get("content") for m in said if isinstance(m, dict) and m.get("role") == "user"), "")
    if isinstance(said, list):
        said = " ".join(p.get("text", "") for p in said if isinstance(p, dict))
    return dict(w.split("=", 1) for w in str(said).split() if "=" in w)


class DoorEngine(Engine):
    def __init__(self, **kw):
        self.docs = []     # (path, body) of all requests
        self.truth = [0, 0]  # tokens in and out
        super().__init__(**kw)

    async def answer(self, head, doc, words, reader, writer):
        path = head.split(b" ")[1].decode()
        if path == "/health":
            return await super().answer(head, doc, words, reader, writer)
        words = words_of(doc)
        self.docs.append((path, doc))
        bound = doc.get("max_tokens") or doc.get("max_output_tokens") or 1 << 30
        n, gap = min(int(words.get("n", 5)), bound), float(words.get("gap", 0))
        kind = {"/v1/messages": self.messages, "/v1/responses": self.responses, "/v1/chat/completions": self.chat}.get(path)
        if "status" in words:
            return await self.plain(writer, {"error": {"message": "as asked", "type": "x", "code": int(words["status"])}}, int(words["status"]))
        if kind is None:
            usage = {"prompt_tokens": INPUT, "total_tokens": INPUT}
            if path == "/v1/messages/count_tokens":
                return await self.plain(writer, {"input_tokens": INPUT})
            self.truth[0] += INPUT
            if path == "/v1/rerank":
                return await self.plain(writer, {"id": "x", "model": doc["model"], "usage": usage, "results": [
                    {"index": i, "document": {"text": d}, "relevance_score": 0.5} for i, d in enumerate(doc["documents"])]})
            return await self.plain(writer, {"id": "x", "object": "list", "model": doc["model"], "usage": usage,
                                             "data": [{"index": 0, "object": "score", "score": 0.5}]})
        self.truth[0] += INPUT
        if not doc.get("stream"):
            self.truth[1] += n
            return await self.plain(writer, kind(doc, words, n)[0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        split = int(words.get("split", 0))
        for i, (event, tokens) in enumerate(kind(doc, words, n)[1]):
            self.truth[1] += tokens
            if words.get("fault") == "cut" and i == int(words.get("at", 4)):
                writer.transport.abort()
                return False
            if words.get("fault") == "fin" and i == int(words.get("at", 4)):
                writer.write(b"0\r\n\r\n")
                await writer.drain()
                return False
            for at in range(0, len(event), split or len(event)):
                piece = event[at:at + (split or len(event))]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
                if split:
                    await asyncio.sleep(0)
            if gap and tokens:
                await asyncio.sleep(gap)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def plain(self, writer, data, status=200):
        data = json.dumps(data).encode()
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        await writer.drain()
        return True

    def messages(self, doc, words, n):
        """The whole answer, and the events of a stream with the tokens that each stands for."""
        first = {"input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED, "output_tokens": 0}
        usage = dict(first, output_tokens=n)
        head = {"id": "msg_x", "type": "message", "role": "assistant", "model": doc["model"]}
        end = {"stop_reason": "tool_use" if "tool" in words else "end_turn", "stop_sequence": None}
        call = {"type": "tool_use", "id": "toolu_1", "name": words.get("tool"), "input": {"city": "Bern"}}
        content = [call] if "tool" in words else [{"type": "text", "text": " ".join(f"t{i}" for i in range(n))}]
        events = [(typed("message_start", message=dict(head, content=[], stop_reason=None, stop_sequence=None, usage=first)), 0)]
        if "tool" in words:
            events += [(typed("content_block_start", index=0, content_block=dict(call, input={})), 0),
                       (typed("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"city":"Bern"}'}), n)]
        else:
            events.append((typed("content_block_start", index=0, content_block={"type": "text", "text": ""}), 0))
            events += [(typed("content_block_delta", index=0, delta={"type": "text_delta", "text": f"t{i} "}), 1) for i in range(n)]
        events += [(typed("content_block_stop", index=0), 0), (typed("message_delta", delta=end, usage=usage), 0), (typed("message_stop"), 0)]
        if words.get("fault") == "error":
            events[4:] = [(typed("error", error={"type": "api_error", "message": "engine broke"}), 0)]
        if words.get("fault") == "bare-error":
            events[4:] = [(b'data: {"error":{"message":"engine broke","code":500}}\n\n', 0)]
        return dict(head, content=content, usage=usage, **end), events

    def responses(self, doc, words, n):
        usage = {"input_tokens": INPUT, "input_tokens_details": {"cached_tokens": CACHED}, "output_tokens": n,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": INPUT + n}
        text = " ".join(f"t{i}" for i in range(n))
        item = {"id": "msg_x", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]}
        base = {"id": "resp_x", "object": "response", "created_at": 1, "model": doc["model"], "parallel_tool_calls": True,
                "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None}
        whole = dict(base, status="completed", output=[item], usage=usage)
        events = [(typed("response.created", sequence_number=0, response=dict(base, status="in_progress", output=[], usage=None)), 0)]
        events += [(typed("response.output_text.delta", sequence_number=i + 1, item_id="msg_x", output_index=0, content_index=0,
                          delta=f"t{i} ", logprobs=[]), 1) for i in range(n)]
        events.append((typed("response.completed", sequence_number=n + 1, response=whole), 0))
        if words.get("fault") == "failed":
            failed = dict(base, status="failed", output=[], usage=usage, error={"code": "server_error", "message": "engine broke"})
            events[-1] = (typed("response.failed", sequence_number=n + 1, response=failed), 0)
        events.append((b"data: [DONE]\n\n", 0))
        return whole, events

    def chat(self, doc, words, n):
        usage = {"prompt_tokens": INPUT, "completion_tokens": n, "total_tokens": INPUT + n, "prompt_tokens_details": {"cached_tokens": CACHED}}
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": words.get("tool"), "arguments": '{"city": "Bern"}'}}
        tool = "tool" in words
        finish = "tool_calls" if tool else words.get("finish", "stop")
        text = " ".join(f"t{i}" for i in range(n))
        message = {"role": "assistant", "content": None, "tool_calls": [call]} if tool else {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        if "stopped" in words:
            choice["stop_reason"] = words["stopped"]
        whole = {"id": "chatcmpl-x", "object": "chat.completion", "created": 1, "model": doc["model"], "choices": [choice], "usage": usage}

        def chunk(delta, finish_reason=None):
            data = {"id": "chatcmpl-x", "object": "chat.completion.chunk", "created": 1, "model": doc["model"],
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
            return b"data: " + json.dumps(data).encode() + b"\n\n"

        events = [(chunk({"role": "assistant", "content": ""}), 0)]
        if tool:
            pieces = [dict(call, function={"name": words["tool"], "arguments": ""}), {"index": 0, "function": {"arguments": '{"city": '}},
                      {"index": 0, "function": {"arguments": '"Bern"}'}}]
            events += [(chunk({"tool_calls": [p]}), n if i == 0 else 0) for i, p in enumerate(pieces)]
        else:
            if "think" in words:
                events.append((chunk({"reasoning_content": "hm"}), 0))
            events += [(chunk({"content": f"t{i} "}), 1) for i in range(n)]
        events.append((chunk({}, finish), 0))
        if (doc.get("stream_options") or {}).get("include_usage"):
            events.append((b"data: " + json.dumps({"id": "x", "choices": [], "usage": usage}).encode() + b"\n\n", 0))
        events.append((b"data: [DONE]\n\n", 0))
        if words.get("fault") == "error":
            events[3:] = [(b'data: {"error":{"message":"engine broke","code":500}}\n\n', 0), (b"data: [DONE]\n\n", 0)]
        return whole, events
