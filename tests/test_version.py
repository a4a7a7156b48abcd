"""The package, its changelog and its citation name one version."""

import configparser
import re

from conftest import ROOT

import transformer


def test_the_same_version_everywhere():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert setup["metadata"]["version"] == "attr: transformer.__version__"
    citation, changelog = ((ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))
    cited = re.findall(r"^version: (\S+)$", citation, flags=re.MULTILINE)
    newest = re.findall(r"^## \[(\S+)\] - (?:Unreleased|\d{4}-\d\d-\d\d)$", changelog, flags=re.MULTILINE)[:1]
    assert cited == newest == [transformer.__version__]
    assert re.findall(r"^license: (\S+)$", citation, flags=re.MULTILINE) == [setup["metadata"]["license"]]
