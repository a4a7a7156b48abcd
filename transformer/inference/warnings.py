"""Warnings for the reader of a translation."""

from collections.abc import Sequence

LOOP_TOKENS, LOOP_TIMES = 6, 3  # in all, and of one stretch: from these on a repetition is a loop
RATIO, RATIO_TOKENS = 3.0, 8  # of the lengths, and of the longer one: from these on they are strange


def is_loop(tokens: Sequence[object]) -> bool:
    """Return whether tokens hold a stretch of up to 8 that comes three times or more, one right after the other."""
    for size in range(1, 9):
        same = 0
        for place in range(size, len(tokens)):
            same = same + 1 if tokens[place] == tokens[place - size] else 0
            if same >= max(size * (LOOP_TIMES - 1), LOOP_TOKENS - size):
                return True
    return False


def translation_warnings(
    source: str, text: str, source_ids: Sequence[int], ids: Sequence[int], finished: bool
) -> list[str]:
    """Return the warnings about a translation; the ids are without start and end tokens.

    `finished` is False where the longest length cut the translation off.
    """
    found = []
    if not finished:
        found.append("cut at the longest output length")
    if is_loop(ids) and not is_loop(source_ids):
        found.append("repeats itself")
    if len(source.split()) > 2 and source.casefold().split() == text.casefold().split():
        found.append("the sentence is copied, not translated")
    shorter, longer = sorted((len(source_ids), len(ids)))
    if source_ids and not ids:
        found.append("the translation is empty")
    elif longer >= RATIO_TOKENS and longer > RATIO * shorter:
        found.append(f"{len(ids)} tokens for {len(source_ids)} is a strange length")
    return found
