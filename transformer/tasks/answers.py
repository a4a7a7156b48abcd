"""The parts of a text that may answer a question, and which is given.

Axes: T tokens of a row.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transformer.data.examples.annotated import Question
from transformer.metrics import labels as metrics
from transformer.tasks.row_reader import Row

NOTHING = -1e6  # score of the best part of a text without a token


class Window(NamedTuple):
    """A question and a part of the text, as an encoder reads them together."""

    row: Row
    spans: np.ndarray  # (tokens of the part, 2) characters of the text


@dataclasses.dataclass(frozen=True)
class FoundAnswer:
    """What is said to a question about a text."""

    text: str  #: '' where the text has no answer
    start: int  #: of its first character in the text
    end: int  #: behind its last one
    score: float  #: by how much it is likelier than none, in nats (a sum of logits where there always is an answer)
    probability: float  #: of all that could be said


class Candidate(NamedTuple):
    """The best answer of a text, before it is decided whether there is any."""

    answer: FoundAnswer
    margin: float  # by how much its score exceeds that of none
    none: float  # probability of none


def best_candidate(
    text: str, windows: Sequence[Window], logits: Sequence[np.ndarray], longest: int, may_have_none: bool
) -> Candidate:
    """Return the best answer of all windows; its probability is among all parts that could be given.

    Args:
        text: that is asked about.
        windows: of it.
        logits: (T, 2) of each window, see `SpanFinder`.
        longest: answer, in tokens.
        may_have_none: whether there may be no answer.
    """
    none = min(float(one[0].sum()) for one in logits)
    best, place, total = -np.inf, (0, 0), [none] if may_have_none else []
    for window, one in zip(windows, logits, strict=True):
        own = one[window.row.border : window.row.border + len(window.spans)].astype(np.float64)  # (part, 2)
        if not len(own):
            continue
        width = min(longest, len(own))
        ends = np.pad(own[:, 1], (0, width - 1), constant_values=-np.inf)
        scores = own[:, :1] + np.lib.stride_tricks.sliding_window_view(ends, width)  # (part, width)
        total.append(_log_sum(scores))
        if scores.max() > best:
            best = scores.max()
            first, more = np.unravel_index(scores.argmax(), scores.shape)
            place = int(window.spans[first, 0]), int(window.spans[first + more, 1])
    sum_of_all = _log_sum(np.array(total)) if total else 0.0
    start, end = _trimmed(text, *place)
    best = max(float(best), NOTHING)
    margin = best - none
    chance = float(np.exp(best - sum_of_all)) if best > NOTHING else 0.0
    score = margin if may_have_none else best
    answer = FoundAnswer(text[start:end], start, end, score, chance)
    return Candidate(answer, margin, float(np.exp(none - sum_of_all)) if may_have_none else 0.0)


def _log_sum(scores: np.ndarray) -> float:
    most = scores.max()
    return float(most + np.log(np.exp(scores - most).sum()))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a part of a text without spaces at its ends."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def best_threshold(examples: Sequence[Question], found: Sequence[Candidate]) -> float:
    """Return the threshold with the highest F1: questions whose best answer exceeds none by more are answered.

    Source: the official evaluation script of SQuAD 2.0, `find_best_thresh`.
    """
    right = [[answer.text for answer in example.answers] for example in examples]
    gains = [
        metrics.answer_f1(candidate.answer.text, answers) - metrics.answer_f1("", answers)
        for candidate, answers in zip(found, right, strict=True)
    ]
    order = np.argsort([-candidate.margin for candidate in found], kind="stable")
    margins = [found[i].margin for i in order]
    sums = np.cumsum([0.0, *(gains[i] for i in order)])  # of answering so many questions
    count = int(sums.argmax())
    if not count:
        return margins[0] + 1.0
    after = margins[count] if count < len(margins) else margins[-1] - 2.0
    return (margins[count - 1] + after) / 2
