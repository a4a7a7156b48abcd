"""The entries of the phrasebook: typed words and phrases that know their own forms in three languages.

Every kind answers two calls: `form(language, name, other)` gives the text of one form, where `other` is the entry
to agree with, and `choose(language, mark, count)` gives the index of the alternative that an inline choice of a
pattern takes. The header of each file in `entries/` shows how an entry is written.
"""

import functools
import tomllib
from importlib import resources

from transformer.data.phrasebook import inflection

LANGUAGES = ("pt", "en", "zh")
# Index of the verb form: eu, você/ele, nós, eles.
PORTUGUESE_PERSONS = {"1s": 0, "2s": 1, "3s": 1, "1p": 2, "3p": 3}
# Object, possessive and prepositional forms of the pronouns, by person and, where it matters, gender.
ENGLISH_OBJECTS = {"1s": "me", "2s": "you", "3sm": "him", "3sf": "her", "1p": "us", "3p": "them"}
ENGLISH_SUBJECTS = {"1s": "I", "2s": "you", "3sm": "he", "3sf": "she", "1p": "we", "3p": "they"}
ENGLISH_OWN = {"1s": "my", "2s": "your", "3sm": "his", "3sf": "her", "1p": "our", "3p": "their"}
PORTUGUESE_PRONOUNS = {
    "com": {"1s": "comigo", "1p": "conosco"},
    "para": {"1s": "para mim"},
    "de": {"1s": "de mim", "3sm": "dele", "3sf": "dela", "3p": "deles"},
}


class Entry:
    """A fixed text in each language; the base of the inflected kinds.

    Args:
      key: the name of the entry, unique in its type.
      fields: language -> the parts of its record, split at "|".
      tags: words a pattern may filter by.
      irregular: irregular verb forms, {"pt": {...}, "en": {...}}; only verbs read it.
    """

    def __init__(self, key: str, fields: dict[str, list[str]], tags: frozenset[str], irregular: dict):
        self.key, self.fields, self.tags = key, fields, tags
        self.text = {language: parts[0] for language, parts in fields.items()}
        self.prepare(irregular)

    def prepare(self, irregular: dict) -> None:
        """Work out the forms, once."""

    def form(self, language: str, name: str, other: "Entry | None") -> str:
        """Return the text of the form: "" names the plain one, "alt" the second part of the record, if any."""
        if name == "alt":
            return self.fields[language][-1]
        if name:
            raise ValueError(f"a phrase has no form {name!r}")
        return self.text[language]

    def plain(self, language: str) -> tuple[str, ...]:
        """Return the texts of which a form is one with an article or the like before it, the longest first."""
        return (self.text[language],)

    def choose(self, language: str, mark: str, count: int) -> int:
        """Return which of `count` alternatives agrees with this entry."""
        raise ValueError(f"nothing can agree with {self.key!r} (alternatives after {mark!r} in {language})")


