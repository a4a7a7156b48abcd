"""Whether one system is better than another by more than chance: paired bootstrap, one way for all corpus scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from transformer.metrics.text import References, checked_references

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

SAMPLES, SEED = 1000, 12345  # sacrebleu's
TOGETHER = 2**24  # numbers that are held at once


class Comparison(NamedTuple):
    """Two systems on the same lines."""

    score: float
    baseline: float
    p_value: float  # how often resampling differs from its own mean by more than the systems differ


def paired_bootstrap(
    ours: np.ndarray, baseline: np.ndarray, score: Callable[[np.ndarray], float], samples: int = SAMPLES
) -> Comparison:
    """Compare two systems by what a corpus score adds up over lines.

    The lines are drawn anew, with replacement, `samples` times, the same for both systems. With d the difference of the
    two scores on all lines and d_i on sample i,

        p = (1 + number of i with abs(d_i) - mean abs(d_i) > abs(d)) / (1 + samples).

    Args:
        ours, baseline: (N, k), what each of N lines adds, such as the matches and lengths of BLEU.
        score: from their sums (k,) to the score.
        samples: how many.

    Raises:
        ValueError: no lines, or not as many of both.

    Source: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"; the p-value is the one of
        sacrebleu's `--paired-bs`, with its seed.
    Deviation: where both systems are alike in every line, p is 1; sacrebleu says 1 / (1 + samples).
    """
    if ours.shape != baseline.shape or not len(ours):
        raise ValueError(
            f"ours and baseline must have equally many lines, at least 1, got {len(ours)}, {len(baseline)}"
        )
    if np.array_equal(ours, baseline):
        return Comparison(score(ours.sum(axis=0)), score(baseline.sum(axis=0)), 1.0)
    drawn = np.random.default_rng(SEED).choice(len(ours), size=(samples, len(ours)), replace=True)
    sums: list[list[np.ndarray]] = [[], []]
    for rows in np.array_split(drawn, -(-drawn.size // TOGETHER)):
        counts = np.stack([np.bincount(row, minlength=len(ours)) for row in rows]).astype(np.float64)
        for found, values in zip(sums, (ours, baseline), strict=True):
            found.extend(counts @ values)
    differences = np.abs([score(one) - score(other) for one, other in zip(*sums, strict=True)])
    whole = score(ours.sum(axis=0)), score(baseline.sum(axis=0))
    extreme = int(np.sum(differences - differences.mean() > abs(whole[0] - whole[1])))
    return Comparison(*whole, (extreme + 1) / (samples + 1))


def compare(
    metric: Metric, hypotheses: Sequence[str], baseline: Sequence[str], references: References, samples: int = SAMPLES
) -> Comparison:
    """Compare two systems' texts by a metric: `text.bleu_metric`, `text.chrf_metric` or `rouge.Rouge`.

    Raises:
        ValueError: no sentence, or not as many in each sequence.
    """
    several = checked_references(hypotheses, references)
    checked_references(baseline, references)
    ours, theirs = (
        np.array(metric._extract_corpus_statistics(list(texts), several), np.float64)
        for texts in (hypotheses, baseline)
    )
    return paired_bootstrap(ours, theirs, lambda sums: metric._compute_score_from_stats(list(sums)).score, samples)


def compare_perplexities(ours: np.ndarray, baseline: np.ndarray, samples: int = SAMPLES) -> Comparison:
    """Compare how likely the same texts are to two models.

    Args:
        ours, baseline: (N, 2), the log-probability of each text in nats, and its units: tokens, or bytes where the
            vocabularies differ.
        samples: how many.

    Returns:
        the perplexities exp(-sum of log-probabilities / sum of units), lower is better.
    """
    return paired_bootstrap(ours, baseline, lambda sums: float(np.exp(-sums[0] / max(1.0, sums[1]))), samples)
