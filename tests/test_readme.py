"""The README keeps its word: its commands parse, its paths exist, and `.ci/run` installs and tests by its commands."""

import configparser
import importlib
import re
import shlex

import pytest
from conftest import ROOT

import train
import translate
from transformer import evaluation

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "".join(re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL))
PARSERS = {"train.py": train.parser(), "translate.py": translate.parser()}


def test_ci_runs_the_readmes_commands():
    run, check = ((ROOT / ".ci" / name).read_text(encoding="utf-8") for name in ("run", "check"))
    run = run.replace('"$venv"', ".venv").replace("$venv", ".venv").replace('"$python"', "python3").splitlines()
    check = check.replace(".ci/tool ", ".venv/bin/").replace(' "$@"', "").splitlines()
    *installing, testing = next(line for line in SHELL.splitlines() if line.endswith("-m pytest")).split(" && ")
    for step in (*installing, '.venv/bin/pip install -e ".[parity]"'):
        assert step in run
    assert run[-1] == "VENV=.venv .ci/check" and check[-1] == testing  # pytest's closing line is the last one


@pytest.mark.parametrize("script", PARSERS)
def test_commands_parse(script):
    commands = re.split(r"\n| && | \| | > ", SHELL)
    calls = [words for command in commands if script in (words := shlex.split(command, comments=True))]
    assert calls
    for words in calls:
        PARSERS[script].parse_args(words[words.index(script) + 1 :])  # leaves the process where a flag is unknown


def test_score_command_parses():
    module, arguments = re.search(r"`python -m (transformer\.evaluation) (.*?)`", README).groups()
    assert module == evaluation.__name__
    evaluation.parser().parse_args(arguments.split())


def test_named_paths_exist():
    links = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    table = re.findall(r"`((?:transformer|configs|tests|docs|benchmarks)/[\w/.]*)`", README)
    assert len(table) > 5
    assert [path for path in (*links, *table) if not (ROOT / path).exists()] == []


def test_imported_names_exist():
    found = re.findall(r"^from (transformer[\w.]*) import (.+)$", README, flags=re.MULTILINE)
    assert found
    for module, names in found:
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), (module, name)


def test_python_versions_are_those_of_the_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    first, after = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", config["options"]["python_requires"]).groups()
    named = {int(minor) for minor in re.findall(r"\b3\.(1\d)\b", re.search(r"need Python (.*?) on", README)[1])}
    assert named == set(range(int(first), int(after)))
