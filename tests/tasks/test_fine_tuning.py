"""Heads on an encoder: losses by hand, valid tags, windows of long texts, and what starts from another run."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_run import fine_tuning, masked_model

from transformer.checkpoints.arrays import load_arrays, model_variables, save_arrays
from transformer.checkpoints.run_directory import RunDirectory
from transformer.data.examples.annotated import Answer, Labelled, Question, Tagged
from transformer.data.tokenizers.labelled import LabelledVocabulary
from transformer.data.tokenizers.labels import Labels
from transformer.data.words import words_of
from transformer.models.heads import Classifier, SpanFinder, Tagger
from transformer.search.viterbi import likeliest
from transformer.system.errors import UserError
from transformer.tasks import task_class
from transformer.tasks.answers import Candidate, FoundAnswer, best_candidate, best_threshold
from transformer.tasks.fine_tuning import balanced_weights, fitting
from transformer.training.optimizer import build_optimizer, check_layers, trained_weights
from transformer.training.steps import Steps
from transformer.training.trainer import Trainer, train


def made(folder, name, **changes):
    """Return a task with its corpus."""
    config = fine_tuning(folder, name, **changes)
    kind = task_class(config.task.name)
    corpus = kind.read(config)
    return kind(config, kind.learn(corpus, config), corpus.describe()), corpus


def table(folder, rows, **changes):
    """Return a classification task of rows of a TSV."""
    config = fine_tuning(folder, "classification", **changes)
    (folder / "examples").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    kind = task_class("classification")
    corpus = kind.read(config)
    return kind(config, kind.learn(corpus, config), corpus.describe())


def batch_of(task, examples):
    """Return a batch of examples, as training would see them."""
    columns = task.encode(examples).columns
    record = {name: tf.RaggedTensor.from_row_lengths(*column) for name, column in columns.items()}
    return task.batch(record, tf.constant([0, 0], tf.int64))


class Fixed(keras.Model):
    """A network that says the same of every row."""

    def __init__(self, logits):
        super().__init__()
        self.logits = tf.constant(logits, tf.float32)

    def call(self, inputs, training=None):
        return self.logits


def softmax(logits):
    """Return the probabilities of each row."""
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


ROWS = [("one", "a"), ("two three", "b"), ("one two", "a"), ("four", "a"), ("five six", "c")] * 2
LOGITS = np.array([[1.0, -1.0, 0.5], [0.2, 0.1, -0.4], [2.0, 0.0, 0.0]])


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_loss_of_single_labels_by_hand(tmp_path, weights):
    task = table(tmp_path, ROWS, task={"class_weights": weights}, training={"label_smoothing": 0.0})
    batch = batch_of(task, [Labelled(("one",), ("a",)), Labelled(("two",), ("c",)), Labelled(("six",), ("b",))])
    chances = softmax(LOGITS)
    # 6 of a, 2 of b, 2 of c: balanced weights are 10 / (3 * 6), 10 / (3 * 2), 10 / (3 * 2)
    w = np.array([10 / 18, 10 / 6, 10 / 6]) if weights == "balanced" else np.ones(3)
    expected = sum(-w[y] * np.log(chances[row, y]) for row, y in enumerate([0, 2, 1]))
    padded = {name: tf.pad(feature, [[0, 1], *[[0, 0]] * (len(feature.shape) - 1)]) for name, feature in batch.items()}
    for some, logits in ((batch, LOGITS), (padded, [*LOGITS, [5.0, 1.0, 2.0]])):  # a row of zeros counts for nothing
        assert float(task.losses(Fixed(logits), some, False)["text"]) == pytest.approx(expected, rel=1e-5)
        assert float(task.counts(some)["text"]) == pytest.approx(w[0] + w[2] + w[1])


def test_the_loss_of_several_labels_and_of_numbers_by_hand(tmp_path):
    rows = [("one", "a,b"), ("two", ""), ("three", "c"), ("four", "b")] * 3
    task = table(tmp_path, rows, task={"kind": "several"})
    batch = batch_of(task, [Labelled(("one",), ("a", "b")), Labelled(("two",), ()), Labelled(("x",), ("c",))])
    assert batch["label"].numpy().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    chances = 1 / (1 + np.exp(-LOGITS))
    gold = batch["label"].numpy()
    expected = -np.sum(gold * np.log(chances) + (1 - gold) * np.log(1 - chances))
    assert float(task.losses(Fixed(LOGITS), batch, False)["text"]) == pytest.approx(expected, rel=1e-5)
    assert float(task.counts(batch)["text"]) == 3  # a text without any label counts

    numbers = [("one", "1"), ("two", "2"), ("three", "6")] * 4
    task = table(tmp_path, numbers, task={"kind": "number"})
    values = np.array([1, 2, 6] * 4, float)
    deviation = np.sqrt(np.mean((values - 3) ** 2))
    batch = batch_of(task, [Labelled(("one",), ("1",)), Labelled(("two",), ("6",))])
    errors = np.array([1.0, 0.2]) - (np.array([1.0, 6.0]) - 3) / deviation
    network = Fixed([[1.0], [0.2]])
    assert float(task.losses(network, batch, False)["text"]) == pytest.approx(np.sum(errors**2) / 2, rel=1e-5)
    (one, two) = task.predict(network, ["one", "two"])
    assert (one.value, two.value) == pytest.approx((deviation + 3, 0.2 * deviation + 3), rel=1e-5)


def test_predictions_are_sorted_probabilities(tmp_path):
    task = table(tmp_path, ROWS)
    (found, *_) = task.predict(Fixed(LOGITS[:1]), ["one"])
    chances = softmax(LOGITS)[0]
    assert found.label == "a" and list(found.probabilities) == ["a", "c", "b"]
    assert list(found.probabilities.values()) == pytest.approx([chances[0], chances[2], chances[1]])
    several = table(tmp_path, ROWS, task={"kind": "several"})
    (found, *_) = several.predict(Fixed(LOGITS[:1]), ["one"])
    assert found.labels == ("a", "c")  # above one half
    (none, *_) = several.predict(Fixed([[-1.0, -1.0, -2.0]]), ["one"])
    assert none.labels == () and none.label == ""


def test_of_a_pair_the_longer_text_is_cut():
    for first, second, most in itertools.product(range(9), range(9), (4, 7)):
        one, other = fitting([first, second], most)
        assert one <= first and other <= second and one + other == min(most, first + second)
        assert abs(one - other) <= 1 or one == first or other == second


def test_a_text_that_is_too_long_is_cut_and_told(tmp_path):
    task = table(tmp_path, ROWS, data={"max_tokens": 5})
    rows = task.encode([Labelled(("one two three four five",), ("a",)), Labelled(("one",), ("b",))])
    assert rows.columns["tokens"][1].max() == 5 and rows.left_out == {"texts cut at 5 tokens": 1}
    (found,) = task.predict(Fixed(LOGITS[:1]), ["one two three four five"])
    assert found.cut > 0


@pytest.mark.parametrize(
    ("rows", "task", "told"),
    [
        ([("one", "a"), ("two", "a")], {}, "have only the label 'a'; name another column with task.label"),
        (ROWS, {"metric": "f1"}, "task.metric must be one of accuracy, macro_f1, got 'f1'"),
        (ROWS, {"text": ("3",), "label": "1"}, "column 3 is missing"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(tmp_path, rows, task, told):
    with pytest.raises(UserError, match=told):
        table(tmp_path, rows, task=task)


def test_a_label_that_training_never_saw_is_told_with_its_place(tmp_path):
    task = table(tmp_path, ROWS)
    with pytest.raises(
        UserError, match=r"dev.tsv, line 3: the label 'd' does not occur in the training examples, only a"
    ):
        task.encode([Labelled(("one",), ("d",), "dev.tsv, line 3")])
    with pytest.raises(UserError, match="this run labels one text, got 2 texts"):
        task.predict(Fixed(LOGITS), [("one", "two")])


LATE = [(f"{i} late", ("bus", "train")[i % 2]) for i in range(30)]


@pytest.mark.parametrize("first, warned", [(("ticket", "kind"), True), (("a late bus", "bus"), False)])
def test_a_first_line_whose_label_is_of_no_other_may_be_a_header(tmp_path, capsys, first, warned):
    table(tmp_path, [first, *LATE])
    told = "examples, line 1: no other line has the label 'kind'; if this line names the columns, name them too"
    assert (told in capsys.readouterr().err) == warned


def test_a_label_that_is_written_in_another_way_once_is_told(tmp_path, capsys):
    task = table(tmp_path, [*LATE, ("31 late", "Train"), ("32 late", "ship")])
    assert task.describe().endswith("4 labels (Train 1, bus 15, ship 1, train 15)")
    told = "warning: examples, line 31: no other line has the label 'Train'. Did you mean 'train'?"
    assert capsys.readouterr().err.replace(f"{tmp_path}/", "").splitlines() == [told]


def test_a_damaged_file_of_labels_is_told(tmp_path):
    task = table(tmp_path, ROWS)
    balanced = task.config.override({"task": {"class_weights": "balanced"}})
    for lists, told in (({"count": ["x"]}, "no numbers as 'count'"), ({"count": ["nan"]}, "no numbers as 'count'")):
        with pytest.raises(UserError, match=told):
            type(task)(balanced, LabelledVocabulary(task.vocabularies.text, Labels({**task.labels.lists, **lists})), {})
    with pytest.raises(UserError, match="labels.json has no list 'label'; restore it or train the run again"):
        type(task)(task.config, LabelledVocabulary(task.vocabularies.text, Labels({})), {})


def test_balanced_weights_make_every_class_count_alike():
    counts = [6, 0, 3, 1]
    weights = balanced_weights(counts)
    sums = [w * n for w, n in zip(weights, counts, strict=True)]
    assert sums[0] == pytest.approx(sums[2]) == pytest.approx(sums[3]) and sum(sums) == pytest.approx(10)


def test_the_likeliest_valid_sequence_is_that_of_all_sequences():
    generator = np.random.default_rng(0)
    for _ in range(60):
        size, length = generator.integers(2, 5), generator.integers(1, 6)
        scores = generator.normal(size=(length, size))
        allowed, first, last = (generator.random(shape) < 0.7 for shape in ((size, size), size, size))
        ways = {
            tags: sum(scores[place, tag] for place, tag in enumerate(tags))
            for tags in itertools.product(range(size), repeat=int(length))
            if first[tags[0]] and last[tags[-1]] and all(allowed[a, b] for a, b in itertools.pairwise(tags))
        }
        if ways:
            assert tuple(likeliest(scores, allowed, first, last)) == max(ways, key=ways.get)
        else:
            with pytest.raises(ValueError, match="allowed must permit a sequence"):
                likeliest(scores, allowed, first, last)


def tagged(text, tags):
    return Tagged(text, tuple(words_of(text)), tuple(tags.split()))


def test_a_word_is_tagged_at_its_first_piece_and_none_is_lost(tmp_path):
    task, _ = made(tmp_path, "tagging", data={"max_tokens": 8, "batch_tokens": 64})
    text = "sun moonsea river xyzzy sea ☃ one two three"
    tags = "B-SKY O O O B-WATER O O O O"
    columns = task.encode([tagged(text, tags)]).columns
    (tokens, lengths), (labels, _) = columns["tokens"], columns["labels"]
    assert lengths.max() <= 8 and len(lengths) > 1
    assert [task.tags[i - 1] for i in labels[labels > 0]] == tags.split()
    at = np.flatnonzero(labels)
    words = [text[start:end] for start, end in words_of(text)]
    assert tokens[at].tolist() == [(*task.encoded([word])[0], 1)[0] for word in words]
    (found,) = task.predict(Tagger(task.encoder("float32"), len(task.tags)), [text])
    assert [text[start:end] for start, end in found.spans] == words and len(found.tags) == len(words)


def test_only_valid_tags_are_predicted(tmp_path):
    config = fine_tuning(tmp_path, "tagging")
    (tmp_path / "examples").write_text("a B-X\nb I-X\nc O\n\nd B-Y\ne I-Y\n")
    kind = task_class("tagging")
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    assert task.tags == ("B-X", "B-Y", "I-X", "I-Y", "O")
    # alone, the second word is I-Y at 0.9; behind B-X it cannot be, and B-X itself is far likelier than B-Y
    logits = np.log([[[0.2] * 5, [0.9, 0.05, 0.01, 0.01, 0.03], [0.01, 0.01, 0.08, 0.9, 0.001], [0.2] * 5]])
    (found,) = task.predict(Fixed(logits), ["one two"])
    assert found.tags == ("B-X", "I-X")
    assert [dataclasses.astuple(e)[:4] for e in found.entities] == [("one two", "X", 0, 7)]
    assert found.probabilities == pytest.approx((0.9, 0.08), rel=0.01)
    with pytest.raises(UserError, match="the tag 'B-Z' does not occur in the training examples"):
        task.encode([tagged("a", "B-Z")])


@pytest.fixture
def answering(tmp_path):
    return made(tmp_path, "question-answering", data={"max_tokens": 12, "batch_tokens": 96})[0]


TEXT = "sun moon sea river one two three sea moon sun one two"


def test_windows_cover_a_text_with_their_stride(answering):
    ((*windows,),) = answering.windows([("where is sea", TEXT)])
    whole, spans = answering.tokenizer.encode_with_spans([TEXT])[0]
    stride = answering.settings.stride
    read = windows[0].row.ids[windows[0].row.border : -1]
    assert len(windows) > 1
    for before, window in itertools.pairwise(windows):
        own = window.row.ids[window.row.border : -1]
        assert before.spans[-stride:].tolist() == window.spans[:stride].tolist()
        assert len(before.row.ids) == 12
        read = np.concatenate([read, own[stride:]])
    assert read.tolist() == whole.tolist() and windows[-1].spans[-1].tolist() == spans[-1].tolist()


def test_answers_are_where_they_stand_and_nowhere_in_other_windows(answering):
    start = TEXT.rindex("sea moon")
    example = Question("1", "where is sea", TEXT, (Answer("sea moon", start),))
    columns = answering.encode([example]).columns
    places, lengths = columns["places"][0].reshape(-1, 3), columns["tokens"][1]
    rows = np.split(columns["tokens"][0], np.cumsum(lengths)[:-1])
    wanted = answering.tokenizer.encode(["sea moon"])[0].tolist()
    found = [row[first : last + 1].tolist() for row, (_, first, last) in zip(rows, places, strict=True) if last]
    assert found and all(ids == wanted for ids in found) and len(found) < len(rows)


def test_the_best_answer_is_that_of_all_parts(answering):
    windows = answering.windows([("where is sea", TEXT)])[0]
    generator = np.random.default_rng(3)
    logits = [generator.normal(size=(len(window.row.ids), 2)) for window in windows]
    scores = {}
    for window, one in zip(windows, logits, strict=True):
        for i, j in itertools.combinations_with_replacement(range(len(window.spans)), 2):
            place = int(window.spans[i, 0]), int(window.spans[j, 1])
            value = one[window.row.border + i, 0] + one[window.row.border + j, 1]
            scores.setdefault((id(window), place), value)
    (_, best), value = max(scores.items(), key=lambda item: item[1])
    found = best_candidate(TEXT, windows, logits, answering.settings.longest_answer, False)
    assert (found.answer.start, found.answer.end) == best and found.answer.text == TEXT[slice(*best)].strip()
    assert found.answer.probability == pytest.approx(np.exp(value) / np.sum(np.exp([*scores.values()])))
    none = min(one[0].sum() for one in logits)
    assert found.margin == pytest.approx(value - none)
    assert " " not in best_candidate(TEXT, windows, logits, 1, False).answer.text


def test_a_text_without_a_token_has_no_answer(answering):
    (found,) = answering.predict(answering.network("float32"), [("where is sea", "")])
    assert (found.text, found.start, found.end, found.probability) == ("", 0, 0, 0.0) and np.isfinite(found.score)


def test_the_threshold_is_the_best_of_all(answering):
    generator = np.random.default_rng(4)
    for _ in range(20):
        examples, found = [], []
        for number in range(12):
            right = (Answer("sea", 0),) if generator.random() < 0.5 else ()
            text = "sea" if generator.random() < 0.6 else "moon"
            examples.append(Question(str(number), "?", "sea moon", right))
            answer = FoundAnswer(text, 0, 1, 0.0, 0.5)
            found.append(Candidate(answer, float(generator.normal()), 0.5))

        def f1(threshold, examples=examples, found=found):
            right = [bool(e.answers) and c.answer.text == "sea" for e, c in zip(examples, found, strict=True)]
            given = [c.margin > threshold for c in found]
            none = [not e.answers for e in examples]
            return sum(r if g else n for r, g, n in zip(right, given, none, strict=True))

        margins = sorted(candidate.margin for candidate in found)
        every = [margins[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(margins)), margins[-1] + 1]
        assert f1(best_threshold(examples, found)) == max(map(f1, every))


def test_questions_without_room_for_a_text_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"data.max_tokens = 10 leaves no room .* task.stride \+ 3 = 11"):
        made(tmp_path, "question-answering", data={"max_tokens": 10, "batch_tokens": 96})


def test_frozen_layers_stay_and_lower_layers_learn_more_slowly(tmp_path):
    task, _ = made(tmp_path, "classification", model={"num_layers": 2, "dropout_rate": 0.0})
    batch = batch_of(task, [Labelled(("sea one",), ("sea",)), Labelled(("two three",), ("land",))])

    def changes(**training):
        config = task.config.override({"training": {"warmup_steps": 1, "clip_norm": 0.0, **training}})
        keras.utils.set_random_seed(1)
        network = task.network("float32")
        depths = task.depths(network)
        weights = trained_weights(config, network.trainable_variables, depths)
        optimizer = build_optimizer(config, weights, depths)
        before = [v.numpy() for v in network.trainable_variables]
        steps = Steps(task, network, optimizer, config.training, tf.distribute.get_strategy(), weights)
        steps._train_step(batch)
        moved = {v.path: np.abs(v.numpy() - b).max() for v, b in zip(network.trainable_variables, before, strict=True)}
        return [max(moved[path] for path in depths if depths[path] == depth) for depth in range(4)]

    plain = changes()
    assert min(plain) > 0
    assert [change > 0 for change in changes(freeze_layers=1)] == [False, False, True, True]
    # Adam's first step is as long as the learning rate, whatever the gradient
    slower = changes(layer_decay=0.5)
    assert [a / b for a, b in zip(slower, plain, strict=True)] == pytest.approx([0.125, 0.25, 0.5, 1.0], rel=1e-3)
    with pytest.raises(UserError, match="training.freeze_layers is 3, and there are only 2 layers"):
        check_layers(task.config.override({"training": {"freeze_layers": 3}}), True)
    config = task.config.override({"training": {"layer_decay": 0.9}})
    with pytest.raises(UserError, match="are for an encoder with a head"):
        check_layers(config, False)


@pytest.mark.parametrize("kind", [Classifier, Tagger, SpanFinder])
def test_a_network_is_saved_with_its_encoder_and_loaded(tmp_path, kind):
    task, _ = made(tmp_path, "classification")
    encoder = task.encoder("float32")
    network = kind(encoder, *([3] if kind is not SpanFinder else []))
    inputs = {"ids": tf.constant([[2, 7, 3, 8, 3, 0]]), "segments": tf.constant([[0, 0, 0, 1, 1, 0]])}
    expected = network(inputs)
    network.save(tmp_path / "network.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "network.keras")(inputs), expected, rtol=1e-6)


def test_weights_come_from_a_masked_language_model_and_what_does_not_is_named(tmp_path, capsys):
    config = masked_model(tmp_path, model={"positions": "learned"})
    kind = task_class("masked-lm")
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    other = RunDirectory(tmp_path / "other")
    other.create(config, task.vocabularies, corpus.describe())
    other.unlock()
    network = task.network("float32")
    save_arrays(other.weights(), model_variables(network))
    new = fine_tuning(tmp_path, "classification", training={"init_from": str(other.path)})
    trainer = Trainer(new, RunDirectory(tmp_path / "new"))
    told = capsys.readouterr().err
    assert "weights loaded, 2 start anew: model/head/kernel, model/head/bias" in told
    assert "weights are not used: model/masked_lm/bias, model/masked_lm/dense/bias" in told
    ours, theirs = model_variables(trainer.model), model_variables(network)
    assert {name for name in ours if name in theirs} == {name for name in theirs if "/encoder/" in name}
    for name in ours.keys() & theirs.keys():
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())
    assert trainer.data.task.tokenizer.asset == task.tokenizer.asset
    wider = new.override({"model": {"d_model": 32}})
    with pytest.raises(UserError, match="no weight of .* fits: model.d_model is 32 here and 16 there"):
        Trainer(wider, RunDirectory(tmp_path / "wider"))
    assert not (tmp_path / "wider").exists()


@pytest.mark.slow  # each trains a run
@pytest.mark.parametrize("name", ["classification", "tagging", "question-answering"])
def test_a_task_learns_and_its_best_weights_predict(tmp_path, name):
    recipe = {"schedule": "cosine", "peak_learning_rate": 0.02, "warmup_steps": 10, "label_smoothing": 0.0}
    length = {"max_steps": 150, "validate_every": 50, "score_examples": 100}
    config = fine_tuning(
        tmp_path, name, training={**recipe, **length}, task={"pooling": "mean"} if name == "classification" else {}
    )
    state = train(config, tmp_path / "run")
    assert state.best_score > 0.9
    from transformer.inference.predictor import Predictor

    predictor = Predictor.load(tmp_path / "run")
    if name == "classification":
        found = predictor.predict(["sun moon sea", "one two", "river sun"])
        assert [one.label for one in found] == ["sea", "land", "land"]
    elif name == "tagging":
        (found,) = predictor.predict(["moon sea one sun"])
        assert [(e.text, e.kind, e.start) for e in found.entities] == [("sea", "WATER", 5), ("sun", "SKY", 13)]
    else:
        examples = list(task_class(name).read(config).examples("validation"))
        found = predictor.predict([(example.question, example.context) for example in examples])
        assert all(one.text == e.context[one.start : one.end] for one, e in zip(found, examples, strict=True))
        assert sum(one.start == e.answers[0].start for one, e in zip(found, examples, strict=True)) > 0.8 * len(found)


def test_the_threshold_is_saved_with_the_best_weights(tmp_path, answering):
    network = answering.network("float32")
    network.threshold.assign(1.5)
    save_arrays(tmp_path / "w.safetensors", model_variables(network))
    fresh = answering.network("float32")
    load_arrays(tmp_path / "w.safetensors", model_variables(fresh))
    assert float(fresh.threshold) == 1.5
