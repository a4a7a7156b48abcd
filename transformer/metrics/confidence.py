"""How sure a translator may be of a translation: signs, and what they say together.

Nothing here needs TensorFlow: this runs at every translation.
"""

import dataclasses
import itertools
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from transformer.config.checks import require

SIGNS = {  # of a translation that may be wrong, and what they are
    "log_probability": "of the translation, in nats per token, the end token included",
    "new_words": "share of the sentence's words that no training sentence has; a name that is carried over counts not",
    "made_up_words": "share of the translation's words that neither a training translation nor the sentence has",
    "tokens_per_character": "of the sentence: rare words fall into many pieces",
    "copied": "share of the translation's words that stand in the sentence",
    "repeated": "share of the translation's words that repeat, with the word before, an earlier pair",
    "numbers": "1 where the digits of sentence and translation differ, else 0",
    "length": "distance of the logarithm of the lengths' ratio, in characters, from the usual one",
    "words": "logarithm of the number of the sentence's words",
}
MOST_WORDS = 50_000  # of each language that a run keeps, the most frequent ones
MOST_BYTES = 4_000_000  # of the file
EXAMPLES = 3  # sentences to begin with
LONGEST_TEXT = 300  # characters of an example, and of `about`
LARGEST = 1e6  # of a weight

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # each character of these is a word
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])[^\W\d_])+")
_NUMBER = re.compile(r"\d+")


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are written; numbers are none, nor are signs."""
    return _WORD.findall(unicodedata.normalize("NFC", text))


def signs_of(
    source: str,
    text: str,
    log_probability: float,
    tokens: int,
    source_tokens: int,
    source_words: frozenset[str],
    target_words: frozenset[str],
    usual_ratio: float,
) -> list[float]:
    """Return the numbers of `SIGNS`, in their order.

    Args:
        source: the sentence.
        text: its translation.
        log_probability: summed over the tokens of the translation, in nats.
        tokens: of the translation, the end token included.
        source_tokens: of the sentence, without start and end.
        source_words, target_words: those of the training text, case-folded.
        usual_ratio: logarithm of (characters of a translation / characters of its sentence).
    """
    theirs, ours = words_of(source), words_of(text)
    written, folded = set(ours), [word.casefold() for word in theirs]
    there = set(folded)
    new = [word.casefold() not in source_words and not (word[0].isupper() and word in written) for word in theirs]
    made_up = [word.casefold() not in target_words and word.casefold() not in there for word in ours]
    pairs = Counter(itertools.pairwise(ours))
    return [
        log_probability / max(1, tokens),
        sum(new) / max(1, len(theirs)),
        sum(made_up) / max(1, len(ours)),
        source_tokens / max(1, len(source)),
        sum(word.casefold() in there for word in ours) / max(1, len(ours)),
        (pairs.total() - len(pairs)) / max(1, len(ours)),
        float(Counter(_NUMBER.findall(source)) != Counter(_NUMBER.findall(text))),
        abs(math.log((1 + len(text)) / (1 + len(source))) - usual_ratio),
        math.log(1 + len(theirs)),
    ]


@dataclasses.dataclass(frozen=True)
class Confidence:
    """Tells translations that are probably right from those that are not, by their signs.

        confidence = 1 / (1 + exp(-(bias + sum of weight * sign over SIGNS)))

    It estimates how many of such translations are right. Below `threshold` the translator is unsure.

    Raises:
        ValueError: a field is not what it should be, as in a file that somebody has forged.

    Source: Specia et al. 2009, "Estimating the sentence-level quality of machine translation systems"; a logistic
        regression of such signs: Blatz et al. 2004, "Confidence estimation for machine translation".
    """

    about: str  #: what the model was trained on, as the warning says it
    step: int  #: of training that made the weights
    bias: float
    weights: Mapping[str, float]  #: of each of SIGNS
    threshold: float
    usual_ratio: float  #: see `signs_of`
    source_words: frozenset[str]  #: case-folded words of the training sentences
    target_words: frozenset[str]  #: and of their translations
    examples: tuple[str, ...] = ()  #: sentences that the model translates well
    measured: Mapping[str, float] = dataclasses.field(default_factory=dict)  #: on sentences that decided nothing

    def __post_init__(self) -> None:
        require(self.weights.keys() == SIGNS.keys(), "weights", f"those of {', '.join(SIGNS)}", list(self.weights))
        for name, number in (("bias", self.bias), ("usual_ratio", self.usual_ratio), *self.weights.items()):
            require(abs(number) <= LARGEST, name, f"at most {LARGEST:,.0f} in size", number)
        require(0 <= self.threshold <= 1, "threshold", "from 0 to 1", self.threshold)
        require(self.step >= 0, "step", "at least 0", self.step)
        for name in ("source_words", "target_words"):
            require(len(getattr(self, name)) <= MOST_WORDS, name, f"at most {MOST_WORDS:,} words", "more")
        require(len(self.examples) <= EXAMPLES, "examples", f"at most {EXAMPLES}", len(self.examples))
        for text in (self.about, *self.examples):
            require(len(text) <= LONGEST_TEXT, "a text", f"at most {LONGEST_TEXT} characters", text)

    def of(self, source: str, text: str, log_probability: float, tokens: int, source_tokens: int) -> float:
        """Return the confidence in a translation, from 0 to 1; see `signs_of` for the arguments."""
        known = self.source_words, self.target_words, self.usual_ratio
        signs = signs_of(source, text, log_probability, tokens, source_tokens, *known)
        return self.from_signs(signs)

    def from_signs(self, signs: Sequence[float]) -> float:
        """Return the confidence that signs give, in the order of `SIGNS`."""
        total = self.bias + sum(self.weights[name] * sign for name, sign in zip(SIGNS, signs, strict=True))
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, total))))  # whose exponentials are finite

    @property
    def warning(self) -> str:
        """What a reader of a translation below the threshold is told."""
        return f"the model is unsure of this sentence; it was trained on {self.about}"

    def to_json(self) -> bytes:
        """Return the content of a file."""
        words = {name: " ".join(sorted(getattr(self, name))) for name in ("source_words", "target_words")}
        return (json.dumps({**dataclasses.asdict(self), **words}, ensure_ascii=False, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Return what `to_json` wrote, which may have been forged since; a ValueError says what is wrong with it."""
        kinds: dict[str, type] = {
            "about": str, "step": int, "bias": float, "weights": dict, "threshold": float, "usual_ratio": float,
            "source_words": str, "target_words": str, "examples": list, "measured": dict,
        }  # fmt: skip
        if not isinstance(values, dict) or values.keys() != kinds.keys():
            raise ValueError(f"it must hold {', '.join(kinds)}")
        for name, kind in kinds.items():
            require(type(values[name]) is kind, name, f"of type {kind.__name__}", values[name])
        for name in ("weights", "measured"):
            good = all(type(number) in (int, float) and math.isfinite(number) for number in values[name].values())
            require(good, name, "finite numbers", values[name])
        require(all(type(text) is str for text in values["examples"]), "examples", "texts", values["examples"])
        words = {name: frozenset(values[name].split()) for name in ("source_words", "target_words")}
        return cls(**{**values, **words, "examples": tuple(values["examples"])})
