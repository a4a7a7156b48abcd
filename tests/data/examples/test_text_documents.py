"""Texts of language models: what a document is, what is validation, and one clear line for each fault."""

import gzip
import json
import os

import pytest
import tensorflow_datasets as tfds
from tiny_dataset import keep_data_in

from transformer.config.run import Config
from transformer.data.examples import text_documents
from transformer.data.examples.text_documents import Part, TfdsTexts, open_texts
from transformer.data.phrasebook import Sentence
from transformer.system.errors import EnvironmentFailure, UserError

POEM = "one\ntwo\n\n\nthree\n \nfour"


def corpus_of(*names, valid=(), **task):
    data = {"train": [str(name) for name in names], "valid": [str(name) for name in valid]}
    return open_texts(Config().override({"task": {"name": "language-model", **task}, "data": data}))


@pytest.fixture
def poem(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_text(POEM, encoding="utf-8")
    return path


def documents(corpus, split="train"):
    """Return the texts of whole documents; a part that goes on is joined to what it goes on from."""
    found = []
    for part in corpus.parts(split):
        if part.begins or not found:
            found.append("")
        found[-1] += part.text
    return found


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("file", [POEM + "\n"]),
        ("blank_line", ["one\ntwo", "three", "four"]),
        ("line", ["one", "two", "three", "four"]),
    ],
)
@pytest.mark.parametrize("part", [text_documents.PART, 4])
def test_what_a_document_is(poem, tmp_path, monkeypatch, kind, expected, part):
    monkeypatch.setattr(text_documents, "PART", part)
    corpus = corpus_of(poem, valid=[poem], documents=kind)
    corpus.check()
    assert [text.rstrip() for text in documents(corpus)] == [text.rstrip() for text in expected]
    assert sum(p.begins for p in corpus.parts("train")) == sum(p.ends for p in corpus.parts("train")) == len(expected)
    if kind == "file":
        assert "".join(corpus.texts("train")) == expected[0]
        assert (len(list(corpus.parts("train"))) > 1) == (part == 4)


def test_json_lines_plain_and_compressed(tmp_path):
    lines = [json.dumps({"text": text, "id": 1}, ensure_ascii=False) for text in ("a\n\nb", "", "猫")]
    plain, packed = tmp_path / "t.jsonl", tmp_path / "t.jsonl.gz"
    plain.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        assert list(corpus_of(path, valid=[plain]).parts("train")) == [
            Part("a\n\nb", True, True),
            Part("", True, True),
            Part("猫", True, True),
        ]
    for line in ("[]", '{"text": 1}', "{", '"x"', "{}", '{"text": "\\ud800"}'):
        plain.write_text(lines[0] + "\n" + line, encoding="utf-8")
        with pytest.raises(UserError, match="line 2: no JSON object with a text under the key 'text'"):
            corpus_of(plain).check()


@pytest.mark.parametrize("kind", ["file", "blank_line"])
def test_the_last_characters_are_validation(tmp_path, kind):
    path, text = tmp_path / "long.txt", "".join(f"line {n}\n" + "\n" * (n % 3 == 0) for n in range(200))
    path.write_text(text, encoding="utf-8")
    corpus = corpus_of(path, documents=kind)
    train, validation = ("".join(corpus.texts(split)) for split in ("train", "validation"))
    assert corpus.own_splits == ("train",)
    whole = "".join(part.text for part in corpus._read("train"))
    assert train + validation == whole and len(train) == int(len(whole) * 0.9)
    assert whole == text or kind != "file"
    assert not list(corpus.parts("train"))[-1].ends and not next(corpus.parts("validation")).begins
    assert corpus.describe()["validation_bytes"] == str(len(validation.encode()))


def test_a_border_between_documents_cuts_none(tmp_path):
    path = tmp_path / "ten.txt"
    path.write_text("".join(f"line{n}\n" for n in range(10)), encoding="utf-8")
    corpus = corpus_of(path, documents="line")
    assert [part for part in corpus.parts("validation")] == [Part("line9", True, True)]
    assert [part for part in corpus.parts("train")][-1] == Part("line8", True, True)


