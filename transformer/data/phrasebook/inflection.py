"""Regular inflection of Portuguese and English; what is irregular stands in the data files."""

VOWELS = "aeiou"
# English words whose first letter misleads about their first sound.
SOUNDS_LIKE_CONSONANT = ("uni", "use", "euro", "one")
SOUNDS_LIKE_VOWEL = ("hour", "honest", "heir")

# masculine, feminine, masculine plural, feminine plural; "n" nouns (most city names) take no article.
GENDERS = ("m", "f", "mp", "fp")
DETERMINERS = {
    "o": ("o", "a", "os", "as"),
    "um": ("um", "uma", "uns", "umas"),
    "no": ("no", "na", "nos", "nas"),
    "do": ("do", "da", "dos", "das"),
    "ao": ("ao", "à", "aos", "às"),
    "pelo": ("pelo", "pela", "pelos", "pelas"),
    "este": ("este", "esta", "estes", "estas"),
    "neste": ("neste", "nesta", "nestes", "nestas"),
    "deste": ("deste", "desta", "destes", "destas"),
    "aquele": ("aquele", "aquela", "aqueles", "aquelas"),
    "meu": ("meu", "minha", "meus", "minhas"),
    "seu": ("seu", "sua", "seus", "suas"),
    "domeu": ("do meu", "da minha", "dos meus", "das minhas"),
}
WITHOUT_ARTICLE = {"o": "", "no": "em", "do": "de", "ao": "a", "pelo": "por"}
PLURAL_DETERMINERS = {forms[2]: name for name, forms in DETERMINERS.items()}

# Endings by conjugation class for eu, você/ele, nós, eles.
PRESENT = {"a": ("o", "a", "amos", "am"), "e": ("o", "e", "emos", "em"), "i": ("o", "e", "imos", "em")}
PAST = {"a": ("ei", "ou", "amos", "aram"), "e": ("i", "eu", "emos", "eram"), "i": ("i", "iu", "imos", "iram")}
# The stem keeps its sound before the e of the first person past: tocar -> toquei.
SPELLING_BEFORE_E = {"c": "qu", "g": "gu", "ç": "c"}


def portuguese_plural(noun: str) -> str:
    """Return the regular plural of a noun or adjective (one word or "word de complement").

    Raises:
      ValueError: the ending has no single regular plural, so the entry must write it out.
    """
    head, space, rest = noun.partition(" ")
    if head.endswith("ão") or head[-1] in "slx":
        raise ValueError(f"the plural of {noun!r} must be written out in its entry")
    if head.endswith("m"):
        plural = head[:-1] + "ns"
    elif head[-1] in "rz":
        plural = head + "es"
    else:
        plural = head + "s"
    return plural + space + rest


def portuguese_adjective(fields: list[str]) -> tuple[str, ...]:
    """Return the (m, f, m plural, f plural) forms from one, two (singular, plural) or four written forms."""
    if len(fields) == 4:
        return tuple(fields)
    if len(fields) == 2:
        return fields[0], fields[0], fields[1], fields[1]
    word = fields[0]
    if word.endswith("o"):
        return word, word[:-1] + "a", word + "s", word[:-1] + "as"
    plural = portuguese_plural(word)
    return word, word, plural, plural


def portuguese_verb(infinitive: str, irregular: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Return {"inf", "pres", "past", "ger"}: tuples over (eu, você/ele, nós, eles), of one form where invariable.

    Args:
      infinitive: one word ending in -ar, -er or -ir.
      irregular: {"pres": four forms, "past": four forms, "ger": one form}, each optional.

    Raises:
      ValueError: the word is no infinitive.
    """
    stem, theme = infinitive[:-2], infinitive[-2:-1]
    if infinitive[-1:] != "r" or theme not in PRESENT:
        raise ValueError(f"{infinitive!r} is no Portuguese infinitive in -ar, -er or -ir")
    soft = stem[:-1] + SPELLING_BEFORE_E.get(stem[-1], stem[-1]) if theme == "a" else stem
    past = (soft + PAST[theme][0], *(stem + ending for ending in PAST[theme][1:]))
    return {
        "inf": (infinitive,),
        "pres": tuple(irregular.get("pres", [stem + ending for ending in PRESENT[theme]])),
        "past": tuple(irregular.get("past", past)),
        "ger": tuple(irregular.get("ger", [stem + theme + "ndo"])),
    }


def english_plural(noun: str) -> str:
    """Return the regular plural of an English noun or compound."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def english_article(phrase: str) -> str:
    """Return "a" or "an" as the first sound of the phrase asks."""
    word = phrase.lower()
    vowel = word[0] in VOWELS and not word.startswith(SOUNDS_LIKE_CONSONANT) or word.startswith(SOUNDS_LIKE_VOWEL)
    return "an" if vowel else "a"


def english_verb(base: str, irregular: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Return {"inf", "pres", "past", "ing", "pp"}; "pres" is (base, third person singular).

    Args:
      base: one word.
      irregular: any of "third", "past", "ing", "pp".
    """
    third = irregular.get("third", english_plural(base))
    if base.endswith("e"):
        past, ing = base + "d", base[:-1] + "ing"
    elif base.endswith("y") and base[-2] not in VOWELS:
        past, ing = base[:-1] + "ied", base + "ing"
    else:
        past, ing = base + "ed", base + "ing"
    past = irregular.get("past", past)
    return {
        "inf": (base,),
        "pres": (base, third),
        "past": (past,),
        "ing": (irregular.get("ing", ing),),
        "pp": (irregular.get("pp", past),),
    }
