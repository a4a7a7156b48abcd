"""Labels, tags and answers in files as people have them, what is held out, and one clear line for each fault."""

import collections
import gzip
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tiny_dataset import keep_data_in

from transformer.config.run import Config
from transformer.config.tasks import ClassificationSettings, TaggingSettings
from transformer.data.examples.annotated import Answer, FileExamples, Question
from transformer.data.examples.iob2 import tagged, tfds_tags
from transformer.data.examples.open_annotated import open_examples
from transformer.data.examples.squad import questions, tfds_question
from transformer.data.examples.tables import (
    MOST_WARNINGS,
    has_columns,
    label_warnings,
    labelled,
    tfds_labels,
    unlabelled,
)
from transformer.system.errors import EnvironmentFailure, UserError
from transformer.tasks import task_class


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def rows(path, **settings):
    return [(example.texts, example.labels) for example in labelled(path, ClassificationSettings(**settings))]


def told(function, *arguments, **settings):
    with pytest.raises(UserError) as error:
        list(function(*arguments, **settings))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name, content, settings",
    [
        ("a.tsv", "good film\tyes\n\nbad \"film\tno\n", {}),
        ("a.tsv", "id\tlabel\ttext\n1\tyes\tgood film\n2\tno\tbad \"film\n", {"text": ("text",), "label": "label"}),
        ("a.tsv", "yes\tgood film\nno\tbad \"film\n", {"text": ("2",), "label": "1"}),
        ("a.csv", 'good film,yes\r\n"bad ""film",no\r\n', {}),
        ("a.csv", 'text,label\n"good film",yes\n"bad ""film",no\n', {}),
        ("a.tsv", "id\tLabel\tSentence \n1\tyes\tgood film\n2\tno\tbad \"film\n", {}),
        ("a.csv", 'ticket,kind\n"good film",yes\n"bad ""film",no\n', {"skip_header": True}),
        ("a.csv", 'label,text\nyes,good film\nno,"bad ""film"\n', {"text": ("text",), "label": "1"}),
        ("a.jsonl", '{"text": "good film", "label": "yes"}\n\n{"sentence": "bad \\"film", "label": "no"}\n', {}),
        ("a.csv.gz", gzip.compress(b'good film,yes\n"bad ""film",no\n', mtime=0), {}),
    ],
)  # fmt: skip
def test_a_table_in_all_its_forms(write, name, content, settings):
    assert rows(write(name, content), **settings) == [(("good film",), ("yes",)), (('bad "film',), ("no",))]


def test_a_table_of_more_columns_says_which_are_read(write):
    path = write("a.csv", "id,message,queue\n1,no light,bug\n")
    assert "a.csv has 3 columns: 'id', 'message', 'queue'; say which are text and label" in told(
        labelled, path, ClassificationSettings()
    )
    assert rows(path, text=("message",), label="queue") == [(("no light",), ("bug",))]


@pytest.mark.parametrize(
    "name, content, settings",
    [
        ("a.csv", 'id,message\n1,"no\nlight"\n2,late\n', {"text": ("message",), "label": "queue"}),
        ("a.csv", 'message\n"no\nlight"\nlate\n', {"text": ("1",), "label": "queue"}),
        ("a.csv", 'id,text\n1,"no\nlight"\n2,late\n', {}),
        ("a.csv", '"no\nlight"\nlate\n', {}),
        ("a.jsonl", '{"message": "no\\nlight"}\n{"message": "late"}\n', {"text": ("message",), "label": "queue"}),
        ("a.jsonl.gz", gzip.compress(b'{"text": "no\\nlight"}\n{"sentence": "late"}\n', mtime=0), {}),
    ],
)
def test_texts_without_labels_are_read_from_the_columns_of_training(write, name, content, settings):
    path = write(name, content)
    assert has_columns(path) and not has_columns(path.with_name("a.tsv"))
    assert list(unlabelled(path, ClassificationSettings(**settings))) == [("no\nlight",), ("late",)]


def test_few_of_many_labels_that_occur_once_are_looked_at():
    counts = collections.Counter({"bus": 50, **{f"bus{i}": 1 for i in range(5000)}})
    told = list(label_warnings(dict.fromkeys(counts, "a.tsv, line 9"), counts))
    assert len(told) == MOST_WARNINGS
    assert told[0] == "a.tsv, line 9: no other line has the label 'bus0'. Did you mean 'bus'?"
    assert list(label_warnings({"one": "a.tsv, line 1"}, collections.Counter({"one": 1, "two": 18}))) == []


