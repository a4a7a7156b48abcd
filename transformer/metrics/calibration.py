"""Fitting a detector of wrong answers, and measuring it.

Axes: N answers, K signs of each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Detection(NamedTuple):
    """What a detector does at a threshold: 'warned' is what has a lower confidence."""

    threshold: float
    wrong_warned: float  # share of the wrong answers that are warned of: recall
    right_warned: float  # share of the right ones that are: false alarms
    precision: float  # share of the warnings that are of wrong answers; 1 where there is none


def fit_logistic(
    signs: np.ndarray, right: np.ndarray, directions: Sequence[int], weights: np.ndarray, penalty: float = 1.0
) -> tuple[np.ndarray, float]:
    """Return the weights (K,) and the bias of a logistic regression, with signs that keep their direction.

        minimise  sum over n of weights_n log(1 + exp(-y_n (x_n w + b)))  +  penalty/2 * (s w)^2,   y_n = 1 or -1

    where s are the standard deviations of the signs, so that their units do not matter.

    Args:
        signs: (N, K).
        right: (N,) booleans.
        directions: of each sign: 1: its weight is not below 0; -1: not above; 0: any.
        weights: (N,) of the answers.
        penalty: on large weights.

    Source: Hastie, Tibshirani and Friedman 2009, "The Elements of Statistical Learning", section 4.4.
    Deviation: the bounds on the weights.
    """
    from scipy.optimize import minimize

    mean, scale = signs.mean(axis=0), signs.std(axis=0)
    constant = scale < 1e-9  # tells nothing here
    scale = np.where(constant, 1.0, scale)
    x, y = (signs - mean) / scale, np.where(right, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = parameters[:-1], parameters[-1]
        margins = y * (x @ w + b)
        pull = -weights * y / (1 + np.exp(np.clip(margins, -500, 500)))  # derivative by the margin, times y
        value = (weights * np.logaddexp(0, -margins)).sum() + penalty / 2 * (w @ w)
        return value, np.append(x.T @ pull + penalty * w, pull.sum())

    ranges = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
    bounds = [(0.0, 0.0) if none else ranges[way] for none, way in zip(constant, directions, strict=True)]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)])
    w = found.x[:-1] / scale
    return w, float(found.x[-1] - w @ mean)


def detections(confidence: np.ndarray, right: np.ndarray) -> list[Detection]:
    """Return what a detector does at each threshold that makes a difference, the lowest first.

    Args:
        confidence: (N,) of the answers.
        right: (N,) booleans, both of which occur.
    """
    values = np.unique(confidence)
    # The first warns of nothing; others are in the middle between two, so that neither lies on it.
    thresholds = [float(values[0]), *(values[:-1] + values[1:]) / 2, float(np.nextafter(values[-1], np.inf))]
    return [detection(confidence, right, float(threshold)) for threshold in thresholds]


def detection(confidence: np.ndarray, right: np.ndarray, threshold: float) -> Detection:
    """Return what a detector does at a threshold; see `detections` for the arguments."""
    warned = confidence < threshold
    wrong_warned, right_warned = int((warned & ~right).sum()), int((warned & right).sum())
    return Detection(
        threshold,
        wrong_warned / max(1, int((~right).sum())),
        right_warned / max(1, int(right.sum())),
        wrong_warned / (wrong_warned + right_warned) if warned.any() else 1.0,
    )


def balanced(found: Sequence[Detection]) -> Detection:
    """Return the detection that misses as large a share of the wrong answers as it warns of the right ones, or nearly.

    That is where the larger of both shares is smallest, the point of equal error.
    """
    return min(found, key=lambda each: max(1 - each.wrong_warned, each.right_warned))
