"""Scores of texts: each token is predicted once, with as much before it as the stride leaves."""

import math

import numpy as np
import pytest
import tensorflow as tf
from reference import randomised
from tiny_run import language_model, write_run

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import evaluate
from transformer.data.examples.text_documents import Part
from transformer.data.tokenizers.exact import Bytes
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.inference.text_scores import TextScore, TextScorer
from transformer.tasks.language_model import LanguageModel

TEXTS = ["one two three four five", "", "é", "six seven"]
WINDOW = 16


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a task, its network of random weights, and the folder of its run."""
    folder = tmp_path_factory.mktemp("scores")
    config = language_model(folder, text={"tokenizer": "bytes"})
    task = LanguageModel(config, TextVocabulary(Bytes()), {})
    network = randomised(task.network("float32"))
    return task, network, write_run(folder / "run", config, task.vocabularies, network)


def by_hand(task, network, ids, stride):
    """Return the log-probability of ids, token by token, each after the window that first holds it."""
    total, start = 0.0, 0
    for i in range(1, len(ids)):
        if i - start > WINDOW:  # the window is full and moves, but not beyond the end
            start = min(start + stride, max(0, len(ids) - 1 - WINDOW))
        logits = network(tf.constant([ids[start:i]]))[0, -1].numpy().astype(np.float64)
        total += logits[ids[i]] - np.log(np.sum(np.exp(logits)))
    return total


@pytest.mark.parametrize("stride", [1, 8, 16])
def test_each_token_is_predicted_once(trained, stride):
    task, network, _ = trained
    scores = TextScorer(task, network, stride).score(TEXTS, end=True)
    for text, score in zip(TEXTS, scores, strict=True):
        ids = task.ids([Part(text, True, True)]).tolist()
        assert (score.tokens, score.bytes) == (len(ids) - 1, len(text.encode()))
        assert score.log_probability == pytest.approx(by_hand(task, network, ids, stride), rel=1e-4)


def test_without_its_end_a_text_is_likelier(trained):
    task, network, _ = trained
    scorer = TextScorer(task, network)
    plain, ended = scorer.score(["one two"])[0], scorer.score(["one two"], end=True)[0]
    assert plain.tokens == ended.tokens - 1 and plain.log_probability > ended.log_probability
    assert scorer.score([""])[0] == TextScore(0.0, 0, 0) and scorer.score([]) == []


def test_figures_by_hand():
    score = TextScore(-4 * math.log(8), 4, 12) + TextScore(-4 * math.log(8), 4, 12)
    assert score.perplexity == pytest.approx(8.0)
    assert score.byte_perplexity == pytest.approx(2.0) and score.bits_per_byte == pytest.approx(1.0)


def test_a_stride_that_skips_tokens_is_refused(trained):
    task, network, _ = trained
    for stride in (-1, 17):
        with pytest.raises(ValueError, match=f"stride must be from 0 to the context of 16 tokens, got {stride}"):
            TextScorer(task, network, stride)


def test_the_command(trained, tmp_path, capsys):
    task, network, run = trained
    other = write_run(tmp_path / "other", task.config, task.vocabularies, randomised(task.network("float32"), 1))
    path = tmp_path / "texts.txt"
    path.write_text("six seven\none two three four five\n", encoding="utf-8")
    words = ["--task", "language-model", str(run), str(path)]
    expected = TextScorer(task, network).score([TEXTS[3], TEXTS[0]], end=True)
    assert evaluate.main([*words, "--each"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in rows] == [TEXTS[3], TEXTS[0]]
    np.testing.assert_allclose(
        [float(row[0]) for row in rows], [score.log_probability for score in expected], rtol=1e-4
    )
    assert evaluate.main(words) == 0
    total = expected[0] + expected[1]
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("  a token (34)") and out[1].endswith("  a byte (32)")
    assert out[2].startswith("bits per byte ") and out[3].endswith(" nats, of 2 documents")
    figures = [float(line.removeprefix("bits per byte ").removeprefix("perplexity ").split()[0]) for line in out[:3]]
    assert figures == pytest.approx([total.perplexity, total.byte_perplexity, total.bits_per_byte], rel=1e-3)
    assert evaluate.main([*words, "--baseline-run", str(other)]) == 0
    compared = capsys.readouterr().out.splitlines()
    assert compared[::2][:2] + compared[4:] == out
    assert compared[1].startswith(f"  {other}: ") and " to it, p = " in compared[1]
    its = sum(TextScorer(*load(RunDirectory(other))).score([TEXTS[3], TEXTS[0]], end=True), TextScore(0.0, 0, 0))
    assert float(compared[1].split()[1].rstrip(",")) == pytest.approx(its.perplexity, rel=1e-3)
    assert evaluate.main([*words, "--documents", "file", "--stride", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[3].endswith("of 1 documents")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--stride", "99"], "--stride: stride must be from 0 to the context of 16 tokens, got 99"),
        ([], "holds a byte 0"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(trained, tmp_path, capsys, words, message):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one two\n" if words else b"one\0two\n")
    assert evaluate.main(["--task=language-model", str(trained[2]), str(path), *words]) == 1
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
