"""The words of a text, where nobody has divided it yet."""

import re

_CJK = "\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"  # each character of these is a word
_PART = rf"[^\W{_CJK}]+"
_WORD = re.compile(rf"[{_CJK}]|['\u2019]{_PART}|{_PART}(?:[-.,:/@]{_PART})*|[^\w\s]|_")


def words_of(text: str) -> list[tuple[int, int]]:
    """Return the words of a text: of each the first character, and the one behind the last.

    Signs stand alone, and so does every Chinese or Japanese character; what is behind an apostrophe is a word, as in
    corpora of entities ("Ana's" is "Ana" and "'s").
    """
    return [match.span() for match in _WORD.finditer(text)]
