"""Schemes of tags, the words of a text, and the phrasebook's topics and entities."""

import itertools

import pytest

from transformer.data.examples.phrasebook_examples import KIND_OF, PhrasebookExamples
from transformer.data.phrasebook.grammar import load_patterns
from transformer.data.tag_schemes import EDGE, entities, follows
from transformer.data.words import words_of


@pytest.mark.parametrize(
    "scheme, tags, expected",
    [
        ("iob2", "O B-A I-A B-A O B-B", [("A", 1, 3), ("A", 3, 4), ("B", 5, 6)]),
        ("bioes", "S-A B-A E-A O B-B I-B E-B", [("A", 0, 1), ("A", 1, 3), ("B", 4, 7)]),
        ("plain", "X Y", [("X", 0, 1), ("Y", 1, 2)]),
        ("iob2", "O O", []),
        ("iob2", "B-A-B I-A-B", [("A-B", 0, 2)]),
    ],
)
def test_entities_of_tags(scheme, tags, expected):
    assert [tuple(span) for span in entities(scheme, tags.split())] == expected


@pytest.mark.parametrize("scheme", ["iob2", "bioes"])
def test_all_short_sequences_are_valid_where_seqeval_reads_the_same_entities_strictly(scheme):
    """seqeval's strict mode leaves out what is no valid entity; of a valid sequence nothing is left out."""
    seqeval = pytest.importorskip("seqeval.scheme")
    kinds = ["B-A", "I-A", "B-B", "I-B", "O"] + (["E-A", "S-A", "E-B", "S-B"] if scheme == "bioes" else [])
    theirs = seqeval.IOB2 if scheme == "iob2" else seqeval.IOBES
    valid = 0
    for tags in itertools.product(kinds, repeat=3):
        ours = all(follows(scheme, tag, before) for before, tag in itertools.pairwise([EDGE, *tags, EDGE]))
        found = [(e.tag, e.start, e.end) for e in seqeval.Entities([list(tags)], theirs).entities[0]]
        covered = sum(end - start for _, start, end in found)
        assert ours == (covered == sum(tag != "O" for tag in tags)), tags
        if ours:
            valid += 1
            assert [tuple(span) for span in entities(scheme, tags)] == found
    # f(n) = 3 f(n - 1) + 2 f(n - 2) + 2 f(n - 3) + ...: O or an entity of one word, or a longer one, of two types
    assert valid == 3 * (3 * 3 + 2) + 2 * 3 + 2 == 41


def test_words_of_a_text():
    text = "Ana's flight (TP-123) costs R$ 1.250,50 at 10:30, d'água. 我1961年去 U.S."
    assert [text[start:end] for start, end in words_of(text)] == (
        "Ana 's flight ( TP-123 ) costs R $ 1.250,50 at 10:30 , d 'água . 我 1961 年 去 U.S .".split()
    )


@pytest.fixture(scope="module")
def held_out():
    return list(PhrasebookExamples("entities", "all").examples("test"))


def test_entities_of_the_phrasebook_are_what_fills_the_slots(held_out):
    found = {
        example.text: [
            (kind, example.text[example.spans[start][0] : example.spans[end - 1][1]])
            for kind, start, end in entities("iob2", example.tags)
        ]
        for example in held_out
    }
    assert found["Júlia vai à aula amanhã de manhã."] == [("PERSON", "Júlia"), ("TIME", "amanhã de manhã")]
    assert found["Julia's chest hurts a lot."] == [("PERSON", "Julia")]
    assert found["My younger brother was born in 1961."] == [("PERSON", "younger brother"), ("TIME", "1961")]
    assert found["请给我5公斤洋葱。"] == [("NUMBER", "5"), ("FOOD", "洋葱")]
    assert found["Take a sweater, because it is cold in Shanghai."] == [("THING", "sweater"), ("PLACE", "Shanghai")]
    kinds = {kind for pairs in found.values() for kind, _ in pairs}
    assert kinds == set(KIND_OF.values())


def test_every_slot_of_a_known_type_is_found_in_every_language():
    for pattern in load_patterns():
        combination = tuple(0 for _ in pattern.entries)
        for index, language in enumerate(("pt", "en", "zh")):
            spans = list(pattern.spans(language, combination))
            text = pattern.render(combination)[index]
            assert {span.kind for span in spans} == set(pattern.types), (pattern.name, language)
            assert all(0 <= span.start < span.end <= len(text) for span in spans), (pattern.name, language)


def test_topics_are_the_files_of_the_patterns():
    corpus = PhrasebookExamples("topics", "en")
    test = list(corpus.examples("test"))
    assert len(test) == 1380 and len({example.labels for example in test}) == 12
    train = {example.texts for example in corpus.examples("train")}
    assert not train & {example.texts for example in test}
    assert corpus.fingerprint() != PhrasebookExamples("topics", "pt").fingerprint()
