"""Where texts are cut: between sentences, and wherever it must be."""

import pytest

from transformer.data.cleaning import BLANKS
from transformer.inference import splitting
from transformer.inference.splitting import TOGETHER, sentences_of, split_text


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


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("language", ["pt", "en", "fr", "ja", ""])
def test_any_space_between_a_capital_letter_and_a_stop(language, blank):
    """sentencex 1.0.32 panics at those of several bytes."""
    assert sentences_of(f"Prefiro o plano B{blank}.", language) == [f"Prefiro o plano B{blank}."]
    assert sentences_of(f"Um dois.{blank}Tr\u00eas quatro.", "pt") == ["Um dois.", "Tr\u00eas quatro."]


@pytest.mark.parametrize("error", [RuntimeError, type("PanicException", (BaseException,), {})])
def test_a_text_that_the_splitter_fails_on_is_one_sentence(monkeypatch, error):
    def fail(language, text):
        raise error("no boundary")

    monkeypatch.setattr(splitting, "segment", fail)
    assert sentences_of(" One. Two.", "en") == ["One. Two."]
    assert split_text("One. Two.", "en", count_characters, 5) == ["One.", "Two."]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure_of_the_splitter(monkeypatch, error):
    def interrupted(language, text):
        raise error

    monkeypatch.setattr(splitting, "segment", interrupted)
    with pytest.raises(error):
        sentences_of("One. Two.", "en")
