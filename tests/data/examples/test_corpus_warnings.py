"""What looks wrong in a user's text: more columns, numbers, headers, swapped languages; and what does not."""

import itertools

import pytest
from number_corpus import unlike_pairs
from tiny_run import pairs as tiny_pairs
from tiny_run import tiny_config

from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.run import Config
from transformer.data.examples.corpus_warnings import swapped
from transformer.data.examples.pairs import open_corpus
from transformer.data.phrasebook import generate
from transformer.training.preparation import prepare_new_run

GREETINGS = [
    ("Good morning.", "Guten Morgen."),
    ("Where is the station?", "Wo ist der Bahnhof?"),
    ("I would like a coffee, please.", "Ich möchte bitte einen Kaffee."),
    ("How much does it cost?", "Wie viel kostet das?"),
    ("My name is Anna.", "Ich heiße Anna."),
    ("We are going home now.", "Wir gehen jetzt nach Hause."),
    ("The weather is fine today.", "Das Wetter ist heute schön."),
    ("He has lost his keys.", "Er hat seine Schlüssel verloren."),
    ("That was a good idea.", "Das war eine gute Idee."),
    ("Thank you very much for your help.", "Vielen Dank für Ihre Hilfe."),
    ("They live in a small village.", "Sie wohnen in einem kleinen Dorf."),
]
ENGLISH = [english for english, _ in GREETINGS]


@pytest.fixture
def warnings(tmp_path):
    """Return a function from the lines of a TSV, or of two files, to its warnings without the path."""

    def of_lines(*files, **languages):
        for name, lines in zip("ab", files, strict=False):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        one, two = str(tmp_path / "a"), str(tmp_path / "b")
        config = Config().override({"task": languages, "data": {"train": [one, two][: len(files)]}})
        found = list(open_corpus(config).warnings())
        assert all(warning.startswith(one) or warning.startswith(two) for warning in found)
        return [warning.removeprefix(one).removeprefix(f" and {two}") for warning in found]

    return of_lines


def as_tsv(rows):
    return ["\t".join(row) for row in rows]


def test_what_is_ignored_is_named(warnings):
    rows = [*GREETINGS[:3], (*GREETINGS[3], "CC-BY 2.0 (France) by CK"), (*GREETINGS[4], "")]
    assert warnings(as_tsv(rows)) == [
        ": 2 of the first 5 lines have more than two columns; source and target are the first two, the rest is "
        "ignored, such as 'CC-BY 2.0 (France) by CK' in line 4"
    ]


@pytest.mark.parametrize(
    "number", [lambda n: str(n), lambda n: f"{1 - n / 100:.4f}", lambda n: f"2024-01-{n:02d} 12:00"]
)
def test_numbers_in_the_first_column_are_named(warnings, number):
    (told,) = warnings(as_tsv((number(n), text) for n, text in enumerate(ENGLISH, start=1)))
    assert told == (
        ": the first column of 11 of the first 11 lines is a number, and is taken as the source; "
        "if it is not meant so, drop it: cut -f2-"
    )


def test_a_tsv_given_as_one_of_two_files_is_named(warnings):
    (told,) = warnings(as_tsv(GREETINGS), ENGLISH)
    assert told == (
        ": 11 of the first 11 lines hold a TAB, which is taken as text; if it divides source from target, give the "
        "file as --tsv"
    )


@pytest.mark.parametrize("target", ["请问车站在哪里？", "駅はどこですか"])
def test_a_chinese_target_without_a_language_is_named(warnings, target):
    pairs = [("Where is the station?", target)] * 5
    (told,) = warnings(as_tsv(pairs))
    assert "the targets look like Chinese or Japanese, and no language is named, so that BLEU splits them" in told
    assert warnings(as_tsv(pairs), source_language="en", target_language="zh") == []
    assert warnings(as_tsv([(target, source) for source, target in pairs])) == []
    assert warnings(as_tsv([("The sign says stop", "На вывеске написано 止")] * 5)) == []


