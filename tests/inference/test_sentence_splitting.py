"""Where texts are cut: between sentences, and wherever it must be."""

import random
from pathlib import Path

import pytest

from transformer.data.cleaning import SPACES
from transformer.inference import sentence_splitting
from transformer.inference.sentence_splitting import TOGETHER, sentences_of, split_text


def count_characters(texts):
    return [len(text) for text in texts]


@pytest.mark.parametrize(
    "language, text, sentences",
    [
        ("en", "  One two.  Three! Four?\tFive ", ["One two.", "Three!", "Four?", "Five"]),
        ("en", "Mr. Smith paid $3.50 to J. R. Jones.", ["Mr. Smith paid $3.50 to J. R. Jones."]),
        ("en", 'He said: "No!" Then he left.', ['He said: "No!"', "Then he left."]),
        ("en", "Hello... Is it you?! ... Yes", ["Hello...", "Is it you?! ...", "Yes"]),
        ("en", "See www.example.com. Now", ["See www.example.com.", "Now"]),
        ("en", "tight.Without a blank", ["tight.Without a blank"]),
        ("en", "!!! 1", ["!!! 1"]),  # no sentence without a letter or a digit
        (
            "de",
            "Er kam am 3. Mai, z. B. mit Dr. Kohl. Dann ging er.",
            ["Er kam am 3. Mai, z. B. mit Dr. Kohl.", "Dann ging er."],
        ),
        (
            "en",
            "The year was 1999. There were 250. It grew by 2.5. Well.",
            ["The year was 1999.", "There were 250.", "It grew by 2.5.", "Well."],
        ),
        ("pt", "O Sr. Silva chegou. Bom dia!", ["O Sr. Silva chegou.", "Bom dia!"]),
        (
            "zh",
            "\u4f60\u597d\u3002\u6211\u662f\u5b66\u751f\uff01\u4f60\u5462\uff1f",
            ["\u4f60\u597d\u3002", "\u6211\u662f\u5b66\u751f\uff01", "\u4f60\u5462\uff1f"],
        ),
        ("no such language", "One. Two.", ["One.", "Two."]),
        ("", "\ud800a. B.", ["\ud800a.", "B."]),
        ("", " \n ", []),
    ],
)
def test_sentences(language, text, sentences):
    assert sentences_of(text, language) == sentences


