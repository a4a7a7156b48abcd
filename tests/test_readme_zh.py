"""README.zh.md is README.md in Chinese: block by block the same commands, code, links and figures."""

import re

import pytest
from conftest import ROOT

PATHS = ROOT / "README.md", ROOT / "README.zh.md"
BLOCK = re.compile(r"^```[\s\S]*?^```$|(?:^(?!```)[^\n]+\n?)+", re.MULTILINE)
COMMENT = re.compile(r"\s*#\s.*")
FACTS = {
    "heading": r"^#+(?= )",
    "rows and columns": r"^\||(?<=.)\|",
    "items": r"^- ",
    "code": r"`[^`]*`",
    "links": r"\]\((.*?)\)",
    "figures": r"\d+(?:[.,]\d+)*",
}


def facts(block):
    """Return what does not depend on the language; of code all but its comments."""
    if block.startswith("```"):
        return {"commands": [COMMENT.sub("", line) for line in block.splitlines()]}
    block = block.replace("README.zh.md", "README.md")  # each leads to the other
    return {name: sorted(re.findall(pattern, block, re.MULTILINE)) for name, pattern in FACTS.items()}


def differences(english, chinese):
    """Return the blocks that differ in a fact, and how."""
    pairs = zip(BLOCK.findall(english), BLOCK.findall(chinese), strict=True)
    return [(theirs[:60], facts(ours), facts(theirs)) for ours, theirs in pairs if facts(ours) != facts(theirs)]


def test_both_readmes_say_the_same():
    english, chinese = (path.read_text(encoding="utf-8") for path in PATHS)
    assert differences(english, chinese) == []
    assert len(re.findall("[\u4e00-\u9fff]", chinese)) > 2000


ENGLISH = """\
# A

One `b` of 1,024, see [c](d.md).

| x | y |
|---|---|
| 1 | 2 |

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
        ("`b`", "`B`"),
        ("1,024", "1024"),
        ("(d.md)", "(e.md)"),
        ("| 1 | 2 |", "| 1 | 2 | |"),
        ("| 1 | 2 |\n", ""),
        ("ls ", "ls -a "),
        ("- two\n", ""),
    ],
)
def test_a_difference_is_seen(there, here):
    changed = ENGLISH.replace("# all", "# 全部").replace(there, here)
    assert differences(ENGLISH, ENGLISH.replace("# all", "# 全部")) == []
    assert len(differences(ENGLISH, changed)) == 1