def test_a_quoted_text_of_csv_may_have_line_ends_and_the_line_is_told(write):
    path = write("a.csv", 'text,label\n"one\ntwo, three",1\nfour,2\n')
    found = list(labelled(path, ClassificationSettings(text=("text",), label="label")))
    assert [example.texts for example in found] == [("one\ntwo, three",), ("four",)]
    assert [example.place for example in found] == [f"{path}, line 3", f"{path}, line 4"]
    path = write("b.csv", 'one,1\n"two,2\n')
    assert f"{path}, line 2: unexpected end of data" in told(labelled, path, ClassificationSettings())


def test_pairs_several_labels_and_numbers(write):
    pair = write("p.tsv", "a\tb\t3.5\nc\td\t-1e2\n")
    settings = {"text": ("1", "2"), "label": "3", "kind": "number"}
    assert rows(pair, **settings) == [(("a", "b"), ("3.5",)), (("c", "d"), ("-1e2",))]
    several = write("s.tsv", "x\tsport; art\ny\t\nz\tart\n")
    assert [labels for _, labels in rows(several, kind="several", separator=";")] == [("art", "sport"), (), ("art",)]
    lists = write("s.jsonl", '{"text": "x", "label": ["b", "a", "b"]}')
    assert rows(lists, kind="several") == [(("x",), ("a", "b"))]
    assert "'nan' is no number" in told(labelled, write("n.tsv", "a\tnan\n"), ClassificationSettings(kind="number"))


@pytest.mark.parametrize(
    "name, content, settings, message",
    [
        ("a.tsv", "x\ty\nz\n", {}, "line 2: column 2 is missing, there are 1 between TABs"),
        ("a.csv", "x,y\nz,1\n", {"text": ("txt",), "label": "y"}, "has no column 'txt'; its first line names 'x', 'y'"),
        ("a.tsv", "x\t \n", {}, "line 1: no label"),
        ("a.tsv", " \tx\n", {}, "line 1: no text"),
        ("a.jsonl", '{"txt": "x"}', {}, "line 1: no key 'text', only 'txt'"),
        ("a.jsonl", '{"text": "x", "label": ["a"]}', {}, "is no text"),
        ("a.jsonl", '{"text": 1, "label": "a"}', {}, "a text must be a string"),
        ("a.jsonl", "[1]", {}, "line 1: no JSON object"),
        ("a.jsonl", '{"text": "x", "label": null}', {}, "line 1: no label"),
    ],
)
def test_what_is_wrong_in_a_table_is_told(write, name, content, settings, message):
    assert message in told(labelled, write(name, content), ClassificationSettings(**settings))


CONLL_2003 = (
    "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nin IN B-PP O\nNew NNP B-NP B-LOC\nYork NNP I-NP I-LOC\n\n# SYM O O\n"
)
UNER = (
    "# newdoc id = a\n# text = EU in New York\n1\tEU\tB-ORG\t-\n2\tin\tO\t-\n3-4\tNewYork\t_\t_\n3\tNew\tB-LOC\t-\n"
    "4\tYork\tI-LOC\t-\n\n# text = # O\n1\t#\tO\t-\n"
)
NAMED = "# global.columns = ID FORM NER\n" + UNER.replace("\t-\n", "\n").replace("\t_\n", "\n")
TABLE = "token\tpos\tner\nEU\tN\tB-ORG\nin\tP\tO\nNew\tN\tB-LOC\nYork\tN\tI-LOC\n\n#\tS\tO\n"


@pytest.mark.parametrize(
    "content, settings",
    [
        (CONLL_2003, {}),
        (UNER, {"word": "2", "tag": "3"}),
        (NAMED, {"word": "FORM", "tag": "NER"}),
        (TABLE, {"word": "token", "tag": "ner"}),
        (TABLE, {"word": "1", "tag": "ner"}),
    ],
)
def test_a_file_of_tags_in_all_its_forms(write, content, settings):
    one, other = tagged(write("a.conll", content), TaggingSettings(**settings))
    assert one.text == "EU in New York" and one.tags == ("B-ORG", "O", "B-LOC", "I-LOC")
    assert [one.text[start:end] for start, end in one.spans] == ["EU", "in", "New", "York"]
    assert (other.text, other.tags) == ("#", ("O",))


def test_bioes_and_plain_tags(write):
    path = write("a.conll", "Ana S-PER\nin O\nNew B-LOC\nYork I-LOC\nCity E-LOC\n")
    assert next(tagged(path, TaggingSettings(scheme="bioes"))).tags[2:] == ("B-LOC", "I-LOC", "E-LOC")
    path = write("b.conll", "# sent_id = 1\nthe DET\ncat NOUN\n# SYM\n")
    assert next(tagged(path, TaggingSettings(scheme="plain"))).tags == ("DET", "NOUN", "SYM")


