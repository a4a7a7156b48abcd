"""Cleaning: the normalisation in Python and in the graph, HTML, each rule with its count, streaming, duplicates."""

import random
import sys
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer.config.settings import CleaningConfig
from transformer.data.cleaning import SPACES, CleaningReport, clean, normalise_text, strip_html
from transformer.data.cleaning import cleaned as changed
from transformer.data.tokenizers.in_graph import normalise_tensor

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

# Unassigned code points are left out: Python's and tensorflow-text's Unicode tables may be of different years.
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cn"))) | st.text("a \t\n\u2581\u3000e\u0301\u0323\uac00\u11a8")
OFF = {"normalise_unicode": False, "strip_html": False, "drop_empty": False, "drop_duplicates": False}


def in_graph(texts):
    encoded = tf.constant([text.encode() for text in texts], tf.string)
    return [text.decode() for text in normalise_tensor(encoded).numpy()]


def cleaned(pairs, languages=("en", "de"), **rules):
    """The kept pairs and the report with only the given rules on."""
    report = CleaningReport()
    return list(clean(pairs, CleaningConfig(**{**OFF, **rules}), *languages, report)), report


def test_blanks_are_unicode_white_space():
    separators = {chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp")}
    assert set(SPACES) == separators | set("\t\n\v\f\r\u0085")
    assert len(SPACES) == 25  # the number of characters with this property in Unicode's PropList


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("e\u0301", "\u00e9"),  # e and a combining acute compose
        ("\u212b", "\u00c5"),  # the Angstrom sign is A with ring
        ("\uff21\ufb01", "\uff21\ufb01"),  # full-width A and the ligature fi are kept
        (" \t a  b\n\u3000", "a  b"),
        ("\u2581a\u2581b", "a b"),
        ("\x00a\x00", "\x00a\x00"),
        ("\u200ba", "\u200ba"),  # a zero-width space is no White_Space
        ("a\u2028b", "a\u2028b"),
    ],
)
def test_normalisation(text, expected):
    assert normalise_text(text) == expected
    assert in_graph([text]) == [expected]


@UNTIMED
@given(st.lists(TEXTS, max_size=8))
def test_python_and_graph_agree_and_repeating_changes_nothing(texts):
    expected = [normalise_text(text) for text in texts]
    assert in_graph(texts) == expected
    assert [normalise_text(text) for text in expected] == expected


def test_python_and_graph_agree_on_every_assigned_character():
    codes = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co"))
    texts = [f"a{chr(code)}b" for code in codes]
    assert in_graph(texts) == [normalise_text(text) for text in texts]


def test_normalise_tensor_keeps_the_shape():
    assert normalise_tensor(tf.constant([[" a", "b "], ["", "c"]])).numpy().tolist() == [[b"a", b"b"], [b"", b"c"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stone &amp; tile", "stone & tile"),
        ("&amp;quot;yes&amp;quot;", '"yes"'),  # escaped twice
        ("caf&eacute; &#233; &#xE9;", "café é é"),
        ("AT&T, R&D, &unknown; &notit; a&b=1&copy=2", "AT&T, R&D, &unknown; &notit; a&b=1&copy=2"),
        ("<b>wo</b>rd", "word"),
        ("one<br/>two<BR>three", "one two three"),
        ("<p>one</p><p>two</p>", "one two"),
        ("see <a href=\"http://x.org/?a=1\" title='a > b'>here</a>!", "see here!"),
        ("<font size=2>big</font>", "big"),
        ("a <!-- <b>hidden</b>\nnote --> b", "a b"),
        ("<script type='x'>if (a < b) {}</script>text", "text"),
        ("&lt;i&gt;so&lt;/i&gt;", "so"),
        ("a < b and c > d", "a < b and c > d"),
        ("x<y", "x<y"),
        ("if a<b and b>c", "if a<b and b>c"),
        ("Dear <name>, <3", "Dear <name>, <3"),
        ("two  blanks", "two  blanks"),
        # names that are words too: placeholders, unless with an attribute or an end
        ("Wait <time>, run <code>, press <del>", "Wait <time>, run <code>, press <del>"),
        ("<1> of <data> in <source>: <title>, <Summary>", "<1> of <data> in <source>: <title>, <Summary>"),
        ("at <time datetime='10:00'>ten</time>", "at ten"),
        ("run <code>ls</code> or <CODE>cd</CODE>, not <data>", "run ls or cd, not <data>"),
        ("<title>one</title>two", "one two"),
        ("&lt;time&gt; and &lt;code&gt;x&lt;/code&gt;", "<time> and x"),
        ("the end</body></html>", "the end"),
        ("<link/> <x id='1'/> <g1>", "<link/> <x id='1'/> <g1>"),
        # what hides text, with and without an end
        ("a<style>x</STYLE >b<!--c-->d", "a b d"),
        ("<!-- a <script> --> b", "b"),
        ("a <!-- no end", "a <!-- no end"),
        ("<script>no end <!-- c --> b", "<script>no end b"),
        ("<!DOCTYPE html>a", "a"),
    ],
)
def test_strip_html(text, expected):
    assert strip_html(text) == expected


