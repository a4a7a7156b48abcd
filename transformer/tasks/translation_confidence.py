"""When a translator is unsure: fitted, at the end of training, to its own translations of validation sentences."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from transformer.data.distortions import distorted
from transformer.data.examples.corpus import Corpus
from transformer.data.examples.held_out import Pair
from transformer.data.tokenizers.learning import reservoir
from transformer.metrics.calibration import balanced, detection, detections, fit_logistic
from transformer.metrics.confidence import EXAMPLES, LONGEST_TEXT, MOST_WORDS, SIGNS, Confidence, signs_of, words_of
from transformer.metrics.text import sentence_chrf
from transformer.tasks.sequence_to_sequence import Found

RIGHT = 65.0  # chrF from which a translation counts as right; readers of 80 said the same of 67 (60: 61, 70: 65)
MOST_PAIRS = 1000  # validation pairs that are translated
LEAST = 20  # right and wrong translations in each half; from fewer nothing is fitted
MOST_READ = 300_000  # training pairs whose words are counted
STRANGE = 0.25  # what a distorted sentence counts, where one of validation counts 1
DIRECTIONS = {"log_probability": 1, "words": 0}  # of SIGNS; the others may only lower the confidence
SHORT = range(3, 9)  # words of an example to begin with


class Words(NamedTuple):
    """The case-folded words of the training text, the most frequent first."""

    source: list[str]
    target: list[str]


def training_words(pairs: Iterable[Pair]) -> Words:
    """Return the words of training pairs, at most `MOST_WORDS` of each side."""
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for pair in dict.fromkeys(reservoir(iter(pairs), MOST_READ)):
        for count, text in zip(counts, pair, strict=True):
            count.update(words_of(text.casefold()))
    return Words(*([word for word, _ in count.most_common(MOST_WORDS)] for count in counts))


def confidence_of(translate: Callable[[Sequence[str]], list[Found]], corpus: Corpus, step: int) -> Confidence | None:
    """Return what tells a translator's right translations from its wrong ones; None: there are too few of either.

    Sentences of the split 'calibration', where the corpus has one, else of 'validation', are translated. Right is what
    has a chrF of at least `RIGHT`. As many distorted sentences, whose translations cannot be right, stand for what is
    unlike the training text. Half of all gives the weights, and the threshold: where it misses as large a share of the
    wrong translations of validation sentences as it warns of the right ones. On the other half that is measured.

    Args:
        translate: one sentence each, with the model that is to be judged.
        corpus: that it was trained on.
        step: of training.
    """
    split = "calibration" if "calibration" in corpus.splits else "validation"
    pairs = [pair for pair in itertools.islice(corpus.pairs(split), MOST_PAIRS) if all(map(words_of, pair))]
    if len(pairs) < 4 * LEAST:
        return None
    words = training_words(corpus.pairs("train"))
    strange = distorted(pairs[::2], words.source, seed=1)
    first = list(corpus.first_pairs())
    asked = [*pairs, *first]
    found = translate([*(source for source, _ in asked), *strange])
    scores = sentence_chrf([each.text for each in found[: len(asked)]], [target for _, target in asked])
    right = np.array(scores[: len(pairs)]) >= RIGHT
    if min(min(half.sum(), (~half).sum()) for half in (right[::2], right[1::2])) < LEAST:
        return None
    ratios = [math.log((1 + len(target)) / (1 + len(source))) for source, target in pairs]
    known = frozenset(words.source), frozenset(words.target), float(np.median(ratios))
    sources = [*(source for source, _ in pairs), *strange]
    judged = [*found[: len(pairs)], *found[len(asked) :]]
    signs = np.array([signs_of(source, *each, *known) for source, each in zip(sources, judged, strict=True)])
    weights, bias = fit_logistic(
        np.concatenate([signs[: len(pairs)][::2], signs[len(pairs) :]]),
        np.append(right[::2], np.zeros(len(strange), bool)),
        [DIRECTIONS.get(name, -1) for name in SIGNS],
        np.append(np.ones(len(right[::2])), np.full(len(strange), STRANGE)),
    )
    name = "a phrasebook" if corpus.name.startswith("phrasebook/") else corpus.name[:LONGEST_TEXT]
    by_name = dict(zip(SIGNS, map(float, weights), strict=True))
    fitted = Confidence(name, step, bias, by_name, 0.0, known[2], known[0], known[1])
    confidence = np.array([fitted.from_signs(row) for row in signs[: len(pairs)]])
    chosen = balanced(detections(confidence[::2], right[::2]))
    measured = detection(confidence[1::2], right[1::2], chosen.threshold)
    exact = [
        pair
        for pair, each in sorted(zip(asked, found, strict=False), key=lambda both: -both[1].log_probability)
        if each.text == pair[1]
    ]
    return dataclasses.replace(
        fitted,
        threshold=min(1.0, chosen.threshold),
        examples=_examples([pair for pair in first if pair in exact], exact),
        measured={
            "sentences": len(right[1::2]),
            "wrong": int((~right[1::2]).sum()),
            "wrong_warned": measured.wrong_warned,
            "right_warned": measured.right_warned,
            "precision": measured.precision,
        },
    )


def _examples(first: Sequence[Pair], others: Sequence[Pair]) -> tuple[str, ...]:
    """Return sentences to begin with: of `first`, then short ones of `others` that begin with different words."""
    chosen = [source for source, _ in first]
    begun = {words_of(source)[0] for source in chosen}
    for source, _ in others:
        words = words_of(source)
        if len(words) in SHORT and len(source) <= LONGEST_TEXT and words[0] not in begun:
            chosen.append(source)
            begun.add(words[0])
    return tuple(chosen[:EXAMPLES])
