"""The package, its changelog and its citation name one version."""

import configparser
import re

from conftest import ROOT


def test_the_same_version_everywhere():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    citation, changelog = ((ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))
    cited = re.findall(r"^version: (\S+)$", citation, flags=re.MULTILINE)
    newest = re.findall(r"^## \[(\S+)\] - (?:Unreleased|\d{4}-\d\d-\d\d)$", changelog, flags=re.MULTILINE)[:1]
    assert cited == newest == [setup["metadata"]["version"]]
    assert re.findall(r"^license: (\S+)$", citation, flags=re.MULTILINE) == [setup["metadata"]["license"]]
