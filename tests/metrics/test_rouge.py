"""ROUGE: by hand, and line by line as rouge-score has it."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from transformer.metrics.rouge import KINDS, Rouge
from transformer.metrics.text import corpus_score, rouge


def by_name(found):
    return {name: score.score for name, score in found.items()}


def test_worked_by_hand():
    # "a b c d" against "a c b d e": all 4 words of 4 and of 5; no pair of 3 and 4; "a b d" or "a c d", 3 of 4 and of 5.
    one, two = 2 * 1 * 4 / 5 / (1 + 4 / 5), 2 * 3 / 4 * 3 / 5 / (3 / 4 + 3 / 5)
    found = rouge(["a b c d"], ["a c b d e"])
    assert by_name(found) == pytest.approx({"ROUGE-1": 100 * one, "ROUGE-2": 0.0, "ROUGE-L": 100 * two})
    assert found["ROUGE-1"].signature.startswith("nrefs:1|tok:default|stem:no|version:rouge-score-0.1.")
    # The mean of lines, also of one without a word.
    assert by_name(rouge(["a b c d", "."], ["a c b d e", "a"]))["ROUGE-1"] == pytest.approx(50 * one)


def test_a_thousand_lines_are_those_of_rouge_score():
    generator, words = np.random.default_rng(1), [*"abcdefgh", "Dog's", "ran,", "läuft", "3.14", "", "--"]
    hypotheses, *references = (
        [" ".join(generator.choice(words, generator.integers(0, 15))) for _ in range(1000)] for _ in range(3)
    )
    theirs = RougeScorer([*KINDS.values()])
    lines = [theirs.score_multi(both, text) for *both, text in zip(*references, hypotheses, strict=True)]
    expected = {name: 100 * np.mean([line[kind].fmeasure for line in lines]) for name, kind in KINDS.items()}
    assert by_name(rouge(hypotheses, references)) == pytest.approx(expected, abs=1e-9)
    for name, kind in KINDS.items():
        stats = Rouge(name)._extract_corpus_statistics(hypotheses, references)
        assert [line[0] for line in stats] == [line[kind].fmeasure for line in lines]


def test_chinese_characters_are_words_and_punctuation_is_none():
    # 我 去 北 京 against 我 们 去 上 海 : 2 of 4 and of 5; no pair.
    found = rouge(["我去北京。"], ["我们去上海"], "zh")
    assert by_name(found) == pytest.approx({"ROUGE-1": 100 * 4 / 9, "ROUGE-2": 0.0, "ROUGE-L": 100 * 4 / 9})
    assert "|tok:zh|" in found["ROUGE-L"].signature
    assert by_name(rouge(["我去北京。"], ["我们去上海"]))["ROUGE-1"] == 0
    assert by_name(rouge(["Er LÄUFT, schnell!"], ["er läuft schnell"], "zh"))["ROUGE-2"] == 100
    assert by_name(rouge(["Er lauft"], ["er läuft"], "zh"))["ROUGE-1"] == 50


def test_the_best_reference_counts_for_each_kind():
    references = [["a b x y"], ["b a c"]]
    found = by_name(rouge(["a b c"], references))
    assert found == pytest.approx(
        {"ROUGE-1": 100.0, "ROUGE-2": 100 * 2 * 1 / 2 * 1 / 3 / (1 / 2 + 1 / 3), "ROUGE-L": 200 / 3}
    )


def test_what_is_unknown_or_unequal_is_refused():
    with pytest.raises(ValueError, match="kind must be one of ROUGE-1, ROUGE-2, ROUGE-L, got 'ROUGE-3'"):
        Rouge("ROUGE-3")
    with pytest.raises(ValueError, match="tokenizer must be one of default, zh, got 'ja'"):
        rouge(["a"], ["a"], "ja")
    with pytest.raises(ValueError, match="hypotheses must be as many as references, got 2 and 1"):
        corpus_score(Rouge("ROUGE-1"), ["a", "b"], ["a"])
