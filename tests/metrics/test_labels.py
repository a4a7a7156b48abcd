"""Scores of labels, tags and answers, against calculations by hand and independent libraries."""

import random

import numpy as np
import pytest

from transformer.metrics import labels


def test_classes_by_hand():
    gold, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    scores = labels.by_class(gold, predicted, ["a", "b", "c", "never"])
    # a: 2 of 4 predicted right, 2 of 3 found; b: 1 of 2 and 1 of 2; c: never predicted; the last does not occur at all
    assert [tuple(score) for score in scores[:2]] == [
        ("a", pytest.approx(2 / 4), pytest.approx(2 / 3), pytest.approx(4 / 7), 3),
        ("b", 0.5, 0.5, 0.5, 2),
    ]
    assert scores[2] == ("c", 0, 0, 0, 1) and scores[3] == ("never", 0, 0, 0, 0)
    assert labels.macro_f1(scores) == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    assert labels.accuracy(gold.tolist(), predicted.tolist()) == pytest.approx(3 / 6)
    assert labels.confusion(gold, predicted, 3).tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]


def test_several_labels_by_hand():
    gold = np.array([[1, 1, 0], [0, 1, 0]], bool)
    predicted = np.array([[1, 0, 0], [0, 1, 1]], bool)
    # 2 right of 3 predicted, of 3 wanted
    assert labels.micro_f1(gold, predicted) == pytest.approx(2 / 3)
    assert [score.f1 for score in labels.by_class(gold, predicted, "abc")] == pytest.approx([1, 2 / 3, 0])


def test_rank_correlation_by_the_formula_without_ties():
    gold, predicted = [1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]
    # 1 - 6 sum d^2 / (n (n^2 - 1)), with d = 0, 1, 1, 0
    assert labels.rank_correlation(gold, predicted) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert labels.rank_correlation(gold, [1.0] * 4) == 0.0


def test_calibration_error_by_a_loop():
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.01, 1, 500)
    right = generator.uniform(size=500) < sure**2
    expected = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert labels.calibration_error(right, sure) == pytest.approx(expected)
    assert labels.calibration_error([True, False], [1.0, 0.0]) == 0.0


def test_entities_by_hand():
    gold = ["B-LOC I-LOC O B-PER".split(), "B-PER O".split()]
    predicted = ["B-LOC O O B-PER".split(), "B-LOC B-PER".split()]
    every, kinds = labels.entity_scores("iob2", gold, predicted)
    # 1 of 4 predicted is right, 1 of 3 is found: half of an entity, and one of another type, count for nothing
    assert every == ("all", pytest.approx(1 / 4), pytest.approx(1 / 3), pytest.approx(2 / 7), 3)
    assert [tuple(kind) for kind in kinds] == [("LOC", 0, 0, 0, 1), ("PER", 0.5, 0.5, 0.5, 2)]


@pytest.mark.parametrize("scheme", ["iob2", "bioes"])
def test_entities_as_seqeval_counts_them_strictly(scheme):
    metrics, schemes = pytest.importorskip("seqeval.metrics"), pytest.importorskip("seqeval.scheme")
    chance = random.Random(1)

    def sentence(length):
        tags = []
        while len(tags) < length:
            kind, size = chance.choice("AB"), chance.randint(1, 3)
            if scheme == "iob2":
                entity = [f"B-{kind}", *[f"I-{kind}"] * (size - 1)]
            else:
                entity = [f"S-{kind}"] if size == 1 else [f"B-{kind}", *[f"I-{kind}"] * (size - 2), f"E-{kind}"]
            tags += entity if chance.random() < 0.5 else ["O"]
        return tags if len(tags) == length else [*tags[: length - 3], "O", "O", "O"] if scheme == "iob2" else None

    lengths = [chance.randint(4, 12) for _ in range(400)]
    rows = [(sentence(n), sentence(n)) for n in lengths]
    gold, predicted = zip(*[pair for pair in rows if all(pair)], strict=True)
    assert len(gold) > 50
    theirs = {"scheme": schemes.IOB2 if scheme == "iob2" else schemes.IOBES, "mode": "strict", "output_dict": True}
    report = metrics.classification_report(list(gold), list(predicted), zero_division=0, **theirs)
    every, kinds = labels.entity_scores(scheme, gold, predicted)
    assert every.f1 == pytest.approx(report["micro avg"]["f1-score"]) and every.f1 > 0.04
    for kind in kinds:
        expected = report[kind.name]
        assert tuple(kind)[1:] == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
        )


@pytest.mark.parametrize(
    "predicted, right, exact, f1",
    [
        ("The  Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("a cat", ["the Cat", "dog"], 1, 1),
        ("in Paris, France", ["Paris"], 0, 2 * (1 / 3) * 1 / (1 / 3 + 1)),  # one word of three, of one
        ("big big dog", ["big dog"], 0, 2 * (2 / 3) * 1 / (2 / 3 + 1)),  # a word counts as often as it is in both
        ("x", [], 0, 0),
        ("", [], 1, 1),
        ("", ["x"], 0, 0),
        ("the", ["."], 1, 1),  # nothing is left of either
        ("22.5%", ["225"], 1, 1),
        ("x", ["y", "x z"], 0, 2 * 1 * 0.5 / 1.5),
    ],
)
def test_answers_by_the_rules_of_squad(predicted, right, exact, f1):
    assert labels.exact_match(predicted, right) == exact
    assert labels.answer_f1(predicted, right) == pytest.approx(f1)


def test_scores_of_nothing_are_refused():
    for score in (labels.accuracy, labels.calibration_error):
        with pytest.raises(ValueError, match="must be as many, and at least one, got 0 and 0"):
            score([], [])
    with pytest.raises(ValueError, match="must have a tag for each"):
        labels.entity_scores("iob2", [["O"]], [["O", "O"]])
