"""The solutions of the notebooks' exercises say what a calculation by hand says."""

import importlib.util

import numpy as np
import pytest
from conftest import ROOT


def solutions(number):
    """Return the module of a notebook's solutions."""
    (path,) = (ROOT / "notebooks" / "solutions").glob(f"{number:02d}_*.py")
    spec = importlib.util.spec_from_file_location(f"solutions_{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_attention():
    found = solutions(1)
    # A column of pair i has turned by 63 / 10000^(2i / 16) radians: 0.063 for i = 6, 0.02 for i = 7, and 0.2 for i = 5.
    # A cosine that has turned by 0.2 has changed by 0.02.
    assert found.exercise_1() == 2 * 5 + 1
    weights, output = found.exercise_2()
    np.testing.assert_allclose(output, [[7.5, 2.5], [2.5, 7.5], [5, 5]], atol=0.05)
    assert weights.max(axis=1) == pytest.approx([0.5, 0.5, 1.0], abs=0.01)
    assert found.exercise_3().tolist() == [True, True, False, True, True]
    weights = found.exercise_4()
    assert not weights[:, :, 0].any()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)
    assert found.exercise_5() == 2304
