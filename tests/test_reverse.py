"""Choosing among hypotheses by a model of the other direction: what it says, the new order, and the command line."""

import json

import numpy as np
import pytest
from tiny_run import spread_parts, tiny_config, write_run

import translate
from transformer.config import END_ID, REVERSE_WEIGHT, START_ID, SearchConfig, UserError
from transformer.inference import reverse, serve
from transformer.inference.reverse import ReverseModel
from transformer.inference.search import Hypotheses
from transformer.inference.serving.config import ServeConfig
from transformer.inference.serving.schemas import Kind
from transformer.inference.serving.service import Service
from transformer.inference.translator import Translator

SENTENCES = ["sol mar rio", "um", "lua mar dois três um"]
TRANSLATIONS = ["sun sea river", "one two", "moon"]
SEARCH = SearchConfig(beam_size=4, max_extra_length=4)


@pytest.fixture(scope="module")
def parts():
    return spread_parts()


@pytest.fixture(scope="module")
def backwards():
    """A model with a vocabulary of its own, of the other direction."""
    return spread_parts(text={"joint": False})


@pytest.fixture(scope="module")
def model(backwards):
    return ReverseModel(*backwards, max_positions=32)


def by_hand(transformer, source, target):
    """Return the mean log-probability of one target's tokens, without padding, from the logits."""
    logits = transformer((np.array([source]), np.array([target[:-1]])), training=False).numpy()[0].astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return np.mean([logs[place, token] for place, token in enumerate(target[1:])])


