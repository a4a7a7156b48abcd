"""Corpora: one interface over files and TFDS, the held-out validation pairs, and one clear line for each mistake."""

import gzip
import itertools
import os
import random
from collections import Counter

import pytest
import tensorflow_datasets as tfds
import tiny_dataset

from transformer.config.run import Config
from transformer.data.examples import text_files
from transformer.data.examples.pairs import open_corpus
from transformer.system.errors import UserError


@pytest.fixture(scope="module")
def tiny_pairs(tmp_path_factory):
    yield from tiny_dataset.keep_data_in(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return write_file


def numbered(count, copies=1):
    return [(f"s{number}", f"t{number}") for number in range(count) for _ in range(copies)]


def columns(pairs):
    return ("".join(pair[side] + "\n" for pair in pairs) for side in (0, 1))


def opened(source_language="", target_language="", **data):
    task = {"source_language": source_language, "target_language": target_language}
    return open_corpus(Config().override({"task": task, "data": data}))


def aligned(write, pairs, folder="corpus", suffix="", **config):
    source, target = columns(pairs)
    train = [write(f"{folder}/train.en{suffix}", source), write(f"{folder}/train.de{suffix}", target)]
    return opened(train=train, **config)


def failure(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# Files


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_aligned_files_and_tsv_give_the_same_pairs(write, suffix):
    pairs = [("Hello.", "Hallo."), ("a\u2028b", "c\x0bd"), ("", ""), ("last", "letzter")]
    source, target = (text.replace("\n", "\r\n") for text in columns(pairs))
    valid = {"valid": [write("v.en", "v\n"), write("v.de", "w")]}
    files = [write("a.en" + suffix, "\ufeff" + source), write("a.de" + suffix, target)]
    tsv = [write("a.tsv" + suffix, "Hello.\tHallo.\na\u2028b\tc\x0bd\n\nlast\tletzter\tnote\n")]
    for train in (files, tsv):
        corpus = opened(train=train, **valid)
        assert list(corpus.pairs("train")) == pairs
        assert list(corpus.pairs("validation")) == [("v", "w")]
        assert corpus.splits == ("train", "validation")


def test_name_and_languages(write):
    corpus = aligned(write, numbered(3), source_language="en", target_language="de")
    assert (corpus.name, corpus.source_language, corpus.target_language) == ("train.en + train.de", "en", "de")
    assert aligned(write, numbered(3)).source_language == ""


def test_an_unknown_split_is_a_programming_error(write):
    with pytest.raises(ValueError, match=r"split must be one of \('train', 'validation'\), got 'test'"):
        aligned(write, numbered(3)).pairs("test")


def test_files_are_streamed(write, monkeypatch):
    read = Counter()

    def counting(path, lines=text_files.lines):
        for line in lines(path):
            read[path.name] += 1
            yield line

    valid = {"valid": [write("v.en", "v\n"), write("v.de", "w\n")]}
    corpus = aligned(write, numbered(5000), **valid)
    corpus.check()
    monkeypatch.setattr(text_files, "lines", counting)
    assert list(itertools.islice(corpus.pairs("train"), 3)) == numbered(3)
    assert read == {"train.en": 3, "train.de": 3}


def test_the_files_are_read_once_for_check_and_fingerprint(write, monkeypatch):
    corpus = aligned(write, numbered(20))
    opened = []
    monkeypatch.setattr(text_files, "lines", lambda path, lines=text_files.lines: opened.append(path) or lines(path))
    corpus.check()
    corpus.fingerprint()
    corpus.check()
    assert len(opened) == 2


def test_fingerprint_tells_content_not_place(write):
    base = aligned(write, numbered(30)).fingerprint()
    assert len(base) == 64
    assert aligned(write, numbered(30), folder="elsewhere").fingerprint() == base
    assert aligned(write, numbered(30), suffix=".gz").fingerprint() == base
    assert aligned(write, numbered(31)).fingerprint() != base
    assert aligned(write, numbered(30)[::-1]).fingerprint() != base
    assert aligned(write, [pair[::-1] for pair in numbered(30)]).fingerprint() != base
    assert aligned(write, numbered(30), validation_pairs=7).fingerprint() != base
    valid = {"valid": [write("v.en", "v\n"), write("v.de", "w\n")]}
    given = aligned(write, numbered(30), **valid).fingerprint()
    assert given != base
    assert aligned(write, numbered(30), validation_pairs=7, **valid).fingerprint() == given
    tested = aligned(write, numbered(30), test=[write("t.tsv", "t\tu\n")], **valid)
    assert tested.fingerprint() == given  # nothing is learned from it
    assert list(tested.pairs("test")) == [("t", "u")]


# Faults in files


def test_missing_file_and_directory(write, tmp_path):
    there = write("there.en", "a\n")
    gone = str(tmp_path / "gone.de")
    assert failure(lambda: opened(train=[there, gone])) == (f"there is no file {gone}; check the path")
    assert failure(lambda: opened(train=[str(tmp_path)])) == (
        f"{tmp_path} is a directory, not a text file; name a file inside it"
    )
    assert gone in failure(lambda: opened(train=[there, there], valid=[there, gone]))


def test_a_pipe_cannot_be_read_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    message = failure(lambda: opened(train=[str(tmp_path / "pipe")]))
    assert message.endswith("pipe is a pipe or a device, and text is read more than once; save it to a file first")


def test_unequal_line_counts_tell_both_and_the_first_unmatched_line(write):
    source, target = write("a.en", "1\n2\n3\n"), write("a.de", "1\n2\n3\n4\n5\n")
    message = "line 4 has no counterpart; line n of one must be the translation of line n of the other"
    corpus = opened(train=[source, target])
    assert failure(corpus.check) == f"{source} has 3 lines and {target} has 5: {message}"
    assert failure(corpus.fingerprint) == failure(corpus.check)
    assert failure(lambda: list(corpus.pairs("train"))) == failure(corpus.check)
    corpus = opened(train=[target, source])
    assert failure(corpus.check) == f"{target} has 5 lines and {source} has 3: {message}"


def test_faults_of_validation_files_are_found_by_check(write):
    good, bad = write("good", "1\n2\n"), write("bad", "1\n")
    corpus = opened(train=[good, good], valid=[good, bad])
    assert failure(corpus.check).startswith(f"{good} has 2 lines and {bad} has 1: line 2 has no counterpart")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ok\tgut\nno\xff\tnein\n", ", line 2: not valid UTF-8 (byte 0xff at position 3); convert it to UTF-8"),
        (b"ok\tgut\n\nalone\n", ", line 3: one column; expected source TAB target"),
        (b"", " holds no text; give a file with one sentence a line"),
        (b"\t\n\t\n", " holds no text; give a file with one sentence a line"),
    ],
)
def test_faults_inside_a_tsv(write, content, message):
    path = write("a.tsv", content)
    assert failure(opened(train=[path]).check) == path + message