class Noun(Entry):
    """Common or proper noun: gender and contractions in pt, article and number in en, measure word in zh."""

    def prepare(self, irregular: dict) -> None:
        pt, en, zh = (self.fields[language] for language in LANGUAGES)
        self.gender = pt[1] if len(pt) > 1 else ""
        if self.gender not in (*inflection.GENDERS, "n"):
            raise ValueError(f"the pt record needs a gender (m, f, mp, fp or n), got {pt}")
        self.written_plural = pt[2] if len(pt) > 2 else None
        # number in English: a plural form, "u" uncountable, "p" plural only, "n" a name without article
        self.number = en[1] if len(en) > 1 and en[1] else inflection.english_plural(en[0])
        self.preposition = en[2] if len(en) > 2 else "at"
        self.measure = zh[1] if len(zh) > 1 else None
        self.verb = zh[2] if len(zh) > 2 else None

    def form(self, language: str, name: str, other: Entry | None) -> str:
        return getattr(self, f"_{language}")(name)

    def plain(self, language: str) -> tuple[str, ...]:
        if language == "zh":
            return (self.text["zh"],)
        try:
            plural = self.form(language, "s", None)
        except ValueError:  # no pattern asks for it
            plural = self.text[language]
        return tuple(sorted({plural, self.text[language]}, key=len, reverse=True))

    def _pt(self, name: str) -> str:
        plural = name == "s" or name in inflection.PLURAL_DETERMINERS
        text = self.text["pt"]
        if plural and self.gender in ("m", "f"):
            text = self.written_plural or inflection.portuguese_plural(text)
        if name in ("", "s"):
            return text
        determiner = inflection.PLURAL_DETERMINERS.get(name, name)
        if determiner not in inflection.DETERMINERS:
            raise ValueError(f"a pt noun has no form {name!r}")
        if self.gender == "n":
            return f"{inflection.WITHOUT_ARTICLE[determiner]} {text}".strip()
        gender = self.gender + "p" if plural and len(self.gender) == 1 else self.gender
        return f"{inflection.DETERMINERS[determiner][inflection.GENDERS.index(gender)]} {text}"

    def _en(self, name: str) -> str:
        text = self.text["en"]
        many = self.number == "p"
        if name == "s":
            return text if self.number in ("u", "p") else self.number
        if name == "a":
            return f"some {text}" if self.number in ("u", "p") else f"{inflection.english_article(text)} {text}"
        if name == "in":
            return f"{self.preposition} {self._en('the')}"
        determiners = {
            "": "",
            "the": "" if self.number == "n" else "the ",
            "this": "these " if many else "this ",
            "that": "those " if many else "that ",
        }
        if name not in determiners:
            raise ValueError(f"an en noun has no form {name!r}")
        return determiners[name] + text

    def _zh(self, name: str) -> str:
        text = {"": self.text["zh"], "cl": self.measure, "v": self.verb}.get(name)
        if text is None:
            raise ValueError(f"the zh record of {self.key!r} has no form {name!r}")
        return text

    def choose(self, language: str, mark: str, count: int) -> int:
        if mark == "?" and language == "pt" and count in (2, 4):
            index = 0 if self.gender == "n" else inflection.GENDERS.index(self.gender)
            if index < count:
                return index
        if mark == "?" and language == "en" and count == 2:
            return int(self.number == "p")
        return super().choose(language, mark, count)


class Person(Entry):
    """Somebody: a pronoun, a name or a relation, with person, gender and the forms that follow from them."""

    def prepare(self, irregular: dict) -> None:
        pt = self.fields["pt"]
        if len(pt) != 3 or pt[1] not in inflection.GENDERS or pt[2] not in PORTUGUESE_PERSONS:
            raise ValueError(f"the pt record of a person is text | gender | person (1s, 2s, 3s, 1p, 3p), got {pt}")
        self.gender, self.person = pt[1:]
        self.code = self.person + self.gender if self.person == "3s" else self.person
        self.pronoun = "pron" in self.tags

    def form(self, language: str, name: str, other: Entry | None) -> str:
        text = self.text[language]
        if name == "":
            return text
        if language == "en" and name in ("own", "pronoun"):
            return (ENGLISH_OWN if name == "own" else ENGLISH_SUBJECTS)[self.code]
        if language == "en" and name == "obj":
            return ENGLISH_OBJECTS[self.code] if self.pronoun else text
        if language == "en" and name == "poss":
            owner = text + ("'" if self.person == "3p" else "'s")
            return ENGLISH_OWN[self.code] if self.pronoun else owner
        if language == "pt" and name in PORTUGUESE_PRONOUNS:
            special = PORTUGUESE_PRONOUNS[name].get(self.code) if self.pronoun else None
            preposition = name
            if name == "de" and text.startswith(("meu", "minha")):
                preposition = inflection.DETERMINERS["do"][inflection.GENDERS.index(self.gender)]
            return special or f"{preposition} {text}"
        raise ValueError(f"a person has no {language} form {name!r}")

    def choose(self, language: str, mark: str, count: int) -> int:
        """Mark "!": the verb (pt four forms; en base/third, or am/is/are); mark "?": pt gender and number."""
        if language == "pt" and mark == "!" and count == 4:
            return PORTUGUESE_PERSONS[self.person]
        if language == "pt" and mark == "?" and count == 4:
            return inflection.GENDERS.index(self.gender)
        if language == "en" and mark == "!" and count == 2:
            return int(self.person == "3s")
        if language == "en" and mark == "!" and count == 3:
            return {"1s": 0, "3s": 1}.get(self.person, 2)
        if language == "en" and mark == "?" and count == 2:
            return int(self.person in ("1p", "3p"))
        return super().choose(language, mark, count)


