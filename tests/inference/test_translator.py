"""From sentences to translations: order, batches, odd sentences, the documents' two functions, and lines in and out."""

import contextlib
import dataclasses
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread
from tiny_run import pairs, save_run, spread_parts, tiny_config

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.commands import translate_lines as commands
from transformer.commands.translate_lines import Wanted, translate_lines
from transformer.config.settings import DEFAULT_RUN, CleaningConfig, SearchConfig
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.ids import END_ID, START_ID
from transformer.inference.document_functions import default_translator, evaluate, translate
from transformer.inference.result import Translation, joined, one_line
from transformer.inference.translator import Translator
from transformer.inference.warnings import is_loop, translation_warnings
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import build_model

SENTENCES = ["sol mar rio", "um", "lua mar dois três um", "rio", "mar mar"]


@pytest.fixture(scope="module")
def parts():
    return spread_parts()


@pytest.fixture(scope="module")
def translator(parts):
    return Translator(*parts, SearchConfig(beam_size=2, max_extra_length=4), max_positions=32)


def warnings(translator, sentence):
    return list(translator.translate([sentence])[0][0].warnings)


def test_a_batch_is_translated_as_each_sentence_alone_and_in_order(translator):
    together = translator.translate(SENTENCES, with_attention=True)
    assert [len(hypotheses) for hypotheses in together] == [1] * 5
    for sentence, (found,) in zip(SENTENCES, together, strict=True):
        ((alone,),) = translator.translate([sentence])
        assert (found.text, found.finished, found.warnings) == (alone.text, alone.finished, alone.warnings)
        assert found.score == pytest.approx(alone.score, rel=1e-4)
        assert found.log_probability == pytest.approx(alone.log_probability, rel=1e-4)
        pieces = translator.tokenizers.source.pieces(translator.encode([sentence])[0][1:-1])
        assert found.source_tokens == ("[start]", *pieces, "[end]")
        assert found.attention.shape == (len(found.tokens) + found.finished, len(found.source_tokens))
        np.testing.assert_allclose(found.attention.sum(-1), 1, rtol=1e-5)
        assert (alone.tokens, alone.source_tokens, alone.attention) == ((), (), None)
    assert len({found.score for (found,) in together}) == 5


def test_sentences_are_batched_by_length_within_the_budget(parts, monkeypatch):
    translator = Translator(*parts, SearchConfig(beam_size=2, batch_tokens=40), max_positions=32)
    batches, calls = [], []

    def translate_batch(engine, batch, wanted):
        batches.append([len(part.row) for part in batch])
        return [[Translation(str(part.row), 0.0, 0.0)] for part in batch]

    monkeypatch.setattr(translator, "_translate_batch", translate_batch)
    sentences = [*SENTENCES, "", *SENTENCES]
    found = translator.translate(sentences, progress=calls.append)
    rows = translator.encode(sentences)
    assert [hypotheses[0].text for hypotheses in found] == [str(row) if len(row) > 2 else "" for row in rows]
    lengths = [length for batch in batches for length in batch]
    assert lengths == sorted((len(row) for row in rows if len(row) > 2), reverse=True)
    for batch in batches[:-1]:  # full: one row more would not fit
        assert len(batch) == max(1, 40 // (batch[0] * 2))
    assert calls == [1 + sum(map(len, batches[:n])) for n in range(len(batches) + 1)] and calls[-1] == 11


def test_n_best_are_distinct_and_best_first(translator):
    (two,) = translator.translate(["sol mar"], n_best=2)
    (one,) = translator.translate(["sol mar"])
    assert two[0] == one[0] and two[0].score >= two[1].score
    assert two[0].log_probability != two[1].log_probability
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=f"n_best must be from 1 to beam_size=2, got {wrong}"):
            translator.translate(["sol"], n_best=wrong)


def test_no_sentence_is_no_translation(translator):
    assert translator.translate([]) == []


@pytest.mark.parametrize("sentence", ["", "  \t", "\u3000\n"])
def test_an_empty_sentence_has_an_empty_translation_and_a_warning(translator, sentence):
    assert translator.translate([sentence], n_best=2) == [[Translation("", 0.0, 0.0, warnings=("empty sentence",))] * 2]


