"""The READMEs and the pages of docs/ keep their word: commands parse, configs are read, paths and names exist.

`.ci/run` installs and tests by the README's commands.
"""

import configparser
import re
import shlex

import pytest
from conftest import ROOT

import train
import translate
from transformer.commands import evaluate, export, selfcheck, serve
from transformer.commands import plot as plots_command
from transformer.config import presets
from transformer.config.run import Config

READMES = ("README.md", "README.zh.md")
PATHS = [*(ROOT / name for name in READMES), *(ROOT / "docs").glob("*.md")]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in PATHS}
README = PAGES["README.md"]
PARSERS = {
    "train.py": train.parser(),
    "translate.py": translate.parser(),
    **{module.__name__: module.parser() for module in (evaluate, export, selfcheck, serve)},
    "transformer.commands.plot": plots_command.parser(),
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def calls(page, script):
    """Yield the arguments of each call in the shell blocks of a page and in the commands that its text quotes."""
    quoted = re.findall(r"`(python [^`]*)`", PAGES[page])
    text = "\n".join([*blocks(page, "sh"), *quoted]).replace("\\\n", " ")
    for command in re.split(r"\n| && | \| | [<>] |; ", text):
        words = shlex.split(command, comments=True)
        if script in words:
            yield words[words.index(script) + 1 :]


def test_ci_runs_the_readmes_commands():
    run, check = ((ROOT / ".ci" / name).read_text(encoding="utf-8") for name in ("run", "check"))
    run = run.replace('"$venv"', ".venv").replace("$venv", ".venv").replace('"$python"', "python3").splitlines()
    check = check.replace(".ci/tool ", ".venv/bin/").replace(' "$@"', "").splitlines()
    *installing, testing = next(
        line for line in "".join(blocks("README.md", "sh")).splitlines() if line.endswith("-m pytest")
    ).split(" && ")
    for step in (*installing, *(f'.venv/bin/pip install -e ".[{extra}]"' for extra in ("parity", "docs"))):
        assert step in run
    assert run[-1] == "VENV=.venv .ci/check" and check[-1] == testing  # pytest's closing line is the last one


@pytest.mark.parametrize("script", PARSERS)
def test_commands_parse(script):
    found = [arguments for page in PAGES for arguments in calls(page, script)]
    assert found
    for arguments in found:
        PARSERS[script].parse_args(arguments)  # leaves the process where a flag is unknown


@pytest.mark.parametrize("page", ["own_corpus.md", "adapting.md"])
def test_configs_are_read(page, tmp_path):
    texts = blocks(page, "toml")
    assert texts
    for text in texts:
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        assert presets.read_config(tmp_path / "config.toml") != Config()


def test_dropped_pairs_are_shown(tmp_path, monkeypatch, capsys):
    """The example of own_corpus.md, run on four pairs of which two break a rule."""
    (example,) = blocks("own_corpus.md", "python")
    (tmp_path / "train.en").write_text(f"A dog.\nA cat.\n{'so ' * 31}\n\n", encoding="utf-8")
    (tmp_path / "train.de").write_text(f"Ein Hund.\nEine Katze.\n{'so ' * 31}\nNichts.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "own_corpus.md", "exec"), {})
    rows = [line.split("\t")[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows == [["3", "max_words"], ["4", "drop_empty"]]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    """As on GitHub; that the site's lead somewhere is in test_site.py."""
    folder = ROOT if page in READMES else ROOT / "docs"
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page])]
    assert [path for path in links if "://" not in path and not (folder / path).exists()] == []


@pytest.mark.parametrize("page", [*READMES, "CONTRIBUTING.md"])
def test_named_paths_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8").partition("## Three worked examples")[0]  # these bring new files
    table = re.findall(r"`((?:transformer|configs|tests|docs|benchmarks)/[\w/.]*)`", text)
    assert table
    assert [path for path in table if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "own_corpus.md", "adapting.md"])
def test_imported_names_exist(page):
    found = re.findall(r"^from (transformer[\w.]*) import (.+)$", PAGES[page], flags=re.MULTILINE)
    assert found
    for module, names in found:
        for name in names.split(", "):
            assert hasattr(__import__(module, fromlist=[name]), name), (module, name)


def test_python_versions_are_those_of_the_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    first, after = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", config["options"]["python_requires"]).groups()
    named = {int(minor) for minor in re.findall(r"\b3\.(1\d)\b", re.search(r"need Python (.*?) on", README)[1])}
    assert named == set(range(int(first), int(after)))


def test_chinese_lines_end_where_a_space_may_be():
    """A browser shows the end of a line as a space, which has no place between two Chinese characters."""
    wide = "[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]"
    broken = re.compile(f".*{wide}\n{wide}.*")
    assert broken.findall(PAGES["README.zh.md"]) == []
    assert broken.findall("\u7528 K\n\u5199\uff0c\n\u53ef\n\u5bf9") == ["\u5199\uff0c\n\u53ef"]