@pytest.mark.parametrize("together", [1024, 1, 20])
def test_what_it_says_is_the_mean_log_probability_of_the_sentence(model, backwards, monkeypatch, together):
    monkeypatch.setattr(reverse, "TOKENS_TOGETHER", together)
    transformer, tokenizers = backwards
    sources = [[START_ID, *row, END_ID] for row in tokenizers.source.tokenize(TRANSLATIONS).to_list()]
    targets = [[START_ID, *row, END_ID] for row in tokenizers.target.tokenize(SENTENCES).to_list()]
    expected = [by_hand(transformer, *pair) for pair in zip(sources, targets, strict=True)]
    found = model.log_probabilities(SENTENCES, TRANSLATIONS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.dtype == np.float32 and len(set(expected)) == 3 and model.traces == 1


def test_of_what_is_longer_than_the_model_reads_the_beginning_counts(backwards):
    transformer, tokenizers = backwards
    short, (long,) = ReverseModel(*backwards, max_positions=8), tokenizers.target.tokenize(["sol " * 30]).to_list()
    found = short.log_probabilities(["sol " * 30, ""], ["sun " * 30, ""])
    source = [START_ID, *tokenizers.source.tokenize(["sun " * 30]).to_list()[0][:6], END_ID]
    assert len(long) > 6
    expected = by_hand(transformer, source, [START_ID, *long[:6], END_ID])
    np.testing.assert_allclose(
        found, [expected, by_hand(transformer, [START_ID, END_ID], [START_ID, END_ID])], rtol=1e-4
    )


def test_nothing_to_say_of_nothing(model):
    assert model.log_probabilities([], []).shape == (0,)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_is_a_number_from_0(backwards, weight):
    with pytest.raises(ValueError, match=f"weight must be a number from 0, got {weight}"):
        ReverseModel(*backwards, max_positions=8, weight=weight)


def test_the_new_order_by_hand(backwards, monkeypatch):
    """Two sentences with three hypotheses each; with weight 2 the scores are -1-8, -2-2, -3-6 and -1-0, -2-2, -3-0."""
    model = ReverseModel(*backwards, max_positions=8, weight=2.0)
    said = {("x", "a"): -4, ("x", "b"): -1, ("x", "c"): -3, ("y", "d"): 0, ("y", "e"): -1, ("y", "f"): 0}
    monkeypatch.setattr(
        model,
        "log_probabilities",
        lambda *texts: np.array([said[pair] for pair in zip(*texts, strict=True)], np.float32),
    )
    scores = np.array([[-1, -2, -3], [-1, -2, -3]], np.float32)
    ids = np.arange(12, dtype=np.int32).reshape(2, 3, 2)
    lengths = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    found = Hypotheses(ids, scores, 10 * scores, ids + 0.5, lengths, lengths > 2)
    texts, ordered = model.rerank(["x", "y"], list("abcdef"), found)
    assert texts == list("bacdfe")  # a and c are equal: the search's order stays
    np.testing.assert_array_equal(ordered.scores, [[-4, -9, -9], [-1, -3, -4]])
    np.testing.assert_array_equal(ordered.ids, [[[2, 3], [0, 1], [4, 5]], [[6, 7], [10, 11], [8, 9]]])
    np.testing.assert_array_equal(ordered.token_log_probabilities, ordered.ids + 0.5)
    np.testing.assert_array_equal(ordered.log_probabilities, [[-20, -10, -30], [-10, -30, -20]])
    np.testing.assert_array_equal(ordered.lengths, [[2, 1, 3], [4, 6, 5]])
    np.testing.assert_array_equal(ordered.finished, [[False, False, True], [True, True, True]])


def test_a_translator_orders_the_whole_beam_by_both(parts, backwards, monkeypatch):
    alone = Translator(*parts, SEARCH, max_positions=32)
    plain = alone.translate(SENTENCES, n_best=4, with_attention=True)
    model, moved = ReverseModel(*backwards, max_positions=32, weight=5.0), 0

    def colours(sentences, texts):  # an untrained model finds the likeliest hypothesis as good as any
        return np.array([len(set(text)) / len(sentence) for sentence, text in zip(sentences, texts, strict=True)])

    monkeypatch.setattr(model, "log_probabilities", colours)
    both = Translator(*parts, SEARCH, max_positions=32, reverse=model)
    best = both.translate(SENTENCES)
    for sentence, before, after, (first,) in zip(
        SENTENCES, plain, both.translate(SENTENCES, n_best=4, with_attention=True), best, strict=True
    ):
        said = model.log_probabilities([sentence] * 4, [one.text for one in before])
        scores = [one.score + 5 * gain for one, gain in zip(before, said, strict=True)]
        order = np.argsort(-np.array(scores), kind="stable")
        assert [one.text for one in after] == [before[place].text for place in order]
        assert first.text == after[0].text  # though one was asked for, all were looked at
        np.testing.assert_allclose([one.score for one in after], sorted(scores)[::-1], rtol=1e-4)
        for one, place in zip(after, order, strict=True):
            np.testing.assert_allclose(one.log_probability, before[place].log_probability, rtol=1e-4)
            np.testing.assert_allclose(one.attention, before[place].attention, atol=1e-5)
        moved += order[0] != 0
    assert moved


def test_without_weight_nothing_moves(parts, backwards):
    model = ReverseModel(*backwards, max_positions=32, weight=0.0)
    both = Translator(*parts, SEARCH, max_positions=32, reverse=model)
    alone = Translator(*parts, SEARCH, max_positions=32)
    for ours, theirs in zip(both.translate(SENTENCES, 4), alone.translate(SENTENCES, 4), strict=True):
        assert [(one.text, one.score) for one in ours] == [(one.text, pytest.approx(one.score)) for one in theirs]


@pytest.fixture(scope="module")
def runs(parts, backwards, tmp_path_factory):
    """A run from pt to en, one of the other direction, one whose languages nobody knows."""
    folder = tmp_path_factory.mktemp("runs")
    config = tiny_config(folder, model={"embeddings": "target"}, search={"beam_size": 4, "max_extra_length": 4})
    write_run(folder / "there", config, parts[1], parts[0])
    config = config.override({"text": {"joint": False}})
    write_run(folder / "back", config, backwards[1], backwards[0], ("en", "pt"))
    write_run(folder / "unknown", config, backwards[1], backwards[0], ("", ""))
    return folder


def test_a_run_of_the_other_direction_is_wanted(runs):
    for name in ("back", "unknown"):
        assert Translator.load(runs / "there", reverse=runs / name).reverse.weight == REVERSE_WEIGHT
    with pytest.raises(UserError, match="there translates pt to en; the other direction of pt to en is en to pt"):
        Translator.load(runs / "there", reverse=runs / "there")
    with pytest.raises(UserError, match="there is no run directory"):
        Translator.load(runs / "there", reverse=runs / "nowhere")
    with pytest.raises(UserError, match="a reverse run chooses among the hypotheses of a beam"):
        Translator.load(runs / "there", reverse=runs / "back", beam_size=1)


def test_a_server_chooses_so_whatever_the_beam(parts, backwards):
    model = ReverseModel(*backwards, max_positions=32, weight=50.0)
    translator = Translator(*parts, SEARCH, max_positions=32, reverse=model)
    service = Service(translator, ServeConfig())
    service.warm_up()
    traces = translator.traces
    for beam_size in (4, 1, 3):
        (answer,) = service.answer(Kind(beam_size, beam_size, attention=False), [SENTENCES])
        expected = translator.with_search(beam_size=beam_size).translate(SENTENCES, beam_size)
        for found, hypotheses in zip(json.loads(answer)["translations"], expected, strict=True):
            assert [one["text"] for one in found["hypotheses"]] == [one.text for one in hypotheses]
            scores = [one["score"] for one in found["hypotheses"]]
            assert scores == pytest.approx([one.score for one in hypotheses], rel=1e-4)
            assert scores == sorted(scores, reverse=True) and scores[0] < -50  # so the model had its say
    assert translator.traces == traces


def test_the_servers_command_line(runs, capsys):
    words = [str(runs / "there"), "--port", "0", "--reverse-run", str(runs / "there")]
    assert serve.main(words) == 1
    assert "there translates pt to en; the other direction" in capsys.readouterr().err


def call(capsys, *words):
    """Return the exit code of translate.py, what it wrote and what it said."""
    try:
        code = translate.main(list(words))
    except SystemExit as left:
        code = left.code
    return code, *capsys.readouterr()


def test_the_command_line(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    words = ("--run", "there", "--json", "--n-best", "4", *SENTENCES)
    found = {}
    for weight in ("0", "50"):
        flags = ("--reverse-run", "back", "--reverse-weight", weight)
        code, out, err = call(capsys, *flags, *words)
        assert code == 0 and all(line.startswith("warning: line") for line in err.splitlines())
        found[weight] = [json.loads(line)["hypotheses"] for line in out.splitlines()]
    translator = Translator.load("there", reverse="back", reverse_weight=50.0)
    expected = [[one.text for one in of] for of in translator.translate(SENTENCES, 4)]
    assert [[one["text"] for one in of] for of in found["50"]] == expected
    assert found["0"] != found["50"]
    for flags, expected, code in (
        (("--reverse-weight", "1"), "error: --reverse-weight needs --reverse-run RUN", 2),
        (("--reverse-run", "back", "--reverse-weight", "-1"), "error: --reverse-weight must be a number from 0", 2),
        (("--reverse-run", "back", "--reverse-weight", "nan"), "error: --reverse-weight must be a number from 0", 2),
        (("--reverse-run", "back", "--engine", "ctranslate2"), "error: --reverse-run does not go with --engine", 2),
        (("--reverse-run", "back", "--beam-size", "1"), "error: a reverse run chooses among", 1),
        (("--reverse-run", "there"), "error: there translates pt to en", 1),
    ):
        found = call(capsys, "--run", "there", *flags, "um")
        assert found[:2] == (code, "") and found[2].startswith(expected) and found[2].count("\n") == 1