def test_a_file_that_changes_between_two_readings_is_named(write, tmp_path):
    corpus = aligned(write, numbered(40))
    assert len(list(corpus.pairs("train"))) == 36
    source, target = (tmp_path / "corpus" / name for name in ("train.en", "train.de"))
    text = target.read_text()
    os.utime(target, (1, 1))  # a new date alone changes nothing
    assert len(list(corpus.pairs("train"))) == 36
    for other in (text[:-20], text.replace("t7", "x7")):
        target.write_text(other)
        assert failure(lambda: list(corpus.pairs("validation"))) == (
            f"{target} changed while in use; put back what was there, or begin another --run"
        )
    target.write_text(text)
    assert len(list(corpus.pairs("train"))) == 36
    stream = corpus.pairs("train")
    next(stream)
    source.unlink()  # while it is read
    assert failure(lambda: list(stream)).startswith(f"{source} changed while in use")


def test_tfds_files_that_are_gone_or_damaged_are_named(tmp_path):
    for folder in tiny_dataset.keep_data_in(tmp_path):
        assert folder is None
        corpus = opened(dataset="tiny_pairs/pt_to_en")
        (path,) = tmp_path.rglob("*train.tfrecord*")
        for content in (path.read_bytes()[:-3], None):
            path.unlink() if content is None else path.write_bytes(content)
            assert failure(lambda corpus=corpus: list(corpus.pairs("train"))) == (
                f"dataset tiny_pairs/pt_to_en is damaged, or cannot be read, in {path.parent}; "
                "remove that folder and it is prepared again"
            )