def test_a_long_sentence_is_translated_in_parts_with_a_warning(parts):
    translator = Translator(*parts, SearchConfig(beam_size=2, max_extra_length=0), max_positions=8)
    long = " ".join(["sol"] * 30)
    progress = []
    (short, found) = translator.translate(["mar", long], n_best=2, with_attention=True, progress=progress.append)
    assert progress[-1] == 2 and [h.text for h in short] == [h.text for h in translator.translate(["mar"], n_best=2)[0]]
    pieces = [part.text for part in translator.reader.parts([long])[0]]
    assert len(pieces) > 4 and " ".join(pieces) == long
    alone = translator.translate(pieces, n_best=2)
    warning = f"longer than the 8 tokens that the model reads; translated in {len(pieces)} parts"
    for k, hypothesis in enumerate(found):
        assert hypothesis.text == " ".join(part[k].text for part in alone)
        assert hypothesis.score == pytest.approx(sum(part[k].score for part in alone), rel=1e-4)
        assert hypothesis.warnings[0] == warning and hypothesis.attention is None
    exact = " ".join(["sol"] * 30)[: len("sol ") * 6].strip()
    assert len(translator.encode([exact])[0]) == 8 and "longer than" not in str(warnings(translator, exact))


def test_sentences_of_a_line_are_translated_one_by_one(translator):
    """The line's translation is those of its sentences in a row, with all that is known of them."""
    line, sentences = "Sol mar rio. Um!  Lua mar?", ["Sol mar rio.", "Um!", "Lua mar?"]
    ((found, second),) = translator.translate([line], n_best=2, with_attention=True, with_heads=True)
    alone = translator.translate(sentences, n_best=2, with_attention=True, with_heads=True)
    assert second.text == " ".join(group[1].text for group in alone)
    first = [group[0] for group in alone]
    assert found.text == " ".join(one.text for one in first)
    assert found.log_probability == pytest.approx(sum(one.log_probability for one in first), rel=1e-4)
    assert found.score == pytest.approx(sum(one.score for one in first), rel=1e-4)
    expected = np.concatenate([one.token_log_probabilities for one in first])
    np.testing.assert_allclose(found.token_log_probabilities, expected, atol=1e-4)
    assert found.source_tokens == sum((one.source_tokens for one in first), ())
    assert not any("longer" in warning for warning in found.warnings)

    row = column = at = 0  # the same, told from the attention's rows and columns
    for one in first:
        height, width = one.attention.shape
        tokens = one.tokens + ("[end]",) * one.finished
        assert (*found.tokens, "[end]")[at : at + height] == tokens
        for whole, block in ((found.attention, one.attention), (found.heads, one.heads)):
            np.testing.assert_allclose(whole[..., row : row + height, column : column + width], block, atol=1e-5)
        row, column, at = row + height, column + width, at + height
    assert found.attention.shape == (row, column) == (len(expected), len(found.source_tokens))
    np.testing.assert_allclose(found.attention.sum(), row, rtol=1e-4)  # so all else is 0


def test_a_line_is_left_whole_where_only_long_texts_are_cut(parts, translator):
    whole = Translator(*parts, dataclasses.replace(translator.search, cut="long"), 32)
    line = "Sol mar rio. Um! Lua mar?"
    assert len(whole.reader.parts([line])[0]) == 1 and len(translator.reader.parts([line])[0]) == 3
    ((found,),) = whole.translate([line], with_attention=True)
    assert found.source_tokens.count("[end]") == 1 and "[end]" not in found.tokens


