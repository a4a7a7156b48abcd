"""The words of a text, where nobody has divided it yet."""

import functools
import re
import sys
import unicodedata

_CJK = "\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"  # each character of these is a word


@functools.cache
def _word() -> re.Pattern[str]:
    """Return what a word is."""
    every = map(chr, range(sys.maxunicode + 1))
    marks = "".join(sign for sign in every if unicodedata.category(sign).startswith("M"))  # written above the others
    part = rf"(?:[^\W{_CJK}][{marks}]*)+"
    return re.compile(rf"[{_CJK}][{marks}]*|['\u2019]{part}|{part}(?:[-.,:/@]{part})*|[^\w\s][{marks}]*|_")


def words_of(text: str) -> list[tuple[int, int]]:
    """Return the words of a text: of each the first character, and the one behind the last.

    Signs stand alone, and so does every Chinese or Japanese character; what is behind an apostrophe is a word, as in
    corpora of entities ("Ana's" is "Ana" and "'s").
    """
    return [match.span() for match in _word().finditer(text)]