@pytest.mark.parametrize("header", [("source", "target"), ("English", "German"), ("en", "de"), ("SRC", " trg ")])
def test_a_header_is_named(warnings, header):
    languages = {"source_language": "en", "target_language": "de"}
    told = f": line 1 looks like a header ('{header[0]}', '{header[1]}'), and is taken as a pair; if it is one, drop it"
    assert warnings(as_tsv([header, *GREETINGS]), **languages) == [f"{told}: tail -n +2"]


def test_plain_pairs_are_not_warned_of(warnings, data_folder):
    languages = {"source_language": "en", "target_language": "de"}
    assert warnings(as_tsv(GREETINGS), **languages) == []
    assert warnings(*zip(*GREETINGS, strict=True), **languages) == []
    assert warnings(as_tsv(unlike_pairs(50)), **languages) == []  # numbers on both sides
    assert warnings(["text\ttexto", "home\tcasa"], source_language="en", target_language="pt") == []
    files = [data_folder("multi30k").joinpath(f"train.{code}").read_text(encoding="utf-8") for code in ("en", "de")]
    assert warnings(*(text.split("\n")[:3000] for text in files), **languages) == []


def test_swapped_languages_are_named(warnings):
    turned = {"source_language": "de", "target_language": "en"}
    assert warnings(as_tsv(GREETINGS), **turned) == [
        ": source and target look swapped, en to de instead of de to en; if they are, swap the files or the languages "
        "(of a TSV, the columns)"
    ]


@pytest.mark.parametrize("source, target", [*itertools.permutations(("pt", "en", "zh"), 2)])
def test_the_phrasebook_is_swapped_only_where_it_is(source, target):
    sentences = generate("train")[::2000]
    for start in range(0, len(sentences) - 20, 20):
        pairs = [(getattr(s, source), getattr(s, target)) for s in sentences[start : start + 20]]
        assert swapped(pairs, target, source) and not swapped(pairs, source, target)


@pytest.mark.parametrize(
    "pairs, source, target",
    [
        (tiny_pairs(50), "pt", "en"),
        (unlike_pairs(50), "en", "de"),  # nothing to go by
        (GREETINGS[:9], "de", "en"),  # too few to tell
        (GREETINGS, "", "en"),
        (GREETINGS, "en", "en"),
        (GREETINGS, "de", "de_AT"),
        (GREETINGS, "xx", "de"),
        (GREETINGS, "fr", "de"),  # one of them is wrong, which is not what is asked
        ([(text, text) for text in ENGLISH], "de", "en"),
        ([("Привет, мир", "Bonjour")] * 20, "ru", "fr"),
        ([("你好", "こんにちは")] * 20, "zh", "ja"),
        ([("Zdravo svete", "Hello")] * 20, "sr", "en"),  # Serbian in Latin letters
    ],
)
def test_what_is_not_swapped(pairs, source, target):
    assert not swapped(pairs, source, target)


@pytest.mark.parametrize(
    "pairs, source, target",
    [
        ([("Привет, мир", "Bonjour")] * 20, "fr", "ru"),
        ([("Привет, NATO", "γεια σου, NATO")] * 20, "el", "ru"),
        ([("မင်္ဂလာပါ", "hello")] * 20, "en", "my"),  # a language that the identifier does not know
        ([("你好", "hello")] * 20, "en", "zh-TW"),
        (tiny_pairs(50), "en", "pt"),
        (GREETINGS, "de", "en"),
    ],
)
def test_what_is_swapped(pairs, source, target):
    assert swapped(pairs, source, target)


def test_the_warnings_are_said_before_anything_is_learned(tmp_path):
    (tmp_path / "a.tsv").write_text("".join(f"{a}\t{b}\tnote\n" for a, b in tiny_pairs(60)), encoding="utf-8")
    told = []
    data, languages = {"train": [str(tmp_path / "a.tsv")]}, {"source_language": "en", "target_language": "pt"}
    prepare_new_run(tiny_config(tmp_path, data, task=languages), RunDirectory(tmp_path / "run"), told.append)
    assert told[0].startswith("warning: ") and "more than two columns" in told[0]
    assert told[1].startswith("warning: ") and "look swapped" in told[1]
    assert told[2].startswith("learning the vocabulary")