@pytest.mark.parametrize(
    ("rules", "read"),
    [
        ({}, "sol & mar <time> rio"),
        ({"strip_html": False}, "<b>sol</b> &amp; mar <time> rio"),
        ({"strip_html": False, "normalise_unicode": False}, "<b>sol</b> &amp; mar <time> rio "),
        (None, "<b>sol</b> &amp; mar <time> rio "),
    ],
)
def test_a_sentence_is_read_as_training_read_its_text(parts, translator, rules, read):
    """With the run's cleaning, once: what was escaped three times is not unescaped further."""
    cleaning = None if rules is None else CleaningConfig(**rules)
    reading = Translator(*parts, translator.search, 32, cleaning=cleaning)
    for one in (reading, reading.with_search(cut="long")):
        ((part,),) = one.reader.parts(["<b>sol</b> &amp; mar <time> rio "])
        assert part.text == (read if one.reader.cut == "long" else read.strip())
        assert part.row == translator.encode([read])[0] == one.encode(["<b>sol</b> &amp; mar <time> rio "])[0]
    if rules == {}:
        assert reading.reader.parts(["&amp;amp;amp; <br>"])[0][0].text == "&amp;"
        assert warnings(reading, "<br/>") == ["empty sentence"]
        expected = translator.translate(["sol & mar"])[0][0]
        assert reading.translate(["<b>sol</b> &amp; mar"])[0][0].text == expected.text
        np.testing.assert_array_equal(reading.next_token("<i>sol</i>"), translator.next_token("sol"))


def test_a_run_translates_with_its_own_cleaning_and_tells_what_was_given(tmp_path, parts):
    run = save_run(tmp_path / "run", parts).path
    loaded = Translator.load(run)
    assert loaded.reader.cleaning == CleaningConfig()
    for options in ({}, {"beam_size": 1}):
        assert loaded.with_search(**options).reader.cleaning == CleaningConfig()
    line = "<b>sol</b> &amp; mar"
    out = tmp_path / "out"
    translate_lines(loaded, [line], None, str(out), Wanted(as_json=True))
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["source"] == line
    pieces = loaded.tokenizers.source.pieces(loaded.encode(["sol & mar"])[0][1:-1])
    assert told["source_tokens"] == list(pieces)


def test_a_prefix_begins_the_first_sentence(translator):
    ((found,),) = translator.translate(["Sol mar! Um rio."], prefixes=["mar"])
    assert found.text.startswith("mar")
    ((second,),) = translator.translate(["Um rio."])
    assert found.text.endswith(second.text)


def test_joined_translations_by_hand():
    def one(text, attention, source, finished=True):
        return Translation(text, -1.0, -2.0, tuple(text), source, np.array(attention, np.float32), finished)

    first = one("ab", [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0, 0, 1]], ("[start]", "x", "[end]"))
    second = one("c", [[0.2, 0.3, 0.5, 0.0]], ("[start]", "y", "z", "[end]"), finished=False)
    (found,) = joined([[first], [second]])
    assert (found.text, found.score, found.log_probability, found.finished) == ("ab c", -2.0, -4.0, False)
    assert found.tokens == ("a", "b", "[end]", "c")
    assert found.source_tokens == ("[start]", "x", "[end]", "[start]", "y", "z", "[end]")
    expected = np.zeros((4, 7), np.float32)
    expected[:3, :3], expected[3:, 3:] = first.attention, second.attention
    np.testing.assert_array_equal(found.attention, expected)
    # a and b look at x; c looks at z; what the end token between them looks at is no alignment
    assert found.alignment == [(0, 0), (0, 1), (4, 3)]


@pytest.mark.parametrize(
    "texts, whole",
    [(("A.", "B."), "A. B."), (("\u4f60\u597d\u3002", "\u518d\u89c1\u3002"), "\u4f60\u597d\u3002\u518d\u89c1\u3002")],
)
def test_blanks_stand_between_joined_sentences_where_the_script_has_them(texts, whole):
    assert joined([[Translation(text, 0.0, 0.0)] for text in texts])[0].text == whole


@pytest.mark.parametrize(
    "tokens, loop",
    [
        ([4, 5, 6, 7], False),
        ([4, 5, 5, 5, 6], False),  # three alike are no loop yet
        ([4, 5, 5, 5, 5, 5, 5], True),
        ([4, 5, 4, 5], False),
        ([9, 4, 5, 4, 5, 4, 5, 8], True),
        ([4, 5, 6, 4, 5, 6, 4, 5, 6], True),
        ([4, 5, 6, 7, 4, 5, 6, 7], False),  # twice may be meant
        ([], False),
    ],
)
def test_loops(tokens, loop):
    assert is_loop(tokens) == loop


