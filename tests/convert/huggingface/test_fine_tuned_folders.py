"""Fine-tuned BERTs become runs and folders again: against their heads in NumPy."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from hand_written_bert import BERT, CLS, SEP, Numbers, random_tensors, write_model
from safetensors.numpy import load_file

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.convert.huggingface.runs import export_run, import_folder
from transformer.inference.predictor import Predictor
from transformer.serving.prediction_service import PredictionService
from transformer.system.errors import UserError

IDS, SEGMENTS = np.array([CLS, 2, 3, SEP, 13, 3, 8, SEP]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
TAGS = ["O", "B-PER", "I-PER", "B-LOC"]


def named(labels):
    return {"id2label": {str(i): label for i, label in enumerate(labels)}, "label2id": {}}


SEQUENCE, TOKEN, ANSWER = (
    f"BertFor{name}" for name in ("SequenceClassification", "TokenClassification", "QuestionAnswering")
)
CONFIGS = {  # class, keys of config.json, outputs, [task] settings
    "single": (SEQUENCE, named(["bad", "good", "so-so"]), 3, {"name": "classification", "kind": "single"}),
    "unnamed": (SEQUENCE, {}, 2, {"name": "classification", "kind": "single"}),
    "several": (
        SEQUENCE,
        {**named(["a", "b"]), "problem_type": "multi_label_classification"},
        2,
        {"name": "classification", "kind": "several"},
    ),
    "number": (SEQUENCE, named(["LABEL_0"]), 1, {"name": "classification", "kind": "number"}),
    "entities": (TOKEN, named(TAGS), 4, {"name": "tagging", "scheme": "iob2"}),
    "bioes": (TOKEN, named(["O", "S-X", "B-X", "I-X", "E-X"]), 5, {"name": "tagging", "scheme": "bioes"}),
    "parts": (TOKEN, named(["NOUN", "VERB"]), 2, {"name": "tagging", "scheme": "plain"}),
    "old": (TOKEN, named(["O", "I-PER"]), 2, {"name": "tagging", "scheme": "plain"}),  # no tag begins an entity
    "answers": (ANSWER, {"max_position_embeddings": 40}, 2, {"name": "question-answering"}),
}


def made(kind, **changes):
    """Return the config and the tensors of a fine-tuned model."""
    architecture, keys, outputs, _ = CONFIGS[kind]
    config = {**BERT, "architectures": [architecture], **keys, **changes}
    tensors = random_tensors({**config, "architectures": ["BertForPreTraining"]})
    unread = ("cls.",) if architecture == SEQUENCE else ("cls.", "bert.pooler")
    tensors = {name: array for name, array in tensors.items() if not name.startswith(unread)}
    chance, head = np.random.default_rng(5), "qa_outputs" if architecture == ANSWER else "classifier"
    tensors[f"{head}.weight"] = chance.normal(0, 0.4, (outputs, config["hidden_size"])).astype(np.float32)
    tensors[f"{head}.bias"] = chance.normal(0, 0.4, outputs).astype(np.float32)
    return config, tensors


@pytest.mark.parametrize("kind", CONFIGS)
def test_heads_come_and_go(kind, tmp_path):
    architecture, _, _, settings = CONFIGS[kind]
    config, tensors = made(kind)
    import_folder(write_model(tmp_path / "model", config, tensors), tmp_path / "run")
    task, network = load(RunDirectory(tmp_path / "run"))
    assert {name: getattr(task.settings, name) for name in settings} == settings
    ids = {"ids": tf.constant(task.tokenizer._ours[IDS][np.newaxis]), "segments": tf.constant(SEGMENTS[np.newaxis])}
    found = network(ids, training=False)[0].numpy()
    head = "qa_outputs" if architecture == ANSWER else "classifier"
    numbers = Numbers(config, tensors, IDS, SEGMENTS)
    read = numbers.pooled if architecture == SEQUENCE else numbers.states
    expected = read @ tensors[f"{head}.weight"].T + tensors[f"{head}.bias"]
    places = [0, 4, 5, 6] if architecture == ANSWER else slice(None)  # elsewhere no answer may be
    np.testing.assert_allclose(found[places], expected[places], rtol=1e-4, atol=1e-4)

    assert export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back") == architecture
    back = load_file(tmp_path / "back/model.safetensors")
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)
    stored = json.loads((tmp_path / "back/config.json").read_text())
    if "id2label" in config:
        assert stored["id2label"] == config["id2label"]
        assert stored["label2id"] == {label: int(i) for i, label in config["id2label"].items()}
    problems = {
        "several": "multi_label_classification",
        "number": "regression",
        "single": "single_label_classification",
    }
    assert stored.get("problem_type") == problems.get(settings.get("kind"))
    import_folder(tmp_path / "back", tmp_path / "again")
    again, same = load(RunDirectory(tmp_path / "again"))
    np.testing.assert_array_equal(same(ids, training=False)[0].numpy(), found)
    assert again.labels.lists == task.labels.lists


def test_what_is_imported_predicts(tmp_path):
    for kind in ("single", "entities", "answers"):
        config, tensors = made(kind)
        import_folder(write_model(tmp_path / kind, config, tensors), tmp_path / f"{kind}-run")
    task, network = load(RunDirectory(tmp_path / "single-run"))
    one, pair = task.predict(network, ["the cat", ("the cat", "a mat")])
    assert set(one.probabilities) == set(pair.probabilities) == {"bad", "good", "so-so"}
    with pytest.raises(UserError, match="this run labels one text or pairs, got 3 texts"):
        task.predict(network, [("a", "b", "c")])
    task, network = load(RunDirectory(tmp_path / "entities-run"))
    assert set(task.predict(network, ["the cat sat"])[0].tags) <= set(TAGS)
    task, network = load(RunDirectory(tmp_path / "answers-run"))
    (answer,) = task.predict(network, [("the cat", "the mat, the cats")])
    assert answer.text and answer.text in "the mat, the cats"


def test_the_lines_of_an_imported_classifier_are_texts_or_pairs(tmp_path):
    import_folder(write_model(tmp_path / "single", *made("single")), tmp_path / "run")
    predictor = Predictor.load(tmp_path / "run")
    for line, context, texts in (
        ("the cat", None, ("the cat",)),
        ("the cat\ta mat", None, ("the cat", "a mat")),
        ("the cat", "a mat", ("the cat", "a mat")),
    ):
        assert predictor.input_of(line, context, 1) == texts
    assert predictor.inputs == 0
    PredictionService(predictor).warm_up()


def test_the_threshold_below_which_there_is_no_answer_comes_and_goes(tmp_path):
    config, tensors = made("answers")
    asked = [("the cat", "the mat, the cats"), ("a mat", "the cat sat"), ("sat", "a mat the cat")]
    import_folder(write_model(tmp_path / "model", config, tensors), tmp_path / "run")
    always, network = load(RunDirectory(tmp_path / "run"))
    assert all(answer.text for answer in always.predict(network, asked))
    answered = []
    for threshold in (-1e6, -0.1, 1e6):
        folder = tmp_path / f"model{threshold}"
        import_folder(
            write_model(folder, {**config, "no_answer_threshold": threshold}, tensors), tmp_path / f"{threshold}"
        )
        task, network = load(RunDirectory(tmp_path / f"{threshold}"))
        assert float(network.threshold) == np.float32(threshold)
        answered.append(sum(bool(answer.text) for answer in task.predict(network, asked)))
        export_run(RunDirectory(tmp_path / f"{threshold}"), "best", tmp_path / f"back{threshold}")
        stored = json.loads((tmp_path / f"back{threshold}/config.json").read_text())
        assert np.float32(stored["no_answer_threshold"]) == np.float32(threshold)
    assert answered[0] == len(asked) and answered[-1] == 0
    export_run(RunDirectory(tmp_path / "run"), "best", tmp_path / "back")
    assert "no_answer_threshold" not in json.loads((tmp_path / "back/config.json").read_text())


def test_the_scale_of_a_number_becomes_part_of_the_head(tmp_path):
    """A run whose numbers have the mean 3 and the deviation 2: its folder gives them without knowing that."""
    from transformer.data.tokenizers.labelled import LabelledVocabulary
    from transformer.data.tokenizers.labels import Labels
    from transformer.tasks.classification import Classification

    config, tensors = made("number")
    task = import_folder(write_model(tmp_path / "model", config, tensors), tmp_path / "run")
    lists = {**task.labels.lists, "scale": ["3.0", "2.0"], "texts": ["1"]}
    scaled = Classification(task.config, LabelledVocabulary(task.vocabularies.text, Labels(lists)), dict(task.corpus))
    run = RunDirectory(tmp_path / "scaled")
    run.create(task.config, scaled.vocabularies, task.corpus)
    _, network = load(RunDirectory(tmp_path / "run"))
    save_arrays(run.weights(), model_variables(network))
    export_run(run, "best", tmp_path / "back")
    import_folder(tmp_path / "back", tmp_path / "again")
    again, same = load(RunDirectory(tmp_path / "again"))
    expected, found = scaled.predict(network, ["the cat"])[0].value, again.predict(same, ["the cat"])[0].value
    assert found == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(3 + 2 * task.predict(network, ["the cat"])[0].value, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        ("single", {"id2label": {"1": "a", "2": "b", "3": "c"}}, "its keys must be the numbers from 0 on"),
        ("single", named(["a", "a", "b"]), "its labels must be different texts"),
        ("single", {"num_labels": 5}, "num_labels = 5 cannot be honoured; id2label has 3"),
        ("single", {"problem_type": "ranking"}, "problem_type = 'ranking' cannot be honoured; it may be single_label"),
        ("single", {"problem_type": "regression"}, "with 3 labels it cannot be that"),
        ("number", {"problem_type": "single_label_classification"}, "with 1 labels it cannot be that"),
        ("single", named(["a", "b"]), "'classifier.weight' has shape (3, 16), and its config wants (2, 16)"),
        ("entities", {"type_vocab_size": 3}, "type_vocab_size = 3 cannot be honoured; it may be 2"),
        ("answers", {"architectures": [TOKEN]}, "has no weights 'classifier.weight'"),
        (
            "answers",
            {"no_answer_threshold": 1e300},
            "no_answer_threshold = 1e+300 cannot be honoured; it must be a finite",
        ),
        (
            "answers",
            {"no_answer_threshold": "high"},
            "no_answer_threshold = 'high' cannot be honoured; it must be of type",
        ),
        (
            "entities",
            {"no_answer_threshold": 0.5},
            "no_answer_threshold = 0.5 cannot be honoured; the key is not known",
        ),
    ],
    ids=str,
)
def test_settings_that_are_not_honoured_are_named(kind, change, rule, tmp_path):
    config, tensors = made(kind)
    folder = write_model(tmp_path / "model", {**config, **change}, tensors)
    with pytest.raises(UserError, match=re.escape(rule)) as error:
        import_folder(folder, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_mean_pooling_has_no_place_there(tmp_path):
    config, tensors = made("single")
    task = import_folder(write_model(tmp_path / "model", config, tensors), tmp_path / "run")
    run = RunDirectory(tmp_path / "mean")
    mean = task.config.override({"task": {"pooling": "mean"}})
    run.create(mean, task.vocabularies, task.corpus)
    save_arrays(
        run.weights(), model_variables(type(task)(mean, task.vocabularies, dict(task.corpus)).network("float32"))
    )
    with pytest.raises(UserError, match="task.pooling is 'mean', and there it is 'first'"):
        export_run(run, "best", tmp_path / "there")


def test_a_pooler_that_no_head_reads_is_passed_over(tmp_path):
    config, tensors = made("entities")
    other = random_tensors({**config, "architectures": ["BertForPreTraining"]})
    tensors |= {name: array for name, array in other.items() if name.startswith("bert.pooler")}
    import_folder(write_model(tmp_path / "model", config, tensors), tmp_path / "run")