@pytest.mark.parametrize(
    "content, settings, message",
    [
        ("a O\nb I-LOC\n", {}, "line 2: 'I-LOC' cannot stand behind 'O'"),
        ("a O\n\nb I-LOC\n", {}, "line 3: 'I-LOC' cannot stand at the beginning"),
        ("a B-PER\nb I-LOC\n", {}, "line 2: 'I-LOC' cannot stand behind 'B-PER'"),
        ("a NOUN\n", {}, "line 1: 'NOUN' is no tag: IOB2 has O, B-TYPE and I-TYPE"),
        ("a B-\n", {}, "line 1: 'B-' is no tag"),
        ("a S-X\n", {}, "line 1: 'S-X' is no tag"),
        ("a\n", {}, "line 1: column 2 is missing"),
        ("a\tb\tO\n", {"tag": "4"}, "line 1: column 4 is missing, there are 3"),
        ("form ner\na O\n", {"word": "from", "tag": "ner"}, "no column 'from', only 'form', 'ner'. Did you mean"),
        ("a B-X\nb B-X\n", {"scheme": "bioes"}, "line 2: 'B-X' cannot stand behind 'B-X'"),
        ("a O\nb B-X\n", {"scheme": "bioes"}, "line 1: the sentence ends with 'B-X'"),
        ("a E-X\n", {"scheme": "bioes"}, "line 1: 'E-X' cannot stand at the beginning"),
        ("a\t\n", {"scheme": "plain"}, "line 1: '' is no tag: a tag must not be empty"),
    ],
)  # fmt: skip
def test_tags_that_are_none_are_told_with_file_and_line(write, content, settings, message):
    path = write("a.conll", content)
    found = told(tagged, path, TaggingSettings(**settings))
    assert found.startswith(str(path)) and message in found


def squad(*qas, context="Paris is in France."):
    return json.dumps({"version": "2.0", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]})


def asked(name, text="Paris", start=0, **more):
    return {"id": name, "question": "Where?", "answers": [{"text": text, "answer_start": start}], **more}


