#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a language model that is small enough to be nothing but noise: random weights, two layers, half a megabyte.

Everything around the noise is real: the tokenizer, the chat template, the cache, streams, counts. Its answers end at
max_tokens only. Needs the Python packages tokenizers and numpy, and gguf or safetensors.

    tiny_model.py FILE.gguf [--width 64] [--layers 2] [--context 4096]     for llama.cpp
    tiny_model.py --hf-dir DIR [--width 64] [--layers 2] [--context 4096]  for vLLM and others that load such folders
"""
import argparse
import json
import os

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HEAD = 32  # dimension of a head: the smallest that vLLM takes
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
    return t


def tensors(width, layers, size):
    """Names as GGUF has them, and noise."""
    chance = numpy.random.default_rng(20261124)
    inner, kv = 2 * width, HEAD

    def noise(rows, columns):
        return (chance.standard_normal((rows, columns)) / columns ** 0.5).astype(numpy.float32)

    output = noise(size, width)
    output[:len(MARKS)] = 0  # an answer ends at max_tokens, not by chance
    yield "token_embd", noise(size, width)
    yield "output_norm", numpy.ones(width, numpy.float32)
    yield "output", output
    for i in range(layers):
        for name, rows, columns in (("attn_q", width, width), ("attn_k", kv, width), ("attn_v", kv, width),
                                    ("attn_output", width, width), ("ffn_gate", inner, width), ("ffn_up", inner, width),
                                    ("ffn_down", width, inner)):
            yield f"blk.{i}.{name}", noise(rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}", numpy.ones(width, numpy.float32)


def write_gguf(path, width, layers, context, size):
    import gguf
    bpe = json.loads(tokenizer(size).to_str())["model"]
    words = sorted(bpe["vocab"], key=bpe["vocab"].get)
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny")
    w.add_context_length(context)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(2 * width)
    w.add_head_count(width // HEAD)
    w.add_head_count_kv(1)
    w.add_rope_dimension_count(HEAD)
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
    for name, tensor in tensors(width, layers, len(words)):
        w.add_tensor(name + ".weight", tensor)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


HF_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def hf_name(name):
    parts = name.split(".")
    layer = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
    return f"{layer}{HF_NAMES[parts[-1]]}.weight"


def write_hf(folder, width, layers, context, size):
    """A folder in the format of Hugging Face: a Llama in 32-bit floats."""
    from safetensors.numpy import save_file
    os.makedirs(folder, exist_ok=True)
    t = tokenizer(size)
    size = t.get_vocab_size()
    t.save(os.path.join(folder, "tokenizer.json"))
    marks = {"bos_token_id": 0, "eos_token_id": [1, 2]}
    files = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32", "hidden_act": "silu",
            "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers, "head_dim": HEAD,
            "num_attention_heads": width // HEAD, "num_key_value_heads": 1, "vocab_size": size,
            "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False, **marks,
        },
        "generation_config.json": marks,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context, "bos_token": MARKS[0],
            "eos_token": MARKS[1], "chat_template": TEMPLATE, "clean_up_tokenization_spaces": False,
        },
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "w") as f:
            json.dump(content, f, indent=1)
    weights = os.path.join(folder, "model.safetensors")
    save_file({hf_name(name): tensor for name, tensor in tensors(width, layers, size)}, weights, {"format": "pt"})
    os.chmod(weights, 0o644)  # it is written for its owner alone, and engines run as another user


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file", nargs="?")
    p.add_argument("--hf-dir", metavar="DIR")
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--context", type=int, default=8192)
    p.add_argument("--vocabulary", type=int, default=448)
    a = p.parse_args()
    if not a.file and not a.hf_dir:
        p.error("say where to: FILE.gguf, --hf-dir DIR, or both")
    if a.width % HEAD:
        p.error(f"--width must be a multiple of {HEAD}")
    if a.file:
        write_gguf(a.file, a.width, a.layers, a.context, a.vocabulary)
    if a.hf_dir:
        write_hf(a.hf_dir, a.width, a.layers, a.context, a.vocabulary)
