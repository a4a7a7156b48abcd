"""The code of document 000, section 5, runs as it stands once its class bodies are replaced by one import.

Of document 001, the loss of language models; of document 004, the generation of text.
"""

import contextlib
import io
import re
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from document_snippets import ADAPTED, IMPORT, INSIDE, SNIPPETS
from hypothesis import given
from hypothesis import strategies as st
from reference import randomised, softmax
from tiny_run import fine_tuning, tiny_config, write_run

import transformer
from transformer import Generator, Predictor, create_masks, positional_encoding, preprocess_text
from transformer.commands import export
from transformer.data.tokenizers.exact import Bytes
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, MASK_ID, START_ID
from transformer.losses.cross_entropy import token_losses
from transformer.tasks import task_class
from transformer.tasks.language_model import LanguageModel

PAIRS = [
    ("o trem sai", "the train leaves"),
    ("o ônibus sai agora", "the bus leaves now"),
    ("onde fica a estação", "where is the station"),
    ("a estação fica longe", "the station is far"),
    ("o trem fica", "the train stays"),
]
REPEATS = 20  # of the pairs in an epoch: steps are cheap, epochs are not


class Words:
    """A tokenizer as the document expects one: ids from 1 to vocab_size - 1, 0 left to padding."""

    def __init__(self, sentences):
        self.words = sorted({word for sentence in sentences for word in sentence.split()})
        self.vocab_size = len(self.words) + 1

    def encode(self, sentence):
        return [self.words.index(word) + 1 for word in sentence.split()]

    def decode(self, ids):
        return " ".join(self.words[int(i) - 1] for i in ids)

    def with_ends(self, sentence):
        return [self.vocab_size, *self.encode(sentence), self.vocab_size + 1]


def padded(rows):
    return keras.utils.pad_sequences(rows, padding="post")


@pytest.fixture(scope="module")
def names():
    """Run all snippets in one namespace that holds what the document leaves to its reader, and return it."""
    keras.utils.set_random_seed(1)
    portuguese, english = zip(*PAIRS, strict=True)
    tokenizer_pt, tokenizer_en = Words(portuguese), Words(english)
    source = padded([tokenizer_pt.with_ends(sentence) for sentence in portuguese])
    target = padded([tokenizer_en.with_ends(sentence) for sentence in english])
    repeated = np.tile(source, (REPEATS, 1)), np.tile(target, (REPEATS, 1))
    names = {
        "MAX_VOCAB_SIZE": 50,
        "texts": list(english),
        "tokenizer_pt": tokenizer_pt,
        "tokenizer_en": tokenizer_en,
        "train_inputs": (repeated[0], repeated[1][:, :-1]),
        "train_outputs": repeated[1][:, 1:],
        "val_inputs": (source, target[:, :-1]),
        "val_outputs": target[:, 1:],
        "BUFFER_SIZE": len(PAIRS) * REPEATS,
        "BATCH_SIZE": len(PAIRS),
        "EPOCHS": 3,
        "MAX_LENGTH": 10,
        "num_layers": 1,
        "d_model": 32,
        "num_heads": 4,
        "dff": 64,
        "input_vocab_size": tokenizer_pt.vocab_size + 2,
        "target_vocab_size": tokenizer_en.vocab_size + 2,
        "dropout_rate": 0.0,
        "learning_rate": 0.01,
    }
    for snippet in SNIPPETS:
        exec(snippet, names)
    return names


@pytest.mark.slow  # the documents' own training; what it calls is tested with the layers
def test_fit_learns(names):
    history = names["history"].history
    assert history["loss"][-1] < 0.1 < 0.5 < history["loss"][0]
    assert history["val_loss"][-1] < 0.05


def test_evaluate_and_translate(names):
    for source, target in PAIRS:
        assert names["translate"](source) == target
    ids, attention = names["evaluate"](source)
    assert list(ids) == names["tokenizer_en"].with_ends(target)[:-1]
    assert attention["decoder_layer1_block1"].shape == (1, 4, len(ids), len(ids))
    assert attention["decoder_layer1_block2"].shape == (1, 4, len(ids), len(source.split()) + 2)


def test_tokenizer(names):
    assert names["sequences"][0] == [names["tokenizer"].word_index[word] for word in "the train leaves".split()]


def test_positional_encoding_is_the_documents(names):
    for pos, d_model in ((50, 512), (12, 7), (1, 1)):
        np.testing.assert_allclose(
            positional_encoding(pos, d_model), names["positional_encoding"](pos, d_model), atol=1e-7
        )


