"""Imported and exported models against transformers itself: logits, greedy texts, tokenizers."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from hand_written_folder import END, SIZE, TEXTS, tokenizer

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.convert.huggingface.runs import export_run, import_folder
from transformer.search.searcher import Searcher

torch = pytest.importorskip("torch", reason="needs the extra [bench]")
transformers = pytest.importorskip("transformers", reason="needs the extra [bench]")
pytestmark = pytest.mark.slow  # sixteen models, each loaded three times

COMMON = {"vocab_size": SIZE, "bos_token_id": SIZE - 1, "eos_token_id": SIZE - 1}
GPT2 = [
    {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32},
    {"n_layer": 1, "n_head": 4, "n_embd": 32, "n_positions": 30, "activation_function": "gelu"},
    {"n_layer": 3, "n_head": 3, "n_embd": 24, "n_positions": 64, "activation_function": "relu", "n_inner": 40},
    {"n_layer": 2, "n_head": 1, "n_embd": 8, "n_positions": 32, "activation_function": "silu"},
    {"n_layer": 3, "n_head": 2, "n_embd": 16, "n_positions": 32, "scale_attn_by_inverse_layer_idx": True},
    {"n_layer": 2, "n_head": 4, "n_embd": 16, "n_positions": 32, "scale_attn_weights": False},
    {"n_layer": 2, "n_head": 4, "n_embd": 16, "n_positions": 32, "tie_word_embeddings": False},
    {
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 16,
        "n_positions": 33,
        "layer_norm_epsilon": 0.1,
        "reorder_and_upcast_attn": True,
        "scale_attn_by_inverse_layer_idx": True,
        "vocab_size": SIZE + 9,
    },
]
LLAMA = [
    {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv, **changes}
    | {"hidden_size": 8 * heads, "intermediate_size": 20, "max_position_embeddings": 32}
    for layers, heads, kv, changes in (
        (2, 4, 4, {}),
        (2, 4, 2, {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
        (1, 6, 1, {"hidden_act": "gelu"}),
        (3, 2, 2, {"tie_word_embeddings": True, "rms_norm_eps": 0.1}),
        (2, 4, 2, {"attention_bias": True, "mlp_bias": True}),
        (2, 4, 2, {"attention_bias": True}),
        (2, 4, 2, {"mlp_bias": True, "hidden_act": "gelu_pytorch_tanh", "pretraining_tp": 2}),
        (2, 4, 2, {"head_dim": 8, "vocab_size": SIZE + 9, "hidden_act": "relu"}),
    )
]
CASES = [("GPT2", changes) for changes in GPT2] + [("Llama", changes) for changes in LLAMA]
CLASSES = {"GPT2": ("GPT2Config", "GPT2LMHeadModel"), "Llama": ("LlamaConfig", "LlamaForCausalLM")}
PROMPTS = np.random.default_rng(0).integers(0, SIZE - 1, (4, 9))


def original(kind, changes, folder):
    """Write a model with random weights and its tokenizer; returns the model."""
    config, network = (getattr(transformers, name) for name in CLASSES[kind])
    torch.manual_seed(len(str(changes)))
    model = network(config(**{**COMMON, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer().to_str())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": END, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return model


@pytest.mark.parametrize(("kind", "changes"), CASES, ids=lambda value: str(value)[:60])
def test_logits_and_texts_are_those_of_transformers(kind, changes, tmp_path, record_property):
    model = original(kind, changes, tmp_path / "model")
    import_folder(tmp_path / "model", tmp_path / "run")
    task, network = load(RunDirectory(tmp_path / "run"))
    theirs, ours = task.tokenizer.theirs, task.tokenizer._ours
    with torch.no_grad():
        expected = model(torch.tensor(PROMPTS)).logits.numpy()
    logits = network(tf.constant(ours[PROMPTS]), False).numpy()
    difference = np.abs(logits[..., theirs >= 0] - expected[..., theirs[theirs >= 0]]).max()
    assert difference < 1e-4

    longer = model.generate(
        torch.tensor(PROMPTS), attention_mask=torch.ones(PROMPTS.shape), max_new_tokens=16, do_sample=False
    )
    search = dataclasses.replace(task.config.search, beam_size=1, temperature=0.0)
    limits = np.full(len(PROMPTS), 16, np.int32)
    found = Searcher([network], search, compile_after=sys.maxsize)(ours[PROMPTS], limits, np.zeros_like(limits))
    for row, text in enumerate(longer.numpy()[:, PROMPTS.shape[1] :]):
        written = theirs[found.ids[row, 0, : found.lengths[row, 0]]]
        assert written.tolist() == text[: len(written)].tolist()
        assert len(written) == 16 or text[len(written) - 1] == SIZE - 1

    export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back")
    again, report = getattr(transformers, CLASSES[kind][1]).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.no_grad():
        back = np.abs(again.eval()(torch.tensor(PROMPTS)).logits.numpy() - expected).max()
    assert back < 1e-5
    record_property("logits", float(difference))
    record_property("exported", float(back))
    read = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text, ids in zip(TEXTS, task.tokenizer.encode(TEXTS), strict=True):
        assert read(text)["input_ids"] == theirs[ids].tolist()
    assert read.eos_token_id == SIZE - 1
