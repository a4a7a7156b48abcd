"""The fit is that of scikit-learn where no bound holds, and shares are what a hand counts."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from transformer.metrics.calibration import balanced, detection, detections, fit_logistic


def examples(count=400):
    chance = np.random.default_rng(3)
    signs = chance.normal(size=(count, 3)) * [1.0, 5.0, 0.1]
    right = signs @ [1.0, -0.4, 0.0] + chance.logistic(size=count) > 0.3
    return signs, right, chance.uniform(0.5, 2.0, count)


def test_without_bounds_it_is_the_logistic_regression_of_scikit_learn():
    signs, right, weights = examples()
    found, bias = fit_logistic(signs, right, [0, 0, 0], weights)
    scale = signs.std(axis=0)
    theirs = LogisticRegression(C=1.0, tol=1e-8).fit(signs / scale, right, weights)
    np.testing.assert_allclose(found, theirs.coef_[0] / scale, rtol=1e-2, atol=1e-3)
    assert bias == pytest.approx(theirs.intercept_[0], abs=1e-2)


def test_no_weight_goes_against_its_direction_and_what_never_changes_has_none():
    signs, right, weights = examples()
    signs = np.column_stack([signs, np.ones(len(signs))])
    found, _ = fit_logistic(signs, right, [-1, 1, 0, 0], weights)
    assert found[0] == found[1] == found[3] == 0
    kept, _ = fit_logistic(signs, right, [1, -1, 0, 0], weights)
    assert kept[0] > 0 > kept[1]


def test_shares_are_what_a_hand_counts():
    confidence = np.array([0.1, 0.2, 0.6, 0.3, 0.8, 0.9])
    right = np.array([False, False, False, True, True, True])
    found = detection(confidence, right, 0.5)
    assert found == (0.5, pytest.approx(2 / 3), pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert detection(confidence, right, 0.0) == (0.0, 0.0, 0.0, 1.0)
    every = detections(confidence, right)
    assert len(every) == 7
    assert every[-1][1:] == (1.0, 1.0, 0.5)
    assert balanced(every).threshold == pytest.approx(0.7)  # misses none, and warns of one of three right ones
