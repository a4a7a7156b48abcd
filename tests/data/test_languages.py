"""Language codes: spellings, what is known of a language, and the answers to codes that are none."""

import pytest

from transformer.data.languages import bleu_tokenizer, canonical, check_language, is_without_spaces, language_of
from transformer.system.errors import UserError


@pytest.mark.parametrize(
    ("code", "spelled"),
    [
        ("", ""),
        ("en", "en"),
        ("EN", "en"),
        ("zh-TW", "zh_TW"),
        ("zh-cn", "zh_CN"),  # as TFDS writes it
        ("zh_hans", "zh_Hans"),
        ("zh-Hant-HK", "zh_Hant_HK"),
        ("pt-BR", "pt_BR"),
        ("pt_br", "pt_BR"),
        ("es-419", "es_419"),
        ("ca_ES_VALENCIA", "ca_ES_valencia"),
        # ISO 639-1's codes of before 1989
        ("iw", "he"),
        ("in", "id"),
        ("ji", "yi"),
        # ISO 639-2 and 639-3 where there are two letters, also the bibliographic ones
        ("deu", "de"),
        ("ger", "de"),
        ("por", "pt"),
        ("eng", "en"),
        ("zho", "zh"),
        ("chi", "zh"),
        ("jpn", "ja"),
        ("kor", "ko"),
        ("bod", "bo"),
        ("mya", "my"),
        ("kau", "kr"),
        # a language for the group that it is the standard of
        ("cmn", "zh"),
        ("arb", "ar"),
        ("pes", "fa"),
        # FLORES and NLLB
        ("eng_Latn", "en_Latn"),
        ("zho_Hans", "zh_Hans"),
        ("fil", "fil"),
        ("yue", "yue"),
        ("no such", "no such"),
        ("\ud800", "\ud800"),
    ],
)
def test_spellings(code, spelled):
    assert canonical(code) == spelled
    assert language_of(code) == spelled.split("_")[0]


@pytest.mark.parametrize(
    "code",
    ["en", "de", "zh", "yue", "pt_BR", "pt-br", "zh-TW", "zh_Hans", "zh-cn", "zho_Hant", "iw", "in", "deu", "cmn"]
    + ["de-1996", "ca-valencia", "sr-Latn", "es-419", "en_UK", "kau", "twi", "la", "br", "se"],
)
def test_known_codes(code):
    check_language(code)


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        # countries
        ("jp", "ja"),
        ("cn", "zh"),
        ("cz", "cs"),
        ("dk", "da"),
        ("gr", "el"),
        ("ua", "uk"),
        ("vn", "vi"),
        ("US", "en"),
        # a known language with something behind it that is unknown
        ("en_FOO", "en"),
        ("pt_XX", "pt"),
        ("zh-", "zh"),
        # names, in English or the language's own
        ("german", "de"),
        ("portugese", "pt"),
        ("Brazilian Portuguese", "pt_BR"),
        ("deutsch", "de"),
        ("portugu\u00eas", "pt"),
        ("\u65e5\u672c\u8a9e", "ja"),
    ],
)
def test_unknown_codes_come_with_a_suggestion(code, meant):
    with pytest.raises(UserError) as failure:
        check_language(code)
    assert str(failure.value).startswith(f"unknown language '{code}'. Did you mean '{meant}'? Give an ISO 639 code")
    check_language(meant)


@pytest.mark.parametrize("code", ["xx", "", "a", "root", "\ud800", "123", "_", "en" * 1000])
def test_unknown_codes_without_one(code):
    with pytest.raises(UserError, match="Give an ISO 639 code such as 'en', 'pt' or 'zh'$"):
        check_language(code)


@pytest.mark.parametrize(("code", "codes"), [("kr", ("ko", "kau")), ("KR", ("ko", "kau")), ("tw", ("zh_TW", "twi"))])
def test_codes_with_two_meanings_are_asked_for(code, codes):
    """ISO 639 says Kanuri and Twi, who writes them mostly means Korean and Chinese."""
    with pytest.raises(UserError, match=f"^unclear language '{code}': give '{codes[0]}' for .*, or '{codes[1]}' for"):
        check_language(code)
    for clear in codes:
        check_language(clear)


@pytest.mark.parametrize(
    ("codes", "tokenizer", "without_spaces"),
    [
        (("zh", "zh-TW", "zh_Hans", "zh-cn", "zho", "cmn", "yue", "wuu", "lzh"), "zh", True),
        (("ja", "jpn", "ja-JP", "th", "tha", "lo", "km", "my", "mya", "bo", "bod", "dz"), "char", True),
        (("ko", "kor", "kor_Hang"), "char", False),
        (("", "en", "pt-BR", "vi", "ar", "hi", "ka", "kau", "zh_Latn", "ja-Latn", "no such", "\ud800"), "13a", False),
    ],
)
def test_words_and_characters(codes, tokenizer, without_spaces):
    for code in codes:
        assert (bleu_tokenizer(code), is_without_spaces(code)) == (tokenizer, without_spaces), code
