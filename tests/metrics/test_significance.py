"""Paired bootstrap: by a plain loop, and as sacrebleu's own test has it."""

import numpy as np
import pytest
from sacrebleu.significance import PairedTest

from transformer.metrics.rouge import Rouge
from transformer.metrics.significance import SEED, compare, compare_perplexities, paired_bootstrap
from transformer.metrics.text import bleu_metric, chrf_metric


@pytest.fixture(scope="module")
def texts():
    """Return references, a system that gets most words right, and one that gets fewer."""
    generator = np.random.default_rng(3)
    rows = [generator.choice([*"abcdefghij"], 9) for _ in range(60)]
    systems = [[np.where(generator.random(9) < rate, "x", row) for row in rows] for rate in (0.0, 0.2, 0.25)]
    return [[" ".join(row) for row in system] for system in systems]


def test_p_values_are_those_of_sacrebleu(texts):
    references, ours, theirs = texts
    metrics = {"BLEU": bleu_metric("en"), "chrF2": chrf_metric(), "rougeL": Rouge("ROUGE-L")}
    _, found = PairedTest([("theirs", theirs), ("ours", ours)], metrics, [references], "bs", n_samples=300)()
    for name, metric in metrics.items():
        compared = compare(metric, ours, theirs, references, samples=300)
        baseline, other = found[name]
        assert (compared.baseline, compared.score) == pytest.approx((baseline.score, other.score), abs=1e-4)
        assert compared.p_value == pytest.approx(other.p_value, abs=1.5 / 301)  # theirs adds up in float32
        assert 0.001 < compared.p_value < 0.9


def test_perplexity_by_a_plain_loop():
    generator = np.random.default_rng(5)
    tokens = generator.integers(1, 20, 40)
    ours, theirs = (np.stack([-tokens * generator.normal(mean, 0.4, 40), tokens], 1) for mean in (2.0, 2.1))

    def perplexity(lines):
        return np.exp(-sum(line[0] for line in lines) / sum(line[1] for line in lines))

    draws = np.random.default_rng(SEED).choice(40, size=(200, 40), replace=True)
    differences = [abs(perplexity(ours[draw]) - perplexity(theirs[draw])) for draw in draws]
    whole = abs(perplexity(ours) - perplexity(theirs))
    expected = (1 + sum(d - np.mean(differences) > whole for d in differences)) / 201
    found = compare_perplexities(ours, theirs, samples=200)
    assert found == pytest.approx((perplexity(ours), perplexity(theirs), expected))


def test_equal_systems_differ_by_chance_and_clear_ones_do_not():
    same = np.stack([np.arange(50.0), np.ones(50)], 1)
    mean = lambda sums: sums[0] / sums[1]  # noqa: E731
    assert paired_bootstrap(same, same, mean) == (24.5, 24.5, 1.0)
    assert paired_bootstrap(same + [10, 0], same, mean).p_value == pytest.approx(1 / 1001)


def test_unequal_or_no_lines_are_refused(texts):
    with pytest.raises(ValueError, match="must have equally many lines, at least 1, got 2, 3"):
        paired_bootstrap(np.ones((2, 1)), np.ones((3, 1)), float)
    with pytest.raises(ValueError, match="hypotheses must be as many as references, got 59 and 60"):
        compare(chrf_metric(), texts[1], texts[2][1:], texts[0])