@pytest.mark.parametrize(
    "source, text, source_ids, ids, finished, told",
    [
        ("a b c", "x y z", [4] * 3, [5, 6, 7], True, []),
        ("a b c", "x", [4] * 3, [5], False, ["cut at the longest output length"]),
        ("a b c", "x", [4, 6, 8], [5] * 9, True, ["repeats itself"]),
        ("a a a", "x", [4] * 7, [5] * 7, True, []),  # so does the sentence
        ("Un gato negro", "un gato  negro", [4, 5, 6], [7, 8, 9], True, ["the sentence is copied, not translated"]),
        ("Rio Tejo", "Rio Tejo", [4, 5], [7, 8], True, []),  # a name
        ("a", "x", [4, 5], [*range(8)], True, ["8 tokens for 2 is a strange length"]),
        ("a", "", [4, 5], [], True, ["the translation is empty"]),
        ("", "", [], [], True, []),
        ("a", "x", [*range(9)], [4, 5], True, ["2 tokens for 9 is a strange length"]),
        ("a", "x", [*range(9)], [4, 5, 6], True, []),
    ],
)
def test_doubtful_translations_are_told(source, text, source_ids, ids, finished, told):
    assert translation_warnings(source, text, source_ids, ids, finished) == told


def test_characters_outside_the_vocabulary_are_warned_of(translator):
    assert "made only of characters the model does not know" in warnings(translator, "日本 语")
    assert "has characters the model does not know" in warnings(translator, "sol 日")
    assert not any("does not know" in warning for warning in warnings(translator, "sol mar"))


def test_characters_outside_a_wordpiece_vocabulary_are_warned_of(parts):
    config = tiny_config(Path("unused"), text={"tokenizer": "wordpiece"})
    tokenizers = train_tokenizers(lambda: iter(pairs(60)), config.text)
    translator = Translator(parts[0], tokenizers, SearchConfig(), 32)
    rows = translator.encode(["日本", "sol 日", "sol"])
    found = [translator._warnings(row) for row in rows]
    assert found == [
        ["made only of characters the model does not know"],
        ["has characters the model does not know"],
        [],
    ]


def test_the_longest_output_is_cut_with_a_warning(parts):
    model, tokenizers = parts
    limited = Translator(model, tokenizers, SearchConfig(beam_size=2, max_length=3), 32)
    (hypotheses,) = limited.translate([SENTENCES[2]], n_best=2, with_attention=True)
    for found in hypotheses:
        assert len(found.tokens) + found.finished <= 3
        assert found.finished == ("cut at the longest output length" not in found.warnings)
    assert not all(found.finished for found in hypotheses)
    # Without max_length: the source's length plus max_extra_length, never more than the model's positions.
    for search, limit in ((SearchConfig(max_extra_length=4), 9), (SearchConfig(max_length=99), 32)):
        assert Translator(model, tokenizers, search, 32).limits(np.array([5]))[0].tolist() == [limit]


@pytest.mark.parametrize(
    "settings, most, least",
    [
        ({"max_length_ratio": 1.5}, 8, 0),  # the smaller of 1.5 * 5 and 5 + 50
        ({"max_length_ratio": 9.0}, 32, 0),
        ({"min_length": 3, "min_length_ratio": 0.5}, 32, 3),
        ({"min_length_ratio": 1.2}, 32, 6),
        ({"max_length": 4, "min_length_ratio": 2.0}, 4, 3),  # the longest wins
    ],
)
def test_lengths_absolute_and_relative_to_the_source(parts, settings, most, least):
    found = Translator(*parts, SearchConfig(**settings), 32).limits(np.array([5]))
    assert [part.tolist() for part in found] == [[most], [least]]


