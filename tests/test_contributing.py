"""CONTRIBUTING.md keeps its word: imports run down the levels that it draws."""

import ast
import re

from conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "transformer"
LEVELS = {
    name.rstrip("/").removesuffix(".py"): int(number)
    for number, line in re.findall(r"^ *(\d+)  (\S.*)$", TEXT, flags=re.MULTILINE)
    for name in re.findall(r"\w+(?:/|\.py)", line)
}


def imported(path):
    """Yield the parts of the package that a file imports from, those imported inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "transformer":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformer."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("transformer."))


def test_every_part_has_its_level():
    parts = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {path.stem for path in PACKAGE.glob("*.py")}
    assert sorted(parts - {"__init__", "__main__"} - LEVELS.keys()) == []


def test_imports_run_downwards():
    upwards, seen = [], 0
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if path.stem == "__main__" or part == "__init__":  # a command, and the public names of all floors
            continue
        for other in imported(path):
            seen += 1
            if other != part and LEVELS[other] >= LEVELS[part]:
                upwards.append((path.relative_to(PACKAGE).as_posix(), other))
    assert seen > 200
    assert upwards == []
