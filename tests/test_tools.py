"""The contributor's tools keep their word: one list of checks, before a commit and in CI, and types that users get."""

import ast
import configparser
import importlib.metadata
import os
import re
import subprocess

import pytest
from conftest import ROOT

import transformer

TOOL = ROOT / ".ci" / "tool"
CHECKS = re.findall(r"^\.ci/tool (.+)$", (ROOT / ".ci" / "check").read_text(encoding="utf-8"), flags=re.MULTILINE)
HOOKS = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def call(*words, **changes):
    return subprocess.run([TOOL, *words], env={**os.environ, **changes}, capture_output=True, text=True)


def test_hooks_run_the_checks():
    *checks, tests = CHECKS
    assert tests.startswith("python -m pytest") and checks
    assert [hook for hook in HOOKS if not hook.startswith(".ci/tool ")] == []  # found though no environment is active
    assert checks == [hook.removeprefix(".ci/tool ") for hook in HOOKS[: len(checks)]]


def test_extras_bring_the_tools():
    extras = SETUP["options.extras_require"]
    tools = {check.split()[0] for check in CHECKS[:-1]}
    assert tools <= set(re.findall(r"^([\w-]+)", extras["test"], flags=re.MULTILINE))
    small = {hook.split()[1] for hook in HOOKS} - tools
    assert small and "\npre-commit-hooks>" in extras["dev"]
    try:
        scripts = importlib.metadata.distribution("pre-commit-hooks").entry_points
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs pre-commit-hooks, of the extra [dev]")
    assert small <= {script.name for script in scripts}


def test_a_tool_is_run_where_it_is_installed(tmp_path):
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit 3\n')
    tool.chmod(0o755)
    for name in ("VENV", "VIRTUAL_ENV"):
        found = call("tool", "a b", "c", **{"VENV": "", "VIRTUAL_ENV": "", name: str(tmp_path)})
        assert (found.stdout, found.stderr, found.returncode) == ("<a b><c>", "", 3)


def test_a_tool_that_is_missing_is_told(tmp_path):
    missing = call("ruff", VENV=str(tmp_path))
    assert missing.returncode == 1 and missing.stdout == ""
    assert re.fullmatch(rf"error: there is no ruff in {tmp_path}; install .*\[dev\].* VENV=.*\n", missing.stderr)


def test_types_are_packaged():
    assert (ROOT / "transformer" / "py.typed").exists()
    assert "py.typed" in SETUP["options.package_data"]["transformer"].split()


def test_editors_see_the_public_names():
    """One list serves them and the package; a type checker takes only `import name as name` for public."""
    tree = ast.parse((ROOT / "transformer" / "__init__.pyi").read_text(encoding="utf-8"))
    found = [name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert found and all(name.name == name.asname for name in found)
    assert sorted(name.name for name in found) == transformer.__all__
    assert {*transformer.__all__} <= {*dir(transformer)}
    for name in transformer.__all__:
        assert getattr(transformer, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'transformer' has no attribute 'Transfomer'"):
        transformer.Transfomer  # noqa: B018
