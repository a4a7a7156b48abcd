"""Language codes: one reading of them for corpora, cleaning, cutting into sentences and scores.

A run stores the code as it was given, in any of its spellings ('zh-TW', 'zh_tw', 'zho_Hant', 'cmn').
"""

import difflib
import functools
import re

from transformer.system.errors import UserError

# Scripts without spaces between words, where characters are counted instead of words. BLEU's 'zh' splits Chinese
# characters alone. Korean has spaces, but its words hold their grammar: a phrase that is one word is right or wrong.
_CHINESE = frozenset({"Hans", "Hant", "Hani"})
_WITHOUT_SPACES = _CHINESE | {"Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
_BY_CHARACTER = _WITHOUT_SPACES - _CHINESE | {"Kore", "Hang"}

# Codes of small languages that are also those of countries whose language is counted in another way: what was meant
# is unclear, and the wrong one would falsify every score. With them, the codes that are clear.
_UNCLEAR = {"kr": ("Kanuri", "kau", "Korean", "ko"), "tw": ("Twi", "twi", "Chinese of Taiwan", "zh_TW")}


@functools.cache
def canonical(code: str) -> str:
    """Return a code in Unicode's spelling: 'zh_TW' of 'zh-tw', 'pt' of 'por', 'he' of 'iw', 'sr_Latn' of 'srp-latn'.

    A code that is unknown is spelled likewise; empty stays empty.
    """
    from babel.core import Locale, get_global

    language, *rest = re.split("[-_]", code)
    language = language.lower()
    if language not in Locale("en").languages:  # of three letters where there are two, retired, or of one of a group
        language = get_global("language_aliases").get(language, language).partition("_")[0]
    return "_".join([language, *map(_spelled, rest)])


def language_of(code: str) -> str:
    """Return the language of a code without script or country: 'zh' of 'zh-TW', 'pt' of 'por'; of an empty one ''."""
    return canonical(code).partition("_")[0]


def script(code: str) -> str:
    """Return the script that a code names, else that in which its language is mostly written; '' of an unknown one."""
    from babel.core import get_global

    language, *rest = canonical(code).split("_")
    named = [subtag for subtag in rest if len(subtag) == 4 and subtag.isalpha()]
    return named[0] if named else get_global("likely_subtags").get(language, "").partition("_")[2].partition("_")[0]


def is_without_spaces(code: str) -> bool:
    """Return whether a language is written without spaces between words, as Chinese, Japanese and Thai are."""
    return script(code) in _WITHOUT_SPACES


def bleu_tokenizer(code: str) -> str:
    """Return sacreBLEU's tokenizer for a language: 'zh', 'char' for others without spaces and Korean, else '13a'.

    Japanese and Korean morphemes need MeCab: a default that depends on what is installed would make scores that cannot
    be compared.
    """
    written = script(code)
    return "zh" if written in _CHINESE else "char" if written in _BY_CHARACTER else "13a"


def check_language(code: str) -> None:
    """Raise a UserError for a code that Babel does not know: ISO 639, perhaps with script or country ('zho', 'pt-BR').

    The language meant by a country's code or a language's name is suggested.
    """
    if code.lower() in _UNCLEAR:
        name, clear, other, right = _UNCLEAR[code.lower()]
        raise UserError(f"unclear language '{code}': give '{right}' for {other}, or '{clear}' for {name}")
    if _is_known(code):
        return
    hint = f" Did you mean '{meant}'?" if (meant := _meant(code)) else ""
    raise UserError(f"unknown language '{code}'.{hint} Give an ISO 639 code such as 'en', 'pt' or 'zh'")


def _spelled(subtag: str) -> str:
    if len(subtag) == 4 and subtag.isalpha():
        return subtag.title()
    return subtag.upper() if len(subtag) < 4 else subtag.lower()


def _is_known(code: str) -> bool:
    from babel.core import Locale, get_global

    english = Locale("en")
    language, *rest = canonical(code).split("_")
    variants = map(str.lower, english.variants)
    known = {*english.scripts, *english.territories, *get_global("territory_aliases"), *variants}
    return bool(re.fullmatch("[a-z]{2,3}", language)) and language in english.languages and known.issuperset(rest)


def _meant(code: str) -> str:
    """Return the code that was meant by an unknown one, or an empty string."""
    from babel.core import Locale, get_global
    from babel.localedata import locale_identifiers

    if code.upper() in Locale("en").territories:
        likely = get_global("likely_subtags")
        return likely.get(f"und_{code.upper()}", likely["und"]).partition("_")[0]
    if (language := language_of(code)) != canonical(code) and _is_known(language):  # behind it is no script or country
        return language
    names = {name.lower(): known for known, name in Locale("en").languages.items()}
    own = {str(Locale.parse(known).language_name).lower(): known for known in locale_identifiers() if len(known) < 4}
    if code.lower() in own:  # 'deutsch', which looks like Dutch
        return own[code.lower()]
    close = difflib.get_close_matches(code.lower(), names, n=1, cutoff=0.8)
    return str(names[close[0]]) if close else ""