def test_chunks_are_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(text_documents, "CHUNK", 20)
    path = tmp_path / "lines.txt"
    path.write_text("twelve chars\n" * 7, encoding="utf-8")
    chunks = list(corpus_of(path, valid=[path], documents="line").examples("train"))
    assert [(chunk.split, chunk.number, len(chunk.parts)) for chunk in chunks] == [
        ("train", 0, 2),
        ("train", 1, 2),
        ("train", 2, 2),
        ("train", 3, 1),
    ]


def test_the_fingerprint_is_that_of_the_documents(poem, tmp_path):
    def fingerprint(**task):
        return corpus_of(poem, **task).fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    assert len({first, fingerprint(documents="line"), fingerprint(validation_share=0.2)}) == 3
    poem.write_text(POEM + "!", encoding="utf-8")
    assert fingerprint() != first


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "holds no text; give a file with some"),
        (b"\n \n", "holds no text"),
        (b"text\nand \x00 bytes\n", "line 2: holds a byte 0, so it is binary; give a text file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "line 1: not valid UTF-8"),
        (b"caf\xe9\n", "line 1: not valid UTF-8"),
        (b"PK\x03\x04x", "is a zip archive, not text"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, words):
    path = tmp_path / "input.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        corpus_of(path).check()
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_sources_that_cannot_be_opened(poem, tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        corpus_of(tmp_path / "none.txt")
    with pytest.raises(UserError, match="is a directory, not a text file"):
        corpus_of(tmp_path)
    with pytest.raises(UserError, match="are no training text"):
        corpus_of(valid=[poem])
    config = Config().override({"task": {"name": "language-model"}, "data": {"dataset": "x", "train": [str(poem)]}})
    with pytest.raises(UserError, match="give one source only: dataset x, or files"):
        open_texts(config)


def test_a_file_that_changes_while_in_use_is_told(poem):
    corpus = corpus_of(poem, valid=[poem])
    corpus.check()
    os.utime(poem, (1, 1))
    assert list(corpus.texts("train"))  # the same text
    poem.write_text("another", encoding="utf-8")
    with pytest.raises(EnvironmentFailure, match="changed while in use"):
        list(corpus.texts("train"))


class TinyTexts(tfds.core.GeneratorBasedBuilder):
    """Texts, made up."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "title": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(["one\n\ntwo", "drei ü"])}

    def _generate_examples(self, texts):
        for number, text in enumerate(texts):
            yield number, {"text": text, "title": str(number)}


@pytest.fixture
def tfds_folder(tmp_path):
    yield from keep_data_in(tmp_path)


def test_texts_of_tfds(tfds_folder):
    task = {"name": "language-model", "validation_share": 0.5}
    corpus = open_texts(Config().override({"task": task, "data": {"dataset": "tiny_texts"}}))
    assert isinstance(corpus, TfdsTexts)
    assert sorted(part.text for part in corpus._read("train")) == ["drei ü", "one\n\ntwo"]
    assert "".join(corpus.texts("train")) + "".join(corpus.texts("validation")) in (
        "drei üone\n\ntwo",
        "one\n\ntwodrei ü",
    )
    assert corpus.name == "tiny_texts" and len(corpus.fingerprint()) == 64


def test_a_dataset_without_texts_is_refused(tfds_folder):
    config = Config().override({"task": {"name": "language-model"}, "data": {"dataset": "tiny_pairs/bare"}})
    with pytest.raises(
        UserError, match="dataset 'tiny_pairs/bare' has no feature 'text'; take another one, or your own"
    ):
        open_texts(config)


def test_the_phrasebook_is_there_without_a_file(monkeypatch):
    sentences = {"validation": [Sentence("Bom dia.", "Good morning.", "早上好。", "free")]}
    monkeypatch.setattr("transformer.data.phrasebook.generate", sentences.get)  # making them takes seconds
    for language, text in (("pt", "Bom dia."), ("zh", "早上好。")):
        corpus = open_texts(Config().override({"task": {"name": "language-model", "language": language}}))
        assert corpus.own_splits == ("train", "validation") and corpus.name == f"phrasebook/{language}"
        assert list(corpus.parts("validation")) == [Part(text, True, True)]
        assert len(corpus.fingerprint()) == 64