@given(st.text())
def test_preprocess_text_is_the_documents(text):
    names = {}
    exec(SNIPPETS[1], names)
    assert preprocess_text(text) == names["preprocess_text"](text)


def test_preprocess_text_by_hand():
    assert preprocess_text("  Hello,   World! 42 ") == "hello world 42"
    assert preprocess_text("Onde fica a estação?") == "onde fica a esta o"
    assert preprocess_text("车站在哪里？") == ""


def test_layers_in_positional_order(names):
    """The documents' calls of a layer, with `training` and masks by position."""
    x, y = tf.random.normal((2, 4, 32)), tf.random.normal((2, 3, 32))
    encoder_mask, combined_mask, _ = create_masks(tf.constant([[4, 4, 4, 0]] * 2), tf.constant([[4, 4, 0]] * 2))
    arguments = {"x": x, "y": y, "mask": encoder_mask, "look_ahead_mask": combined_mask, "padding_mask": encoder_mask}
    exec("encoded = EncoderLayer(32, 4, 64, rate=0.1)(x, False, mask)", names, arguments)
    exec("outputs = DecoderLayer(32, 4, 64)(y, encoded, False, look_ahead_mask, padding_mask)", names, arguments)
    exec("attended = MultiHeadAttention(32, 4)(x, x, y, mask)", names, arguments)
    assert arguments["encoded"].shape == (2, 4, 32)
    assert [part.shape for part in arguments["outputs"]] == [(2, 3, 32), (2, 4, 3, 3), (2, 4, 3, 4)]
    assert [part.shape for part in arguments["attended"]] == [(2, 3, 32), (2, 4, 3, 4)]


def test_lines_inside_the_classes(names):
    x, enc_output = tf.random.normal((2, 3, 32)), tf.random.normal((2, 4, 32))
    padding_mask, look_ahead_mask, _ = create_masks(tf.constant([[4, 4, 4, 0]] * 2), tf.constant([[4, 4, 0]] * 2))
    local = {"x": x, "out1": x, "q": x, "k": x, "v": x, "enc_output": enc_output, "d_model": 32, "num_heads": 4}
    local |= {"dff": 64, "look_ahead_mask": look_ahead_mask, "padding_mask": padding_mask, "mask": None}
    local["self"] = type("Layer", (), {})()
    exec(INSIDE, names, local)
    assert local["attn2"].shape == local["attn_output"].shape == local["ffn_output"].shape == (2, 3, 32)
    assert local["attn_weights_block2"].shape == (2, 4, 3, 4)
    assert local["attention_weights"].shape == (2, 3, 3)


def test_every_promised_name_is_importable():
    promised = """positional_encoding scaled_dot_product_attention MultiHeadAttention point_wise_feed_forward_network
        EncoderLayer DecoderLayer Encoder Decoder Transformer create_masks masked_loss masked_accuracy preprocess_text
        evaluate translate Generator Predictor BERT BertEncoder"""
    for name in promised.split():
        assert callable(getattr(transformer, name)), name