LINES = [
    line.split("\t")
    for line in Path(__file__).with_name("sentences.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def test_there_are_lines_of_many_languages():
    assert len(LINES) >= 200 and len({language for language, _ in LINES}) >= 12
    assert sum("|" in text for _, text in LINES) >= 100


@pytest.mark.parametrize(("language", "text"), LINES)
def test_a_line_is_cut_where_its_sentences_end(language, text):
    assert sentences_of(text.replace("|", ""), language) == [sentence.strip() for sentence in text.split("|")]


@pytest.mark.parametrize("language", ["pt-BR", "por", "pt_PT"])
def test_any_spelling_of_a_language_brings_its_abbreviations(language):
    assert sentences_of("D. Pedro chegou. O Sr. Lima saiu.", language) == ["D. Pedro chegou.", "O Sr. Lima saiu."]


def test_an_empty_line_ends_a_sentence_whatever_follows():
    assert sentences_of("a title\n\nfirst. and more\nstill", "en") == ["a title", "first. and more\nstill"]


@pytest.mark.parametrize("language", ["", "pt", "de", "ja"])
def test_no_sign_is_lost_and_no_sentence_begins_with_a_small_letter(language):
    signs = [
        *"aAbIVX159.!?\u2026\u3002\u0964\u061f()[]\"'\u00ab\u300d\u3068-\n,:",
        *SPACES,
        "Dr.",
        "No. ",
        "etc. ",
        "p. ex. ",
    ]
    chance = random.Random(7)
    for _ in range(500):
        text = "".join(chance.choices(signs, k=chance.randint(0, 60)))
        sentences = sentences_of(text, language)
        assert "".join("".join(sentences).split()) == "".join(text.split())
        assert all(any(map(str.isalnum, sentence)) for sentence in sentences[1:])
        if "\n" not in text:
            assert not any(next(filter(str.isalnum, sentence)).islower() for sentence in sentences[1:])


def test_sentences_of_a_long_text_are_those_of_a_short_one():
    """Long texts are looked at piece by piece, and where a piece ends no sentence ends."""
    sentences = [f"This is sentence number {number}, and it goes on." for number in range(TOGETHER // 10)]
    assert sentences_of(" ".join(sentences), "en") == sentences
    assert sentences_of("word " * TOGETHER, "en") == [("word " * TOGETHER).strip()]


@pytest.mark.parametrize(
    "text, limit, parts",
    [
        ("One two. Three four. Five.", 20, ["One two.", "Three four.", "Five."]),
        ("Mrs. Lee has come, at last. She did not!", 30, ["Mrs. Lee has come, at last.", "She did not!"]),
        ("A sentence of its own. Another one, as long.", 44, ["A sentence of its own. Another one, as long."]),  # fits
        ("A b? c d e f g h i j k", 12, ["A b?", "c d e f", "g h i j k"]),  # nearest to the middle
        ("see Av. Two, three four", 16, ["see Av. Two,", "three four"]),  # rather than after an abbreviation
        ("see Av. Two three four", 16, ["see Av. Two", "three four"]),
        ("one two, three four", 12, ["one two,", "three four"]),
        ("one two three four", 12, ["one two", "three four"]),
        ("\u4f60\u597d\u3002\u518d\u89c1\u3002", 4, ["\u4f60\u597d\u3002", "\u518d\u89c1\u3002"]),
        ("abcdefgh", 3, ["ab", "cd", "ef", "gh"]),
        ("aae\u0301a", 3, ["aa", "e\u0301a"]),  # an accent stays with its letter
        ("  short  ", 9, ["short"]),
    ],
)
def test_texts_are_cut_at_the_best_place_near_the_middle(text, limit, parts):
    assert split_text(text, "en", count_characters, limit) == parts


def test_any_text_can_be_cut_down_to_single_characters():
    text = "e\u0301\u0302\u0303. \u3002\u3002,, \n\U0001f600"
    assert all(0 < len(part) <= 1 for part in split_text(text, "en", count_characters, 1))
    assert split_text("ab c", "en", lambda texts: [2] * len(texts), 1) == [
        "a",
        "b",
        "c",
    ]  # each has more: left as it is


@pytest.mark.parametrize("blank", SPACES)
@pytest.mark.parametrize("language", ["pt", "en", "fr", "ja", ""])
def test_any_space_between_a_capital_letter_and_a_stop(language, blank):
    """sentencex 1.0.32 panics at those of several bytes."""
    assert sentences_of(f"Prefiro o plano B{blank}.", language) == [f"Prefiro o plano B{blank}."]
    assert sentences_of(f"Um dois.{blank}Tr\u00eas quatro.", "pt") == ["Um dois.", "Tr\u00eas quatro."]


@pytest.mark.parametrize("error", [RuntimeError, type("PanicException", (BaseException,), {})])
def test_a_text_that_the_splitter_fails_on_is_one_sentence(monkeypatch, error):
    def fail(language, text):
        raise error("no boundary")

    monkeypatch.setattr(sentence_splitting, "segment", fail)
    assert sentences_of(" One. Two.", "en") == ["One. Two."]
    assert split_text("One. Two.", "en", count_characters, 5) == ["One.", "Two."]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure_of_the_splitter(monkeypatch, error):
    def interrupted(language, text):
        raise error

    monkeypatch.setattr(sentence_splitting, "segment", interrupted)
    with pytest.raises(error):
        sentences_of("One. Two.", "en")
