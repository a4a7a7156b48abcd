"""Sentences that a translator cannot translate, made of ones that it can."""

import random
import re
from collections.abc import Callable, Sequence

_LETTERS = re.compile(r"[^\W\d_]+")
SHORTEST = 4  # characters of a word that is made new, or gives half of one


def _new_words(text: str, words: Sequence[str], chance: random.Random) -> str:
    """Replace the two longest words by ones that do not exist, made of the first half of a word and the second of
    another."""
    known = set(words)
    places = sorted((match.span() for match in _LETTERS.finditer(text)), key=lambda span: span[0] - span[1])[:2]
    for start, end in sorted(places, reverse=True):
        new = ""
        for _ in range(10):
            first, second = chance.choice(words), chance.choice(words)
            new = first[: (len(first) + 1) // 2] + second[len(second) // 2 :]
            if new not in known:
                break
        text = text[:start] + (new.capitalize() if text[start].isupper() else new) + text[end:]
    return text


def _shuffled(text: str, words: Sequence[str], chance: random.Random) -> str:
    """Bring the words, in a text without spaces the characters, into another order."""
    between = " " if " " in text else ""
    units = text.split() if between else list(text)
    chance.shuffle(units)
    return between.join(units)


def _glued(text: str, words: Sequence[str], chance: random.Random) -> str:
    """Leave the spaces out."""
    return "".join(text.split())


DISTORTIONS: dict[str, Callable[[str, Sequence[str], random.Random], str]] = {
    "new words": _new_words,
    "shuffled": _shuffled,
    "glued": _glued,
}


def distorted(pairs: Sequence[tuple[str, str]], words: Sequence[str], seed: int) -> list[str]:
    """Return, for each pair of a sentence and its translation, what cannot be translated.

    In turn two words are replaced by new ones, the words are shuffled or glued together, or the translation itself
    stands for the sentence: a text in another language. What stays as it was is left out.

    Args:
        pairs: sentences and their translations.
        words: of the language, from which new ones are made.
        seed: of all that is chosen at random.
    """
    chance = random.Random(seed)
    long = [word for word in words if len(word) >= SHORTEST] or list(words)
    kinds = [*DISTORTIONS.values(), None]
    found = []
    for place, (source, target) in enumerate(pairs):
        change = kinds[place % len(kinds)]
        text = change(source, long, chance) if change else target
        if text != source:
            found.append(text)
    return found
