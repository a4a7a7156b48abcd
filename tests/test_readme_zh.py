"""README.zh.md is README.md in Chinese: block by block the same commands, code, links and figures."""

import re
from itertools import zip_longest

import pytest
from conftest import ROOT

PATHS = ROOT / "README.md", ROOT / "README.zh.md"
BLOCK = re.compile(r"^```[\s\S]*?^```$|^\|.*|(?:^(?!```|\|)[^\n]+\n?)+", re.MULTILINE)  # code, a table's row, or text
COMMENT = re.compile(r"\s*#\s.*")
WIDE = "[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]"  # Chinese characters and stops
FACTS = {
    "heading": r"^#+(?= )",
    "items": r"^- ",
    "code": r"`[^`]*`",
    "figures": r"\d+(?:[.,]\d+)*",
}


def facts(block):
    """Return what does not depend on the language: of code all but its comments, of a row this for each cell."""
    if block.startswith("```"):
        return [COMMENT.sub("", line) for line in block.splitlines()]
    if block.startswith("|"):
        return [facts(cell) for cell in block.split("|")]
    found = {name: sorted(re.findall(pattern, block, re.MULTILINE)) for name, pattern in FACTS.items()}
    return {**found, "links": re.findall(r"\]\((.*?)\)", block)}


def differences(english, chinese):
    """Return the blocks that differ in a fact, and how; after one that is missing, all do."""
    pairs = zip_longest(BLOCK.findall(english), BLOCK.findall(chinese), fillvalue="")
    return [
        (ours[:60], theirs[:60], facts(ours), facts(theirs)) for ours, theirs in pairs if facts(ours) != facts(theirs)
    ]


def test_both_readmes_say_the_same():
    english, chinese = (path.read_text(encoding="utf-8") for path in PATHS)
    assert english.count("(README.zh.md)") == 1
    assert differences(english.replace("(README.zh.md)", "(README.md)"), chinese) == []  # each leads to the other
    assert len(re.findall("[\u4e00-\u9fff]", chinese)) > 2000


def test_chinese_lines_end_where_a_blank_may_be():
    """A browser shows the end of a line as a blank, which has no place between two Chinese characters."""
    broken = re.compile(f".*{WIDE}\n{WIDE}.*")
    assert broken.findall(PATHS[1].read_text(encoding="utf-8")) == []
    assert broken.findall("用 Keras\n写成，\n可以\n对照") == ["写成，\n可以"]


ENGLISH = """\
# A

One `b` of 1,024, see [c](d.md) and [e](f.md).

| x | y | z |
|---|---|---|
| 1 | 2 | `g` |
| 3 | 4 | `h` |

```sh
ls  # all
```

- one
- two
"""


@pytest.mark.parametrize(
    "there, here",
    [
        ("# A", "## A"),
        ("# A\n", "A\n"),
        ("`b`", "`B`"),
        ("1,024", "1024"),
        ("(d.md)", "(e.md)"),
        ("[c](d.md) and [e](f.md)", "[e](f.md) and [c](d.md)"),
        ("| 1 | 2 |", "| 2 | 1 |"),
        ("| 1 | 2 | `g` |\n| 3 |", "| 3 | 2 | `g` |\n| 1 |"),
        ("`g` |\n| 3 | 4 | `h`", "`h` |\n| 3 | 4 | `g`"),
        ("`g` |", "`g` | |"),
        ("| 3 | 4 | `h` |\n", ""),
        ("ls ", "ls -a "),
        ("- two\n", ""),
        ("- one\n- two\n", ""),
    ],
)
def test_a_difference_is_seen(there, here):
    translated = ENGLISH.replace("# all", "# 全部")
    assert differences(ENGLISH, translated) == []
    assert translated.count(there) == 1
    assert differences(ENGLISH, translated.replace(there, here))
