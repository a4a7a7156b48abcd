"""Whole texts: what is a text, what is cleaned, and what is taken for validation."""

import pytest
from tiny_run import denoising

from transformer.data.examples.whole_texts import open_whole_texts
from transformer.data.phrasebook import generate
from transformer.system.errors import UserError


def corpus_of(folder, contents, **changes):
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.txt")
        paths[-1].write_text(content, encoding="utf-8")
    config = denoising(folder).override({"data": {"train": [str(path) for path in paths]}}).override(changes)
    return open_whole_texts(config)


def test_each_line_is_a_text_and_training_texts_are_cleaned(tmp_path):
    content = "one <b>two</b>\n\n  three \nthree\n"
    corpus = corpus_of(tmp_path, [content], data={"validation_pairs": 1})
    assert list(corpus.examples("validation")) == []  # fewer than ten texts
    assert list(corpus.examples("train")) == ["one two", "three"]
    told = "kept 2 of 3 texts; drop_empty removed 0; drop_duplicates removed 1; strip_html changed 1"
    assert corpus.summary("train").startswith(told)


def test_a_document_of_several_lines_is_one_text(tmp_path):
    corpus = corpus_of(tmp_path, ["a.\nb.\n\nc.\n"], task={"documents": "blank_line"})
    assert list(corpus.examples("train")) == ["a. b.", "c."]


def test_validation_is_taken_from_all_files_and_never_trained_on(tmp_path):
    contents = ["".join(f"{name} {i}\n" for i in range(300)) for name in ("english", "deutsch")]
    corpus = corpus_of(tmp_path, contents, data={"validation_pairs": 40})
    train, validation = (list(corpus.examples(split)) for split in ("train", "validation"))
    assert len(validation) == 40 and len(train) == 560 and not set(train) & set(validation)
    assert {text.split()[0] for text in validation} == {"english", "deutsch"}
    other = corpus_of(tmp_path, contents, data={"validation_pairs": 41})
    assert corpus.fingerprint() != other.fingerprint()


def test_text_of_which_nothing_is_left_is_told(tmp_path):
    corpus = corpus_of(tmp_path, ["one two three\n"], cleaning={"max_words": 2})
    with pytest.raises(UserError, match=r"no text of 0.txt passed the cleaning: kept 0 of 1 texts.*Relax \[cleaning\]"):
        list(corpus.examples("train"))


@pytest.mark.parametrize("language, first", [("zh", ["zh"]), ("all", ["pt", "en", "zh"])])
def test_the_phrasebook_has_one_language_or_all(tmp_path, language, first):
    config = denoising(tmp_path).override({"data": {"train": [], "dataset": "phrasebook/denoising"}})
    texts = open_whole_texts(config.override({"task": {"language": language}})).examples("validation")
    sentence = generate("validation")[0]
    assert [next(texts) for _ in first] == [getattr(sentence, each) for each in first]