def test_attention_of_every_head_and_the_alignment(translator):
    sentence = "sol mar"
    ((found,),) = translator.translate([sentence], with_attention=True, with_heads=True)
    assert translator.translate([sentence], with_attention=True)[0][0].heads is None
    ids, attention_weights = evaluate(sentence, translator)
    layers = len(attention_weights) // 2
    assert found.heads.shape[0] == layers and found.heads.shape[2:] == found.attention.shape
    for i in range(layers):
        whole = attention_weights[f"decoder_layer{i + 1}_block2"][0]
        np.testing.assert_allclose(found.heads[i], whole[:, : found.heads.shape[2]], atol=1e-5)
    assert [target for _, target in found.alignment] == list(range(len(found.tokens)))
    for source, target in found.alignment:
        assert found.attention[target, source + 1] == found.attention[target, 1:-1].max()
    assert translator.translate([sentence])[0][0].alignment == []


def test_a_prefix_begins_the_translation(translator):
    free, forced = translator.translate(["sol mar", "sol mar"], prefixes=["", "abc"])
    assert forced[0].text.startswith("abc") and free == translator.translate(["sol mar"])[0]
    with pytest.raises(ValueError, match="prefixes must be as many as sentences"):
        translator.translate(["sol"], prefixes=[])


def test_drawn_translations_are_as_the_seed_says(parts):
    def draw(**settings):
        search = SearchConfig(beam_size=4, temperature=1.0, max_extra_length=4, **settings)
        return Translator(*parts, search, 32).translate(SENTENCES, n_best=4)

    assert draw(seed=3) == draw(seed=3) != draw(seed=4)
    for drawn in draw(top_k=5, top_p=0.9):
        assert [found.score for found in drawn] == sorted((found.score for found in drawn), reverse=True)


def test_the_text_is_that_of_the_tokens(translator):
    for (found,) in translator.translate(SENTENCES, with_attention=True):
        ids = {piece: i for i, piece in enumerate(translator.tokenizers.target.pieces(range(265)))}
        if all(piece in ids for piece in found.tokens):
            joined = translator.tokenizers.target.detokenize(tf.constant([[ids[piece] for piece in found.tokens]]))
            assert found.text == one_line(joined.numpy()[0].decode("utf-8", "replace"))


def test_a_translation_is_one_line():
    assert one_line("a\r\nb\nc\rd") == "a  b c d"
    assert one_line("a\u2028b\tc") == "a\u2028b\tc"


@pytest.fixture
def saved(parts, tmp_path):
    """The same model as the default run of a working directory."""
    return save_run(tmp_path / DEFAULT_RUN, parts)


def test_a_run_is_loaded_with_its_search_which_can_be_overridden(saved):
    loaded = Translator.load(saved.path, beam_size=1, length_penalty=0)
    assert (loaded.search.beam_size, loaded.search.length_penalty, loaded.search.max_extra_length) == (1, 0.0, 4)
    assert loaded.max_positions == 32
    with pytest.raises(UserError, match="beam_size must be from 1 to 64, got 0"):
        Translator.load(saved.path, beam_size=0)
    with pytest.raises(UserError, match="Did you mean 'beam_size'"):
        Translator.load(saved.path, beam_sise=1)


def test_another_search_shares_weights_and_graphs(parts, translator):
    greedy = translator.with_search(beam_size=1)
    assert translator.search.beam_size == 2 and greedy.search == dataclasses.replace(translator.search, beam_size=1)
    assert greedy.transformer is translator.transformer
    expected = Translator(*parts, greedy.search, 32).translate(SENTENCES, with_attention=True)
    for (ours,), (theirs,) in zip(greedy.translate(SENTENCES, with_attention=True), expected, strict=True):
        assert (ours.text, ours.tokens) == (theirs.text, theirs.tokens)
        assert ours.score == pytest.approx(theirs.score, rel=1e-4)
    for _ in range(2):  # the first search needs fewer graphs
        translator.translate(SENTENCES[:1])
    made = translator.traces, greedy.traces
    short = greedy.with_search(max_extra_length=0, max_length_ratio=0.5, batch_tokens=8, cut="long")  # limits alone
    back = short.with_search(beam_size=2, max_extra_length=4, max_length_ratio=0, batch_tokens=4096, cut="sentences")
    assert (short.reader.cut, back.reader.cut) == ("long", "sentences")
    assert all(len(found.token_log_probabilities) <= 4 for (found,) in short.translate(SENTENCES))
    assert back.search == translator.search and back.translate(SENTENCES[:1]) == translator.translate(SENTENCES[:1])
    assert (back.traces, short.traces) == (translator.traces, greedy.traces) == made
    for name, value, told in (("beam_size", 0, "beam_size must be from 1 to 64, got 0"), ("beams", 2, "unknown key")):
        with pytest.raises(UserError, match=told):
            translator.with_search(**{name: value})