def test_questions_of_both_versions(write):
    none = {"id": "c", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": [{}]}
    found = list(questions(write("q.json", squad(asked("a"), asked("b", "France", 12, is_impossible=False), none))))
    assert [question.answers for question in found] == [(Answer("Paris", 0),), (Answer("France", 12),), ()]
    assert found[0][:3] == ("a", "Where?", "Paris is in France.")


@pytest.mark.parametrize(
    "content, message",
    [
        (squad(asked("a"), asked("b7", start=1)), "question 'b7': the answer 'Paris' is not at answer_start 1,"),
        (squad(asked("a", start=-5), asked("b", start=3)), "; and 1 more"),
        (squad(asked("a"), asked("a")), "another one has the id 'a'"),
        (squad({"id": "a", "question": "Why?", "answers": []}), "it has no answer; say so with"),
        (squad({"id": "a", "question": "Why?", "answers": [{"text": "Paris"}]}), "an answer needs a text and a number"),
        (squad({"id": "a"}), "needs an id, a question and a context"),
        ("[]", "is missing or of a wrong type"),
        ("{", "is not valid JSON"),
        ('{"data": [{}]}', "'paragraphs' is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_of_questions_is_told(write, content, message):
    assert message in told(questions, write("q.json", content))


def table(count):
    return "".join(f"text {i // 2}\t{i % 2}\n" for i in range(count))  # each text twice


def corpus(path, pairs=20, **more):
    settings = ClassificationSettings()
    return FileExamples({"train": (path,)}, lambda path: labelled(path, settings), pairs, **more)


def test_splits_are_disjoint_the_same_at_each_run_and_keep_equal_texts_together(write):
    path = write("a.tsv", table(200))
    found = corpus(path, test_share=0.2, seed=3)
    splits = {split: [example.texts for example in found.examples(split)] for split in found.splits}
    assert {split: len(examples) for split, examples in splits.items()} == {"train": 144, "validation": 16, "test": 40}
    assert not set(splits["train"]) & set(splits["test"]) and not set(splits["train"]) & set(splits["validation"])
    again = corpus(path, test_share=0.2, seed=3)
    assert [example.texts for example in again.examples("test")] == splits["test"]
    other = corpus(path, test_share=0.2, seed=4)
    assert [example.texts for example in other.examples("test")] != splits["test"]
    assert len({c.fingerprint() for c in (found, other, corpus(path), corpus(path, 5))}) == 4
    with pytest.raises(UserError, match="has no split 'test', only train, validation"):
        corpus(path).examples("test")


def test_a_file_that_changes_while_in_use_is_told(write):
    path = write("a.tsv", table(20))
    found = corpus(path)
    first = next(found.examples("train"))
    assert first.texts == ("text 0",)
    path.write_text(table(20).replace("text 9", "another"))
    with pytest.raises(EnvironmentFailure, match="changed while in use"):
        list(found.examples("train"))


def opened(**data):
    config = Config().override({"task": {"name": "classification"}, "data": data})
    return open_examples(config, lambda path: labelled(path, config.task), "label", lambda _: None, lambda: "embedded")


def test_one_source_is_opened_or_told(write):
    path = str(write("a.tsv", table(20)))
    assert opened() == opened(dataset="phrasebook/topics") == "embedded"
    found = opened(train=[path], valid=[path], test=[path])
    assert found.own_splits == ("train", "validation", "test")
    with pytest.raises(UserError, match="give one source only"):
        opened(train=[path], dataset="glue/sst2")
    with pytest.raises(UserError, match="are no training examples"):
        opened(valid=[path])
    with pytest.raises(UserError, match="there is no file"):
        opened(train=["missing.tsv"])
    with pytest.raises(UserError, match="holds no example"):
        opened(train=[str(write("empty.tsv", "\n"))]).check()


def builder(**features):
    """Return what a TFDS builder says of its features."""

    class Info:
        pass

    found = Info()
    found.name, found.info = "mine", Info()
    found.info.features = features
    return found


class Names:
    names = ["negative", "positive"]


class Sequence:
    feature = type("Feature", (), {"names": ["O", "B-LOC", "I-LOC"]})


class TinyAnnotated(tfds.core.GeneratorBasedBuilder):
    """Labels, tags and answers, made up, with the features of glue/sst2, conll2003 and squad."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("labels", "tags", "answers")]
    FEATURES = {
        "labels": {"sentence": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["bad", "good"])},
        "tags": {
            "tokens": tfds.features.Sequence(tfds.features.Text()),
            "ner": tfds.features.Sequence(tfds.features.ClassLabel(names=["O", "B-LOC", "I-LOC"])),
        },
        "answers": {
            **dict.fromkeys(("id", "question", "context"), tfds.features.Text()),
            "answers": tfds.features.Sequence({"text": tfds.features.Text(), "answer_start": np.int32}),
        },
    }
    EXAMPLES = {
        "labels": {"sentence": "café", "label": 1},
        "tags": {"tokens": ["in", "New", "York"], "ner": [0, 1, 2]},
        "answers": {
            **{"id": "7", "question": "Where?", "context": "In Paris."},
            "answers": {"text": ["Paris", "Paris"], "answer_start": [3, 3]},
        },
    }

    def _info(self):
        features = tfds.features.FeaturesDict(self.FEATURES[self.builder_config.name])
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples() for split in ("train", "validation")}

    def _generate_examples(self):
        yield 0, self.EXAMPLES[self.builder_config.name]


@pytest.mark.parametrize(
    ("task", "config", "expected"),
    [
        ("classification", "labels", (("café",), ("good",))),
        ("tagging", "tags", ("in New York", ((0, 2), (3, 6), (7, 11)), ("O", "B-LOC", "I-LOC"))),
        ("question-answering", "answers", ("7", "Where?", "In Paris.", (Answer("Paris", 3),))),
    ],
)
def test_a_dataset_of_tfds_is_read_by_its_name(tmp_path, task, config, expected):
    for _ in keep_data_in(tmp_path):
        settings = {"task": {"name": task}, "data": {"dataset": f"tiny_annotated/{config}"}}
        corpus = task_class(task).read(Config().override(settings))
        for split in ("train", "validation"):
            (example,) = corpus.examples(split)
            assert tuple(example)[:-1] == expected
            assert example.place == f"tiny_annotated/{config}, {split} example 1"
        assert len(corpus.fingerprint()) == 64


def test_examples_of_tfds():
    convert = tfds_labels(builder(sentence=None, label=Names), ClassificationSettings())
    assert convert({"sentence": b"caf\xc3\xa9", "label": 1}, "x")[:2] == (("café",), ("positive",))
    with pytest.raises(UserError, match="glue test 3: it has no label"):
        convert({"sentence": b"a", "label": -1}, "glue test 3")
    with pytest.raises(UserError, match="has no feature 'label'"):
        tfds_labels(builder(text=None), ClassificationSettings())
    convert = tfds_tags(builder(tokens=None, ner=Sequence), TaggingSettings())
    assert convert({"tokens": [b"in", b"New", b"York"], "ner": [0, 1, 2]}, "x").tags == ("O", "B-LOC", "I-LOC")
    with pytest.raises(UserError, match="conll train 1, word 1: 'I-LOC' cannot stand at the beginning"):
        convert({"tokens": [b"in"], "ner": [2]}, "conll train 1")
    example = {
        "id": b"7",
        "question": b"Where?",
        "context": b"In Paris.",
        "answers": {"text": [b"Paris"], "answer_start": [3]},
    }
    assert tfds_question(example, "x") == Question("7", "Where?", "In Paris.", (Answer("Paris", 3),), "x")
    with pytest.raises(UserError, match="is not at answer_start 2"):
        tfds_question({**example, "answers": {"text": [b"Paris"], "answer_start": [2]}}, "x")
