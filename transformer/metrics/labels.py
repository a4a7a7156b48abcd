"""Scores of labels, tags and answers: scikit-learn's, the entity F1 of CoNLL, and SQuAD's own rules.

Axes: N examples, C classes.
"""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from transformer.data.tag_schemes import entities

BINS = 15  # of confidence (Guo et al. 2017, section 2)


class ClassScore(NamedTuple):
    """How well a class was found."""

    name: str
    precision: float
    recall: float
    f1: float  # harmonic mean of the two
    support: int  # how many there are


def accuracy(gold: Sequence[object], predicted: Sequence[object]) -> float:
    """Return the share of equal pairs; a ValueError where there are none, or not as many of each."""
    _check(gold, predicted)
    return sum(one == other for one, other in zip(gold, predicted, strict=True)) / len(gold)


def by_class(gold: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> list[ClassScore]:
    """Return the scores of each class.

    Args:
        gold, predicted: classes (N,), or (N, C) booleans where an example has several.
        names: of the C classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    _check(gold, predicted)
    columns = precision_recall_fscore_support(gold, predicted, labels=range(len(names)), zero_division=0)
    return [
        ClassScore(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(names, *columns, strict=True)
    ]


def macro_f1(scores: Sequence[ClassScore]) -> float:
    """Return the mean F1 of the classes that there are any of, or that were predicted."""
    some = [score.f1 for score in scores if score.support or score.precision or score.recall]
    return float(np.mean(some)) if some else 0.0


def micro_f1(gold: np.ndarray, predicted: np.ndarray) -> float:
    """Return the F1 of all decisions (N, C) together."""
    from sklearn.metrics import f1_score

    _check(gold, predicted)
    return float(f1_score(gold, predicted, average="micro", zero_division=0))


def confusion(gold: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class (rows) was taken for each (columns): (C, C)."""
    from sklearn.metrics import confusion_matrix

    _check(gold, predicted)
    return np.asarray(confusion_matrix(gold, predicted, labels=range(classes)))


def rank_correlation(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Return Spearman's rank correlation; 0 where either is constant."""
    from scipy.stats import spearmanr

    _check(gold, predicted)
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    return float(spearmanr(gold, predicted).statistic)


def calibration_error(correct: Sequence[bool] | np.ndarray, confidence: Sequence[float] | np.ndarray) -> float:
    """Return the expected calibration error: how far confidence is from being right, on average:

        sum over bins of n_b / N * abs(accuracy_b - mean confidence_b), with `BINS` bins of equal width over (0, 1].

    Args:
        correct: (N,) whether a prediction was right.
        confidence: (N,) its probability.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    right, sure = np.asarray(correct, np.float64), np.asarray(confidence, np.float64)
    _check(right, sure)
    bins = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, right - sure, BINS)
    return float(np.sum(np.abs(gaps)) / len(right))


def entity_scores(
    scheme: str, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> tuple[ClassScore, list[ClassScore]]:
    """Return the scores of all entities together (micro), and of each type.

    An entity is right where its type and both borders are. Sequences must be valid ones of the scheme.

    Source: Sang and De Meulder 2003, section 4.
    """
    _check(gold, predicted)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one, other in zip(gold, predicted, strict=True):
        if len(one) != len(other):
            raise ValueError(f"predicted must have a tag for each of gold's, got {len(other)} for {len(one)}")
        wanted, found = set(entities(scheme, one)), set(entities(scheme, other))
        for name, spans in (("gold", wanted), ("predicted", found), ("right", wanted & found)):
            counts[name].update(span.kind for span in spans)
    kinds = sorted({*counts["gold"], *counts["predicted"]})
    each = [_class_score(kind, *(counts[name][kind] for name in ("right", "predicted", "gold"))) for kind in kinds]
    return _class_score("all", *(counts[name].total() for name in ("right", "predicted", "gold"))), each


def _class_score(name: str, right: int, predicted: int, gold: int) -> ClassScore:
    precision, recall = right / predicted if predicted else 0.0, right / gold if gold else 0.0
    return ClassScore(name, precision, recall, 2 * right / (predicted + gold) if predicted + gold else 0.0, gold)


def normalised_answer(text: str) -> str:
    """Return an answer as SQuAD compares it: lower case, without punctuation, English articles and more than one space.

    Source: Rajpurkar et al. 2016, section 6.1, and the official evaluation script of SQuAD 1.1.
    """
    text = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(predicted: str, right: Sequence[str]) -> float:
    """Return 1 where an answer equals one of the right ones, as SQuAD compares them, else 0; no right one: ''."""
    return _best(lambda answer: float(normalised_answer(predicted) == normalised_answer(answer)), right)


def answer_f1(predicted: str, right: Sequence[str]) -> float:
    """Return the F1 of an answer's words against the right answer that it shares most with; errors as above.

    Where either has no word, 1 if neither has, else 0.
    """

    def f1(answer: str) -> float:
        found, wanted = normalised_answer(predicted).split(), normalised_answer(answer).split()
        if not found or not wanted:
            return float(found == wanted)
        same = (collections.Counter(found) & collections.Counter(wanted)).total()
        return 2 * same / (len(found) + len(wanted))

    return _best(f1, right)


def _best(score: Callable[[str], float], right: Iterable[str]) -> float:
    """Return the score against the best of the right answers; those without a word are taken only if none has any."""
    some = [answer for answer in right if normalised_answer(answer)] or [""]
    return max(map(score, some))


def _check(gold: Sequence | np.ndarray, predicted: Sequence | np.ndarray) -> None:
    if len(gold) != len(predicted) or not len(gold):
        raise ValueError(f"gold and predicted must be as many, and at least one, got {len(gold)} and {len(predicted)}")