# Validation pairs taken from training


def test_validation_is_a_tenth_at_most_and_disjoint(write):
    pairs = numbered(500)
    corpus = aligned(write, pairs)
    train, validation = list(corpus.pairs("train")), list(corpus.pairs("validation"))
    assert len(validation) == 50
    assert set(train) | set(validation) == set(pairs) and not set(train) & set(validation)
    assert train == [pair for pair in pairs if pair in set(train)]  # the order of the file
    corpus = aligned(write, pairs, validation_pairs=20)
    assert len(list(corpus.pairs("validation"))) == 20
    assert set(corpus.pairs("validation")) < set(validation)
    assert len(list(corpus.pairs("train"))) == 480


def test_validation_does_not_depend_on_the_order(write):
    pairs = numbered(300)
    expected = set(aligned(write, pairs).pairs("validation"))
    random.Random(1).shuffle(pairs)
    assert set(aligned(write, pairs).pairs("validation")) == expected


def test_copies_stand_on_one_side_also_when_cleaning_makes_them_equal(write):
    variants = [("{}", "t{}"), (" {}\u2581", "t{}"), ("<b>{}</b>", "t{} "), ("{}", "<p>t{}</p>")]
    pairs = [(source.format(n), target.format(n)) for n in range(200) for source, target in variants]
    corpus = aligned(write, pairs)
    train, validation = ({"".join(filter(str.isdigit, p[0])) for p in corpus.pairs(s)} for s in corpus.splits)
    assert len(validation) == 20  # 800 lines: 80 of them go, 4 copies each
    assert not train & validation and len(train) == 180
    assert len(list(corpus.pairs("validation"))) == 20  # one copy of each
    assert len(list(corpus.pairs("train"))) == 720


def test_a_frequent_pair_never_empties_training(write):
    pairs = [("often", "oft")] * 50 + numbered(50)
    corpus = aligned(write, pairs)
    assert len(list(corpus.pairs("validation"))) == 10
    assert list(corpus.pairs("train")).count(("often", "oft")) == 50


def test_half_empty_pairs_are_never_validation(write):
    pairs = [("", f"t{number}") for number in range(50)] + [(f"s{number}", " ") for number in range(40)] + numbered(10)
    assert set(aligned(write, pairs).pairs("validation")) == set(numbered(10))


def test_fewer_than_ten_pairs_give_no_validation(write):
    assert list(aligned(write, numbered(9)).pairs("validation")) == []
    assert len(list(aligned(write, numbered(9)).pairs("train"))) == 9
    assert len(list(aligned(write, numbered(10)).pairs("validation"))) == 1


# Which source


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dataset": "a", "train": ["b", "c"]}, "give one source only: dataset a, or files (b + c)"),
        ({"valid": ["d", "e"]}, "d + e are no training text; name that too, as data.train"),
        (
            {"train": ["c"], "valid": ["d", "e", "f"]},
            "the validation text must be two files, source and target, or one TSV of both, got d + e + f",
        ),
        (
            {"train": ["c"], "source_language": "xx"},
            "unknown language 'xx'. Give an ISO 639 code such as 'en', 'pt' or 'zh'",
        ),
    ],
)
def test_contradicting_sources(config, message):
    assert failure(lambda: opened(**config)).startswith(message)