def lines(code):
    return [line.rstrip() for line in code.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def code(document):
    """Return the document's code of section 5, as lines."""
    section = document("000").split("\n## 5.")[1].split("\n## 6.")[0]
    return lines("\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL)))


def test_all_other_lines_are_verbatim(code):
    bodies = {theirs for theirs, _, _ in ADAPTED if theirs}
    expected, inside = [], False
    for line in code:
        if not line.startswith(" "):
            inside = line in bodies
        if not inside or line in bodies:
            expected.append(line)
    for theirs, ours, why in ADAPTED:
        assert why
        if theirs is None:
            expected.insert(0, ours)
        elif ours is None:
            expected.remove(theirs)
        else:
            expected[expected.index(theirs)] = ours
    head = len([theirs for theirs, _, _ in ADAPTED if theirs is None])
    assert [*reversed(expected[:head]), *expected[head:]] == lines("\n".join(SNIPPETS))
    indented = {line.strip() for line in code}
    assert [line for line in lines(INSIDE) if line not in indented] == []


def test_the_documents_own_classes_give_the_same_numbers(code):
    """The class bodies we replace, run on Keras 3 with keyword arguments, equal ours with the same weights."""
    first = code.index("class MultiHeadAttention(tf.keras.layers.Layer):")
    last = code.index("train_dataset = tf.data.Dataset.from_tensor_slices((train_inputs, train_outputs))")
    theirs = {"tf": tf}
    exec(IMPORT, theirs)
    exec(textwrap.dedent("\n".join(code[first:last])), theirs)
    x, memory = (np.random.default_rng(seed).normal(size=(2, n, 8)).astype(np.float32) for seed, n in ((1, 3), (2, 4)))
    padding, look_ahead, _ = create_masks(tf.constant([[4, 4, 4, 0]] * 2), tf.constant([[4, 4, 0]] * 2))
    calls = {
        "EncoderLayer": ((memory,), {"training": False, "mask": padding}),
        "DecoderLayer": ((x, memory), {"training": False, "look_ahead_mask": look_ahead, "padding_mask": padding}),
    }
    for name, (inputs, keywords) in calls.items():
        ours, layer = getattr(transformer, name)(8, 2, 12), theirs[name](8, 2, 12)
        assert type(layer) is not type(ours)
        layer(*inputs, **keywords)
        ours.build()
        randomised(ours)
        for part in [p for p in vars(layer) if p.startswith(("mha", "ffn", "layernorm"))]:
            source, copy = getattr(ours, part), getattr(layer, part)
            if part.startswith("mha"):
                for dense in ("wq", "wk", "wv", "dense"):
                    getattr(copy, dense).set_weights(getattr(source, dense).get_weights())
            else:
                copy.set_weights(source.get_weights())
        results = keras.tree.flatten(ours(*inputs, *keywords.values()))
        for result, reference in zip(results, keras.tree.flatten(layer(*inputs, **keywords)), strict=True):
            np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)


def test_the_language_model_loss_of_001(document, tmp_path):
    """Document 001, section 4.2: P(x_1, ..., x_n) as a product, and L_LM, by a loop over whole calls of a GPT."""
    for formula in (
        r"P(x_1, ..., x_n) = \prod_{i=1}^n P(x_i|x_1, ..., x_{i-1})",
        r"L_{LM} = -\frac{1}{n}\sum_{i=1}^n \log P(x_i|x_1, ..., x_{i-1})",
    ):
        assert formula in document("001")
    config = tiny_config(tmp_path, task={"name": "language-model"}, text={"tokenizer": "bytes"})
    task = LanguageModel(config, TextVocabulary(Bytes()), {})
    gpt = randomised(task.network("float32"))
    x = [*task.tokenizer.encode(["the cat"])[0].tolist(), END_ID]
    probabilities = []
    for i in range(len(x)):
        logits = gpt(tf.constant([[START_ID, *x[:i]]]))[0, -1].numpy().astype(np.float64)
        probabilities.append(softmax(logits)[x[i]])
    l_lm = -sum(np.log(p) for p in probabilities) / len(x)
    batch = {"ids": tf.constant([[START_ID, *x[:-1]]]), "labels": tf.constant([x])}
    nats, count = (float(part["token"]) for part in (task.losses(gpt, batch, False), task.counts(batch)))
    assert count == len(x) and nats / count == pytest.approx(l_lm, rel=1e-5)
    assert np.exp(-nats) == pytest.approx(np.prod(probabilities), rel=1e-3)
    assert float(transformer.masked_loss(batch["labels"], gpt(batch["ids"]))) == pytest.approx(l_lm, rel=1e-5)


@pytest.mark.slow  # `fit` traces a training step
def test_the_fine_tuning_of_004(document, tmp_path, monkeypatch):
    """Document 004, section 5.1, as it stands, on the export of a classifier: it learns from probabilities."""
    (snippet,) = re.findall(r"```python\n(# 导入 TensorFlow 库\n.*?)```", document("004"), re.DOTALL)
    config = fine_tuning(tmp_path, "classification", model={"dropout_rate": 0.0})
    kind = task_class("classification")
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    run = write_run(tmp_path / "run", config, task.vocabularies, randomised(task.network("float32")))
    monkeypatch.chdir(tmp_path)
    assert export.main([str(run), "bert_model", "--format", "keras"]) == 0
    ids = keras.utils.pad_sequences(
        [task.row(ids).ids for ids in task.encoded(["sun sea", "one two", "sea", "moon"])], padding="post"
    )
    labels = np.array([task.ids[label] for label in ("sea", "land", "sea", "land")])
    names = {"...": None}
    before, assignment = snippet.split("train_data = ...")
    exec(before, names)  # up to the data, which the document leaves to its reader
    names["train_data"] = tf.data.Dataset.from_tensor_slices((ids, labels)).batch(2)
    chances = names["bert_model"].predict(ids, verbose=0)
    (logits,) = task.read_rows(task.network("float32"), [task.row(task.encoded(["sea"])[0])])
    assert chances.shape == (4, 2) and logits.shape == (2,)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    for text, row in zip(["sun sea", "one two", "sea", "moon"], chances, strict=True):
        (ours,) = Predictor.load(run).predict([text])
        np.testing.assert_allclose([ours.probabilities[label] for label in task.classes], row, atol=1e-5)
    expected = -np.mean(np.log(chances[np.arange(4), labels]))  # of probabilities, not of logits
    with contextlib.redirect_stdout(io.StringIO()):
        exec(assignment, names)
    history = names["bert_model"].history.history["loss"]
    assert history[0] == pytest.approx(expected, rel=0.01) and history[-1] < history[0]


def test_the_pre_training_of_001(document):
    """Document 001, section 5.2: its losses and its step run as written on a `BERT`, and learn.

    Its `mlm_loss` takes the mean over whatever it is given, so all masked places of a batch are real ones.
    """
    text = document("001").split("### 5.2 ")[1].split("## 6.")[0]
    body, losses, step = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert body.startswith("class BERT(tf.keras.Model):")
    chance = np.random.default_rng(0)
    ids = chance.integers(5, 30, (6, 8)).astype(np.int32)
    places = np.array([chance.choice(np.arange(1, 7), 2, replace=False) for _ in ids])
    labels = np.take_along_axis(ids, places, axis=1)
    read = ids.copy()
    np.put_along_axis(read, places, MASK_ID, axis=1)
    read[:, 0], read[:, 7] = START_ID, END_ID
    inputs = {
        "input_ids": read,
        "token_type_ids": np.repeat([[0] * 4 + [1] * 4], 6, axis=0),
        "masked_lm_positions": places,
        "masked_lm_ids": labels,
        "next_sentence_label": np.array([0, 1] * 3),
    }
    inputs = {name: tf.constant(value, tf.int32) for name, value in inputs.items()}
    keras.utils.set_random_seed(1)
    names = {"tf": tf, "model": transformer.BERT(1, 32, 2, 64, 30, 8, rate=0.0)}
    names["optimizer"] = tf.keras.optimizers.Adam(0.01)
    names["model"](inputs)
    exec(losses, names)
    exec(step, names)
    first = names["train_step"](inputs)
    assert 0.5 * (np.log(30) + np.log(2)) < float(first) < 2 * (np.log(30) + np.log(2))
    for _ in range(60):
        last = names["train_step"](inputs)
    assert float(last) < 0.3
    mlm_logits, nsp_logits = names["model"](inputs)
    np.testing.assert_array_equal(mlm_logits.numpy().argmax(axis=2), labels)
    np.testing.assert_array_equal(nsp_logits.numpy().argmax(axis=1), [0, 1] * 3)
    # What its loss says is the mean of what the task counts, token by token.
    mean = float(names["mlm_loss"](inputs["masked_lm_ids"], mlm_logits))
    sums = token_losses(inputs["masked_lm_ids"], mlm_logits)
    assert mean == pytest.approx(float(tf.reduce_sum(sums)) / labels.size, rel=1e-5)


def test_the_text_generation_of_004(document, tmp_path):
    """Document 004, section 5.2: the likeliest tokens behind a prompt, by a loop over whole calls of a GPT."""
    for line in ('pipeline("text-generation", model="gpt2")', 'generator("The cat sat on the", max_length=50)'):
        assert line in document("004")
    search = {"max_length": 5}
    config = tiny_config(tmp_path, task={"name": "language-model"}, text={"tokenizer": "bytes"}, search=search)
    task = LanguageModel(config, TextVocabulary(Bytes()), {})
    gpt = randomised(task.network("float32"))
    generator = Generator.load(write_run(tmp_path / "run", config, task.vocabularies, gpt))
    prompt = "The cat sat on the"
    output = generator.generate([prompt])[0]
    ids = [START_ID, *task.tokenizer.encode([prompt])[0].tolist()]
    for _ in range(5):
        logits = gpt(tf.constant([ids]))[0, -1].numpy()
        ids.append(int(END_ID + np.argmax(logits[END_ID:])))
    assert ids[-1] != END_ID and output[0].text == task.tokenizer.decode(ids)[len(prompt) :]
