#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a language model that is small enough to be nothing but noise: random weights, two layers, half a megabyte.

Everything around the noise is real: the tokenizer, the chat template, the cache, streams, counts. Its answers end at
max_tokens only. Needs the Python packages gguf, tokenizers and numpy.

    tiny_model.py FILE.gguf [--width 64] [--layers 2] [--context 4096]
"""
import argparse
import json

import gguf
import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

MARKS = ["<|start|>", "<|stop|>", "<|turn|>"]
TEXT = [
    "A lease is a promise: these devices are yours until then.",
    "Who waits, who runs, and what did it cost? The ledger knows.",
    "one two three four five six seven eight nine ten hello world what is the time",
    '{"role": "user", "content": "hello", "model": "tiny", "stream": true}',
]
TEMPLATE = ("{{ '<|start|>' }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|turn|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")


def tokenizer(size):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TEXT * 3, trainers.BpeTrainer(vocab_size=size, special_tokens=MARKS, show_progress=False,
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return json.loads(t.to_str())["model"]


def write(path, width, layers, context, size):
    bpe = tokenizer(size)
    words = sorted(bpe["vocab"], key=bpe["vocab"].get)
    heads, kv_heads, inner = max(1, width // 32), 1, 2 * width
    chance = numpy.random.default_rng(20261124)

    def noise(rows, columns):
        return (chance.standard_normal((rows, columns)) / columns ** 0.5).astype(numpy.float32)

    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny")
    w.add_context_length(context)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(inner)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_rope_dimension_count(width // heads)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(words))
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(words)
    w.add_token_types([gguf.TokenType.CONTROL if word in MARKS else gguf.TokenType.NORMAL for word in words])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    w.add_eot_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    output = noise(len(words), width)
    output[:len(MARKS)] = 0  # an answer ends at max_tokens, not by chance
    w.add_tensor("token_embd.weight", noise(len(words), width))
    w.add_tensor("output_norm.weight", numpy.ones(width, numpy.float32))
    w.add_tensor("output.weight", output)
    kv = width // heads * kv_heads
    for i in range(layers):
        for name, rows, columns in (("attn_q", width, width), ("attn_k", kv, width), ("attn_v", kv, width),
                                    ("attn_output", width, width), ("ffn_gate", inner, width), ("ffn_up", inner, width),
                                    ("ffn_down", width, inner)):
            w.add_tensor(f"blk.{i}.{name}.weight", noise(rows, columns))
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", numpy.ones(width, numpy.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file")
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--context", type=int, default=8192)
    p.add_argument("--vocabulary", type=int, default=448)
    a = p.parse_args()
    write(a.file, a.width, a.layers, a.context, a.vocabulary)