# TFDS


def test_tfds_directions_and_splits(tiny_pairs):
    corpus = opened(dataset="tiny_pairs/pt_to_en")
    assert (corpus.name, corpus.source_language, corpus.target_language) == ("tiny_pairs/pt_to_en", "pt", "en")
    assert set(corpus.splits) == {"train", "validation", "test", "free"}
    assert sorted(corpus.pairs("train")) == sorted((f"frase {n} é", f"sentence {n}") for n in range(40))
    assert list(corpus.pairs("free")) == [("livre", "free")]
    assert list(corpus.pairs("train")) == list(corpus.pairs("train"))
    for languages in ({"source_language": "en"}, {"target_language": "pt"}):
        swapped = opened(dataset="tiny_pairs/pt_to_en", **languages)
        assert (swapped.source_language, swapped.target_language) == ("en", "pt")
        assert list(swapped.pairs("test")) == [("test", "teste")]
        assert swapped.fingerprint() != corpus.fingerprint()
    spelled = opened(dataset="tiny_pairs/pt_to_en", source_language="eng", target_language="POR")
    assert (spelled.source_language, spelled.target_language) == ("en", "pt")
    again = opened(dataset="tiny_pairs/pt_to_en", validation_pairs=3)
    assert again.fingerprint() == corpus.fingerprint()
    message = failure(lambda: opened(dataset="tiny_pairs/pt_to_en", source_language="de"))
    assert message == "dataset tiny_pairs/pt_to_en has no language 'de', only pt, en"
    assert "two different languages" in failure(
        lambda: opened(dataset="tiny_pairs/pt_to_en", source_language="en", target_language="en")
    )


def test_tfds_pairs_are_those_that_tfds_reads(tiny_pairs):
    corpus = opened(dataset="tiny_pairs/pt_to_en")
    examples = tfds.as_numpy(tfds.load("tiny_pairs/pt_to_en", split="train", shuffle_files=False))
    expected = [(example["pt"].decode(), example["en"].decode()) for example in examples]
    assert list(corpus.pairs("train")) == expected and len(expected) == 40


def test_tfds_in_another_file_format(tiny_pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path))
    tfds.builder("tiny_pairs/bare", file_format="array_record").download_and_prepare()
    folder = tmp_path / "tiny_pairs" / "bare" / "1.0.0"
    assert failure(lambda: opened(dataset="tiny_pairs/bare")) == (
        f"dataset tiny_pairs/bare is prepared as array_record in {folder}, not as TFRecord; "
        "move that folder away and it is prepared again"
    )


def test_tfds_without_validation_is_divided(tiny_pairs):
    corpus = opened(dataset="tiny_pairs/bare")
    assert corpus.splits == ("train", "validation")
    train, validation = (set(corpus.pairs(split)) for split in corpus.splits)
    assert (len(train), len(validation)) == (36, 4) and not train & validation
    smaller = opened(dataset="tiny_pairs/bare", validation_pairs=3)
    assert smaller.fingerprint() != corpus.fingerprint()


def test_tfds_without_training_split(tiny_pairs):
    message = failure(lambda: opened(dataset="tiny_pairs/only_test"))
    assert message.startswith(
        "dataset tiny_pairs/only_test has no split 'train', only test; use the embedded phrasebook"
    )


# Real text


def test_multi30k(data_folder):
    files = {
        part: [str(data_folder("multi30k") / f"{part}.{code}") for code in ("en", "de")] for part in ("train", "val")
    }
    corpus = opened(train=files["train"], valid=files["val"])
    train, validation = list(corpus.pairs("train")), list(corpus.pairs("validation"))
    assert (len(train), len(validation)) == (29_000, 1_014)  # the counts of Elliott et al. 2016, Table 1
    assert train[0] == (
        "Two young, White males are outside near many bushes.",
        "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    )
