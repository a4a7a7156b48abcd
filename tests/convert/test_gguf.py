"""GGUF files become runs: against the same model as a folder of transformers, and against Llama in NumPy."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hand_written_folder import END, LLAMA, LOGITS, MERGES, SIZE, TEXTS, TOKENS, random_tensors, tokenizer

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.convert.gguf import import_file
from transformer.system.errors import UserError

gguf = pytest.importorskip("gguf", reason="needs the extra [gguf]")
IDS = np.array([5, 40, 256, 257, 3, 99, 261])
CONFIG = {**LLAMA, "hidden_size": 64, "intermediate_size": 96, "rms_norm_eps": 1e-5}  # blocks of 32 are quantised
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def neighbours(array, heads):
    """Return rows of queries or keys as llama.cpp has them: i and i + K / 2 of each head side by side."""
    depth = len(array) // heads
    order = [h * depth + i + half * depth // 2 for h in range(heads) for i in range(depth // 2) for half in (0, 1)]
    return array[order]


def write_gguf(path, tensors, quantised=None, **changes):
    """Write a file of the model; `changes` are settings by their names with _ for a dot, None: left out."""
    writer = gguf.GGUFWriter(path, "llama")
    settings = {
        "llama.block_count": 2,
        "llama.context_length": 24,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.freq_base": 500.0,
        "llama.rope.dimension_count": 16,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.eos_token_id": SIZE - 1,
        "tokenizer.chat_template": "{{ messages }}",
        **changes,
    }
    for name, value in settings.items():
        if isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif value is not None:
            writer.add_uint32(name, value)
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * (SIZE - 1) + [3])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    for name, array in tensors.items():
        heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2])
        array = neighbours(array, heads) if heads else array
        for one, other in NAMES.items():
            name = name.replace(one, other)
        if quantised is not None and array.ndim == 2:
            packed = gguf.quantize(array, quantised)
            writer.add_tensor(name, packed, raw_dtype=quantised)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits_of(run):
    task, network = load(RunDirectory(run))
    logits = network(tf.constant(task.tokenizer._ours[IDS][np.newaxis]), False)[0].numpy()
    found = np.empty((len(IDS), SIZE), np.float32)
    theirs = task.tokenizer.theirs
    found[:, theirs[theirs >= 0]] = logits[:, theirs >= 0]
    return task, found


def test_a_file_of_numbers(tmp_path):
    tensors = random_tensors(CONFIG)
    import_file(write_gguf(tmp_path / "model.gguf", tensors), tmp_path / "run")
    task, found = logits_of(tmp_path / "run")
    np.testing.assert_allclose(found, LOGITS["llama"](CONFIG, tensors, IDS), rtol=1e-4, atol=2e-4)
    model = task.config.model
    assert model.norm_epsilon == 1e-5 and model.rotary_base == 500.0 and model.embeddings == "separate"
    for text, ids in zip(TEXTS, task.tokenizer.encode(TEXTS), strict=True):
        assert task.tokenizer.theirs[ids].tolist() == tokenizer().encode(text).ids
    kept = json.loads(task.tokenizer.asset)["settings"]["tokenizer_config"]
    assert kept["chat_template"] == "{{ messages }}" and kept["eos_token"] == END


def test_quantised_weights_become_float32(tmp_path):
    tensors = random_tensors({**CONFIG, "tie_word_embeddings": True})
    kind = gguf.GGMLQuantizationType.Q8_0
    import_file(write_gguf(tmp_path / "model.gguf", tensors, kind), tmp_path / "run")
    rounded = {
        name: gguf.dequantize(gguf.quantize(array, kind), kind) if array.ndim == 2 else array
        for name, array in tensors.items()
    }
    task, found = logits_of(tmp_path / "run")
    assert task.config.model.embeddings == "shared"
    np.testing.assert_allclose(found, LOGITS["llama"](CONFIG, rounded, IDS), rtol=1e-4, atol=2e-4)


def test_files_that_cannot_be_honoured(tmp_path):
    tensors = random_tensors(CONFIG)
    for changes, told in (
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type = 'yarn' cannot be honoured"),
        ({"llama.expert_count": 8}, "llama.expert_count = 8 cannot be honoured"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.model = 'llama' is not known; known are gpt2"),
        ({"tokenizer.ggml.pre": "qwen2"}, "tokenizer.ggml.pre = 'qwen2' is not known; known are gpt-2, smollm"),
        ({"llama.rope.dimension_count": 8}, "head_dim = 8 cannot be honoured"),
        ({"llama.block_count": 3}, "has no weights 'layers.2.input_layernorm.weight'"),
        ({"tokenizer.ggml.eos_token_id": None}, "names no end token"),
    ):
        with pytest.raises(UserError, match=told):
            import_file(write_gguf(tmp_path / "model.gguf", tensors, **changes), tmp_path / "run")
    content = write_gguf(tmp_path / "model.gguf", tensors).read_bytes()
    for bad in (content[:1000], content[:-100], b"GGUF" + b"\xff" * 100, b""):
        (tmp_path / "model.gguf").write_bytes(bad)
        with pytest.raises(UserError, match="model.gguf is damaged, or no GGUF file"):
            import_file(tmp_path / "model.gguf", tmp_path / "run")
    extra = {**tensors, "rope_freqs.weight": np.ones(8, np.float32)}
    with pytest.raises(UserError, match="also holds 'rope_freqs.weight', which its config does not name"):
        import_file(write_gguf(tmp_path / "model.gguf", extra), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
