"""The map from the documents keeps its word: every file it names exists, and nothing is left without an answer."""

import re

import pytest
from conftest import ROOT

MAP = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in MAP.splitlines()
    if line.startswith("| ") and not line.startswith("| section")
]


def test_every_file_it_names_exists():
    named = re.findall(r"`([\w/]+\.(?:py|md|toml|ipynb))`", MAP)
    linked = [f"docs/{target}" for target in re.findall(r"\]\(([^)]+)\)", MAP)]
    assert len(named) > 100 and len(linked) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert [path for path in (*named, *linked) if not (ROOT / path).exists()] == []


def test_what_has_a_module_has_a_test():
    for section, what, module, test, rest in ROWS:
        assert bool(module) == bool(test), section
        assert all(path.startswith("tests/") for path in re.findall(r"`([\w/.]+)`", test)), section
        assert module or rest or re.search("history|purpose|background", what), section


def test_every_document_has_a_table():
    assert re.findall(r"^## (\d{3})", MAP, flags=re.MULTILINE) == ["000", "001", "002", "003", "004"]


@pytest.mark.parametrize("number", ["000", "001", "002", "003", "004"])
def test_no_section_is_left_out(number, document):
    headings = re.findall(r"^#{2,4} (\d+(?:\.\d+)*)", document(number), flags=re.MULTILINE)
    leaves = [one for one in headings if not any(other.startswith(one + ".") for other in headings)]
    table = re.split(r"^## ", MAP, flags=re.MULTILINE)[1 + int(number)]
    cells = [line.strip("|").split("|")[0] for line in table.splitlines() if line.startswith("| ")]
    named = set(re.findall(r"\d+(?:\.\d+)*", re.sub(r"items? [\d and]+", "", "; ".join(cells))))
    parents = {leaf: {leaf.rsplit(".", up)[0] for up in range(leaf.count(".") + 1)} for leaf in leaves}
    assert len(leaves) > 5
    assert [leaf for leaf in leaves if not parents[leaf] & named] == []