def test_the_next_token_after_a_prefix(parts, translator):
    model, tokenizers = parts
    logs = translator.next_token("sol mar", "abc")
    assert logs.shape == (tokenizers.target.vocabulary_size,)
    assert np.exp(logs).sum() == pytest.approx(1, rel=1e-4)
    ids = translator._prefix_ids(["abc"])[0]
    found = translator.find(translator.encode(["sol mar"]), [ids])
    for place, prefix in ((0, ""), (len(ids), "abc")):  # the first forced token, and the first that the search chose
        expected = found.token_log_probabilities[0, 0, place]
        given = translator.next_token("sol mar", prefix)[found.ids[0, 0, place]]
        assert given == pytest.approx(expected, abs=1e-4)
    other, _ = spread_parts(dff=24)
    one, two, both = (
        Translator(models, tokenizers, translator.search, 32) for models in (model, other, [model, other])
    )
    mean = (np.exp(one.next_token("rio")) + np.exp(two.next_token("rio"))) / 2
    np.testing.assert_allclose(np.exp(both.next_token("rio")), mean, atol=1e-6)
    assert translator.next_token("sol " * 90, "abc " * 90).shape == logs.shape  # cut to what the model reads


def test_evaluate_returns_ids_and_the_attention_of_every_layer(translator):
    sentence = SENTENCES[0]
    ids, attention_weights = evaluate(sentence, translator)
    ((found,),) = translator.translate([sentence], with_attention=True)
    assert ids.dtype == tf.int32 and ids.shape.rank == 1 and int(ids[0]) == START_ID and END_ID not in ids.numpy()
    assert tuple(translator.tokenizers.target.pieces(ids[1:])) == found.tokens
    source, steps = len(translator.encode([sentence])[0]), len(ids)
    assert {name: tuple(weights.shape) for name, weights in attention_weights.items()} == {
        "decoder_layer1_block1": (1, 2, steps, steps),
        "decoder_layer1_block2": (1, 2, steps, source),
    }
    mean = tf.reduce_mean(attention_weights["decoder_layer1_block2"][0], axis=0)
    np.testing.assert_allclose(mean[: len(found.attention)], found.attention, atol=1e-5)
    assert translate(sentence, translator) == found.text


def test_evaluate_and_translate_of_odd_sentences(parts, capsys):
    translator = Translator(*parts, SearchConfig(beam_size=1), max_positions=8)
    ids, attention_weights = evaluate("", translator)
    assert ids.numpy().tolist() == [START_ID] and attention_weights["decoder_layer1_block2"].shape == (1, 2, 1, 2)
    assert translate("", translator) == ""
    assert capsys.readouterr().err == "warning: empty sentence\n"
    ids, attention_weights = evaluate(" ".join(["sol"] * 30), translator)
    assert len(ids) <= 8 and attention_weights["decoder_layer1_block2"].shape[-1] == 8
    assert isinstance(translate("日本", translator), str)
    assert "warning: made only of characters the model does not know" in capsys.readouterr().err


def test_runs_of_one_vocabulary_translate_together(saved, parts, translator, tmp_path):
    both = Translator.load([saved.path, saved.path])
    assert len(both.models) == 2
    for (ours,), (theirs,) in zip(both.translate(SENTENCES), translator.translate(SENTENCES), strict=True):
        assert ours.text == theirs.text and ours.score == pytest.approx(theirs.score, rel=1e-4)
    other = RunDirectory(tmp_path / "other")
    config = tiny_config(tmp_path, model={"embeddings": "target"})
    tokenizers = train_tokenizers(lambda: iter([("abc", "def"), ("ab", "de")]), config.text)
    other.create(config, tokenizers, {"name": "other", "fingerprint": "0"})
    save_arrays(other.weights(BEST), model_variables(build_model(config.model, tokenizers)))
    with pytest.raises(UserError, match=f"{other.path} has another vocabulary than {saved.path}"):
        Translator.load([saved.path, other.path])


