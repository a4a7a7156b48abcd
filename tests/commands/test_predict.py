"""`transformer predict` and `transformer evaluate --task` with runs of labels, tags, answers and masks."""

import json
import sys

import pytest
from reference import randomised
from tiny_run import fine_tuning, masked_model, write_run

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import evaluate, predict
from transformer.inference.generator import Generator
from transformer.inference.predictor import Predictor
from transformer.inference.translator import Translator
from transformer.system.errors import UserError
from transformer.tasks import task_class


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return untrained runs by their tasks, and the folder of their examples."""
    found = {}
    for name in ("classification", "tagging", "question-answering", "masked-lm"):
        folder = tmp_path_factory.mktemp(name)
        config = masked_model(folder) if name == "masked-lm" else fine_tuning(folder, name)
        kind = task_class(name)
        corpus = kind.read(config)
        task = kind(config, kind.learn(corpus, config), corpus.describe())
        found[name] = write_run(folder / "run", config, task.vocabularies, randomised(task.network("float32")))
    return found


_loaded = {}
_load = Predictor.load.__func__


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """Let all tests share the predictor of a run, with its graph."""

    def load(cls, run, which="best"):
        key = str(run), which
        return _loaded[key] if key in _loaded else _loaded.setdefault(key, _load(cls, run, which))

    monkeypatch.setattr(Predictor, "load", classmethod(load))


@pytest.fixture
def run(capsys):
    """Return a function from words of the command line to exit code, lines of output and of errors."""

    def call(*words, command=predict):
        try:
            code = command.main([str(word) for word in words])
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return call


def test_labels_are_written_with_probability_and_text(run, runs, tmp_path):
    texts = ["sun sea", "one\ttwo", ""]
    code, lines, _ = run(runs["classification"], *texts)
    found = Predictor.load(runs["classification"]).predict(texts)
    assert code == 0
    assert lines == [
        f"{one.label}\t{one.probabilities[one.label]:.4f}\t{text.replace(chr(9), ' ')}"
        for one, text in zip(found, texts, strict=True)
    ]
    (tmp_path / "in.txt").write_text("sun sea\none two\n")
    code, lines, _ = run(
        runs["classification"], "--json", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.jsonl"
    )
    assert (code, lines) == (0, [])
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["text"] == "sun sea" and first["labels"] == [found[0].label] and first["warnings"] == []
    assert sum(second["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_texts_of_a_table_are_labelled_in_the_column_that_training_read(run, runs, tmp_path):
    (tmp_path / "new.csv").write_text('text,id\n"sun\nsea",1\none two,2\n', encoding="utf-8")
    code, lines, _ = run(runs["classification"], "--json", "--input", tmp_path / "new.csv")
    assert code == 0 and [json.loads(line)["text"] for line in lines] == ["sun\nsea", "one two"]


def test_an_empty_text_and_the_name_of_a_file_are_warned_of(run, runs, tmp_path):
    (tmp_path / "in.txt").write_text("sun sea\n\n")
    _, lines, errors = run(runs["classification"], "--json", "--input", tmp_path / "in.txt")
    told = "it is empty, so that what is said of it means nothing"
    assert errors == [f"warning: text 2: {told}"]
    assert [json.loads(line)["warnings"] for line in lines] == [[], [told]]
    _, _, errors = run(runs["classification"], tmp_path / "in.txt")
    assert "in.txt is a file, and its name is read as a text; to read its lines: --input" in errors[0]


def test_entities_are_written_with_their_offsets(run, runs):
    text = "Sun sea one moon"
    code, lines, _ = run(runs["tagging"], text, "two")
    (found, other) = Predictor.load(runs["tagging"]).predict([text, "two"])
    assert code == 0 and lines[0] == text
    expected = [f"  {e.start}-{e.end}\t{e.kind}\t{e.probability:.4f}\t{text[e.start : e.end]}" for e in found.entities]
    assert lines[1 : 1 + len(expected)] == expected and lines[1 + len(expected)] == "two"
    _, lines, _ = run(runs["tagging"], text, "--json")
    told = json.loads(lines[0])
    assert [word["text"] for word in told["words"]] == text.split()
    assert all(text[e["start"] : e["end"]] == e["text"] for e in told["entities"])


def test_entities_have_colours_on_a_terminal(run, runs, monkeypatch):
    predictor = Predictor.load(runs["tagging"])
    texts = ["sun sea one moon two river", "sea sun"]
    found = predictor.predict(texts)
    assert any(one.entities for one in found)  # of these weights
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    _, lines, _ = run(runs["tagging"], *texts)
    for text, one in zip(texts, found, strict=True):
        marked = text
        for entity in reversed(one.entities):
            colour = {"SKY": 36, "WATER": 33}[entity.kind]
            inside = text[entity.start : entity.end]
            marked = f"{marked[: entity.start]}\x1b[1;{colour}m{inside}\x1b[0m{marked[entity.end :]}"
        assert marked in lines


def test_answers_are_written_with_score_and_place(run, runs, tmp_path):
    text = "sun sea moon"
    (found,) = Predictor.load(runs["question-answering"]).predict([("where is sea", text)])
    line = f"{found.text}\t{found.probability:.4f}\t{found.start}-{found.end}\twhere is sea"
    (tmp_path / "text.txt").write_text(text)
    for words in ([f"where is sea\t{text}"], ["where is sea", "--context", text]):
        assert run(runs["question-answering"], *words)[:2] == (0, [line])
    words = ["where is sea", "--context-file", tmp_path / "text.txt", "--json"]
    told = json.loads(run(runs["question-answering"], *words)[1][0])
    assert told["answer"] == {"text": found.text, "start": found.start, "end": found.end}
    assert told["probability"] == pytest.approx(found.probability, abs=1e-6)


def test_masks_are_filled_with_the_likeliest_tokens(run, runs):
    texts = ["sun [MASK] sea", "[MASK] one\t[MASK]"]
    code, lines, _ = run(runs["masked-lm"], *texts, "--top-k", 2)
    expected = []
    for text, found in zip(texts, Predictor.load(runs["masked-lm"]).predict(texts, top_k=2), strict=True):
        expected.append(text.replace("\t", " "))
        for mask in found.masks:
            assert text[mask.start : mask.end] == "[MASK]" and len(mask.candidates) == 2
            expected += [f"  {mask.start}-{mask.end}\t{c.probability:.4f}\t{c.text}" for c in mask.candidates]
    assert (code, lines) == (0, expected)
    told = json.loads(run(runs["masked-lm"], "--json", texts[0])[1][0])
    assert told["text"] == texts[0] and [(m["start"], m["end"]) for m in told["masks"]] == [(4, 10)]
    candidates = told["masks"][0]["candidates"]
    assert len(candidates) == 5 and f"  4-10\t{candidates[0]['probability']:.4f}\t{candidates[0]['text']}" == lines[1]


@pytest.mark.slow  # graphs of two tasks
def test_evaluation_of_masks_tells_accuracy_and_losses_of_tokens_and_pairs(run, runs):
    name, folder = runs["masked-lm"], runs["masked-lm"].parent
    words = ["--task", "masked-lm", name, folder / "documents.txt", "--draws", 3]
    told = json.loads(run(*words, "--json", command=evaluate)[1][0])
    task, network = load(RunDirectory(name))
    files = {"train": [str(folder / "documents.txt")], "valid": [str(folder / "documents.txt")]}
    passages = list(task.read(task.config.override({"data": files})).examples("train"))
    draws = [task.found(network, passages, seed) for seed in range(3)]
    assert told["masked_tokens"] == sum(one.tokens for one in draws)
    assert told["pairs"] == sum(one.pairs for one in draws) > 0
    assert told["masked_accuracy"] == pytest.approx(sum(one.tokens_found for one in draws) / told["masked_tokens"])
    assert told["sentence_loss"] == pytest.approx(sum(one.pair_loss for one in draws) / told["pairs"])
    twice = json.loads(run(*words, "--mask-rate", 2 * task.settings.mask_rate, "--json", command=evaluate)[1][0])
    assert twice["masked_tokens"] > 1.3 * told["masked_tokens"]
    _, lines, _ = run(*words, "--documents", "line", command=evaluate)
    assert [line.split()[0] for line in lines] == ["masked_tokens", "masked_accuracy", "masked_loss"]


@pytest.mark.parametrize(
    ("name", "words", "code", "told"),
    [
        ("masked-lm", ["sun [MASK]", "sun"], 1, "text 2: there is no [MASK] in 'sun'; write it where the model is to"),
        ("masked-lm", ["[MASK]", "--top-k", "9999"], 1, "top_k must be from 1 to"),
        ("masked-lm", ["[MASK]", "--top-k", "0"], 2, "--top-k must be at least 1, got 0"),
        ("masked-lm", ["[MASK] sun" * 40], 1, "tokens, and the model reads 32; give a shorter one"),
        ("tagging", ["a", "--top-k", "3"], 1, "top_k is for runs of the task masked-lm, and this is one of tagging"),
        (
            "question-answering",
            ["where is sea"],
            1,
            "text 1: this run reads two texts together, and no TAB divides them",
        ),
        ("classification", ["a", "--context", "b"], 1, "this run reads one text at a time; leave the context out"),
        ("classification", ["a", "--input", "f"], 2, "give texts or --input, not both"),
        ("classification", ["--input", "missing.txt"], 1, "cannot read missing.txt"),
        ("tagging", ["a", "--context", "b", "--context-file", "c"], 2, "not allowed with"),
    ],
)
def test_bad_input_is_one_line(run, runs, name, words, code, told):
    found, lines, errors = run(runs[name], *words)
    assert (found, lines, len(errors)) == (code, [], 1) and told in errors[0]


def test_a_run_of_another_task_is_told_with_the_command_that_fits(run, runs, tmp_path):
    from tiny_run import save_run, spread_parts

    other = save_run(tmp_path / "translator", spread_parts()).path
    assert run(other, "a")[2] == [f"error: {other} is a run of the task translation; use {predict.called('translate')}"]
    code, _, errors = run("--task", "tagging", runs["classification"], command=evaluate)
    use = f"use {predict.called('evaluate')} --task classification {runs['classification']}"
    assert code == 1 and errors[0].endswith(f"is a run of the task classification, not of tagging; {use}")
    code, _, errors = run("--task", "masked-lm", other, command=evaluate)
    assert code == 1 and errors[0].endswith(
        f"not of masked-lm; use {predict.called('evaluate')} TRANSLATIONS REFERENCES"
    )
    code, _, errors = run(other, "--split", "test", command=evaluate)
    assert code == 2 and f"{other} is a run of the task translation: give translations and their refer" in errors[-1]
    for kind in (Translator, Generator):
        with pytest.raises(UserError, match="is a run of the task 'masked-lm'; use .* predict$"):
            kind.load(runs["masked-lm"])
    with pytest.raises(UserError, match="there is no run directory"):
        Predictor.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["classification", "tagging", "question-answering"])
def test_evaluation_tells_the_scores_of_the_task_and_of_each_class(run, runs, name):
    folder = runs[name].parent
    assert run(runs[name], folder / "missing.tsv", command=evaluate)[0] == 1  # the exit code is that of --task
    code, lines, _ = run(runs[name], "--json", folder / "examples", command=evaluate)
    told = json.loads(lines[0])
    predictor = Predictor.load(runs[name])
    config = fine_tuning(folder, name)
    corpus = task_class(name).read(config.override({"data": {"valid": config.data.train}}))
    examples = list(corpus.examples("train"))
    task = predictor.task
    scores = task.scores(examples, predictor.predict(task.inputs_of(examples)))
    assert code == 0 and told["examples"] == len(examples)
    assert {name: told[name] for name in scores} == pytest.approx(scores)
    if name == "classification":
        assert [c["name"] for c in told["classes"]] == ["land", "sea"]
        counts = told["confusion"]["counts"]
        right = sum(counts[i][i] for i in range(2)) / sum(map(sum, counts))
        assert told["accuracy"] == pytest.approx(right)
    _, lines, _ = run("--task", name, runs[name], folder / "examples", command=evaluate)
    assert lines[0].split() == ["examples", f"{len(examples):,}"]


def test_a_confusion_matrix_is_drawn(run, runs, tmp_path):
    pytest.importorskip("matplotlib")
    folder = runs["classification"].parent
    words = ["--task=classification", runs["classification"], folder / "examples", "--confusion", tmp_path / "c.png"]
    assert run(*words, command=evaluate)[0] == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    from transformer.plots.confusion import confusion_map

    figure = confusion_map([[3, 1], [0, 2000]], ["a", "b"])
    assert {text.get_text() for text in figure.axes[0].texts} == {"3", "1", "2,000"}
    with pytest.raises(ValueError, match="counts must be"):
        confusion_map([[1]], ["a", "b"])
    with pytest.raises(UserError, match="61 classes are too many"):
        confusion_map([[0] * 61] * 61, ["x"] * 61)


def test_labels_of_examples_that_training_never_saw_are_told(run, runs, tmp_path):
    (tmp_path / "new.tsv").write_text("sun\tland\nsea\tair\n")
    code, lines, errors = run(
        "--task", "classification", runs["classification"], tmp_path / "new.tsv", command=evaluate
    )
    assert (code, lines) == (1, [])
    assert f"{tmp_path / 'new.tsv'}, line 2: the label 'air' does not occur in the training examples" in errors[-1]