class Adjective(Entry):
    """Adjective, or profession: agrees with a noun or person in pt."""

    def prepare(self, irregular: dict) -> None:
        self.agreeing = inflection.portuguese_adjective(self.fields["pt"])

    def form(self, language: str, name: str, other: Entry | None) -> str:
        if language == "pt" and name == "":
            return self.agreeing[other.choose("pt", "?", 4) if other else 0]
        if language == "en" and name == "a":
            many = other is not None and other.choose("en", "?", 2)
            return f"{'some' if many else inflection.english_article(self.text['en'])} {self.text['en']}"
        return super().form(language, name, other)


class Verb(Entry):
    """Verb with its complement: "preparar uma salada", "make a salad", "做 沙拉" (了 and 过 go where the space is)."""

    def prepare(self, irregular: dict) -> None:
        self.forms = {}
        for language, inflect in (("pt", inflection.portuguese_verb), ("en", inflection.english_verb)):
            head, space, rest = self.text[language].partition(" ")
            paradigm = inflect(head, irregular[language].get(head, {}))
            self.forms[language] = {
                name: tuple(form + space + rest for form in forms) for name, forms in paradigm.items()
            }
        pt, going = self.forms["pt"], inflection.portuguese_verb("ir", irregular["pt"]["ir"])["pres"]
        pt["eu"] = pt["pres"][:1]
        # "vai ir" is avoided: the present of ir is its own future.
        pt["fut"] = pt["pres"] if self.text["pt"].startswith("ir ") else tuple(f"{go} {pt['inf'][0]}" for go in going)

    def form(self, language: str, name: str, other: Entry | None) -> str:
        if language == "zh":
            if name not in ("", "了", "过"):
                raise ValueError(f"a zh verb has no form {name!r}")
            text = self.text["zh"]
            return text.replace(" ", name) if " " in text or not name else text + name
        forms = self.forms[language].get(name or "inf")
        if forms is None:
            raise ValueError(f"a verb has no {language} form {name!r}")
        if len(forms) == 1:
            return forms[0]
        if other is None:
            raise ValueError(f"the {language} form {name!r} needs the person it agrees with, as in {{do:{name}@who}}")
        return forms[other.choose(language, "!", len(forms))]


KINDS = {"phrase": Entry, "noun": Noun, "person": Person, "adjective": Adjective, "verb": Verb}


def read_tables(folder: str) -> dict[str, dict]:
    """Return {file name without suffix: table} of the TOML files in a folder of this package, sorted by name."""
    root = resources.files("transformer.data.phrasebook") / folder
    files = sorted((item for item in root.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
    return {item.name.removesuffix(".toml"): tomllib.loads(item.read_text(encoding="utf-8")) for item in files}


def build_type(name: str, table: dict, irregular: dict) -> list[Entry]:
    """Return the entries of one type.

    Args:
      name: the type, for messages.
      table: {"kind": one of KINDS, entry key: [pt, en, zh] or [pt, en, zh, tags], ...}.
      irregular: irregular verbs, {"pt": {infinitive: forms}, "en": {base: forms}}.

    Raises:
      ValueError: an unknown kind, a missing language or a record its kind cannot read; the message names the entry.
    """
    if table.get("kind") not in KINDS:
        raise ValueError(f"entries [{name}]: kind must be one of {sorted(KINDS)}, got {table.get('kind')!r}")
    entries = []
    for key, record in table.items():
        if key == "kind":
            continue
        if not isinstance(record, list) or len(record) not in (3, 4) or not all(record[:3]):
            raise ValueError(f"entries [{name}] {key}: must be [pt, en, zh] or [pt, en, zh, tags], got {record!r}")
        fields = dict(zip(LANGUAGES, ([part.strip() for part in text.split("|")] for text in record[:3]), strict=True))
        tags = frozenset(record[3].split()) if len(record) == 4 else frozenset()
        try:
            entries.append(KINDS[table["kind"]](key, fields, tags | {key}, irregular))
        except ValueError as error:
            raise ValueError(f"entries [{name}] {key}: {error}") from error
    return entries


@functools.cache
def load_types() -> dict[str, list[Entry]]:
    """Return every type of the package's `entries/` folder with its entries, in the order of the files."""
    tables = read_tables("entries")
    irregular = tables.pop("irregular_verbs")
    types = {}
    for file, content in tables.items():
        for name, table in content.items():
            if name in types:
                raise ValueError(f"entries/{file}.toml: the type {name!r} is defined twice")
            types[name] = build_type(name, table, irregular)
    return types
