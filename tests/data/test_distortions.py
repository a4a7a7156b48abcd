"""What cannot be translated is made of sentences, and differs from them."""

import random

from transformer.data.distortions import DISTORTIONS, distorted

WORDS = ["estação", "fica", "onde", "quero", "café", "grande"]
SENTENCE, TRANSLATION = "Onde fica a estação?", "Where is the station?"


def test_each_kind_comes_in_turn_and_the_fourth_is_the_other_language():
    found = distorted([(SENTENCE, TRANSLATION)] * 4, WORDS, seed=1)
    assert len(set(found)) == 4
    assert found[1] != SENTENCE
    assert sorted(found[1].split()) == sorted(SENTENCE.split())
    assert found[2:] == ["Ondeficaaestação?", TRANSLATION]
    assert distorted([(SENTENCE, TRANSLATION)] * 4, WORDS, seed=1) == found


def test_the_two_longest_words_become_ones_that_do_not_exist():
    for seed in range(20):
        words = DISTORTIONS["new words"](SENTENCE, WORDS, random.Random(seed)).split()
        assert words[1:3] == ["fica", "a"]
        assert words[0].lower() not in WORDS
        assert words[3].strip("?") not in WORDS
        assert words[0][0].isupper()
        assert words[3].endswith("?")


def test_a_text_without_spaces_is_shuffled_by_characters_and_what_stays_is_left_out():
    shuffled = DISTORTIONS["shuffled"]("车站在哪里", WORDS, random.Random(2))
    assert sorted(shuffled) == sorted("车站在哪里")
    assert " " not in shuffled
    assert distorted([("车", "station")] * 3, ["车"], seed=1) == ["车车"]  # neither shuffled nor glued
    assert distorted([], WORDS, seed=1) == []