def test_every_rule_counts_what_it_does():
    pairs = [
        ("a", "b"),
        ("a", "b"),  # duplicate
        ("a", "c"),  # not one: the other side differs
        (" a ", "b\u2581"),  # a duplicate once normalised
        ("", "b"),
        ("a", " \u3000"),
        ("<b></b>", "b"),  # empty once stripped
        ("one two three four", "eins zwei drei vier"),
        ("abcdefghi", "ab"),
    ]
    report = CleaningReport()
    kept = list(clean(pairs, CleaningConfig(max_words=3, max_ratio=4.0), "en", "de", report))
    assert kept == [("a", "b"), ("a", "c")]
    assert report.read == 9 and report.kept == 2
    assert report.removed == {"drop_empty": 3, "max_words": 1, "max_ratio": 1, "drop_duplicates": 2}
    assert report.changed == {"strip_html": 1, "normalise_unicode": 2}
    assert str(report) == (
        "kept 2 of 9 pairs; drop_empty removed 3; max_words removed 1; max_ratio removed 1; drop_duplicates removed 2; "
        "strip_html changed 1; normalise_unicode changed 2"
    )


def test_a_text_is_changed_as_a_side_of_a_pair():
    text = " <b>caf&eacute;</b> e\u0301 <time> "
    for rules in ({}, {"strip_html": False}, {"normalise_unicode": False}, OFF):
        config = CleaningConfig(**rules)
        assert [(changed(text, config), "x")] == list(clean([(text, "x")], config))
    assert changed(text, CleaningConfig()) == "caf\u00e9 \u00e9 <time>"
    assert changed(text, CleaningConfig(**OFF)) == text


def test_every_rule_can_be_off():
    pairs = [("<b>e\u0301</b> ", ""), ("<b>e\u0301</b> ", ""), (" ".join("a" * 500), "b")]
    kept, report = cleaned(pairs)
    assert kept == pairs
    assert report.removed == {} and report.changed == {}


@pytest.mark.parametrize(
    ("rule", "removed"),
    [
        ({"drop_empty": True}, [("", "b")]),
        ({"drop_duplicates": True}, [("a", "b")]),
        ({"max_words": 1}, [("a b", "c")]),
        ({"max_ratio": 3.0}, [("", "b"), ("aaaa", "b")]),
    ],
)
def test_a_rule_alone_removes_only_what_breaks_it(rule, removed):
    pairs = [("a", "b"), ("a", "b"), ("", "b"), ("a b", "c"), ("aaaa", "b")]
    kept, _ = cleaned(pairs, **rule)
    expected = list(pairs)
    for pair in removed:
        expected.remove(pair)
    assert kept == expected


def test_limits_are_inclusive():
    kept, _ = cleaned([("a b c", "d"), ("a b c d", "e"), ("abc", "d"), ("abcd", "e")], max_words=3)
    assert kept == [("a b c", "d"), ("abc", "d"), ("abcd", "e")]
    kept, _ = cleaned([("abc", "d"), ("abcd", "e"), ("f", "abc")], max_ratio=3.0)
    assert kept == [("abc", "d"), ("f", "abc")]


@pytest.mark.parametrize("language", ["zh", "ja", "zh_TW", "zh-Hans", "zho", "yue", "th", "lo", "km", "my", "bo"])
def test_words_are_characters_where_no_blanks_are_written(language):
    pairs = [("one", "我 爱 你"), ("one", "我们爱你")]
    assert cleaned(pairs, ("en", language), max_words=3)[0] == pairs[:1]
    assert cleaned([pair[::-1] for pair in pairs], (language, "en"), max_words=3)[0] == [pairs[0][::-1]]
    assert cleaned(pairs, ("en", "ko"), max_words=3)[0] == pairs  # Korean words have blanks between them


def test_the_boundary_between_the_sides_tells_pairs_apart():
    pairs = [("ab", "c"), ("a", "bc"), ("1 a", "b"), ("1", " ab")]
    assert cleaned(pairs, drop_duplicates=True)[0] == pairs


@settings(UNTIMED, max_examples=30)
@given(st.lists(st.integers(0, 3000), max_size=4000))
def test_duplicates_equal_a_plain_set(numbers):
    pairs = [(str(number), "x") for number in numbers]
    assert cleaned(pairs, drop_duplicates=True)[0] == list(dict.fromkeys(pairs))


def test_many_pairs_outgrow_the_first_table():
    pairs = [(str(number), "x") for number in range(20_000)]
    assert cleaned(pairs + pairs, drop_duplicates=True)[0] == pairs


def test_the_stream_is_read_one_pair_for_each_that_is_asked_for():
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield f"{len(read)}", "x"

    stream = clean(endless(), CleaningConfig(max_words=9, max_ratio=9))
    assert [next(stream)[0] for _ in range(3)] == ["1", "2", "3"]
    assert len(read) == 3


@pytest.mark.parametrize("start", ["a", "", "\u00e9", "\u1ea5", "\u1100\u1161"])
def test_long_rows_of_marks_are_normalised_as_unicode_says(start):
    chance = random.Random(start)
    marks = "\u0300\u0301\u0316\u0323\u0327\u0334\u0344\u0345\u05b0\u3099\u0f71"
    for count in (63, 64, 65, 300):
        text = start + "".join(chance.choices(marks, k=count)) + "b"
        assert normalise_text(text) == unicodedata.normalize("NFC", text)


def test_marks_without_end_take_no_time_without_end():
    """The square of 200,000 marks would be minutes."""
    text = normalise_text("a" + "\u0301\u0323" * 100_000)
    assert text == "\u1ea1" + "\u0323" * 99_999 + "\u0301" * 100_000
