"""What looks wrong in a user's text before anything is learned from it: columns, headers, swapped languages."""

import collections
import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from transformer.data.examples import text_files
from transformer.data.languages import language_of, script

LOOKED_AT = 2000  # lines at the beginning of a file
MOST = 0.9  # of the lines are called all of them
LEAST_PAIRS = 10  # from which languages are recognised
CLEAR = 2 / 3  # of the sentences of a side have to be of the other language
_NUMBER = re.compile(r"[\s\d.,:+-]*\d[\s\d.,:+-]*")
_HEADERS = {"source", "target", "src", "tgt", "trg", "input", "output", "original", "translation", "text", "sentence"}
_SCRIPTS = {  # of ISO 15924, where Unicode's names of letters begin with other words
    "Hans": {"CJK"},
    "Hant": {"CJK"},
    "Jpan": {"CJK", "HIRAGANA", "KATAKANA"},
    "Kore": {"HANGUL", "CJK"},
}


def of_files(paths: Sequence[Path], languages: Sequence[str]) -> Iterator[str]:
    """Yield what looks wrong in the first lines of a TSV, or of two aligned files; the languages may be empty."""
    rows: list[Sequence[str]]
    if len(paths) == 1:
        rows = list(itertools.islice(text_files.rows(paths[0]), LOOKED_AT))
        yield from column_warnings(paths[0], rows)
    else:
        read = [list(itertools.islice(text_files.lines(path), LOOKED_AT)) for path in paths]
        rows = list(zip(*read, strict=False))
        yield from itertools.chain.from_iterable(map(line_warnings, paths, read))
    name = " and ".join(map(str, paths))
    yield from header_warnings(name, rows[0], languages)
    if not languages[1] and _by_script([row[1] for row in rows], _SCRIPTS["Jpan"]) > CLEAR:
        yield (
            f"{name}: the targets look like Chinese or Japanese, and no language is named, so that BLEU splits them at "
            "spaces; name both languages, such as --source-language en --target-language zh"
        )
    if swapped([(row[0], row[1]) for row in rows], *languages):
        source, target = languages
        yield (
            f"{name}: source and target look swapped, {target} to {source} instead of {source} to {target}; "
            "if they are, swap the files or the languages (of a TSV, the columns)"
        )


def column_warnings(path: object, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield what looks wrong in the columns of the first lines of a file of pairs."""
    looked_at = f"of the first {len(rows):,} lines"
    longer = [(number, row[2]) for number, row in enumerate(rows, start=1) if len(row) > 2]
    if longer:
        number, text = longer[0]
        yield (
            f"{path}: {len(longer):,} {looked_at} have more than two columns; source and target are the first two, the "
            f"rest is ignored, such as '{text[:40]}' in line {number}"
        )
    numbers = [sum(bool(_NUMBER.fullmatch(row[side])) for row in rows) for side in (0, 1)]
    if numbers[0] >= MOST * len(rows) > numbers[1]:
        yield (
            f"{path}: the first column of {numbers[0]:,} {looked_at} is a number, and is taken as the source; "
            "if it is not meant so, drop it: cut -f2-"
        )


def line_warnings(path: object, lines: Sequence[str]) -> Iterator[str]:
    """Yield what looks wrong in the first lines of one of two aligned files."""
    columns = sum("\t" in line for line in lines)
    if columns >= MOST * len(lines):
        yield (
            f"{path}: {columns:,} of the first {len(lines):,} lines hold a TAB, which is taken as text; "
            "if it divides source from target, give the file as --tsv"
        )


def header_warnings(path: object, first: Sequence[str], languages: Sequence[str]) -> Iterator[str]:
    """Yield that the first pair of texts names its columns instead of being a pair."""
    import babel

    names = babel.Locale("en").languages
    known = {*_HEADERS, *(word.lower() for code in languages if code for word in (code, str(names.get(code, code))))}
    if len(first) > 1 and all(text.strip().lower() in known for text in first[:2]):
        yield (
            f"{path}: line 1 looks like a header ('{first[0]}', '{first[1]}'), and is taken as a pair; "
            "if it is one, drop it: tail -n +2"
        )


def swapped(pairs: Sequence[tuple[str, str]], source_language: str, target_language: str) -> bool:
    """Return whether the sources are clearly in the language of the targets, and the targets in that of the sources.

    By their scripts where these differ, else by the likelier of the two languages; False where neither is known.
    """
    if not (source_language and target_language) or len(pairs) < LEAST_PAIRS:
        return False
    scripts = [_scripts(language) for language in (source_language, target_language)]
    if all(scripts) and not scripts[0] & scripts[1]:
        shares = [_by_script(side, *scripts) for side in zip(*pairs, strict=True)]
    else:
        shares = _by_language(pairs, source_language, target_language)
    return bool(shares) and shares[0] <= 1 - CLEAR and shares[1] >= CLEAR


def _scripts(language: str) -> set[str]:
    """Return with what words Unicode's names of a language's letters begin; nothing for a language without a script."""
    import babel

    code = script(language)
    if not code:
        return set()
    return _SCRIPTS.get(code) or {str(babel.Locale("en").scripts.get(code, code)).upper().split()[0]}


def _by_script(texts: Iterable[str], first: set[str], second: set[str] | None = None) -> float:
    """Return the share of the first of two scripts among the letters that are of either; a half without any.

    Without a second one, among all letters.
    """
    letters = collections.Counter(itertools.chain.from_iterable(texts))
    counts = [0, 0]
    for letter, count in letters.items():
        word = unicodedata.name(letter, "").partition(" ")[0] if letter.isalpha() else ""
        counts[0] += count * (word in first)
        counts[1] += count * (bool(word) and word not in first if second is None else word in second)
    return counts[0] / sum(counts) if sum(counts) else 0.5


@functools.cache
def _identifier() -> tuple[Any, frozenset[str]]:
    """Return what tells languages apart, and their codes; loading it takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    return identifier, frozenset(map(str, identifier.labels))


def _by_language(pairs: Sequence[tuple[str, str]], first: str, second: str) -> list[float]:
    """Return the share of the sources, and of the targets, that is likelier in the first of two languages."""
    codes = [language_of(language) for language in (first, second)]
    if codes[0] == codes[1]:
        return []
    identifier, known = _identifier()
    if not known.issuperset(codes):
        return []
    identifier.set_languages(codes)
    shares = []
    for side in zip(*pairs, strict=True):
        ranks = [identifier.rank(text) for text in side if any(map(str.isalpha, text))]
        likelier = [ranked[0][0] for ranked in ranks if ranked[0][1] > ranked[1][1]]
        if len(likelier) < LEAST_PAIRS:
            return []
        shares.append(likelier.count(codes[0]) / len(likelier))
    return shares
