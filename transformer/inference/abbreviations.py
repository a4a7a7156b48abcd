"""Abbreviations that sentencex lacks or treats otherwise: whether a sentence may end after them.

Each table maps a language to words, without their last full stop; those under '' count in every language. A word in
lower case stands for its capitalised form too; a stop inside may have a space behind it ("p. ex."). Words that another
language writes at the end of a sentence ("on" of "On. Rossi", "me" of "Me. Dupont") stand under their language alone.
"""

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

Table = dict[str, str]

# A name follows, or the rest of what is said: no sentence ends here, whatever comes. Titles and forms of address,
# saints and streets; then "for example", "that is", "so-called" and "see", whose next word may be a name too.
ONWARD: Table = {
    "": "Mr Mrs Ms Dr Dra Prof Profa Mme Mlle MM Mgr Sig Gen Col Cel Capt Lt Sgt Rev Gov Sen Rep St Ste Sta Sto Mt av "
    "Avda Blvd Jl ул бул вул акад проф डॉ प्रो ড e.g i.e cf vs p.ex p.ej т.е z.B d.h t.ex f.eks",
    "ar": "د",
    "ca": "Sr Sra",
    "cs": "Ing JUDr MUDr PhDr ul nám tř sv např tzv",
    "da": "hr",
    "de": "Hr Fr Ing Str bzw vgl sog",
    "el": "κ κα οδ αγ",
    "es": "Sr Sra Srta D Dña Ing Lic Pza",
    "fr": "M Me Pr bd pl",
    "hr": "ul gđa sv npr tzv",
    "hu": "pl ún",
    "id": "Bpk Sdr Ir",
    "it": "Dott Dott.ssa Prof.ssa Ing Avv On S P.za V.le C.so",
    "nl": "dhr mevr mw drs ir mr bijv",
    "no": "hr",
    "pl": "ul al pl os św ks im inż np tzw tzn m.in",
    "pt": "Sr Sra Srta Exmo Exma Eng D Pe Pça tb",
    "ro": "Str Bd Dl Dna ex",
    "ru": "им пр св напр см",
    "sl": "ul sv npr",
    "sv": "hr s.k",
    "tr": "Sn bkz örn",
    "uk": "ім св див напр",
    "vi": "TP TS ThS",
}

# A number follows: pages, chapters, figures, articles, numbers, hours, years, "about". Before a word they may be words.
NUMBER: Table = {
    "": "p pp pag pág pàg n no nr nro núm num vol vols cap ch chap art fig eq sec s str kap kl tel approx aprox "
    "стр рис гл табл ст д фиг पृ พ.ศ ค.ศ",
    "cs": "č obr",
    "de": "Abb Bd Kap Abs ca",
    "hu": "kb",
    "id": "hlm",
    "nl": "blz",
    "pl": "ok godz",
    "pt": "séc",
}

# They end a list, and with it the sentence where a capital letter follows, though sentencex goes on.
AND_SO_ON: Table = {
    "": "etc",
    "cs": "atd apod",
    "da": "osv m.m",
    "de": "usw",
    "el": "κ.λπ",
    "hr": "itd",
    "hu": "stb",
    "it": "ecc",
    "nl": "enz",
    "no": "osv m.m",
    "pl": "itd itp",
    "ru": "т.д т.п др",
    "sl": "itd",
    "sv": "osv m.m",
    "tr": "vb vs",
    "uk": "т.д т.п ін",
}

# Languages that write "3." for "third", and may go on with a capital letter: a sentence seldom ends there; nor where no
# language is named.
ORDINALS = frozenset({"", "de", "gsw", "lb", "nds", "tr"})
_TABLES = (ONWARD, NUMBER, AND_SO_ON)


class Abbreviations(NamedTuple):
    """Patterns of a language, the first three of texts that end with an abbreviation and spaces."""

    onward: re.Pattern[str]  # after which a sentence goes on
    number: re.Pattern[str]  # before a number
    numbered: re.Pattern[str]  # before a number, and with that number, a small one, and a stop
    ends: re.Pattern[str]  # an abbreviation that may end a sentence, with its stop and spaces, before a word
    with_ordinals: bool  # whether "3." is "third"


@functools.cache
def abbreviations(language: str) -> Abbreviations:
    """Return the patterns of a language, whose code is as `transformer.data.languages.language_of` returns it."""
    language = {"nb": "no", "nn": "no", "sk": "cs"}.get(language, language)
    onward, number, and_so_on = ({*table[""].split(), *table.get(language, "").split()} for table in _TABLES)
    numbers = _one_word(number)
    return Abbreviations(
        re.compile(rf"{_one_word(onward - and_so_on)}\s+\Z"),
        re.compile(rf"{numbers}\s+\Z"),
        re.compile(rf"{numbers}\s*\d{{1,2}}\.\s+\Z"),
        # "No." without a number is an answer
        re.compile(
            rf"(?:{_one_word(and_so_on)}|(?<![\w.])[Nn]o\.)[)\]\"'\u201d\u2019\u00bb]{{0,4}}\s++(?=\W{{0,8}}[^\W\d_])"
        ),
        language in ORDINALS,
    )


def _one_word(words: Iterable[str]) -> str:
    return rf"(?<![\w.])(?:{'|'.join(map(_either_case, sorted(words, key=len, reverse=True)))})\."


def _either_case(word: str) -> str:
    first = f"[{word[0]}{word[0].upper()}]" if word[0].islower() else re.escape(word[0])
    return first + re.escape(word[1:]).replace(r"\.", r"\.\s?")
