"""What a translator knows is told from what it does not, from its own translations of validation sentences."""

import random

import pytest

from transformer.metrics.confidence import SIGNS
from transformer.tasks.sequence_to_sequence import Found
from transformer.tasks.translation_confidence import confidence_of, training_words

KNOWN = {f"palavra{letter}": f"word{letter}" for letter in "abcdefghijklmnop"}
NEW = {f"termo{letter}": f"term{letter}" for letter in "abcdefghijklmnop"}


class Words:
    """A corpus of sentences of three words; every third validation sentence has one that training has not."""

    name, splits = "a + b", ("train", "validation")

    def __init__(self, count=240):
        self.count = count

    def pairs(self, split):
        chance = random.Random(split)
        for place in range(self.count):
            words = chance.sample(list(KNOWN), 3)
            if split == "validation" and place % 3 == 0:
                words[1] = chance.choice(list(NEW))
            yield " ".join(words), " ".join({**KNOWN, **NEW}[word] for word in words)

    def first_pairs(self):
        yield "palavraa palavrab", "worda wordb"
        yield "termoa", "terma"  # which it cannot translate


def translate(texts):
    """Translate known words, write nonsense for others, and be less sure of it most times."""
    chance, found = random.Random(1), []
    for text in texts:
        words = [KNOWN.get(word, "zzz") for word in text.split()]
        mean = chance.gauss(-0.6 if "zzz" in words else -0.2, 0.2)
        found.append(Found(" ".join(words), mean * (len(words) + 1), len(words) + 1, len(words)))
    return found


def test_new_words_and_low_probabilities_make_it_unsure():
    found = confidence_of(translate, Words(), step=7)
    assert (found.step, found.about) == (7, "a + b")
    assert found.source_words == KNOWN.keys()
    assert found.target_words == set(KNOWN.values())
    assert found.weights["log_probability"] > 0 > found.weights["new_words"]
    assert all(found.weights[name] <= 0 for name in SIGNS if name not in ("log_probability", "words"))
    assert found.measured["sentences"] == 120
    assert found.measured["wrong"] == 40
    assert found.measured["wrong_warned"] == 1.0  # a word that is new tells all
    assert found.measured["right_warned"] == 0.0
    assert found.of("palavraa palavrab", "worda wordb", -0.6, 3, 2) > found.threshold
    assert found.of("palavraa termob", "worda zzz", -0.6, 3, 2) < found.threshold


def test_sentences_to_try_are_ones_that_it_translates_exactly():
    found = confidence_of(translate, Words(), step=7)
    assert found.examples[0] == "palavraa palavrab"
    assert len(found.examples) == 3
    for sentence in found.examples:
        assert set(sentence.split()) <= KNOWN.keys()
    assert len({sentence.split()[0] for sentence in found.examples}) == 3


def test_it_is_the_same_each_time():
    assert confidence_of(translate, Words(), step=7) == confidence_of(translate, Words(), step=7)


@pytest.mark.parametrize("count", [0, 60])
def test_too_few_sentences_give_nothing(count):
    assert confidence_of(translate, Words(count), step=7) is None


def test_a_translator_that_is_always_wrong_has_nothing_to_tell():
    def wrong(texts):
        return [Found("zzz", -1.0, 2, 2) for _ in texts]

    assert confidence_of(wrong, Words(), step=7) is None


def test_a_split_for_calibration_is_preferred():
    class Calibrated(Words):
        splits = ("train", "validation", "calibration")

        def pairs(self, split):
            assert split != "validation"
            return super().pairs("validation" if split == "calibration" else split)

    assert confidence_of(translate, Calibrated(), step=7) is not None


def test_words_of_training_text_are_case_folded_and_those_of_both_sides():
    words = training_words([("O Trem", "The train"), ("o trem 3", "a TRAIN")])
    assert set(words.source) == {"o", "trem"}
    assert set(words.target) == {"the", "train", "a"}