def test_without_a_translator_the_default_run_is_taken(saved, translator, tmp_path, monkeypatch):
    default_translator.cache_clear()
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(UserError, match=f"there is no run directory {DEFAULT_RUN} in .*; train it with python -m"):
        translate("sol")
    monkeypatch.chdir(tmp_path)
    assert translate("sol") == translate("sol", translator)
    np.testing.assert_array_equal(evaluate("mar")[0], evaluate("mar", translator)[0])
    default_translator.cache_clear()


class Upper:
    """Stands for a translator: the translation is the sentence in capitals."""

    prefix = ""

    def __init__(self):
        self.groups = []

    def translate(self, sentences, n_best, with_attention, prefixes, with_heads, with_scores):
        assert prefixes == [self.prefix] * len(sentences)
        self.groups.append(list(sentences))
        found = []
        for sentence in sentences:
            warning = () if sentence else ("empty sentence",)
            best = Translation(sentence.upper(), -0.5, -1.0, warnings=warning, token_log_probabilities=(-0.25, -0.75))
            if with_attention:
                weights = np.array([[0.1, 0.2, 0.6, 0.1], [0.4, 0.0, 0.0, 0.6]], np.float32)
                shown = {"tokens": ("A",), "source_tokens": ("[start]", "a", "b", "[end]"), "attention": weights}
                best = dataclasses.replace(best, **shown, heads=weights[np.newaxis, np.newaxis])
            found.append([best, *[Translation("é", -2.0, -3.0, finished=False)] * (n_best - 1)])
        return found


def run_lines(sentences=(), input=None, output=None, **wanted):
    upper = Upper()
    upper.prefix = wanted.get("prefix", "")
    translate_lines(upper, list(sentences), input, output, Wanted(**wanted))
    return upper


@pytest.fixture
def typed(monkeypatch):
    """Return a function that puts bytes on standard input."""
    return lambda content: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_sentences_of_the_command_line(capsys):
    run_lines(["one\ntwo", "", "três"])
    out, err = capsys.readouterr()
    assert out == "ONE TWO\n\nTRÊS\n"
    assert err == "warning: line 2: empty sentence\n"


def test_standard_input_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    with open(tmp_path / "in", "wb") as written, open(written.fileno(), closefd=False) as unreadable:
        monkeypatch.setattr("sys.stdin", unreadable)
        message = failure(run_lines, output=str(tmp_path / "out"))
    assert message == "cannot read standard input: Bad file descriptor; name a file with --input"
    assert os.listdir(tmp_path) == ["in"]


def test_a_long_name_of_an_output(tmp_path):
    run_lines(["um"], output=str(tmp_path / ("o" * 255)))
    assert (tmp_path / ("o" * 255)).read_text() == "UM\n"


def test_lines_of_standard_input(typed, capsys, monkeypatch):
    monkeypatch.setattr(commands, "LINES_TOGETHER", 2)
    typed("um\r\n\ndois\u2028\nlast".encode())
    upper = run_lines()
    assert upper.groups == [["um", ""], ["dois\u2028", "last"]]
    assert capsys.readouterr().out == "UM\n\nDOIS\u2028\nLAST\n"
    typed(b"")
    assert run_lines().groups == []
    assert capsys.readouterr().out == ""


