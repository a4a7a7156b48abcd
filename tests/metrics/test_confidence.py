"""Signs of wrong translations are what a hand counts, and files that hold what they mean are checked."""

import dataclasses
import json
import math

import pytest

from transformer.metrics.confidence import SIGNS, Confidence, signs_of, words_of

SOURCE_WORDS = frozenset("o trem sai às para".split())
TARGET_WORDS = frozenset("the train leaves at for".split())


def signs(source, text, log_probability=-1.0, tokens=4, source_tokens=6, ratio=0.0):
    numbers = signs_of(source, text, log_probability, tokens, source_tokens, SOURCE_WORDS, TARGET_WORDS, ratio)
    return dict(zip(SIGNS, numbers, strict=True))


def confidence(**changes):
    weights = {**dict.fromkeys(SIGNS, 0.0), "log_probability": 2.0, "new_words": -3.0}
    return dataclasses.replace(
        Confidence("a phrasebook", 7, 1.0, weights, 0.5, 0.0, SOURCE_WORDS, TARGET_WORDS, ("O trem sai.",)), **changes
    )


def test_words_are_letters_alone_and_chinese_characters_one_by_one():
    assert words_of("O trem 23 sai, já!") == ["O", "trem", "sai", "já"]
    assert words_of("车站 café cafe\u0301") == ["车", "站", "café", "café"]


def test_signs_are_what_a_hand_counts():
    found = signs("O trem atrasou às 8", "The train zorped at 9")
    assert found["log_probability"] == -0.25
    assert found["new_words"] == 1 / 4  # atrasou
    assert found["made_up_words"] == 1 / 4  # zorped
    assert found["tokens_per_character"] == 6 / 19
    assert found["numbers"] == 1
    assert found["length"] == pytest.approx(math.log(22 / 20))
    assert found["words"] == math.log(5)
    assert found["copied"] == found["repeated"] == 0


def test_a_name_that_is_carried_over_is_no_new_word_but_another_word_is():
    assert signs("O trem para Lisboa", "The train for Lisboa")["new_words"] == 0
    assert signs("O trem para Lisboa", "The train for Lisbon")["new_words"] == 1 / 4
    assert signs("O trem para lisboa", "The train for lisboa")["new_words"] == 1 / 4


def test_copies_and_repetitions_are_counted():
    assert signs("O trem sai", "o trem leaves")["copied"] == 2 / 3
    assert signs("O trem sai", "the train the train the train")["repeated"] == 3 / 6  # of five pairs two are new


def test_signs_of_nothing_are_numbers():
    assert all(map(math.isfinite, signs("", "", 0.0, 0, 0).values()))
    assert all(map(math.isfinite, signs("?!", "。", -1e30, 1, 9).values()))


def test_confidence_is_the_logistic_function_of_the_weighted_signs():
    found = confidence().of("O trem atrasou às 8", "The train zorped at 9", -1.0, 4, 6)
    assert found == pytest.approx(1 / (1 + math.exp(-(1 - 2 * 0.25 - 3 * 0.25))))
    assert confidence().of("O", "The", -1e30, 1, 1) == pytest.approx(0.0)
    assert confidence(bias=1e6).of("O", "The", 0.0, 1, 1) == 1.0


def test_what_is_written_is_read_again():
    assert Confidence.from_json(json.loads(confidence().to_json())) == confidence()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bias": "1"}, "bias must be of type float"),
        ({"bias": 1e300}, "bias must be at most"),
        ({"bias": math.nan}, "bias must be at most"),
        ({"threshold": 1.5}, "threshold must be from 0 to 1"),
        ({"step": -1}, "step must be at least 0"),
        ({"weights": {}}, "weights must be those of log_probability"),
        ({"weights": dict.fromkeys(SIGNS, "a")}, "weights must be finite numbers"),
        ({"weights": dict.fromkeys(SIGNS, math.inf)}, "weights must be finite numbers"),
        ({"examples": ["a"] * 4}, "examples must be at most 3"),
        ({"examples": [3]}, "examples must be texts"),
        ({"examples": ["a" * 301]}, "at most 300 characters"),
        ({"about": "a" * 301}, "at most 300 characters"),
        ({"source_words": " ".join(map(str, range(50_001)))}, "source_words must be at most 50,000 words"),
        ({"other": 1}, "it must hold about, step"),
    ],
)
def test_a_forged_file_is_refused(changes, told):
    values = {**json.loads(confidence().to_json()), **changes}
    with pytest.raises(ValueError, match=told):
        Confidence.from_json(values)
