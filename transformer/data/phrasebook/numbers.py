"""Numbers, times, dates and prices as entries, written by Babel in the custom of each language."""

import datetime
import functools
from collections.abc import Callable
from typing import Any

from transformer.data.phrasebook.lexicon import Entry

NEW_YEAR = datetime.date(2024, 1, 1)  # a Monday of a leap year
LOCALES = {"pt": "pt_BR", "en": "en_US", "zh": "zh_CN"}


def _entry(key: object, write: Callable[[str, str], str]) -> Entry:
    # CLDR joins with no-break spaces; people type plain ones.
    texts = {language: write(language, locale) for language, locale in LOCALES.items()}
    fields = {language: [text.replace("\xa0", " ").replace("\u202f", " ")] for language, text in texts.items()}
    return Entry(str(key), fields, frozenset(), {})


def _price(value: float) -> Entry:
    from babel.numbers import format_currency

    def write(language: str, locale: str) -> str:
        # Chinese says the amount and then the name of the currency.
        return format_currency(value, "BRL", locale=locale, format_type="name" if language == "zh" else "standard")

    return _entry(value, write)


def _clock(minutes: int) -> Entry:
    from babel.dates import format_time

    time = datetime.time(*divmod(minutes, 60))
    return _entry(minutes, lambda language, locale: format_time(time, "short", locale=locale))


def _date(ordinal: int) -> Entry:
    from babel.dates import format_skeleton

    date = NEW_YEAR + datetime.timedelta(days=ordinal)
    return _entry(ordinal, lambda language, locale: format_skeleton("MMMMd", date, locale=locale))


def _named_date(pattern: str, step: int) -> Callable[[int], Entry]:
    def build(index: int) -> Entry:
        from babel.dates import format_date

        date = NEW_YEAR + datetime.timedelta(days=index * step)
        return _entry(index, lambda language, locale: format_date(date, pattern, locale=locale))

    return build


def _on_weekday(index: int) -> Entry:
    day = value_entry("weekday", index)
    feminine = day.text["pt"].endswith("feira")
    texts = {"pt": f"{'na' if feminine else 'no'} {day.text['pt']}", "en": f"on {day.text['en']}", "zh": day.text["zh"]}
    return _entry(index, lambda language, locale: texts[language])


def _number(value: int) -> Entry:
    from babel.numbers import format_decimal

    return _entry(value, lambda language, locale: format_decimal(value, locale=locale))


def _degrees(value: int) -> Entry:
    from babel.units import format_unit

    return _entry(
        value, lambda language, locale: format_unit(value, "temperature-celsius", length="short", locale=locale)
    )


def _plain(value: int) -> Entry:
    return _entry(value, lambda language, locale: str(value))


# type -> (the entry of a value, all values); a pattern uses at most ten of them
VALUES: dict[str, tuple[Callable[[Any], Entry], list]] = {
    "small_price": (_price, [whole + cents for whole in range(4, 45) for cents in (0.0, 0.5, 0.9)]),
    "price": (_price, [whole + cents for whole in range(25, 200, 5) for cents in (0.0, 0.5, 0.9)]),
    "large_price": (_price, [float(value) for value in range(120, 3000, 60)]),
    "clock": (_clock, list(range(7 * 60, 23 * 60, 15))),
    "morning": (_clock, list(range(5 * 60, 11 * 60, 15))),
    "evening": (_clock, list(range(17 * 60, 23 * 60, 15))),
    # Without the first of a month, which Portuguese calls "primeiro" and CLDR writes as 1.
    "date": (_date, [day for day in range(366) if (NEW_YEAR + datetime.timedelta(day)).day > 1]),
    "weekday": (_named_date("EEEE", 1), list(range(7))),
    "on_weekday": (_on_weekday, list(range(7))),
    "month": (_named_date("LLLL", 31), list(range(12))),
    "count": (_number, list(range(2, 13))),
    "minutes": (_number, list(range(10, 60, 5))),
    "small_count": (_number, list(range(2, 7))),
    "dose": (_number, [4, 6, 8, 12]),
    "hours": (_number, list(range(4, 11))),
    "age": (_number, list(range(18, 60))),
    "child_age": (_number, list(range(2, 13))),
    "year": (_plain, list(range(1960, 1996))),
    "degrees": (_degrees, list(range(5, 39))),
}


@functools.cache
def value_entry(kind: str, value: float) -> Entry:
    """Return the entry of one value of a type in VALUES."""
    return VALUES[kind][0](value)