def test_a_file_to_a_file(tmp_path, capsys):
    (tmp_path / "in").write_text("um\n\ndois\n", encoding="utf-8")
    (tmp_path / "out").write_text("old")
    run_lines(input=str(tmp_path / "in"), output=str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"UM\n\nDOIS\n"
    out, err = capsys.readouterr()
    assert out == "" and "warning: line 2: empty sentence" in err and "3 lines translated" in err
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    run_lines(input=str(tmp_path / "in"), output=str(tmp_path / "in"))  # onto itself
    assert (tmp_path / "in").read_bytes() == b"UM\n\nDOIS\n"


def test_scores_and_json(capsys):
    run_lines(["um"], scores=True)
    assert capsys.readouterr().out == "-0.5000\tUM\n"
    run_lines(["um", ""], n_best=2, as_json=True, prefix="A")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    best = {"text": "UM", "score": -0.5, "log_probability": -1.0, "finished": True, "tokens": ["A"]}
    best |= {"token_log_probabilities": [-0.25, -0.75], "alignment": [[1, 0]]}  # "b", the second token, to "A"
    other = {"text": "é", "score": -2.0, "log_probability": -3.0, "finished": False, "tokens": []}
    other |= {"token_log_probabilities": [], "alignment": []}
    for hypothesis in (best, other):
        hypothesis |= {"confidence": None, "unsure": False}  # the run says nothing of it
    assert first == {"source": "um", "source_tokens": ["a", "b"], "hypotheses": [best, other], "warnings": []}
    assert second["warnings"] == ["empty sentence"] and second["source"] == ""
    run_lines(["é"], as_json=True)
    assert "é" in capsys.readouterr().out


def test_a_picture_of_the_attention(tmp_path, capsys):
    for heads in (False, True):
        path = tmp_path / f"{heads}.png"
        run_lines(["um"], picture=str(path), heads=heads)
        assert path.read_bytes().startswith(b"\x89PNG") and capsys.readouterr().out == "UM\n"
    run_lines(["um"], picture=str(tmp_path / "marked.png"), alignment=True)
    plain, marked = (imread(tmp_path / name) for name in ("False.png", "marked.png"))
    assert plain.shape[1] < marked.shape[1]  # a legend beside it says what is marked


def test_typed_lines_are_asked_for_and_answered_one_by_one(monkeypatch, capsys):
    typed_lines = iter(["um", "", "dois"])

    def answer(prompt):
        try:
            return next(typed_lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO()))
    monkeypatch.setattr(commands, "output", lambda path: contextlib.nullcontext(Screen()))
    monkeypatch.setattr("sys.stdout", Screen())
    upper = run_lines()
    assert upper.groups == [["um"], [""], ["dois"]]
    assert "Ctrl-D ends" in capsys.readouterr().err


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


class Screen(io.StringIO):
    def isatty(self):
        return True


def failure(call, **arguments):
    with pytest.raises(UserError) as error:
        call(**arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("old", [None, "old"])
def test_an_output_file_is_complete_or_absent(tmp_path, monkeypatch, old):
    monkeypatch.setattr(commands, "LINES_TOGETHER", 1)
    (tmp_path / "in").write_bytes(b"one\ntwo\n\xff\n")
    if old:
        (tmp_path / "out").write_text(old)
    message = failure(run_lines, input=str(tmp_path / "in"), output=str(tmp_path / "out"))
    assert f"{tmp_path / 'in'}, line 3: not valid UTF-8" in message
    assert sorted(os.listdir(tmp_path)) == (["in", "out"] if old else ["in"])
    assert not old or (tmp_path / "out").read_text() == old


def test_bad_input_and_output_is_told(tmp_path, typed):
    (tmp_path / "file").write_text("um\n")
    assert "missing" in failure(run_lines, input=str(tmp_path / "missing"))
    assert str(tmp_path) in failure(run_lines, input=str(tmp_path))
    assert "it is a directory" in failure(run_lines, sentences=["um"], output=str(tmp_path))
    for place in (tmp_path / "none" / "out", tmp_path / "file" / "out"):
        assert f"cannot write {place}" in failure(run_lines, sentences=["um"], output=str(place))
    typed(b"um\n\xff\n")
    assert "standard input, line 2: not valid UTF-8 (byte 0xff at position 1)" in failure(run_lines)
    assert "sentence 2 is not UTF-8" in failure(run_lines, sentences=["um", "\udcff"])


@pytest.mark.parametrize("beam_size", [1, 3])
def test_weights_whose_scores_are_no_numbers_are_told(beam_size):
    model, tokenizers = spread_parts()
    for weight in model.trainable_variables:
        weight.assign(tf.fill(weight.shape, 1e38))
    broken = Translator(model, tokenizers, SearchConfig(beam_size=beam_size), 32)
    with pytest.raises(UserError, match="the model's scores are no numbers, its weights are damaged"):
        broken.translate(["sol mar"])
